"""Tagged events: who, when, how much, what followed a failure, and what is refused."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clawtop.formats.tagged import TaggedReader
from clawtop.model.events import (
    Aborted,
    Attempt,
    Blind,
    Call,
    Declared,
    Event,
    Outcome,
    Resolution,
    Resolved,
    Tokens,
    ToolCall,
)
from clawtop.model.keys import UNTAGGED, Key

AT = 1_795_262_400_000
ISO = "2026-11-21T12:00:00Z"


def record(**given: object) -> dict[str, Any]:
    return {
        "trace_id": "t1",
        "agent_id": "coder",
        "model": "gpt-5",
        "provider": "openai",
        "timestamp": ISO,
        "usage": {"prompt_tokens": 100, "completion_tokens": 20},
    } | given


def read(*records: object, reader: TaggedReader | None = None) -> list[Event]:
    """The events of these records, without what is said once about each agent."""
    reader = reader or TaggedReader()
    events: list[Event] = []
    for number, item in enumerate(records):
        line = item if isinstance(item, bytes) else json.dumps(item).encode()
        events += reader.read(line, f"place:{number}")
    return [event for event in events if not isinstance(event, Blind)]


def only_call(item: dict[str, Any]) -> Call:
    (call,) = [event for event in read(item) if isinstance(event, Call)]
    return call


def resolutions(events: Iterable[Event]) -> list[tuple[str, str, str | None]]:
    return [(event.id, str(event.how), event.to) for event in events if isinstance(event, Resolved)]


# ---- one record


def test_a_full_record() -> None:
    given_ = record(
        event_id="e1",
        session_id="s1",
        run_id="r1",
        project_id="api",
        user_id=42,
        owner="dana",
        environment="prod",
        task="triage",
        usage={"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050, "cached_tokens": 900},
        cost_usd=0.0123456,
        latency_ms=1234.6,
        tool_calls=2,
    )
    key = Key("local", "coder", "s1", "r1", "api", "42", "dana", "prod", "triage")
    call = Call(key, AT, "e1", "openai", "gpt-5", Tokens(100, 50, 900), cost=12346, latency=1235)
    assert read(given_) == [
        call,
        Attempt(key, AT, "e1/attempt", "openai", "gpt-5"),
        ToolCall(key, AT, "e1/tool/0", "openai", "gpt-5", "?"),
        ToolCall(key, AT, "e1/tool/1", "openai", "gpt-5", "?"),
    ]


def test_what_is_not_said_is_unknown_and_nothing_is_dropped() -> None:
    given_ = {"timestamp": ISO, "usage": {"completion_tokens": 5}}
    key = Key("local", UNTAGGED)
    assert read(given_) == [Call(key, AT, "place:0", "", "?", Tokens(output=5))]


def test_the_trace_is_the_session_where_none_is_named() -> None:
    assert only_call(record()).key.session == "t1"
    assert only_call(record(session_id="s1")).key.session == "s1"


def test_what_the_source_cannot_see_is_said_once_for_each_agent() -> None:
    reader = TaggedReader()
    lines = [json.dumps(record(agent_id=agent)).encode() for agent in ("a", "b", "a")]
    blinds = [event for line in lines for event in reader.read(line, "p") if isinstance(event, Blind)]
    assert [(blind.key, "compactions" in blind.fields) for blind in blinds] == [
        (Key("local", "a"), True),
        (Key("local", "b"), True),
    ]


@pytest.mark.parametrize(
    "written",
    [
        ISO,
        "2026-11-21T12:00:00",
        "2026-11-21 14:00:00+02:00",
        "2026-11-21T12:00:00.000999999Z",
        AT,
        AT // 1000,
        AT / 1000,
        float(AT),
        str(AT),
        f"{AT / 1000:.3f}",
    ],
)
def test_a_moment_may_be_written_in_many_ways(written: object) -> None:
    assert only_call(record(timestamp=written)).at == AT


def test_cached_tokens_never_make_input_negative() -> None:
    assert only_call(record(usage={"prompt_tokens": 10, "cached_tokens": 15})).tokens == Tokens(0, 0, 15)


@pytest.mark.parametrize(
    ("tool_calls", "names"),
    [
        (0, []),
        (["bash", ""], ["bash", "?"]),
        ([{"id": "x", "type": "function", "function": {"name": "grep"}}, {"name": "read"}, 7], ["grep", "read", "?"]),
        (None, []),
    ],
)
def test_tools_have_an_identity_each(tool_calls: object, names: list[str]) -> None:
    calls = [event for event in read(record(tool_calls=tool_calls)) if isinstance(event, ToolCall)]
    assert [call.tool for call in calls] == names
    assert len({call.id for call in calls}) == len(names)


def test_long_names_are_kept() -> None:
    assert only_call(record(agent_id="x" * 300)).key.agent == "x" * 300


def test_a_byte_order_mark_and_a_hole_before_the_object_do_not_matter() -> None:
    line = json.dumps(record()).encode()
    assert read(b"\xef\xbb\xbf" + line)
    assert read(b"\0" * 5000 + line)


# ---- what is refused


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"plain words", "not JSON"),
        (b'{"a": nan}', "not JSON"),
        (b'{"agent_id": "\xff"}', "not JSON"),
        (b'{"agent_id": "a\0b"}', "not JSON"),
        (b"[" * 5000, "not JSON"),
        (b"[1, 2]", "no JSON object"),
        (b"17", "no JSON object"),
        (record(usage=None), "no usage"),
        (record(usage=[1]), "no usage"),
        (record(usage={}), "no usage"),
        (record(usage={"total_tokens": 5}), "no usage"),
        ({"timestamp": ISO, "error": "somebody else's log line", "level": "error"}, "no usage"),
        (record(usage={"prompt_tokens": "5"}), "a token count is no number"),
        (record(usage={"prompt_tokens": True}), "a token count is no number"),
        (record(usage={"prompt_tokens": -1}), "a token count is negative, fractional or huge"),
        (record(usage={"prompt_tokens": 1.5}), "a token count is negative, fractional or huge"),
        (record(usage={"prompt_tokens": 10**13}), "a token count is negative, fractional or huge"),
        (record(usage={"prompt_tokens": 1, "cached_tokens": -1}), "a token count is negative, fractional or huge"),
        (record(cost_usd=-0.1), "a cost is negative or huge"),
        (record(cost_usd="0.1"), "a cost is no number"),
        (record(timestamp=None), "no timestamp"),
        (record(timestamp="yesterday"), "timestamp out of range"),
        (record(timestamp=True), "timestamp out of range"),
        (record(timestamp=-5), "timestamp out of range"),
        (record(timestamp=-1.8e305), "timestamp out of range"),
        (record(timestamp=10**15), "timestamp out of range"),
        (record(timestamp="²" * 10), "timestamp out of range"),
        (record(event="heartbeat", usage=None, error="x"), "unknown event"),
        ({"event": "run", "timestamp": ISO}, "no run_id"),
        ({"event": "outcome", "run_id": "r", "timestamp": ISO, "status": "great"}, "unknown outcome"),
    ],
)
def test_what_cannot_be_used_is_counted_by_its_reason(line: object, reason: str) -> None:
    reader = TaggedReader()
    assert read(line, reader=reader) == []
    assert reader.skipped == Counter({reason: 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latency_ms", -1),
        ("latency_ms", "fast"),
        ("latency_ms", float("nan")),
        ("latency_ms", float("inf")),
        ("attempt", float("nan")),
        ("attempt", 0.5),
        ("attempt", []),
        ("tool_calls", -3),
        ("tool_calls", 10**9),
        ("tool_calls", ["x"] * 1001),
    ],
)
def test_a_side_figure_that_cannot_be_right_is_left_out_alone(name: str, value: object) -> None:
    reader = TaggedReader()
    (call,) = read(record(**{name: value}), reader=reader)
    assert isinstance(call, Call)
    assert call.latency is None
    assert reader.skipped == Counter({f"{name} out of range": 1})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(ISO)
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=3), scalars, max_size=2)
bases: list[dict[str, Any]] = [
    record(),
    {},
    {"event": "run", "agent_id": "a", "run_id": "r", "timestamp": ISO},
    {"event": "outcome", "run_id": "r", "timestamp": ISO, "status": "accepted"},
]
names = st.sampled_from(
    [
        *("event", "event_id", "timestamp", "run_id", "session_id", "trace_id", "usage", "model", "provider", "owner"),
        *("cost_usd", "latency_ms", "status", "error", "attempt", "fallback_from", "tool_calls", "budget_usd", "note"),
    ]
)
buckets = st.sampled_from(["prompt_tokens", "completion_tokens", "cached_tokens"])
objects = st.builds(
    lambda base, name, value, bucket, amount: json.dumps(
        base | ({"usage": {"prompt_tokens": 1, bucket: amount}} if "usage" in base else {}) | {name: value}
    ).encode(),
    st.sampled_from(bases),
    names,
    values,
    buckets,
    values,
)
lines = st.binary(max_size=20) | objects


@settings(deadline=None)
@given(st.lists(lines, max_size=4))
def test_any_line_gives_sound_events_or_a_skip(given_lines: list[bytes]) -> None:
    reader = TaggedReader(remembered=2)
    for number, line in enumerate(given_lines):
        before = reader.skipped.total()
        events = reader.read(line, str(number))
        assert (
            any(isinstance(e, Call | Aborted | Declared | Outcome) for e in events) or reader.skipped.total() > before
        )
        for event in events:
            if isinstance(event, Call):
                assert all(0 <= bucket <= 2 * 10**12 for bucket in event.tokens)
                assert event.cost is None or 0 <= event.cost <= 10**12
                assert 0 < event.at < 4_102_444_800_000
                assert event.latency is None or event.latency >= 0


# ---- what followed a failed attempt


def failed(**given: object) -> dict[str, Any]:
    return record(usage=None, status="error", error="429 Too Many Requests") | given


def test_a_failed_attempt_is_an_error_without_tokens() -> None:
    call = only_call(failed(run_id="r"))
    assert (call.error, call.tokens) == ("429 Too Many Requests", Tokens())


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"status": "rate_limited", "error": None}, "rate_limited"),
        ({"status": 529, "error": ""}, "529"),
        ({"status": "timeout", "error": None}, "timeout"),
        ({"status": None, "error": {"type": "overloaded_error"}}, "overloaded_error"),
        ({"status": None, "error": True}, "error"),
        ({"status": "error", "error": "x" * 9999}, "x" * 500),
    ],
)
def test_how_a_failure_is_written(fields: dict[str, Any], error: str) -> None:
    assert only_call(failed(**fields)).error == error


@pytest.mark.parametrize("status", [None, "ok", "success", 200, 399, "streamed"])
def test_what_is_no_failure(status: object) -> None:
    assert only_call(record(status=status, error=None)).error is None


@pytest.mark.parametrize("link", [{"run_id": "r1"}, {"trace_id": "t1"}, {"trace_id": None, "session_id": "s1"}])
def test_the_next_record_of_the_run_says_what_followed(link: dict[str, Any]) -> None:
    events = read(failed(**link), failed(attempt=2, **link), record(model="gpt-4o", **link))
    assert resolutions(events) == [("place:0", "retry", None), ("place:1", "fallback", "openai/gpt-4o")]
    assert sum(isinstance(event, Call) and event.error is not None for event in events) == 2


def test_another_agent_of_the_same_trace_is_no_retry() -> None:
    assert resolutions(read(failed(), record(agent_id="reviewer"))) == []


def test_fallback_from_says_so_where_the_model_does_not() -> None:
    events = read(failed(run_id="r"), record(run_id="r", fallback_from="anthropic/claude-opus-4-5"))
    assert resolutions(events) == [("place:0", "fallback", "openai/gpt-5")]


def test_a_retry_on_the_fallback_model_is_a_retry() -> None:
    on_fallback = {"run_id": "r", "model": "gpt-4o", "fallback_from": "gpt-5"}
    events = read(failed(run_id="r"), failed(attempt=1, **on_fallback), record(attempt=2, **on_fallback))
    assert resolutions(events) == [("place:0", "fallback", "openai/gpt-4o"), ("place:1", "retry", None)]


def test_a_run_that_goes_on_naming_its_fallback_fell_back_once() -> None:
    on_fallback = record(run_id="r", model="gpt-4o", fallback_from="gpt-5")
    assert len(resolutions(read(failed(run_id="r"), on_fallback, on_fallback, on_fallback))) == 1


def test_a_first_attempt_begins_another_turn() -> None:
    events = read(failed(run_id="r", attempt=3), record(run_id="r", attempt=1))
    assert resolutions(events)[1:] == [("place:0", "failed", None)]


def test_an_attempt_whose_failed_ones_are_not_in_the_data_counts_one_retry_and_no_error() -> None:
    events = read(record(run_id="r", attempt=3, event_id="e"))
    assert resolutions(events) == [("e/before", "retry", None)]
    assert not any(isinstance(event, Call) and event.error for event in events)


def test_a_fallback_whose_failed_attempt_is_not_in_the_data_counts_once() -> None:
    (resolved,) = [e for e in read(record(run_id="r", fallback_from="anthropic/opus")) if isinstance(e, Resolved)]
    assert (resolved.id, resolved.provider, resolved.model, resolved.how, resolved.to) == (
        "place:0/before",
        "anthropic",
        "opus",
        Resolution.FALLBACK,
        "openai/gpt-5",
    )


def test_a_failure_that_nothing_follows_is_tentative_until_something_does() -> None:
    reader = TaggedReader()
    read(failed(run_id="r"), reader=reader)
    (tentative,) = reader.settle()
    assert isinstance(tentative, Resolved)
    assert (tentative.how, tentative.tentative, tentative.id) == (Resolution.FAILED, True, "place:0")
    assert reader.settle() == []
    assert resolutions(read(record(run_id="r", event_id="e"), reader=reader)) == [("place:0", "retry", None)]
    assert reader.settle() == []


def test_a_judgement_makes_a_failed_turn_definite() -> None:
    outcome = {"event": "outcome", "run_id": "r", "status": "rejected", "note": "wrong", "timestamp": ISO}
    *_, resolved, judged = read(failed(run_id="r"), outcome)
    assert isinstance(resolved, Resolved)
    assert (resolved.how, resolved.tentative) == (Resolution.FAILED, False)
    assert isinstance(judged, Outcome)
    assert (judged.key.agent, judged.status, judged.note, judged.id) == ("coder", "rejected", "wrong", "place:1")


def test_another_run_of_the_session_makes_a_failed_turn_definite() -> None:
    session = {"session_id": "s1"}
    events = read(failed(run_id="r1", **session), record(run_id="r2", **session))
    assert resolutions(events) == [("place:0", "failed", None)]
    elsewhere = read(failed(run_id="r1", session_id="s1"), record(run_id="r2", session_id="s2"))
    assert resolutions(elsewhere) == []


def test_a_retry_with_a_trace_of_its_own_is_found_through_its_session() -> None:
    events = read(failed(trace_id="t1", session_id="s"), record(trace_id="t2", session_id="s", attempt=2))
    assert resolutions(events) == [("place:0", "retry", None)]


def test_without_run_trace_and_session_only_the_attempt_links() -> None:
    nothing = {"trace_id": None}
    assert resolutions(read(failed(**nothing), record(**nothing))) == [("place:0", "failed", None)]
    assert resolutions(read(failed(**nothing), record(attempt=2, **nothing))) == [("place:0", "retry", None)]


def test_the_same_record_read_twice_resolves_nothing() -> None:
    assert resolutions(read(failed(event_id="e"), failed(event_id="e"))) == []


def test_a_run_cut_off_between_attempts_has_a_failed_turn_and_an_abort() -> None:
    cut = record(run_id="r", usage=None, status="aborted", error="by dana")
    events = read(failed(run_id="r"), cut)
    assert resolutions(events) == [("place:0", "failed", None)]
    assert [event.id for event in events if isinstance(event, Aborted)] == ["r"]
    assert sum(isinstance(event, Call) for event in events) == 1


def test_what_was_spent_before_an_abort_counts() -> None:
    call, attempt, aborted = read(record(run_id="r", status="cancelled"))
    assert isinstance(call, Call)
    assert (call.stop, call.error, call.tokens.output) == ("aborted", None, 20)
    assert isinstance(attempt, Attempt)
    assert isinstance(aborted, Aborted)


kinds = st.sampled_from(["ok", "error", "other model", "judged"])


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["r1", "r2"]), kinds), max_size=30), st.sampled_from([2, 10_000]))
def test_every_error_is_resolved_exactly_once(steps: Sequence[tuple[str, str]], remembered: int) -> None:
    reader = TaggedReader(remembered=remembered)
    make = {
        "ok": lambda run: record(run_id=run, session_id=run),
        "error": lambda run: failed(run_id=run, session_id=run),
        "other model": lambda run: record(run_id=run, session_id=run, model="gpt-4o"),
        "judged": lambda run: {"event": "outcome", "run_id": run, "status": "rejected", "timestamp": ISO},
    }
    events = [*read(*(make[kind](run) for run, kind in steps), reader=reader), *reader.settle()]
    errors = [event.id for event in events if isinstance(event, Call) and event.error]
    assert sorted(errors) == sorted(event.id for event in events if isinstance(event, Resolved))


def test_a_run_forgotten_with_its_failure_open_has_failed() -> None:
    reader = TaggedReader(remembered=1)
    assert resolutions(read(failed(run_id="r1"), record(run_id="r2", agent_id="b"), reader=reader)) == [
        ("place:0", "failed", None)
    ]


# ---- declared runs

DECLARATION = {
    "event": "run",
    "run_id": "r",
    "owner": "dana",
    "budget_usd": 1.5,
    "max_retries": 3,
    "route": "fast",
    "stop_rule": "tests pass",
    "expected": "a green build",
    "timestamp": ISO,
}


def test_a_declaration_waits_until_it_is_known_whose_run_it_is() -> None:
    reader = TaggedReader()
    assert read(DECLARATION, reader=reader) == []
    declared, call, *_ = read(record(run_id="r"), reader=reader)
    key = Key("local", "coder", "t1", "r", owner="dana")
    assert declared == Declared(key, AT, "place:0", 1_500_000, 3, "fast", "tests pass", "a green build")
    assert isinstance(call, Call)
    assert call.key == key


def test_a_declaration_that_names_its_agent_is_told_at_once_and_tags_its_calls() -> None:
    declared, call, _ = read(
        DECLARATION | {"agent_id": "coder", "project_id": "api"}, record(run_id="r", agent_id=None, owner="sam")
    )
    assert isinstance(declared, Declared)
    assert declared.key == Key("local", "coder", None, "r", "api", owner="dana")
    assert isinstance(call, Call)
    assert (call.key.agent, call.key.project, call.key.owner) == ("coder", "api", "sam")


def test_a_declaration_nobody_used_is_told_when_it_is_forgotten() -> None:
    declared, *_ = read(DECLARATION, record(run_id="other"), reader=TaggedReader(remembered=1))
    assert isinstance(declared, Declared)
    assert declared.key.agent == UNTAGGED


def test_a_budget_that_cannot_be_right_is_left_out() -> None:
    reader = TaggedReader()
    (declared,) = read(DECLARATION | {"agent_id": "coder", "budget_usd": -1}, reader=reader)
    assert isinstance(declared, Declared)
    assert declared.budget is None
    assert reader.skipped == Counter({"a cost is negative or huge": 1})


def test_fields_that_a_table_of_data_leaves_empty_say_nothing() -> None:
    empty = float("nan")
    (call,) = read(record(agent_id=empty, error=empty, status=empty, note="\ud83d", count=10**30))
    assert isinstance(call, Call)
    assert (call.key.agent, call.error) == (UNTAGGED, None)


@pytest.mark.parametrize("line", [b"NaN", b'{"a":NaN', b"[NaN]", b'{"a":[' * 5000 + b"NaN"])
def test_a_line_with_nan_may_still_be_no_record(line: bytes) -> None:
    reader = TaggedReader()
    assert read(line, reader=reader) == []
    assert reader.skipped.total() == 1


def test_a_text_that_was_cut_within_an_emoji_loses_nothing() -> None:
    (call,) = read(json.dumps(record(task="cut \ud83d")).encode())
    assert isinstance(call, Call)
    assert call.key.task == "cut \ufffd"
