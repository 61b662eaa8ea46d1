"""OTLP bodies -> records: both encodings say the same, and nothing that is sent breaks more than itself."""

import base64
import contextlib
import json
from collections import Counter
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from clawtop.formats.lines import json_object
from clawtop.formats.otlp import json_body, protobuf
from clawtop.formats.otlp.records import (
    MAX_ATTRIBUTES,
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
)
from clawtop.model.errors import Unusable
from tests.otlp_messages import (
    NOW,
    REQUESTS,
    Table,
    capture,
    counter,
    histogram,
    in_protobuf,
    log,
    logs,
    metrics,
    pairs,
    point,
    seen,
    span,
    traces,
)

MS = 1_000_000


def from_json(signal: Signal, body: Table | bytes) -> list[tuple[Scope, Record]]:
    skipped: Counter[str] = Counter()
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = list(json_body.decode(signal, json_object(raw), skipped))
    assert not skipped
    return found


def both(signal: Signal, body: Table) -> Any:
    """The one record of a body, which is the same in both encodings."""
    ((scope, record),) = from_json(signal, body)
    assert [(scope, record)] == list(protobuf.decode(signal, in_protobuf(signal, body)))
    return record


def test_a_sum() -> None:
    record = both(Signal.METRICS, metrics(counter("n", point(2.5, a__b="x", whole=3, yes=True, many=["p", "q"]))))
    attributes: Attributes = {"a.b": "x", "whole": 3, "yes": True, "many": ("p", "q")}
    expected = Point(attributes, (NOW - 60_000) * MS, NOW * MS, 2.5)
    assert record == Metric("n", "", Kind.SUM, Temporality.CUMULATIVE, True, (expected,))


def test_a_whole_number_a_gauge_and_a_delta() -> None:
    whole = {**point(0), "asInt": "9007199254740993"}
    del whole["asDouble"]
    assert both(Signal.METRICS, metrics(counter("n", whole, delta=True))).points[0].value == 9007199254740993.0
    gauge = both(Signal.METRICS, metrics({"name": "g", "gauge": {"dataPoints": [point(1)]}}))
    assert (gauge.kind, gauge.temporality) == (Kind.GAUGE, Temporality.UNSPECIFIED)


def test_a_histogram_and_where_its_values_lay() -> None:
    data = {**seen(700, 4), "explicitBounds": [100, 200], "bucketCounts": ["1", "2", "1"]}
    (found,) = both(Signal.METRICS, metrics(histogram("h", data, delta=True))).points
    assert (found.value, found.count, found.buckets) == (700, 4, ((50, 1), (150, 2), (200, 1)))


def test_an_exponential_histogram_counts_around_the_values_it_saw() -> None:
    data = {**seen(900, 4), "scale": 1, "zeroCount": "1", "positive": {"offset": 12, "bucketCounts": ["1", "0", "2"]}}
    body = metrics({"name": "e", "exponentialHistogram": {"dataPoints": [data], "aggregationTemporality": 2}})
    (found,) = both(Signal.METRICS, body).points
    (zero, zeros), (low, one), (high, two) = found.buckets
    assert (zero, zeros, one, two) == (0, 1, 1, 2)
    assert 64 < low < 64 * 2**0.5
    assert 128 < high < 128 * 2**0.5


def test_a_span_and_a_log() -> None:
    record = both(Signal.TRACES, traces(span("chat x", (7, 8, 9), failed="boom", model="m")))
    expected = Span(
        f"{7:032x}", f"{8:016x}", f"{9:016x}", "chat x", (NOW - 1000) * MS, NOW * MS, {"model": "m"}, True, "boom"
    )
    assert record == expected
    record = both(Signal.LOGS, logs(log("api_request", ids=(7, 8), cost_usd=0.5)))
    assert record == Log(NOW * MS, "api_request", {"cost_usd": 0.5}, f"{7:032x}", f"{8:016x}")
    named = log("words", event__name="from.attribute")
    assert both(Signal.LOGS, logs(named)).name == "from.attribute"
    assert both(Signal.LOGS, logs({**named, "eventName": "own"})).name == "own"


def test_the_capture_is_the_same_in_both_encodings() -> None:
    kinds: Counter[str] = Counter()
    for post in capture():
        message = REQUESTS[post.signal]()
        message.ParseFromString(post.body)
        mine = list(protobuf.decode(post.signal, post.body))
        assert mine == from_json(post.signal, _hex_ids(MessageToDict(message)))
        kinds.update(type(record).__name__ for _, record in mine)
    assert kinds == {"Metric": 330, "Span": 32}


def _hex_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: base64.b64decode(each).hex() if key in ("traceId", "spanId", "parentSpanId") else _hex_ids(each)
            for key, each in value.items()
        }
    return [_hex_ids(each) for each in value] if isinstance(value, list) else value


def test_a_point_without_a_value_is_none() -> None:
    body = metrics(counter("n", {**point(1), "flags": 1}, point(2)))
    assert [each.value for each in both(Signal.METRICS, body).points] == [2]


def test_large_texts_and_many_attributes_are_cut() -> None:
    large = span("n" * 10**6, big="x" * 10**6)
    large["attributes"] += pairs({f"a{number}": "x" for number in range(MAX_ATTRIBUTES + 50)})
    record = both(Signal.TRACES, traces(large))
    assert len(record.name) == len(record.attributes["big"]) == MAX_TEXT
    assert len(record.attributes) == MAX_ATTRIBUTES


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"not protobuf", b"\n" * 4000, b"\x0a\x05abc"])
def test_what_is_no_protobuf_is_refused(body: bytes) -> None:
    with pytest.raises(Unusable, match="no protobuf"):
        protobuf.decode(Signal.METRICS, body)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"<html>", b"[" * 5000])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Unusable, match="JSON"):
        json_object(body)


def test_one_bad_item_costs_only_itself() -> None:
    good = span("chat m")
    bad: list[Any] = [{**good, "traceId": "zz"}, {**good, "endTimeUnixNano": "soon"}, "text", None]
    skipped: Counter[str] = Counter()
    found = list(json_body.decode(Signal.TRACES, traces(good, *bad), skipped))
    assert len(found) == 1
    assert skipped == {"an id is no hex": 1, "not as OTLP/JSON has it": 3}


def test_one_bad_point_costs_only_itself() -> None:
    skipped: Counter[str] = Counter()
    body = metrics(counter("n", {**point(1), "asDouble": "many"}, point(2)), {"name": "empty"})
    ((_, record),) = json_body.decode(Signal.METRICS, body, skipped)
    assert isinstance(record, Metric)
    assert [each.value for each in record.points] == [2]
    assert skipped == {"not as OTLP/JSON has it": 1}


def test_a_body_says_what_it_holds() -> None:
    assert [json_body.signal_of(body) for body in (metrics(), traces(), logs())] == [*Signal]
    with pytest.raises(Unusable, match="neither metrics"):
        json_body.signal_of({})


@pytest.mark.parametrize("signal", Signal)
def test_a_body_of_too_many_empty_parts_is_refused_before_they_take_memory(signal: Signal) -> None:
    empty = b"\n\0" * (MAX_PARTS + 1)
    nested = b"\n" + _varint(len(empty) // 2 * 2) + b"\x12\0" * (len(empty) // 2)
    for body in (empty, nested):
        with pytest.raises(Unusable, match="too many parts"):
            protobuf.decode(signal, body)
    outer = {Signal.METRICS: "resourceMetrics", Signal.TRACES: "resourceSpans", Signal.LOGS: "resourceLogs"}[signal]
    body = b'{"%s":[%s]}' % (outer.encode(), b",".join([b"{}"] * (MAX_PARTS + 1)))
    with pytest.raises(Unusable, match="too many parts"):
        json_body.decode(signal, json_body.parsed(body), Counter())
    with pytest.raises(Unusable, match="too many parts"):
        json_body.parsed(b"[" * (2 * MAX_PARTS + 1))


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes((number & 127 | 128,))
        number >>= 7
    return out + bytes((number,))


@given(body=st.binary(max_size=200), signal=st.sampled_from(Signal))
def test_garbage_is_refused_or_read_and_nothing_else(body: bytes, signal: Signal) -> None:
    for decode in (protobuf.decode, _decode_json):
        with contextlib.suppress(Unusable):
            assert all(isinstance(record, Metric | Span | Log) for _, record in decode(signal, body))


def _decode_json(signal: Signal, body: bytes) -> Any:
    return json_body.decode(signal, json_object(body), Counter())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(data=st.data())
def test_any_json_in_any_place_is_counted_at_most(data: st.DataObject) -> None:
    signal = data.draw(st.sampled_from(Signal))
    body = {
        Signal.METRICS: metrics(histogram("h", {**seen(1, 1), "explicitBounds": [1], "bucketCounts": [1, 0]})),
        Signal.TRACES: traces(span("chat", a="b")),
        Signal.LOGS: logs(log("x")),
    }[signal]
    place: Any = body
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            break
        place = place[key]
    for _, record in json_body.decode(signal, body, Counter()):
        assert isinstance(record, Metric | Span | Log)
