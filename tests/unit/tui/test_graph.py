import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawtop.tui.render.digits import big
from clawtop.tui.render.glyphs import ASCII, UNICODE, Glyphs
from clawtop.tui.render.graph import area, bar, resample, sparkline

BOTH = pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
VALUES = st.lists(st.integers(0, 10**9), max_size=200)


def test_resampling_averages_equal_parts() -> None:
    assert resample([1, 3, 5, 7], 2) == (2, 6)
    assert resample([2, 4, 6], 2) == pytest.approx((8 / 3, 16 / 3))
    assert resample([1, 2], 4) == (1, 1, 2, 2)
    assert resample([], 4) == ()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50), st.integers(1, 80))
def test_resampling_keeps_the_mean(values: list[int], count: int) -> None:
    assert sum(resample(values, count)) / count == pytest.approx(sum(values) / len(values))


@BOTH
@given(values=VALUES, width=st.integers(0, 60))
def test_a_sparkline_is_as_wide_as_asked(values: list[int], width: int, glyphs: Glyphs) -> None:
    assert len(sparkline(values, width, glyphs)) == width


def test_a_sparkline_rises_and_is_blank_where_nothing_was() -> None:
    assert sparkline([0, 1, 4, 7], 4, UNICODE) == " ▂▅█"
    assert sparkline([0, 1, 4, 7], 4, ASCII) == " _=#"
    assert sparkline([0, 0], 3, UNICODE) == "   "


@pytest.mark.parametrize(
    ("share", "text"), [(0, "    "), (1, "████"), (0.5, "██  "), (2, "████"), (0.001, "▏   "), (0.28, "█▏  ")]
)
def test_a_bar_counts_in_eighths(share: float, text: str) -> None:
    assert bar(share, 4, UNICODE) == text


@BOTH
@given(values=VALUES, width=st.integers(1, 60), height=st.integers(1, 6))
def test_a_chart_fills_its_box(values: list[int], width: int, height: int, glyphs: Glyphs) -> None:
    chart = area(values, width, height, glyphs)
    assert [len(line) for line in chart] == [width] * height
    assert all(line.isascii() for line in chart) or not glyphs.ascii_only


def test_a_chart_stands_on_its_base() -> None:
    assert area([0, 1, 16, 8], 4, 2, UNICODE) == ("  █ ", " ▁██")


def test_large_figures() -> None:
    assert big("1.5") == ("▀█    █▀▀", " █    ▀▀█", "▀▀▀ ▀ ▀▀▀")
    assert big("1€") is None
