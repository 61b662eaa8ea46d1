"""OTLP bodies in protobuf -> records."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

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
from clawtop.model.errors import Unusable

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as LogMessage
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as MetricMessage
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

_NO_VALUE = 1
"""The flag of a point that only says that its series is gone."""
_FAILED = 2
_EMPTY = b"\n\0"
"""A resource, a scope's part or an item (field 1) without anything in it."""
_LISTS = {
    Signal.METRICS: ("resource_metrics", "scope_metrics", "metrics"),
    Signal.TRACES: ("resource_spans", "scope_spans", "spans"),
    Signal.LOGS: ("resource_logs", "scope_logs", "log_records"),
}


def decode(signal: Signal, body: bytes) -> Iterator[tuple[Scope, Record]]:
    """The records of a body, one by one. Raises Unusable at once where it is no such message, or has too many parts."""
    if body.count(_EMPTY) > MAX_PARTS:
        raise Unusable("too many parts in one body")
    message = _parsed(signal, body)
    _refuse_too_many(signal, message)
    match signal:
        case Signal.METRICS:
            return _metrics(message)
        case Signal.TRACES:
            return _spans(message)
        case Signal.LOGS:
            return _logs(message)


def _refuse_too_many(signal: Signal, message: Any) -> None:
    """What has nothing to tell is passed over without a pause, so there may not be too much of it."""
    outer, inner, items = _LISTS[signal]
    count = len(getattr(message, outer))
    for each in getattr(message, outer):
        if count > MAX_PARTS:
            raise Unusable("too many parts in one body")
        parts = getattr(each, inner)
        count += len(parts) + sum(len(getattr(part, items)) for part in parts)
    if count > MAX_PARTS:
        raise Unusable("too many parts in one body")


def _parsed(signal: Signal, body: bytes) -> Any:
    # protobuf loads threads, which the core must not where nothing is decoded
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    message = _request(signal)
    try:
        message.ParseFromString(body)
    except (DecodeError, RecursionError):
        raise Unusable("no protobuf") from None
    return message


def _request(signal: Signal) -> "Message":
    match signal:
        case Signal.METRICS:
            from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (  # noqa: PLC0415
                ExportMetricsServiceRequest,
            )

            return ExportMetricsServiceRequest()
        case Signal.TRACES:
            from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
                ExportTraceServiceRequest,
            )

            return ExportTraceServiceRequest()
        case Signal.LOGS:
            from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (  # noqa: PLC0415
                ExportLogsServiceRequest,
            )

            return ExportLogsServiceRequest()


def _metrics(message: Any) -> Iterator[tuple[Scope, Record]]:
    for each in message.resource_metrics:
        resource = _attributes(each.resource.attributes)
        for part in each.scope_metrics:
            scope = Scope(resource, part.scope.name[:MAX_TEXT])
            for metric in part.metrics:
                for found in _metric(metric):
                    yield scope, found


def _metric(metric: "MetricMessage") -> Iterator[Metric]:
    points: Iterator[Point]
    kind, temporality, monotonic = Kind.GAUGE, Temporality.UNSPECIFIED, False
    match metric.WhichOneof("data"):
        case "sum":
            kind, monotonic = Kind.SUM, metric.sum.is_monotonic
            temporality, points = _temporality(metric.sum.aggregation_temporality), _numbers(metric.sum.data_points)
        case "gauge":
            points = _numbers(metric.gauge.data_points)
        case "histogram":
            kind, temporality = Kind.HISTOGRAM, _temporality(metric.histogram.aggregation_temporality)
            points = _histograms(metric.histogram.data_points)
        case "exponential_histogram":
            kind = Kind.HISTOGRAM
            temporality = _temporality(metric.exponential_histogram.aggregation_temporality)
            points = _exponential(metric.exponential_histogram.data_points)
        case _:
            return iter(())
    return Metric(metric.name[:MAX_TEXT], metric.unit[:MAX_TEXT], kind, temporality, monotonic).in_parts(points)


def _temporality(number: int) -> Temporality:
    return Temporality(number) if number in (1, 2) else Temporality.UNSPECIFIED


def _numbers(points: Iterable[Any]) -> Iterator[Point]:
    for point in points:
        if not point.flags & _NO_VALUE:
            which = point.WhichOneof("value")
            value = None if which is None else float(getattr(point, which))
            yield Point(_attributes(point.attributes), point.start_time_unix_nano, point.time_unix_nano, value)


def _histograms(points: Iterable[Any]) -> Iterator[Point]:
    for point in points:
        if not point.flags & _NO_VALUE:
            yield Point(
                _attributes(point.attributes),
                point.start_time_unix_nano,
                point.time_unix_nano,
                point.sum if point.HasField("sum") else None,
                point.count,
                explicit(point.explicit_bounds, point.bucket_counts),
            )


def _exponential(points: Iterable[Any]) -> Iterator[Point]:
    for point in points:
        if not point.flags & _NO_VALUE:
            positive = point.positive
            yield Point(
                _attributes(point.attributes),
                point.start_time_unix_nano,
                point.time_unix_nano,
                point.sum if point.HasField("sum") else None,
                point.count,
                exponential(point.scale, positive.offset, positive.bucket_counts, point.zero_count),
            )


def _spans(message: Any) -> Iterator[tuple[Scope, Record]]:
    for each in message.resource_spans:
        resource = _attributes(each.resource.attributes)
        for part in each.scope_spans:
            scope = Scope(resource, part.scope.name[:MAX_TEXT])
            for span in part.spans:
                yield scope, _span(span)


def _span(span: "SpanMessage") -> Span:
    return Span(
        span.trace_id.hex()[:32],
        span.span_id.hex()[:16],
        span.parent_span_id.hex()[:16],
        span.name[:MAX_TEXT],
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _attributes(span.attributes),
        span.status.code == _FAILED,
        span.status.message[:MAX_TEXT],
    )


def _logs(message: Any) -> Iterator[tuple[Scope, Record]]:
    for each in message.resource_logs:
        resource = _attributes(each.resource.attributes)
        for part in each.scope_logs:
            scope = Scope(resource, part.scope.name[:MAX_TEXT])
            for log in part.log_records:
                yield scope, _log(log)


def _log(log: "LogMessage") -> Log:
    attributes = _attributes(log.attributes)
    named = log.event_name or attributes.get("event.name") or log.body.string_value
    return Log(
        log.time_unix_nano or log.observed_time_unix_nano,
        named[:MAX_TEXT] if isinstance(named, str) else "",
        attributes,
        log.trace_id.hex()[:32],
        log.span_id.hex()[:16],
    )


def _attributes(pairs: "Iterable[KeyValue]") -> Attributes:
    found: dict[str, Value] = {}
    for pair in pairs:
        value = _value(pair.value)
        if value is not None and len(found) < MAX_ATTRIBUTES:
            found[pair.key[:MAX_TEXT]] = value
    return found


def _value(value: "AnyValue") -> Value | None:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value[:MAX_TEXT]
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "bool_value":
            return value.bool_value
        case "array_value":
            texts = [each.string_value[:MAX_TEXT] for each in value.array_value.values[:MAX_LIST]]
            return tuple(text for text in texts if text)
    return None
