"""The exposition: what a Prometheus reads is what was counted, never less than it read before, and never too much."""

import math
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import openmetrics  # noqa: F401 - the submodule is not imported by its package
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from clawtop.exposition import OTHER, STANDS_MS, Exposition, once
from clawtop.fleet.store import Limits
from clawtop.model.events import (
    Aborted,
    Blind,
    Compaction,
    Event,
    Increase,
    Price,
    PriceList,
    Resolution,
    SessionState,
    State,
    Tokens,
    ToolCall,
    ToolError,
    Unmetered,
)
from clawtop.model.keys import Key
from clawtop.model.selection import Scope
from clawtop.model.snapshot import Counters, Health, SourceStatus
from clawtop.model.usage import CellUsage, Usage
from tests.unit.fleet.made import CODER, NOW, SECOND, call, failed, fleet, histories, resolved

ALL = Scope()
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]
Parser = Callable[[str], Iterable[Any]]


def read(text: bytes, parse: Parser = parse_plain) -> Found:
    """Every sample of a text, by its name and labels; fails where one comes twice."""
    found: Found = {}
    for family in parse(text.decode()):
        for sample in family.samples:
            name = (sample.name, frozenset(sample.labels.items()))
            assert name not in found
            found[name] = sample.value
    return found


def shown(*events: Event, **more: Any) -> Found:
    """What is exposed after these events."""
    return read(Exposition(1000, started=NOW).text(replace(fleet(*events).usage(ALL, NOW), **more)))


def value(found: Found, name: str, **labels: str) -> float | None:
    """The one sample of that name that has these labels among its own; None where there is none."""
    several = list(of(found, name, **labels).values())
    assert len(several) <= 1
    return several[0] if several else None


def of(found: Found, name: str, **labels: str) -> Found:
    """The samples of that name that have these labels among their own."""
    return {key: each for key, each in found.items() if key[0] == name and labels.items() <= key[1]}


def test_everything_that_is_counted_has_a_series() -> None:
    found = shown(
        call("a", tokens=Tokens(100, 20, 3, 4), cost=250_001, key=CODER._replace(user="ann")),
        failed("f"),
        resolved("f", Resolution.FALLBACK),
        failed("g"),
        resolved("g", Resolution.RETRY),
        failed("h"),
        resolved("h", Resolution.FAILED),
        ToolCall(CODER, NOW, "t", "mock", "normal", "exec"),
        ToolError(CODER, NOW, "t", "exec"),
        Aborted(CODER, NOW, "r"),
        Compaction(CODER, NOW, "c"),
        Compaction(CODER, NOW, "d", reset=True),
        Unmetered(CODER, NOW, "u"),
    )
    ann = {"host": "local", "agent": "coder", "project": "api", "user": "ann", "model": "mock/normal"}
    assert {kind: value(found, "clawtop_tokens_total", **ann, kind=kind) for kind in ("input", "output")} == {
        "input": 100,
        "output": 20,
    }
    assert value(found, "clawtop_tokens_total", **ann, kind="cache_read") == 3
    assert value(found, "clawtop_tokens_total", **ann, kind="cache_write") == 4
    assert value(found, "clawtop_cost_usd_total", **ann) == 0.250001
    assert value(found, "clawtop_unpriced_calls_total", **ann) == 0
    assert value(found, "clawtop_calls_total", **ann) == 1
    nobody = {"host": "local", "agent": "coder", "project": "api", "user": ""}
    for name, count in {
        "errors": 3,
        "fallbacks": 1,
        "retries": 1,
        "failed_turns": 1,
        "tool_calls": 1,
        "tool_errors": 1,
        "aborts": 1,
        "compactions": 1,
        "context_resets": 1,
        "unmetered_runs": 1,
    }.items():
        assert value(found, f"clawtop_{name}_total", **nobody) == count, name


def test_what_cannot_be_seen_is_absent_and_an_unknown_price_is_no_zero() -> None:
    found = shown(call("a", cost=None), call("b", key=Key("local", "main")), Blind(CODER, frozenset({"retries"})))
    assert value(found, "clawtop_cost_usd_total", agent="coder") is None
    assert value(found, "clawtop_unpriced_calls_total", agent="coder") == 1
    assert value(found, "clawtop_retries_total", agent="coder") is None
    assert value(found, "clawtop_retries_total", agent="main") == 0
    unseen = frozenset({"tokens", "cost", "calls", "aborts"})
    found = shown(call("a"), Blind(CODER, unseen))
    for name in ("tokens", "cost_usd", "unpriced_calls", "calls", "aborts"):
        assert not of(found, f"clawtop_{name}_total"), name
    assert of(found, "clawtop_errors_total")


def test_an_agent_is_in_one_state() -> None:
    found = shown(SessionState(CODER, NOW, State.RUNNING))
    states = {state.value: value(found, "clawtop_agent_state", agent="coder", state=state) for state in State}
    assert states == {"running": 1, "idle": 0, "error": 0, "unknown": 0}


def test_sources_tell_how_they_do() -> None:
    exposition = Exposition(1000, started=NOW)
    torn = SourceStatus("events:/x", Health.OK, skipped={"not JSON": 3})
    down = SourceStatus("openclaw:/y", Health.DOWN, "gone")
    usage = replace(fleet().usage(ALL, NOW), sources=(torn, down, torn))
    found = read(exposition.text(usage))
    assert value(found, "clawtop_source_up", source="events:/x") == 1
    assert value(found, "clawtop_source_up", source="openclaw:/y") == 0
    assert value(found, "clawtop_source_skipped_total", source="events:/x", reason="not JSON") == 6
    restarted = replace(usage, sources=(replace(torn, skipped={"not JSON": 1}),))
    assert value(read(exposition.text(restarted)), "clawtop_source_skipped_total") == 7


def test_it_says_who_hands_it_out_and_since_when() -> None:
    found = shown()
    assert value(found, "clawtop_start_time_seconds") == NOW / 1000
    assert value(found, "clawtop_build_info") == 1
    assert value(found, "clawtop_series_folded") == 0


labels = st.text(
    st.one_of(
        st.sampled_from(['"', "\\", "\n", "\r", "\0", "\x1b", "{", "}", "=", ",", " ", "#", "\u2028", "\ud800", "é"]),
        st.characters(),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(st.lists(st.tuples(labels, labels, labels, labels, st.integers(0, 2**50)), max_size=6), st.data())
def test_what_is_parsed_is_what_was_counted_whatever_the_labels(
    rows: list[tuple[str, str, str, str, int]], data: st.DataObject
) -> None:
    cells = tuple(
        CellUsage("local", agent, project, user, model, Tokens(count, 1), count * 10**6, True, Counters(calls=count))
        for agent, project, user, model, count in rows
    )
    usage = Usage(NOW, cells, ())
    for in_openmetrics, parse in ((False, parse_plain), (True, parse_openmetrics)):
        text = Exposition(1000, started=NOW).text(usage, in_openmetrics=in_openmetrics)
        assert all(line.isprintable() for line in text.decode().split("\n"))
        found = read(text, parse)
        counted = sum(count for *_, count in rows)
        assert math.isclose(sum(of(found, "clawtop_tokens_total", kind="input").values()), counted)
        assert math.isclose(sum(of(found, "clawtop_calls_total").values()), counted)
        assert math.isclose(sum(of(found, "clawtop_cost_usd_total").values()), counted / 10**6)
        assert sum(of(found, "clawtop_tokens_total", kind="output").values()) == len(rows)


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_money_survives_the_text_to_the_micro_dollar(micro_dollars: int) -> None:
    found = shown(call("a", cost=micro_dollars))
    dollars = value(found, "clawtop_cost_usd_total")
    assert dollars is not None
    assert round(dollars * 10**6) == micro_dollars


@settings(deadline=None)
@given(histories(), st.integers(1, 6), st.integers(1, 40), st.integers(2, 12))
def test_no_counter_ever_goes_down_and_nothing_is_lost(
    history: list[Event], scrapes: int, most: int, cells: int
) -> None:
    made = fleet(limits=Limits(cells=cells))
    exposition = Exposition(most, started=NOW)
    before: Found = {}
    for number in range(scrapes):
        for event in history[number::scrapes]:
            made.fold(event)
        if number % 2:
            made.prune(NOW)
        usage = made.usage(ALL, NOW)
        found = read(exposition.text(usage))
        totals = {key: each for key, each in found.items() if key[0].endswith("_total")}
        assert {key: each for key, each in before.items() if totals.get(key, -1) < each} == {}
        before = totals
        tokens = sum(of(found, "clawtop_tokens_total", kind="input").values())
        assert tokens == sum(cell.tokens.input for cell in usage.cells)
        assert sum(of(found, "clawtop_calls_total").values()) == sum(cell.counters.calls for cell in usage.cells)


def test_what_is_beyond_the_limit_is_added_up_and_stays_there() -> None:
    made, exposition = fleet(), Exposition(2, started=NOW)
    for number in range(5):
        made.fold(call(f"{number}", key=Key("local", f"agent{number}"), tokens=Tokens(100 - number)))
    found = read(exposition.text(made.usage(ALL, NOW)))
    assert {dict(key[1])["agent"] for key in of(found, "clawtop_calls_total")} == {"agent0", "agent1", OTHER}
    assert value(found, "clawtop_tokens_total", agent=OTHER, kind="input") == 98 + 97 + 96
    assert value(found, "clawtop_cost_usd_total", agent=OTHER) == 0.003
    assert value(found, "clawtop_series_folded") == 3 + 3 + 3  # of models, of runs, of states
    assert not of(found, "clawtop_agent_state", agent="agent4")
    made.fold(call("more", key=Key("local", "agent4"), tokens=Tokens(1_000_000)))
    found = read(exposition.text(made.usage(ALL, NOW)))
    assert value(found, "clawtop_tokens_total", agent=OTHER, kind="input") == 98 + 97 + 96 + 1_000_000
    assert not of(found, "clawtop_tokens_total", agent="agent4")


def test_what_the_fleet_folds_stays_where_it_was_handed_out() -> None:
    made = fleet(limits=Limits(cells=10))
    exposition = Exposition(1000, started=NOW)
    for number in range(20):
        made.fold(call(f"{number}", ago=(20 - number) * SECOND, key=CODER._replace(project=f"p{number}")))
    before = read(exposition.text(made.usage(ALL, NOW)))
    made.prune(NOW)
    after = read(exposition.text(made.usage(ALL, NOW)))
    assert of(after, "clawtop_calls_total").items() >= of(before, "clawtop_calls_total").items()
    assert value(after, "clawtop_calls_total", project="") == 0
    made.fold(call("again", key=CODER._replace(project="p0")))
    again = read(exposition.text(made.usage(ALL, NOW)))
    assert value(again, "clawtop_calls_total", project="p0") == 2
    assert sum(of(again, "clawtop_calls_total").values()) == 21


def test_what_may_prove_to_be_anothers_is_handed_out_once_it_has_stood() -> None:
    made, exposition = fleet(), Exposition(1000, started=NOW)

    def scraped(after: int) -> dict[str, float | None]:
        found = read(exposition.text(made.usage(ALL, NOW + after)))
        kinds = {agent: of(found, "clawtop_tokens_total", agent=agent, kind="input") for agent in ("app", "planner")}
        return {agent: sum(each.values()) for agent, each in kinds.items()}

    def grown(name: str, agent: str, amount: int) -> Increase:
        key = Key("local", agent)
        return Increase(key, NOW, name, "mock", "normal", Tokens(amount), 0, calls=amount, provisional=True)

    made.fold(grown("a", "app", 100))
    assert scraped(0) == {"app": 0, "planner": 0}
    made.fold(grown("-a", "app", -70))
    made.fold(grown("b", "planner", 70))
    assert scraped(30_000) == {"app": 0, "planner": 0}
    assert scraped(STANDS_MS) == {"app": 30, "planner": 0}
    assert scraped(STANDS_MS + 30_000) == {"app": 30, "planner": 70}
    assert 'agent="app",host="local",kind="input",model="mock/normal",project="",user=""} 30.0' in once(
        made.usage(ALL, NOW)
    )


def test_a_price_that_becomes_known_lowers_nothing() -> None:
    made, exposition = fleet(), Exposition(1000, started=NOW)
    made.fold(call("a", cost=None))
    found = read(exposition.text(made.usage(ALL, NOW)))
    assert value(found, "clawtop_unpriced_calls_total") == 1
    made.fold(PriceList("local", {("mock", "normal"): Price(1_000_000, 0, 0, 0)}))
    found = read(exposition.text(made.usage(ALL, NOW)))
    assert value(found, "clawtop_cost_usd_total") == 0.0001
    assert value(found, "clawtop_unpriced_calls_total") == 1
    made.fold(call("b", model="other", cost=None))
    made.fold(call("c", model="other", cost=None))
    assert value(read(exposition.text(made.usage(ALL, NOW))), "clawtop_unpriced_calls_total", model="mock/other") == 2


def test_names_that_look_alike_once_printable_are_one_series() -> None:
    found = shown(
        call("a", key=Key("local", "x\x1b")),
        call("b", key=Key("local", "x\x07")),
        SessionState(Key("local", "x\x1b"), NOW, State.IDLE),
        SessionState(Key("local", "x\x07"), NOW, State.RUNNING),
        Blind(Key("local", "x\x07"), frozenset({"retries"})),
    )
    assert value(found, "clawtop_calls_total") == 2
    assert value(found, "clawtop_agent_state", state="running") == 1
    assert not of(found, "clawtop_retries_total")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")
def test_promtool_finds_nothing_to_complain_of() -> None:
    events: list[Event] = [
        call("a"),
        call("b", cost=None, key=Key("far", "main")),
        SessionState(CODER, NOW, State.RUNNING),
    ]
    skipped: Mapping[str, int] = {"not JSON": 3}
    usage = replace(fleet(*events).usage(ALL, NOW), sources=(SourceStatus("events:/x", skipped=skipped),))
    text = Exposition(1000, started=NOW).text(usage)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
