"""An OpenClaw gateway in memory: sessions, cron jobs, tasks and a config, with the answers that control needs.

It refuses what the real one refuses: unknown parameters, a stale hash, arrays that would lose entries unasked.
"""

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.fake_gateway import FakeGateway, Handler, Params, Refusal

Json = dict[str, Any]

MODEL = {"primary": "mock/normal", "fallbacks": ["mock2/normal"]}


class Pretend:
    """What a gateway knows. Tests change its fields, and `handlers` may be overridden one by one."""

    def __init__(self, form: str = "entries") -> None:
        agents = {name: {"workspace": f"/ws/{name}", "model": copy.deepcopy(MODEL)} for name in ("main", "coder")}
        self.form = form
        listed = [{"id": name, **entry} for name, entry in agents.items()]
        self.config: Json = {
            "agents": {"defaults": {"model": {"primary": "mock/normal"}}, form: agents if form == "entries" else listed}
        }
        self.raw = "{}"
        self.sessions: dict[str, Json] = {}
        self.jobs: dict[str, Json] = {}
        self.tasks: dict[str, Json] = {}
        self.audit: list[Json] = []
        self.aborted: list[str] = []
        self.unknown: set[tuple[str, str]] = set()
        self.stubborn: set[str] = set()
        self.restarts: dict[str, int] = {}
        self.writes = 0

    def handlers(self) -> dict[str, Handler]:
        """The methods of a gateway of protocol 4."""
        methods: Mapping[str, Callable[[Params], object]] = {
            "sessions.list": self._list_sessions,
            "sessions.abort": self._abort,
            "sessions.patch": self._patch_session,
            "tasks.list": lambda _: {"tasks": list(self.tasks.values())},
            "tasks.cancel": self._cancel,
            "audit.list": lambda _: {"events": self.audit},
            "cron.list": lambda _: {"jobs": list(self.jobs.values()), "hasMore": False},
            "cron.update": self._update_job,
            "agents.list": self._list_agents,
            "config.get": lambda _: self.answer(),
            "config.patch": self._patch_config,
        }
        return {name: self._strictly(name, method) for name, method in methods.items()}

    def gateway(self, **overrides: Handler) -> FakeGateway:
        """A gateway that answers by this. Overrides are named with _ for the point."""
        named = {name.replace("_", ".", 1): handler for name, handler in overrides.items()}
        return FakeGateway({**self.handlers(), **named})

    def add_session(
        self, key: str, *, model: str | None = None, active: bool = False, parent: str | None = None
    ) -> None:
        """A session, with a model of its own where one is named."""
        provider, _, name = (model or "mock/normal").partition("/")
        self.sessions[key] = {
            "key": key,
            "agentId": key.split(":")[1],
            "sessionId": f"id-{key}",
            "hasActiveRun": active,
            "modelProvider": provider,
            "model": name,
            "modelOverrideSource": "user" if model else None,
            **({"spawnedBy": parent} if parent else {}),
        }

    def add_job(self, job: str, agent: str, **payload: object) -> None:
        """A cron job that is on."""
        self.jobs[job] = {
            "id": job,
            "name": job,
            "agentId": agent,
            "enabled": True,
            "schedule": {"kind": "every", "everyMs": 6000},
            "payload": {"kind": "agentTurn", "message": "go", **payload},
        }

    def entry(self, agent: str) -> Json | None:
        """The agent's entry in the config."""
        listed: Any = self.config["agents"].get(self.form)
        if isinstance(listed, dict):
            return listed.get(agent)
        return next((entry for entry in listed or [] if entry["id"] == agent), None)

    def state(self) -> Json:
        """All that a resume has to bring back: the config's agents, which jobs are on, the sessions' models."""
        return copy.deepcopy(
            {
                "agents": self.config["agents"],
                "jobs": {job: (it["enabled"], it["payload"]) for job, it in self.jobs.items()},
                "models": {
                    key: (it["modelProvider"], it["model"], it["modelOverrideSource"])
                    for key, it in self.sessions.items()
                },
            }
        )

    def answer(self) -> Json:
        """What config.get says."""
        resolved = copy.deepcopy(self.config)
        if self.form == "entries":
            resolved["agents"].setdefault("entries", {"main": {}})
        return {
            "valid": True,
            "raw": self.raw,
            "parsed": copy.deepcopy(self.config),
            "resolved": resolved,
            "hash": f"hash-{self.writes}",
        }

    def touch(self) -> None:
        """Somebody else writes the config file, so that what was read is stale."""
        self.writes += 1

    def _strictly(self, name: str, method: Callable[[Params], object]) -> Handler:
        def handler(params: Params) -> object:
            for parameter in params:
                if (name, parameter) in self.unknown:
                    raise Refusal(
                        "INVALID_REQUEST", f"invalid {name} params: at root: unexpected property '{parameter}'"
                    )
            return method(params)

        return handler

    def _list_sessions(self, params: Params) -> object:
        rows = list(self.sessions.values())
        return {"sessions": [row for row in rows if row["hasActiveRun"] or not params.get("activeOnly")]}

    def _abort(self, params: Params) -> object:
        name = params.get("key") or params["runId"]
        self.aborted.append(name)
        row = self.sessions.get(name)
        if row is not None:
            ran, row["hasActiveRun"] = row["hasActiveRun"], self.restarts.get(name, 0) > 0
            self.restarts[name] = self.restarts.get(name, 0) - 1
        else:
            ran = any(event["runId"] == name for event in self.audit)
            self.audit = [event for event in self.audit if event["runId"] != name]
        return {"ok": True, "status": "aborted" if ran else "no-active-run"}

    def _patch_session(self, params: Params) -> object:
        key = params["key"]
        if key not in self.sessions:
            self.add_session(key)
        row = self.sessions[key]
        if "model" in params:
            source = "user" if params["model"] else None
            provider, _, name = (params["model"] or "mock/normal").partition("/")
            row |= {"modelProvider": provider, "model": name, "modelOverrideSource": source}
        own = row["modelOverrideSource"] is not None
        given = {"providerOverride": row["modelProvider"], "modelOverride": row["model"]} if own else {}
        return {"entry": {"sessionId": row["sessionId"], "modelOverrideSource": row["modelOverrideSource"], **given}}

    def _cancel(self, params: Params) -> object:
        return {"cancelled": self.tasks.pop(params["taskId"], None) is not None}

    def _update_job(self, params: Params) -> object:
        if params["id"] in self.stubborn:
            raise Refusal("UNAVAILABLE", "Error: system-owned monitor jobs cannot be edited by cron clients")
        job, patch = self.jobs[params["id"]], params["patch"]
        job["enabled"] = patch.get("enabled", job["enabled"])
        for name, value in patch.get("payload", {}).items():
            job["payload"][name] = value
            if value is None:
                del job["payload"][name]
        return job

    def _list_agents(self, _: Params) -> object:
        agents = self.config["agents"]
        listed = agents.get(self.form) or {"main": {}}
        entries = listed if isinstance(listed, dict) else {entry["id"]: entry for entry in listed}
        rows = [
            {"id": name, "model": entry.get("model", agents["defaults"]["model"])} for name, entry in entries.items()
        ]
        return {"defaultId": "main", "agents": rows}

    def _patch_config(self, params: Params) -> object:
        if params.get("baseHash") != f"hash-{self.writes}":
            raise Refusal("INVALID_REQUEST", "config changed since last load; re-run config.get and retry")
        patch, allowed = json.loads(params["raw"]), set(params.get("replacePaths", ()))
        merged = merge(self.config, patch, "", allowed)
        lost = [path for path in shortened(self.config, merged, "") if path not in allowed]
        if lost:
            raise Refusal("INVALID_REQUEST", f"config.patch would remove entries from array path(s): {', '.join(lost)}")
        self.config = merged
        self.writes += 1
        return {"ok": True}


def merge(base: Any, patch: Any, path: str, replace: set[str]) -> Any:
    """A merge patch as OpenClaw applies it: lists of objects with ids are merged by id, unless they are replaced."""
    if isinstance(patch, dict):
        merged = dict(base) if isinstance(base, dict) else {}
        for name, value in patch.items():
            inner = f"{path}.{name}".strip(".")
            merged[name] = merge(merged.get(name), value, inner, replace)
            if value is None:
                del merged[name]
        return merged
    if isinstance(patch, list) and _keyed(patch) and isinstance(base, list) and _keyed(base) and path not in replace:
        known = {entry["id"]: entry for entry in base}
        for entry in patch:
            known[entry["id"]] = merge(known.get(entry["id"]), entry, f"{path}[]", replace)
        return list(known.values())
    return copy.deepcopy(patch)


def shortened(base: Any, merged: Any, path: str) -> list[str]:
    """The paths of arrays that lose an entry, or go."""
    if isinstance(base, list):
        if not isinstance(merged, list):
            return [path]
        if _keyed(base) and _keyed(merged):
            known = {entry["id"]: entry for entry in merged}
            if any(entry["id"] not in known for entry in base):
                return [path]
            return [it for entry in base for it in shortened(entry, known[entry["id"]], f"{path}[]")]
        return [] if all(entry in merged for entry in base) else [path]
    if isinstance(base, dict):
        within = merged if isinstance(merged, dict) else {}
        return [
            it for name, value in base.items() for it in shortened(value, within.get(name), f"{path}.{name}".strip("."))
        ]
    return []


def _keyed(entries: list[Any]) -> bool:
    return all(isinstance(entry, dict) and isinstance(entry.get("id"), str) for entry in entries)
