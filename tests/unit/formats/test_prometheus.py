"""The answers of a Prometheus: what counters grew by, whose it was, and everything that is no answer."""

import itertools
import json
import time
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clawtop.formats.prometheus import DAY_MS, HISTORY_MS, HOUR_MS, PrometheusReader, phases
from clawtop.formats.prometheus_answers import Found, read_series
from clawtop.formats.prometheus_names import Family
from clawtop.model.errors import Unusable
from clawtop.model.events import Blind, Event, Increase, SessionState, State, Tokens
from tests.counted import LATER, seen, total

CODER = {"host": "local", "agent": "coder", "project": "api", "user": "", "model": "mock/normal"}


def series(name: str, *points: tuple[int, float | str], **labels: str) -> Found:
    """A series with these (Unix ms, value)."""
    told = {"__name__": name, "job": "agents", "instance": "m1:9464", **labels}
    return Found(told, [(at, value if isinstance(value, str) else f"{value:.15g}") for at, value in points])


def calls(*points: tuple[int, float | str], **labels: str) -> Found:
    """The calls of coder, as clawtop hands them out."""
    return series("clawtop_calls_total", *points, **{**CODER, **labels})


MOCK = {"openclaw_provider": "mock", "openclaw_model": "normal", "instance": "gw:8080"}


def openclaw(*points: tuple[int, float | str], **labels: str) -> Found:
    """Input tokens as OpenClaw itself counts them, which has no agent."""
    return series("openclaw_tokens_total", *points, **{**MOCK, "openclaw_token": "input", **labels})


def opened(*found: Found) -> PrometheusReader:
    """A reader that has had its first look."""
    reader = PrometheusReader("prom:9090")
    reader.take(found, opening=True)
    return reader


def increases(events: Iterable[Event]) -> list[Increase]:
    return [event for event in events if isinstance(event, Increase)]


def told(events: Iterable[Event]) -> list[tuple[int, int]]:
    """(when, how many calls) of each event."""
    return [(event.at, event.calls) for event in increases(events)]


def unseen(reader: PrometheusReader) -> list[str]:
    """Of which agents it is said now what cannot be seen."""
    return [event.key.agent for event in reader.blinds() if isinstance(event, Blind)]


# ---- what grew


def test_the_first_look_counts_since_the_beginning() -> None:
    reader = PrometheusReader("prom:9090")
    assert told(reader.take([calls((1000, 7))], opening=True)) == [(0, 7)]
    assert told(reader.take([calls((2000, 7), (3000, 9), (4000, 9.0))])) == [(3000, 2)]


def test_what_belongs_together_is_one_event() -> None:
    reader = opened()
    labels = {**CODER, "user": "ann"}
    (event,) = increases(
        reader.take(
            [
                *(series("clawtop_tokens_total", (5, 10 * n), kind=kind, **labels)
                  for n, kind in enumerate(("input", "output", "cache_read", "cache_write"), 1)),
                series("clawtop_cost_usd_total", (5, 1.25), **labels),
                *(series(f"clawtop_{name}_total", (5, n), **labels)
                  for n, name in enumerate(("unpriced_calls", "calls", "errors", "retries", "fallbacks"), 1)),
            ]
        )
    )  # fmt: skip
    assert event.key[:2] == ("m1:9464", "coder")
    assert (event.key.project, event.key.user, event.provider, event.model) == ("api", "ann", "mock", "normal")
    assert (event.tokens, event.cost) == (Tokens(10, 20, 30, 40), 1_250_000)
    assert (event.unpriced_calls, event.calls, event.errors, event.retries, event.fallbacks) == (1, 2, 3, 4, 5)


def test_a_counter_that_falls_has_begun_again() -> None:
    reader = opened(openclaw((1, 100)))
    events = increases(reader.take([openclaw((2, 150), (3, 30), (4, 40))]))
    assert [(event.at, event.tokens.input) for event in events] == [(2, 50), (3, 30), (4, 10)]


def test_one_of_clawtop_begins_again_with_all_of_history() -> None:
    reader = opened(calls((1, 100)))
    assert told(reader.take([calls((2, 80), (3, 85))])) == [(3, 5)]


def test_a_series_of_a_new_target_counts_since_the_beginning() -> None:
    reader = opened(calls((1000, 1)))
    elsewhere = {"instance": "m2:9464"}
    first = reader.take([calls((5000, 40), (6000, 41), **elsewhere), calls((6000, 3), user="ann", **elsewhere)])
    assert told(first) == [(0, 40), (6000, 1), (6000, 3)]


def test_a_series_that_appears_at_a_known_target_is_new() -> None:
    reader = opened(calls((1000, 1)))
    assert told(reader.take([calls((2000, 5), user="ann")])) == [(2000, 5)]


def test_what_appears_as_its_target_begins_anew_is_not_new() -> None:
    def began(at: int, when: float) -> Found:
        return series("clawtop_start_time_seconds", (at, when))

    reader = opened(calls((1000, 1)), began(1000, 0.5))
    reader.take([began(2000, 0.5)])
    events = reader.take(
        [calls((3000, 1)), calls((3000, 900), user="ann"), began(3000, 2.9), calls((4000, 7), user="bob")]
    )
    assert told(events) == [(0, 900), (4000, 7)]


def test_money_adds_up_to_the_micro_dollar_over_an_agents_cells() -> None:
    exact = [Fraction(1, 3), Fraction(1, 7), Fraction(2, 3)]
    found = [
        series("clawtop_cost_usd_total", (5, float(each)), **{**CODER, "user": f"u{n}"}) for n, each in enumerate(exact)
    ]
    assert sum(event.cost or 0 for event in increases(opened().take(found))) == round(sum(exact) * 10**6)


def test_without_a_cost_there_is_the_list_price_and_with_one_there_is_not() -> None:
    cost = series(
        "openclaw_cost_usd_total", (5, 2.5), openclaw_provider="mock", openclaw_model="normal", instance="gw:8080"
    )
    (alone,) = increases(opened().take([openclaw((5, 10))]))
    assert (alone.tokens, alone.cost) == (Tokens(10), None)
    (both,) = increases(opened().take([openclaw((5, 10)), cost]))
    assert (both.tokens, both.cost) == (Tokens(10), 2_500_000)
    (ours,) = increases(opened().take([series("clawtop_tokens_total", (5, 10), kind="input", **CODER)]))
    assert ours.cost == 0


def test_how_long_calls_took() -> None:
    reader = opened()
    labels = {"model": "x", "error_category": "none"}
    buckets = {"0.1": 2, "0.5": 5, "1": 5, "+Inf": 6}
    name = "openclaw_model_call_duration_seconds_bucket"
    (event,) = increases(reader.take([series(name, (5, count), le=le, **labels) for le, count in buckets.items()]))
    assert event.latencies == ((50, 2), (300, 3), (1000, 1))
    # what did not change is not found again
    (event,) = increases(
        reader.take([series(name, (6, 6), le="1", **labels), series(name, (6, 7), le="+Inf", **labels)])
    )
    assert event.latencies == ((750, 1),)


def test_every_event_has_an_id_of_its_own() -> None:
    reader = opened()
    events = [*reader.take([calls((1, 1)), calls((1, 1), user="ann")]), *reader.take([calls((2, 5))])]
    assert len({event.id for event in increases(events)}) == 3
    assert total(events).counters.calls == 6


def test_what_two_servers_tell_of_an_agent_is_two_spends_and_what_one_tells_twice_is_one() -> None:
    def read(url: str, count: int) -> list[Event]:
        reader = PrometheusReader("prom:9090", url)
        return [*reader.take([calls((1, count))], opening=True), *reader.take([calls((2, count + 1))])]

    assert total([*read("http://prom:9090/a", 1000), *read("http://prom:9090/b", 5000)]).counters.calls == 6002
    assert total([*read("http://prom:9090/a", 1000), *read("http://prom:9090/a", 1000)]).counters.calls == 1001


@pytest.mark.parametrize("text", ["NaN", "+Inf", "-1", "1e16", "", "many"])
def test_what_is_no_count_is_skipped_and_told(text: str) -> None:
    reader = opened(calls((1, 5)))
    cost = series("clawtop_cost_usd_total", (2, text), **CODER)
    assert told(reader.take([calls((2, text), (3, 6)), cost])) == [(3, 1)]
    assert sum(reader.skipped.values()) == 2


@pytest.mark.parametrize("text", ["1E+999980", "9e99999999", "-1E+999980", "1E-99999999999999999999", "0E+99999999"])
def test_a_few_bytes_do_not_keep_the_reader_busy(text: str) -> None:
    began = time.process_time()
    opened(*(series("clawtop_cost_usd_total", (2, text), **{**CODER, "user": f"u{n}"}) for n in range(20)))
    assert time.process_time() - began < 1


def test_buckets_that_no_histogram_has_are_passed_over() -> None:
    name, labels = "openclaw_model_call_duration_seconds_bucket", {"model": "x"}
    odd = [series(name, (5, 1), le=le, **labels) for le in ("-Inf", "-1", "1e305", "0.5")]
    (event,) = increases(opened().take(odd))
    assert event.latencies == ((250, 1),)


def test_no_more_buckets_are_kept_apart_than_histograms_have() -> None:
    name = "openclaw_model_call_duration_seconds_bucket"
    reader = opened(*(series(name, (5, 1), le=f"{n}", model="x") for n in range(1, 302)))
    assert reader.skipped == {"a histogram has more buckets than are kept apart": 101}


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 10**12), min_size=1, max_size=8), min_size=1, max_size=4),
    st.lists(st.integers(0, 8), max_size=4),
)
def test_however_it_is_cut_the_same_is_counted(cells: list[list[int]], cuts: list[int]) -> None:
    """Counters that only grow have grown by their last value, in however many looks that is told."""
    climbing = [list(itertools.accumulate(grown)) for grown in cells]
    reader, events = PrometheusReader("prom:9090"), list[Event]()
    for start, end in itertools.pairwise([0, *sorted(cuts), 8]):
        looked = [
            calls(*[(1 + n, each) for n, each in enumerate(cell)][start:end], user=f"u{n}")
            for n, cell in enumerate(climbing)
        ]
        events += reader.take(looked)
    assert sum(event.calls for event in increases(events)) == sum(cell[-1] for cell in climbing)


# ---- states, and what is not known


def state(name: str, value: str = "1", agent: str = "coder") -> Found:
    return series("clawtop_agent_state", (1, value), host="local", agent=agent, state=name)


def test_states_are_told_when_they_change() -> None:
    def changes(events: list[Event]) -> list[tuple[str, State, int]]:
        return [(each.key.agent, each.state, each.at) for each in events if isinstance(each, SessionState)]

    reader = opened()
    first = [state("running"), state("idle", "0"), state("idle", agent="main"), state("dancing", agent="x")]
    assert changes(reader.states(first, 10)) == [("coder", State.RUNNING, 10), ("main", State.IDLE, 10)]
    assert reader.states(first, 20) == []
    assert changes(reader.states([state("error"), state("running", "0")], 30)) == [
        ("main", State.UNKNOWN, 30),
        ("coder", State.ERROR, 30),
    ]
    assert changes(reader.lost(40)) == [("coder", State.UNKNOWN, 40)]
    assert reader.lost(50) == []


def blind(events: list[Event]) -> dict[str, frozenset[str]]:
    return {event.key.agent: event.fields for event in events if isinstance(event, Blind)}


def test_what_has_no_series_is_not_known() -> None:
    reader = opened(calls((1, 5)), series("clawtop_unpriced_calls_total", (1, 5), **CODER), openclaw((1, 9)))
    found = blind(reader.blinds())
    assert {"sessions", "runs", "context_pct", "latency_p95"} <= found["coder"] & found["agents"]
    assert {"tokens", "retries", "aborts"} <= found["coder"]
    assert found["coder"].isdisjoint({"calls", "cost", "calls_per_min"})
    assert {"calls", "errors"} <= found["agents"]
    assert found["agents"].isdisjoint({"tokens", "cost", "input"})
    assert reader.blinds() == []


def test_an_agent_that_only_has_a_state_is_judged_once_it_spends() -> None:
    reader = opened(state("running"), series("clawtop_aborts_total", (1, 0), host="local", agent="coder"))
    reader.states([state("running")], 1)
    assert reader.blinds() == []
    reader.take([calls((2, 1))])
    assert "retries" in blind(reader.blinds())["coder"]


def test_a_row_shows_what_is_not_known() -> None:
    reader = opened()
    events = [*reader.take([calls((LATER - 60_000, 3))]), *reader.blinds(), *reader.states([state("running")], LATER)]
    (row,) = seen(events).rows
    assert (row.label, row.host, row.state, row.counters.calls) == ("coder", "m1:9464", State.RUNNING, 3)
    assert {"sessions", "tokens", "retries"} <= row.blind


# ---- the same spend twice


def reads(source: str) -> Found:
    """What the clawtop on the gateway's machine reads."""
    return series("clawtop_source_up", (1, 1), source=source, instance="gw:9464")


def test_openclaws_own_counters_are_left_out_where_clawtop_tells_the_same() -> None:
    ours = calls((1, 5), instance="gw:9464")
    reader = PrometheusReader("prom:9090")
    reader.survey(
        [ours, reads("openclaw:/home/ann/.openclaw"), openclaw((1, 900)), openclaw((1, 70), instance="far:8080")]
    )
    events = reader.take([ours, openclaw((1, 900)), openclaw((1, 70), instance="far:8080")], opening=True)
    assert sorted((event.key.host, event.tokens.input, event.calls) for event in increases(events)) == [
        ("far:8080", 70, 0),
        ("gw:9464", 0, 5),
    ]
    assert reader.left_out == {(Family.OPENCLAW, ("agents", "gw:8080"))}
    assert reader.targets == {Family.CLAWTOP: 1, Family.OPENCLAW: 1}


@pytest.mark.parametrize(("source", "model"), [("openclaw:/x", "other"), ("claude:/home/ann/.claude", "normal")])
def test_another_model_or_other_agents_are_another_spend(source: str, model: str) -> None:
    reader = PrometheusReader("prom:9090")
    reader.survey([calls((1, 5), instance="gw:9464"), reads(source), openclaw((1, 900), openclaw_model=model)])
    assert reader.left_out == set()


def test_genai_is_left_out_beside_openclaw() -> None:
    gen = series("gen_ai_client_token_usage_sum", (1, 5), gen_ai_token_type="input", instance="gw:8080")
    reader = PrometheusReader("prom:9090")
    reader.survey([openclaw((1, 900)), gen])
    assert [event.tokens.input for event in increases(reader.take([openclaw((1, 900)), gen], opening=True))] == [900]
    assert reader.left_out == {(Family.GENAI, ("agents", "gw:8080"))}


# ---- when to look


def test_the_longer_ago_the_less_often() -> None:
    now = 1_800_000_000_123
    found = phases(now - HISTORY_MS, now)
    assert [phase.step for phase in found] == [HOUR_MS, 60_000, 15_000]
    assert found[0].start == now - HISTORY_MS
    assert all(one.end == following.start for one, following in itertools.pairwise(found))
    assert now - found[-1].end < 15_000
    assert sum((phase.end - phase.start) // phase.step for phase in found) < 2000
    assert found[1].start <= now - DAY_MS
    assert found[2].start <= now - HOUR_MS


@settings(deadline=None)
@given(st.integers(0, 30 * DAY_MS), st.integers(0, 10**12))
def test_phases_follow_each_other_whatever_was_missed(gap: int, since: int) -> None:
    found = phases(since, since + gap)
    at = since
    for phase in found:
        assert phase.start == at < phase.end <= since + gap
        assert (phase.end - phase.start) % phase.step == 0
        at = phase.end
    assert since + gap - at < 15_000


# ---- nonsense


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["metric", "value", "values", "x"]), inner)
    ),
    max_leaves=8,
)
some_labels = st.dictionaries(
    st.sampled_from(["__name__", "agent", "host", "job", "instance", "le", "kind", "model", "state", "openclaw_token"]),
    st.sampled_from(
        ["clawtop_calls_total", "clawtop_agent_state", "openclaw_tokens_total", "input", "running", "1", "", "\0"]
    )
    | st.text(max_size=3),
)


@settings(deadline=None)
@given(st.lists(anything | st.fixed_dictionaries({"metric": some_labels | anything, "value": anything})))
def test_nothing_that_is_answered_breaks_the_reader(results: list[Any]) -> None:
    try:
        body = json.dumps({"status": "success", "data": {"result": results}}).encode()
        found = read_series(body).found
    except Unusable:
        return
    reader = PrometheusReader("prom:9090")
    reader.survey(found)
    for opening in (True, False):
        seen([*reader.take(found, opening=opening), *reader.states(found, 5), *reader.blinds(), *reader.lost(9)])


# ---- series come and go


@pytest.fixture
def _ten_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than ten series are kept."""
    monkeypatch.setattr("clawtop.formats.prometheus._MOST_METERS", 10)


@pytest.mark.usefixtures("_ten_series")
def test_new_series_count_however_many_there_were_before() -> None:
    reader = opened(calls((1, 1)))
    for number in range(50):
        events = reader.take([calls((number, 2), instance=f"pod{number}")])
        assert sum(event.calls for event in increases(events)) == 2
    assert reader.skipped == {}
    assert reader.targets[Family.CLAWTOP] == 10


@pytest.mark.usefixtures("_ten_series")
def test_a_look_with_more_series_than_are_kept_counts_them_all() -> None:
    reader = PrometheusReader("prom:9090")
    found = [calls((1, 3), user=f"u{number}") for number in range(25)]
    assert sum(event.calls for event in increases(reader.take(found, opening=True))) == 75
    found = [calls((2, 4), user=f"u{number}") for number in range(25)]
    assert sum(event.calls for event in increases(reader.take(found))) == 25


@pytest.mark.usefixtures("_ten_series")
def test_a_series_that_is_seen_is_not_forgotten_and_one_that_comes_back_counts_what_it_grew_by() -> None:
    reader = opened(calls((1, 100)), calls((1, 100), user="ann"))
    for number in range(2, 50):
        reader.take([calls((number, 100)), calls((number, 1), instance=f"pod{number}")])
    assert told(reader.take([calls((60, 101))])) == [(60, 1)]
    assert told(reader.take([calls((70, 103), user="ann")])) == [(70, 3)]


@pytest.mark.usefixtures("_ten_series")
def test_what_cannot_be_seen_of_an_agent_is_said_again_after_it_was_forgotten() -> None:
    reader = opened(calls((1, 100)))
    assert unseen(reader) == ["coder"]
    reader.take([calls((2, 1), agent=f"a{number}") for number in range(10)])
    assert len(unseen(reader)) == 10
    reader.take([calls((3, 101))])
    assert unseen(reader) == ["coder"]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawtop.formats.prometheus._MOST_METERS", 10)
    monkeypatch.setattr("clawtop.formats.prometheus._MOST_GONE", 20)
    monkeypatch.setattr("clawtop.formats.prometheus._MOST_LEFT_OUT", 10)
    reader = PrometheusReader("prom:9090")
    for number in range(200):
        found = [
            calls((number, 1), instance=f"pod{number}", agent=f"a{number}"),
            series("clawtop_cost_usd_total", (number, 1), **{**CODER, "agent": f"a{number}"}),
            openclaw((number, 1), instance=f"gw{number}", job=f"j{number}"),
            series("gen_ai_client_token_usage_sum", (number, 1), instance=f"gw{number}", job=f"j{number}"),
        ]
        reader.survey(found)
        reader.take(found, opening=True)
        reader.states(found, number)
        reader.blinds()
    sizes = {name: len(value) for name, value in vars(reader).items() if hasattr(value, "__len__")}
    assert max(sizes.values()) <= 20, sizes
