"""`clawtop export`: what every agent counted, served over HTTP for a Prometheus to fetch."""

import argparse
import asyncio
import errno
import gzip
import hmac
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clawtop.credentials import read_token
from clawtop.model.errors import FINE, TROUBLE, ClawtopError, UsageError
from clawtop.model.hosts import is_loopback
from clawtop.model.selection import Scope
from clawtop.paths import expanded

if TYPE_CHECKING:
    from clawtop.engine import Engine
    from clawtop.exposition import Exposition
    from clawtop.sources import Source

ADDRESS = "127.0.0.1:9464"

_log = logging.getLogger(__name__)
_MOST_SERIES = 5000
_MOST_CONNECTIONS = 32
_KEEP_ALIVE_SECONDS = 75
_SELDOM_SECONDS = 3600.0
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


def parser() -> argparse.ArgumentParser:
    """What `clawtop export` understands."""
    made = argparse.ArgumentParser(
        prog="clawtop export",
        description="Serve what every agent counted at http://HOST:PORT/metrics, for a Prometheus to fetch.",
        epilog="Where others than this machine can reach it, whoever asks should have to show a token: "
        "CLAWTOP_EXPORT_TOKEN or --token-file. There is no TLS: put a proxy in front.",
    )
    made.add_argument("--listen", default=ADDRESS, metavar="HOST:PORT", help=f"default {ADDRESS}")
    made.add_argument("--token-file", dest="export_token_file", metavar="PATH", help="the token that scrapes must bear")
    made.add_argument(
        "--max-series",
        type=int,
        default=_MOST_SERIES,
        metavar="N",
        help="how many combinations of agent, project, user, model and host have series of their own; "
        f"the rest is added up ({_MOST_SERIES})",
    )
    made.add_argument(
        "-s", "--source", action="append", default=[], metavar="URI", help="instead of discovery; repeatable"
    )
    for name, what in (("project", "only this project's calls"), ("agent", None), ("user", None)):
        made.add_argument(f"-{name[0]}", f"--{name}", action="append", default=[], metavar="GLOB", help=what)
    made.add_argument("--config", metavar="PATH", help="instead of config.toml in the user's config directory")
    made.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="serve what is there by then, though history was not read to its end: it then counts as new (600)",
    )
    made.set_defaults(token_file=None)  # that of a gateway comes from its config or the environment
    return made


def run(options: argparse.Namespace, sources: Sequence["Source"]) -> int:
    """Serve until SIGTERM or Ctrl-C; returns 0. Raises UsageError and, where the port is taken, ClawtopError."""
    host, port = parse_address(options.listen)
    if options.max_series < 1:
        raise UsageError(f"--max-series {options.max_series} is less than 1")
    token = os.environ.get("CLAWTOP_EXPORT_TOKEN") or None
    if options.export_token_file:
        token = read_token(expanded(options.export_token_file))
    with listen(host, port) as door:
        if token is None and not is_loopback(host):
            _tell(
                f"WARNING: whoever reaches {options.listen} can read the names and the spend of all agents. "
                "Set CLAWTOP_EXPORT_TOKEN or give --token-file"
            )
        scope = Scope(tuple(options.project), tuple(options.agent), tuple(options.user))
        return _serve(sources, door, Terms(scope, options.max_series, token, options.timeout))


@dataclass(frozen=True, slots=True)
class Terms:
    """What is served to whom: `most` label sets, to who bears `token`; `patience` is seconds for reading history."""

    scope: Scope = Scope()
    most: int = _MOST_SERIES
    token: str | None = None
    patience: float = 600.0


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) of `HOST:PORT` or `[HOST]:PORT`. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--listen {text!r} is not HOST:PORT, e.g. {ADDRESS}")
    return host, int(port)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises ClawtopError where that cannot be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        door = socket.socket(family, socket.SOCK_STREAM)
    except UnicodeError:
        raise UsageError(f"--listen: {host} is no name of a host") from None
    except OSError as error:
        raise ClawtopError(f"--listen: there is no {host} on this machine: {error.strerror}") from None
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
        door.listen(_MOST_CONNECTIONS)
    except OSError as error:
        door.close()
        taken = error.errno == errno.EADDRINUSE
        hint = "; is clawtop export running already? --listen names another" if taken else ""
        raise ClawtopError(f"cannot listen on {host}:{port}: {error.strerror}{hint}") from None
    return door


def _serve(sources: Sequence["Source"], door: socket.socket, terms: Terms) -> int:
    import uvicorn  # noqa: PLC0415 - the words of the command line are known without it

    from clawtop.engine import Engine, now_ms  # noqa: PLC0415
    from clawtop.exposition import Exposition  # noqa: PLC0415
    from clawtop.model.snapshot import View, Window  # noqa: PLC0415

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    # nobody looks at pictures, so they need not be made
    engine = Engine(sources, View(window=Window.ALL), delay=_SELDOM_SECONDS)
    app = Scrapes(engine, Exposition(terms.most, started=now_ms()), terms)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.CRITICAL,
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=2,
        )
    )

    def serve() -> None:
        try:
            server.run(sockets=[door])
        finally:
            ended.set()

    # in a thread of its own it leaves the signals, and with them the exit code, to us
    thread = threading.Thread(target=serve, name="clawtop-export", daemon=True)
    engine.start()
    thread.start()
    host, port = door.getsockname()[:2]
    _tell(f"serving http://{f'[{host}]' if ':' in host else host}:{port}/metrics")
    ended.wait()
    fine = thread.is_alive()
    server.should_exit = True
    thread.join(timeout=5)
    engine.stop()
    return FINE if fine else TROUBLE


class Scrapes:
    """The ASGI application: GET /metrics."""

    def __init__(self, engine: "Engine", exposition: "Exposition", terms: Terms) -> None:
        from prometheus_client import ProcessCollector  # noqa: PLC0415 - takes a tenth of a second

        self._engine = engine
        self._exposition = exposition
        self._terms = terms
        self._process = ProcessCollector(registry=None)
        self._began = time.monotonic()
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: _Message, _: _Receive, send: _Send) -> None:
        """Answer one request; a body is never read."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        try:
            status, more, body = await self._answer(scope, headers)
        except Exception:  # noqa: BLE001 - whoever asks is told, and the next scrape may go well
            _log.exception("a scrape failed")
            status, more, body = 500, (), b"this failed inside clawtop; its log has more\n"
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [*more, length]})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(
        self, scope: _Message, headers: Mapping[bytes, bytes]
    ) -> tuple[int, Iterable[tuple[bytes, bytes]], bytes]:
        if scope["method"] not in ("GET", "HEAD"):
            return 405, [(b"allow", b"GET, HEAD")], b"only GET and HEAD\n"
        if not self._may(headers.get(b"authorization", b"")):
            return 401, [(b"www-authenticate", b'Bearer realm="clawtop"')], b"a bearer token is needed\n"
        if scope["path"] == "/":
            return 200, [_TEXT], b"clawtop export: the metrics are at /metrics\n"
        if scope["path"] != "/metrics":
            return 404, [_TEXT], b"there is only /metrics\n"
        if not self._has_read():
            return 503, [_TEXT, (b"retry-after", b"2")], b"history is still being read\n"
        return await self._metrics(headers)

    def _may(self, authorization: bytes) -> bool:
        token = self._terms.token
        if token is None:
            return True
        scheme, _, shown = authorization.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(shown.strip(), token.encode())

    def _has_read(self) -> bool:
        """Whether counters stand for all of history: half of it would count as spent between two scrapes."""
        return self._engine.caught_up(0) or time.monotonic() - self._began > self._terms.patience

    async def _metrics(self, headers: Mapping[bytes, bytes]) -> tuple[int, Iterable[tuple[bytes, bytes]], bytes]:
        from clawtop.exposition import OPENMETRICS, PLAIN  # noqa: PLC0415

        in_openmetrics = b"application/openmetrics-text" in headers.get(b"accept", b"").lower()
        kind = (b"content-type", (OPENMETRICS if in_openmetrics else PLAIN).encode())
        async with self._one_at_a_time:
            usage = await asyncio.wrap_future(self._engine.usage(self._terms.scope))
            body = await asyncio.to_thread(
                self._exposition.text, usage, in_openmetrics=in_openmetrics, also=self._process.collect()
            )
        if b"gzip" not in headers.get(b"accept-encoding", b""):
            return 200, [kind], body
        return 200, [kind, (b"content-encoding", b"gzip")], await asyncio.to_thread(gzip.compress, body, 1)


_TEXT = (b"content-type", b"text/plain; charset=utf-8")


def _tell(what: str) -> None:
    sys.stderr.write(f"clawtop: {what}\n")
    sys.stderr.flush()
