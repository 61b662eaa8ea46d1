"""Points of a series -> by how much it grew. Each series on its own, cumulative or delta, through restarts."""

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

from clawtop.formats.otlp.records import Kind, Metric, Point, Temporality
from clawtop.formats.otlp.senders import digest
from clawtop.model.errors import Unusable

_MS = 1_000_000
_LARGEST = 10**15
_LIVES = 1_000
_LIVES_OF_ALL = 100_000
_RECENT = 64
_FORGET_NS = 6 * 3600 * 10**9

Buckets = tuple[tuple[float, int], ...]


class Growth(NamedTuple):
    """By how much a series grew between two moments (Unix ms, `since` 0 where it is not known).

    `times` is how many values a histogram saw. `at` is when it counts: at its start where it is the first that a
    counter told, else at its end.
    """

    value: float
    times: int
    buckets: Buckets
    since: int
    until: int
    at: int


class _Reading(NamedTuple):
    time: int
    value: float
    times: int
    buckets: Buckets


@dataclass(slots=True)
class _Series:
    """`lives` holds the last reading by start time: a process that restarts begins another life."""

    kind: Kind
    temporality: Temporality
    latest: int = 0
    lives: OrderedDict[int, _Reading] = field(default_factory=OrderedDict)
    told: OrderedDict[tuple[int, int], None] = field(default_factory=OrderedDict)


class SeriesBook:
    """The series of all senders, at most `limit`; those that were idle for six hours make room for new ones."""

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self._series: OrderedDict[str, _Series] = OrderedDict()
        self._lives = 0
        self._exports: OrderedDict[tuple[str, str, int], tuple[int, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._series)

    def grow(self, process: str, scope: str, metric: Metric, point: Point) -> Growth | None:
        """What a point adds, None where it adds nothing: it is told again, late, or the same as before.

        Raises Unusable for a point that is no count, or of a series or a life too many.
        """
        value = _checked(metric, point)
        series = self._of(process, scope, metric, point)
        before = self._export((process, metric.name, point.start), point.time)
        if metric.temporality is Temporality.DELTA:
            growth = _delta(series, point, value)
        else:
            self._begin_life(series, point)
            growth = _cumulative(series, point, value, before)
        series.latest = max(series.latest, point.time)
        return growth if growth is not None and (growth.value > 0 or growth.times > 0) else None

    def _of(self, process: str, scope: str, metric: Metric, point: Point) -> _Series:
        name = digest((process, scope, metric.name, *sorted(map(repr, point.attributes.items()))))
        series = self._series.get(name)
        if series is None:
            self._make_room(point.time)
            series = self._series[name] = _Series(metric.kind, metric.temporality)
        elif (series.kind, series.temporality) != (metric.kind, metric.temporality):
            raise Unusable("a metric changed its type")
        self._series.move_to_end(name)
        return series

    def _make_room(self, now: int) -> None:
        if len(self._series) < self._limit:
            return
        oldest = next(iter(self._series))
        if now - self._series[oldest].latest < _FORGET_NS:
            raise Unusable("more series than are kept")
        self._lives -= len(self._series.pop(oldest).lives)

    def _begin_life(self, series: _Series, point: Point) -> None:
        """Make room for another life of a series. One that may go on is never forgotten: it would count again."""
        if point.start in series.lives:
            return
        if len(series.lives) >= _LIVES or self._lives >= _LIVES_OF_ALL:
            oldest = next(iter(series.lives), None)
            if oldest is None or point.time - series.lives[oldest].time < _FORGET_NS:
                raise Unusable("more starts of a series than are kept")
            del series.lives[oldest]
            self._lives -= 1
        self._lives += 1

    def _export(self, key: tuple[str, str, int], time: int) -> int:
        """When the metric was exported before this, by a sender of that start: others may have the same resource."""
        before, last = self._exports.get(key, (0, 0))
        if time > last:
            self._exports[key] = before, last = last, time
            self._exports.move_to_end(key)
            if len(self._exports) > self._limit:
                self._exports.popitem(last=False)
        return before if time == last else 0


def _checked(metric: Metric, point: Point) -> float:
    if metric.kind is Kind.GAUGE or (metric.kind is Kind.SUM and not metric.monotonic):
        raise Unusable("a gauge where a counter was expected")
    if metric.temporality is Temporality.UNSPECIFIED:
        raise Unusable("a counter without temporality")
    value = point.value
    if value is None or not math.isfinite(value) or not 0 <= value <= _LARGEST or point.count > _LARGEST:
        raise Unusable("a counter's value is none")
    if point.time <= 0:
        raise Unusable("a point without a time")
    return value


def _delta(series: _Series, point: Point, value: float) -> Growth | None:
    when = (point.start, point.time)
    if when in series.told:
        return None
    series.told[when] = None
    if len(series.told) > _RECENT:
        series.told.popitem(last=False)
    until = point.time // _MS
    return Growth(value, point.count, point.buckets, point.start // _MS, until, until)


def _cumulative(series: _Series, point: Point, value: float, before: int) -> Growth | None:
    last = series.lives.get(point.start)
    if last is not None and point.time <= last.time:
        return None
    series.lives[point.start] = _Reading(point.time, value, point.count, point.buckets)
    series.lives.move_to_end(point.start)
    until = point.time // _MS
    if last is None:
        # a series that was not in the last export began after it, however old its process is
        since = min(max(point.start, before), point.time) // _MS
        return Growth(value, point.count, point.buckets, since, until, until if before > point.start else since)
    since = last.time // _MS
    if value < last.value or point.count < last.times:
        return Growth(value, point.count, point.buckets, since, until, until)
    grown = _grown(last.buckets, point.buckets)
    return Growth(value - last.value, point.count - last.times, grown, since, until, until)


def _grown(before: Buckets, now: Buckets) -> Buckets:
    known = dict(before)
    grown = [(middle, count - known.get(middle, 0)) for middle, count in now]
    return tuple((middle, count) for middle, count in grown if count > 0)
