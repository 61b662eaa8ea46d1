"""The fields of a tagged record, checked: each function gives a sound value or says why there is none."""

import json
import math
from datetime import UTC, datetime, timedelta

from clawtop.formats import quantities
from clawtop.formats.lines import json_object, without_half_pairs
from clawtop.model.errors import Unusable
from clawtop.model.events import Tokens

_MOST = 10**12
_MOST_TOOLS = 1000
_ERROR_TEXT = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = 4_102_444_800_000  # the year 2100
_SECONDS_BELOW = 10**11  # as seconds the year 5138, as milliseconds 1973
_BOM = b"\xef\xbb\xbf"
_NO_NUMBERS = (b"NaN", b"Infinity")
_LONGEST_WHOLE = 19  # digits, more may not fit into 64 bits

_FAILED = frozenset({"error", "errored", "fail", "failed", "failure", "overloaded", "rate_limit", "rate_limited"})
_FAILED_IN_TIME = frozenset({"timeout", "timed_out", "timedout"})
_ABORTED = frozenset({"abort", "aborted", "cancelled", "canceled", "interrupted", "killed"})

Fields = dict[str, object]


def decoded(line: bytes) -> Fields:
    """The object on a line. Raises Unusable where it is none."""
    # a log that was truncated under a writer without O_APPEND goes on behind a hole of NULs
    written = line.lstrip(b"\0").removeprefix(_BOM)
    try:
        return json_object(written)
    except Unusable:
        if not any(word in written for word in _NO_NUMBERS):
            raise
    return _with_no_numbers(written)


def _with_no_numbers(written: bytes) -> Fields:
    """The object on a line that Python wrote: it gives NaN and Infinity, which JSON does not have."""
    try:
        found = json.loads(without_half_pairs(written).decode(), parse_int=_whole)
    except (ValueError, RecursionError):
        raise Unusable("not JSON") from None
    if not isinstance(found, dict):
        raise Unusable("no JSON object")
    return found


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < _LONGEST_WHOLE else float(digits)


def text(record: Fields, name: str) -> str | None:
    """A name or an id; numbers are taken as they are written, anything else is none."""
    value = record.get(name)
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if type(value) is int else None


def moment(record: Fields) -> int:
    """Unix milliseconds of `timestamp`: ISO 8601 (UTC where it names no zone), Unix seconds or milliseconds.

    Raises Unusable where it is missing or cannot be right.
    """
    value = record.get("timestamp")
    if value is None:
        raise Unusable("no timestamp")
    at = _written(value.strip()) if isinstance(value, str) else _counted(value)
    if at is None or not 0 < at < _LATEST:
        raise Unusable("timestamp out of range")
    return at


def _written(value: str) -> int | None:
    try:
        if value.isascii() and value.replace(".", "", 1).isdigit() and len(value) >= 10:
            return _counted(float(value))
        when = datetime.fromisoformat(value)
        return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None


def _counted(value: object) -> int | None:
    number = _number(value)
    if number is None or number < -_SECONDS_BELOW:
        return None
    return round(number * 1000) if number < _SECONDS_BELOW else round(number)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def tokens(record: Fields) -> Tokens:
    """The buckets of `usage`, whose prompt_tokens include cached_tokens. Raises Unusable where they are unsound."""
    usage = record.get("usage")
    if not isinstance(usage, dict) or (usage.get("prompt_tokens") is None and usage.get("completion_tokens") is None):
        raise Unusable("no usage")
    prompt, completion = (
        quantities.tokens(usage.get("prompt_tokens")),
        quantities.tokens(usage.get("completion_tokens")),
    )
    cached = quantities.tokens(usage.get("cached_tokens"))
    return Tokens(max(0, prompt - cached), completion, cached)


def dollars(record: Fields, name: str) -> int | None:
    """A sum of money in micro-dollars, None where none is said. Raises Unusable where it cannot be right."""
    return quantities.micro_dollars(record.get(name))


def count(record: Fields, name: str) -> int | None:
    """A whole number, None where none is said. Raises Unusable where it cannot be right."""
    number = _within_reason(record, name)
    if number is None:
        return None
    if number != int(number):
        raise Unusable(f"{name} out of range")
    return int(number)


def milliseconds(record: Fields, name: str) -> int | None:
    """A length of time, rounded, None where none is said. Raises Unusable where it cannot be right."""
    number = _within_reason(record, name)
    return None if number is None else round(number)


def _within_reason(record: Fields, name: str) -> float | None:
    value = record.get(name)
    if value is None:
        return None
    number = _number(value)
    if number is None or not 0 <= number <= _MOST:
        raise Unusable(f"{name} out of range")
    return number


def tools(record: Fields, name: str) -> list[str]:
    """The tools a model asked for, `?` for those not named: from a number, names, or a provider's own objects.

    Raises Unusable where it is none of these or over 1000.
    """
    value = record.get(name)
    if isinstance(value, list):
        asked = [_tool(item) for item in value[: _MOST_TOOLS + 1]]
    else:
        asked = ["?"] * min(count(record, name) or 0, _MOST_TOOLS + 1)
    if len(asked) > _MOST_TOOLS:
        raise Unusable(f"{name} out of range")
    return asked


def _tool(item: object) -> str:
    if isinstance(item, str):
        return item or "?"
    if not isinstance(item, dict):
        return "?"
    function = item.get("function")
    return (text(function, "name") if isinstance(function, dict) else text(item, "name")) or "?"


def failure(record: Fields) -> str | None:
    """What went wrong where the attempt failed, by `error` or else by `status`; None where it did not fail."""
    error = record.get("error")
    if isinstance(error, float) and math.isnan(error):
        error = None  # how a table of data says that a field is empty
    if isinstance(error, dict) and error:
        error = next((error[name] for name in ("message", "type", "code") if error.get(name)), "error")
    if error:
        return "error" if error is True else str(error)[:_ERROR_TEXT]
    status = _status(record)
    if status in _FAILED or status in _FAILED_IN_TIME or (len(status) == 3 and "400" <= status <= "599"):
        return status
    return None


def aborted(record: Fields) -> bool:
    """Whether the attempt was cut off on purpose."""
    return _status(record) in _ABORTED


def _status(record: Fields) -> str:
    return (text(record, "status") or "").casefold()[:20]
