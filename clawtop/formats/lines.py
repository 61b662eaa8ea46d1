"""Bytes in chunks of any size -> whole lines, in bounded memory."""

import re
from typing import Any

import orjson

from clawtop.model.errors import Unusable

MAX_LINE = 16 * 1024 * 1024
"""Bytes of the longest line that is kept."""

_HEX = rb"[0-9a-fA-F]"
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB]%(two)b\\u[dD][c-fC-F]%(two)b|(u[dD][89a-fA-F]%(two)b)|.)" % {b"two": _HEX * 2}, re.DOTALL
)


def json_object(raw: bytes) -> dict[str, Any]:
    """The object that a line or a body is. Raises Unusable where it is none."""
    found = json_value(raw)
    if not isinstance(found, dict):
        raise Unusable("no JSON object")
    return found


def json_value(raw: bytes) -> Any:
    """What `raw` is in JSON. Raises Unusable where it is none.

    Half a pair of surrogates, which JavaScript leaves where it cuts a text within an emoji, becomes U+FFFD.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        return orjson.loads(without_half_pairs(raw))
    except orjson.JSONDecodeError:
        raise Unusable("not JSON") from None


def without_half_pairs(raw: bytes) -> bytes:
    """The same JSON with U+FFFD in place of escapes that are half a pair of surrogates."""
    return _ESCAPE.sub(lambda found: b"\\ufffd" if found[1] else found[0], raw) if b"\\u" in raw else raw


class LineSplitter:
    r"""Whole lines out of chunks: without their \n, one trailing \r stripped, blank ones dropped, never a torn one."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self.too_long = 0
        """Lines dropped so far because they were longer than the limit, an unfinished one included."""
        self._limit = limit
        self._held = bytearray()
        self._dropping = False

    def feed(self, chunk: bytes) -> list[bytes]:
        r"""The lines that this chunk ends; what follows its last \n is kept until that line ends."""
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if not lines:
            self._hold(rest)
            return []
        carriage = b"\r" in chunk or self._held.endswith(b"\r")
        if self._dropping:
            lines[0] = b""
        elif self._held:
            self._held += lines[0]
            lines[0] = bytes(self._held)
        self._dropping = False
        self._held = bytearray()
        if len(lines[0]) > self._limit or len(chunk) > self._limit:
            lines = self._within_limit(lines)
        self._hold(rest)
        if carriage:
            lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
        return [line for line in lines if line]

    def _hold(self, rest: bytes) -> None:
        if not self._dropping and len(self._held) + len(rest) <= self._limit:
            self._held += rest
            return
        self.too_long += not self._dropping
        self._dropping = True
        self._held = bytearray()

    def _within_limit(self, lines: list[bytes]) -> list[bytes]:
        kept = [line for line in lines if len(line) <= self._limit]
        self.too_long += len(lines) - len(kept)
        return kept
