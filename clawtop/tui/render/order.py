"""In which order the rows stand, and what the cursor and the tags mean while it changes."""

from collections.abc import Iterable, Mapping

from clawtop.model.snapshot import Row

Group = tuple[str, ...]

RESORT_MS = 2000
"""Rows change places at most this often."""


def arrange(order: Iterable[Group], rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows in the places they had; those that had none follow in their own order."""
    left = {row.group: row for row in rows}
    kept = [left.pop(group) for group in order if group in left]
    return (*kept, *left.values())


def moved(cursor: int | None, step: int, count: int, last: int = 0) -> int | None:
    """Where the cursor goes from row `cursor` (from `last`, if it is on none), None where there are no rows."""
    if count == 0:
        return None
    return max(0, min(count - 1, last if cursor is None else cursor + step))


def aimed(rows: Mapping[Group, Row], cursor: Group | None, tagged: Iterable[Group]) -> tuple[Row, ...]:
    """The rows that a command is about: the tagged ones that are there, else, without any tag, that of the cursor."""
    marked = tuple(tagged)
    if marked:
        return tuple(rows[group] for group in marked if group in rows)
    return (rows[cursor],) if cursor is not None and cursor in rows else ()
