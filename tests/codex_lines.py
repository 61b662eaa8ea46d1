"""Lines of Codex's rollouts for tests, as short as they may be."""

import json
from datetime import UTC, datetime
from typing import Any

Line = dict[str, Any]

T0 = 1_795_262_400_000
MODEL = "gpt-5.3-codex"


def line(kind: str, payload: Line, ms: int = 0) -> Line:
    """A line of any type, so many milliseconds after T0."""
    moment = datetime.fromtimestamp((T0 + ms) / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    return {"timestamp": moment, "type": kind, "payload": payload}


def meta(thread: str = "s1", cwd: str = "/srv/web", **fields: Any) -> Line:
    """How a thread begins."""
    about = {"cli_version": "0.145.0", "model_provider": "openai"}
    return line("session_meta", {"id": thread, "timestamp": "…", "cwd": cwd, **about, **fields})


def context(model: str = MODEL, ms: int = 0) -> Line:
    """What a turn runs with."""
    return line("turn_context", {"turn_id": "t", "cwd": "/srv/web/src", "model": model}, ms)


def usage(input: int, cached: int, output: int, **fields: int) -> Line:  # noqa: A002 - the field's own name
    """What a counter says."""
    named = {"input_tokens": input, "cached_input_tokens": cached, "output_tokens": output}
    return {**named, "reasoning_output_tokens": output // 2, "total_tokens": input + output, **fields}


def count(total: Line | None, last: Line | None, ms: int = 0) -> Line:
    """The counters after a call."""
    info = {"total_token_usage": total, "last_token_usage": last, "model_context_window": 258_400}
    return event("token_count", ms, info={name: value for name, value in info.items() if value is not None})


def event(kind: str, ms: int = 0, **fields: Any) -> Line:
    """An event_msg."""
    return line("event_msg", {"type": kind, **fields}, ms)


def item(kind: str, ms: int = 0, **fields: Any) -> Line:
    """A response_item."""
    return line("response_item", {"type": kind, **fields}, ms)


def raw(*lines: Line) -> list[bytes]:
    """The lines as they stand in a rollout, without their ends."""
    return [json.dumps(each, separators=(",", ":")).encode() for each in lines]


def text(*lines: Line) -> bytes:
    """A rollout with these lines."""
    return b"".join(each + b"\n" for each in raw(*lines))


USED = count(usage(1000, 200, 50), usage(1000, 200, 50))
"""The counters after a first call."""
