"""Answers of a Prometheus, and everything that is none."""

import json

import pytest

from clawtop.formats.prometheus_answers import Found, read_names, read_series
from clawtop.model.errors import Unusable


def answer(data: object, **more: object) -> bytes:
    return json.dumps({"status": "success", "data": data, **more}).encode()


def test_an_answer_with_series() -> None:
    both = read_series(
        answer(
            {
                "resultType": "matrix",
                "result": [
                    {"metric": {"a": "b"}, "values": [[1.5, "2"], [3, "4"]]},
                    {"metric": {}, "value": [1795365851.986, "571"]},
                ],
            }
        )
    )
    assert both.found == [Found({"a": "b"}, [(1500, "2"), (3000, "4")]), Found({}, [(1795365851986, "571")])]
    assert both.unusable == 0


def test_a_long_label_is_cut() -> None:
    ((found,), _) = read_series(answer({"result": [{"metric": {"agent": "x" * 10**6}, "value": [1, "2"]}]}))
    assert len(found.labels["agent"]) == 300


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "x",
        {"metric": {"a": 1}, "value": [1, "2"]},
        {"metric": {"a": ["b"]}, "value": [1, "2"]},
        {"metric": [], "value": [1, "2"]},
        {"metric": {}},
        {"metric": {}, "value": [1]},
        {"metric": {}, "value": ["x", "2"]},
        {"metric": {}, "value": ["9" * 10**6, "2"]},
        {"metric": {}, "value": [1e300, "2"]},
        {"metric": {}, "value": [-1, "2"]},
        {"metric": {}, "value": [True, "2"]},
        {"metric": {}, "value": 5},
        {"metric": {}, "values": [[1, "2", "3"]]},
        {"metric": {}, "histogram": [1, {}]},
    ],
)
def test_a_series_that_is_none_is_counted(odd: object) -> None:
    found = read_series(answer({"result": [odd, {"metric": {}, "value": [1, "2"]}]}))
    assert (len(found.found), found.unusable) == (1, 1)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no JSON"),
        (b"<html>", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no object"),
        (b"{}", "no success"),
        (b'{"status":"error","errorType":"bad_data","error":"parse error"}', "bad_data: parse error"),
        (answer(None), "no result"),
        (answer({"result": {}}), "no result"),
    ],
)
def test_what_is_no_answer(body: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        read_series(body)


def test_names() -> None:
    assert read_names(answer(["b", 5, "a"])) == ["b", "a"]
    with pytest.raises(Unusable, match="no list"):
        read_names(answer({}))
