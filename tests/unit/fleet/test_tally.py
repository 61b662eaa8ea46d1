import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawtop.fleet.tally import (
    BINS,
    CALLS,
    COST,
    COUNTERS,
    LIST_COST,
    LISTED,
    TOKENS,
    UNLOGGED,
    at_least_zero,
    call,
    counted,
    histogram,
    increase,
    lacks,
    latencies,
    latency_bin,
    one,
    unlogged_call,
    unpacked,
)
from clawtop.model.events import Increase, Tokens

from .made import CODER


def test_a_call_and_its_list_price_stand_side_by_side() -> None:
    tally = call(Tokens(1, 2, 3, 4), 50) + unlogged_call(Tokens(1, 2, 3, 4), 60) + one(CALLS)
    counters = unpacked(tally)
    assert (counters[CALLS], counters[TOKENS], counters[COST]) == (2, 10, 50)
    assert (counters[UNLOGGED], counters[LISTED], counters[LIST_COST]) == (1, 1, 60)
    assert counted(tally, TOKENS) == 10


@given(st.lists(st.tuples(*[st.integers(-(2**70), 2**70)] * 5), max_size=40))
def test_values_no_source_can_mean_spoil_no_other_counter(amounts: list[tuple[int, ...]]) -> None:
    tally = sum(call(Tokens(*each[:4]), each[4]) + unlogged_call(Tokens(*each[:4]), each[4]) for each in amounts)
    counters = unpacked(tally)
    assert counters[CALLS] == counters[UNLOGGED] == counters[LISTED] == len(amounts)
    assert all(0 <= counter < 2**64 for counter in counters)


_AMOUNTS = st.tuples(*[st.integers(-(2**50), 2**50)] * 5)


@given(st.lists(_AMOUNTS, max_size=20))
def test_no_counter_borrows_from_another_when_more_is_taken_back_than_stands_there(
    amounts: list[tuple[int, ...]],
) -> None:
    grown = [Increase(CODER, 1, "", tokens=Tokens(*each[:4]), cost=None, calls=each[4]) for each in amounts]
    apart = [unpacked(increase(each, 7)) for each in grown]
    tally = sum(increase(each, 7) for each in grown)
    expected = tuple(map(sum, zip(*apart, (0,) * len(COUNTERS), strict=True)))
    assert unpacked(tally) == expected
    assert tuple(counted(tally, counter) for counter in COUNTERS) == expected
    assert unpacked(at_least_zero(tally)) == tuple(max(0, each) for each in expected)
    assert lacks(tally) is (min(expected) < 0)


@pytest.mark.parametrize("milliseconds", [1, 2, 7, 40, 333, 12_345, 600_000, 86_400_000])
def test_a_latency_is_known_within_five_percent(milliseconds: int) -> None:
    p50, p95 = latencies(histogram(BINS[latency_bin(milliseconds)]))
    assert p50 == p95 == pytest.approx(milliseconds, rel=0.05)


def test_percentiles_are_nearest_rank() -> None:
    bins = b"".join(BINS[latency_bin(ms)] for ms in [0] * 10 + [100] * 9 + [5000])
    p50, p95 = latencies(histogram(bins))
    assert p50 == 0
    assert p95 == pytest.approx(100, rel=0.05)
    assert latencies(histogram(bins + BINS[latency_bin(5000)]))[1] == pytest.approx(5000, rel=0.05)
    assert latencies(0) == (None, None)


@given(st.binary(max_size=60).map(lambda text: bytes(each % 241 for each in text)))
def test_histograms_add(bins: bytes) -> None:
    assert histogram(bins) == sum(histogram(bins[place : place + 1]) for place in range(len(bins)))


def test_a_latency_beyond_a_day_still_has_a_bin() -> None:
    assert latency_bin(10**15) == len(BINS) - 1
    assert latency_bin(-5) == 0
