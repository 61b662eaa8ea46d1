"""Entries of a transcript: what counts, what does not, and what is refused."""

import contextlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawtop.formats.entries import Answer, Header, Prompt, Shortened, ToolResult, read_entry
from clawtop.model.errors import Unusable
from clawtop.model.events import Tokens
from tests.openclaw_homes import T0, answer, header, user


def raw(entry: object) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode()


def test_an_answer() -> None:
    entry = read_entry(raw(answer("e1", T0, tokens=(5, 6, 7, 8), cost=0.25, tools=("t1",), took=900)))
    assert isinstance(entry, Answer)
    assert entry.tokens == Tokens(5, 6, 7, 8)
    assert (entry.cost, entry.began, entry.ended) == (250_000, T0, T0 + 900)
    assert (entry.provider, entry.model, entry.stop, entry.error) == ("mock", "normal", "stop", None)
    assert entry.tools == (("t1", "read"),)


def test_a_row_knows_better_when_it_was_written() -> None:
    entry = read_entry(raw(answer("e1", T0, took=900)), T0 + 1234)
    assert isinstance(entry, Answer)
    assert entry.ended == T0 + 1234


def test_a_copy_is_the_same_entry() -> None:
    one = read_entry(raw(answer("e1", T0)))
    copy = read_entry(raw({**answer("e1", T0), "parentId": "other"}), T0 + 99_999)
    other = read_entry(raw(answer("e1", T0 + 1)))
    assert isinstance(one, Answer)
    assert isinstance(copy, Answer)
    assert isinstance(other, Answer)
    assert one.id == copy.id != other.id


def test_headers_say_where_and_from_which_session() -> None:
    fork = header("s2", parentSession="sqlite:main:s1:/srv/agents/main/agent/openclaw-agent.sqlite")
    assert read_entry(raw(fork)) == Header("s2", T0, "/srv/ws-main", "s1")
    assert read_entry(raw(header("s2", parentSession="/x/sessions/s1.jsonl"))) == Header("s2", T0, "/srv/ws-main", "s1")


def test_prompts_are_known_without_the_gateways_time_stamp() -> None:
    entry = read_entry(raw(user("u1", T0, "[Sun 2026-11-22 11:29 UTC] hello")))
    assert isinstance(entry, Prompt)
    assert entry.text() == "hello"


@pytest.mark.parametrize("reset", [True, False])
def test_compactions_and_resets(reset: bool) -> None:
    kind = "reset" if reset else "compaction"
    found = read_entry(raw({"type": kind, "id": "c1", "timestamp": "2026-11-22T11:05:00Z"}))
    assert isinstance(found, Shortened)
    assert found.reset is reset


def test_only_a_tools_errors_count() -> None:
    result: dict[str, Any] = {"role": "toolResult", "toolCallId": "t", "toolName": "exec", "timestamp": T0}
    entry = {"type": "message", "id": "r1", "parentId": None, "timestamp": "2026-11-22T11:05:00Z", "message": result}
    assert read_entry(raw(entry)) is None
    result["content"] = [{"type": "text", "text": 'it said "isError":true'}]
    result["isError"] = False
    assert read_entry(raw(entry)) is None
    result["isError"] = True
    found = read_entry(raw(entry))
    assert isinstance(found, ToolResult)
    assert found.tool == "exec"


@pytest.mark.parametrize("model", ["gateway-injected", "other"])
def test_injected_rows_are_marked(model: str) -> None:
    entry = answer("i1", T0, model=model, stop="injected" if model == "other" else "stop")
    entry["message"]["openclawAbort"] = {"aborted": True, "runId": "r1"}
    found = read_entry(raw(entry))
    assert isinstance(found, Answer)
    assert found.injected
    assert found.aborted_run == "r1"


@pytest.mark.parametrize("count", [-1, 1.5, 10**13, 1e300, "7", True, [1]])
def test_a_count_that_cannot_be_is_refused(count: object) -> None:
    entry = answer("e1", T0)
    entry["message"]["usage"]["input"] = count
    with pytest.raises(Unusable, match="token count"):
        read_entry(raw(entry))


@pytest.mark.parametrize("cost", [-0.01, 1e9, "1", True])
def test_a_cost_that_cannot_be_is_refused(cost: object) -> None:
    entry = answer("e1", T0)
    entry["message"]["usage"]["cost"]["total"] = cost
    with pytest.raises(Unusable, match="cost"):
        read_entry(raw(entry))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"\x00" * 10, "not JSON"),
        (b'{"type":"message","message":{"role":"assistant","usage":{"input":NaN}}}', "not JSON"),
        (b"[1]", "no JSON object"),
        (b'"x"', "no JSON object"),
        (b'{"type":"message","message":{"role":"assistant"}}', "an entry without id"),
    ],
)
def test_garbage_has_a_reason(line: bytes, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        read_entry(line)


@given(st.binary(max_size=300))
def test_any_bytes_give_an_entry_nothing_or_a_reason(line: bytes) -> None:
    with contextlib.suppress(Unusable):
        assert not isinstance(read_entry(line), Answer), "random bytes must not become a call"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["message", "usage", "cost", "entry"]), st.data())
def test_any_value_in_any_place_gives_an_entry_nothing_or_a_reason(place: str, data: st.DataObject) -> None:
    entry = answer("e1", T0, run="r", tools=("t",))
    target: dict[str, Any] = {
        "entry": entry,
        "message": entry["message"],
        "usage": entry["message"]["usage"],
        "cost": entry["message"]["usage"]["cost"],
    }[place]
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(json_values)
    try:
        found = read_entry(orjson.dumps(entry))
    except Unusable:
        return
    if isinstance(found, Answer):
        assert min(found.tokens) >= 0
        assert found.cost is None or found.cost >= 0
