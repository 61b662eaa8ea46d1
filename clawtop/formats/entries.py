"""Entries of an OpenClaw transcript, the same in JSONL lines (2026.2 to 2026.7) and in SQLite rows (2026.8 on).

Observed on 2026.2.6-3, 2026.2.26, 2026.6.35 (session version 3) and 2026.9.6 (version 4).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from clawtop.formats.lines import json_object
from clawtop.formats.quantities import micro_dollars, moment, text, tokens
from clawtop.model.errors import Unusable
from clawtop.model.events import Tokens

INJECTED = "gateway-injected"
"""The model name of rows that the gateway wrote itself: neither call nor error."""

_MESSAGE = re.compile(
    rb'\{"type":"message","id":"[^"\\]{1,80}","parentId":(?:null|"[^"\\]{0,80}"),'
    rb'"timestamp":"[^"\\]{1,40}","message":\{"role":"(user|toolResult|assistant)"'
)
_NEVER_COUNTS = (b'{"type":"custom', b'{"type":"thinking_level_change"', b'{"type":"model_change"', b'{"type":"leaf"')
_PREFIX = re.compile(r"^\[[^\]]{1,80}\] ")


class Header(NamedTuple):
    """A session begins; `source` is the session it was forked from."""

    session: str | None
    at: int | None
    cwd: str | None
    source: str | None


class Prompt(NamedTuple):
    """Somebody said something to the agent. The text is decoded only where it is needed."""

    raw: bytes

    def text(self) -> str:
        """What was said, without the gateway's time stamp in front."""
        content = (json_object(self.raw).get("message") or {}).get("content")
        if isinstance(content, list):
            content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        return _PREFIX.sub("", content if isinstance(content, str) else "")


class Answer(NamedTuple):
    """An assistant message: a call, a failed attempt, an abort or a row the gateway injected.

    `id` is the entry's own id and the request's time: the same wherever the entry is copied to. `began` is that
    time alone, None where the entry has none. `run` is set by 2026.8 and later only.
    """

    id: str
    began: int | None
    ended: int | None
    provider: str
    model: str
    tokens: Tokens
    cost: int | None
    stop: str | None
    error: str | None
    run: str | None
    tools: tuple[tuple[str, str], ...]
    injected: bool
    aborted_run: str | None


class ToolResult(NamedTuple):
    """A tool's result that was an error."""

    id: str
    at: int | None
    tool: str
    run: str | None


class Shortened(NamedTuple):
    """A context was compacted or, with `reset`, thrown away."""

    id: str
    at: int | None
    reset: bool


Entry = Header | Prompt | Answer | ToolResult | Shortened


def read_entry(raw: bytes, ended: int | None = None) -> Entry | None:
    """The entry that `raw` holds, None for one that counts nothing.

    `ended` is when it was written where the caller knows better than the entry. Raises Unusable.
    Most bytes of a transcript are tool results that were fine: those are told by their first bytes and never decoded.
    """
    if raw.startswith(_NEVER_COUNTS):
        return None
    found = _MESSAGE.match(raw)
    if found is not None:
        role = found[1]
        if role == b"user":
            return Prompt(raw)
        if role == b"toolResult" and b'"isError":true' not in raw:
            return None
    return _read(json_object(raw), raw, ended)


def _read(entry: Mapping[str, Any], raw: bytes, ended: int | None) -> Entry | None:
    kind = entry.get("type")
    at = ended or moment(entry.get("timestamp"))
    if kind == "session":
        return Header(text(entry.get("id")), at, text(entry.get("cwd"), 4096), _source(entry.get("parentSession")))
    if kind in ("compaction", "reset"):
        return Shortened(_identity(entry, {}), at, kind == "reset")
    message = entry.get("message")
    return _message(entry, message, raw, at) if kind == "message" and isinstance(message, dict) else None


def _message(entry: Mapping[str, Any], message: Mapping[str, Any], raw: bytes, at: int | None) -> Entry | None:
    match message.get("role"):
        case "user":
            return Prompt(raw)
        case "assistant":
            return _answer(entry, message, at)
        case "toolResult" if message.get("isError") is True:
            return ToolResult(_identity(entry, message), at, text(message.get("toolName"), 80) or "?", _run(message))
    return None


def _source(value: object) -> str | None:
    """The session id in `sqlite:<agent>:<session id>:<path>` or in a path that ends with `<session id>.jsonl`."""
    named = text(value, 4096)
    if named is not None and named.startswith("sqlite:"):
        return (named.split(":") + [""] * 2)[2] or None
    return named and re.split(r"[/\\]", named)[-1].removesuffix(".jsonl")


def _identity(entry: Mapping[str, Any], message: Mapping[str, Any]) -> str:
    own = entry.get("id")
    if not isinstance(own, str) or not own:
        raise Unusable("an entry without id")
    return f"{own[:100]}@{moment(message.get('timestamp')) or moment(entry.get('timestamp')) or 0}"


def _run(message: Mapping[str, Any]) -> str | None:
    note = message.get("__openclaw")
    return text(note.get("runId")) if isinstance(note, dict) else None


def _answer(entry: Mapping[str, Any], message: Mapping[str, Any], at: int | None) -> Answer:
    usage = message.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    cost = usage.get("cost")
    stop = text(message.get("stopReason"), 40)
    abort = message.get("openclawAbort")
    return Answer(
        id=_identity(entry, message),
        began=moment(message.get("timestamp")),
        ended=at,
        provider=text(message.get("provider"), 100) or "",
        model=text(message.get("model"), 200) or "?",
        tokens=Tokens(*(tokens(usage.get(name)) for name in ("input", "output", "cacheRead", "cacheWrite"))),
        cost=micro_dollars(cost.get("total")) if isinstance(cost, dict) else None,
        stop=stop,
        error=(text(message.get("errorMessage"), 500) or "failed") if stop == "error" else None,
        run=_run(message),
        tools=tuple(_tools(message.get("content"))),
        injected=message.get("model") == INJECTED or stop == "injected",
        aborted_run=(text(abort.get("runId")) or "?") if isinstance(abort, dict) else None,
    )


def _tools(content: object) -> list[tuple[str, str]]:
    blocks = content if isinstance(content, list) else []
    return [
        (text(block.get("id")) or str(place), text(block.get("name"), 80) or "?")
        for place, block in enumerate(blocks)
        if isinstance(block, dict) and block.get("type") == "toolCall"
    ]
