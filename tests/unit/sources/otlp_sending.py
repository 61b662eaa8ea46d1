"""A receiver that runs on a port of its own, and senders that are nobody's library: bytes over a socket."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

from clawtop.sources.otlp import OtlpAddress, OtlpSource
from clawtop.sources.otlp.limits import Limits
from tests.unit.sources.collecting import CollectingOutlet

PROTOBUF, JSON = "application/x-protobuf", "application/json"


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Receiver(NamedTuple):
    """A source that listens, and what it put."""

    source: OtlpSource
    outlet: CollectingOutlet

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of one's own."""
        return await asyncio.open_connection("127.0.0.1", self.source.port)

    async def send(self, raw: bytes) -> Answer:
        """The answer to these very bytes."""
        reader, writer = await self.connect()
        try:
            writer.write(raw)
            return await answer(reader)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def post(
        self, path: str, body: bytes, content_type: str = PROTOBUF, *, zipped: bool = False, **headers: str
    ) -> Answer:
        """The answer to a body that is sent whole."""
        data = gzip.compress(body) if zipped else body
        more = {"content-encoding": "gzip"} if zipped else {}
        named = {"content-length": str(len(data)), **more, **{key.replace("_", "-"): headers[key] for key in headers}}
        return await self.send(head(path, content_type, named) + data)

    async def post_in_chunks(self, path: str, body: bytes, content_type: str = PROTOBUF, size: int = 1000) -> Answer:
        """The answer to a body that is sent in chunks, without its length."""
        chunks = [body[start : start + size] for start in range(0, len(body), size)]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        return await self.send(head(path, content_type, {"transfer-encoding": "chunked"}) + framed + b"0\r\n\r\n")


def head(path: str, content_type: str, headers: Mapping[str, str], method: str = "POST") -> bytes:
    """A request's first lines."""
    lines = {"host": "127.0.0.1", "content-type": content_type, **headers}
    return (
        f"{method} {path} HTTP/1.1\r\n".encode()
        + b"".join(f"{name}: {value}\r\n".encode() for name, value in lines.items())
        + b"\r\n"
    )


async def answer(reader: asyncio.StreamReader) -> Answer:
    """The response that comes in; ConnectionError where none does."""
    async with asyncio.timeout(10):
        try:
            top = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        except asyncio.IncompleteReadError as error:
            raise ConnectionError("closed without an answer") from error
        headers = dict(line.lower().split(": ", 1) for line in top[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(top[0].split()[1]), headers, body)


@contextlib.asynccontextmanager
async def receiving(
    limits: Limits | None = None, *, token: str | None = None, outlet: CollectingOutlet | None = None
) -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    source = OtlpSource("otlp://127.0.0.1:0", OtlpAddress("127.0.0.1", 0, token), limits=limits, host="here")
    outlet = outlet or CollectingOutlet()
    task = asyncio.create_task(source.run(outlet, follow=True))
    try:
        await outlet.until(lambda: bool(outlet.statuses) or task.done())
        yield Receiver(source, outlet)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
