"""The order of rows: by a column, then by dollars an hour, cost and name; what is not known comes last.

A rate without a price is none of that: it stands right above 0, that with most tokens first.
"""

from collections.abc import Callable

from clawtop.model.errors import UsageError
from clawtop.model.selection import ALIASES, NUMBERS, TEXTS
from clawtop.model.snapshot import Row

_NEXT_TO_NOTHING = 1e-30
_FIELDS = (
    "calls_per_min",
    "latency_p50",
    "latency_p95",
    "context_pct",
    "first_at",
    "last_at",
    "projects",
    "agents_running",
)


def _field(name: str) -> Callable[[Row], float | None]:
    return lambda row: getattr(row, name)


def _rate(row: Row) -> float | None:
    """Dollars per hour, in which tokens without a price stand for less than any price does, and for more than 0."""
    if not row.rate_unpriced:
        return row.known_rate
    return row.usd_per_hour + row.tokens_per_min * _NEXT_TO_NOTHING


_NUMBERS: dict[str, Callable[[Row], float | None]] = {
    **NUMBERS,
    **{name: _field(name) for name in _FIELDS},
    "usd_per_hour": _rate,
}

SORTS = frozenset(_NUMBERS) | frozenset(TEXTS) | frozenset(ALIASES)
"""What rows can be sorted by."""


def sort_key(sort: str, *, descending: bool) -> Callable[[Row], tuple[object, ...]]:
    """A key for rows whose ascending order is the one asked for. Raises UsageError for a column there is none of."""
    sort = ALIASES.get(sort, sort)
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
    return -(_rate(row) or 0), -row.cost, row.label.casefold(), row.group
