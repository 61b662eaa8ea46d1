"""What each number counts."""

import pytest

from clawtop.model.events import (
    Aborted,
    Attempt,
    Compaction,
    Declared,
    Event,
    Outcome,
    Price,
    PriceList,
    Resolution,
    Tokens,
    ToolCall,
    ToolError,
    Unmetered,
)
from clawtop.model.snapshot import Basis, Grouping, Row, Window

from .made import CODER, DAY, HOUR, MINUTE, NOW, SECOND, call, failed, fleet, only, resolved, shot

PRICED = PriceList("local", {("mock", "normal"): Price(2_000_000, 10_000_000, 0, 0)})
FREE = PriceList("local", {("mock", "normal"): Price(0, 0, 0, 0)})


def money(row: Row) -> tuple[int, Basis, int]:
    return row.cost, row.basis, row.counters.unpriced_calls


def test_an_answer_with_tokens_is_a_call_and_one_without_is_none() -> None:
    row = only(fleet(call("a"), call("b", tokens=Tokens(cache_read=1)), call("c", tokens=Tokens(), cost=None)))
    assert row.counters.calls == 2
    assert row.tokens == Tokens(100, 10, 1, 0)
    assert money(row) == (2000, Basis.LOGGED, 0)


def test_an_id_is_counted_once_per_agent_and_kind_of_event() -> None:
    other = CODER._replace(agent="main")
    made = fleet(call("a"), call("a"), call("a", key=other), call("a", ago=HOUR), ToolError(CODER, NOW, "a", "exec"))
    total = shot(made).total
    assert (total.counters.calls, total.counters.tool_errors) == (2, 1)


def test_a_fork_that_repeats_entries_in_another_session_counts_nothing() -> None:
    row = only(fleet(call("a"), call("a", key=CODER._replace(session="fork"))))
    assert (row.counters.calls, row.sessions) == (1, 1)


@pytest.mark.parametrize(
    ("window", "ago", "beyond"),
    [
        (Window.M1, 58 * SECOND, 63 * SECOND),
        (Window.M5, 5 * MINUTE, 6 * MINUTE),
        (Window.M15, 15 * MINUTE, 16 * MINUTE),
        (Window.H1, HOUR, 62 * MINUTE),
        (Window.H24, DAY, DAY + 2 * MINUTE),
        (Window.D7, 7 * DAY, 7 * DAY + 2 * HOUR),
    ],
)
def test_windows(window: Window, ago: int, beyond: int) -> None:
    made = fleet(call("a", ago=ago), call("b", ago=beyond), call("ahead", ago=-5 * SECOND), call("unknown", ago=NOW))
    row = only(made, window)
    assert (row.counters.calls, row.latency_p50) == (2, None)
    assert only(made, Window.ALL).counters.calls == 4


def test_a_call_whose_time_makes_no_sense_counts_in_all_only() -> None:
    made = fleet(call("a", ago=-(10**18)), call("b", ago=2 * NOW))
    assert only(made, Window.D7).counters.calls == 0
    assert only(made, Window.ALL).counters.calls == 2
    assert only(made, Window.ALL).last_at is None


def test_what_follows_a_failed_attempt() -> None:
    made = fleet(
        failed("a"),
        failed("b"),
        failed("c"),
        resolved("a", Resolution.RETRY),
        resolved("b", Resolution.FALLBACK, to="mock2/normal"),
        resolved("c", Resolution.FAILED),
        resolved("a", Resolution.RETRY),
    )
    counters = only(made).counters
    assert (counters.errors, counters.retries, counters.fallbacks, counters.failed_turns) == (3, 1, 1, 1)
    assert counters.calls == 0
    texts = {(each.what, each.text) for each in shot(made).incidents}
    assert ("fallback", "mock/normal -> mock2/normal") in texts
    assert ("failed turn", "mock/normal: nothing followed") in texts
    assert ("error", "429 too many") in texts


def test_what_followed_counts_when_the_attempt_failed() -> None:
    made = fleet(failed("a", ago=2 * HOUR), resolved("a", Resolution.RETRY, ago=2 * HOUR))
    assert only(made, Window.H1).counters.retries == 0
    assert only(made, Window.H24).counters.retries == 1


GUESS = resolved("a", Resolution.FAILED, tentative=True)


@pytest.mark.parametrize("definite", list(Resolution))
def test_a_guess_gives_way_to_what_is_known(definite: Resolution) -> None:
    known = resolved("a", definite)
    for events in ([GUESS, known], [known, GUESS], [GUESS, GUESS, known, GUESS], [GUESS, known, known]):
        made = fleet(failed("a"))
        shot(made)
        for event in events:
            made.fold(event)
        counters = only(made).counters
        counted = (counters.retries, counters.fallbacks, counters.failed_turns)
        assert counted == tuple(int(definite is each) for each in Resolution)
        assert sum(each.what != "error" for each in shot(made).incidents) == (definite is not Resolution.RETRY)


def test_a_definite_resolution_is_never_replaced() -> None:
    made = fleet(failed("a"), resolved("a", Resolution.RETRY), resolved("a", Resolution.FALLBACK))
    assert (only(made).counters.retries, only(made).counters.fallbacks) == (1, 0)


def test_a_guess_stands_while_nothing_else_is_known() -> None:
    assert only(fleet(failed("a"), GUESS)).counters.failed_turns == 1


def test_tools_compactions_aborts_and_unmetered_runs_count_by_id() -> None:
    made = fleet(
        ToolCall(CODER, NOW, "t1", "mock", "normal", "exec"),
        ToolCall(CODER, NOW, "t1", "mock", "normal", "exec"),
        ToolCall(CODER, NOW, "t2", "mock", "normal", "exec"),
        ToolError(CODER, NOW, "t1", "exec"),
        Compaction(CODER, NOW, "x"),
        Compaction(CODER, NOW, "y", reset=True),
        Aborted(CODER, NOW, "r1"),
        Aborted(CODER, NOW, "r1"),
        Unmetered(CODER, NOW, "r1"),
    )
    counters = only(made).counters
    assert (counters.tool_calls, counters.tool_errors, counters.compactions, counters.resets) == (2, 1, 1, 1)
    assert (counters.aborts, counters.unmetered_runs) == (1, 1)
    assert {row.label for row in shot(made, group_by=Grouping.MODEL).rows} == {"mock/normal", "–"}
    assert [(each.what, each.text) for each in shot(made).incidents] == [
        ("compaction", "context thrown away"),
        ("compaction", "context compacted"),
        ("abort", "run cut off"),
    ]


def test_a_run_counts_by_its_latest_attempt() -> None:
    old, new = CODER._replace(run="r1"), CODER._replace(run="r2")
    made = fleet(
        Attempt(old, NOW - 3 * HOUR, "x", "mock", "normal"),
        Attempt(new, NOW - 3 * HOUR, "y", "mock", "normal"),
        Attempt(new, NOW - MINUTE, "z", "mock", "normal"),
        call("a", ago=2 * HOUR, key=old),
    )
    assert [only(made, window).runs for window in (Window.M1, Window.H1, Window.H24)] == [1, 1, 2]
    assert only(made, Window.H24).sessions == 1
    assert only(made, Window.H1).sessions == 0


def test_runs_are_unknown_where_none_was_ever_seen() -> None:
    runless = CODER._replace(agent="main", run=None)
    rows = {row.label: row.runs for row in shot(fleet(call("a", ago=2 * HOUR), call("b", key=runless))).rows}
    assert rows == {"coder": 0, "main": None}
    assert shot(fleet(call("b", key=runless))).total.runs is None


def test_sessions_of_different_agents_never_merge() -> None:
    made = fleet(call("a"), call("b", key=CODER._replace(agent="main")), call("c", key=CODER._replace(host="far")))
    assert shot(made).total.sessions == 3
    assert len(shot(made, group_by=Grouping.SESSION).rows) == 3
    assert len(shot(made, group_by=Grouping.RUN).rows) == 3
    assert shot(made, group_by=Grouping.MODEL).total.sessions == 3


def test_a_session_with_several_models_counts_once() -> None:
    made = fleet(call("a"), call("b", model="big"), call("c", key=CODER._replace(project="web")))
    assert only(made).sessions == only(made).runs == 1
    assert only(made, group_by=Grouping.SESSION).counters.calls == 3
    assert shot(made, group_by=Grouping.MODEL).total.sessions == 1


def test_a_failed_attempt_makes_no_session() -> None:
    assert only(fleet(failed("a"))).sessions == 0


def test_what_was_charged_for_a_failed_attempt_counts() -> None:
    row = only(fleet(call("a", tokens=Tokens(), error="overloaded", cost=7)))
    assert (row.counters.calls, row.counters.errors, row.cost) == (0, 1, 7)


def test_logged_money_is_taken_as_it_is() -> None:
    assert money(only(fleet(PRICED, call("a", cost=0), call("b", cost=5)))) == (5, Basis.LOGGED, 0)


@pytest.mark.parametrize("prices_first", [True, False])
def test_the_config_s_prices_hold_whenever_they_come(prices_first: bool) -> None:
    calls = [call("a", cost=None), call("b", cost=None, tokens=Tokens(1, 1))]
    made = fleet(*([PRICED, *calls] if prices_first else calls))
    if not prices_first:
        assert money(only(made)) == (0, Basis.UNKNOWN, 2)
        made.fold(PRICED)
    assert money(only(made)) == (2 * 101 + 10 * 11, Basis.PRICED, 0)
    assert sum(shot(made).recent_cost) == 2 * 101 + 10 * 11


def test_all_zero_prices_mean_free() -> None:
    assert money(only(fleet(FREE, call("a", cost=None)))) == (0, Basis.PRICED, 0)


def test_the_config_goes_before_the_list_price() -> None:
    listed = call("a", provider="listed", cost=None)
    assert money(only(fleet(listed))) == (3 * 100 + 15 * 10, Basis.PRICED, 0)
    config = PriceList("local", {("listed", "normal"): Price(1_000_000, 0, 0, 0)})
    assert money(only(fleet(listed, config))) == (100, Basis.PRICED, 0)
    assert money(only(fleet(config, listed))) == (100, Basis.PRICED, 0)


def test_prices_are_those_of_the_call_s_own_host() -> None:
    assert money(only(fleet(PRICED, call("a", cost=None, key=CODER._replace(host="far"))))) == (0, Basis.UNKNOWN, 1)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (2, 0, 1)])
def test_prices_are_those_of_the_gateway_that_has_the_agent(order: tuple[int, ...]) -> None:
    dear = PriceList("local", {("listed", "normal"): Price(1_000_000, 0, 0, 0)}, frozenset({"coder"}))
    free = PriceList("local", {("listed", "normal"): Price(0, 0, 0, 0)}, frozenset({"main"}))
    calls: list[Event] = [
        call(agent, provider="listed", cost=None, key=CODER._replace(agent=agent))
        for agent in ("coder", "main", "wrapper")
    ]
    parts: list[list[Event]] = [[dear], [free], calls]
    made = fleet(*(event for place in order for event in parts[place]))
    rows = {row.label: (row.cost, row.basis) for row in shot(made).rows}
    assert rows == {"coder": (100, Basis.PRICED), "main": (0, Basis.PRICED), "wrapper": (450, Basis.PRICED)}


def test_where_the_money_comes_from() -> None:
    unknown, listed = call("u", cost=None), call("l", provider="listed", cost=None)
    assert only(fleet(call("a"), listed)).basis is Basis.MIXED
    assert money(only(fleet(call("a"), unknown))) == (1000, Basis.LOGGED, 1)
    assert money(only(fleet(listed, unknown))) == (450, Basis.PRICED, 1)
    assert money(only(fleet(unknown))) == (0, Basis.UNKNOWN, 1)
    assert money(only(fleet(failed("f")))) == (0, Basis.LOGGED, 0)
    assert shot(fleet(call("a"), listed, unknown)).total.basis is Basis.MIXED


def test_a_priced_call_is_right_to_a_micro_dollar() -> None:
    odd = PriceList("local", {("mock", "normal"): Price(1_500_001, 333_333, 7, 0)})
    row = only(fleet(odd, call("a", cost=None, tokens=Tokens(999, 777, 555, 0))))
    assert abs(row.cost - (999 * 1_500_001 + 777 * 333_333 + 555 * 7) / 1e6) <= 1


def test_what_a_run_declares_and_comes_to_is_not_counted() -> None:
    made = fleet(Declared(CODER, NOW, "r1", budget=5), Outcome(CODER, NOW, "r1", "accepted"))
    assert shot(made).rows == ()


def test_a_window_that_is_learnt_later_shows_in_every_row_of_its_session() -> None:
    made = fleet(call("a", key=CODER._replace(task="t1"), tokens=Tokens(50_000, 1)))
    assert only(made, group_by=Grouping.TASK).context_pct is None
    made.fold(call("b", ago=0, key=CODER._replace(task="t2"), window=100_000))
    rows = {row.label: row.context_pct for row in shot(made, group_by=Grouping.TASK).rows}
    assert rows["t1"] == 50.0
