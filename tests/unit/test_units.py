import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawtop.units import age, dollars, duration, exact_money, known_part, money, percent, si, size

AMOUNTS = st.floats(min_value=0, max_value=1e18, allow_nan=False)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.4, "0"),
        (999.4, "999"),
        (999.5, "1.00k"),
        (1234, "1.23k"),
        (9994, "9.99k"),
        (9996, "10.0k"),
        (99_940, "99.9k"),
        (99_960, "100k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (1.234e9, "1.23G"),
        (1e18, ">999T"),
        (-1234, "-1.23k"),
    ],
)
def test_si_has_three_figures_and_a_unit(number: float, text: str) -> None:
    assert si(number) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.00"),
        (0.004, "<0.01"),
        (0.005, "0.01"),
        (12.344, "12.34"),
        (9999.99, "9999.99"),
        (9999.996, "10.0k"),
        (-3, "-3.00"),
    ],
)
def test_dollars_keep_two_decimals_as_long_as_they_can(amount: float, text: str) -> None:
    assert dollars(amount) == text


def test_money_is_micro_dollars() -> None:
    assert (money(3_056_962), exact_money(3_056_962), exact_money(-1)) == ("3.06", "$3.056962", "-$0.000001")


def test_what_is_not_known_of_a_sum_is_said() -> None:
    assert known_part(12.344, partly=False) == "12.34"
    assert known_part(0.0, partly=True) == "0.00+?"
    assert known_part(None, partly=True) == "?"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0ms"),
        (999, "999ms"),
        (999.6, "1.0s"),
        (9_940, "9.9s"),
        (9_960, "10s"),
        (59_600, "1m00"),
        (3_599_000, "59m59"),
        (7_800_000, "2h10"),
        (90_000_000, "1d"),
    ],
)
def test_durations(ms: float, text: str) -> None:
    assert duration(ms) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(-5_000, "0s"), (999, "0s"), (59_999, "59s"), (60_000, "1m"), (86_399_000, "23h"), (8.64e7, "1d"), (1e11, "3y")],
)
def test_ages_are_rounded_down(ms: float, text: str) -> None:
    assert age(ms) == text


def test_percent_and_size() -> None:
    assert (percent(6.6), percent(100), percent(12_345)) == ("7%", "100%", "999%")
    assert (size(0), size(999), size(1_234), size(202_000_000)) == ("0 B", "999 B", "1.23 kB", "202 MB")


@given(AMOUNTS)
def test_no_figure_is_wider_than_its_column(amount: float) -> None:
    assert len(si(amount)) <= 5
    assert len(dollars(amount)) <= 7
    assert len(duration(amount)) <= 5
    assert len(age(amount)) <= 4
    assert len(percent(amount)) <= 4
    assert len(size(int(amount))) <= 7


@given(AMOUNTS, AMOUNTS)
def test_larger_is_never_written_smaller(one: float, other: float) -> None:
    units = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}

    def value(text: str) -> float:
        return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)

    low, high = sorted((min(one, 9.9e14), min(other, 9.9e14)))
    assert value(si(low)) <= value(si(high))
