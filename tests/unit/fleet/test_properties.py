from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from clawtop.model.events import Event, Tokens
from clawtop.model.snapshot import Counters, Grouping, Row, Snapshot, View, Window

from .made import DAY, HOUR, MINUTE, NOW, fleet, histories

VIEWS = [View(window, grouping) for window in Window for grouping in Grouping]
views = st.sampled_from(VIEWS)
many = settings(max_examples=60, deadline=None)


def shown(snapshot: Snapshot) -> tuple[object, ...]:
    return snapshot.rows, snapshot.total, snapshot.recent_tokens, snapshot.recent_cost, snapshot.incidents


@many
@given(st.data(), histories())
def test_any_order_with_repeats_gives_the_same_snapshot(data: st.DataObject, events: list[Event]) -> None:
    expected, actual = fleet(*events), fleet()
    dice = data.draw(st.randoms(use_true_random=False))
    folded = events + dice.choices(events, k=5)
    dice.shuffle(folded)
    between, watched = NOW - dice.choice([0, 700, 10 * MINUTE, 5 * HOUR, 9 * DAY]), dice.choice(VIEWS)
    for event in folded:
        actual.fold(event)
        if dice.random() < 0.2:
            between = min(NOW, between + dice.choice([0, 500, MINUTE, HOUR]))
            actual.snapshot(watched, between)
        elif dice.random() < 0.1:
            actual.prune(between)
    assert shown(actual.snapshot(watched, NOW)) == shown(expected.snapshot(watched, NOW))
    actual.prune(NOW)
    for view in dice.sample(VIEWS, 3):
        assert shown(actual.snapshot(view, NOW)) == shown(expected.snapshot(view, NOW)), view


@many
@given(histories(), views)
def test_rows_of_any_grouping_sum_to_the_total(events: list[Event], view: View) -> None:
    snapshot = fleet(*events).snapshot(view, NOW)
    total = snapshot.total
    assert _sum_of_counters(snapshot.rows) == total.counters
    assert (
        Tokens(*(sum(amounts) for amounts in zip(*(row.tokens for row in snapshot.rows), strict=True))) == total.tokens
    )
    assert sum(row.cost for row in snapshot.rows) == total.cost
    assert tuple(map(sum, zip((0,) * 30, *(row.spark for row in snapshot.rows), strict=True))) == total.spark


def _sum_of_counters(rows: tuple[Row, ...]) -> Counters:
    names = Counters.__dataclass_fields__
    return Counters(**{name: sum(getattr(row.counters, name) for row in rows) for name in names})


@many
@given(histories(), st.sampled_from(Window))
def test_groupings_agree_on_the_totals(events: list[Event], window: Window) -> None:
    made = fleet(*events)
    totals = [made.snapshot(View(window, grouping), NOW).total for grouping in Grouping]
    for total in totals:
        assert abs(total.cost - totals[0].cost) <= len(events)
        assert _comparable(total) == _comparable(totals[0])


def _comparable(total: Row) -> Row:
    """The total without what rounds or is chosen row by row."""
    return replace(total, cost=0, projects=0)


@many
@given(histories(), views)
def test_errors_cover_what_followed_them(events: list[Event], view: View) -> None:
    for row in fleet(*events).snapshot(view, NOW).rows:
        counters = row.counters
        assert counters.errors >= counters.retries + counters.fallbacks + counters.failed_turns
