"""A message as the gateway tells it -> the entry that stands in the transcript, as far as it counts.

Its identity is the entry's: messageId and the message's own time; recordTimestampMs is when the row was written.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from clawtop.formats.quantities import moment, text

Table = Mapping[str, Any]

_LONGEST_PROMPT = 2000
_TOLD = (
    "role",
    "provider",
    "model",
    "usage",
    "stopReason",
    "timestamp",
    "errorMessage",
    "openclawAbort",
    "toolName",
    "toolCallId",
    "isError",
)


def read_message(payload: Table, now: int) -> tuple[bytes, int] | None:
    """(the entry, when it was written) of a session.message or of a message of chat.history.

    None for what is no message. `now` stands in where the gateway does not say when, as 2026.6 in its events.
    """
    message = payload.get("message")
    message = message if isinstance(message, dict) else payload
    if not isinstance(message.get("role"), str):
        return None
    note = message.get("__openclaw")
    note = note if isinstance(note, dict) else {}
    written = moment(note.get("recordTimestampMs")) or now
    told = {name: message[name] for name in _TOLD if name in message}
    told["content"] = list(_content(message))
    told["__openclaw"] = {"runId": note.get("runId")}
    entry = {"type": "message", "id": identity_of(payload), "timestamp": written, "message": told}
    return orjson.dumps(entry), written


def run_of(payload: Table) -> str | None:
    """The run that a message belongs to, which 2026.8 and later say."""
    message = payload.get("message")
    note = (message if isinstance(message, dict) else payload).get("__openclaw")
    return text(note.get("runId")) if isinstance(note, dict) else None


def identity_of(payload: Table) -> str | None:
    """The entry's own id."""
    message = payload.get("message")
    note = (message if isinstance(message, dict) else payload).get("__openclaw")
    return text(payload.get("messageId")) or (text(note.get("id")) if isinstance(note, dict) else None)


def oldest_of(page: Table) -> int:
    """When the oldest message of an answer of chat.history was written (Unix ms), 0 where it does not say."""
    messages = page.get("messages")
    first = messages[0] if isinstance(messages, list) and messages else None
    note = first.get("__openclaw") if isinstance(first, dict) else None
    return (moment(note.get("recordTimestampMs")) or 0) if isinstance(note, dict) else 0


def _content(message: Table) -> Iterable[Table]:
    """What counts of a message's content: tool calls by id and name, a person's words; the rest may be megabytes."""
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    prompt = message["role"] == "user"
    for block in content if isinstance(content, list) else ():
        if not isinstance(block, dict):
            continue
        if block.get("type") == "toolCall":
            yield {"type": "toolCall", "id": block.get("id"), "name": block.get("name")}
        elif prompt and block.get("type") == "text":
            yield {"type": "text", "text": (text(block.get("text"), _LONGEST_PROMPT) or "")}
