"""A Prometheus as a source: windows are right, a failure neither loses nor doubles anything, and all is bounded."""

import asyncio
import base64
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clawtop.cli import main
from clawtop.fleet.fleet import Fleet
from clawtop.formats.prometheus import HOUR_MS
from clawtop.model.errors import SourceError, UsageError
from clawtop.model.events import Event, SessionState, State
from clawtop.model.snapshot import Health, Row, View, Window
from clawtop.sources import prometheus as source_module
from clawtop.sources import prometheus_api
from clawtop.sources.prometheus import PrometheusSource
from clawtop.sources.prometheus_api import parse_address
from tests.fake_prometheus import STALE, FakePrometheus, http, success
from tests.outlets import Remembered

NOW = 1_800_000_000_000
MINUTE = 60_000
CODER = {"host": "local", "agent": "coder", "project": "api", "user": "", "model": "mock/normal"}
SECRET = "hunter2"


def scrapes(*values: tuple[int, float | str]) -> list[tuple[int, float | str]]:
    """A counter scraped each minute: `values` are (minutes ago, value from then on), the latest at NOW."""
    found: list[tuple[int, float | str]] = []
    for (ago, value), until in zip(values, [*(ago for ago, _ in values[1:]), -1], strict=True):
        found += ((NOW - minute * MINUTE, value) for minute in range(ago, until, -1))
    return found


def source(fake: FakePrometheus, userinfo: str = "", poll: float = 0.01, **environment: str) -> PrometheusSource:
    uri = f"prometheus:{fake.url.replace('://', f'://{userinfo}')}"
    return PrometheusSource(parse_address(uri, environment), poll=poll)


def outlet() -> Remembered:
    return Remembered(lambda: NOW)


async def read(one: PrometheusSource) -> Remembered:
    """What a single look gives."""
    told = outlet()
    await one.run(told, follow=False)
    return told


def row(events: Iterable[Event], window: Window = Window.ALL, agent: str = "coder", now: int = NOW) -> Row:
    fleet = Fleet()
    fleet.prune(now)
    for event in events:
        fleet.fold(event)
    return next(row for row in fleet.snapshot(View(window), now).rows if row.label == agent)


# ---- what is there


async def test_history_and_what_is_now() -> None:
    async with FakePrometheus(NOW) as fake:
        fake.add("clawtop_calls_total", scrapes((9 * 1440, 10), (2 * 1440, 17), (50, 19), (0, 20)), **CODER)
        fake.add("clawtop_cost_usd_total", scrapes((9 * 1440, 1.5), (50, 1.75)), **CODER)
        fake.add("clawtop_agent_state", scrapes((3, 1)), host="local", agent="coder", state="running")
        told = await read(source(fake))
    counted = {window: row(told.events, window).counters.calls for window in Window}
    assert counted == {"1m": 1, "5m": 1, "15m": 1, "1h": 3, "24h": 3, "7d": 10, "all": 20}
    whole = row(told.events)
    assert (whole.cost, whole.state, whole.host) == (1_750_000, State.RUNNING, "m1:9464")
    assert {"sessions", "tokens", "retries"} <= whole.blind
    assert told.status is not None
    assert (told.status.health, told.status.detail) == (Health.OK, "clawtop_* of 1 target")
    assert told.status.bytes > 1000


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9 * 1440), st.integers(1, 1000)), min_size=1, max_size=12),
    st.integers(0, 9 * 1440),
)
def test_every_window_is_right_to_a_step(growth: list[tuple[int, int]], before: int) -> None:
    """What grew so many minutes ago counts in all windows that hold it, and in none that ended long before."""
    growth.sort(reverse=True)
    values, grown = [(max(before, growth[0][0]) + 120, 5)], 5
    for ago, more in growth:
        grown += more
        values.append((ago, grown))

    async def told() -> list[Event]:
        async with FakePrometheus(NOW) as fake:
            fake.add("openclaw_tokens_total", scrapes(*values), openclaw_token="input", openclaw_model="x")
            return (await read(source(fake))).events

    events = asyncio.run(told())
    assert row(events, agent="agents").tokens.input == grown
    slack = {Window.H1: 3, Window.H24: 3, Window.D7: 121}
    for window, minutes in slack.items():
        length = (window.seconds or 0) // 60
        least = sum(more for ago, more in growth if ago <= length)
        most = sum(more for ago, more in growth if ago <= length + minutes)
        counted = row(events, window, agent="agents").tokens.input
        assert least <= counted <= most
        assert counted <= grown - 5


async def test_an_agent_that_is_gone_still_counts_in_the_windows_it_was_seen_in() -> None:
    async with FakePrometheus(NOW) as fake:
        fake.add("clawtop_calls_total", scrapes((10, 1)), **CODER)
        fake.add(
            "clawtop_calls_total",
            [(NOW - 3 * HOUR_MS, 5), (NOW - 2 * HOUR_MS, 9), (NOW - 2 * HOUR_MS + MINUTE, STALE)],
            **{**CODER, "agent": "gone"},
        )
        events = (await read(source(fake))).events
    assert row(events, Window.ALL, "gone").counters.calls == 9
    assert row(events, Window.H24, "gone").counters.calls == 4
    assert row(events, Window.H1, "gone").counters.calls == 0


async def test_the_same_spend_is_counted_once() -> None:
    async with FakePrometheus(NOW) as fake:
        fake.add("clawtop_tokens_total", scrapes((10, 100)), kind="input", **CODER)
        fake.add("clawtop_source_up", scrapes((10, 1)), source="openclaw:/x")
        openclaw = {"openclaw_provider": "mock", "openclaw_model": "normal", "openclaw_token": "input"}
        fake.add("openclaw_tokens_total", scrapes((10, 90)), job="otel", instance="m1:8889", **openclaw)
        fake.add("openclaw_tokens_total", scrapes((10, 7)), job="otel", instance="m2:8889", **openclaw)
        told = await read(source(fake))
    assert row(told.events, agent="coder").tokens.input == 100
    elsewhere = row(told.events, agent="otel")
    assert (elsewhere.tokens.input, elsewhere.host) == (7, "m2:8889")
    assert told.status is not None
    assert "openclaw_* of m1:8889 left out, which others tell too" in told.status.detail


async def test_nothing_there_is_no_error() -> None:
    async with FakePrometheus(NOW) as fake:
        fake.add("up", scrapes((5, 1)))
        fake.add("clawtop_build_info", scrapes((5, 1)))
        told = await read(source(fake))
    assert told.events == []
    assert told.status is not None
    assert told.status.health is Health.OK
    assert "no clawtop_*, openclaw_* or gen_ai_* series" in told.status.detail


# ---- live


async def following(one: PrometheusSource, told: Remembered, then: Callable[[], asyncio.Future[None]]) -> None:
    """Run a source until `then` is done, or it ends."""
    running = asyncio.ensure_future(one.run(told, follow=True))
    doing = then()
    try:
        await asyncio.wait({running, doing}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
        else:
            running.result()
    finally:
        for task in (running, doing):
            task.cancel()
        await asyncio.gather(running, doing, return_exceptions=True)


async def test_what_grows_later_is_soon_told() -> None:
    async with FakePrometheus(NOW) as fake:
        fake.add("clawtop_calls_total", scrapes((10, 1)), **CODER)
        told = outlet()

        async def grow() -> None:
            await told.until(lambda told: told.status is not None and told.status.health is Health.OK)
            fake.now = NOW + 15_000
            fake.add("clawtop_calls_total", [(fake.now, 4)], **CODER)
            await told.until(lambda told: row(told.events, now=fake.now).counters.calls == 4)

        await following(source(fake), told, lambda: asyncio.ensure_future(grow()))
    assert row(told.events, Window.M1, now=NOW + 15_000).counters.calls == 3


async def test_who_appears_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakePrometheus(NOW) as fake:
        told = outlet()

        async def appear() -> None:
            await told.until(lambda told: told.status is not None and told.status.health is Health.OK)
            fake.add("clawtop_calls_total", [(NOW, 4)], **CODER)
            await told.until(lambda told: bool(told.events) and row(told.events).counters.calls == 4)

        await following(source(fake), told, lambda: asyncio.ensure_future(appear()))
    assert row(told.events, Window.H1).counters.calls == 0


async def test_what_happened_while_it_could_not_be_reached_is_fetched_once() -> None:
    async with FakePrometheus(NOW) as fake:
        fake.add("clawtop_calls_total", scrapes((10, 1)), **CODER)
        fake.add("clawtop_agent_state", scrapes((10, 1)), host="local", agent="coder", state="running")
        one, told = source(fake), outlet()
        await one.run(told, follow=False)
        fake.says = lambda *_: http(b"", status="500 Internal Server Error")
        with pytest.raises(SourceError, match="answers 500"):
            await one.run(told, follow=True)
        states = [event.state for event in told.events if isinstance(event, SessionState)]
        assert states == [State.RUNNING, State.UNKNOWN]
        fake.says = lambda *_: None
        later = NOW + 2 * HOUR_MS
        fake.add("clawtop_calls_total", ((NOW + MINUTE * n, 1 + n // 60) for n in range(1, 121)), **CODER)
        fake.now = later
        await one.run(told, follow=False)
    assert row(told.events, now=later).counters.calls == 3
    assert row(told.events, Window.H1, now=later).counters.calls == 2
    assert row(told.events, Window.M5, now=later).counters.calls == 1


async def test_too_much_at_once_is_asked_for_in_parts() -> None:
    refused = http(b'{"status":"error","errorType":"execution","error":"too many samples"}', "422 Unprocessable Entity")

    def says(path: str, params: Mapping[str, str]) -> bytes | None:
        return refused if "end" in params and float(params["end"]) - float(params["start"]) > 2 * 3600 else None

    async with FakePrometheus(NOW) as fake:
        fake.add("clawtop_calls_total", scrapes((9 * 1440, 10), (2 * 1440, 17), (50, 19), (0, 20)), **CODER)
        whole = (await read(source(fake))).events
        fake.says = says
        parts = (await read(source(fake))).events
    assert [row(parts, window).counters.calls for window in Window] == [
        row(whole, window).counters.calls for window in Window
    ]


async def test_many_changes_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "_MOST_POINTS", 100)
    async with FakePrometheus(NOW) as fake:
        fake.add("clawtop_calls_total", ((NOW - MINUTE * n, 2000 - n) for n in range(2000, -1, -1)), **CODER)
        told = await read(source(fake))
    assert row(told.events).counters.calls == 2000
    assert row(told.events, Window.H1).counters.calls == 61
    ranges = [params for path, params, _ in fake.asked if path.endswith("query_range")]
    assert len(ranges) > 10


# ---- what is no answer


async def refused(fake: FakePrometheus) -> str:
    """Why a source could not be read, which is one line."""
    with pytest.raises(SourceError) as caught:
        await read(source(fake))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (http(b"no", "401 Unauthorized", "text/plain"), "CLAWTOP_PROMETHEUS_TOKEN"),
        (http(b"no", "403 Forbidden", "text/plain"), "(403)"),
        (http(b"no", "404 Not Found", "text/plain"), "prefix"),
        (http(b"", "302 Found", more="Location: http://elsewhere/\r\n"), "points elsewhere (302)"),
        (http(b"oops", "500 Internal Server Error", "text/plain"), "answers 500"),
        (http(b'{"status":"error","errorType":"internal","error":"a\x1b[2J\\nb"}', "500 x"), "answers 500"),
        (
            http(b'{"status":"error","errorType":"timeout","error":"slow"}', "503 x"),
            "cannot answer (503): timeout: slow",
        ),
        (http(b"<html>log in</html>", kind="text/html"), "answers with text/html, not as a Prometheus does"),
        (http(b"", kind="application/json"), "not as a Prometheus does"),
        (http(b"{", kind="application/json"), "it is no JSON"),
        (http(b"{}", kind="application/json"), "no success"),
        (success({}), "it is no list"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "broke off: RemoteProtocolError"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "broke off: RemoteProtocolError"),
        (http(b"xx", more="Content-Encoding: gzip\r\n"), "broke off: DecodingError"),
    ],
)
async def test_what_is_no_answer_is_one_clear_line(says: bytes, why: str) -> None:
    async with FakePrometheus(NOW) as fake:
        fake.says = lambda *_: says
        told = await refused(fake)
    assert why in told
    assert told.isprintable()
    assert told.startswith("127.0.0.1:")


async def test_nobody_there() -> None:
    async with FakePrometheus(NOW) as fake:
        pass
    told = await refused(fake)
    assert told.startswith("cannot reach 127.0.0.1:")
    assert told.endswith("Connection refused")


async def test_one_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_api, "_SECONDS", 0.05)

    async with FakePrometheus(NOW) as fake:
        fake.says = lambda *_: b"HTTP/1.1 200 OK\r\n"
        fake.hold = True
        assert "did not answer within 0.05 s" in await refused(fake)


async def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_api, "MOST_BYTES", 1 << 20)
    async with FakePrometheus(NOW) as fake:
        fake.says = lambda *_: http(b"{" + b" " * (3 << 20))
        assert "more than 1 MB" in await refused(fake)


async def test_a_million_series_are_not_read() -> None:
    def says(path: str, params: Mapping[str, str]) -> bytes | None:
        if params.get("query", "").startswith("count"):
            return success({"result": [{"metric": {"__name__": "clawtop_calls_total"}, "value": [1, "1000000"]}]})
        return None

    async with FakePrometheus(NOW) as fake:
        for number in range(5):
            fake.add("clawtop_calls_total", scrapes((10, 10 + number)), **{**CODER, "agent": f"a{number}"})
        fake.says = says
        told = await read(source(fake))
        queries = [params["query"] for _, params, _ in fake.asked if "query" in params]
    assert told.status is not None
    assert "980,000 of 1,000,000 series left out, and all history" in told.status.detail
    assert queries[-1] == "topk(20000, clawtop_calls_total)"
    assert not any("offset" in query for query in queries)
    assert all(params["limit"] == "20000" for path, params, _ in fake.asked if path.endswith("query"))
    assert row(told.events, agent="a4").counters.calls == 14
    assert row(told.events, Window.H24, agent="a4").counters.calls == 0


async def test_what_is_not_as_it_should_be_is_counted() -> None:
    labels: dict[str, str] = {"__name__": "clawtop_calls_total", **CODER}
    results: list[object] = [{"metric": 5}, {"metric": labels, "value": [1, "NaN"]}]
    odd = success({"result": results})

    def says(path: str, params: Mapping[str, str]) -> bytes | None:
        return odd if params.get("query", "").startswith("{") else None

    async with FakePrometheus(NOW) as fake:
        fake.add("clawtop_calls_total", scrapes((10, 1)), **CODER)
        fake.says = says
        told = await read(source(fake))
    assert told.status is not None
    assert told.status.skipped.keys() == {"a series is not as it should be", "a value is no number"}


# ---- credentials


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("userinfo", "token", "header"),
    [
        ("", "", None),
        ("", SECRET, f"Bearer {SECRET}"),
        (f"zaphod:{SECRET}@", "", basic(f"zaphod:{SECRET}")),
        ("zaphod@", SECRET, basic(f"zaphod:{SECRET}")),
        ("zaphod%40b:p%2Fq@", "", basic("zaphod@b:p/q")),
        ("zaphod:4711@", SECRET, basic("zaphod:4711")),
    ],
)
async def test_credentials_are_sent_and_never_shown(userinfo: str, token: str, header: str | None) -> None:
    async with FakePrometheus(NOW) as fake:
        fake.add("clawtop_calls_total", scrapes((10, 1)), **CODER)
        one = source(fake, userinfo, CLAWTOP_PROMETHEUS_TOKEN=token)
        told = await read(one)
        fake.says = lambda *_: http(b"", "401 Unauthorized")
        with pytest.raises(SourceError) as caught:
            await read(one)
        assert one.uri == f"prometheus:{fake.url}"
    assert {headers.get("authorization") for _, _, headers in fake.asked} == {header}
    shown = f"{told.statuses} {told.events} {caught.value} {one.uri}"
    assert not any(secret in shown for secret in (SECRET, "zaphod", "4711", "p%2Fq", "p/q"))


def test_a_token_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    address = parse_address("prometheus:http://far:9090", {}, path)
    assert address.auth is not None
    assert SECRET not in repr(address)
    assert address.warnings == ["the credentials for far:9090 cross the network unencrypted: use https:// or `ssh -L`"]
    assert parse_address("prometheus:https://far", {}, path).warnings == []
    assert parse_address("prometheus:http://127.0.0.1:9090", {}, path).warnings == []
    assert parse_address("prometheus:http://far:9090").warnings == []
    path.write_text(f"{SECRET} {SECRET}")
    with pytest.raises(UsageError) as caught:
        parse_address("prometheus:http://far:9090", {}, path)
    assert SECRET not in str(caught.value)


def test_the_settings_in_force_show_no_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAWTOP_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("CLAWTOP_SOURCES", f"prometheus:http://zaphod:{SECRET}@far:9090/prom,events:/x")
    assert main(["config"]) == 0
    assert 'sources = ["prometheus:http://far:9090/prom", "events:/x"]' in capsys.readouterr().out


def test_a_gateways_token_is_not_shown_to_a_prometheus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(SECRET)
    both = ["-s", "gateway:ws://127.0.0.1:1", "-s", "prometheus:http://127.0.0.1:1"]
    assert main(["--once", "--token-file", str(tmp_path / "token"), *both]) == 2
    assert "CLAWTOP_PROMETHEUS_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("CLAWTOP_PROMETHEUS_TOKEN", "its own")
    assert main(["--once", "--token-file", str(tmp_path / "token"), *both]) == 1


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("prometheus:http://h:9090", "http://h:9090"),
        ("prometheus:http://h:9090/", "http://h:9090"),
        ("prometheus:https://h/prom/", "https://h/prom"),
        ("prometheus:http://h/api/v1/", "http://h"),
        ("prometheus:http://[::1]:9090", "http://[::1]:9090"),
    ],
)
def test_where_it_is(uri: str, url: str) -> None:
    assert parse_address(uri).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:9090",
        "ftp://ann:hunter2@h",
        "http://",
        "http://ann:hunter2@h:x",
        "http://ann:hunter2@h?q",
        "//ann:hunter2@h",
    ],
)
def test_what_names_no_prometheus(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, why in (("prometheus", "names no Prometheus"), ("promtehus", "no known kind")):
        assert main(["--once", "-s", f"{kind}:{url}"]) == 2
        err = capsys.readouterr().err
        assert why in err
        assert err.count("\n") == 1
        assert SECRET not in err
