"""The windows that are laid over series of buckets, and the axis that their tokens are drawn along.

A window takes in whole buckets, every one it overlaps, so nothing within it is lost and it is never longer by
more than one bucket.
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from clawtop.fleet.series import RESOLUTIONS, Series
from clawtop.fleet.tally import histogram
from clawtop.model.snapshot import Window


class Lens:
    """A window over many series that moves with the clock and says what has left it.

    Each series is looked at again only when its oldest bucket leaves, so idle ones cost nothing.
    """

    def __init__(self, window: Window, now: int) -> None:
        length = window.seconds
        self.endless = length is None
        self.seconds = _resolution(length)
        self._bucket = self.seconds * 1000
        self._length = 0 if length is None else length * 1000
        self.start = self._start(now)
        self._heap: list[tuple[int, int]] = []
        self._due: dict[int, tuple[int, Series]] = {}  # by id(series)

    def _start(self, now: int) -> int:
        return (now - self._length) // self._bucket

    def holds(self, at: int) -> bool:
        """Whether a moment (Unix ms, 0 for unknown) lies within the window."""
        return self.endless or (at > 0 and at // self._bucket >= self.start)

    def load(self, series: Series) -> tuple[int, int]:
        """The tally and the latencies' histogram of a series within the window; it is watched from now on."""
        if self.endless:
            return series.total, series.latencies
        second = self.start * self.seconds
        series.open_pages(second, second)
        tally, bins, first = _gathered(series, self.start, self.seconds)
        if first is not None:
            self._watch(series, first)
        return tally, histogram(bins)

    def added(self, series: Series, at: int) -> bool:
        """Note that a watched series got something; whether that is within the window."""
        if self.endless:
            return True
        index = at // self._bucket
        if at <= 0 or index < self.start:
            return False
        due = self._due.get(id(series))
        if due is None or index < due[0]:
            self._watch(series, index)
        return True

    def _watch(self, series: Series, index: int) -> None:
        self._due[id(series)] = index, series
        heappush(self._heap, (index, id(series)))

    def advance(self, now: int) -> Iterator[tuple[Series, int, int]]:
        """Move on to `now` (Unix ms): each series that lost something, and the tally and latencies it lost."""
        start = self._start(now)
        if self.endless or start <= self.start:
            return
        before, self.start = self.start, start
        while self._heap and self._heap[0][0] < start:
            index, name = heappop(self._heap)
            due, series = self._due.get(name, (None, None))
            if due == index and series is not None:
                del self._due[name]
                yield series, *self._lost(series, before)

    def _lost(self, series: Series, before: int) -> tuple[int, int]:
        series.open_pages(before * self.seconds, self.start * self.seconds)
        tally, lost = 0, []
        for index, each, bins in series.since(before, self.seconds):
            if index < self.start:
                tally += each
                lost.append(bins)
        following = min(_indices(series, self.start, self.seconds), default=None)
        if following is not None:
            self._watch(series, following)
        return tally, histogram(b"".join(lost))


def _gathered(series: Series, start: int, seconds: int) -> tuple[int, bytes, int | None]:
    """Tally and latency bins from an index on, and the first index that has something."""
    tally, bins, first = 0, [], None
    for index, each, its_bins in series.since(start, seconds):
        tally += each
        bins.append(its_bins)
        first = index if first is None or index < first else first
    for index, page in series.pages_since(start, seconds):
        tally += page.tally
        bins.append(page.bins)
        first = index if first is None or index < first else first
    return tally, b"".join(bins), first


def _indices(series: Series, start: int, seconds: int) -> Iterator[int]:
    for index, _, _ in series.since(start, seconds):
        yield index
    for index, _ in series.pages_since(start, seconds):
        yield index


def _resolution(length: int | None) -> int:
    if length is None:
        return RESOLUTIONS[-1]
    return 1 if length <= 900 else 60 if length <= 86400 else 3600


SLICES = 30
_STEPS = (1, 2, 3, 4, 6, 8, 12, 24, 36, 48, 72, 96, 144, 192, 288, 384, 576, 768, 1152)
_SPANS = (15 * 60, 86400, 14 * 86400)


class Axis(NamedTuple):
    """How a window's tokens are cut into slices: `width` seconds each, of whole times `seconds`."""

    seconds: int
    width: int

    @classmethod
    def over(cls, window: Window, first: int, now: int) -> "Axis":
        """The axis of a window; for all, of the time from `first` to `now` (Unix ms, first 0 for unknown).

        There the width grows in steps, so that it seldom changes while time passes.
        """
        if window.seconds is not None:
            return cls(_resolution(window.seconds), window.seconds // SLICES)
        span = max(0, now - first) // 1000 + 1 if first else 1
        seconds = RESOLUTIONS[sum(span > each for each in _SPANS)]
        needed = -(-span // ((SLICES - 1) * seconds))
        return cls(seconds, seconds * next((step for step in _STEPS if step >= needed), needed))

    def slice_of(self, second: int) -> int:
        """The number of the slice that a second falls into."""
        return (second - second % self.seconds) // self.width
