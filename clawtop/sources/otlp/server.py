"""uvicorn within a loop that is somebody else's: no signals, no polling, no words on the terminal, no slow heads."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from clawtop.sources.otlp.limits import Limits

_KEEP_ALIVE_SECONDS = 65  # exporters send once a minute
_LARGEST_HEAD = 32 * 1024


async def serve(app: Callable[..., Any], bound: socket.socket, limits: Limits, refused: Callable[[str], None]) -> None:
    """Answer requests until cancelled; `refused` is told why where a connection is turned away.

    The socket is closed at the end.
    """
    logging.getLogger("uvicorn").parent = logging.getLogger("clawtop")
    config = uvicorn.Config(
        app,
        http=type("Protocol", (_Protocol,), {"door": _Door(limits, refused)}),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=_LARGEST_HEAD,
    )
    server = _Server(config)
    try:
        await server.serve(sockets=[bound])
    finally:
        if server.started:
            await server.shutdown(sockets=[bound])
        bound.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the command line's."""
        yield

    async def main_loop(self) -> None:
        """Nothing is polled: whoever serves cancels."""
        await self.on_tick(0)
        await asyncio.Event().wait()


class _Door(NamedTuple):
    limits: Limits
    refused: Callable[[str], None]


class _Protocol(H11Protocol):
    """One connection, which gives a request's head so long and takes so many connections.

    One too many takes the place of that which has been idle longest: exporters keep theirs between two exports.
    """

    door: ClassVar[_Door]
    idle_since: float | None = None
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.door.limits.connections and not self._make_room():
            self.door.refused(f"connections beyond {self.door.limits.connections} at once")
            transport.close()
            return
        self.idle_since = self.loop.time()
        self._expect_head()

    def _make_room(self) -> bool:
        idle = [each for each in self.connections if isinstance(each, _Protocol) and each.idle_since is not None]
        longest = min(idle, key=lambda each: each.idle_since or 0.0, default=None)
        if longest is not None:
            longest.idle_since = None
            longest.transport.close()
        return longest is not None

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.idle_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self.idle_since = None
            self._expect_nothing()
        else:
            self._expect_head()

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.door.limits.whole, self.transport.close)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
