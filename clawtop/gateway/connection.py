"""A connection to a gateway: requests with their answers, and the events it pushes."""

# ruff: noqa: ASYNC109 - a request says itself how long it may take: what timed out is then named in the error

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from clawtop.gateway.backlog import Backlog
from clawtop.gateway.errors import ConnectionLost, TimedOut, Unreachable
from clawtop.gateway.opening import no_gateway, open_socket, silence
from clawtop.gateway.protocol import (
    CHALLENGE,
    Frames,
    GatewayEvent,
    Hello,
    Reply,
    connect_params,
    hung_up,
    read_hello,
    refused,
    unwelcome,
    words,
)
from clawtop.model.hosts import is_loopback

_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """Where a gateway listens, `ws://` or `wss://`, and the token it wants; `verify` is for wss certificates."""

    url: str
    token: str | None = field(repr=False)
    verify: bool = True

    @property
    def loopback(self) -> bool:
        """Whether the gateway is reached over this machine's own loopback."""
        return is_loopback(urlsplit(self.url).hostname)

    @property
    def exposed(self) -> bool:
        """Whether the token would cross a network unencrypted."""
        return self.token is not None and self.url.startswith("ws://") and not self.loopback


class Gateway:
    """An open connection; `connect` makes one. Its methods belong to one event loop."""

    def __init__(self, address: GatewayAddress, websocket: ClientConnection) -> None:
        self.address = address
        self.hello = Hello(0, "?", frozenset(), frozenset())
        self.frames = Frames()
        self.backlog = Backlog()
        self._socket = websocket
        self.close_reason = ""
        """What the gateway said when it hung up."""
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._lost: str | None = None
        self._challenged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read())

    async def call(
        self, method: str, params: Mapping[str, object] | None = None, *, timeout: float = 10.0
    ) -> dict[str, Any]:
        """The answer's payload, after at most `timeout` seconds. Raises Refused, TimedOut, ConnectionLost."""
        reply = await self._ask(method, params, timeout)
        if reply.error is not None:
            raise refused(reply.error, method, self.address.token)
        return reply.payload

    async def events(self) -> AsyncIterator[GatewayEvent]:
        """What the gateway tells from now on, in its order; one reader at a time.

        A reader that is too slow loses droppable kinds first; where others had to go it gets a GAP event.
        Ends when this side closes, raises ConnectionLost when the gateway is gone.
        """
        while (event := await self.backlog.get()) is not None:
            yield event

    async def close(self) -> None:
        """Hang up; at most a second."""
        self._end(f"the connection to {self.address.url} was closed by clawtop", silent=True)
        try:
            await self._socket.close()
        finally:
            # whoever is cancelled while it says goodbye leaves no socket behind
            self._socket.transport.abort()
            self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def introduce(self, scopes: Sequence[str]) -> None:
        """Wait for the gateway's challenge and answer it. Raises GatewayError."""
        await self._challenged
        reply = await self._ask("connect", connect_params(self.address.token, scopes), None)
        if reply.error is not None:
            raise unwelcome(reply.error, self.address.url, self.address.token)
        self.hello = read_hello(reply.payload, scopes)
        if "operator.read" in scopes and not self.hello.scopes & {"operator.read", "operator.admin"}:
            raise unwelcome({"code": "NOT_PAIRED", "message": "no scope was granted"}, self.address.url, "")

    async def _ask(self, method: str, params: Mapping[str, object] | None, timeout: float | None) -> Reply:
        if self._lost is not None:
            raise ConnectionLost(self._lost)
        number, frame = self.frames.request(method, params)
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            async with asyncio.timeout(timeout):
                await self._socket.send(frame, text=True)
                return await waiting
        except TimeoutError:
            raise TimedOut(method, self.address.url, timeout or 0) from None
        except ConnectionClosed as closed:
            raise self._closed(closed) from None
        finally:
            del self._waiting[number]

    async def _read(self) -> None:
        try:
            while True:
                raw = await self._socket.recv(decode=False)
                self._take(raw)
        except ConnectionClosed as closed:
            self._closed(closed)
        finally:
            # whatever else may have ended it, nobody must wait for answers that nobody reads
            self._end(f"the connection to {self.address.url} is not read any more", silent=False)

    def _take(self, raw: bytes) -> None:
        frame = self.frames.receive(raw)
        match frame:
            case Reply():
                waiting = self._waiting.get(frame.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(frame)
            case GatewayEvent() if frame.event != CHALLENGE:
                self.backlog.put(frame, len(raw))
            case GatewayEvent() if not self._challenged.done():
                self._challenged.set_result(None)

    def _closed(self, closed: ConnectionClosed) -> ConnectionLost:
        told = closed.rcvd or closed.sent
        reason = words(told.reason if told else None, self.address.token, _LONGEST_REASON) or ""
        if self._lost is None:
            self.close_reason = reason
        self._end(f"the connection to {self.address.url} ended" + (f": {reason}" if reason else ""), silent=False)
        return ConnectionLost(self._lost or "")

    def _end(self, what: str, *, silent: bool) -> None:
        if self._lost is not None:
            return
        self._lost = what
        self.backlog.end(None if silent else ConnectionLost(what))
        futures: list[asyncio.Future[Any]] = [self._challenged, *self._waiting.values()]
        for future in futures:
            if not future.done():
                future.set_exception(ConnectionLost(what))
                # nobody may be there to take it, and asyncio would complain
                future.exception()


@asynccontextmanager
async def connect(
    address: GatewayAddress, *, scopes: Sequence[str] = ("operator.read",), timeout: float = 5.0
) -> AsyncIterator[Gateway]:
    """A connection that the gateway has said hello on, within `timeout` seconds.

    Raises Unreachable, WrongToken, PairingNeeded, ProtocolMismatch, or Refused for another refusal of `connect`.
    """
    gateway = await _open(address, scopes, timeout)
    try:
        yield gateway
    finally:
        await gateway.close()


async def _open(address: GatewayAddress, scopes: Sequence[str], timeout: float) -> Gateway:
    until = asyncio.get_running_loop().time() + timeout
    try:
        async with asyncio.timeout_at(until):
            socket = await open_socket(address.url, verify=address.verify, loopback=address.loopback)
    except TimeoutError:
        raise Unreachable(silence(address.url, timeout)) from None
    gateway = Gateway(address, socket)
    try:
        await _introduce(gateway, scopes, until)
    except TimeoutError:
        raise Unreachable(no_gateway(address.url, f"it said no hello within {timeout:g} s")) from None
    except ConnectionLost:
        told = hung_up(gateway.close_reason, address.url, address.token)
        raise told or Unreachable(no_gateway(address.url, "it hung up before its hello")) from None
    return gateway


async def _introduce(gateway: Gateway, scopes: Sequence[str], until: float) -> None:
    """Say hello, and hang up where that does not come to an end."""
    async with AsyncExitStack() as failing:
        failing.push_async_callback(gateway.close)
        async with asyncio.timeout_at(until):
            await gateway.introduce(scopes)
        failing.pop_all()
