"""What a hold writes down before it changes anything: enough to undo it, whoever does that and whenever."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, TypeVar

from clawtop.model.commands import Step, Target
from clawtop.model.errors import ClawtopError

SCHEMA = "clawtop/hold/1"
TREE_SCHEMA = "clawtop/hold/2"
"""Of a hold with processes: a clawtop that knows nothing of those must not take it for another kind."""
_LATEST = 253_402_300_799_999
_T = TypeVar("_T")


class DamagedHold(ClawtopError):
    """A hold was written down and cannot be read any more."""


class Stood(NamedTuple):
    """A value of a config: whether it was there at all, and as which JSON."""

    there: bool
    value: Any = None


@dataclass(frozen=True, slots=True)
class ConfigBefore:
    """What a gateway's config said of an agent. `form` is entries or list: how that gateway keeps its agents.

    `roster` and `entry` say whether the agents' container and the agent's entry were there. `known` is off where the
    hold's own values stood there already, so that what was there before cannot be known.
    """

    form: str
    roster: bool
    entry: bool
    model: Stood
    tools: Stood
    denied: bool
    known: bool = True


@dataclass(frozen=True, slots=True)
class CronBefore:
    """A cron job that was on, and the model of its own that it had."""

    id: str
    name: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class SessionBefore:
    """A session with a model of its own. `chosen` is off where the gateway had fallen back to it by itself."""

    key: str
    session: str | None
    model: str
    profile: str | None = None
    thinking: str | None = None
    chosen: bool = True


@dataclass(frozen=True, slots=True)
class ProcessBefore:
    """A process under a hold, by its pid and birth. `started` is Unix ms, `command` names it without its arguments.

    `stopped`: somebody else had stopped it before, so that a resume leaves it stopped; None where that is not known.
    `terminal` is the one that a shell had lent to it.
    """

    pid: int
    birth: str
    parent: int
    started: int
    command: str
    stopped: bool | None = False
    terminal: str | None = None


@dataclass(frozen=True, slots=True)
class LogBefore:
    """How a log stood when its agent's processes did: bytes, and when it was written last, in Unix ns."""

    path: str
    size: int
    changed: int


@dataclass(frozen=True, slots=True)
class Search:
    """By what the processes of an agent are found again: a product and its folders, or a rule of the config."""

    product: str | None = None
    folders: tuple[str, ...] = ()
    pidfile: str | None = None
    command: str | None = None


@dataclass(frozen=True, slots=True)
class TreeBefore:
    """The processes of a hold, each after the one that started it, and the logs that stand still with them."""

    search: Search
    processes: tuple[ProcessBefore, ...] = ()
    logs: tuple[LogBefore, ...] = ()


@dataclass(frozen=True, slots=True)
class HoldRecord:
    """One hold as it lies on disk. `gateway` is the url it was done through, `hook` the name of a hook rule.

    `source` is what `-s` took to have that gateway, where that is known.
    `tree` is there where it was done by stopping processes. `damaged` is where an earlier file of it lies that could
    not be read: what that said stood before is lost. `writing` is when the gateway was asked to write its config, Unix
    ms, as long as it has not answered: it may do so yet.

    `steps` are what was really done so far; whatever is recorded as having stood before may have been changed.
    """

    target: Target
    since: int
    by: str
    pid: int
    reason: str | None = None
    gateway: str | None = None
    hook: str | None = None
    config: ConfigBefore | None = None
    cron: tuple[CronBefore, ...] = ()
    sessions: tuple[SessionBefore, ...] = ()
    steps: tuple[Step, ...] = ()
    tree: TreeBefore | None = None
    damaged: str | None = None
    writing: int | None = None
    source: str | None = None

    def with_jobs(self, jobs: Iterable[CronBefore]) -> "HoldRecord":
        """The same hold, to which these jobs belong, too; what is known of one stays."""
        noted = {job.id for job in self.cron}
        return replace(self, cron=(*self.cron, *(job for job in jobs if job.id not in noted)))

    def with_steps(self, steps: tuple[Step, ...]) -> "HoldRecord":
        """The same hold with more steps done."""
        return replace(self, steps=(*self.steps, *steps))


def to_json(record: HoldRecord) -> dict[str, Any]:
    """The record as one JSON object."""
    config = record.config
    return {
        "schema": SCHEMA if record.tree is None else TREE_SCHEMA,
        "host": record.target.host,
        "agent": record.target.agent,
        "since": record.since,
        "by": record.by,
        "pid": record.pid,
        "reason": record.reason,
        "gateway": record.gateway,
        "hook": record.hook,
        "config": config
        and {
            "form": config.form,
            "roster": config.roster,
            "entry": config.entry,
            "model": _stood(config.model),
            "tools": _stood(config.tools),
            "denied": config.denied,
            "known": config.known,
        },
        "cron": [{"id": job.id, "name": job.name, "model": job.model} for job in record.cron],
        "sessions": [
            {
                "key": session.key,
                "session": session.session,
                "model": session.model,
                "profile": session.profile,
                "thinking": session.thinking,
                "chosen": session.chosen,
            }
            for session in record.sessions
        ],
        "steps": [
            {"what": step.what, "done": step.done, "detail": step.detail, "milliseconds": step.milliseconds}
            for step in record.steps
        ],
        **({} if record.tree is None else {"tree": asdict(record.tree)}),
        **({} if record.damaged is None else {"damaged": record.damaged}),
        **({} if record.writing is None else {"writing": record.writing}),
        **({} if record.source is None else {"source": record.source}),
    }


def from_json(data: object) -> HoldRecord:
    """The record that `to_json` wrote. Raises DamagedHold with what is wrong."""
    root = _Fields(data, "the hold")
    schema = root.text("schema")
    if schema not in (SCHEMA, TREE_SCHEMA):
        raise DamagedHold(f"its schema is {schema!r}, not {SCHEMA!r} or {TREE_SCHEMA!r}")
    config = root.optional("config")
    return HoldRecord(
        target=Target(root.text("host"), root.text("agent")),
        since=root.moment("since"),
        by=root.text("by"),
        pid=root.number("pid"),
        reason=root.text_or_none("reason"),
        gateway=root.text_or_none("gateway"),
        hook=root.text_or_none("hook"),
        config=None if config is None else _config(_Fields(config, "config")),
        cron=tuple(
            CronBefore(job.text("id"), job.text("name"), job.text_or_none("model")) for job in root.each("cron")
        ),
        sessions=tuple(_session(session) for session in root.each("sessions")),
        steps=tuple(
            Step(step.text("what"), step.flag("done"), step.text("detail"), step.number("milliseconds"))
            for step in root.each("steps")
        ),
        tree=_tree(_Fields(root.optional("tree"), "tree")) if schema == TREE_SCHEMA else None,
        damaged=root.text_or_none("damaged") if root.has("damaged") else None,
        writing=root.moment("writing") if root.has("writing") else None,
        source=root.text_or_none("source") if root.has("source") else None,
    )


def _tree(tree: "_Fields") -> TreeBefore:
    search = _Fields(tree.optional("search"), "search")
    return TreeBefore(
        Search(
            search.text_or_none("product"),
            search.texts("folders"),
            search.text_or_none("pidfile"),
            search.text_or_none("command"),
        ),
        tuple(_process(process) for process in tree.each("processes")),
        tuple(LogBefore(log.text("path"), log.number("size"), log.number("changed")) for log in tree.each("logs")),
    )


def _process(process: "_Fields") -> ProcessBefore:
    pid = process.number("pid")
    if not 1 < pid < 2**31:
        raise DamagedHold(f"no process under a hold has pid {pid}")
    return ProcessBefore(
        pid=pid,
        birth=process.text("birth"),
        parent=process.number("parent"),
        started=process.moment("started"),
        command=process.text("command"),
        stopped=None if process.optional("stopped") is None else process.flag("stopped"),
        terminal=process.text_or_none("terminal"),
    )


def _config(config: "_Fields") -> ConfigBefore:
    if config.text("form") not in ("entries", "list"):
        raise DamagedHold(f"config.form is {config.text('form')!r}")
    return ConfigBefore(
        form=config.text("form"),
        roster=config.flag("roster"),
        entry=config.flag("entry"),
        model=config.stood("model"),
        tools=config.stood("tools"),
        denied=config.flag("denied"),
        known=config.flag("known"),
    )


def _session(session: "_Fields") -> SessionBefore:
    return SessionBefore(
        key=session.text("key"),
        session=session.text_or_none("session"),
        model=session.text("model"),
        profile=session.text_or_none("profile"),
        thinking=session.text_or_none("thinking"),
        chosen=session.flag("chosen"),
    )


def _stood(value: Stood) -> Mapping[str, Any]:
    return {"there": value.there, "value": value.value}


class _Fields:
    """A JSON object whose fields are taken by their type."""

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict):
            raise DamagedHold(f"{where} is no JSON object")
        self._data: dict[str, Any] = data
        self._where = where

    def has(self, name: str) -> bool:
        """Whether the field is there."""
        return name in self._data

    def optional(self, name: str) -> object:
        """Whatever stands there; the field itself must be there."""
        if name not in self._data:
            raise DamagedHold(f"{name} of {self._where} is missing")
        found: object = self._data[name]
        return found

    def text(self, name: str) -> str:
        return self._typed(name, str)

    def texts(self, name: str) -> tuple[str, ...]:
        found = self._typed(name, list)
        if not all(isinstance(each, str) for each in found):
            raise DamagedHold(f"{name} of {self._where} holds something else than text")
        return tuple(found)

    def number(self, name: str) -> int:
        return self._typed(name, int)

    def moment(self, name: str) -> int:
        """Unix milliseconds of a year that has a name."""
        found = self.number(name)
        if not 0 <= found <= _LATEST:
            raise DamagedHold(f"{name} of {self._where} is no time: {found}")
        return found

    def flag(self, name: str) -> bool:
        return self._typed(name, bool)

    def text_or_none(self, name: str) -> str | None:
        return None if self.optional(name) is None else self.text(name)

    def each(self, name: str) -> "list[_Fields]":
        found = self.optional(name)
        if not isinstance(found, list):
            raise DamagedHold(f"{name} of {self._where} is no list")
        return [_Fields(item, f"{name}[{at}]") for at, item in enumerate(found)]

    def stood(self, name: str) -> Stood:
        value = _Fields(self.optional(name), name)
        return Stood(value.flag("there"), value.optional("value"))

    def _typed(self, name: str, kind: type[_T]) -> _T:
        found = self.optional(name)
        if type(found) is not kind:
            raise DamagedHold(f"{name} of {self._where} is {type(found).__name__}, not {kind.__name__}")
        return found
