"""The GenAI semantic conventions: spans, metrics and logs of any framework, names old and new."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clawtop.formats.otlp.genai import usage
from clawtop.formats.otlp.reader import OtlpReader
from clawtop.formats.otlp.senders import AttributeMap
from clawtop.model.events import Blind, Call, Tokens
from clawtop.model.snapshot import Basis, Grouping
from tests.otlp_messages import NOW, Table, counter, histogram, log, logs, metrics, seen, span, traces
from tests.unit.formats.otlp_reading import Reading

MODEL: Table = {"gen_ai__provider__name": "openai", "gen_ai__request__model": "gpt-4o"}
CHAT: Table = {"gen_ai__operation__name": "chat", **MODEL}


def used(given: int, output: int, **more: Any) -> Table:
    return {"gen_ai__usage__input_tokens": given, "gen_ai__usage__output_tokens": output, **more}


def chat(own: int, parent: int = 0, trace: int = 1, at: int = 0, **more: Any) -> Table:
    """A call that ends `at` milliseconds before NOW and took 500."""
    return span("chat gpt-4o", (trace, own, parent), (NOW - at - 500, NOW - at), **CHAT | more)


def agent(own: int, name: str, parent: int = 0, trace: int = 1, **more: Any) -> Table:
    told: Table = {"gen_ai__operation__name": "invoke_agent", "gen_ai__agent__name": name}
    return span(f"invoke_agent {name}", (trace, own, parent), (NOW - 10_000, NOW), **told | more)


# ---- names


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 7}, (100, 7, 0, 0)),
        ({"gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.completion_tokens": 7}, (100, 7, 0, 0)),
        ({"llm.token_count.prompt": 100, "llm.token_count.completion": 7}, (100, 7, 0, 0)),
        (
            {
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.cache_read.input_tokens": 60,
                "gen_ai.usage.cache_creation.input_tokens": 10,
            },
            (30, 0, 60, 10),
        ),
        ({"gen_ai.usage.input_tokens": 5, "gen_ai.usage.cache_read_input_tokens": 60}, (5, 0, 60, 0)),
        ({"gen_ai.usage.input_tokens": "12", "gen_ai.usage.output_tokens": 3.0}, (12, 3, 0, 0)),
        ({"gen_ai.usage.input_tokens": -5, "gen_ai.usage.output_tokens": True}, (0, 0, 0, 0)),
        ({"gen_ai.usage.input_tokens": "many"}, (0, 0, 0, 0)),
    ],
)
def test_usage_has_many_names(attributes: Table, expected: tuple[int, ...]) -> None:
    assert usage(attributes) == expected


def test_a_call_is_complete() -> None:
    told = chat(1, **used(100, 7), gen_ai__agent__name="writer", gen_ai__conversation__id="c1")
    told["attributes"].append(
        {"key": "gen_ai.response.finish_reasons", "value": {"arrayValue": {"values": [{"stringValue": "stop"}]}}}
    )
    (call,) = Reading().take(traces(told, resource={"service.name": "app", "host.name": "web-1"})).of(Call)
    assert (call.key.host, call.key.agent, call.key.session, call.key.run) == ("web-1", "writer", "c1", f"{1:032x}")
    assert (call.provider, call.model, call.tokens, call.latency) == ("openai", "gpt-4o", Tokens(100, 7), 500)
    assert (call.stop, call.error, call.cost) == ("stop", None, None)


def test_a_list_price_is_known_by_the_names_of_the_conventions() -> None:
    told = chat(1, **used(1_000_000, 0), gen_ai__provider__name="azure.ai.openai")
    row = Reading().take(traces(told)).shot().total
    assert (row.basis, row.cost > 0) == (Basis.PRICED, True)


def test_a_cost_that_is_told_is_logged() -> None:
    row = Reading().take(traces(chat(1, **used(10, 1), gen_ai__usage__cost=0.25))).shot().total
    assert (row.basis, row.cost) == (Basis.LOGGED, 250_000)


@pytest.mark.parametrize("name", ["text_completion x", "generate_content x", "embeddings x"])
def test_other_operations_are_calls_too(name: str) -> None:
    told = span(name, gen_ai__operation__name=name.split(maxsplit=1)[0], **MODEL, **used(5, 0))
    assert Reading().take(traces(told)).shot().total.counters.calls == 1


def test_spans_of_other_things_are_passed_over() -> None:
    reading = Reading().take(traces(span("GET /"), span("chat with support", (1, 2, 0), http__route="/chat")))
    assert reading.shot().rows == ()


# ---- agents, runs, tools


def test_a_call_counts_at_once_and_moves_to_its_agent_when_that_ends() -> None:
    reading = Reading().take(traces(chat(1, parent=9, **used(100, 7))))
    assert reading.used() == {"app": Tokens(100, 7)}
    assert reading.rows()["app"].state == "running"
    rows = reading.take(traces(agent(9, "writer"))).rows()
    assert reading.used() == {"writer": Tokens(100, 7)}
    assert (rows["writer"].counters.calls, rows["app"].counters.calls) == (1, 0)
    assert (rows["writer"].runs, rows["writer"].latency_p50 is not None, rows["app"].state) == (1, True, "idle")


def test_what_stands_between_a_call_and_its_agent_does_not_matter() -> None:
    between = span("POST", (1, 5, 9))
    reading = Reading().take(traces(chat(1, parent=5, **used(100, 7))), traces(agent(9, "writer")), traces(between))
    assert reading.used() == {"writer": Tokens(100, 7)}


def test_an_inner_agent_has_its_own_calls() -> None:
    inner = agent(8, "critic", parent=9)
    calls = [chat(1, parent=9, **used(100, 7)), chat(2, parent=8, **used(30, 3))]
    reading = Reading().take(traces(*calls), traces(inner, agent(9, "writer")))
    assert reading.used() == {"writer": Tokens(100, 7), "critic": Tokens(30, 3)}


def test_an_agents_own_usage_counts_only_without_its_calls() -> None:
    alone = Reading().take(traces(agent(9, "writer", **used(100, 7))))
    assert alone.used() == {"writer": Tokens(100, 7)}
    alone.take(traces(chat(1, parent=9, **used(90, 7))))
    assert alone.used() == {"writer": Tokens(90, 7)}
    nested = traces(agent(9, "writer", **used(100, 7)), agent(8, "critic", parent=9, **used(40, 2)))
    assert Reading().take(nested).used() == {"critic": Tokens(40, 2)}


def test_tools_and_their_errors() -> None:
    tool: Table = {"gen_ai__operation__name": "execute_tool", "gen_ai__tool__name": "search"}
    told = [
        span("execute_tool search", (1, 1, 9), **tool),
        span("execute_tool search", (1, 2, 9), **tool, error__type="Timeout"),
    ]
    counters = Reading().take(traces(*told, agent(9, "writer"))).rows()["writer"].counters
    assert (counters.tool_calls, counters.tool_errors) == (2, 1)


def test_repeated_attempts_of_the_same_parent_are_retries_and_fallbacks() -> None:
    attempts = [
        chat(1, 9, at=8000, error__type="429"),
        chat(2, 9, at=6000, error__type="429"),
        chat(3, 9, at=4000, gen_ai__request__model="gpt-4o-mini", **used(10, 1)),
        chat(4, 9, at=2000, gen_ai__request__model="gpt-4o-mini", error__type="500"),
    ]
    reading = Reading().take(*(traces(each) for each in attempts), traces(agent(9, "writer")))
    counters = reading.rows()["writer"].counters
    assert (counters.calls, counters.errors) == (1, 3)
    assert (counters.retries, counters.fallbacks, counters.failed_turns) == (1, 1, 1)
    incidents = {incident.what for incident in reading.shot().incidents}
    assert incidents == {"error", "fallback", "failed turn"}


def test_a_retry_within_the_same_millisecond_is_one() -> None:
    failed, again = chat(1, 9, error__type="429"), chat(2, 9, **used(10, 1))
    for told, start in ((failed, 200), (again, 700)):
        told["startTimeUnixNano"], told["endTimeUnixNano"] = (str(NOW * 1_000_000 + start + each) for each in (0, 300))
    for order in ((failed, again), (again, failed)):
        counters = Reading().take(traces(*order, agent(9, "writer"))).rows()["writer"].counters
        assert (counters.errors, counters.retries, counters.failed_turns) == (1, 1, 0)


def test_calls_side_by_side_are_no_retries() -> None:
    told = traces(chat(1, 9, error__type="429"), chat(2, 9, **used(10, 1)), agent(9, "writer"))
    counters = Reading().take(told).rows()["writer"].counters
    assert (counters.errors, counters.retries, counters.failed_turns) == (1, 0, 1)


def test_a_trace_that_nobody_ends_is_no_longer_running_and_keeps_its_calls() -> None:
    reading = Reading().take(traces(chat(1, parent=9, **used(100, 7))))
    reading.now += 120_001
    assert reading.settle().rows()["app"].state == "unknown"
    reading.now += 800_000
    row = reading.settle().rows()["app"]
    assert (row.tokens, row.counters.calls, row.latency_p50 is not None) == (Tokens(100, 7), 1, True)


def test_a_run_that_ends_long_after_its_calls_counts_them_once() -> None:
    reading = Reading().take(traces(chat(1, parent=9, **used(1000, 100))))
    reading.now += 900_001
    reading.settle().take(traces(agent(9, "planner", **used(1000, 100))))
    assert reading.used() == {"app": Tokens(1000, 100)}


def test_a_failed_run_leaves_an_error() -> None:
    failed = agent(9, "writer") | {"status": {"code": 2, "message": "gave up"}}
    row = Reading().take(traces(chat(1, parent=9, **used(1, 1)), failed)).rows()["writer"]
    assert (row.state, row.detail) == ("error", "gave up")


def test_a_call_told_twice_counts_once() -> None:
    body = traces(chat(1, **used(100, 7)))
    assert Reading().take(body, body).used() == {"app": Tokens(100, 7)}


def test_a_span_without_ids_is_counted_as_skipped() -> None:
    reading = Reading().take(traces({**chat(1, **used(1, 1)), "spanId": ""}))
    assert reading.reader.skipped == {"a span without ids": 1}


def test_spans_whose_parents_never_come_are_bounded() -> None:
    reading = Reading()
    for part in range(6):
        reading.take(traces(*(chat(1, 9, trace=part * 1000 + number + 1, **used(1, 0)) for number in range(1000))))
    assert reading.used() == {"app": Tokens(6000)}
    assert reading.shot().total.counters.calls == 6000
    assert len(reading.of(Call)) == 1000


@pytest.mark.parametrize("inner_named", [False, True])
@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("inner_first", [False, True])
def test_a_call_that_two_libraries_tell_counts_once(inner_named: bool, batches: int, inner_first: bool) -> None:
    named: Table = {"gen_ai__agent__name": "writer"}
    outer = chat(2, 9, **named, **used(100, 7))
    inner = chat(1, 2, **(named if inner_named else {}), **used(100, 7))
    spans = [inner, outer] if inner_first else [outer, inner]
    bodies = [traces(*spans)] if batches == 1 else [traces(each) for each in spans]
    reading = Reading().take(*bodies, usage_metric(150, 10, 2), traces(agent(9, "writer")))
    assert reading.used() == {"writer": Tokens(100, 7), "app": Tokens(50, 3)}
    assert reading.rows()["writer"].counters.calls == 1


def test_a_trace_of_more_calls_than_are_kept_loses_none() -> None:
    reading = Reading()
    for part in range(5):
        calls = [chat(part * 1000 + number + 1, 9000, at=number, **used(1, 0)) for number in range(1000)]
        reading.take(traces(*calls))
    reading.take(traces(agent(9000, "writer", **used(5000, 0))))
    assert reading.shot().total.tokens == Tokens(5000)
    assert reading.shot().total.counters.calls == 5000


# ---- metrics beside spans


def usage_metric(given: int, output: int, calls: int = 1, **more: Any) -> Table:
    return metrics(
        histogram(
            "gen_ai.client.token.usage",
            seen(given, calls, gen_ai__token__type="input", **CHAT | more),
            seen(output, calls, gen_ai__token__type="output", **CHAT | more),
        )
    )


def duration_metric(*points: Table) -> Table:
    return metrics({**histogram("gen_ai.client.operation.duration", *points), "unit": "s"})


def test_metrics_alone_tell_tokens_calls_errors_and_latency() -> None:
    took = {**seen(6, 3, **CHAT), "explicitBounds": [1, 3], "bucketCounts": ["0", "3", "0"]}
    reading = Reading().take(usage_metric(300, 21, 3), duration_metric(took, seen(1, 1, error__type="429", **CHAT)))
    row = reading.rows()["app"]
    assert (row.tokens, row.counters.calls, row.counters.errors) == (Tokens(300, 21), 3, 1)
    assert row.latency_p50 == pytest.approx(2000, rel=0.05)
    assert row.basis is Basis.PRICED


@pytest.mark.parametrize("spans_first", [True, False])
def test_metrics_and_spans_of_the_same_calls_count_once(spans_first: bool) -> None:
    told = traces(chat(1, **used(100, 7), gen_ai__usage__cache_read__input_tokens=60))
    totals = [usage_metric(150, 10, 2), duration_metric(seen(1, 2, **CHAT))]
    bodies = [told, *totals] if spans_first else [*totals, told]
    row = Reading().take(*bodies).rows()["app"]
    assert row.tokens == Tokens(40 + 50, 10, 60)
    assert row.counters.calls == 2


def test_two_instrumentations_of_the_same_calls_count_once_in_metrics_too() -> None:
    body = usage_metric(100, 7)
    twice = [{**body, "resourceMetrics": [each]} for each in body["resourceMetrics"]]
    other = json.loads(json.dumps(body))
    other["resourceMetrics"][0]["scopeMetrics"][0]["scope"]["name"] = "another library"
    assert Reading().take(*twice, other).used() == {"app": Tokens(100, 7)}


def test_operations_that_are_no_calls_are_left_out_of_the_metrics() -> None:
    told = duration_metric(seen(1, 2, gen_ai__operation__name="execute_tool"))
    again = usage_metric(100, 7, gen_ai__operation__name="invoke_agent")
    assert Reading().take(told, again).shot().rows == ()


def test_a_sum_instead_of_a_histogram_is_read_too() -> None:
    one = {**seen(5, 0, gen_ai__token__type="input", **CHAT), "asDouble": 5}
    assert Reading().take(metrics(counter("gen_ai.client.token.usage", one))).used() == {"app": Tokens(5)}


def test_metrics_alone_see_no_tools_and_spans_do() -> None:
    remote = OtlpReader(host="elsewhere")
    reading = Reading(remote).take(usage_metric(10, 1))
    assert not reading.of(Blind)
    reading.now += 10_000
    assert "tool_calls" in reading.settle().rows()["app"].blind
    reading = Reading(OtlpReader()).take(usage_metric(10, 1), traces(chat(1, **used(1, 1))))
    reading.now += 10_000
    assert reading.settle().rows()["app"].blind == {"aborts", "compactions", "resets", "unmetered_runs"}


# ---- logs


def test_a_log_event_is_the_call_of_its_span() -> None:
    event = log("gen_ai.client.inference.operation.details", ids=(1, 1), **CHAT, **used(100, 7))
    assert Reading().take(logs(event)).used() == {"app": Tokens(100, 7)}
    for bodies in ((logs(event), traces(chat(1, **used(100, 7)))), (traces(chat(1, **used(100, 7))), logs(event))):
        assert Reading().take(*bodies).used() == {"app": Tokens(100, 7)}


def test_a_log_event_without_a_span_counts_by_itself() -> None:
    event = log("gen_ai.client.inference.operation.details", **CHAT, **used(100, 7))
    body = logs(event, log("gen_ai.choice"))
    assert Reading().take(body, body).used() == {"app": Tokens(100, 7)}


def test_log_events_without_a_trace_have_nothing_to_do_with_each_other() -> None:
    name = "gen_ai.client.inference.operation.details"
    good = log(name, **CHAT, **used(100, 7), gen_ai__agent__name="good")
    bad = log(name, **CHAT, gen_ai__agent__name="bad", error__type="429")
    rows = Reading().take(logs(good, bad)).rows()
    assert (rows["good"].state, rows["good"].counters.errors) == ("idle", 0)
    assert (rows["bad"].state, rows["bad"].counters.errors) == ("error", 1)


# ---- whose it was


def test_attribution_comes_from_the_span_else_from_the_resource() -> None:
    resource = {"service.name": "app", "service.namespace": "billing", "deployment.environment.name": "prod"}
    told = traces(chat(1, **used(1, 1), enduser__id="ann", task__id="t1"), resource=resource)
    ((call),) = Reading().take(told).of(Call)
    key = call.key
    assert (key.project, key.user, key.environment, key.task, key.owner) == ("billing", "ann", "prod", "t1", None)


def test_what_a_call_leaves_open_is_as_its_agents_span_says() -> None:
    calls = [chat(1, parent=8, **used(1, 1)), chat(2, parent=9, **used(1, 1), enduser__id="bob")]
    inner, outer = (
        agent(8, "critic", parent=9),
        agent(9, "planner", enduser__id="ann", project__id="shop", gen_ai__conversation__id="c9"),
    )
    found = Reading().take(traces(*calls), traces(inner, outer)).of(Call)
    keys = {call.key.agent: (call.key.user, call.key.project, call.key.session) for call in found}
    assert keys == {"critic": (None, None, None), "planner": ("bob", "shop", "c9")}


def test_the_map_of_attributes_can_be_another() -> None:
    reader = OtlpReader(attributes=AttributeMap(project=("tenant",)))
    told = traces(chat(1, **used(1, 1), tenant="acme", project__id="not this"))
    assert Reading(reader).take(told).rows(Grouping.PROJECT).keys() == {"acme"}


def test_this_machine_goes_by_its_own_name() -> None:
    reader = OtlpReader(own_names=["laptop"])
    told = [
        traces(chat(number, trace=number, **used(1, 1)), resource={"service.name": "app", "host.name": name})
        for number, name in enumerate(("laptop", "web-1"), 1)
    ]
    assert Reading(reader).take(*told).rows(Grouping.HOST).keys() == {"local", "web-1"}


# ---- any order


@settings(deadline=None)
@given(data=st.data(), chance=st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_totals(data: st.DataObject, chance: random.Random) -> None:
    spans: list[Table] = []
    expected: dict[str, int] = {}
    for trace in range(1, data.draw(st.integers(1, 3)) + 1):
        for run in range(2):
            name = f"agent-{data.draw(st.integers(0, 2))}"
            spans.append(agent(100 + run, name, parent=100 if run else 0, trace=trace, **used(1000, 1000)))
            for number in range(data.draw(st.integers(1, 3))):
                tokens = data.draw(st.integers(1, 100))
                spans.append(chat(run * 10 + number + 1, 100 + run, trace, at=number, **used(tokens, 0)))
                expected[name] = expected.get(name, 0) + tokens
    total = sum(expected.values())
    calls = sum(each["name"] == "chat gpt-4o" for each in spans)
    bodies = [traces(each) for each in spans] + [usage_metric(total, 0, calls), duration_metric(seen(1, calls, **CHAT))]
    chance.shuffle(bodies)
    reading = Reading().take(*bodies)
    assert {name: tokens.input for name, tokens in reading.used().items()} == expected
    assert reading.shot().total.counters.calls == calls
