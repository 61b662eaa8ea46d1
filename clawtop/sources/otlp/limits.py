"""How much one may send, and how slowly."""

import zlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds. `body` is as sent, `unpacked` after gunzip, `held` of all requests together.

    `pause` is the longest silence within a body, `whole` the longest a body or a request's head may take.
    """

    body: int = 8 * 1024 * 1024
    unpacked: int = 16 * 1024 * 1024
    held: int = 64 * 1024 * 1024
    connections: int = 512
    requests_per_second: float = 100.0
    bytes_per_second: float = 8 * 1024 * 1024
    pause: float = 5.0
    whole: float = 20.0


class Allowance:
    """So much a second, and ten seconds' worth at once. It may be overdrawn once, and then must recover."""

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._left = self._most = per_second * 10
        self._at = now

    def spend(self, amount: float, now: float) -> bool:
        """Whether there was any left; `now` is a clock's seconds."""
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left <= 0:
            return False
        self._left -= amount
        return True


class TooLargeError(Exception):
    """A body is larger than it may be."""


class Gunzip:
    """A gzip stream, unpacked piece by piece and never further than the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._stream = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> bytes:
        """What these bytes unpack to. Raises TooLargeError, or zlib.error where they are no gzip."""
        found = self._stream.decompress(data, self._limit - self._size + 1)
        self._size += len(found)
        if self._size > self._limit:
            raise TooLargeError
        if self._stream.unused_data:
            raise zlib.error("something follows the stream's end")
        return found

    @property
    def complete(self) -> bool:
        """Whether the stream has ended."""
        return self._stream.eof
