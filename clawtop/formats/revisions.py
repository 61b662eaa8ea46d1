"""Calls that are told several times, each time with more: each counts once, as the best record of it says.

A first record is counted at once, and taken back where a better one comes later, so that nothing waits for the last
one. Which one is better does not depend on the order in which they come, and so the totals don't, either.
"""

import struct
from typing import NamedTuple

from clawtop.model.events import Call, Event, Increase, Tokens
from clawtop.model.keys import Key

REMEMBERED = 50_000
"""Calls of which records are told apart: at least the latest so many, at most twice as many."""

_NUMBERS = struct.Struct("<11q")

Order = tuple[object, ...]


class Revision(NamedTuple):
    """One record of a call. The better one is an original rather than a copy, then the later, then the larger one,
    then the one of the older file.

    `at` is Unix milliseconds, `total` all tokens, `senior` grows with the age of the file it stands in.
    `cost` is micro-dollars as it was logged, None where it was not.
    """

    original: bool
    at: int
    total: int
    senior: int
    tokens: Tokens
    cache_write_1h: int
    cost: int | None
    key: Key
    provider: str
    model: str
    stop: str | None = None


class _Counted(NamedTuple):
    """The best record so far in few bytes, and at the end of its numbers the moment at which it is counted."""

    numbers: bytes
    key: Key
    provider: str
    model: str


class Revisions:
    """The calls of one source. `note` records, `settle` tells what that changes."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._recent: dict[str, _Counted] = {}
        self._before: dict[str, _Counted] = {}
        self._noted: dict[str, Revision] = {}

    def note(self, call: str, revision: Revision) -> None:
        """A record of the call with that id."""
        known = self._noted.get(call)
        if known is None or revision[:4] > known[:4] or _order(revision) > _order(known):
            self._noted[call] = revision

    def noted(self, call: str) -> Revision | None:
        """The best record of a call since the last `settle`, None where there was none."""
        return self._noted.get(call)

    def settle(self) -> list[Event]:
        """What has to be counted of what was noted since the last time."""
        events: list[Event] = []
        for call, revision in self._noted.items():
            counted = self._recent.get(call) or self._before.get(call)
            at = revision.at
            if counted is None:
                events.append(_call(call, revision))
            else:
                before, counted_at = _unpacked(counted)
                if _order(revision) <= _order(before):
                    continue
                if _worth(revision) == _worth(before):
                    at = counted_at
                else:
                    events += [_increase(call, before, counted_at, -1), _increase(call, revision, at, 1)]
            self._remember(call, revision, at)
        self._noted.clear()
        return events

    def _remember(self, call: str, revision: Revision, at: int) -> None:
        self._recent[call] = _packed(revision, at)
        if len(self._recent) >= self._remembered:
            self._before, self._recent = self._recent, {}


def _order(revision: Revision) -> Order:
    """The better record has the larger one. Only what is the same in all that counts has the same."""
    cost = -1 if revision.cost is None else revision.cost
    return (*revision[:6], cost, revision.key.agent, revision.key.session or "", revision.model)


def _worth(revision: Revision) -> Order:
    """What makes a difference to what is counted, when it was aside."""
    return revision[4:-1]


def _packed(revision: Revision, at: int) -> _Counted:
    cost = -1 if revision.cost is None else revision.cost
    numbers = _NUMBERS.pack(*revision[:4], *revision.tokens, revision.cache_write_1h, cost, at)
    return _Counted(numbers, revision.key, revision.provider, revision.model)


def _unpacked(counted: _Counted) -> tuple[Revision, int]:
    original, at, total, senior, first, second, third, fourth, longer, cost, counted_at = _NUMBERS.unpack(
        counted.numbers
    )
    tokens = Tokens(first, second, third, fourth)
    logged = None if cost < 0 else cost
    key, provider, model = counted[1:]
    return Revision(bool(original), at, total, senior, tokens, longer, logged, key, provider, model), counted_at


def _call(call: str, revision: Revision) -> Call:
    return Call(
        key=revision.key,
        at=revision.at,
        id=call,
        provider=revision.provider,
        model=revision.model,
        tokens=revision.tokens,
        cost=revision.cost,
        stop=revision.stop,
        cache_write_1h=revision.cache_write_1h,
    )


def _increase(call: str, revision: Revision, at: int, sign: int) -> Increase:
    """The whole call once more, or taken back where `sign` is -1."""
    name = "/".join(map(str, _order(revision)))
    return Increase(
        key=revision.key,
        at=at,
        id=f"{call}{sign:+}/{name}",
        provider=revision.provider,
        model=revision.model,
        tokens=Tokens(*(sign * each for each in revision.tokens)),
        cost=None if revision.cost is None else sign * revision.cost,
        calls=sign,
        cache_write_1h=sign * revision.cache_write_1h,
    )
