"""What is added up: all counters of a tally stand side by side in one integer, so adding tallies is one addition.

A counter has 64 bits; the ones that most calls need come first, which keeps the integers short. What takes back is
below zero, and a counter below zero borrows 1 from its neighbour until something reads it. Latencies are counted in
log-scale bins: one byte each where they are kept bucket by bucket, one integer of 32 bits a bin where they are
added up.
"""

import math
import struct
from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import accumulate

from clawtop.model.events import Increase, Tokens

COUNTERS = (
    CALLS,
    TOKENS,
    INPUT,
    OUTPUT,
    CACHE_READ,
    CACHE_WRITE,
    COST,
    TOOL_CALLS,
    TOOL_ERRORS,
    ERRORS,
    RETRIES,
    FALLBACKS,
    FAILED_TURNS,
    UNLOGGED,
    UNLOGGED_INPUT,
    UNLOGGED_OUTPUT,
    UNLOGGED_CACHE_READ,
    UNLOGGED_CACHE_WRITE,
    LISTED,
    LIST_COST,
    ABORTS,
    COMPACTIONS,
    RESETS,
    UNMETERED,
) = range(24)
"""COST is what sources logged, in micro-dollars. UNLOGGED calls have no logged cost: their tokens stand in the
UNLOGGED ones as well, to be priced later; LISTED of them have a list price, which comes to LIST_COST micro-dollars.
"""

_BITS = 64
_MASK = (1 << _BITS) - 1
_MOST = (1 << 46) - 1
"""What a value is cut to that no source can mean."""
_SIGNS = sum(1 << (_BITS * (counter + 1) - 1) for counter in COUNTERS)
"""The highest bit of each counter: with none of them no counter is below zero, and none has borrowed."""
_TOO_MUCH = sum((_MASK - _MOST) << (_BITS * lane) for lane in range(7))
_LANES = struct.Struct(f"<{len(COUNTERS)}q")
_CALL, _UNLOGGED_CALL = struct.Struct("<7Q"), struct.Struct("<7Q")
"""CALLS to COST, and UNLOGGED to LIST_COST."""


_INCREASES = {
    CALLS: "calls",
    TOOL_CALLS: "tool_calls",
    TOOL_ERRORS: "tool_errors",
    ERRORS: "errors",
    RETRIES: "retries",
    FALLBACKS: "fallbacks",
    FAILED_TURNS: "failed_turns",
    ABORTS: "aborts",
    COMPACTIONS: "compactions",
    RESETS: "resets",
    UNMETERED: "unmetered_runs",
    UNLOGGED: "unpriced_calls",
}

SPEND = (1 << (_BITS * (COST + 1))) - 1
"""Covers the counters that mean tokens or money."""


def cost_alone(cost: int) -> int:
    """The tally of a failed attempt that was charged for, in micro-dollars."""
    return min(max(cost, 0), _MOST) << (_BITS * COST)


def call(tokens: Tokens, cost: int) -> int:
    """The tally of one call, with what it logged as its cost in micro-dollars."""
    return _packed(_CALL, 1, tokens[0] + tokens[1] + tokens[2] + tokens[3], *tokens, cost)


def unlogged_call(tokens: Tokens, list_price: int | None) -> int:
    """What to add to a call whose cost no source logged; its list price is in micro-dollars, None for unknown."""
    priced = (0, 0) if list_price is None else (1, list_price)
    return _packed(_UNLOGGED_CALL, 1, *tokens, *priced) << (_BITS * UNLOGGED)


def _packed(lanes: struct.Struct, *values: int) -> int:
    """Values side by side; where no source can mean one of them, all are cut."""
    try:
        packed = int.from_bytes(lanes.pack(*values), "little")
    except struct.error:
        packed = _TOO_MUCH
    if packed & _TOO_MUCH:
        packed = int.from_bytes(lanes.pack(*(min(max(each, 0), _MOST) for each in values)), "little")
    return packed


def increase(event: Increase, list_price: int | None) -> int:
    """The tally of counters that grew together; where no cost was told, `list_price` is in micro-dollars."""
    lanes = [0] * len(COUNTERS)
    lanes[TOKENS], lanes[INPUT : CACHE_WRITE + 1] = event.tokens.total, event.tokens
    for counter, name in _INCREASES.items():
        lanes[counter] = getattr(event, name)
    if event.cost is not None:
        lanes[COST] = event.cost
    elif any(event.tokens):
        calls = max(1, abs(event.calls)) * (-1 if event.tokens.total < 0 else 1)
        lanes[UNLOGGED], lanes[UNLOGGED_INPUT : UNLOGGED_CACHE_WRITE + 1] = calls, event.tokens
        lanes[LISTED], lanes[LIST_COST] = (0, 0) if list_price is None else (calls, list_price)
    return sum(min(max(value, -_MOST), _MOST) << (_BITS * counter) for counter, value in enumerate(lanes))


def one(counter: int) -> int:
    """A tally that counts 1."""
    return 1 << (_BITS * counter)


def lacks(tally: int) -> bool:
    """Whether any counter is below zero: more was taken back than stands there."""
    return bool(tally & _SIGNS)


def at_least_zero(tally: int) -> int:
    """The tally without what is below zero."""
    if not tally & _SIGNS:
        return tally
    return sum(max(value, 0) << (_BITS * counter) for counter, value in enumerate(unpacked(tally)))


def counted(tally: int, counter: int) -> int:
    """One counter of a tally, which may be below zero."""
    if tally & _SIGNS:
        return unpacked(tally)[counter]
    return tally >> (_BITS * counter) & _MASK


def unpacked(tally: int) -> tuple[int, ...]:
    """All counters of a tally; each may be below zero."""
    if tally & _SIGNS:  # what was borrowed is given back, which leaves each counter in two's complement
        tally = (tally + _SIGNS) ^ _SIGNS
    return _LANES.unpack(tally.to_bytes(_LANES.size, "little"))


_LOG_RATIO = math.log(1.08)
_BIN_BITS = 32
_LOWEST = [1, *(math.exp((number - 0.5) * _LOG_RATIO) for number in range(1, 240))]
"""The lowest latency of each bin but bin 0, up to a day."""
BINS = [bytes((number,)) for number in range(len(_LOWEST) + 1)]
"""What is kept of a latency, by its bin."""
HISTOGRAMS = [1 << (_BIN_BITS * number) for number in range(len(_LOWEST) + 1)]
"""The histogram of one latency, by its bin."""


def latency_bin(milliseconds: int) -> int:
    """The bin of a latency, 0 to 240: bins grow by 8 %, so a bin's middle is within 4 % of what fell into it."""
    return bisect_right(_LOWEST, milliseconds)


def histogram(bins: bytes) -> int:
    """The bins added up."""
    if len(bins) <= 8:  # the usual case, where counting them first takes longer
        return sum([HISTOGRAMS[each] for each in bins])
    return sum([count << (_BIN_BITS * each) for each, count in Counter(bins).items()])


def latencies(added: int) -> tuple[int | None, int | None]:
    """p50 and p95 of a histogram in milliseconds (nearest rank), None and None where it is empty."""
    if not added:
        return None, None
    size = -(-added.bit_length() // _BIN_BITS)
    upto = list(accumulate(struct.unpack(f"<{size}I", added.to_bytes(size * _BIN_BITS // 8, "little"))))
    half, most = -(-upto[-1] // 2), -(-upto[-1] * 19 // 20)
    return _milliseconds(bisect_left(upto, half)), _milliseconds(bisect_left(upto, most))


def _milliseconds(bin_: int) -> int:
    return 0 if bin_ == 0 else round(math.exp((bin_ - 1) * _LOG_RATIO))
