"""What is added up: a tally maps counter numbers and latency bins to amounts, and tallies add.

A tally holds no zeros, so an empty one says that nothing happened.
"""

import math
from collections.abc import Iterable, Mapping

Tally = dict[int, int]
Deltas = Iterable[tuple[int, int]]

(
    CALLS,
    ERRORS,
    RETRIES,
    FALLBACKS,
    FAILED_TURNS,
    ABORTS,
    TOOL_CALLS,
    TOOL_ERRORS,
    COMPACTIONS,
    RESETS,
    UNMETERED,
) = range(11)
INPUT, OUTPUT, CACHE_READ, CACHE_WRITE = TOKENS = range(11, 15)
COST = 15
"""Micro-dollars that sources logged."""
UNLOGGED = 16
"""Calls whose cost no source logged; their tokens stand under UNLOGGED_TOKENS as well, to be priced later."""
UNLOGGED_TOKENS = range(17, 21)
LISTED, LIST_COST = 21, 22
"""Unlogged calls that have a list price, and what that comes to in micro-dollars."""

_LATENCY = 32
_LOG_RATIO = math.log(1.08)
_MAX_LATENCY = 86_400_000


def merge(into: Tally, deltas: Deltas) -> None:
    """Add the deltas to a tally."""
    for counter, amount in deltas:
        value = into.get(counter, 0) + amount
        if value:
            into[counter] = value
        else:
            into.pop(counter, None)


def subtract(into: Tally, tally: Mapping[int, int]) -> None:
    """Take a tally out of another."""
    merge(into, [(counter, -amount) for counter, amount in tally.items()])


def tokens_of(tally: Mapping[int, int]) -> int:
    """All tokens of a tally."""
    get = tally.get
    return get(INPUT, 0) + get(OUTPUT, 0) + get(CACHE_READ, 0) + get(CACHE_WRITE, 0)


def latency_bin(milliseconds: int) -> int:
    """The counter of that latency: bins grow by 8 %, so a bin's middle is within 4 % of what fell into it."""
    if milliseconds <= 0:
        return _LATENCY
    return _LATENCY + 1 + round(math.log(min(milliseconds, _MAX_LATENCY)) / _LOG_RATIO)


def _milliseconds(counter: int) -> int:
    return 0 if counter == _LATENCY else round(math.exp((counter - _LATENCY - 1) * _LOG_RATIO))


def latencies(tally: Mapping[int, int]) -> tuple[int | None, int | None]:
    """p50 and p95 in milliseconds (nearest rank), None and None where no latency is known."""
    bins = sorted(counter for counter in tally if counter >= _LATENCY)
    count = sum(tally[counter] for counter in bins)
    if not count:
        return None, None
    return _at_rank(tally, bins, -(-count // 2)), _at_rank(tally, bins, -(-count * 19 // 20))


def _at_rank(tally: Mapping[int, int], bins: list[int], rank: int) -> int:
    reached = 0
    for counter in bins:
        reached += tally[counter]
        if reached >= rank:
            return _milliseconds(counter)
    return _milliseconds(bins[-1])
