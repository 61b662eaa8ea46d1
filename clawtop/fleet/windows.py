"""When it happened: sparse buckets that grow coarser with age, and the windows that are laid over them.

An event stands in exactly one bucket of its series: by the second for the last minutes, by the minute for the
last day, by the hour for the last weeks, else by the day. A window takes in whole buckets, every one it
overlaps, so nothing within it is lost and it is never longer by more than one bucket.
"""

from collections.abc import Iterator
from heapq import heappop, heappush

from clawtop.fleet.tally import Deltas, Tally, merge
from clawtop.model.snapshot import Window

RESOLUTIONS = (1, 60, 3600, 86400)
"""Seconds a bucket covers, finest first."""
_KEPT = (17 * 60, 25 * 3600, 28 * 86400)
"""Seconds after which a bucket of that resolution becomes part of a coarser one."""
LAST_MS = 253_402_300_799_999


class Series:
    """What happened to one thing: its buckets and its total. Events without a time are in the total alone."""

    __slots__ = ("levels", "total")

    def __init__(self) -> None:
        self.levels: tuple[dict[int, Tally], ...] = ({}, {}, {}, {})
        self.total: Tally = {}

    def add(self, at: int, deltas: Deltas, now: int) -> None:
        """Count the deltas at that moment; `now` (seconds) decides how finely. Both may be 0 for unknown."""
        merge(self.total, deltas)
        if at:
            level = _level(now - at // 1000)
            buckets = self.levels[level]
            bucket = buckets.setdefault(at // (RESOLUTIONS[level] * 1000), {})
            merge(bucket, deltas)

    def roll(self, now: int) -> None:
        """Make what is too old for its resolution (`now` in seconds) part of a coarser bucket."""
        for level, kept in enumerate(_KEPT):
            if self.levels[level]:
                self._roll_level(level, (now - kept) // RESOLUTIONS[level])

    def _roll_level(self, level: int, oldest: int) -> None:
        fine, coarse = self.levels[level], self.levels[level + 1]
        ratio = RESOLUTIONS[level + 1] // RESOLUTIONS[level]
        for index in [index for index in fine if index < oldest]:
            merge(coarse.setdefault(index // ratio, {}), fine.pop(index).items())

    def absorb(self, other: "Series") -> None:
        """Take all that another series has."""
        merge(self.total, other.total.items())
        for mine, theirs in zip(self.levels, other.levels, strict=True):
            for index, tally in theirs.items():
                merge(mine.setdefault(index, {}), tally.items())

    def since(self, start: int, seconds: int) -> Iterator[tuple[int, Tally]]:
        """Buckets from `start` on as (index, tally); `seconds` is what one index covers.

        Buckets finer than that come under the index they are part of, so an index may come more than once.
        """
        for each, buckets in zip(RESOLUTIONS, self.levels, strict=True):
            if each > seconds:
                return
            ratio = seconds // each
            for index, tally in buckets.items():
                if index // ratio >= start:
                    yield index // ratio, tally


def _level(age: int) -> int:
    for level, kept in enumerate(_KEPT):
        if age <= kept:
            return level
    return len(_KEPT)


class Lens:
    """A window over many series that moves with the clock and says what has left it.

    Each series is looked at again only when its oldest bucket leaves, so idle ones cost nothing.
    """

    def __init__(self, window: Window, now: int) -> None:
        length = window.seconds
        self.endless = length is None
        self.seconds = _resolution(length)
        self._length = 0 if length is None else length * 1000
        self.start = self._start(now)
        self._heap: list[tuple[int, int]] = []
        self._due: dict[int, tuple[int, Series]] = {}  # by id(series)

    def _start(self, now: int) -> int:
        return (now - self._length) // (self.seconds * 1000)

    def holds(self, at: int) -> bool:
        """Whether a moment (Unix ms, 0 for unknown) lies within the window."""
        return self.endless or (at > 0 and at // (self.seconds * 1000) >= self.start)

    def load(self, series: Series) -> Tally:
        """What a series has within the window; it is watched from now on."""
        if self.endless:
            return dict(series.total)
        found: Tally = {}
        first: int | None = None
        for index, tally in series.since(self.start, self.seconds):
            merge(found, tally.items())
            first = index if first is None else min(first, index)
        if first is not None:
            self._watch(series, first)
        return found

    def added(self, series: Series, at: int) -> bool:
        """Note that a watched series got something; whether that is within the window."""
        if self.endless:
            return True
        if at <= 0:
            return False
        index = at // (self.seconds * 1000)
        if index < self.start:
            return False
        due = self._due.get(id(series))
        if due is None or index < due[0]:
            self._watch(series, index)
        return True

    def _watch(self, series: Series, index: int) -> None:
        self._due[id(series)] = index, series
        heappush(self._heap, (index, id(series)))

    def advance(self, now: int) -> Iterator[tuple[Series, list[Tally]]]:
        """Move on to `now` (Unix ms): each series that lost something, and the buckets it lost."""
        start = self._start(now)
        if self.endless or start <= self.start:
            return
        before, self.start = self.start, start
        while self._heap and self._heap[0][0] < start:
            index, name = heappop(self._heap)
            due, series = self._due.get(name, (None, None))
            if due != index or series is None:
                continue
            del self._due[name]
            lost, following = [], None
            for each, tally in series.since(before, self.seconds):
                if each < start:
                    lost.append(tally)
                elif following is None or each < following:
                    following = each
            if following is not None:
                self._watch(series, following)
            yield series, lost


def _resolution(length: int | None) -> int:
    if length is None:
        return RESOLUTIONS[-1]
    return 1 if length <= 900 else 60 if length <= 86400 else 3600


SLICES = 30
_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


class Axis:
    """How a window's tokens are cut into slices: `width` is a slice's, both in seconds."""

    __slots__ = ("seconds", "width")

    def __init__(self, seconds: int, width: int) -> None:
        self.seconds, self.width = seconds, width

    @classmethod
    def over(cls, window: Window, first: int, now: int) -> "Axis":
        """The axis of a window; for all, of the time from `first` to `now` (Unix ms, first 0 for unknown).

        There the width grows by a third to a half at a time, so that it seldom changes while time passes.
        """
        if window.seconds is not None:
            return cls(_resolution(window.seconds), window.seconds // SLICES)
        span = max(0, now - first) // 1000 + 1 if first else 1
        seconds = next(
            (res for res, kept in zip(RESOLUTIONS, (900, 86400, 27 * 86400), strict=False) if span <= kept), 0
        )
        seconds = seconds or RESOLUTIONS[-1]
        needed = -(-span // ((SLICES - 1) * seconds))
        return cls(seconds, seconds * next((step for step in _STEPS if step >= needed), needed))

    def slice_of(self, at: int) -> int:
        """The number of the slice that a moment (Unix ms) falls into."""
        seconds = at // 1000
        return (seconds - seconds % self.seconds) // self.width

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Axis) and (self.seconds, self.width) == (other.seconds, other.width)

    def __hash__(self) -> int:
        return hash((self.seconds, self.width))
