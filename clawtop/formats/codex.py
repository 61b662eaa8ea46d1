"""Codex's rollouts: lines -> events.

`sessions/YYYY/MM/DD/rollout-<time>-<id>.jsonl`, later under `archived_sessions`, both also packed as `.jsonl.zst`.
A line is {timestamp, type, payload}: `session_meta` {id, cwd, model_provider, forked_from_id, parent_thread_id},
`turn_context` {model}, `response_item` and `event_msg`, whose payloads have a type of their own, and `compacted`.
From codex-rs (rollout/src/policy.rs, rollout/src/compression.rs, protocol): which of them are kept, and that
`token_count` has info.total_token_usage of the whole thread and info.last_token_usage of one call, where input
includes cached input (and, lately, what was written to the cache), and output includes reasoning. Failed attempts
(stream_error) are never kept, errors only by who asks for more to be kept.

A fork may repeat its parent's lines at its beginning, at new times; its own counter then goes on from the parent's
(ccusage 897, 1370; other forks and subagents begin at zero). So a call is known by both counters within its family
of threads, wherever it stands. Only a file's first session_meta is its own: the parent's may follow it.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from clawtop.formats.attribution import ProjectRule, last_part, project_of
from clawtop.formats.lines import json_object
from clawtop.formats.quantities import moment, text, tokens
from clawtop.model.errors import Unusable
from clawtop.model.events import (
    Aborted,
    Call,
    Compaction,
    Event,
    Resolution,
    Resolved,
    State,
    Tokens,
    ToolCall,
    ToolError,
)
from clawtop.model.keys import Key

UNSEEN = frozenset({"errors", "retries", "fallbacks", "failed_turns", "unmetered_runs"})
"""What rollouts cannot show: attempts that failed are not kept."""

_HEAD = re.compile(rb'\{"timestamp":"[^"\\]{1,40}",(?:"ordinal":\d+,)?"type":"(\w+)","payload":\{(?:"type":"(\w+)")?')
_FAILED = re.compile(rb"(?:Exit code: |exited with code )(?!0\b)-?\d")
_FAILED_AT_END = re.compile(rb'exit_code\\?":\s*(?!0\b)-?\d')
_ALONE = frozenset({b"session_meta", b"turn_context", b"compacted"})
_TOOLS = {"function_call": None, "custom_tool_call": None, "local_shell_call": "shell", "web_search_call": "web_search"}
_OUTPUTS = frozenset({b"function_call_output", b"custom_tool_call_output"})
_EVENTS = frozenset(
    {
        b"token_count",
        b"turn_aborted",
        b"task_started",
        b"turn_started",
        b"task_complete",
        b"turn_complete",
        b"error",
        b"stream_error",
        b"patch_apply_end",
        b"thread_name_updated",
    }
)
_WANTED = _EVENTS | frozenset(name.encode() for name in _TOOLS)
_COUNTERS = ("input_tokens", "cached_input_tokens", "cache_write_input_tokens", "output_tokens")
_MANY = 50_000

Line = Mapping[str, Any]


class Usage(NamedTuple):
    """What a counter says; input includes what was read from and written to the cache."""

    input: int
    cached: int
    written: int
    output: int

    def since(self, before: "Usage | None") -> "Usage":
        """What was added; all of it where the counter is a new one."""
        if before is None or any(now < then for now, then in zip(self, before, strict=True)):
            return self
        return Usage(*(now - then for now, then in zip(self, before, strict=True)))

    @property
    def tokens(self) -> Tokens:
        """The buckets of a call."""
        cached = min(self.cached, self.input)
        written = min(self.written, self.input - cached)
        return Tokens(self.input - cached - written, self.output, cached, written)


class CodexLogs:
    """What all rollouts of one folder share: which family a thread belongs to, and that family's agent."""

    def __init__(self, host: str, projects: Sequence[ProjectRule] = ()) -> None:
        self.host = host
        self.projects = projects
        self._families: dict[str, tuple[str, str]] = {}

    def join(self, thread: str, parent: str | None, agent: str, *, copied: bool) -> tuple[str, str]:
        """(the thread whose history it goes on, the agent of the first of its family) for a thread that is met.

        A fork has a `copied` history, whose calls are its parent's; what a thread only started spends for itself.
        """
        first, agent = self._families.get(parent or thread) or (parent or thread, agent)
        if len(self._families) >= _MANY:
            del self._families[next(iter(self._families))]
        found = self._families[thread] = (first if copied else thread, agent)
        return found


class CodexLog:
    """One rollout, its lines in the order they were written."""

    def __init__(self, logs: CodexLogs, name: str) -> None:
        self._logs = logs
        self._total: Usage | None = None
        self._family = self.session = name
        self._agent: str | None = None
        self._provider = ""
        self._model = ""
        self._title: str | None = None
        self._key: Key | None = None
        self._pending: Resolved | None = None
        self._tools: dict[str, str] = {}
        self.parent: str | None = None
        """The thread that started this one or that it was forked from, None where there is none."""
        self.skipped: Counter[str] = Counter()
        """Lines that could not be used, by reason."""
        self.cwd: str | None = None
        """The folder it works in, None until a line says it."""
        self.last_at = 0
        """Unix milliseconds of its latest line that was looked at."""
        self.state = State.UNKNOWN
        """What the log itself says: idle or failed after a turn, unknown within one."""

    @property
    def agent(self) -> str:
        """`codex:` and the last part of the folder it works in; a fork counts for its parent's agent."""
        return self._agent or f"codex:{last_part(self.cwd) or '?'}"

    def key(self) -> Key:
        """Whose the rollout is."""
        if self._key is None:
            project = project_of(self._logs.projects, self.cwd, self.session, self.agent)
            self._key = Key(
                self._logs.host,
                self.agent,
                self.session,
                project=project,
                parent=self.parent,
                session_key=self._title,
            )
        return self._key

    def read(self, lines: Sequence[bytes]) -> list[Event]:
        """The events of lines that came together."""
        events: list[Event] = []
        for line in lines:
            try:
                events += self._line(line)
            except Unusable as reason:
                self.skipped[str(reason)] += 1
        return events

    def settle(self, now: int) -> list[Event]:
        """Nothing: what no line tells, time doesn't tell either."""
        del now
        return []

    def _line(self, line: bytes) -> Sequence[Event]:
        if line[0] != 0x7B or line[-1] != 0x7D:
            raise Unusable("not JSON")
        head = _HEAD.match(line)
        if head is not None:
            kind, inner = head.groups()
            if not (kind in _ALONE or inner in _WANTED or (inner in _OUTPUTS and _says_failed(line))):
                return ()
        found = json_object(line)
        payload = found.get("payload")
        if not isinstance(payload, dict):
            raise Unusable("a line without a payload")
        return self._counting(found, payload, line)

    def _counting(self, line: Line, payload: Line, raw: bytes) -> Sequence[Event]:
        match line.get("type"):
            case "session_meta":
                self._met(payload)
            case "turn_context":
                self._model = text(payload.get("model"), 200) or self._model
                if self.cwd is None:
                    self.cwd, self._key = text(payload.get("cwd"), 4096), None
            case "compacted":
                # a copy in a fork has another time, so the place in the family is what it says
                sum_ = zlib.crc32(raw.partition(b'"payload"')[2])
                return [Compaction(self.key(), self._at(line), f"{self._family}/compacted/{sum_:x}")]
            case "event_msg":
                return self._event(line, payload)
            case "response_item":
                return self._item(line, payload, raw)
        return ()

    def _met(self, payload: Line) -> None:
        if self._agent is not None:
            if self.parent is not None and text(payload.get("id"), 100) == self.parent:
                self._join(copied=True)  # the parent's own, with its history behind it
            return
        self.session = text(payload.get("id"), 100) or text(payload.get("session_id"), 100) or self.session
        self.parent = text(payload.get("forked_from_id"), 100) or _spawned_by(payload)
        self.cwd = text(payload.get("cwd"), 4096)
        self._provider = text(payload.get("model_provider"), 100) or "openai"
        self._key = None
        self._join(copied=bool(text(payload.get("forked_from_id"), 100)))

    def _join(self, *, copied: bool) -> None:
        self._family, self._agent = self._logs.join(self.session, self.parent, self.agent, copied=copied)

    # ---- what happened

    def _event(self, line: Line, payload: Line) -> Sequence[Event]:
        match payload.get("type"):
            case "token_count":
                return self._counted(line, payload.get("info"))
            case "task_started" | "turn_started":
                self.state = State.UNKNOWN
            case "task_complete" | "turn_complete":
                self.state = State.ERROR if self.state is State.ERROR else State.IDLE
            case "turn_aborted":
                self.state, self._pending = State.IDLE, None
                at = self._at(line)
                return [Aborted(self.key(), at, f"{self._family}/{text(payload.get('turn_id'), 100) or at}")]
            case "error" | "stream_error" as kind:
                return list(self._failed(line, payload, final=kind == "error"))
            case "patch_apply_end" if payload.get("success") is False:
                return [self._tool_error(line, payload, "apply_patch")]
            case "thread_name_updated":
                self._title, self._key = text(payload.get("thread_name"), 120), None
        return ()

    def _counted(self, line: Line, info: object) -> Sequence[Event]:
        """A call, where the counter has grown."""
        if not isinstance(info, dict):
            return ()
        total, last = _usage(info.get("total_token_usage")), _usage(info.get("last_token_usage"))
        if total is not None and total == self._total:
            return ()
        spent = last if last is not None and any(last) else None if total is None else total.since(self._total)
        self._total = total or self._total
        if spent is None or not any(spent.tokens):
            return ()
        at = self._at(line)
        name = "/".join(map(str, (*(total or (at,)), *spent)))
        window = info.get("model_context_window")
        call = Call(
            self.key(),
            at,
            f"{self._family}/{name}",
            self._provider,
            self._model or "?",
            spent.tokens,
            window=window if isinstance(window, int) and 0 < window < 1 << 40 else None,
        )
        self.state = State.UNKNOWN
        return [*self._followed(call), call]

    def _failed(self, line: Line, payload: Line, *, final: bool) -> Iterator[Event]:
        """An attempt failed: for good, or to be made again."""
        at, said = self._at(line), text(payload.get("message"), 500) or "failed"
        call = Call(self.key(), at, f"{self._family}/{at}/{said}"[:400], self._provider, self._model or "?", error=said)
        yield from self._followed(call)
        yield call
        lost = Resolved(call.key, at, call.id, call.provider, call.model, Resolution.FAILED)
        if final:
            self.state = State.ERROR
            yield lost
        else:
            self._pending = lost

    def _followed(self, call: Call) -> list[Event]:
        failed, self._pending = self._pending, None
        if failed is None:
            return []
        same = (failed.provider, failed.model) == (call.provider, call.model)
        how = Resolution.RETRY if same else Resolution.FALLBACK
        to = None if same else f"{call.provider}/{call.model}"
        return [Resolved(failed.key, failed.at, failed.id, failed.provider, failed.model, how, to)]

    # ---- tools

    def _item(self, line: Line, payload: Line, raw: bytes) -> Sequence[Event]:
        kind = payload.get("type")
        if kind not in _TOOLS:
            failed = str(kind).encode() in _OUTPUTS and _says_failed(raw)
            return [self._tool_error(line, payload, "?")] if failed else ()
        at = self._at(line)
        name = text(payload.get("name"), 80) or _TOOLS[kind] or "?"
        identity = text(payload.get("call_id"), 100) or text(payload.get("id"), 100) or f"{self._family}/{at}/{name}"
        if len(self._tools) >= _MANY // 25:
            self._tools.clear()
        self._tools[identity] = name
        return [ToolCall(self.key(), at, identity, self._provider, self._model or "?", name)]

    def _tool_error(self, line: Line, payload: Line, tool: str) -> ToolError:
        at = self._at(line)
        identity = text(payload.get("call_id"), 100) or f"{self._family}/{at}"
        return ToolError(self.key(), at, identity, self._tools.get(identity, tool))

    def _at(self, line: Line) -> int:
        at = moment(line.get("timestamp"))
        if at is None:
            raise Unusable("a line without a time")
        self.last_at = max(self.last_at, at)
        return at


def _says_failed(line: bytes) -> bool:
    """Whether a tool's output tells of an exit code other than 0: near its begin, or in older versions at its end."""
    return _FAILED.search(line[:600]) is not None or _FAILED_AT_END.search(line[-300:]) is not None


def _usage(value: object) -> Usage | None:
    return Usage(*(tokens(value.get(name)) for name in _COUNTERS)) if isinstance(value, dict) else None


def _spawned_by(payload: Line) -> str | None:
    """The thread that a subagent was started by: lately at the top, before in source.subagent.thread_spawn."""
    found: object = payload.get("source")
    for name in ("subagent", "thread_spawn"):
        found = found.get(name) if isinstance(found, dict) else None
    older = found.get("parent_thread_id") if isinstance(found, dict) else None
    return text(payload.get("parent_thread_id"), 100) or text(older, 100)
