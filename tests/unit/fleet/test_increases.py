"""Counters that grew without a call being known."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clawtop.model.events import Increase, Tokens
from clawtop.model.snapshot import Basis, Grouping, View, Window
from tests.unit.fleet.made import CODER, HOUR, MINUTE, NOW, SECOND, call, fleet, only, shot


def grown(name: str, ago: int = SECOND, **fields: Any) -> Increase:
    """A counter's growth, `ago` milliseconds before NOW."""
    return Increase(CODER, NOW - ago, name, **{"provider": "mock", "model": "normal", **fields})


def test_everything_an_increase_says_is_counted_once() -> None:
    names = ("calls", "errors", "retries", "fallbacks", "failed_turns", "aborts", "tool_calls", "tool_errors")
    numbers: dict[str, Any] = {name: number for number, name in enumerate((*names, "compactions"), 2)}
    event = grown("a", tokens=Tokens(100, 10, 5, 1), cost=700, **numbers)
    row = only(fleet(event, event))
    assert (row.tokens, row.cost, row.basis) == (Tokens(100, 10, 5, 1), 700, Basis.LOGGED)
    assert {name: getattr(row.counters, name) for name in numbers} == numbers
    assert row.sessions == 1


def test_what_is_taken_back_leaves_nothing_in_any_window() -> None:
    made = fleet(call("a"), grown("b", 2 * MINUTE, tokens=Tokens(50, 5), cost=300, calls=2))
    made.fold(grown("-b", 2 * MINUTE, tokens=Tokens(-50, -5), cost=-300, calls=-2))
    for window in (Window.M1, Window.H1, Window.ALL):
        row = only(made, window)
        assert (row.tokens, row.cost, row.counters.calls) == (Tokens(100, 10), 1000, 1)


@given(ages=st.lists(st.integers(0, 3 * 86_400), min_size=1, max_size=8), wait=st.integers(0, 86_400))
def test_what_is_taken_back_later_is_found_wherever_it_lies_by_then(ages: list[int], wait: int) -> None:
    made = fleet(call("a"))
    made.prune(NOW)
    for number, age in enumerate(ages):
        made.fold(grown(f"{number}", age * SECOND, tokens=Tokens(50, 5), cost=300, calls=2))
    shot(made)
    made.prune(NOW + wait * SECOND)
    for number, age in enumerate(ages):
        made.fold(grown(f"-{number}", age * SECOND, tokens=Tokens(-50, -5), cost=-300, calls=-2))
    late = made.snapshot(View(window=Window.ALL), NOW + wait * SECOND)
    again = made.snapshot(View(window=Window.D7), NOW + wait * SECOND)
    for taken in (late, again):
        assert (taken.rows[0].tokens, taken.rows[0].cost, taken.rows[0].counters.calls) == (Tokens(100, 10), 1000, 1)
        assert sum(taken.rows[0].spark) <= 110
        assert min(taken.rows[0].spark) >= 0


def test_a_first_value_counts_only_in_windows_that_hold_its_start() -> None:
    made = fleet(grown("first", 2 * HOUR, tokens=Tokens(9)), grown("next", SECOND, tokens=Tokens(1)))
    assert [only(made, window).tokens.input for window in (Window.M1, Window.H1, Window.H24)] == [1, 1, 10]


def test_without_a_cost_the_tokens_have_their_list_price() -> None:
    listed = grown("a", provider="listed", tokens=Tokens(1_000_000), cost=None)
    unknown = grown("b", tokens=Tokens(1_000_000), cost=None)
    models = {row.label: row for row in shot(fleet(listed, unknown), group_by=Grouping.MODEL).rows}
    assert (models["listed/normal"].cost, models["listed/normal"].basis) == (3_000_000, Basis.PRICED)
    assert (models["mock/normal"].basis, models["mock/normal"].counters.unpriced_calls) == (Basis.UNKNOWN, 1)


def test_calls_without_a_cost_are_all_priced_or_all_unknown() -> None:
    listed = grown("a", provider="listed", tokens=Tokens(1_000_000), calls=3, cost=None)
    unknown = grown("b", tokens=Tokens(1_000_000), calls=3, cost=None)
    models = {row.label: row for row in shot(fleet(listed, unknown), group_by=Grouping.MODEL).rows}
    assert models["listed/normal"].basis is Basis.PRICED
    assert models["mock/normal"].counters.unpriced_calls == 3


def test_a_cost_without_calls_is_logged() -> None:
    assert only(fleet(grown("a", cost=700), grown("b", tokens=Tokens(1)))).basis is Basis.LOGGED


def test_many_latencies_keep_their_middle() -> None:
    row = only(fleet(grown("a", calls=1_000_000, latencies=((100, 900_000), (4000, 100_000)))))
    assert row.latency_p50 is not None
    assert row.latency_p95 is not None
    assert 95 < row.latency_p50 < 105
    assert 3800 < row.latency_p95 < 4200
