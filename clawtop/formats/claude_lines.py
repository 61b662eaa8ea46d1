"""What single lines of Claude Code's logs say, and what their paths do; claude_code tells where that is known from."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from clawtop.formats.quantities import MOST_TOKENS, text, tokens
from clawtop.model.errors import Unusable
from clawtop.model.events import Tokens

_NO_SLUG = re.compile(r"[^a-zA-Z0-9]")
_ID, _TIME, _SIDECHAIN, _TOOL = b'"id":"msg_', b'"timestamp":"', b'"isSidechain":true', b'"tool_use"'
_HEAD = 2000  # bytes within which a line says whether it is a sidechain's
_TIME_LENGTH = len("2026-05-06T08:14:53.390Z")

Line = Mapping[str, Any]


class Place(NamedTuple):
    """What a log's path says: the project's slug, the session, and the subagent where it is one's."""

    slug: str
    session: str
    subagent: str | None = None


def place_of(path: str) -> Place:
    """The place of a log by its path below `projects`."""
    *folders, name = path.split("/")
    stem = name.removesuffix(".jsonl")
    subagent = stem.removeprefix("agent-") if stem.startswith("agent-") else None
    if subagent is None:
        return Place(folders[0] if folders else "", stem)
    nested = len(folders) > 2 and folders[-1] == "subagents"
    return Place(folders[0] if folders else "", folders[-2] if nested else stem, subagent)


def home_of(slug: str, cwd: str) -> str | None:
    """The folder a session was started in: the one above or at `cwd` that has this slug, None where none has."""
    folder = cwd
    while folder and _NO_SLUG.sub("-", folder) != slug:
        folder = folder.rpartition("/")[0]
    return folder or None


class Sketch(NamedTuple):
    """What a line of a message that asks for no tool says at first sight. All else in it is text, so what is found
    by its quotes is what it seems to be. `at` compares as text."""

    message: bytes
    sidechain: bool
    at: bytes


def sketch_of(line: bytes) -> Sketch | None:
    """The sketch of an answer's line, None where it has to be read to know."""
    start = line.find(_ID)
    if start < 0 or _TOOL in line:
        return None
    at = line.rfind(_TIME) + len(_TIME)
    end = at + _TIME_LENGTH
    if at < len(_TIME) or line[end - 1 : end + 1] != b'Z"':
        return None
    start += len(_ID) - len(b"msg_")
    return Sketch(line[start : line.find(b'"', start)], line.find(_SIDECHAIN, 0, _HEAD) >= 0, line[at:end])


def name_of(line: Line) -> str:
    """A line's own id: a fork gives its copies new ones and says which they had. Raises Unusable where it has none."""
    origin = line.get("forkedFrom")
    named = origin.get("messageUuid") if isinstance(origin, dict) else line.get("uuid")
    found = text(named, 100)
    if found is None:
        raise Unusable("a line without id")
    return found


def model_of(message: Line) -> str:
    """The model, by a name of its own where it answered faster, which has another price."""
    named, usage = text(message.get("model"), 200) or "?", message.get("usage")
    return f"{named}-fast" if isinstance(usage, dict) and usage.get("speed") == "fast" else named


def identity_of(line: Line, message: Line) -> str:
    """What is the same on all lines of a message. Raises Unusable where nothing is."""
    identity = text(message.get("id"), 100)
    if identity is None:
        return name_of(line)
    if identity.startswith("msg_") or (request := text(line.get("requestId"), 100)) is None:
        return identity
    return f"{identity}:{request}"  # only Anthropic's own ids are known to be unique


def blocks_of(message: Line) -> list[Line]:
    """The blocks of a message's content."""
    content = message.get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def usage_of(usage: Line) -> tuple[Tokens, int]:
    """(what a message used, how much of what it wrote to the cache is kept for an hour). Raises Unusable."""
    fresh, output = _amount(usage, "input_tokens"), _amount(usage, "output_tokens")
    cached, written = _amount(usage, "cache_read_input_tokens"), _amount(usage, "cache_creation_input_tokens")
    lifetimes = usage.get("cache_creation")
    if not isinstance(lifetimes, dict):
        return Tokens(fresh, output, cached, written), 0
    longer = _amount(lifetimes, "ephemeral_1h_input_tokens")
    written = written or longer + _amount(lifetimes, "ephemeral_5m_input_tokens")
    return Tokens(fresh, output, cached, written), min(longer, written)


def _amount(usage: Line, name: str) -> int:
    amount = usage.get(name)
    # nearly all are what they should be, and there are six in each of very many lines
    return amount if type(amount) is int and 0 <= amount <= MOST_TOKENS else tokens(amount)


def provider_of(model: str) -> str:
    """Who is asked for a model, as far as its name tells: Bedrock's ids have Anthropic's name in them."""
    if "anthropic." in model:
        return "aws"
    return "anthropic" if model.startswith("claude") else ""


def failure_of(error: object) -> str:
    """What an api_error line says: the status, and the innermost message, type or code."""
    said, inner, status = None, error, None
    for _ in range(5):
        if not isinstance(inner, dict):
            break
        status = status or inner.get("status")
        said = text(inner.get("message")) or text(inner.get("type")) or text(inner.get("code")) or said
        inner = inner.get("error") or inner.get("cause")
    named = str(status) if isinstance(status, int) else None
    return " ".join(filter(None, (named, said))) or "failed"
