"""Values out of logs: what is no plausible count, sum of money or time is refused, never repaired."""

import math
from datetime import UTC, datetime
from typing import Any

from clawtop.model.errors import Unusable

MOST_TOKENS = 10**12
MOST_DOLLARS = 10**6
_LAST_MOMENT = 32_503_680_000_000  # the year 3000


def tokens(value: object) -> int:
    """A count of tokens: a whole number from 0 to 10^12, None as 0. Raises Unusable for anything else."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable("a token count is no number")
    if not math.isfinite(value) or value != int(value) or not 0 <= value <= MOST_TOKENS:
        raise Unusable("a token count is negative, fractional or huge")
    return int(value)


def micro_dollars(value: object) -> int | None:
    """Dollars as micro-dollars; None for a missing value. Raises Unusable outside 0 to 10^6 dollars."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable("a cost is no number")
    if not math.isfinite(value) or not 0 <= value <= MOST_DOLLARS:
        raise Unusable("a cost is negative or huge")
    return round(value * 1_000_000)


def moment(value: object) -> int | None:
    """Unix milliseconds of an ISO 8601 text (UTC where it has no zone) or of a number of milliseconds.

    None for what is no moment between 1970 and 3000.
    """
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            found = round(at.timestamp() * 1000)
        except (ValueError, OverflowError):
            return None
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        found = int(value)
    else:
        return None
    return found if 0 < found < _LAST_MOMENT else None


def text(value: object, most: int = 300) -> str | None:
    """A non-empty string cut to `most` characters, None for anything else."""
    return value[:most] if isinstance(value, str) and value else None


def table(value: object) -> dict[str, Any]:
    """A JSON object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}
