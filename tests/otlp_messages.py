"""OTLP for tests: the capture of OpenClaw 2026.2.26 as it was sent, and small messages in both encodings."""

import base64
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from clawtop.formats.otlp.records import Signal

FOLDER = Path(__file__).parent / "fixtures" / "otlp"
NOW = 1_795_347_500_000
"""Unix milliseconds soon after the capture's end."""
REQUESTS: Mapping[Signal, type[Message]] = {
    Signal.METRICS: ExportMetricsServiceRequest,
    Signal.TRACES: ExportTraceServiceRequest,
    Signal.LOGS: ExportLogsServiceRequest,
}
Table = dict[str, Any]


class Post(NamedTuple):
    """One body of the capture."""

    path: str
    signal: Signal
    content_type: str
    body: bytes


def capture() -> Iterator[Post]:
    """The bodies in the order they were sent; the gateway restarts in between."""
    with tarfile.open(FOLDER / "openclaw-2026.2.26.tar.xz") as archive:
        index = archive.extractfile("index.jsonl")
        assert index is not None
        for line in index.read().splitlines():
            entry = json.loads(line)
            file = archive.extractfile(entry["file"])
            assert file is not None
            path: str = entry["path"]
            yield Post(path, Signal(path.rpartition("/")[2]), entry["content_type"], file.read())


def truth() -> Table:
    """The totals of the capture."""
    found: Table = json.loads((FOLDER / "truth.json").read_text())
    return found


def pairs(attributes: Mapping[str, object]) -> list[Table]:
    """Attributes as OTLP/JSON writes them."""
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: object) -> Table:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [_value(each) for each in value]}}
        case _:
            return {"stringValue": str(value)}


def metrics(*items: Table, resource: Mapping[str, object] | None = None, scope: str = "") -> Table:
    """A body of metrics."""
    return _body("resourceMetrics", "scopeMetrics", "metrics", items, resource, scope)


def traces(*items: Table, resource: Mapping[str, object] | None = None, scope: str = "") -> Table:
    """A body of spans."""
    return _body("resourceSpans", "scopeSpans", "spans", items, resource, scope)


def logs(*items: Table, resource: Mapping[str, object] | None = None, scope: str = "") -> Table:
    """A body of log records."""
    return _body("resourceLogs", "scopeLogs", "logRecords", items, resource, scope)


def _body(
    outer: str, inner: str, name: str, items: tuple[Table, ...], resource: Mapping[str, object] | None, scope: str
) -> Table:
    of = pairs({"service.name": "app"} if resource is None else resource)
    return {outer: [{"resource": {"attributes": of}, inner: [{"scope": {"name": scope}, name: list(items)}]}]}


def counter(name: str, *points: Table, delta: bool = False, monotonic: bool = True) -> Table:
    """A sum."""
    data = {"dataPoints": list(points), "aggregationTemporality": 1 if delta else 2, "isMonotonic": monotonic}
    return {"name": name, "sum": data}


def histogram(name: str, *points: Table, delta: bool = False) -> Table:
    """A histogram."""
    return {"name": name, "histogram": {"dataPoints": list(points), "aggregationTemporality": 1 if delta else 2}}


def point(value: float, time: int = NOW, start: int = NOW - 60_000, **attributes: object) -> Table:
    """A number's point; times are Unix milliseconds, `__` in a name stands for a dot."""
    return {**_when(time, start), "asDouble": value, "attributes": pairs(_dotted(attributes))}


def seen(total: float, count: int, time: int = NOW, start: int = NOW - 60_000, **attributes: object) -> Table:
    """A histogram's point without buckets."""
    return {**_when(time, start), "sum": total, "count": str(count), "attributes": pairs(_dotted(attributes))}


def _when(time: int, start: int) -> Table:
    return {"timeUnixNano": str(time * 1_000_000), "startTimeUnixNano": str(start * 1_000_000)}


def _dotted(attributes: Mapping[str, object]) -> dict[str, object]:
    return {name.replace("__", "."): value for name, value in attributes.items()}


def span(
    name: str,
    ids: tuple[int, int, int] = (1, 1, 0),
    at: tuple[int, int] = (NOW - 1000, NOW),
    failed: str | None = None,
    **attributes: object,
) -> Table:
    """A span; `ids` are trace, span and parent (0: none), `at` its start and end in Unix milliseconds."""
    trace, own, parent = ids
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{own:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": name,
        "startTimeUnixNano": str(at[0] * 1_000_000),
        "endTimeUnixNano": str(at[1] * 1_000_000),
        "attributes": pairs(_dotted(attributes)),
        "status": {"code": 2, "message": failed} if failed is not None else {},
    }


def log(name: str, at: int = NOW, ids: tuple[int, int] = (0, 0), **attributes: object) -> Table:
    """A log record."""
    trace, own = ids
    return {
        "timeUnixNano": str(at * 1_000_000),
        "body": {"stringValue": name},
        "traceId": f"{trace:032x}" if trace else "",
        "spanId": f"{own:016x}" if own else "",
        "attributes": pairs(_dotted(attributes)),
    }


def in_json(body: Table) -> bytes:
    """A body as OTLP/JSON."""
    return json.dumps(body).encode()


def in_protobuf(signal: Signal, body: Table) -> bytes:
    """The same body as protobuf."""
    return ParseDict(_with_base64_ids(body), REQUESTS[signal]()).SerializeToString()


def _with_base64_ids(value: Any) -> Any:
    """Protobuf's own JSON has ids in base64, OTLP/JSON in hex."""
    if isinstance(value, dict):
        return {
            key: _base64(each) if key.endswith(("traceId", "spanId", "SpanId")) else _with_base64_ids(each)
            for key, each in value.items()
        }
    return [_with_base64_ids(each) for each in value] if isinstance(value, list) else value


def _base64(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()
