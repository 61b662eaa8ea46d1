"""Lines of Claude Code's logs for tests, as short as they may be."""

import json
from datetime import UTC, datetime
from typing import Any

Line = dict[str, Any]

T0 = 1_795_262_400_000
CWD = "/srv/api"
SLUG = "-srv-api"
MODEL = "claude-sonnet-4-5-20250929"


def at(milliseconds: int) -> str:
    """The time so many milliseconds after T0, as a line has it."""
    return datetime.fromtimestamp((T0 + milliseconds) / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def line(kind: str, ms: int = 0, uuid: str = "u", **fields: Any) -> Line:
    """A line of any type."""
    head = {"parentUuid": None, "isSidechain": fields.pop("isSidechain", False), "cwd": CWD, "sessionId": "s1"}
    return {**head, "type": kind, "uuid": f"{uuid}{ms}", "timestamp": at(ms), **fields}


def usage(output: float = 50, **fields: Any) -> Line:
    """What an answer used: 10 input, 1,000 cached, 200 written for five minutes."""
    written = {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 0}
    counts = {"input_tokens": 10, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 1000}
    return {**counts, "output_tokens": output, "cache_creation": written, **fields}


def answer(message: str = "msg_1", ms: int = 0, **fields: Any) -> Line:
    """A line of an answer; `usage`, `model` and `tools` (ids) are its message's."""
    tools = [{"type": "tool_use", "id": tool, "name": "Bash", "input": {}} for tool in fields.pop("tools", ())]
    body = {
        "id": message,
        "type": "message",
        "role": "assistant",
        "model": fields.pop("model", MODEL),
        "content": [{"type": "text", "text": "hm"}, *tools],
        "stop_reason": fields.pop("stop", None),
        "usage": fields.pop("usage", usage()),
    }
    return line("assistant", ms, f"u{message}", message=body, **{"requestId": f"req_{message}", **fields})


def said(words: str, ms: int = 0, **fields: Any) -> Line:
    """Something a person said."""
    return line("user", ms, "p", message={"role": "user", "content": words}, **fields)


def result(tool: str, ms: int = 0, *, failed: bool = False) -> Line:
    """A tool's result."""
    block = {"tool_use_id": tool, "type": "tool_result", "content": "…", "is_error": failed}
    return line("user", ms, "r", message={"role": "user", "content": [block]})


def api_error(ms: int = 0, status: int = 529, **fields: Any) -> Line:
    """An attempt that failed and will be made again."""
    inner = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    error = {"status": status, "headers": {"x": "y"}, "error": inner}
    about = {"retryInMs": 500.5, "retryAttempt": 1, "maxRetries": 10, **fields}
    return line("system", ms, "e", subtype="api_error", level="error", error=error, **about)


def gave_up(ms: int = 0) -> Line:
    """The last attempt failed."""
    said = [{"type": "text", "text": "API Error: 529 Overloaded"}]
    body = {"id": f"x{ms}", "role": "assistant", "model": "<synthetic>", "usage": usage(0), "content": said}
    return line("assistant", ms, "g", message=body, isApiErrorMessage=True)


def raw(*lines: Line) -> list[bytes]:
    """The lines as they stand in a log, without their ends."""
    return [json.dumps(each, separators=(",", ":")).encode() for each in lines]


def text(*lines: Line) -> bytes:
    """A log with these lines."""
    return b"".join(each + b"\n" for each in raw(*lines))
