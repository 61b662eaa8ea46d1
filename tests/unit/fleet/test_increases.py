"""Counters that grew without a call being known."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clawtop.fleet.store import Limits
from clawtop.model.events import Increase, Tokens
from clawtop.model.keys import Key
from clawtop.model.selection import Scope
from clawtop.model.snapshot import Basis, Grouping, Row, View, Window
from tests.unit.fleet.made import CODER, DAY, HOUR, MINUTE, NOW, SECOND, call, fleet, only, shot


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


def shifted(name: str, tokens: int, ago: int, key: Key = CODER, sign: int = 1) -> Increase:
    """A growth, or with -1 for its sign, what takes it back."""
    amounts = Tokens(sign * tokens, sign)
    return Increase(key, NOW - ago, name, "mock", "normal", amounts, sign * 7 * tokens, calls=sign)


def amounts(row: Row) -> tuple[int, ...]:
    return (*row.tokens, row.cost, row.counters.calls, sum(row.spark))


KEYS = [CODER._replace(run=run, session=session) for run in (None, "r1", "r2") for session in ("s1", "s2")]
LATER = [0, SECOND, 59 * SECOND, 5 * MINUTE, 16 * MINUTE, 3 * HOUR, 30 * HOUR, 20 * DAY]
ages = st.one_of(st.sampled_from(LATER), st.integers(0, 2 * DAY))


@given(
    st.lists(st.tuples(st.integers(1, 10**6), ages, ages, st.sampled_from(KEYS), st.sampled_from(KEYS)), max_size=8),
    st.sampled_from(Window),
    st.sampled_from(Grouping),
    st.lists(ages, max_size=4),
)
def test_what_is_taken_back_at_another_moment_or_elsewhere_makes_nothing_negative(
    spent: list[tuple[int, int, int, Key, Key]], window: Window, group_by: Grouping, waits: list[int]
) -> None:
    made, view, now = fleet(call("a")), View(window, group_by), NOW
    made.snapshot(view, now)
    for number, (tokens, ago, taken_ago, key, taken_key) in enumerate(spent):
        made.fold(shifted(f"{number}", tokens, ago, key))
        made.fold(shifted(f"-{number}", tokens + number % 2, taken_ago, taken_key, -1))
    for wait in (0, *waits):
        now += wait
        snapshot = made.snapshot(view, now)
        rows = [amounts(row) for row in snapshot.rows]
        assert [min(row) for row in [*rows, amounts(snapshot.total)] if min(row) < 0] == []
        assert tuple(map(sum, zip(*rows, (0,) * 7, strict=True))) == amounts(snapshot.total)
        assert min(snapshot.recent_tokens + snapshot.recent_cost) >= 0
        assert min(min(row.usd_per_hour, row.tokens_per_min) for row in (*snapshot.rows, snapshot.total)) >= 0
        assert min(min(cell.cost, *cell.tokens) for cell in made.usage(Scope(), now).cells) >= 0
        made.prune(now)


@given(
    spent=st.lists(
        st.tuples(st.integers(1, 10**6), ages, st.sampled_from(["r1", "r2", "r3", "r4"])), min_size=1, max_size=8
    ),
    waits=st.lists(ages, min_size=1, max_size=3),
    watched=st.booleans(),
)
def test_what_is_taken_back_after_it_was_folded_leaves_nothing_in_any_grouping(
    spent: list[tuple[int, int, str]], waits: list[int], *, watched: bool
) -> None:
    made, now = fleet(call("a", key=CODER._replace(run=None)), limits=Limits(cells=2, sessions=1, runs=1)), NOW
    keys = [CODER._replace(run=run, session=f"in {run}", task=run) for _, _, run in spent]
    for number, (tokens, ago, _) in enumerate(spent):
        made.fold(shifted(f"{number}", tokens, ago, keys[number]))
    for wait in waits:
        now += wait
        if watched:
            made.snapshot(View(Window.H24, Grouping.RUN), now)
        made.prune(now)
    for number, (tokens, ago, _) in enumerate(spent):
        made.fold(shifted(f"-{number}", tokens, ago, keys[number], -1))
    for window in Window:
        for group_by in Grouping:
            snapshot = made.snapshot(View(window, group_by), now)
            assert amounts(snapshot.total)[:-1] in {(0,) * 6, (100, 10, 0, 0, 1000, 1)}
            assert sum(row.counters.calls for row in snapshot.rows) == snapshot.total.counters.calls
    assert snapshot.total.counters.calls == 1


def test_a_run_that_went_on_after_it_was_folded_keeps_what_it_has_now() -> None:
    made = fleet(limits=Limits(runs=10))
    made.prune(NOW)
    for number in range(20):
        made.fold(shifted(f"{number}", 100, 30 * SECOND - number, CODER._replace(run=f"r{number}")))
    made.prune(NOW)
    first = CODER._replace(run="r0")
    made.fold(shifted("more", 40, SECOND, first))
    made.fold(shifted("-0", 100, 30 * SECOND, first, -1))
    rows = {row.label: row.tokens.input for row in shot(made, group_by=Grouping.RUN).rows}
    assert rows["r0"] == 40
    assert sum(rows.values()) == 19 * 100 + 40
