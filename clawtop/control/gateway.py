"""Pause, abort and resume on one gateway. It holds no connection between commands.

operator.admin is asked for only while a command is carried out, by a connection of its own.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace

from clawtop.control.config_hold import UnreadableConfig, is_held, stood_before
from clawtop.control.elapsed import milliseconds_since
from clawtop.control.gateway_calls import Operator
from clawtop.control.holding import NOT_KEPT, kept_on, loose, runs_held, switching_off
from clawtop.control.holds import Busy, HoldStore, NotRemoved, OpenHolds
from clawtop.control.outcomes import (
    Asker,
    aborted,
    failed,
    lifted_elsewhere,
    lost,
    not_held,
    paused,
    resumed,
    unsupported,
)
from clawtop.control.pausing import Pausing, Told, beside, noted
from clawtop.control.planning import Survey, plan_for
from clawtop.control.record import ConfigBefore, DamagedHold, HoldRecord, Stood
from clawtop.control.resuming import Resumed, Resuming
from clawtop.control.stopping import Stopping, items_of
from clawtop.gateway.connection import GatewayAddress, connect
from clawtop.gateway.errors import GatewayError, Refused
from clawtop.model.commands import Hold, HoldState, Means, Plan, Result, Step, Target

READ = ("operator.read",)
ACT = ("operator.read", "operator.write", "operator.admin")
_STALE_SECONDS = 120.0
_ABORT_SECONDS = 15.0
_LOCK_SECONDS = 10.0
_LOCK_WAIT_SECONDS = 0.1
_LOOK_AGAIN_SECONDS = 0.5
_MOST_CHATS = 50


class GatewayControl:
    """Acts on the agents of one gateway, which are those of `host`; `source` is what `-s` takes to have it."""

    def __init__(
        self, host: str, address: GatewayAddress, store: HoldStore, *, config_hold: bool = True, source: str = ""
    ) -> None:
        self.host = host
        self.address = address
        self._source = source
        self._store = store
        self._config_hold = config_hold
        self._survey: Survey | None = None
        self._surveyed = 0.0
        self._unknown: set[tuple[str, str]] = set()
        self._ended: set[str] = set()

    async def plan(self, agents: Sequence[str], held: Mapping[str, Hold]) -> list[Plan]:
        """What a pause of these agents would do. Where the gateway is gone, the plan says so.

        What it reads is kept for a pause that follows soon.
        """
        try:
            async with self.operator(READ) as operator:
                survey = await operator.survey()
        except GatewayError as error:
            targets = [self._target(agent) for agent in agents]
            return [Plan(target, Means.GATEWAY, problem=str(error), held=held.get(target.agent)) for target in targets]
        self._survey, self._surveyed = survey, time.monotonic()
        return [
            plan_for(self._target(agent), survey, held.get(agent), config_hold=self._config_hold) for agent in agents
        ]

    def is_held(self, agent: str) -> bool:
        """Whether the hold on this agent still lies on disk: another clawtop may have lifted it."""
        return self._store.stands(self._target(agent))

    async def pause(
        self, agents: Sequence[str], asker: Asker, told: Told, *, again: bool = False, kept: bool = True
    ) -> list[Result]:
        """Pause these agents side by side; what happens on the way is `told`. `again`: only those still held.

        `kept`: this clawtop goes on watching them; without it only the config holds them.
        """
        began = time.monotonic()
        with ExitStack() as locks:
            results = await self._lock(agents, locks)
            if again:
                gone = [agent for agent in agents if agent not in results and not self.is_held(agent)]
                results |= {agent: lifted_elsewhere(self._target(agent)) for agent in gone}
            free = [agent for agent in agents if agent not in results]
            if free:
                results |= await self._pause(free, asker, told, began, kept=kept)
        return [results[agent] for agent in agents]

    async def resume(self, agents: Sequence[str], asker: Asker, told: Told, *, force: bool, keep: bool) -> list[Result]:
        """Undo the holds on these agents."""
        with ExitStack() as locks:
            results = await self._lock(agents, locks)
            free = [agent for agent in agents if agent not in results]
            if free:
                results |= await self._resume(free, asker, told, force=force, keep=keep)
        return [results[agent] for agent in agents]

    async def abort(self, agents: Sequence[str], *, commands: bool) -> list[Result]:
        """Cut off what these agents run now."""
        began = time.monotonic()
        try:
            async with self.operator(ACT) as operator:
                survey = await self._recent_survey(operator)
                if not survey.aborts:
                    chats = {agent: await self._abort_chats(operator, survey, agent) for agent in agents}
                    return [unsupported(self._target(agent), chats[agent], None) for agent in agents]
                stopping = Stopping(operator, agents, survey.activity.sessions, commands=commands)
                stopping.since = began
                stopping.strike(survey.activity)
                quiet = await beside(stopping.quiet(began + _ABORT_SECONDS), stopping.run())
        except GatewayError as error:
            return [failed(self._target(agent), str(error)) for agent in agents]
        took = milliseconds_since(began)
        return [aborted(self._target(agent), stopping.progress[agent], took, quiet=quiet) for agent in agents]

    async def verify(
        self, agents: Sequence[str], *, patience: float = 0.0, kept: bool = True
    ) -> dict[str, tuple[HoldState, str]]:
        """How the holds on these agents stand, and what a person should know. Only looks, with operator.read.

        `kept`: this clawtop goes on watching them, so that it aborts what the gateway does not refuse. A run that the
        hold refuses a model is active until it has failed: `patience` is how many seconds what runs may take to end,
        where nothing else is wrong.
        """
        until = time.monotonic() + patience
        try:
            async with self.operator(READ) as operator:
                survey = await operator.survey()
                while self._only_runs_end(agents, survey) and time.monotonic() < until:
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                    survey = await operator.survey()
        except GatewayError as error:
            return dict.fromkeys(agents, (HoldState.REQUESTED, f"not verified: {error}"))
        return {agent: self._verified(agent, survey, kept=kept) for agent in agents}

    def _only_runs_end(self, agents: Sequence[str], survey: Survey) -> bool:
        return any(_active(agent, survey) and runs_held(agent, survey) for agent in agents)

    @asynccontextmanager
    async def operator(self, scopes: Sequence[str]) -> AsyncIterator[Operator]:
        """A connection to ask and act on. Raises GatewayError, Refused where the scopes are not granted."""
        async with connect(self.address, scopes=scopes) as gateway:
            missing = set(scopes) - gateway.hello.scopes
            if missing and "operator.admin" not in gateway.hello.scopes:
                raise Refused("FORBIDDEN", f"this token may not {', '.join(sorted(missing))}", "connect")
            yield Operator(gateway, self._unknown, self._ended)

    async def _lock(self, agents: Sequence[str], locks: ExitStack) -> dict[str, Result]:
        """Keep other clawtops off these agents; the result of those that another one keeps for too long."""
        until = time.monotonic() + _LOCK_SECONDS
        results: dict[str, Result] = {}
        # in one order everywhere, or two clawtops could wait for each other
        for agent in sorted(agents):
            while True:
                try:
                    locks.enter_context(self._store.lock(self._target(agent)))
                except Busy as busy:
                    if time.monotonic() < until:
                        await asyncio.sleep(_LOCK_WAIT_SECONDS)
                        continue
                    results[agent] = failed(self._target(agent), str(busy))
                except OSError as error:
                    results[agent] = failed(self._target(agent), f"no lock in the state directory: {error}")
                break
        return results

    async def _pause(
        self, agents: Sequence[str], asker: Asker, told: Told, began: float, *, kept: bool
    ) -> dict[str, Result]:
        holds = OpenHolds(self._store, ())
        pausing: Pausing | None = None
        results: dict[str, Result] = {}
        try:
            async with self.operator(ACT) as operator:
                survey = await self._recent_survey(operator)
                strangers = {agent: why for agent in agents if (why := survey.stranger(agent))}
                results |= {agent: failed(self._target(agent), why) for agent, why in strangers.items()}
                for agent in agents:
                    if agent not in strangers:
                        await holds.write(self._record(agent, survey, asker))
                if not survey.aborts:
                    return results | await self._pause_old(operator, survey, holds)
                pausing = Pausing(operator, survey, holds, config_hold=self._config_hold, told=told)
                pausing.stopping.since = began
                done = await pausing.run()
                for one in done.values():
                    await holds.write(one.record.with_steps(one.steps))
        except (GatewayError, OSError) as error:
            return {agent: results.get(agent) or await self._broken(agent, error, holds, pausing) for agent in agents}
        took = milliseconds_since(began)
        return results | {
            agent: paused(one, took, config_hold=self._config_hold, kept=kept) for agent, one in done.items()
        }

    async def _broken(self, agent: str, error: Exception, holds: OpenHolds, pausing: Pausing | None) -> Result:
        """A pause that ended in the middle: what was done is written down, if that is still possible."""
        steps = pausing.all_steps(agent) if pausing is not None else ()
        record = holds.records.get(agent)
        if record is not None and steps:
            with contextlib.suppress(OSError):
                await holds.write(record.with_steps(steps))
        why = str(error)
        if isinstance(error, OSError):
            why = f"the hold cannot be written down ({error})" + ("" if steps else ", so nothing was changed")
        # what was not written down before is not begun, so that nothing is held by it
        held = None if record is None or not self.is_held(agent) else _asker(record)
        return failed(self._target(agent), why, steps, held)

    async def _pause_old(self, operator: Operator, survey: Survey, holds: OpenHolds) -> dict[str, Result]:
        """On a gateway that aborts only runs begun by chat.send: stop what can be stopped, and say what cannot."""
        results: dict[str, Result] = {}
        for agent, record in holds.records.items():
            steps = await self._abort_chats(operator, survey, agent)
            jobs = replace(survey, jobs=tuple(await operator.jobs(survey.default))).jobs_of(agent)
            record = record.with_jobs(noted(jobs))  # noqa: PLW2901 - the same hold
            await holds.write(record)
            for job in jobs:
                began, detail = time.monotonic(), ""
                try:
                    await operator.switch_job(job.id, on=False)
                except Refused as refused:
                    detail = refused.message
                steps.append(Step(switching_off(job.name), not detail, detail, milliseconds_since(began)))
            await holds.write(record.with_steps(tuple(steps)))
            results[agent] = unsupported(self._target(agent), steps, record)
        return results

    async def _abort_chats(self, operator: Operator, survey: Survey, agent: str) -> list[Step]:
        steps: list[Step] = []
        for session in [it for it in survey.activity.sessions if it.agent == agent][:_MOST_CHATS]:
            began = time.monotonic()
            if await operator.abort_session(session.key):
                steps.append(Step(f"chat run in {session.key}", done=True, milliseconds=milliseconds_since(began)))
        return steps

    async def _resume(
        self, agents: Sequence[str], asker: Asker, told: Told, *, force: bool, keep: bool
    ) -> dict[str, Result]:
        records, damaged = self._read(agents, asker)
        unknown = {agent: lost(record, damaged.get(agent)) for agent, record in records.items()}
        unwritten = {agent for agent, record in records.items() if record.config is _UNKNOWN}
        holds = OpenHolds(self._store, list(records.values()), unwritten=unwritten)
        resuming: Resuming | None = None
        try:
            async with self.operator(ACT) as operator:
                absent = await self._not_held(operator, unwritten - set(damaged))
                for agent in absent:
                    del holds.records[agent]
                resuming = Resuming(operator, holds, force=force, keep=keep, told=told, at=asker.at)
                done = await resuming.run()
        except (GatewayError, OSError) as error:
            steps = {agent: tuple(resuming.steps(agent)) if resuming else () for agent in agents}
            why = f"what is undone cannot be written down ({error})" if isinstance(error, OSError) else str(error)
            held = {agent: _asker(record) for agent, record in records.items() if agent not in unwritten - set(damaged)}
            never = {} if resuming else {it: not_held(self._target(it), why) for it in unwritten - set(damaged)}
            return {
                agent: never.get(agent) or failed(self._target(agent), why, steps[agent], held.get(agent))
                for agent in agents
            }
        for agent, one in done.items():
            if not (one.conflicts or one.problems):
                self._lift(agent, one, damaged=agent in damaged)
        return {
            agent: resumed(self._target(agent), one, holds.records[agent], unknown[agent])
            for agent, one in done.items()
        } | {agent: not_held(self._target(agent)) for agent in absent}

    async def _not_held(self, operator: Operator, unwritten: Collection[str]) -> list[str]:
        """Those of the agents without a hold file whose config is not held either: one may have been lost."""
        if not unwritten:
            return []
        try:
            roster = await operator.roster()
        except (Refused, UnreadableConfig):
            return list(unwritten)
        return [agent for agent in unwritten if not is_held((roster.entry(agent) or {}).get("model"))]

    def _lift(self, agent: str, one: Resumed, *, damaged: bool) -> None:
        try:
            aside = self._store.lift(self._target(agent), damaged=damaged)
        except NotRemoved as error:
            one.problems.append(str(error))
            return
        if aside is not None:
            one.notes.append(f"the unreadable hold file lies in {aside}")

    async def _recent_survey(self, operator: Operator) -> Survey:
        """What was read when the question was opened, if that is not long ago; it is used once."""
        survey, self._survey = self._survey, None
        if survey is not None and time.monotonic() - self._surveyed < _STALE_SECONDS:
            return survey
        return await operator.survey()

    def _record(self, agent: str, survey: Survey, asker: Asker) -> HoldRecord:
        """What stands there now, written down as that to which a resume returns; an older hold's notes stay."""
        target = self._target(agent)
        old: HoldRecord | None = None
        damaged: str | None = None
        try:
            old = self._store.read(target)
        except DamagedHold:
            damaged = str(self._store.set_aside(target))
        config = self._config_before(agent, survey, old)
        if old is None:
            return HoldRecord(
                target=target,
                since=asker.at,
                by=asker.by,
                pid=os.getpid(),
                reason=asker.reason,
                gateway=self.address.url,
                source=self._source or None,
                config=config,
                damaged=damaged,
            )
        return replace(old, config=config)

    def _config_before(self, agent: str, survey: Survey, old: HoldRecord | None) -> ConfigBefore | None:
        if not self._config_hold or survey.roster is None or not survey.aborts:
            return None if old is None else old.config
        now = stood_before(survey.roster, agent)
        if old is None or old.config is None:
            return now
        # somebody may have given it another model under the hold: the last one that a person chose is what comes back
        return replace(old.config, model=now.model, known=True) if now.known else old.config

    def _verified(self, agent: str, survey: Survey, *, kept: bool) -> tuple[HoldState, str]:
        try:
            record = self._store.read(self._target(agent))
        except DamagedHold as error:
            return HoldState.FAILED, str(error)
        if record is None:
            return HoldState.FAILED, "its hold file is gone"
        if not survey.aborts:
            return HoldState.UNSUPPORTED, "this gateway (protocol 3) does not say what runs"
        problems = [f"{label} is active" for label in _active(agent, survey)]
        if record.config is not None and not runs_held(agent, survey):
            problems.append(f"the gateway runs it on {survey.models.get(agent) or 'another model'}")
        if record.config is None and (self._config_hold or not kept):
            problems.append("its config is not held" if self._config_hold else NOT_KEPT)
        unwilling = kept_on(record.steps, survey, agent)
        problems += loose(agent, survey, unwilling, config=record.config is not None)
        if problems:
            return HoldState.FAILED, f"it does not hold: {'; '.join(problems)}"
        return HoldState.PAUSED, "verified again"

    def _read(self, agents: Sequence[str], asker: Asker) -> tuple[dict[str, HoldRecord], dict[str, str]]:
        """({agent: its hold}, {agent: what is wrong with its hold file}); without a hold, an empty one of unknowns."""
        records: dict[str, HoldRecord] = {}
        damaged: dict[str, str] = {}
        for agent in agents:
            target = self._target(agent)
            record: HoldRecord | None = None
            try:
                record = self._store.read(target)
            except DamagedHold as error:
                damaged[agent] = str(error)
            records[agent] = record or HoldRecord(target, asker.at, asker.by, os.getpid(), config=_UNKNOWN)
        return records, damaged

    def _target(self, agent: str) -> Target:
        return Target(self.host, agent)


_UNKNOWN = ConfigBefore(
    form="entries",
    roster=True,
    entry=True,
    model=Stood(there=False),
    tools=Stood(there=False),
    denied=False,
    known=False,
)


def _active(agent: str, survey: Survey) -> list[str]:
    return [item.label for item in items_of(agent, survey.activity, survey.sessions_of(agent))]


def _asker(record: HoldRecord) -> Asker:
    return Asker(record.by, record.reason, record.since)
