"""The gateway's calls that control needs, over one connection, in the words of whatever version answers.

Older gateways refuse parameters they do not know. Such a parameter is left out from then on, which is how their
abilities are found without looking at version numbers.
"""

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from clawtop.control.config_hold import Patch, Roster, UnreadableConfig, read_roster
from clawtop.control.gateway_facts import (
    Activity,
    Job,
    Session,
    Task,
    own_model,
    read_background_runs,
    read_jobs,
    read_models,
    read_sessions,
    read_tasks,
    text,
)
from clawtop.control.planning import Survey
from clawtop.control.record import SessionBefore
from clawtop.formats.session_keys import read_session_key
from clawtop.gateway.connection import Gateway, GatewayAddress, connect
from clawtop.gateway.errors import Refused

_PAGE = 200
_MOST_PAGES = 50
_BUSY_WAITS_SECONDS = (0.05, 0.2, 0.5)
_UNKNOWN_PARAMETER = re.compile(r"unexpected property '(\w+)'")
_CONFIG_CHANGED = "config changed since last load"
_RETRY_AFTER = re.compile(r"retry after (\d{1,4})s")
_SECONDS = 30.0  # a busy gateway takes its time, and does all the same what it was asked


class ConfigChanged(Exception):
    """Somebody wrote the config after it was read."""

    def __init__(self) -> None:
        super().__init__("somebody else writes it all the time")


class TooManyWrites(Exception):
    """The gateway takes no more config writes for some seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the gateway takes no config change for {seconds} s")
        self.seconds = seconds


async def agents_at(address: GatewayAddress) -> list[str]:
    """The agents that a gateway has, whether they have worked or not. Raises GatewayError."""
    async with connect(address) as gateway:
        models, _ = await Operator(gateway).models()
    return list(models)


@dataclass(slots=True)
class Operator:
    """An operator's calls on one connection. Each raises GatewayError.

    `unknown` are the (method, parameter) pairs this gateway refuses, `ended` background runs known to be over though
    nothing in the gateway's records says so.
    """

    gateway: Gateway
    unknown: set[tuple[str, str]] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    def can(self, method: str) -> bool:
        """Whether the gateway has this method."""
        return method in self.gateway.hello.methods

    async def subscribe(self) -> None:
        """Let the gateway tell what happens, if it can."""
        if self.can("sessions.subscribe"):
            with contextlib.suppress(Refused):
                # without events the looks still find everything, only later
                await self._call("sessions.subscribe", {})

    async def sessions(self) -> list[Session]:
        """All sessions."""
        return [session for page in await self._pages("sessions.list", {}) for session in read_sessions(page)]

    async def active_sessions(self) -> list[Session]:
        """Sessions that run something, and others where the gateway cannot tell them apart beforehand."""
        return [it for page in await self._pages("sessions.list", {"activeOnly": True}) for it in read_sessions(page)]

    async def tasks(self) -> list[Task]:
        """Tasks that have not ended; none where the gateway keeps no tasks."""
        if not self.can("tasks.list"):
            return []
        return read_tasks(await self._read("tasks.list", {"status": ["running", "queued"], "limit": _PAGE}))

    async def background(self) -> dict[str, str]:
        """{run id: agent} of runs outside any session; empty where the gateway keeps no audit log."""
        if not self.can("audit.list"):
            return {}
        runs = read_background_runs(await self._read("audit.list", {"kind": "agent_run", "limit": _PAGE}))
        # what the audit log does not show as begun any more need not be remembered
        self.ended.intersection_update(runs)
        return {run: agent for run, agent in runs.items() if run not in self.ended}

    async def jobs(self, default_agent: str | None) -> list[Job]:
        """All cron jobs, those that are off, too."""
        pages = await self._pages("cron.list", {"includeDisabled": True})
        return [job for page in pages for job in read_jobs(page, default_agent)]

    async def models(self) -> tuple[dict[str, str | None], str | None]:
        """({agent: the model the gateway runs it on, where it says so}, the default agent)."""
        return read_models(await self._read("agents.list", {}))

    async def roster(self) -> Roster:
        """The config's agents. Raises UnreadableConfig, too."""
        return read_roster(await self._read("config.get", {}))

    async def survey(self) -> Survey:
        """Everything that a plan and a pause need to know beforehand."""
        sessions, tasks, background, (models, default) = await asyncio.gather(
            self.sessions(), self.tasks(), self.background(), self.models()
        )
        jobs, (roster, raw, trouble) = await asyncio.gather(self.jobs(default), self._config())
        return Survey(
            activity=Activity(sessions, tasks, background),
            jobs=tuple(jobs),
            models=models,
            roster=roster,
            raw=raw,
            trouble=trouble,
            aborts=self.can("sessions.abort"),
            announces=not self.can("audit.list"),
            default=default,
        )

    async def _config(self) -> tuple[Roster | None, str, str]:
        try:
            config = await self._read("config.get", {})
            roster = read_roster(config)
        except (Refused, UnreadableConfig) as error:
            return None, "", str(error)
        trouble = "" if self.can("config.patch") else "this gateway takes no change of its config"
        return None if trouble else roster, text(config.get("raw")) or "", trouble

    async def abort_session(self, key: str) -> bool:
        """Cut off what a session runs and drop what waits for it; whether something ran."""
        if self.can("sessions.abort"):
            answer = await self._lenient("sessions.abort", {"key": key, "clearQueued": True}, optional=("clearQueued",))
            return answer.get("status") == "aborted"
        return (await self._call("chat.abort", {"sessionKey": key})).get("aborted") is True

    async def abort_run(self, run: str) -> bool:
        """Cut off a run that is in no session; whether it still ran."""
        ran = (await self._call("sessions.abort", {"runId": run})).get("status") == "aborted"
        if not ran:
            self.ended.add(run)
        return ran

    async def cancel_task(self, task: str, reason: str) -> bool:
        """End a task; whether there was something to end."""
        answer = await self._call("tasks.cancel", {"taskId": task, "reason": reason})
        return answer.get("cancelled") is True

    async def switch_job(self, job: str, *, on: bool, model: str | None = None, had_model: bool = False) -> None:
        """Switch a cron job on or off; with `had_model` its own model is set, too, or taken away with None."""
        patch: dict[str, object] = {"enabled": on}
        if had_model:
            patch["payload"] = {"kind": "agentTurn", "model": model}
        await self._call("cron.update", {"id": job, "patch": patch})

    async def own_model_of(self, key: str) -> SessionBefore | None:
        """The model that an existing session was given, None for none; only a patch of nothing tells it exactly."""
        return _given(key, await self._call("sessions.patch", {"key": key}))

    async def set_model(self, key: str, model: str | None, thinking: str | None = None) -> SessionBefore | None:
        """Give a session a model of its own or take it away; returns what it has then."""
        level = {"thinkingLevel": thinking} if thinking is not None else {}
        return _given(key, await self._call("sessions.patch", {"key": key, "model": model, **level}))

    async def patch_config(self, patch: Patch, base_hash: str | None) -> None:
        """Change the config. Raises ConfigChanged, TooManyWrites, too."""
        params: dict[str, object] = {
            "raw": orjson.dumps(patch.merge).decode(),
            "replacePaths": list(patch.replace_paths),
            **({"baseHash": base_hash} if base_hash else {}),
        }
        try:
            await self._lenient("config.patch", params, optional=("replacePaths",))
        except Refused as refused:
            if _CONFIG_CHANGED in refused.message:
                raise ConfigChanged from None
            wait = _RETRY_AFTER.search(refused.message) if "rate limit" in refused.message else None
            if wait is not None:
                raise TooManyWrites(int(wait[1])) from None
            raise

    async def _call(self, method: str, params: Mapping[str, object] | None = None) -> dict[str, Any]:
        return await self.gateway.call(method, params, timeout=_SECONDS)

    async def _read(self, method: str, params: Mapping[str, object]) -> dict[str, Any]:
        """Ask for something, again where the gateway is busy with itself."""
        for wait in _BUSY_WAITS_SECONDS:
            try:
                return await self._lenient(method, params)
            except Refused as refused:
                if refused.code != "UNAVAILABLE":
                    raise
            await asyncio.sleep(wait)
        return await self._lenient(method, params)

    async def _pages(self, method: str, params: Mapping[str, object]) -> list[dict[str, Any]]:
        pages: list[dict[str, Any]] = []
        offset = 0
        while len(pages) < _MOST_PAGES:
            page = await self._read(method, {**params, "limit": _PAGE, **({"offset": offset} if offset else {})})
            pages.append(page)
            following = page.get("nextOffset")
            if page.get("hasMore") is not True or not isinstance(following, int) or following <= offset:
                break
            offset = following
        return pages

    async def _lenient(
        self,
        method: str,
        params: Mapping[str, object],
        *,
        optional: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Call without the parameters this gateway does not know; `optional` are those that may be left out."""
        wanted = dict(params)
        while True:
            known = {name: value for name, value in wanted.items() if (method, name) not in self.unknown}
            try:
                return await self._call(method, known)
            except Refused as refused:
                found = _UNKNOWN_PARAMETER.search(refused.message)
                droppable = found is not None and found[1] in (wanted if optional is None else optional)
                if found is None or not droppable or found[1] not in known:
                    raise
                self.unknown.add((method, found[1]))


def _given(key: str, answer: Mapping[str, Any]) -> SessionBefore | None:
    entry = answer.get("entry")
    if not isinstance(entry, dict) or (model := own_model(entry)) is None:
        return None
    profile = text(entry.get("authProfileOverride"))
    chosen_profile = entry.get("authProfileOverrideSource") != "auto"
    return SessionBefore(
        key=key,
        session=text(entry.get("sessionId")),
        model=model,
        profile=profile if chosen_profile else None,
        thinking=text(entry.get("thinkingLevel")),
        chosen=entry.get("modelOverrideSource") != "auto" or read_session_key(key).subagent,
    )
