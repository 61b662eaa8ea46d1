"""A Prometheus as a source: windows are right, a failure neither loses nor doubles anything, and all is bounded."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clawtop.formats.prometheus import HOUR_MS
from clawtop.model.errors import SourceError
from clawtop.model.events import Event, SessionState, State
from clawtop.model.snapshot import Health, Window
from clawtop.sources import prometheus as source_module
from clawtop.sources.prometheus import PrometheusSource
from clawtop.sources.prometheus_api import parse_address
from tests.fake_prometheus import STALE, FakePrometheus, http, success
from tests.outlets import Remembered
from tests.unit.sources.prometheus_stage import CODER, MINUTE, NOW, outlet, read, row, scrapes, source

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


DAY = 1440
TOKENS = {"gen_ai_token_type": "input", "gen_ai_operation_name": "chat", "gen_ai_request_model": "m"}


async def spent(*pods: list[tuple[int, float | str]]) -> tuple[int, int]:
    """(input tokens of seven days, of all time) of pods with these samples."""
    name = "gen_ai_client_token_usage_sum"
    async with FakePrometheus(NOW) as fake:
        for number, points in enumerate(pods):
            fake.add(name, points, instance=f"pod-{number}:9", host="fleet", **TOKENS)
        fake.add(name, scrapes((5 * DAY, 7)), host="fleet", **TOKENS)
        events = (await read(source(fake))).events
    week, ever = (row(events, window, "agents").tokens.input for window in (Window.D7, Window.ALL))
    return week, ever - 7


def lived(since: int, minutes: int, *, first: int = 0, more: int = 100) -> list[tuple[int, float | str]]:
    """A pod that was scraped for so many minutes, since so many minutes ago."""
    return [(NOW - (since - minute) * MINUTE, first + minute * more) for minute in range(minutes + 1)]


async def test_a_target_that_came_and_went_between_two_looks_counts_from_its_first_sample_on() -> None:
    assert await spent(*(lived(3 * DAY - 60 * n - 5, 45, first=1000) for n in range(10))) == (45_000, 55_000)


async def test_a_targets_first_hour_counts() -> None:
    assert await spent(lived(3 * DAY - 10, 170)) == (17_000, 17_000)


async def test_a_counter_that_begins_again_each_hour_counts_all_of_them() -> None:
    hours = [point for hour in range(12) for point in lived(3 * DAY - 60 * hour - 20, 59)]
    week, ever = await spent(hours)
    assert (week, ever) == (12 * 5900, 12 * 5900)


async def test_a_counter_that_falls_at_the_look_itself_counts_too_though_it_is_where_it_was() -> None:
    # looks are at full hours before NOW: each life is over with its hour, and the next ends with the same number
    hours = [point for hour in range(12) for point in lived(3 * DAY - 60 * hour - 1, 50)]
    assert await spent(hours) == (12 * 5000, 12 * 5000)


async def test_money_that_begins_again_is_not_lost() -> None:
    labels = {"openclaw_provider": "mock", "openclaw_model": "normal"}
    async with FakePrometheus(NOW) as fake:
        hours = [(at, float(more) / 10_000) for hour in range(12) for at, more in lived(3 * DAY - 60 * hour - 20, 59)]
        fake.add("openclaw_cost_usd_total", hours, **labels)
        events = (await read(source(fake))).events
    assert row(events, Window.D7, "agents").cost == 12 * 590_000


async def test_a_clawtop_that_begins_again_with_less_tells_nothing_anew() -> None:
    twice = [*lived(3 * DAY - 20, 59, first=1000), *lived(3 * DAY - 80, 59, first=900)]
    async with FakePrometheus(NOW) as fake:
        fake.add("clawtop_calls_total", twice, **CODER)
        events = (await read(source(fake))).events
    assert 5900 <= row(events, Window.D7).counters.calls <= 2 * 5900


async def test_two_tenants_of_one_server_are_two_spends() -> None:
    events: list[Event] = []
    async with FakePrometheus(NOW) as fake:
        for tenant, count in (("a", 1000), ("b", 5000)):
            fake.clear()
            fake.add("clawtop_calls_total", scrapes((10, count)), **CODER)
            one = PrometheusSource(parse_address(f"prometheus:{fake.url}/{tenant}"))
            events += (await read(one)).events
    assert row(events).counters.calls == 6000


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


# ---- too much, and nonsense


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


async def test_a_number_of_series_that_is_none_stops_nothing() -> None:
    def says(path: str, params: Mapping[str, str]) -> bytes | None:
        if params.get("query", "").startswith("count"):
            return success({"result": [{"metric": {"__name__": "clawtop_calls_total"}, "value": [1, "x"]}]})
        return None

    async with FakePrometheus(NOW) as fake:
        fake.add("clawtop_calls_total", scrapes((10, 5)), **CODER)
        fake.says = says
        told = await read(source(fake))
    assert row(told.events).counters.calls == 5
    assert told.status is not None
    assert told.status.skipped == {"the number of series of a name is no number": 1}
