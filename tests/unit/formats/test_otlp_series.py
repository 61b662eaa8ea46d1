"""By how much a series grew: cumulative and delta, restarts, points told twice or late, types that change."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawtop.formats.otlp import series
from clawtop.formats.otlp.records import Kind, Metric, Point, Temporality
from clawtop.formats.otlp.series import Growth, SeriesBook
from clawtop.model.errors import Unusable

S = 1_000_000_000
CUMULATIVE, DELTA = Temporality.CUMULATIVE, Temporality.DELTA


def point(value: float | None, time: int, start: int = 100, **attributes: str) -> Point:
    """A point; times are seconds."""
    return Point(attributes, start * S, time * S, value)


def metric(temporality: Temporality = CUMULATIVE, kind: Kind = Kind.SUM, *, monotonic: bool = True) -> Metric:
    return Metric("tokens", "", kind, temporality, monotonic, ())


def grown(book: SeriesBook, *points: Point, of: Metric | None = None) -> list[Growth | None]:
    return [book.grow("process", "scope", of or metric(), each) for each in points]


def total(growths: list[Growth | None]) -> float:
    return sum(each.value for each in growths if each is not None)


def test_a_counters_first_value_stands_at_its_start_and_the_next_where_it_was_read() -> None:
    first, second, same = grown(SeriesBook(), point(10, 160), point(15, 220), point(15, 280))
    assert first == Growth(10, 0, (), 100_000, 160_000, 100_000)
    assert second == Growth(5, 0, (), 160_000, 220_000, 220_000)
    assert same is None


def test_a_series_that_the_last_export_had_not_began_after_it() -> None:
    book = SeriesBook()
    grown(book, point(1, 160, a="x"))
    ((new,)) = grown(book, point(7, 220, a="y"))
    assert new == Growth(7, 0, (), 160_000, 220_000, 220_000)


def test_what_another_sender_exported_says_nothing_of_one_that_began_before() -> None:
    book = SeriesBook()
    grown(book, point(1, 86_500, start=86_400, a="x"))
    ((old,)) = grown(book, point(5_000_000, 86_560, start=100, a="y"))
    assert old is not None
    assert (old.value, old.at) == (5_000_000, 100_000)


def test_many_senders_with_one_resource_are_each_counted_once() -> None:
    book = SeriesBook()
    told = [point(1000 * export, 60 * export, start=1 + sender) for export in range(1, 6) for sender in range(40)]
    assert total(grown(book, *told)) == 40 * 5000


def test_a_life_that_may_go_on_is_kept_and_one_too_many_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "_LIVES", 2)
    book = SeriesBook()
    grown(book, point(10, 160, start=100), point(10, 160, start=101))
    with pytest.raises(Unusable, match="more starts"):
        grown(book, point(10, 160, start=102))
    assert total(grown(book, point(15, 220, start=100), point(15, 220, start=101))) == 10
    later = 220 + 6 * 3600
    assert total(grown(book, point(15, later, start=100), point(7, later, start=later - 1))) == 7


def test_without_a_start_the_first_value_counts_at_no_known_time() -> None:
    (first,) = grown(SeriesBook(), point(7, 220, start=0))
    assert first is not None
    assert first.at == 0


def test_a_restart_begins_again_at_its_own_start() -> None:
    first, again, more = grown(SeriesBook(), point(10, 160), point(4, 320, start=300), point(6, 380, start=300))
    assert [each and each.value for each in (first, again, more)] == [10, 4, 2]
    assert again is not None
    assert again.at == 300_000


def test_a_drop_without_a_new_start_is_a_restart_too() -> None:
    assert total(grown(SeriesBook(), point(10, 160), point(4, 220), point(5, 280))) == 15


def test_two_processes_that_nothing_tells_apart_are_counted_by_their_starts() -> None:
    points = [point(10, 160, 100), point(5, 161, 90), point(12, 220, 100), point(9, 221, 90)]
    assert total(grown(SeriesBook(), *points)) == 21


def test_what_comes_late_or_twice_adds_nothing() -> None:
    assert total(grown(SeriesBook(), point(10, 160), point(15, 220), point(10, 160), point(15, 220))) == 15


@given(chance=st.randoms(use_true_random=False), values=st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_cumulative_points_give_the_same_sum_in_any_order(chance: random.Random, values: list[int]) -> None:
    points = [point(sum(values[: n + 1]), 160 + 60 * n) for n in range(len(values))]
    points += [point(sum(values[: n + 1]), 900 + 60 * n, start=800) for n in range(len(values))]
    chance.shuffle(points)
    assert total(grown(SeriesBook(), *points)) == 2 * sum(values)


@given(chance=st.randoms(use_true_random=False), values=st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_deltas_count_each_once_in_any_order(chance: random.Random, values: list[int]) -> None:
    points = [point(value, 160 + 60 * n, start=100 + 60 * n) for n, value in enumerate(values)] * 2
    chance.shuffle(points)
    assert total(grown(SeriesBook(), *points, of=metric(DELTA))) == sum(values)


def test_histograms_grow_bucket_by_bucket() -> None:
    points = [
        Point({}, 100 * S, 160 * S, 300, 3, ((50, 2), (200, 1))),
        Point({}, 100 * S, 220 * S, 550, 5, ((50, 3), (200, 2))),
    ]
    first, second = grown(SeriesBook(), *points, of=metric(kind=Kind.HISTOGRAM))
    assert first is not None
    assert second is not None
    assert (first.times, first.buckets) == (3, ((50, 2), (200, 1)))
    assert (second.value, second.times, second.buckets) == (250, 2, ((50, 1), (200, 1)))


@pytest.mark.parametrize(
    ("bad", "of", "why"),
    [
        (point(float("nan"), 160), {}, "value is none"),
        (point(-1, 160), {}, "value is none"),
        (point(1e30, 160), {}, "value is none"),
        (point(None, 160), {}, "value is none"),
        (point(1, 0), {}, "without a time"),
        (point(1, 160), {"kind": Kind.GAUGE}, "a gauge"),
        (point(1, 160), {"monotonic": False}, "a gauge"),
        (point(1, 160), {"temporality": Temporality.UNSPECIFIED}, "without temporality"),
    ],
)
def test_what_is_no_count_is_refused(bad: Point, of: dict[str, Any], why: str) -> None:
    with pytest.raises(Unusable, match=why):
        grown(SeriesBook(), bad, of=metric(**of))


def test_a_metric_that_changes_its_type_is_refused_from_then_on() -> None:
    book = SeriesBook()
    grown(book, point(10, 160))
    for other in (metric(DELTA), metric(kind=Kind.HISTOGRAM)):
        with pytest.raises(Unusable, match="changed its type"):
            grown(book, point(10, 220), of=other)
    assert total(grown(book, point(12, 280))) == 2


def test_series_are_bounded_and_idle_ones_make_room() -> None:
    book = SeriesBook(limit=2)
    grown(book, point(1, 160, a="1"), point(1, 160, a="2"))
    with pytest.raises(Unusable, match="more series than are kept"):
        grown(book, point(1, 160, a="3"))
    assert total(grown(book, point(2, 220, a="2"), point(1, 160 + 7 * 3600, a="3"))) == 2
    assert len(book) == 2
