"""Sparklines, bars and charts as text."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from clawtop.tui.render.glyphs import Glyphs


def resample(values: Sequence[float], count: int) -> tuple[float, ...]:
    """`values` as `count` averages over equal parts of them, oldest first; none where there are none.

    An average, not a sum: the height of a curve then means the same at any width.
    """
    if not values or count <= 0:
        return ()
    step = len(values) / count
    sums = (*accumulate(values, initial=0.0),)
    ends = [number * step for number in range(count)]
    below = [sums[int(end)] + (end - int(end)) * values[int(end)] for end in ends]
    below.append(sums[-1])
    return tuple([max(0.0, later - earlier) / step for earlier, later in pairwise(below)])


def sparkline(values: Sequence[float], width: int, glyphs: Glyphs) -> str:
    """The curve of `values` in `width` cells, scaled to its own peak; blank where there was nothing."""
    points = resample(values, width)
    peak = max(points, default=0)
    if peak <= 0:
        return " " * width
    top = len(glyphs.levels) - 1
    scale, levels = top / peak, glyphs.levels
    return "".join([" " if point <= 0 else levels[round(point * scale)] for point in points])


def bar(share: float, width: int, glyphs: Glyphs) -> str:
    """`share` (0 to 1) of `width` cells filled, to an eighth of a cell; what is above 0 shows as something."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    if eighths == 0:
        return (glyphs.eighths[0] if share > 0 else "").ljust(width)
    full, rest = divmod(eighths, 8)
    return (glyphs.eighths[7] * full + (glyphs.eighths[rest - 1] if rest else "")).ljust(width)


def area(values: Sequence[float], width: int, height: int, glyphs: Glyphs) -> tuple[str, ...]:
    """A filled chart of `values`, `width` by `height` cells, the top line first, scaled to its own peak."""
    steps = len(glyphs.levels)
    points = resample(values, width)
    peak = max(points, default=0)
    tops = [_top(point, peak, height * steps) for point in points] or [0] * width
    return tuple(
        "".join(" " if top <= floor else glyphs.levels[min(top - floor, steps) - 1] for top in tops)
        for floor in range((height - 1) * steps, -1, -steps)
    )


def _top(point: float, peak: float, most: int) -> int:
    return 0 if peak <= 0 or point <= 0 else max(1, round(point / peak * most))
