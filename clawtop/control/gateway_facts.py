"""What a gateway's answers say about an agent's work. Pure; whatever is not as expected is as if it were not there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clawtop.formats.session_keys import read_session_key
from clawtop.units import duration

_RUNNING = frozenset({"running", "queued"})
_INTERNAL = ":internal-session-effects:"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Session:
    """A session as `sessions.list` has it. `own` is whether it was given a model of its own, None where unsaid."""

    key: str
    agent: str
    id: str | None
    active: bool
    model: str | None
    own: bool | None
    parent: str | None


@dataclass(frozen=True, slots=True)
class Task:
    """A running task. `session` is where it runs, None where that is not known yet; `command` is a shell command."""

    id: str
    agent: str | None
    session: str | None
    run: str | None
    runtime: str
    command: bool
    title: str
    tool: str | None


@dataclass(frozen=True, slots=True)
class Job:
    """A cron job; `schedule` is for people to read, `kind` what it does."""

    id: str
    name: str
    agent: str | None
    enabled: bool
    schedule: str
    model: str | None
    kind: str


@dataclass(frozen=True, slots=True)
class Activity:
    """What a gateway says of its sessions and of what runs; `background` is {run id: agent}."""

    sessions: Sequence[Session]
    tasks: Sequence[Task]
    background: Mapping[str, str]


def read_sessions(payload: Json) -> list[Session]:
    """The sessions of a `sessions.list` answer."""
    return [session for row in _rows(payload, "sessions") if (session := _session(row)) is not None]


def read_tasks(payload: Json) -> list[Task]:
    """The tasks of a `tasks.list` answer that have not ended."""
    rows = (row for row in _rows(payload, "tasks") if row.get("status") in _RUNNING)
    return [task for row in rows if (task := _task(row)) is not None]


def read_jobs(payload: Json, default_agent: str | None) -> list[Job]:
    """The jobs of a `cron.list` answer; those that name no agent belong to the default one."""
    return [job for row in _rows(payload, "jobs") if (job := _job(row, default_agent)) is not None]


def read_background_runs(payload: Json) -> dict[str, str]:
    """{run id: agent} of the runs outside any session that an `audit.list` answer saw begin and not end."""
    begun: dict[str, str] = {}
    ended: set[str] = set()
    for row in _rows(payload, "events"):
        run, agent, key = text(row.get("runId")), text(row.get("agentId")), text(row.get("sessionKey"))
        if row.get("kind") != "agent_run" or run is None or agent is None or _INTERNAL not in (key or ""):
            continue
        if row.get("action") == "agent.run.started":
            begun[run] = agent
        else:
            ended.add(run)
    return {run: agent for run, agent in begun.items() if run not in ended}


def read_models(payload: Json) -> tuple[dict[str, str | None], str | None]:
    """({agent: the model it runs on now, where that is said}, the default agent) of an `agents.list` answer."""
    models: dict[str, str | None] = {}
    for row in _rows(payload, "agents"):
        model, agent = row.get("model"), text(row.get("id"))
        if agent is not None:
            models[agent] = text(model.get("primary")) if isinstance(model, dict) else text(model)
    return models, text(payload.get("defaultId"))


def family(agent: str, sessions: Iterable[Session], known: frozenset[str] = frozenset()) -> frozenset[str]:
    """The keys of an agent's sessions and of all they have spawned, whichever agent those run under.

    `known` are keys found before: a parent need not be among the sessions any more.
    """
    rest = [session for session in sessions if session.key not in known]
    keys = known | {it.key for it in rest if agent in (it.agent, read_session_key(it.parent).agent)}
    while children := {session.key for session in rest if session.parent in keys} - keys:
        keys |= children
    return keys


def text(value: object) -> str | None:
    """A text that is not empty."""
    return value if isinstance(value, str) and value else None


def own_model(entry: Json) -> str | None:
    """The model that a session's entry was given, `provider/model`."""
    model, provider = text(entry.get("modelOverride")), text(entry.get("providerOverride"))
    if model is None:
        return None
    return f"{provider}/{model}" if provider else model


def _session(row: Json) -> Session | None:
    key = text(row.get("key"))
    agent = text(row.get("agentId")) or read_session_key(key).agent
    if key is None or agent is None:
        return None
    running = row.get("activeRunIds")
    active = bool(row.get("hasActiveRun") or row.get("hasActiveSubagentRun") or (isinstance(running, list) and running))
    provider, model = text(row.get("modelProvider")), text(row.get("model"))
    return Session(
        key=key,
        agent=agent,
        id=text(row.get("sessionId")),
        active=active,
        model=f"{provider}/{model}" if provider and model else model,
        own=row["modelOverrideSource"] is not None if "modelOverrideSource" in row else None,
        parent=_spawned_by(key, row),
    )


def _spawned_by(key: str, row: Json) -> str | None:
    # a fork has a parent, too, and is nobody's errand
    parent = text(row.get("parentSessionKey")) if read_session_key(key).subagent else None
    return text(row.get("spawnedBy")) or parent


def _task(row: Json) -> Task | None:
    task = text(row.get("taskId")) or text(row.get("id"))
    if task is None:
        return None
    session = text(row.get("childSessionKey")) or text(row.get("sessionKey"))
    execution = row.get("execution")
    current = execution.get("currentTool") if isinstance(execution, dict) else None
    return Task(
        id=task,
        agent=text(row.get("agentId")) or read_session_key(session).agent,
        session=_without_run(session),
        run=text(row.get("runId")),
        runtime=text(row.get("runtime")) or "",
        command=row.get("kind") == "exec",
        title=text(row.get("title")) or "",
        tool=text(current.get("name")) if isinstance(current, dict) else None,
    )


def _without_run(key: str | None) -> str | None:
    """A cron session while it runs is known by a second key; both name one session."""
    return key.split(":run:")[0] if key is not None and read_session_key(key).cron else key


def _job(row: Json, default_agent: str | None) -> Job | None:
    job, payload = text(row.get("id")), row.get("payload")
    if job is None:
        return None
    said = payload if isinstance(payload, dict) else {}
    return Job(
        id=job,
        name=text(row.get("displayName")) or text(row.get("name")) or job,
        agent=text(row.get("effectiveAgentId")) or text(row.get("agentId")) or default_agent,
        enabled=row.get("enabled") is not False,
        schedule=_schedule(row.get("schedule")),
        model=text(said.get("model")),
        kind=text(said.get("kind")) or "",
    )


def _schedule(schedule: object) -> str:
    if not isinstance(schedule, dict):
        return "?"
    every = schedule.get("everyMs")
    if isinstance(every, int):
        return f"every {every / 1000:g}s" if every < 60_000 else f"every {duration(every)}"
    return text(schedule.get("expr")) or text(schedule.get("at")) or text(schedule.get("kind")) or "?"


def _rows(payload: Json, name: str) -> Iterable[Json]:
    rows = payload.get(name)
    return (row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
