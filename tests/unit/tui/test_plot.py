import subprocess
import sys

import pytest

from clawtop.tui.render import plot
from clawtop.tui.render.glyphs import ASCII, UNICODE
from clawtop.tui.render.line import Line, width
from tests.unit.tui.spans import text

VALUES = tuple((number * number * 7919) % 18_000 for number in range(60))


def drawn(seconds: int | None = 3600, cells: int = 76, height: int = 8) -> tuple[Line, ...]:
    return plot.tokens(VALUES, seconds, cells, height, UNICODE)


@pytest.mark.parametrize("cells", [36, 76, 116])
@pytest.mark.parametrize("height", [6, 12])
def test_a_chart_has_the_size_it_is_given(cells: int, height: int) -> None:
    lines = drawn(cells=cells, height=height)
    assert len(lines) == height
    assert max(width(line) for line in lines) <= cells


def test_the_axes_say_when_and_how_many() -> None:
    lines = [text(line) for line in drawn()]
    assert lines[0].startswith("18.0k┤")
    assert lines[-3].startswith("    0┤")
    assert lines[-1].split() == ["-1h", "-50m", "-40m", "-30m", "-20m", "-10m", "now"]


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [
        (60, "-1m -50s -40s -30s -20s -10s now"),
        (300, "-5m -4m -3m -2m -1m now"),
        (900, "-15m -12m -9m -6m -3m now"),
        (86_400, "-1d -20h -16h -12h -8h -4h now"),
        (604_800, "-7d -6d -5d -4d -3d -2d -1d now"),
        (None, "first now"),
    ],
)
def test_times_are_whole(seconds: int | None, ticks: str) -> None:
    assert text(drawn(seconds)[-1]).split() == ticks.split()


def test_a_chart_in_ascii_is_ascii_and_no_colour_of_its_own_is_left() -> None:
    said = "".join(text(line) for line in plot.tokens(VALUES, 3600, 76, 8, ASCII))
    assert said.isascii()
    assert "#" in said
    assert "\x1b" not in "".join(text(line) for line in drawn())


def test_the_curve_and_the_axes_have_styles_of_their_own() -> None:
    styles = [[span.style for span in line] for line in drawn()]
    assert styles[0] == ["muted", "chart-0"]
    assert styles[-3] == ["muted", "chart-3"]
    assert styles[-1] == ["muted"]


def test_it_is_imported_by_nobody_who_only_starts_the_screen() -> None:
    code = "import sys, clawtop.tui.app; sys.exit('plotext' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
