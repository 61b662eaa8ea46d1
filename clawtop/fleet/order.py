"""The order of rows: by a column, then by dollars an hour, cost and name; what is not known comes last."""

from collections.abc import Callable

from clawtop.model.errors import UsageError
from clawtop.model.selection import NUMBERS, TEXTS
from clawtop.model.snapshot import Basis, Row

_FIELDS = (
    "calls_per_min",
    "latency_p50",
    "latency_p95",
    "context_pct",
    "first_at",
    "last_at",
    "projects",
    "agents",
    "agents_running",
)


def _field(name: str) -> Callable[[Row], float | None]:
    return lambda row: getattr(row, name)


def _cost(row: Row) -> float | None:
    return None if row.basis is Basis.UNKNOWN else float(row.cost)


_NUMBERS: dict[str, Callable[[Row], float | None]] = {
    **NUMBERS,
    **{name: _field(name) for name in _FIELDS},
    "cost": _cost,
}

SORTS = frozenset(_NUMBERS) | frozenset(TEXTS)
"""What rows can be sorted by."""


def sort_key(sort: str, *, descending: bool) -> Callable[[Row], tuple[object, ...]]:
    """A key for rows whose ascending order is the one asked for. Raises UsageError for a column there is none of."""
    if sort in TEXTS:
        text = TEXTS[sort]
        return lambda row: (*_by_text(text(row), descending=descending), *_ties(row))
    if sort not in _NUMBERS:
        raise UsageError(f"sort: {sort!r} is no column; one of {', '.join(sorted(SORTS))}")
    number, sign = _NUMBERS[sort], -1 if descending else 1

    def key(row: Row) -> tuple[object, ...]:
        value = number(row)
        return (value is None, sign * (value or 0), *_ties(row))

    return key


def _by_text(text: str, *, descending: bool) -> tuple[bool, object]:
    folded = text.casefold()
    return not folded, (*(-ord(char) for char in folded), 1) if descending else folded


def _ties(row: Row) -> tuple[object, ...]:
    return -row.usd_per_hour, -row.cost, row.label.casefold(), row.group
