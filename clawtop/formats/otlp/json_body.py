"""OTLP bodies in JSON -> records: ids are hex, whole numbers may be texts, unknown fields are passed over.

What cannot be read is left out and counted, the rest of the body is kept.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from clawtop.formats.lines import json_object
from clawtop.formats.otlp.buckets import explicit, exponential
from clawtop.formats.otlp.records import (
    MAX_ATTRIBUTES,
    MAX_LIST,
    MAX_PARTS,
    MAX_TEXT,
    Attributes,
    Kind,
    Log,
    Metric,
    Point,
    Record,
    Scope,
    Signal,
    Span,
    Temporality,
    Value,
)
from clawtop.formats.quantities import table
from clawtop.model.errors import Unusable

Table = dict[str, Any]

_LATEST = 2**63
_NO_VALUE = 1
_KINDS = {
    "sum": Kind.SUM,
    "gauge": Kind.GAUGE,
    "histogram": Kind.HISTOGRAM,
    "exponentialHistogram": Kind.HISTOGRAM,
}
_TEMPORALITIES = {
    1: Temporality.DELTA,
    2: Temporality.CUMULATIVE,
    "AGGREGATION_TEMPORALITY_DELTA": Temporality.DELTA,
    "AGGREGATION_TEMPORALITY_CUMULATIVE": Temporality.CUMULATIVE,
}
_FAILED = (2, "STATUS_CODE_ERROR")
_LISTS = {
    Signal.METRICS: ("resourceMetrics", "scopeMetrics", "metrics"),
    Signal.TRACES: ("resourceSpans", "scopeSpans", "spans"),
    Signal.LOGS: ("resourceLogs", "scopeLogs", "logRecords"),
}
_MOST_BRACKETS = 2 * MAX_PARTS
_NOT_AS_OTLP = "not as OTLP/JSON has it"


def signal_of(message: Table) -> Signal:
    """What a body holds, by the list it has. Raises Unusable where it has none of them."""
    for signal, (outer, _, _) in _LISTS.items():
        if outer in message:
            return signal
    raise Unusable("neither metrics nor traces nor logs")


def decode(signal: Signal, message: Table, skipped: Counter[str]) -> Iterator[tuple[Scope, Record]]:
    """The records of a parsed body, one by one. Raises Unusable at once where it has too many parts."""
    outer, inner, items = _LISTS[signal]
    resources = list(_tables(message.get(outer), Counter()))
    parts = [part for each in resources for part in _tables(each.get(inner), Counter())]
    if len(resources) + len(parts) + sum(len(_sequence(part.get(items))) for part in parts) > MAX_PARTS:
        raise Unusable("too many parts in one body")
    return _records(signal, message, skipped)


def parsed(body: bytes) -> Table:
    """The object of a body. Raises Unusable where it is none, or one of so many parts that it would take a GB."""
    if body.count(b"{") + body.count(b"[") > _MOST_BRACKETS:
        raise Unusable("too many parts in one body")
    return json_object(body)


def _records(signal: Signal, message: Table, skipped: Counter[str]) -> Iterator[tuple[Scope, Record]]:
    outer, inner, items = _LISTS[signal]
    readers: dict[Signal, Callable[[Table, Counter[str]], Iterator[Record]]]
    readers = {Signal.METRICS: _metric, Signal.TRACES: _span, Signal.LOGS: _log}
    read = readers[signal]
    for each in _tables(message.get(outer), skipped):
        resource = _attributes(table(each.get("resource")).get("attributes"))
        for part in _tables(each.get(inner), skipped):
            scope = Scope(resource, _text(table(part.get("scope")).get("name")))
            for item in _tables(part.get(items), skipped):
                try:
                    for record in read(item, skipped):
                        yield scope, record
                except Unusable as reason:
                    skipped[str(reason)] += 1


def _metric(item: Table, skipped: Counter[str]) -> Iterator[Metric]:
    name = next((name for name in _KINDS if isinstance(item.get(name), dict)), None)
    if name is None:
        return iter(())
    data = item[name]
    temporality = data.get("aggregationTemporality")
    return Metric(
        _text(item.get("name")),
        _text(item.get("unit")),
        _KINDS[name],
        _TEMPORALITIES.get(temporality, Temporality.UNSPECIFIED)
        if isinstance(temporality, int | str)
        else Temporality.UNSPECIFIED,
        data.get("isMonotonic") is True,
    ).in_parts(_points(data, _POINTS[name], skipped))


def _points(data: Table, read: Callable[[Table], Point], skipped: Counter[str]) -> Iterator[Point]:
    for point in _tables(data.get("dataPoints"), skipped):
        try:
            if not _whole(point.get("flags")) & _NO_VALUE:
                yield read(point)
        except Unusable as reason:
            skipped[str(reason)] += 1


def _number_point(point: Table) -> Point:
    if "asInt" in point:
        value: float | None = float(_integer(point["asInt"]))
    else:
        value = _float(point.get("asDouble"))
    return Point(
        _attributes(point.get("attributes")),
        _whole(point.get("startTimeUnixNano")),
        _whole(point.get("timeUnixNano")),
        value,
    )


def _histogram_point(point: Table) -> Point:
    bounds = [_float(each) or 0.0 for each in _sequence(point.get("explicitBounds"))]
    return Point(
        _attributes(point.get("attributes")),
        _whole(point.get("startTimeUnixNano")),
        _whole(point.get("timeUnixNano")),
        _float(point.get("sum")),
        _whole(point.get("count")),
        explicit(bounds, [_whole(each) for each in _sequence(point.get("bucketCounts"))]),
    )


def _exponential_point(point: Table) -> Point:
    positive = table(point.get("positive"))
    counts = [_whole(each) for each in _sequence(positive.get("bucketCounts"))]
    return Point(
        _attributes(point.get("attributes")),
        _whole(point.get("startTimeUnixNano")),
        _whole(point.get("timeUnixNano")),
        _float(point.get("sum")),
        _whole(point.get("count")),
        exponential(
            _integer(point.get("scale", 0)),
            _integer(positive.get("offset", 0)),
            counts,
            _whole(point.get("zeroCount")),
        ),
    )


_POINTS: dict[str, Callable[[Table], Point]] = {
    "sum": _number_point,
    "gauge": _number_point,
    "histogram": _histogram_point,
    "exponentialHistogram": _exponential_point,
}


def _span(item: Table, _: Counter[str]) -> Iterator[Span]:
    status = table(item.get("status"))
    yield Span(
        _hex(item.get("traceId"), 32),
        _hex(item.get("spanId"), 16),
        _hex(item.get("parentSpanId"), 16),
        _text(item.get("name")),
        _whole(item.get("startTimeUnixNano")),
        _whole(item.get("endTimeUnixNano")),
        _attributes(item.get("attributes")),
        status.get("code") in _FAILED,
        _text(status.get("message")),
    )


def _log(item: Table, _: Counter[str]) -> Iterator[Log]:
    attributes = _attributes(item.get("attributes"))
    named = item.get("eventName") or attributes.get("event.name") or table(item.get("body")).get("stringValue")
    yield Log(
        _whole(item.get("timeUnixNano")) or _whole(item.get("observedTimeUnixNano")),
        _text(named),
        attributes,
        _hex(item.get("traceId"), 32),
        _hex(item.get("spanId"), 16),
    )


def _attributes(pairs: object) -> Attributes:
    found: dict[str, Value] = {}
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, dict) and isinstance(pair.get("key"), str) and len(found) < MAX_ATTRIBUTES:
            value = _value(pair.get("value"))
            if value is not None:
                found[pair["key"][:MAX_TEXT]] = value
    return found


def _value(value: object) -> Value | None:
    """The one of its kinds that a value has and that is kept, None for others."""
    told = table(value)
    text, flag = told.get("stringValue"), told.get("boolValue")
    if isinstance(text, str):
        return text[:MAX_TEXT]
    if isinstance(flag, bool):
        return flag
    if "intValue" in told:
        return _integer(told["intValue"])
    if "arrayValue" in told:
        values = _sequence(table(told["arrayValue"]).get("values"))[:MAX_LIST]
        texts = [_text(table(each).get("stringValue")) for each in values]
        return tuple(text for text in texts if text)
    return _float(told.get("doubleValue"))


def _tables(value: object, skipped: Counter[str]) -> Iterator[Table]:
    if value is None:
        return
    if not isinstance(value, list):
        skipped[_NOT_AS_OTLP] += 1
        return
    for each in value:
        if isinstance(each, dict):
            yield each
        else:
            skipped[_NOT_AS_OTLP] += 1


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _text(value: object) -> str:
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _hex(value: object, most: int) -> str:
    if value is None or value == "":
        return ""
    try:
        return bytes.fromhex(value).hex()[:most] if isinstance(value, str) else _refused()
    except ValueError:
        return _refused()


def _refused() -> str:
    raise Unusable("an id is no hex")


def _integer(value: object) -> int:
    """A whole number, which JSON may hold as a text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        if isinstance(value, str) and len(value) <= 20:
            return int(value)
    except ValueError:
        pass
    raise Unusable(_NOT_AS_OTLP)


def _whole(value: object) -> int:
    """A whole number from 0 to 2^63, None as 0."""
    number = 0 if value is None else _integer(value)
    if not 0 <= number < _LATEST:
        raise Unusable(_NOT_AS_OTLP)
    return number


def _float(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        if isinstance(value, str) and len(value) <= 40:
            return float(value)
    except ValueError:
        pass
    raise Unusable(_NOT_AS_OTLP)
