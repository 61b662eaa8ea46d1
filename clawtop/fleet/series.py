"""When it happened: sparse buckets that grow coarser with age.

An event stands in exactly one bucket of its series: by the second for the last minutes, by the minute for the
last day, by the hour for the last two weeks, else by the day. Minutes that are not of the last hours lie
compressed in pages of an hour.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple
from zlib import compress, decompress

from clawtop.fleet.tally import TOKENS, counted, histogram, lacks

RESOLUTIONS = (1, 60, 3600, 86400)
"""Seconds that a bucket covers, finest first."""
KEPT = (17 * 60, 25 * 3600, 15 * 86400)
"""Seconds after which a bucket of that resolution becomes part of a coarser one."""
PIECE = 720
"""A page knows its tokens in pieces of so many seconds: what the slices of a day and whole hours have in common."""

_PAGE, _MINUTES = 3600, 60
_OPEN_UNTIL, _OPEN_FROM = 2 * 3600, 23 * 3600
_WORTH_A_PAGE = 6
_NEVER = 1 << 62
_HEAD = Struct("<BBI")

Bucket = tuple[int, bytes]
"""A tally and the latency bins of its calls."""
_EMPTY: Bucket = (0, b"")


class Page(NamedTuple):
    """An hour's minutes: what they add up to, their tokens piece by piece, and themselves, compressed."""

    tally: int
    bins: bytes
    tokens: tuple[int, ...]
    packed: bytes


class Series:
    """What happened to one thing: its buckets and its total. Events without a time are in the total alone.

    `latencies` is the total's histogram. `due` is the second from which on there is something to roll.
    """

    __slots__ = ("due", "latencies", "levels", "pages", "total")

    def __init__(self) -> None:
        self.levels: tuple[dict[int, Bucket], ...] = ({}, {}, {}, {})
        self.pages: dict[int, Page] = {}
        self.total = 0
        self.latencies = 0
        self.due = _NEVER

    def add(self, at: int, tally: int, bins: bytes, now: int) -> None:
        """Count a tally at that moment (Unix ms, 0 for unknown); `now`, in seconds, decides how finely.

        `bins` are the latency bins of its calls, or nothing. A tally that takes back goes where that now is.
        """
        self.total += tally
        if bins:
            self.latencies += histogram(bins)
        if not at:
            return
        second = at // 1000
        if tally < 0 and self._take_back(second, tally):
            return
        age = now - second
        if age <= KEPT[0]:
            self._put(0, second, tally, bins)
        else:
            level = 1 if age <= KEPT[1] else 2 if age <= KEPT[2] else 3
            self._put(level, second // RESOLUTIONS[level], tally, bins)

    def has(self, at: int, tally: int) -> bool:
        """Whether what a tally takes back stands at that moment (Unix ms, 0 for unknown)."""
        if not at:
            return not lacks(self.total + tally)
        return any(not lacks(buckets[index][0] + tally) for buckets, index in self._buckets_of(at // 1000))

    def _take_back(self, second: int, tally: int) -> bool:
        found = list(self._buckets_of(second))
        if not found:
            return False
        buckets, index = next((each for each in found if not lacks(each[0][each[1]][0] + tally)), found[0])
        before, bins = buckets[index]
        buckets[index] = before + tally, bins
        return True

    def _buckets_of(self, second: int) -> Iterator[tuple[dict[int, Bucket], int]]:
        """The buckets that a second lies in, with its index there, finest first: one, until an older one is rolled."""
        self.open_pages(second, second)
        for buckets, resolution in zip(self.levels, RESOLUTIONS, strict=True):
            if second // resolution in buckets:
                yield buckets, second // resolution

    def _put(self, level: int, index: int, tally: int, bins: bytes) -> None:
        if level == 1 and index // _MINUTES in self.pages:
            self._open(index // _MINUTES)
        buckets = self.levels[level]
        if index not in buckets:
            buckets[index] = tally, bins
            if level < len(KEPT):
                end = (index + 1) * RESOLUTIONS[level]
                self.due = min(self.due, end + (_OPEN_UNTIL if level == 1 else KEPT[level]))
        else:
            before = buckets[index]
            buckets[index] = before[0] + tally, before[1] + bins if level < len(KEPT) else b""

    def roll(self, now: int) -> None:
        """Make what is too old for its resolution (`now` in seconds) part of a coarser bucket, or of a page."""
        if now < self.due:
            return
        self.due = _NEVER
        for number in [number for number in self.pages if (number + 1) * _PAGE + KEPT[1] < now]:
            page = self.pages.pop(number)
            self._put(2, number, page.tally, page.bins)
        for level in range(len(KEPT)):
            self._roll_level(level, (now - KEPT[level]) // RESOLUTIONS[level])
        self._close(now)
        self.due = self._next_due(now)

    def _roll_level(self, level: int, oldest: int) -> None:
        buckets = self.levels[level]
        ratio = RESOLUTIONS[level + 1] // RESOLUTIONS[level]
        for index in [index for index in buckets if index < oldest]:
            self._put(level + 1, index // ratio, *buckets.pop(index))

    def _next_due(self, now: int) -> int:
        dues = [
            (min(self.levels[level]) + 1) * RESOLUTIONS[level] + KEPT[level]
            for level in range(len(KEPT))
            if self.levels[level]
        ]
        if self.pages:
            dues.append((min(self.pages) + 1) * _PAGE + KEPT[1])
        dues += [
            due for due in ((minute // _MINUTES + 1) * _PAGE + _OPEN_UNTIL for minute in self.levels[1]) if due > now
        ]
        return max(min(dues, default=_NEVER), now + 1)

    def _close(self, now: int) -> None:
        """Compress the hours of minutes that neither events nor the end of a day come near any more."""
        hours: dict[int, list[int]] = {}
        for minute in self.levels[1]:
            hours.setdefault(minute // _MINUTES, []).append(minute)
        for number, minutes in hours.items():
            end = (number + 1) * _PAGE
            if number in self.pages:  # it was taken over beside minutes of its own
                continue
            if len(minutes) >= _WORTH_A_PAGE and now - _OPEN_FROM < end <= now - _OPEN_UNTIL:
                self.pages[number] = _page([(minute % _MINUTES, self.levels[1].pop(minute)) for minute in minutes])

    def _open(self, number: int) -> None:
        for minute, bucket in _minutes(self.pages.pop(number).packed):
            self._put(1, number * _MINUTES + minute, *bucket)
        self.due = min(self.due, (number + 1) * _PAGE + _OPEN_UNTIL)

    def open_pages(self, since: int = 0, until: int = _NEVER) -> None:
        """Unpack the pages that overlap those seconds."""
        if self.pages:
            for number in [each for each in self.pages if each * _PAGE <= until and (each + 1) * _PAGE > since]:
                self._open(number)

    def absorb(self, other: "Series") -> None:
        """Take all that another series has."""
        self.total += other.total
        self.latencies += other.latencies
        self.due = min(self.due, other.due)
        for number, page in other.pages.items():
            if number in self.pages:
                self._open(number)
                for minute, bucket in _minutes(page.packed):
                    self._put(1, number * _MINUTES + minute, *bucket)
            else:
                self.pages[number] = page
        for level, buckets in enumerate(other.levels):
            for index, bucket in buckets.items():
                self._put(level, index, *bucket)

    def since(self, start: int, seconds: int) -> Iterator[tuple[int, int, bytes]]:
        """Buckets from `start` on as (index, tally, latency bins); `seconds` is what one index covers.

        Finer buckets come under the index they are part of, so an index may come more than once. Pages are
        left out.
        """
        for each, buckets in zip(RESOLUTIONS, self.levels, strict=True):
            if each > seconds:
                return
            ratio = seconds // each
            for index, (tally, bins) in buckets.items():
                if index // ratio >= start:
                    yield index // ratio, tally, bins

    def pages_since(self, start: int, seconds: int) -> Iterator[tuple[int, Page]]:
        """Pages that begin at index `start` or later, with the index of their first minute."""
        if seconds > 1:
            for number, page in self.pages.items():
                index = number * _PAGE // seconds
                if index >= start:
                    yield index, page

    def tokens_since(self, start: int, seconds: int, width: int) -> Iterator[tuple[int, int]]:
        """(second, tokens) from index `start` on, fine enough for slices of `width` seconds."""
        if width % PIECE:
            self.open_pages(start * seconds)
        for index, tally, _ in self.since(start, seconds):
            tokens = counted(tally, TOKENS)
            if tokens:
                yield index * seconds, tokens
        if seconds > 1:
            for number, page in self.pages.items():
                for place, tokens in enumerate(page.tokens):
                    second = number * _PAGE + place * PIECE
                    if tokens and second >= start * seconds:
                        yield second, tokens


def _page(minutes: list[tuple[int, Bucket]]) -> Page:
    tally, bins, tokens = 0, [], [0] * (_PAGE // PIECE)
    parts: list[bytes] = []
    for minute, (each, its_bins) in minutes:
        tally += each
        bins.append(its_bins)
        tokens[minute * 60 // PIECE] += counted(each, TOKENS)
        digits = each.to_bytes(each.bit_length() // 8 + 1, "little", signed=True)
        parts += _HEAD.pack(minute, len(digits), len(its_bins)), digits, its_bins
    return Page(tally, b"".join(bins), tuple(tokens), compress(b"".join(parts), 1))


def _minutes(packed: bytes) -> Iterator[tuple[int, Bucket]]:
    data, place = decompress(packed), 0
    while place < len(data):
        minute, size, count = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        digits, bins = data[place : place + size], data[place + size : place + size + count]
        yield minute, (int.from_bytes(digits, "little", signed=True), bins)
        place += size + count
