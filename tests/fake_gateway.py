"""A gateway that says what a test wants: canned answers, pushed events, and every way to go wrong.

async with FakeGateway({"sessions.list": lambda params: {"sessions": []}}) as fake:
    async with connect(fake.address) as gateway:
        await fake.push("tick", {"ts": 1})
"""

import asyncio
import inspect
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from clawtop.gateway.connection import GatewayAddress

Params = dict[str, Any]
Handler = Callable[[Params], object | Awaitable[object]]

TOKEN = "fake-token-3141"


class Refusal(Exception):
    """What a handler raises to answer with an error."""

    def __init__(self, code: str, message: str, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "details": details or {}}


class Silence(Exception):
    """What a handler raises to answer nothing at all."""


class Death(Exception):
    """What a handler raises to cut the connection without a word, before it answers."""


WRONG_TOKEN = Refusal("INVALID_REQUEST", "unauthorized: gateway token mismatch", {"code": "AUTH_TOKEN_MISMATCH"})
PAIRING = Refusal("NOT_PAIRED", "device identity required", {"code": "DEVICE_IDENTITY_REQUIRED"})
OTHER_PROTOCOL = Refusal("INVALID_REQUEST", "protocol mismatch", {"code": "PROTOCOL_MISMATCH", "expectedProtocol": 9})


class FakeGateway:
    """Listens on a port of its own while it is entered. `calls` is what was asked, `handlers` may change any time.

    A handler gets the params and returns the payload, or is a coroutine function that does, or raises Refusal,
    Silence or Death. `refuses` answers `connect` with an error; without `challenge` the gateway never speaks first.
    What clients may do is `granted`, None for whatever they ask.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler] | None = None,
        *,
        protocol: int = 4,
        version: str = "2026.9.6",
        refuses: Exception | None = None,
        challenge: bool = True,
        granted: list[str] | None = None,
        token: str = TOKEN,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.handlers: dict[str, Handler] = {"sessions.subscribe": lambda _: {"subscribed": True}, **(handlers or {})}
        self.protocol = protocol
        self.version = version
        self.refuses = refuses
        self.challenge = challenge
        self.granted = granted
        self.token = token
        self.tls = tls
        self.boots = 1
        self.calls: list[tuple[str, Params]] = []
        self.connections: set[ServerConnection] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self._server: Server | None = None
        self._port = 0
        self._seq = 0
        self._news = asyncio.Event()

    @property
    def url(self) -> str:
        """`ws://127.0.0.1:PORT`, with `wss` where it was given a certificate."""
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self._port}"

    @property
    def address(self) -> GatewayAddress:
        """Its url and its token."""
        return GatewayAddress(self.url, self.token)

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.die()

    async def listen(self) -> None:
        """Begin, or come back on the same port after `die`."""
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self._port,
            ssl=self.tls,
            max_size=None,
            ping_interval=None,
            compression=None,
            close_timeout=0.1,
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def die(self) -> None:
        """Cut all connections without a word and listen no more."""
        server, self._server = self._server, None
        if server is None:
            return
        self.boots += 1
        await asyncio.sleep(0)  # asyncio never closes a connection that it has accepted and not begun to serve
        for task in list(self._serving):
            task.cancel()
        server.close()
        await server.wait_closed()

    async def push(self, event: str, payload: Mapping[str, object]) -> None:
        """Send an event to every client that said hello."""
        self._seq += 1
        await self.send(json.dumps({"type": "event", "event": event, "payload": payload, "seq": self._seq}))

    async def send(self, frame: str | bytes) -> None:
        """Send these very words to every client that said hello."""
        for connection in list(self.connections):
            await connection.send(frame)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once `holds` is true after some call or connection; fails after 10 s."""
        async with asyncio.timeout(10):
            while not holds():
                self._news.clear()
                await self._news.wait()

    def asked(self, method: str) -> list[Params]:
        """The params of each call of a method so far."""
        return [params for name, params in self.calls if name == method]

    async def _serve(self, connection: ServerConnection) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        try:
            if self.challenge:
                await connection.send(_event("connect.challenge", {"nonce": "n", "ts": 0}))
            async for message in connection:
                await self._answer(connection, json.loads(message))
        except ConnectionClosed:
            pass
        except (Death, asyncio.CancelledError):
            connection.transport.abort()
        finally:
            self._serving.discard(serving)
            self.connections.discard(connection)
            self._news.set()

    async def _answer(self, connection: ServerConnection, frame: Params) -> None:
        method, params = frame["method"], frame.get("params") or {}
        self.calls.append((method, params))
        self._news.set()
        answer: dict[str, object] = {"type": "res", "id": frame["id"]}
        try:
            answer |= {"ok": True, "payload": await self._payload(method, params)}
        except Refusal as refusal:
            answer |= {"ok": False, "error": refusal.error}
        except Silence:
            return
        await connection.send(json.dumps(answer))
        if method == "connect":
            if not answer["ok"]:
                await connection.close(1008, "refused")
            else:
                self.connections.add(connection)
                self._news.set()

    async def _payload(self, method: str, params: Params) -> object:
        if method == "connect":
            return self._hello(params)
        handler = self.handlers.get(method)
        if handler is None:
            raise Refusal("INVALID_REQUEST", f"unknown method: {method}")
        payload = handler(params)
        return await payload if inspect.isawaitable(payload) else payload

    def _hello(self, params: Params) -> object:
        if self.refuses is not None:
            raise self.refuses
        if params["auth"].get("token") != self.token:
            raise WRONG_TOKEN
        if not params["minProtocol"] <= self.protocol <= params["maxProtocol"]:
            raise OTHER_PROTOCOL
        return {
            "type": "hello-ok",
            "protocol": self.protocol,
            "server": {"version": self.version, "bootId": f"boot-{self.boots}"},
            "features": {"methods": sorted(self.handlers), "events": []},
            "auth": {"role": "operator", "scopes": params["scopes"] if self.granted is None else self.granted},
        }


def _event(name: str, payload: Mapping[str, object]) -> str:
    return json.dumps({"type": "event", "event": name, "payload": payload})
