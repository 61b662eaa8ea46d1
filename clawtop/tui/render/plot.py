"""The chart of a row's tokens with axes, drawn by plotext: it is imported only once somebody wants to see one."""

import re
import sys
from collections.abc import Sequence
from typing import Any

from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Line, Span
from clawtop.units import duration, si

_ASCII = str.maketrans("┌┐└┘├┤┬┴┼─│", "+++++++++-|")
_BODY = re.compile(r"^(.*?[│┤])(.*)$", re.DOTALL)
_ROUND = re.compile(r"(?<=[hm])00$")
_UNITS = (86400, 3600, 60, 1)
_TICK_CELLS, _MOST_TICKS = 10, 7
_UNDER = 2
_SHADES = 4


def loaded() -> bool:
    """Whether `tokens` draws at once, without the import that takes its time."""
    return getattr(sys.modules.get("plotext"), "figure", None) is not None


def load() -> Any:
    """Import plotext. Raises ImportError or OSError where it cannot run on this system."""
    import plotext  # type: ignore[import-untyped]  # noqa: PLC0415 - costs as much as the rest of the screen

    return plotext


def tokens(values: Sequence[int], seconds: int | None, width: int, height: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """`values` (tokens of each slice of a window, oldest first) in `height` lines of at most `width` cells.

    `seconds` is the window's length, None where it has no beginning. Raises ImportError or OSError as `load` does.
    """
    plotext = load()
    plotext.terminal.limit(width=False, height=False)
    figure = plotext.figure
    figure.clear.all()
    figure.theme("colorless")
    figure.plot_size(width, height)
    figure.axes(active=False, axis="x", side="upper")
    figure.axes(active=False, axis="y", side="right")
    curve = figure.signal(list(range(len(values))), list(values), marker="#" if glyphs.ascii_only else "hd")
    curve.lines()
    curve.fillx()
    figure.draw(curve)
    figure.ruler("x", "lower").ticks(*_times(len(values), seconds, width))
    figure.ruler("y", "left").ticks(*_amounts(max(values), height))
    return _painted(figure.build().string(colorless=True).rstrip("\n").split("\n"), glyphs)


def _times(count: int, seconds: int | None, width: int) -> tuple[list[float], list[str]]:
    last = count - 1
    if seconds is None:
        return [0.0, float(last)], ["first", "now"]
    unit = next(each for each in _UNITS if seconds >= 2 * each or each == 1)
    most = min(_MOST_TICKS, width // _TICK_CELLS)
    parts = next((part for part in range(most, 1, -1) if seconds % (part * unit) == 0), 1)
    labels = [f"-{_ROUND.sub('', duration(1000 * seconds * (parts - part) // parts))}" for part in range(parts)]
    return [last * part / parts for part in range(parts + 1)], [*labels, "now"]


def _amounts(peak: int, height: int) -> tuple[list[float], list[str]]:
    steps = [0.0, float(peak)] if height < 6 else [0.0, peak / 2, float(peak)]
    width = max(len(si(step)) for step in steps)
    return steps, [f"{si(step):>{width}}" for step in steps]


def _painted(lines: Sequence[str], glyphs: Glyphs) -> tuple[Line, ...]:
    out: list[Line] = []
    drawn = max(1, len(lines) - _UNDER)
    for number, line in enumerate(lines):
        plain = line.translate(_ASCII) if glyphs.ascii_only else line
        found = _BODY.match(line) if number < drawn else None
        if found is None:
            out.append((Span(plain, "muted"),))
            continue
        at = len(found[1])
        out.append((Span(plain[:at], "muted"), Span(plain[at:], f"chart-{number * _SHADES // drawn}")))
    return tuple(out)
