"""OpenClaw's own signals: what was captured from 2026.2.26, and what later versions are documented to add."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clawtop.formats.otlp.reader import OtlpReader
from clawtop.model.events import Blind, State, Tokens
from clawtop.model.snapshot import Basis, Grouping, Window
from tests.otlp_messages import NOW, Table, capture, counter, histogram, metrics, point, seen, span, traces, truth
from tests.steps import steps
from tests.unit.formats.otlp_reading import Reading

POSTS = list(capture())
GATEWAY: Table = {"service.name": "openclaw-gateway", "host.name": "vm", "process.pid": 7}
MODEL: Table = {"openclaw__provider": "mock", "openclaw__model": "m", "openclaw__channel": "web"}


def exported(*items: Table, resource: Table = GATEWAY) -> Table:
    return metrics(*items, resource=resource, scope="openclaw")


def tokens(kind: str, value: float, time: int = NOW, **more: Any) -> Table:
    return point(value, time, openclaw__token=kind, **MODEL, **more)


def usage(number: int, agent: str, *counts: int, at: int = NOW - 1000, **more: Any) -> Table:
    told: Table = dict(zip(("input", "output", "cache_read", "cache_write"), counts, strict=False))
    return span(
        "openclaw.model.usage",
        (number, number, 0),
        (at - 500, at),
        openclaw__sessionKey=f"agent:{agent}:main",
        openclaw__sessionId=f"session-{agent}",
        **MODEL | more | {f"openclaw__tokens__{kind}": count for kind, count in told.items()},
    )


def spans(*items: Table, resource: Table = GATEWAY) -> Table:
    return traces(*items, resource=resource, scope="openclaw")


def assert_true(reading: Reading) -> None:
    """The totals of the capture, per agent where the spans say so."""
    expected = truth()
    total = reading.shot().total
    kinds = ("input", "output", "cache_read", "cache_write", "total", "cost_micro")
    assert (*total.tokens, total.tokens.total, total.cost) == tuple(expected["totals"][kind] for kind in kinds)
    used = reading.used()
    assert {name: each.input for name, each in used.items()} == expected["input_by_agent_from_spans"]
    models = {name: row.cost for name, row in reading.rows(Grouping.MODEL).items()}
    assert models == expected["cost_micro_by_model_from_metrics"]


# ---- the capture


def test_the_capture_gives_its_totals_over_a_restart() -> None:
    reading = Reading().take(*POSTS).settle(over=True)
    assert_true(reading)
    assert reading.shot().total.basis is Basis.LOGGED
    assert not reading.reader.skipped
    costs = {name: row.cost for name, row in reading.rows().items() if row.cost}
    assert costs == {"main": 10344, "researcher": 10113, "coder": 20043, "looper": 91613, "flaky": 871}


def test_sent_twice_it_counts_once() -> None:
    assert_true(Reading().take(*POSTS, *POSTS))


@settings(max_examples=8, deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_totals(chance: random.Random) -> None:
    posts = list(POSTS)
    chance.shuffle(posts)
    assert_true(Reading().take(*posts))


def test_without_spans_all_of_it_is_the_gateways() -> None:
    reading = Reading().take(*(post for post in POSTS if post.path == "/v1/metrics"))
    assert reading.used() == {"openclaw-gateway": Tokens(41954, 252, 41938, 0)}
    assert reading.rows()["openclaw-gateway"].cost == truth()["totals"]["cost_micro"]


def test_a_runs_span_is_no_call_so_calls_cannot_be_known() -> None:
    rows = Reading().take(*POSTS).rows()
    for name in ("looper", "openclaw-gateway"):
        assert {"calls", "errors", "retries", "fallbacks", "tool_calls", "aborts"} <= rows[name].blind
    assert (rows["looper"].runs, rows["looper"].sessions) == (3, 2)


def test_who_runs_is_told_by_lanes_until_the_gateway_falls_silent() -> None:
    reading = Reading(now=1_795_347_085_000).take(*POSTS[:32])  # the hour of its fourth stuck session
    rows = reading.rows()
    states = {name: row.state for name, row in rows.items()}
    assert (states["bigctx"], rows["bigctx"].detail) == ("running", "stuck for 226 s")
    assert (states["coder"], states["researcher"], states["openclaw-gateway"]) == ("idle", "idle", "running")
    reading.now += 180_001
    states = {name: row.state for name, row in reading.settle().rows().items()}
    assert (states["bigctx"], states["openclaw-gateway"]) == ("unknown", "unknown")
    assert "running" not in states.values()


def test_what_ran_in_the_past_does_not_run_now() -> None:
    states = {row.state for row in Reading(now=NOW + 3_600_000).take(*POSTS).rows().values()}
    assert "running" not in states


def test_of_an_agent_that_only_lanes_name_nothing_else_can_be_known() -> None:
    reading = Reading(now=1_795_347_085_000).take(*POSTS[:32])
    reading.now += 10_000
    assert "calls" in reading.settle().rows()["bigctx"].blind


def test_an_idle_gateway_runs_no_lane() -> None:
    lane: Table = {"openclaw__lane": "session:agent:coder:main"}
    begun = counter("openclaw.session.state", point(1, openclaw__state="processing"))
    taken = counter("openclaw.queue.lane.dequeue", point(1, **lane))
    reading = Reading().take(exported(begun, taken))
    assert {name: row.state for name, row in reading.rows().items()} == dict.fromkeys(
        ("coder", "openclaw-gateway"), "running"
    )
    over = counter("openclaw.session.state", point(1, NOW + 1000, openclaw__state="idle"))
    rows = reading.take(exported(over)).rows()
    assert (rows["coder"].state, rows["openclaw-gateway"].state) == ("idle", "idle")


def test_many_lanes_that_run_are_little_work() -> None:
    def work(count: int) -> int:
        lanes = [f"session:agent:a{number}:main" for number in range(count)]
        waits = counter("openclaw.queue.lane.enqueue", *(point(1, openclaw__lane=lane) for lane in lanes))
        reading = Reading()
        found = steps(lambda: reading.take(exported(waits)))
        assert [row.state for row in reading.rows().values()].count(State.RUNNING) == count
        return found

    assert work(400) < 5 * work(100)


# ---- windows, prefixes, other versions


def test_a_first_value_counts_in_a_window_only_if_its_start_lies_inside() -> None:
    old = counter("openclaw.tokens", tokens("input", 9) | {"startTimeUnixNano": str((NOW - 7_200_000) * 10**6)})
    reading = Reading().take(exported(old))
    assert reading.shot(window=Window.H1).total.tokens.input == 0
    assert reading.shot(window=Window.H24).total.tokens.input == 9
    reading.now += 60_000
    reading.take(exported(counter("openclaw.tokens", tokens("input", 14, NOW + 60_000))))
    assert reading.shot(window=Window.H1).total.tokens.input == 14


@pytest.mark.parametrize("name", ["acme.tokens", "acme_tokens", "tokens"])
def test_the_prefix_of_the_metrics_may_be_another(name: str) -> None:
    reading = Reading().take(exported(counter(name, tokens("input", 5), tokens("total", 99))))
    assert reading.used() == {"openclaw-gateway": Tokens(5)}


def test_prompt_and_total_are_no_kinds_of_tokens() -> None:
    kinds = ("input", "output", "cache_read", "cache_write", "prompt", "total")
    each = [tokens(kind, number + 1) for number, kind in enumerate(kinds)]
    assert Reading().take(exported(counter("openclaw.tokens", *each))).used() == {
        "openclaw-gateway": Tokens(1, 2, 3, 4)
    }


def test_deltas_add_up() -> None:
    each = [tokens("input", 5, NOW + number) for number in range(4)]
    body = exported(counter("openclaw.tokens", *each, delta=True))
    assert Reading().take(body, body).used() == {"openclaw-gateway": Tokens(20)}


def test_later_metrics_name_the_agent() -> None:
    told = counter("openclaw.tokens", tokens("input", 30, openclaw__agent="coder"), tokens("input", 7))
    reading = Reading().take(exported(told))
    assert reading.used() == {"coder": Tokens(30), "openclaw-gateway": Tokens(7)}
    reading.take(spans(usage(1, "coder", 30, openclaw__agent="coder")))
    assert reading.used() == {"coder": Tokens(30), "openclaw-gateway": Tokens(7)}
    assert reading.used(Grouping.SESSION)["agent:coder:main"] == Tokens(30)


def test_genai_metrics_of_a_gateway_tell_the_same_again() -> None:
    again = histogram("gen_ai.client.token.usage", seen(5, 1, gen_ai__token__type="input"))
    reading = Reading().take(exported(counter("openclaw.tokens", tokens("input", 5)), again))
    assert reading.shot().total.tokens == Tokens(5)


def test_later_versions_tell_calls_tools_retries_and_fallbacks() -> None:
    run = span("openclaw.run", (1, 9, 0))
    calls = [
        span("openclaw.model.call", (1, 2, 9), **MODEL),
        span("openclaw.model.call", (1, 3, 9), failed="rate limit", **MODEL),
        span("openclaw.tool.execution", (1, 4, 9), openclaw__toolName="exec"),
        span("openclaw.tool.execution", (1, 5, 9), failed="timeout", openclaw__toolName="exec"),
    ]
    told = usage(1, "coder", 10, openclaw__agent="coder") | {"spanId": f"{6:016x}", "parentSpanId": f"{9:016x}"}
    totals = exported(
        histogram(
            "openclaw.model_call.duration_ms",
            seen(900, 3, **MODEL),
            seen(100, 1, openclaw__errorCategory="rate_limit", **MODEL),
        ),
        counter("openclaw.run.attempt", point(5, openclaw__attempt=1), point(2, openclaw__attempt=2)),
        counter("openclaw.model.failover", point(1, openclaw__lane="session:agent:coder:main", **MODEL)),
    )
    reading = Reading().take(spans(*calls), totals)
    assert reading.rows()["openclaw-gateway"].counters.calls == 3
    rows = reading.take(spans(told, run)).rows()
    counters = rows["coder"].counters
    assert (counters.calls, counters.errors, counters.tool_calls, counters.tool_errors) == (1, 1, 2, 1)
    assert counters.fallbacks == 1
    gateway = rows["openclaw-gateway"].counters
    assert (gateway.calls, gateway.errors, gateway.retries) == (2, 0, 2)
    assert "calls" not in rows["coder"].blind


# ---- the same session in files


def test_a_session_that_files_tell_is_dropped_whenever_that_is_known() -> None:
    body = exported(counter("openclaw.tokens", tokens("input", 100)), counter("openclaw.cost.usd", point(0.5, **MODEL)))
    told = spans(usage(1, "coder", 60), usage(2, "main", 30))
    before, after = Reading(), Reading()
    before.count(before.reader.told_elsewhere("local", "coder", "session-coder"))
    before.take(body, told)
    after.take(body, told)
    after.count(after.reader.told_elsewhere("local", "coder", "session-coder"))
    after.count(after.reader.told_elsewhere("local", "coder", "session-coder"))
    assert before.used() == after.used() == {"main": Tokens(30)}


def test_nothing_is_called_unseen_of_an_agent_that_files_tell() -> None:
    local = {**GATEWAY, "host.name": "laptop"}
    reading = Reading(OtlpReader(own_names=["laptop"]))
    reading.take(spans(usage(1, "coder", 60), usage(2, "main", 30), resource=local))
    assert not reading.of(Blind)
    reading.count(reading.reader.told_elsewhere("local", "coder", "session-coder"))
    reading.now += 10_000
    reading.settle()
    assert [(blind.key.host, blind.key.agent) for blind in reading.of(Blind)] == [("local", "main")]


def test_a_clock_that_runs_ahead_is_taken_for_now_and_can_still_be_taken_back() -> None:
    ahead = NOW + 3_600_000
    body = exported(
        counter(
            "openclaw.tokens",
            tokens(
                "input",
                100,
                ahead,
            )
            | {"startTimeUnixNano": str(ahead * 10**6)},
        )
    )
    reading = Reading().take(body)
    assert reading.shot(window=Window.M1).total.tokens.input == 100
    reading.now += 30_000
    reading.take(spans(usage(1, "coder", 100, at=ahead)))
    assert reading.used() == {"coder": Tokens(100)}
    assert reading.reader.early > 0


def test_a_metric_without_attributes_counts_under_no_name() -> None:
    bare = metrics(counter("openclaw.tokens", point(5, openclaw__token="input")), resource={})
    assert Reading().take(bare).used() == {"(untagged)": Tokens(5)}


def test_ten_thousand_series_stay_bounded() -> None:
    reading = Reading()
    many = [tokens("input", 1, openclaw__agent=f"agent-{number}") for number in range(10_000)]
    rows = reading.take(exported(counter("openclaw.tokens", *many))).shot()
    assert rows.total.tokens.input == 10_000
    assert len(rows.rows) == 5_001
    assert reading.reader.skipped == {"more agents than are kept apart": 5_000}
    reading.now += 10_001
    assert len({event.key for event in reading.settle().of(Blind)}) == 5_000


def test_every_event_names_its_own_place() -> None:
    ids = [event.id for event in Reading().take(*POSTS).events if hasattr(event, "id")]
    assert len(ids) == len(set(ids))
