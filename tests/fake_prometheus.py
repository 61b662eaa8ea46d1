"""A Prometheus that answers what clawtop asks, about samples it is given, or says whatever a test wants it to."""

import asyncio
import itertools
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

LOOKBACK_MS = 300_000
STALE = "stale"
"""A value that ends a series until it comes back."""

Labels = tuple[tuple[str, str], ...]
Point = tuple[int, str]
Vector = dict[Labels, str]
_NAME = r"[a-zA-Z_:][\w:]*"
_ANY = re.compile(r'\{__name__=~"([^"]*)"\}')
_COUNT = re.compile(r"count by \(__name__\) \((\{.*\})\)")
_TOPK = re.compile(rf"topk\((\d+), ({_NAME})\)")
_CHANGED = re.compile(rf"\(({_NAME}) != \(\1 offset (\d+)s\)\) or \(\1 unless \(\1 offset \2s\)\)")
_LATEST_ANY = re.compile(r'last_over_time\((\{__name__=~"[^"]*"\})\[(\d+)s\]\)')
_LATEST = re.compile(rf"last_over_time\(({_NAME})\[(\d+)s\]\)")
_LEAST = re.compile(rf"min_over_time\(({_NAME})\[(\d+)s\]\)")
_FELL = re.compile(rf"increase\(({_NAME})\[(\d+)s\]\) and \(resets\(\1\[(\d+)s\]\) > 0\)")


class FakePrometheus:
    """`async with FakePrometheus() as fake:` listens on loopback; `now` is its clock in Unix ms.

    `says` takes a path and its parameters and returns a raw HTTP answer, or None to let it answer by itself; with
    `hold` the connection then stays until the other side ends it. `asked` are the paths with their parameters and
    headers.
    """

    def __init__(self, now: int) -> None:
        self.now = now
        self.says: Callable[[str, Mapping[str, str]], bytes | None] = lambda *_: None
        self.hold = False
        self.asked: list[tuple[str, Mapping[str, str], Mapping[str, str]]] = []
        self.url = ""
        self._series: dict[Labels, list[Point]] = {}
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    def add(self, name: str, points: Iterable[tuple[int, float | str]], **labels: str) -> None:
        """More samples of a series, in the order of time."""
        key = tuple(sorted({"__name__": name, "job": "agents", "instance": "m1:9464", **labels}.items()))
        told = self._series.setdefault(key, [])
        told += ((at, value if isinstance(value, str) else f"{value:.15g}") for at, value in points)

    def clear(self) -> None:
        """No samples any more."""
        self._series.clear()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._answer_one(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            writer.close()
            self._open.discard(writer)

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        url = urlsplit(first.split()[1])
        params = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.asked.append((url.path, params, headers))
        said = self.says(url.path, params)
        writer.write(self._answer(url.path, params) if said is None else said)
        await writer.drain()
        if self.hold:
            await reader.read()

    def _answer(self, path: str, params: Mapping[str, str]) -> bytes:
        match path.rpartition("/api/v1/")[2]:
            case "label/__name__/values":
                (pattern,) = _ANY.fullmatch(params["match[]"]).groups()  # type: ignore[union-attr]
                names = {dict(labels)["__name__"] for labels in self._series}
                return success(sorted(name for name in names if re.fullmatch(pattern, name)))
            case "query":
                at = round(float(params["time"]) * 1000) if "time" in params else self.now
                found = self._vector(params["query"], at).items()
                result = [{"metric": dict(labels), "value": [at / 1000, value]} for labels, value in found]
                return success({"resultType": "vector", "result": result})
            case "query_range":
                return success({"resultType": "matrix", "result": self._matrix(params)})
        return http(b"404 page not found", status="404 Not Found", kind="text/plain")

    def _matrix(self, params: Mapping[str, str]) -> list[dict[str, Any]]:
        start, end, step = (round(float(params[name]) * 1000) for name in ("start", "end", "step"))
        assert (end - start) // step < 11_000
        found: dict[Labels, list[tuple[float, str]]] = {}
        for at in range(start, end + 1, step):
            for labels, value in self._vector(params["query"], at).items():
                found.setdefault(labels, []).append((at / 1000, value))
        return [{"metric": dict(labels), "values": values} for labels, values in found.items()]

    def _vector(self, expression: str, at: int) -> Vector:
        if found := _ANY.fullmatch(expression):
            return self._now(found[1], at)
        if found := _COUNT.fullmatch(expression):
            counts: dict[str, int] = {}
            for labels in self._vector(found[1], at):
                name = dict(labels)["__name__"]
                counts[name] = counts.get(name, 0) + 1
            return {(("__name__", name),): f"{count}" for name, count in counts.items()}
        if found := _TOPK.fullmatch(expression):
            largest = sorted(self._now(found[2], at).items(), key=lambda item: -float(item[1]))
            return dict(largest[: int(found[1])])
        found = _CHANGED.fullmatch(expression)
        if found is None:
            return self._over_time(expression, at)
        before = self._now(found[1], at - int(found[2]) * 1000)
        return {labels: value for labels, value in self._now(found[1], at).items() if before.get(labels) != value}

    def _over_time(self, expression: str, at: int) -> Vector:
        if found := _LATEST_ANY.fullmatch(expression):
            (names,) = _ANY.fullmatch(found[1]).groups()  # type: ignore[union-attr]
            return {labels: values[-1] for labels, values in self._within(names, at, int(found[2])).items()}
        if found := _LATEST.fullmatch(expression):
            return {labels: values[-1] for labels, values in self._within(found[1], at, int(found[2])).items()}
        if found := _LEAST.fullmatch(expression):
            return {
                labels: min(values, key=float) for labels, values in self._within(found[1], at, int(found[2])).items()
            }
        found = _FELL.fullmatch(expression)
        assert found is not None, expression
        longer = self._within(found[1], at, int(found[3]))
        fell = {labels for labels, values in longer.items() if _falls(values)}
        within = self._within(found[1], at, int(found[2]))
        return {labels: _increase(values) for labels, values in within.items() if labels in fell}

    def _within(self, pattern: str, at: int, seconds: int) -> dict[Labels, list[str]]:
        """The samples of series within so many seconds."""
        found: dict[Labels, list[str]] = {}
        for labels, points in self._series.items():
            if re.fullmatch(pattern, dict(labels)["__name__"]):
                values = [value for when, value in points if at - seconds * 1000 <= when <= at and value != STALE]
                if values:
                    found[labels] = values
        return found

    def _now(self, pattern: str, at: int) -> Vector:
        found: Vector = {}
        for labels, points in self._series.items():
            if re.fullmatch(pattern, dict(labels)["__name__"]):
                place = bisect_right(points, at, key=lambda point: point[0])
                latest = points[place - 1] if place else (0, STALE)
                if latest[0] <= at - LOOKBACK_MS:
                    continue
                if latest[1] != STALE:
                    found[labels] = latest[1]
        return found


def _falls(values: list[str]) -> bool:
    return any(float(after) < float(one) for one, after in itertools.pairwise(values))


def _increase(values: list[str]) -> str:
    steps = [(float(one), float(after)) for one, after in itertools.pairwise(values)]
    return f"{sum(after - one if after >= one else after for one, after in steps)}"


def success(data: object) -> bytes:
    """The answer of a Prometheus that has one."""
    return http(json.dumps({"status": "success", "data": data}).encode())


def http(body: bytes, status: str = "200 OK", kind: str = "application/json", more: str = "") -> bytes:
    """A raw HTTP answer that ends with its connection."""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{more}\r\n"
    )
    return head.encode() + body
