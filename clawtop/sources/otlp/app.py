"""OTLP over HTTP as an ASGI application: what may come in, and what is answered."""

import asyncio
import contextlib
import hmac
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from clawtop.formats.otlp.records import Signal
from clawtop.model.errors import Unusable
from clawtop.sources.otlp.limits import Allowance, Gunzip, Limits, TooLargeError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PROTOBUF, JSON = "application/x-protobuf", "application/json"
_PATHS = {f"/v1/{signal.value}": signal for signal in Signal}
_REJECTED = {
    Signal.METRICS: "rejectedDataPoints",
    Signal.TRACES: "rejectedSpans",
    Signal.LOGS: "rejectedLogRecords",
}


class _RefusedError(Exception):
    """A request that is not taken, with what is answered."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body, unpacked; `size` is what came over the wire."""

    signal: Signal
    data: bytes
    size: int
    json: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """How many items of a body could not be used, and why."""

    count: int
    why: str


class OtlpApp:
    """Takes bodies and gives them to `take`, which says what it could not use, or raises Unusable for all of it.

    `refused` is told the reason of each request that is not taken.
    """

    def __init__(
        self,
        take: Callable[[Body], Awaitable[Rejected]],
        refused: Callable[[str], None],
        *,
        token: str | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._take = take
        self._refused = refused
        self._token = token
        self._limits = limits or Limits()
        self._clock = clock
        self._requests = Allowance(self._limits.requests_per_second, clock())
        self._bytes = Allowance(self._limits.bytes_per_second, clock())
        self._held = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        json = _media_type(headers) == JSON
        try:
            signal = self._admit(scope, headers)
            with self._holding() as hold:
                body = await self._body(signal, headers, receive, hold, json=json)
                rejected = await self._take(body)
        except _RefusedError as refusal:
            self._refused(str(refusal))
            await _answer(send, refusal.status, json, _status(str(refusal), json=json), refusal.headers)
        except Unusable as reason:
            self._refused(str(reason))
            await _answer(send, 400, json, _status(f"the body cannot be used: {reason}", json=json))
        else:
            await _answer(send, 200, json, _success(signal, rejected, json=json))

    # ---- before the body

    def _admit(self, scope: Message, headers: dict[str, str]) -> Signal:
        if self._token is not None and not _knows(headers.get("authorization", ""), self._token):
            raise _RefusedError(401, "no bearer token or a wrong one", **{"www-authenticate": "Bearer"})
        signal = _PATHS.get(scope["path"])
        if signal is None:
            raise _RefusedError(404, "unknown path; OTLP is taken at /v1/metrics, /v1/traces and /v1/logs")
        if scope["method"] != "POST":
            raise _RefusedError(405, "only POST", allow="POST")
        if _media_type(headers) not in (PROTOBUF, JSON):
            raise _RefusedError(415, f"neither {PROTOBUF} nor {JSON}")
        if headers.get("content-encoding", "identity") not in ("gzip", "identity", "none", ""):
            raise _RefusedError(415, "an encoding other than gzip")
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._limits.body:
            raise _RefusedError(413, f"more than {self._limits.body} bytes")
        now = self._clock()
        if not self._requests.spend(1, now) or not self._bytes.spend(0, now):
            raise _RefusedError(429, "more than is taken in a second", **{"retry-after": "1"})
        return signal

    # ---- the body

    @contextlib.contextmanager
    def _holding(self) -> Iterator[Callable[[int], None]]:
        """What is told of each piece of a body; all of it counts as held until the body was taken."""
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            self._held += size
            if self._held > self._limits.held:
                raise _RefusedError(503, "too much at once", **{"retry-after": "1"})

        try:
            yield hold
        finally:
            self._held -= held

    async def _body(
        self, signal: Signal, headers: dict[str, str], receive: Receive, hold: Callable[[int], None], *, json: bool
    ) -> Body:
        pieces, size, unpacked = [], 0, 0
        gunzip = Gunzip(self._limits.unpacked) if headers.get("content-encoding") == "gzip" else None
        try:
            async with asyncio.timeout(self._limits.whole):
                more = True
                while more:
                    data, more = await self._piece(receive)
                    size += len(data)
                    if size > self._limits.body:
                        raise _RefusedError(413, f"more than {self._limits.body} bytes")
                    found = data if gunzip is None else gunzip.feed(data)
                    unpacked += len(found)
                    hold(len(found))
                    pieces.append(found)
        except TimeoutError:
            raise _RefusedError(408, "a body that comes too slowly") from None
        except TooLargeError:
            raise _RefusedError(413, f"more than {self._limits.unpacked} bytes once unpacked") from None
        except zlib.error:
            raise _RefusedError(400, "no gzip") from None
        finally:
            self._bytes.spend(unpacked, self._clock())
        if gunzip is not None and size and not gunzip.complete:
            raise _RefusedError(400, "gzip that ends too early")
        return Body(signal, b"".join(pieces), size, json)

    async def _piece(self, receive: Receive) -> tuple[bytes, bool]:
        message = await asyncio.wait_for(receive(), self._limits.pause)
        if message["type"] == "http.disconnect":
            raise _RefusedError(400, "a sender that left in the middle")
        return message.get("body", b""), message.get("more_body", False)


def _knows(header: str, token: str) -> bool:
    kind, _, told = header.partition(" ")
    return kind.casefold() == "bearer" and hmac.compare_digest(told.strip().encode(), token.encode())


def _media_type(headers: dict[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().casefold()


async def _answer(send: Send, status: int, json: bool, body: bytes, headers: dict[str, str] | None = None) -> None:  # noqa: FBT001
    lines = {"content-type": JSON if json else PROTOBUF, "content-length": str(len(body)), **(headers or {})}
    if status >= 400:
        lines["connection"] = "close"  # the rest of the body is not waited for
    named = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body})


def _success(signal: Signal, rejected: Rejected, *, json: bool) -> bytes:
    """An Export…ServiceResponse: partial_success is its field 1, in which the count is field 1, the words field 2."""
    if not rejected.count:
        return b"{}" if json else b""
    if json:
        told = {_REJECTED[signal]: str(rejected.count), "errorMessage": rejected.why}
        return orjson.dumps({"partialSuccess": told})
    return _field(1, b"\x08" + _varint(rejected.count) + _field(2, rejected.why.encode()))


def _status(words: str, *, json: bool) -> bytes:
    """A google.rpc.Status, whose message is field 2."""
    return orjson.dumps({"message": words}) if json else _field(2, words.encode())


def _field(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))
