import pytest

from clawtop.fleet.series import Series
from clawtop.fleet.tally import CALLS, counted, one
from clawtop.fleet.windows import SLICES, Axis, Lens
from clawtop.model.snapshot import Window

from .made import DAY, HOUR, MINUTE, NOW, SECOND


def series(*ages: int) -> Series:
    made = Series()
    for age in ages:
        made.add(NOW - age, one(CALLS), b"", NOW // 1000)
    return made


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        (Window.M1, 60 * SECOND, 62 * SECOND),
        (Window.M5, 300 * SECOND, 302 * SECOND),
        (Window.M15, 900 * SECOND, 902 * SECOND),
        (Window.H1, HOUR, HOUR + 2 * MINUTE),
        (Window.H24, DAY, DAY + 2 * MINUTE),
        (Window.D7, 7 * DAY, 7 * DAY + 2 * HOUR),
    ],
)
def test_a_window_holds_what_it_overlaps(window: Window, inside: int, outside: int) -> None:
    lens = Lens(window, NOW)
    assert counted(lens.load(series(inside, outside, 0, -MINUTE))[0], CALLS) == 3
    assert lens.holds(NOW - inside)
    assert not lens.holds(NOW - outside)
    assert not lens.holds(0)


def test_all_holds_what_has_no_time() -> None:
    lens = Lens(Window.ALL, NOW)
    made = series(300 * DAY)
    made.add(0, one(CALLS), b"", NOW // 1000)
    assert counted(lens.load(made)[0], CALLS) == 2
    assert lens.holds(0)


@pytest.mark.parametrize("window", [Window.M1, Window.H1, Window.H24, Window.D7])
def test_a_lens_that_moves_says_exactly_what_left(window: Window) -> None:
    made = series(*range(0, 8 * DAY, 997 * SECOND), *range(0, HOUR, 7 * SECOND))
    lens = Lens(window, NOW)
    held, _ = lens.load(made)
    for step in (1, 300, 61_000, HOUR, 3 * HOUR, 25 * HOUR, 8 * DAY):
        for _, lost, _ in lens.advance(NOW + step):
            held -= lost
        made.roll((NOW + step) // 1000)
        assert held == Lens(window, NOW + step).load(made)[0]
    assert held == 0


def test_an_idle_series_is_looked_at_only_when_its_oldest_bucket_leaves() -> None:
    lens = Lens(Window.M1, NOW)
    lens.load(series(10 * SECOND))
    assert not list(lens.advance(NOW + 45 * SECOND))
    assert len(list(lens.advance(NOW + 52 * SECOND))) == 1
    assert not list(lens.advance(NOW + HOUR))


@pytest.mark.parametrize("age", [0, 1, 14 * MINUTE, 16 * MINUTE, 5 * HOUR, 23 * HOUR, 3 * DAY, 20 * DAY, 3000 * DAY])
def test_the_axis_of_all_reaches_from_first_to_now(age: int) -> None:
    first = NOW - age
    axis = Axis.over(Window.ALL, first, NOW)
    newest = NOW // 1000 // axis.width
    assert newest - SLICES < axis.slice_of(first // 1000) <= newest
    assert axis.width % axis.seconds == 0


@pytest.mark.parametrize("window", [window for window in Window if window.seconds])
def test_thirty_slices_cover_a_window(window: Window) -> None:
    assert Axis.over(window, NOW, NOW).width * SLICES == window.seconds
