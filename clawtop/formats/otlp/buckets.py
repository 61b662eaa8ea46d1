"""How many values of a histogram lay about where."""

from collections.abc import Sequence

from clawtop.formats.otlp.records import MAX_BUCKETS


def explicit(bounds: Sequence[float], counts: Sequence[int]) -> tuple[tuple[float, int], ...]:
    """(middle, how many) of each bucket that has some; the last one, which has no end, counts at its beginning."""
    if not bounds or len(counts) != len(bounds) + 1:
        return ()
    edges = [min(0.0, bounds[0]), *bounds, bounds[-1]]
    return tuple(
        ((edges[number] + edges[number + 1]) / 2, count) for number, count in enumerate(counts[:MAX_BUCKETS]) if count
    )


def exponential(scale: int, offset: int, counts: Sequence[int], zeros: int) -> tuple[tuple[float, int], ...]:
    """(middle, how many) of each bucket of positive values that has some, and of the zeros."""
    if not -10 <= scale <= 20:
        return ()
    base = 2.0 ** (2.0**-scale)
    found = [(0.0, zeros)] if zeros else []
    for number, count in enumerate(counts[:MAX_BUCKETS]):
        if count:
            power = (offset + number + 0.5) * 2.0**-scale
            if -1000 < power < 1000:
                found.append((base ** (offset + number + 0.5), count))
    return tuple(found)
