"""What a Prometheus answers, in the JSON of its HTTP API."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from clawtop.model.errors import Unusable

_LABEL = slice(300)
_LATEST = 253_402_300_799  # the last second of the year 9999
_MOST = 10**15


Points = Sequence[tuple[int, str]]


class Found(NamedTuple):
    """One series of an answer: its labels, and its values as (Unix ms, text), oldest first.

    Where looks are far from each other `least` are the smallest values since the look before, told where a counter
    appeared, and `grown` says by how much it grew since then, where it fell.
    """

    labels: Mapping[str, str]
    points: Points
    least: Points = ()
    grown: Points = ()


class Answer(NamedTuple):
    """What a query found, and how many series of it were not as they should be."""

    found: list[Found]
    unusable: int


def read_series(body: bytes) -> Answer:
    """The series of an answer to a query. Raises Unusable with the Prometheus' own words where it is none."""
    data = _data(body)
    results = data.get("result") if isinstance(data, dict) else None
    if not isinstance(results, list):
        raise Unusable("it has no result")
    found = [one for one in map(_found, results) if one is not None]
    return Answer(found, len(results) - len(found))


def joined(name: str, latest: Sequence[Found], least: Sequence[Found], grown: Sequence[Found]) -> list[Found]:
    """The series of that name, of three answers about it: what was calculated has lost its name."""
    answers = [{tuple(sorted({**one.labels, "__name__": name}.items())): one for one in each}
               for each in (latest, least, grown)]  # fmt: skip
    series = dict.fromkeys(series for answer in answers for series in answer)
    return [Found(dict(one), *(answer[one].points if one in answer else () for answer in answers)) for one in series]


def read_names(body: bytes) -> list[str]:
    """The texts of an answer that is a list of them. Raises Unusable."""
    data = _data(body)
    if not isinstance(data, list):
        raise Unusable("it is no list")
    return [each for each in data if isinstance(each, str)]


def _data(body: bytes) -> object:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unusable("it is no JSON") from None
    if not isinstance(told, dict):
        raise Unusable("it is no object")
    if told.get("status") != "success":
        raise Unusable(f"{told.get('errorType', 'no success')}: {told.get('error', '')}")
    return told.get("data")


def _found(result: object) -> Found | None:
    if not isinstance(result, dict) or not isinstance(result.get("metric"), dict):
        return None
    labels, points = result["metric"], result.get("values", [result.get("value")])
    try:
        taken = [(_moment(at), text) for at, text in points]
        known = {name: str.__getitem__(value, _LABEL) for name, value in labels.items()}
    except (TypeError, ValueError, OverflowError):
        return None
    return Found(known, taken)


def _moment(at: object) -> int:
    """Unix milliseconds. A text would be repeated a thousand times where a number is multiplied."""
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at <= _LATEST:
        raise ValueError
    return round(at * 1000)


def number(text: str) -> float:
    """What a value says, from 0 to 10^15. Raises Unusable for anything else, before anybody calculates with it."""
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        raise Unusable("a value is no number") from None
    if not math.isfinite(value):
        raise Unusable("a value is no number")
    if not 0 <= value <= _MOST:
        raise Unusable("a value is negative or huge")
    return value
