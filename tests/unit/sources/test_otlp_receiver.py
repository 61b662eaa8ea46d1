"""The OTLP receiver: what is taken and answered, and what nobody can do to it."""

import asyncio
import contextlib
import gzip
import json
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from clawtop.engine import Engine
from clawtop.fleet.fleet import Fleet
from clawtop.formats.otlp.records import Signal
from clawtop.model.errors import SourceError, UsageError
from clawtop.model.events import Call, Event, Tokens
from clawtop.model.keys import Key
from clawtop.model.snapshot import Health, View, Window
from clawtop.sources import Outlet
from clawtop.sources.otlp import OtlpAddress, OtlpSource, parse_address
from clawtop.sources.otlp.limits import Allowance, Limits
from tests.otlp_messages import (
    NOW,
    Table,
    capture,
    counter,
    in_json,
    in_protobuf,
    log,
    logs,
    metrics,
    point,
    span,
    traces,
    truth,
)
from tests.unit.sources.collecting import CollectingOutlet
from tests.unit.sources.otlp_sending import JSON, PROTOBUF, answer, head, receiving

CHAT = traces(
    span(
        "chat m",
        gen_ai__operation__name="chat",
        gen_ai__request__model="m",
        gen_ai__usage__input_tokens=100,
        gen_ai__usage__output_tokens=7,
    )
)


def counted(outlet: CollectingOutlet) -> Fleet:
    fleet = Fleet()
    for event in outlet.events:
        fleet.fold(event)
    return fleet


# ---- what comes in


async def test_the_capture_posted_as_it_was_sent_gives_its_totals() -> None:
    async with receiving(outlet=CollectingOutlet(NOW)) as receiver:
        for post in capture():
            got = await receiver.post_in_chunks(post.path, post.body, post.content_type)
            assert (got.status, got.headers["content-type"], got.body) == (200, PROTOBUF, b"")
        snapshot = counted(receiver.outlet).snapshot(View(window=Window.ALL), NOW)
        status = receiver.outlet.statuses[-1]
    expected = truth()
    kinds = ("input", "output", "cache_read", "cache_write", "cost_micro")
    assert (*snapshot.total.tokens, snapshot.total.cost) == tuple(expected["totals"][kind] for kind in kinds)
    used = {row.label: row.tokens.input for row in snapshot.rows if any(row.tokens)}
    assert used == expected["input_by_agent_from_spans"]
    assert status.health is Health.OK
    assert status.bytes == sum(len(post.body) for post in capture())
    assert not status.skipped


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("encode", [in_protobuf, None])
async def test_both_encodings_come_in_plain_and_zipped(encode: Any, zipped: bool) -> None:
    body = in_json(CHAT) if encode is None else encode(Signal.TRACES, CHAT)
    content_type = "application/json; charset=utf-8" if encode is None else PROTOBUF
    async with receiving() as receiver:
        got = await receiver.post("/v1/traces", body, content_type, zipped=zipped)
        (call,) = receiver.outlet.of(Call)
    assert (got.status, got.headers["content-type"]) == (200, JSON if encode is None else PROTOBUF)
    assert got.body == (b"{}" if encode is None else b"")
    assert call.tokens == Tokens(100, 7)
    assert receiver.outlet.statuses[-1].entries == 1


async def test_an_empty_body_is_an_empty_export() -> None:
    async with receiving() as receiver:
        assert (await receiver.post("/v1/logs", b"")).status == 200


async def test_a_connection_is_kept_for_the_next_export() -> None:
    body = in_protobuf(Signal.TRACES, CHAT)
    async with receiving() as receiver:
        reader, writer = await receiver.connect()
        for _ in range(3):
            writer.write(head("/v1/traces", PROTOBUF, {"content-length": str(len(body))}) + body)
            assert (await answer(reader)).status == 200
        writer.close()


# ---- partial success


def changed_type() -> list[Table]:
    told = point(5, openclaw__token="input")
    return [metrics(counter("openclaw.tokens", told, delta=delta)) for delta in (False, True)]


async def test_what_could_not_be_used_is_answered_in_protobuf() -> None:
    async with receiving() as receiver:
        first, second = [
            await receiver.post("/v1/metrics", in_protobuf(Signal.METRICS, body)) for body in changed_type()
        ]
    response: Message = ExportMetricsServiceResponse()
    response.ParseFromString(second.body)
    assert first.body == b""
    assert response.partial_success.rejected_data_points == 1  # type: ignore[attr-defined]
    assert response.partial_success.error_message == "1 a metric changed its type"  # type: ignore[attr-defined]
    assert receiver.outlet.statuses[-1].skipped == {"a metric changed its type": 1}


async def test_what_could_not_be_used_is_answered_in_json() -> None:
    bad = logs(log("x"), {**log("y"), "traceId": "no hex"})
    async with receiving() as receiver:
        got = await receiver.post("/v1/logs", in_json(bad), JSON)
    told = {"rejectedLogRecords": "1", "errorMessage": "1 an id is no hex"}
    assert json.loads(got.body) == {"partialSuccess": told}


# ---- what is refused


@pytest.mark.parametrize(
    ("path", "content_type", "method", "headers", "status"),
    [
        ("/", JSON, "POST", {}, 404),
        ("/v1/metrics/", JSON, "POST", {}, 404),
        ("/v1/metrics", JSON, "GET", {}, 405),
        ("/v1/metrics", "text/plain", "POST", {}, 415),
        ("/v1/metrics", "", "POST", {}, 415),
        ("/v1/metrics", JSON, "POST", {"content-encoding": "br"}, 415),
        ("/v1/metrics", JSON, "POST", {"content-length": "99999999999"}, 413),
        ("/v1/metrics", JSON, "POST", {"content-length": "4"}, 400),
    ],
)
async def test_what_is_no_export_is_refused(
    path: str, content_type: str, method: str, headers: dict[str, str], status: int
) -> None:
    async with receiving() as receiver:
        got = await receiver.send(head(path, content_type, headers, method) + b"{,,}")
    assert got.status == status
    assert got.headers["connection"] == "close"
    if content_type == JSON:
        assert json.loads(got.body)["message"]
    assert receiver.outlet.statuses[-1].skips == 1


async def test_garbage_is_refused_and_the_rest_goes_on() -> None:
    async with receiving() as receiver:
        assert (await receiver.post("/v1/metrics", b"\xff" * 5000)).status == 400
        assert (await receiver.post("/v1/metrics", b"garbage", zipped=True)).status == 400
        assert (await receiver.post("/v1/metrics", b"no gzip", content_encoding="gzip")).status == 400
        cut = gzip.compress(in_protobuf(Signal.TRACES, CHAT))[:-8]
        assert (await receiver.post("/v1/traces", cut, content_encoding="gzip")).status == 400
        assert (await receiver.send(b"\x00\x01garbage\r\n\r\n")).status == 400
        assert (await receiver.post("/v1/traces", in_protobuf(Signal.TRACES, CHAT))).status == 200
        assert len(receiver.outlet.of(Call)) == 1
    reasons = receiver.outlet.statuses[-1].skipped
    assert reasons == {"no protobuf": 2, "no gzip": 1, "gzip that ends too early": 1}


async def test_a_gzip_bomb_is_refused_after_so_many_bytes() -> None:
    bomb = gzip.compress(bytes(200 * 1024 * 1024), 1)
    async with receiving(Limits(body=8 << 20, unpacked=1 << 20)) as receiver:
        got = await receiver.post("/v1/metrics", bomb, content_encoding="gzip")
    assert got.status == 413
    assert receiver.outlet.statuses[-1].skipped == {"more than 1048576 bytes once unpacked": 1}


async def test_a_body_without_a_length_has_a_limit_too() -> None:
    async with receiving(Limits(body=10_000)) as receiver:
        got = await receiver.post_in_chunks("/v1/metrics", bytes(50_000))
    assert got.status == 413


async def test_ten_thousand_series_and_a_megabyte_of_attribute_are_taken() -> None:
    many = [point(1, openclaw__token="input", openclaw__model=f"m{number}") for number in range(10_000)]
    large = traces(span("chat m", gen_ai__operation__name="chat", gen_ai__usage__input_tokens=5, text="x" * 10**6))
    async with receiving() as receiver:
        body = in_protobuf(Signal.METRICS, metrics(counter("openclaw.tokens", *many)))
        assert (await receiver.post("/v1/metrics", body)).status == 200
        assert (await receiver.post("/v1/traces", in_json(large), JSON)).status == 200
        assert len(receiver.outlet.batches) > 30
    assert counted(receiver.outlet).snapshot(View(window=Window.ALL), NOW).total.tokens.input == 10_005


# ---- how fast, how slow, how many


async def test_more_than_is_taken_in_a_second_is_sent_again_later() -> None:
    body = in_json(CHAT)
    async with receiving(Limits(requests_per_second=0.3)) as receiver:
        statuses = [(await receiver.post("/v1/traces", body, JSON)) for _ in range(6)]
    assert [each.status for each in statuses] == [200, 200, 200, 200, 429, 429]
    assert statuses[-1].headers["retry-after"] == "1"


async def test_more_bytes_than_are_taken_in_a_second_are_sent_again_later() -> None:
    body = in_json(CHAT)
    async with receiving(Limits(bytes_per_second=len(body) / 20)) as receiver:
        assert [(await receiver.post("/v1/traces", body, JSON)).status for _ in range(2)] == [200, 429]


async def test_bodies_that_are_read_at_once_share_the_memory_there_is() -> None:
    async with receiving(Limits(held=15_000)) as receiver:
        reader, writer = await receiver.connect()
        writer.write(head("/v1/traces", JSON, {"content-length": "20000"}) + bytes(10_000))
        await writer.drain()
        other = await receiver.post("/v1/traces", bytes(10_000), JSON)
        assert other.status == 503
        writer.write(bytes(4_000))
        writer.close()
    del reader


async def test_bodies_that_wait_for_their_turn_are_held_too() -> None:
    class Slow(CollectingOutlet):
        """The rest of the engine, busy for as long as the test wants."""

        def __init__(self) -> None:
            super().__init__()
            self.asked, self.free = asyncio.Event(), asyncio.Event()

        async def put(self, events: Sequence[Event]) -> None:
            self.asked.set()
            await self.free.wait()
            await super().put(events)

    outlet = Slow()
    body = in_json(CHAT).ljust(6_000)
    async with receiving(Limits(held=10_000), outlet=outlet) as receiver:
        first = asyncio.create_task(receiver.post("/v1/traces", body, JSON))
        await outlet.asked.wait()
        assert (await receiver.post("/v1/traces", body, JSON)).status == 503
        outlet.free.set()
        assert (await first).status == 200
        assert (await receiver.post("/v1/traces", body, JSON)).status == 200


@pytest.mark.parametrize(("pause", "whole"), [(0.05, 5.0), (5.0, 0.05)])
async def test_a_body_that_comes_too_slowly_is_not_waited_for(pause: float, whole: float) -> None:
    async with receiving(Limits(pause=pause, whole=whole)) as receiver:
        got = await receiver.send(head("/v1/metrics", PROTOBUF, {"content-length": "100"}) + b"x")
    assert got.status == 408


async def test_a_head_that_comes_too_slowly_is_not_waited_for() -> None:
    async with receiving(Limits(whole=0.05)) as receiver:
        for begun in (b"", b"POST /v1/met"):
            reader, writer = await receiver.connect()
            writer.write(begun)
            async with asyncio.timeout(10):
                assert await reader.read() == b""
            writer.close()


async def test_more_senders_than_connections_take_turns() -> None:
    body = in_protobuf(Signal.TRACES, CHAT)
    request = head("/v1/traces", PROTOBUF, {"content-length": str(len(body))}) + body
    async with receiving(Limits(connections=2)) as receiver, asyncio.timeout(10):
        kept = []
        for _ in range(5):
            reader, writer = await receiver.connect()
            writer.write(request)
            assert (await answer(reader)).status == 200
            kept.append((reader, writer))
        for reader, _ in kept[:3]:
            assert await reader.read() == b""
        assert "connections beyond" not in str(receiver.outlet.statuses[-1].skipped)
        for _, writer in kept:
            writer.close()


async def test_connections_beyond_those_at_work_are_refused_and_counted() -> None:
    async with receiving(Limits(connections=2)) as receiver, asyncio.timeout(10):
        busy = [await receiver.connect() for _ in range(2)]
        for reader, writer in busy:
            writer.write(head("/v1/traces", PROTOBUF, {"content-length": "1000", "expect": "100-continue"}))
            assert (await reader.readline()).startswith(b"HTTP/1.1 100")
        reader, writer = await receiver.connect()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert receiver.outlet.statuses[-1].skipped == {"connections beyond 2 at once": 1}
        for _, each in [*busy, (reader, writer)]:
            each.close()


def test_an_allowance_may_be_overdrawn_once_and_recovers() -> None:
    allowance = Allowance(10, now=0)
    assert allowance.spend(150, 0)
    assert not allowance.spend(1, 4)
    assert allowance.spend(1, 6)


# ---- who may send


@pytest.mark.parametrize(("sent", "status"), [("", 401), ("Bearer wrong", 401), ("Basic word", 401)])
async def test_without_the_token_nothing_is_taken(sent: str, status: int) -> None:
    async with receiving(token="word") as receiver:
        got = await receiver.post("/v1/traces", in_json(CHAT), JSON, authorization=sent)
        assert (got.status, got.headers["www-authenticate"]) == (status, "bearer")
        right = await receiver.post("/v1/traces", in_json(CHAT), JSON, authorization="bearer word")
        assert right.status == 200
    assert "word" not in repr(receiver.source._address)


def test_another_address_says_loudly_that_anybody_can_write() -> None:
    for host, token, loud in (("0.0.0.0", None, True), ("0.0.0.0", "x", False), ("127.0.0.1", None, False)):  # noqa: S104
        source = OtlpSource("otlp:", OtlpAddress(host, 0, token))
        source._listening = True
        assert ("ANYBODY" in source._detail()) is loud


@pytest.mark.parametrize(
    ("uri", "host", "port"),
    [
        ("otlp://127.0.0.1:4318", "127.0.0.1", 4318),
        ("otlp:", "127.0.0.1", 4318),
        ("otlp://:9", "127.0.0.1", 9),
        ("otlp://0.0.0.0", "0.0.0.0", 4318),  # noqa: S104
        ("otlp://[::1]:4318/", "::1", 4318),
        ("otlp://localhost:1", "localhost", 1),
    ],
)
def test_addresses(uri: str, host: str, port: int) -> None:
    address = parse_address(uri, {}, None)
    assert (address.host, address.port, address.token) == (host, port, None)
    assert address.loopback is (host != "0.0.0.0")  # noqa: S104


@pytest.mark.parametrize("uri", ["otlp://h:x", "otlp://h:99999", "otlp://h:1/v1/traces"])
def test_what_is_no_address_says_what_was_expected(uri: str) -> None:
    with pytest.raises(UsageError, match="expected otlp://HOST:PORT"):
        parse_address(uri, {}, None)


def test_the_token_comes_from_the_environment_or_beyond_loopback_from_a_file(tmp_path: Any) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    assert parse_address("otlp://0.0.0.0:1", {"CLAWTOP_OTLP_TOKEN": "word"}, file).token == "word"
    assert parse_address("otlp://0.0.0.0:1", {}, file).token == "from-file"
    assert parse_address("otlp://127.0.0.1:1", {}, file).token is None
    file.write_text("")
    with pytest.raises(UsageError, match="holds no token"):
        parse_address("otlp://0.0.0.0:1", {}, file)
    with pytest.raises(UsageError, match="cannot be read"):
        parse_address("otlp://0.0.0.0:1", {}, tmp_path / "none")


# ---- as a source


async def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        source = OtlpSource("otlp:", OtlpAddress("127.0.0.1", port))
        with pytest.raises(
            SourceError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use; stop what"
        ):
            await source.run(CollectingOutlet(), follow=True)


async def test_a_name_that_does_not_exist_is_one_clear_line() -> None:
    source = OtlpSource("otlp:", OtlpAddress("no.such.host.invalid", 4318))
    with pytest.raises(SourceError, match=r"cannot listen on no\.such\.host\.invalid:4318"):
        await source.run(CollectingOutlet(), follow=True)


async def test_what_cannot_be_a_name_is_one_clear_line() -> None:
    source = OtlpSource("otlp:", OtlpAddress("a..b", 4318))
    with pytest.raises(SourceError, match=r"^cannot listen on a\.\.b:4318: a\.\.b is no name of a host$"):
        await source.run(CollectingOutlet(), follow=True)


async def test_without_following_nothing_is_received() -> None:
    outlet = CollectingOutlet()
    await OtlpSource("otlp:", OtlpAddress("127.0.0.1", 0)).run(outlet, follow=False)
    assert outlet.statuses[-1].health is Health.OK
    assert "nothing is received without following" in outlet.statuses[-1].detail


async def test_after_the_end_the_port_is_free_and_what_was_sent_is_kept_in_mind() -> None:
    outlet = CollectingOutlet(NOW)
    async with receiving(outlet=outlet) as receiver:
        source = receiver.source
        first = metrics(counter("openclaw.tokens", point(5, openclaw__token="input")))
        await receiver.post("/v1/metrics", in_json(first), JSON)
    again = asyncio.create_task(source.run(outlet, follow=True))
    await outlet.until(lambda: "0 requests" in outlet.statuses[-1].detail or source.port != 0)
    more = metrics(counter("openclaw.tokens", point(8, NOW + 1000, openclaw__token="input")))
    await outlet.until(lambda: source._listening)
    await receiver.post("/v1/metrics", in_json(more), JSON)
    again.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await again
    assert counted(outlet).snapshot(View(window=Window.ALL), NOW).total.tokens.input == 8


class Files:
    """A source that tells a session call by call."""

    uri = "openclaw:x"

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        key = Key("local", "coder", session="session-1")
        await outlet.put([Call(key, outlet.now(), "c", "mock", "m", Tokens(100))])


class Heard:
    """A source that hears of sessions from afar, and notes which others tell."""

    uri = "otlp:x"

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def told_elsewhere(self, host: str, agent: str, session: str) -> None:
        self.told.append((host, agent, session))

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        await outlet.put([Call(Key("local", "x", session="own"), outlet.now(), "c", "mock", "m", Tokens(1))])


def test_the_engine_tells_a_receiver_which_sessions_are_read_elsewhere() -> None:
    heard = Heard()
    engine = Engine([heard, Files(), Files()], View(window=Window.ALL), follow=False)
    engine.start()
    assert engine.caught_up(10)
    engine.stop()
    assert heard.told == [("local", "coder", "session-1")]


async def test_a_session_that_is_read_elsewhere_is_taken_back() -> None:
    told: Table = {"openclaw__tokens__input": 100, "openclaw__model": "m", "openclaw__sessionId": "session-1"}
    usage = span("openclaw.model.usage", openclaw__sessionKey="agent:coder:main", **told)
    body = traces(usage, scope="openclaw")
    async with receiving() as receiver:
        await receiver.post("/v1/traces", in_json(body), JSON)
        before = len(receiver.outlet.batches)
        receiver.source.told_elsewhere("here", "coder", "session-1")
        await receiver.outlet.until(lambda: len(receiver.outlet.batches) > before)
    assert counted(receiver.outlet).snapshot(View(window=Window.ALL), NOW).total.tokens == Tokens()
