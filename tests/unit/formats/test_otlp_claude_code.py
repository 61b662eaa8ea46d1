"""Claude Code's own telemetry: metrics and log events tell the same spend, which counts once."""

import itertools
from typing import Any

import pytest

from clawtop.formats.otlp.reader import OtlpReader
from clawtop.model.events import Tokens
from clawtop.model.snapshot import Basis, Grouping
from tests.otlp_messages import Table, counter, log, logs, metrics, point, span, traces
from tests.unit.formats.otlp_reading import Reading

RESOURCE: Table = {"service.name": "claude-code", "service.version": "2.1.0", "host.name": "laptop"}
SCOPE = "com.anthropic.claude_code"
WHO: Table = {"session__id": "s1", "user__email": "ann@example.org", "model": "claude-sonnet-5"}
KINDS = {"input": 100, "output": 20, "cacheRead": 500, "cacheCreation": 50}
TOKENS = Tokens(100, 20, 500, 50)


def told(*items: Table) -> Table:
    return metrics(*items, resource=RESOURCE, scope=SCOPE)


def tokens(delta: bool = True, **who: Any) -> Table:
    return counter(
        "claude_code.token.usage",
        *(point(value, **{"type": kind} | (who or WHO)) for kind, value in KINDS.items()),
        delta=delta,
    )


def cost(value: float = 0.012, **who: Any) -> Table:
    return counter("claude_code.cost.usage", point(value, **who or WHO), delta=True)


def event(name: str, sequence: int = 1, **more: Any) -> Table:
    return log(name, event__sequence=sequence, prompt__id="p1", **WHO | more)


def request(sequence: int = 1, **more: Any) -> Table:
    counts: Table = {"input_tokens": 100, "output_tokens": 20, "cache_read_tokens": 500, "cache_creation_tokens": 50}
    told: Table = {"cost_usd": "0.012", "duration_ms": 900, **counts}
    return event("claude_code.api_request", sequence, **told | more)


def said(*items: Table) -> Table:
    return logs(*items, resource=RESOURCE, scope=SCOPE)


def test_metrics_alone_tell_tokens_and_money_and_whose() -> None:
    reading = Reading().take(told(tokens(), cost()))
    row = reading.rows()["claude-code"]
    assert (row.tokens, row.cost, row.basis, row.user) == (TOKENS, 12_000, Basis.LOGGED, "ann@example.org")
    assert reading.rows(Grouping.SESSION).keys() == {"s1"}
    reading.now += 10_000
    assert {"calls", "errors", "tool_calls"} <= reading.settle().rows()["claude-code"].blind


def test_log_events_alone_tell_each_call() -> None:
    row = Reading().take(said(request(), request(2, request_id="r2"))).rows()["claude-code"]
    assert (row.counters.calls, row.tokens.input, row.cost, row.runs) == (2, 200, 24_000, 1)
    assert row.latency_p50 == pytest.approx(900, rel=0.05)
    assert row.model == "anthropic/claude-sonnet-5"


@pytest.mark.parametrize("resource_host", ["laptop", "local"])
@pytest.mark.parametrize("logs_first", [True, False])
def test_both_together_count_once(logs_first: bool, resource_host: str) -> None:
    reader = OtlpReader(own_names=["laptop"] if resource_host == "local" else [])
    bodies = [said(request()), told(tokens(), cost())]
    row = Reading(reader).take(*bodies if logs_first else bodies[::-1]).rows()["claude-code"]
    assert (row.tokens, row.cost, row.counters.calls, row.host) == (TOKENS, 12_000, 1, resource_host)


@pytest.mark.parametrize("logs_first", [True, False])
def test_metrics_that_leave_the_session_out_are_the_same_spend(logs_first: bool) -> None:
    bare: Table = {"model": "claude-sonnet-5"}
    bodies = [said(request()), told(tokens(**bare), cost(**bare))]
    row = Reading().take(*bodies if logs_first else bodies[::-1]).rows()["claude-code"]
    assert (row.tokens, row.cost) == (TOKENS, 12_000)


def test_what_only_metrics_tell_comes_on_top() -> None:
    other = {**WHO, "session__id": "s2"}
    reading = Reading().take(said(request()), told(tokens(), tokens(**other), cost(), cost(**other)))
    assert reading.used(Grouping.SESSION) == {"s1": TOKENS, "s2": TOKENS}
    assert reading.shot().total.cost == 24_000


def test_cumulative_counters_are_read_too() -> None:
    assert Reading().take(told(tokens(delta=False))).used() == {"claude-code": TOKENS}


def test_an_error_was_tried_as_often_as_it_says() -> None:
    given_up = event("api_error", error="Overloaded", status_code="529", attempt=4)
    reading = Reading().take(said(given_up, given_up))
    counters = reading.rows()["claude-code"].counters
    assert (counters.errors, counters.retries, counters.failed_turns, counters.calls) == (4, 3, 1, 0)
    assert any(incident.text == "529 Overloaded" for incident in reading.shot().incidents)


def test_tools() -> None:
    results = [event("tool_result", n, tool_name="Bash", success=ok) for n, ok in enumerate(("true", "false"))]
    counters = Reading().take(said(*results)).rows()["claude-code"].counters
    assert (counters.tool_calls, counters.tool_errors) == (2, 1)


def test_other_events_and_its_spans_are_passed_over() -> None:
    usage: Table = {"gen_ai__usage__input_tokens": 100, "gen_ai__operation__name": "chat"}
    request_span = traces(span("claude_code.llm_request", **usage), resource=RESOURCE, scope=SCOPE)
    assert Reading().take(said(event("user_prompt")), request_span).shot().rows == ()


def test_a_session_that_its_own_file_tells_is_dropped_whenever_that_is_known() -> None:
    bodies = [said(request()), told(tokens(), cost()), said(request(2, request_id="r2"))]
    for known in range(4):
        reading = Reading(OtlpReader(own_names=["laptop"]))
        for number, body in enumerate([*bodies, said()]):
            if number == known:
                reading.count(reading.reader.told_elsewhere("local", "claude", "s1"))
            reading.take(body)
        total = reading.shot().total
        assert (total.tokens, total.cost, total.counters.calls) == (Tokens(), 0, 0)


def test_metrics_without_a_session_are_explained_by_the_logs_of_one_that_its_own_file_tells() -> None:
    bare: Table = {"model": "claude-sonnet-5"}
    bodies = [said(request()), told(tokens(**bare), cost(**bare))]
    for order, known in itertools.product((bodies, bodies[::-1]), range(3)):
        reading = Reading(OtlpReader(own_names=["laptop"]))
        for number, body in enumerate([*order, said()]):
            if number == known:
                reading.count(reading.reader.told_elsewhere("local", "claude:api", "s1"))
            reading.take(body)
        total = reading.shot().total
        assert (total.tokens, total.cost, total.counters.calls) == (Tokens(), 0, 0)
        assert not reading.reader.doubt


def test_metrics_that_nothing_tells_apart_from_the_sessions_own_files_are_said_to_be_so() -> None:
    bare: Table = {"model": "claude-sonnet-5"}
    reading = Reading(OtlpReader(own_names=["laptop"])).take(told(tokens(**bare)))
    assert not reading.reader.doubt
    reading.count(reading.reader.told_elsewhere("local", "coder", "session-1"))
    assert not reading.reader.doubt
    reading.count(reading.reader.told_elsewhere("local", "claude:api", "s1"))
    assert "OTEL_METRICS_INCLUDE_SESSION_ID=true" in reading.reader.doubt


def test_garbage_in_the_fields_costs_only_the_fields() -> None:
    broken = request(cost_usd="much", input_tokens=-4, duration_ms="long")
    row = Reading().take(said(broken)).rows()["claude-code"]
    assert (row.tokens, row.counters.calls) == (Tokens(0, 20, 500, 50), 1)
