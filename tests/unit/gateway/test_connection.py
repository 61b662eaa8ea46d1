"""A connection against a gateway that does right, does wrong, or is none: the right error, in time, without a token."""

import asyncio
import contextlib
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from clawtop.gateway.connection import Gateway, GatewayAddress, connect
from clawtop.gateway.errors import (
    ConnectionLost,
    GatewayError,
    PairingNeeded,
    ProtocolMismatch,
    Refused,
    TimedOut,
    Unreachable,
    WrongToken,
)
from clawtop.gateway.protocol import GatewayEvent
from tests.fake_gateway import OTHER_PROTOCOL, PAIRING, TOKEN, WRONG_TOKEN, Death, FakeGateway, Refusal, Silence

SOON = 0.3
AT_ONCE = 4.0

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def failure(address: GatewayAddress, within: float = AT_ONCE) -> GatewayError:
    """What connecting raises, and that it does so in time."""
    began = time.monotonic()
    with pytest.raises(GatewayError) as caught:
        async with connect(address, timeout=within):
            pass
    assert time.monotonic() - began < within + 2
    assert address.url in str(caught.value)
    assert TOKEN not in str(caught.value) + repr(caught.value)
    return caught.value


@contextlib.asynccontextmanager
async def listening(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Something that is no gateway; its port."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await talk(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await server.wait_closed()


def says(words: bytes) -> Talk:
    """Answers with these bytes and keeps the connection."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        with contextlib.suppress(ConnectionError):
            await writer.drain()

    return talk


def at(port: int, scheme: str = "ws") -> GatewayAddress:
    return GatewayAddress(f"{scheme}://127.0.0.1:{port}", TOKEN)


def raises(error: Exception) -> Callable[[dict[str, Any]], object]:
    def handler(_: dict[str, Any]) -> object:
        raise error

    return handler


@pytest.mark.parametrize("protocol", [3, 4])
async def test_both_protocols_are_spoken(protocol: int) -> None:
    handlers: dict[str, Any] = {"sessions.list": lambda params: {"sessions": [params]}}
    async with FakeGateway(handlers, protocol=protocol) as fake, connect(fake.address) as gateway:
        assert gateway.hello.protocol == protocol
        assert gateway.hello.methods == {"sessions.list", "sessions.subscribe"}
        assert gateway.hello.scopes == {"operator.read"}
        assert await gateway.call("sessions.list", {"limit": 3}) == {"sessions": [{"limit": 3}]}


async def test_answers_are_matched_whatever_their_order() -> None:
    release = asyncio.Event()

    async def slow(_: dict[str, Any]) -> object:
        await release.wait()
        return {"slow": True}

    async with FakeGateway() as fake, connect(fake.address) as gateway:
        held = asyncio.create_task(gateway.call("held"))
        await fake.until(lambda: bool(fake.asked("held")))
        # the fake answers one request after the other: these two are answered by hand, the later one first
        later = asyncio.create_task(gateway.call("later"))
        with pytest.raises(Refused, match="unknown method: held"):
            await held
        with pytest.raises(Refused, match="unknown method: later"):
            await later
        fake.handlers["slow"] = slow
        first = asyncio.create_task(gateway.call("slow"))
        await fake.until(lambda: bool(fake.asked("slow")))
        number = len(fake.calls) - 1
        await fake.send(json.dumps({"type": "res", "id": str(number + 1), "ok": True, "payload": {"early": True}}))
        assert await first == {"early": True}
        release.set()


async def test_a_refused_request_says_why() -> None:
    refusal = Refusal("FORBIDDEN", "missing scope: operator.admin")
    async with FakeGateway({"cron.update": raises(refusal)}) as fake, connect(fake.address) as gateway:
        with pytest.raises(Refused, match=r"cron.update: missing scope: operator.admin \(FORBIDDEN\)"):
            await gateway.call("cron.update")


async def test_a_request_that_is_not_answered_times_out_and_the_next_one_works() -> None:
    handlers = {"silent": raises(Silence()), "fine": lambda _: {"ok": 1}}
    async with FakeGateway(handlers) as fake, connect(fake.address) as gateway:
        with pytest.raises(TimedOut, match=r"did not answer silent within 0.05 s"):
            await gateway.call("silent", timeout=0.05)
        assert await gateway.call("fine") == {"ok": 1}


async def test_a_gateway_that_dies_in_the_middle_is_said_to_each_who_waits() -> None:
    handlers = {"silent": raises(Silence()), "die": raises(Death())}
    async with FakeGateway(handlers) as fake, connect(fake.address) as gateway:
        silent = asyncio.create_task(gateway.call("silent"))
        await fake.until(lambda: bool(fake.asked("silent")))
        with pytest.raises(ConnectionLost, match=fake.url):
            await gateway.call("die")
        with pytest.raises(ConnectionLost):
            await silent
        with pytest.raises(ConnectionLost):
            await gateway.call("any")
        with pytest.raises(ConnectionLost):
            [event async for event in gateway.events()]


async def test_events_come_in_their_order_and_end_with_our_close() -> None:
    async with FakeGateway() as fake, connect(fake.address) as gateway:
        await fake.push("cron", {"n": 1})
        await fake.push("tick", {"n": 2})
        events = gateway.events()
        assert await anext(events) == GatewayEvent("cron", {"n": 1})
        assert await anext(events) == GatewayEvent("tick", {"n": 2})
        await gateway.close()
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        with pytest.raises(ConnectionLost, match="closed by clawtop"):
            await gateway.call("any")


async def test_garbage_between_frames_is_counted() -> None:
    async with FakeGateway() as fake, connect(fake.address) as gateway:
        for garbage in ("{", "[]", b"\xff\xfe", '{"type":"what"}', ""):
            await fake.send(garbage)
        await fake.push("tick", {})
        assert (await anext(gateway.events())).event == "tick"
        assert gateway.frames.unreadable.total() == 5


async def test_a_frame_of_30_mb_is_taken_and_the_loop_goes_on() -> None:
    async with FakeGateway() as fake, connect(fake.address) as gateway:
        big = json.dumps({"type": "event", "event": "session.message", "payload": {"x": ["y" * 1000] * 30_000}})
        assert len(big) > 30_000_000
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.create_task(count())
        await fake.send(big)
        event = await anext(gateway.events())
        counting.cancel()
        assert len(event.payload["x"]) == 30_000
        # it came in many pieces, and others had their turn between them
        assert turns > 100


async def test_a_frame_that_is_far_too_large_ends_the_connection_in_words() -> None:
    async with FakeGateway() as fake, connect(fake.address) as gateway:
        with contextlib.suppress(Exception):
            await fake.send("x" * (65 << 20))
        with pytest.raises(ConnectionLost, match=r"ended: frame .*exceeds limit"):
            await anext(gateway.events())


@pytest.mark.parametrize(
    ("refuses", "kind"),
    [
        (WRONG_TOKEN, WrongToken),
        (PAIRING, PairingNeeded),
        (OTHER_PROTOCOL, ProtocolMismatch),
        (Refusal("UNAVAILABLE", "starting"), Refused),
        (Death(), Unreachable),
    ],
)
async def test_a_refusal_has_its_own_error(refuses: Exception, kind: type[GatewayError]) -> None:
    async with FakeGateway(refuses=refuses) as fake:
        assert type(await failure(fake.address)) is kind


async def test_a_wrong_or_missing_token() -> None:
    async with FakeGateway(token="another") as fake:
        assert isinstance(await failure(GatewayAddress(fake.url, TOKEN)), WrongToken)
        missing = await failure(GatewayAddress(fake.url, None))
        assert isinstance(missing, WrongToken)
        assert "none was found" in str(missing)


async def test_a_gateway_that_grants_nothing_wants_a_paired_device() -> None:
    async with FakeGateway(granted=[]) as fake:
        assert isinstance(await failure(fake.address), PairingNeeded)
    async with FakeGateway(granted=["operator.admin"]) as fake, connect(fake.address) as gateway:
        assert gateway.hello.scopes == {"operator.admin"}


async def test_a_gateway_that_says_nothing_or_never_hello() -> None:
    async with FakeGateway(challenge=False) as fake:
        mute = await failure(fake.address, SOON)
        assert isinstance(mute, Unreachable)
        assert "said no hello within 0.3 s" in str(mute)
        assert fake.calls == []
    async with FakeGateway(refuses=Silence()) as fake:
        assert isinstance(await failure(fake.address, SOON), Unreachable)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404", id="web server"),
        pytest.param(b"HTTP/1.1 302 F\r\nLocation: ws://h:1/\r\nContent-Length: 0\r\n\r\n", "HTTP 302", id="redirect"),
        pytest.param(b"220 mail.example.org ESMTP\r\n\r\n\r\n", "no answer of a gateway", id="mail server"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x16\r\n", "no answer of a gateway", id="TLS alert"),
        pytest.param(b"\x00" * 100_000, "no answer of a gateway", id="zeros"),
        pytest.param(b"", "no answer of a gateway", id="nothing"),
    ],
)
async def test_where_something_else_listens_it_says_so(words: bytes, told: str) -> None:
    async with listening(says(words)) as port:
        found = await failure(at(port), AT_ONCE if told.startswith("HTTP") else SOON)
        assert isinstance(found, Unreachable)
        assert told in str(found)


async def test_where_something_else_hangs_up_it_says_so() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"go away\r\n")
        writer.close()

    async with listening(hang_up) as port:
        found = await failure(at(port))
        assert isinstance(found, Unreachable)
        assert "no HTTP answer; if that port wants TLS, it is wss://" in str(found)


async def test_where_nothing_listens_it_says_so() -> None:
    async with listening(says(b"")) as port:
        pass
    found = await failure(at(port))
    assert isinstance(found, Unreachable)
    assert "nothing listens" in str(found)
    unknown = await failure(GatewayAddress("ws://no-such-name.invalid:18789", TOKEN))
    assert isinstance(unknown, Unreachable)
    assert "name" in str(unknown)


async def test_tls_to_a_plain_port() -> None:
    async with FakeGateway() as fake:
        found = await failure(GatewayAddress(fake.url.replace("ws:", "wss:"), TOKEN))
        assert isinstance(found, Unreachable)
        assert "does not speak TLS" in str(found)


async def test_a_certificate_is_verified_unless_told_otherwise(tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(Path(__file__).with_name("self-signed.pem"))
    async with FakeGateway(tls=tls) as fake:
        assert fake.url.startswith("wss://")
        found = await failure(fake.address)
        assert isinstance(found, Unreachable)
        assert "certificate" in str(found)
        async with connect(GatewayAddress(fake.url, TOKEN, verify=False)) as gateway:
            assert gateway.hello.protocol == 4


def test_an_address_shows_no_token_and_knows_whether_it_is_safe() -> None:
    address = GatewayAddress("ws://10.0.0.5:18789", TOKEN)
    assert TOKEN not in repr(address) + str(address)
    assert address.exposed
    for safe in ("ws://127.0.0.1:1", "ws://localhost:1", "ws://[::1]:1", "wss://10.0.0.5:1"):
        assert not GatewayAddress(safe, TOKEN).exposed
    assert not GatewayAddress("ws://10.0.0.5:1", None).exposed


async def test_no_log_line_holds_the_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with FakeGateway() as fake, connect(fake.address) as gateway:
        await gateway.call("sessions.subscribe")
    ours = [record for record in caplog.records if record.name.startswith("clawtop")]
    assert TOKEN not in "".join(record.getMessage() for record in ours)


async def test_closing_while_requests_wait_ends_them() -> None:
    async with FakeGateway({"silent": raises(Silence())}) as fake:
        gateway: Gateway
        async with connect(fake.address) as gateway:
            waiting = asyncio.create_task(gateway.call("silent"))
            await fake.until(lambda: bool(fake.asked("silent")))
        with pytest.raises(ConnectionLost, match="closed by clawtop"):
            await waiting


async def test_who_is_cancelled_while_it_says_goodbye_leaves_no_socket_behind() -> None:
    async with FakeGateway() as fake:
        gateway: Gateway
        async with connect(fake.address) as gateway:
            # a peer that does not say goodbye in its turn
            for connection in fake.connections:
                connection.transport.pause_reading()
            closing = asyncio.create_task(gateway.close())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            assert gateway._socket.transport.is_closing()


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("ftp://bob:hushpw@127.0.0.1:1", "scheme ftp isn't supported"),
        ("http://bob:hush@pw@127.0.0.1:1/x", "does not work"),
        ("socks5://bob:hushpw@127.0.0.1:1", "SOCKS"),
    ],
)
async def test_the_proxys_password_is_not_told(monkeypatch: pytest.MonkeyPatch, proxy: str, words: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    error = await failure(GatewayAddress("wss://example.invalid:1", TOKEN))

    assert words in str(error)
    assert "hush" not in str(error)
