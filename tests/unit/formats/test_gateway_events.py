"""What a gateway tells, from frames of real ones: counted as its own database counts it, live and without it."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clawtop.formats.entries import Answer, read_entry
from clawtop.formats.gateway_events import GatewayEvents
from clawtop.formats.gateway_messages import oldest_of, read_message
from clawtop.model.events import (
    Aborted,
    Attempt,
    Call,
    Compaction,
    Event,
    Price,
    PriceList,
    Resolution,
    Resolved,
    SessionState,
    State,
    ToolCall,
    ToolError,
    Unmetered,
)
from tests.steps import steps
from tests.unit.formats.gateway_frames import CAPTURES, Frame, Sum, count, frames, read

NOW = 1_795_356_000_000
KEY, SESSION = "agent:main:main", "s-1"


def of(kind: type[Any], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def told(companion: bool = False) -> GatewayEvents:
    """A gateway whose one agent and session are known."""
    gateway = GatewayEvents("box", companion=companion)
    gateway.learn_agents({"agents": [{"id": "main", "workspace": "/srv/shop"}]})
    gateway.learn_sessions([{"key": KEY, "sessionId": SESSION, "agentId": "main", "contextTokens": 200_000}], NOW)
    return gateway


def lifecycle(phase: str, at: int, run: str = "r-1", **data: object) -> Frame:
    payload = {"runId": run, "sessionKey": KEY, "sessionId": SESSION, "agentId": "main", "stream": "lifecycle"}
    return Frame("agent", {**payload, "ts": at, "data": {"phase": phase, **data}}, at)


def model(at: int, name: str = "fine", run: str = "r-1") -> Frame:
    return lifecycle("model", at, run, provider="acme", model=name)


def failure(at: int, run: str = "r-1") -> Frame:
    return lifecycle("finishing", at, run, error="429 slow down", errorObservation={"failoverReason": "rate_limit"})


def message(identity: str, at: int, run: str | None = "r-1", **fields: object) -> dict[str, Any]:
    usage = {"input": 10, "output": 5, "cacheRead": 1, "cacheWrite": 0, "cost": {"total": 0.25}}
    note = {"id": identity, "recordTimestampMs": at + 700} | ({"runId": run} if run else {})
    answer = {"role": "assistant", "provider": "acme", "model": "fine", "usage": usage, "stopReason": "stop"}
    return {**answer, "timestamp": at, "content": [], "__openclaw": note, **fields}


def pushed(told_message: dict[str, Any]) -> dict[str, Any]:
    payload = {"sessionKey": KEY, "sessionId": SESSION, "agentId": "main", "message": told_message}
    return {**payload, "messageId": told_message["__openclaw"]["id"]}


def fold(gateway: GatewayEvents, *told_frames: Frame) -> list[Event]:
    return [event for frame in told_frames for event in gateway.read(*frame)]


def states(events: list[Event]) -> list[tuple[State, str | None]]:
    return [(event.state, event.detail) for event in of(SessionState, events)]


@pytest.mark.parametrize(
    ("capture", "agent", "sums"),
    [
        # one answer after two refusals; 401 and 404 fail at once, 529 after 7 attempts, 500 after 8
        ("2026.9.6-errors", "main", Sum(calls=1, errors=19, retries=15, fallbacks=0, failed=4)),
        ("2026.9.6-fallback", "researcher", Sum(calls=1, errors=1, retries=0, fallbacks=1, failed=0)),
        # runs that `agent` began, unlike those of chat.send, tell of no fallback_step
        ("2026.9.6-researcher", "researcher", Sum(calls=2, errors=27, retries=24, fallbacks=2, failed=0)),
        ("2026.6.35-researcher", "researcher", Sum(calls=1, errors=4, retries=3, fallbacks=1, failed=0)),
        ("2026.6.35-researcher", "main", Sum(calls=4, errors=0, retries=0, fallbacks=0, failed=0)),
        ("2026.9.6-cron", "main", Sum(calls=4, errors=0, retries=0, fallbacks=0, failed=0)),
    ],
)
def test_attempts_are_counted_as_the_gateway_made_them(capture: str, agent: str, sums: Sum) -> None:
    assert count(read(capture), agent) == sums


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_frame_told_twice_counts_once(capture: str) -> None:
    gateway = GatewayEvents("box", companion=False)
    twice = [event for frame in frames(capture) for _ in range(2) for event in gateway.read(*copy.deepcopy(frame))]
    once = read(capture)
    assert count(twice)[:2] == count(once)[:2]
    for kind in (Aborted, ToolCall, ToolError, Compaction):
        assert {event.id for event in of(kind, twice)} == {event.id for event in of(kind, once)}


@pytest.mark.parametrize("capture", CAPTURES)
def test_beside_a_home_it_tells_only_states_and_calls(capture: str) -> None:
    events = read(capture, companion=True)
    assert {type(event) for event in events} <= {SessionState, Call, ToolCall}
    calls = of(Call, events)
    assert all(call.error is None and call.tokens.total for call in calls)
    assert {call.id for call in calls} == {call.id for call in of(Call, read(capture)) if call.tokens.total}


@pytest.mark.parametrize("capture", CAPTURES)
def test_every_run_that_ended_is_shown_as_ended(capture: str) -> None:
    last: dict[tuple[str, str | None], SessionState] = {}
    going: set[str] = set()
    gateway = GatewayEvents("box", companion=False)
    for frame in frames(capture):
        phase = (frame.payload.get("data") or {}).get("phase") if frame.payload.get("stream") == "lifecycle" else None
        if phase == "start":
            going.add(frame.payload["runId"])
        elif phase in ("end", "error") or frame.payload.get("state") in ("aborted", "final"):
            going.discard(frame.payload["runId"])
        for event in of(SessionState, gateway.read(*frame)):
            name = (event.key.agent, event.key.session)
            if name not in last or last[name].at <= event.at:
                last[name] = event
    assert sum(state.state is State.RUNNING for state in last.values()) == len(going)


def test_a_gateway_of_2026_2_tells_who_runs_and_no_calls() -> None:
    gateway = GatewayEvents("box", companion=False)
    seen: dict[str, list[State]] = {}
    for frame in frames("2026.2.26-day"):
        for event in gateway.read(*frame):
            assert isinstance(event, SessionState)
            seen.setdefault(event.key.agent, []).append(event.state)
    # four refusals with a wait after each, then the fallback
    assert seen["researcher"] == [State.RUNNING, State.ERROR] * 4 + [State.RUNNING, State.IDLE]
    # a turn, and a chat that was aborted: its only end is the chat's
    assert seen["main"] == [State.RUNNING, State.IDLE] * 2


def test_a_call_has_the_identity_of_its_row() -> None:
    for frame in frames("2026.9.6-fallback"):
        if frame.event == "session.message" and frame.payload["message"]["role"] == "assistant":
            answer = frame.payload["message"]
            gateway = GatewayEvents("box", companion=True)
            (call,) = of(Call, gateway.read(*frame))
            assert call.id == f"{frame.payload['messageId']}@{answer['timestamp']}"
            assert call.at == answer["__openclaw"]["recordTimestampMs"]
            assert call.latency == call.at - answer["timestamp"]
            assert call.key.run == answer["__openclaw"]["runId"]
            assert (call.provider, call.model, call.cost) == ("mock2", "normal", 4748)
            return
    raise AssertionError("the capture has an answer")


def test_a_message_becomes_the_entry_that_counts_without_its_text() -> None:
    big = [{"type": "text", "text": "x" * 1_000_000}, {"type": "toolCall", "id": "c1", "name": "read", "arguments": {}}]
    read_back = read_message(pushed(message("e1", NOW, content=big)), NOW)
    assert read_back is not None
    raw, written = read_back
    assert len(raw) < 1000
    entry = read_entry(raw, written)
    assert isinstance(entry, Answer)
    assert entry.tools == (("c1", "read"),)


def test_a_message_of_2026_6_does_not_say_when_it_was_written() -> None:
    answer = message("e1", NOW, run=None)
    del answer["__openclaw"]["recordTimestampMs"]
    (call,) = of(Call, told().read("session.message", pushed(answer), NOW + 900))
    assert (call.at, call.latency) == (NOW + 900, 900)


def test_whose_a_call_is_comes_from_the_roster() -> None:
    gateway = told()
    rows = [
        {
            "key": "agent:main:cron:j-1:run:s-9",
            "sessionId": "s-9",
            "agentId": "main",
            "label": "nightly",
            "parentSessionKey": KEY,
            "owner": {"id": "ann"},
        }
    ]
    gateway.roster.learn_jobs([{"id": "j-1", "name": "night job"}, {"id": 5}, "?"])
    gateway.learn_sessions(rows, NOW)
    payload = pushed(message("e1", NOW)) | {"sessionKey": rows[0]["key"], "sessionId": "s-9"}
    (call,) = of(Call, gateway.read("session.message", payload, NOW))
    key = call.key
    assert (key.host, key.agent, key.session, key.run) == ("box", "main", "s-9", "r-1")
    assert (key.project, key.cron, key.task, key.parent, key.owner) == ("shop", "night job", "nightly", KEY, "ann")


def test_prices_and_windows_come_from_the_gateways_config() -> None:
    gateway = told()
    models = [{"id": "fine", "contextWindow": 64_000, "cost": {"input": 3, "output": 15}}]
    prices = gateway.roster.learn_config({"config": {"models": {"providers": {"acme": {"models": models}}}}})
    assert prices == PriceList("box", {("acme", "fine"): Price(3_000_000, 15_000_000, 0, 0)})
    (call,) = of(Call, gateway.read("session.message", pushed(message("e1", NOW)), NOW))
    assert call.window == 64_000


def test_a_retry_shows_while_it_waits_and_counts_when_it_begins() -> None:
    gateway = told()
    waits = {"phase": "retrying", "retryAttempt": 2, "maxRetries": 9, "delayMs": 4100, "reason": "rate_limit"}
    status = {
        "runId": "r-1",
        "sessionKey": KEY,
        "agentId": "main",
        "stream": "run_status",
        "data": waits,
        "ts": NOW + 3,
    }
    first = fold(gateway, lifecycle("start", NOW), model(NOW + 1), failure(NOW + 2), Frame("agent", status, NOW + 3))
    assert states(first)[-1] == (State.RUNNING, "retry 2 of 9 in 4.1 s: rate_limit")
    assert [call.error for call in of(Call, first)] == ["rate_limit: 429 slow down"]
    assert not of(Resolved, first)
    then = fold(gateway, lifecycle("start", NOW + 4000), model(NOW + 4001))
    assert states(then) == [(State.RUNNING, "")]
    (resolved,) = of(Resolved, then)
    assert (resolved.id, resolved.how, resolved.tentative) == (of(Call, first)[0].id, Resolution.RETRY, False)


def test_a_fallback_names_where_it_goes() -> None:
    gateway = told()
    events = fold(gateway, lifecycle("start", NOW), model(NOW + 1), failure(NOW + 2), model(NOW + 3, "cheap"))
    (resolved,) = of(Resolved, events)
    assert (resolved.how, resolved.to, resolved.model) == (Resolution.FALLBACK, "acme/cheap", "fine")
    assert states(events)[-1] == (State.RUNNING, "fallback to acme/cheap: rate_limit")


def test_two_steps_and_a_fallback_are_one_and_a_provider_that_cools_down_is_named() -> None:
    gateway = told()
    step = {
        "fallbackStepFromModel": "acme/fine",
        "fallbackStepToModel": "other/cheap",
        "fallbackStepFromFailureReason": "rate_limit",
        "fallbackStepFromFailureDetail": "Provider acme is in cooldown",
    }
    events = fold(
        gateway,
        lifecycle("start", NOW),
        model(NOW + 1),
        failure(NOW + 2),
        lifecycle("fallback_step", NOW + 3, fallbackStepFinalOutcome="next_fallback", **step),
        lifecycle("model", NOW + 4, provider="other", model="cheap"),
        lifecycle("fallback_step", NOW + 5, fallbackStepFinalOutcome="succeeded", **step),
        lifecycle("fallback", NOW + 6, selectedProvider="acme", selectedModel="fine"),
        lifecycle("end", NOW + 7, executionSettled=True),
    )
    assert [resolved.how for resolved in of(Resolved, events)] == [Resolution.FALLBACK]
    assert states(events) == [
        (State.RUNNING, None),
        (State.RUNNING, "acme cools down (rate_limit), fallback to other/cheap"),
        (State.IDLE, ""),
    ]


def test_a_failed_turn_is_counted_by_its_run_and_not_again_by_its_message() -> None:
    gateway = told()
    row = message("e9", NOW + 4, stopReason="error", errorMessage="429", usage={})
    events = fold(
        gateway,
        lifecycle("start", NOW),
        model(NOW + 1),
        failure(NOW + 2),
        lifecycle("error", NOW + 3, error="429 slow down", executionSettled=True),
    )
    events += gateway.read("session.message", pushed(row), NOW + 5)
    events += gateway.history(KEY, [{"sessionId": SESSION, "messages": [row]}], NOW + 6)
    assert count(events) == Sum(calls=0, errors=1, retries=0, fallbacks=0, failed=1)
    assert states(events)[-1] == (State.ERROR, "429 slow down")


def test_a_failed_turn_before_the_connection_is_counted_by_its_message() -> None:
    row = message("e9", NOW, run="r-0", stopReason="error", errorMessage="401", usage={})
    events = told().history(KEY, [{"sessionId": SESSION, "messages": [row]}], NOW + 6)
    assert count(events) == Sum(calls=0, errors=1, retries=0, fallbacks=0, failed=1)


def test_an_abort_with_two_ends_is_one_and_stops_at_the_second() -> None:
    gateway = told()
    events = fold(gateway, lifecycle("start", NOW), model(NOW + 1), lifecycle("end", NOW + 2, aborted=True))
    assert states(events)[-1] == (State.RUNNING, "stopping")
    events += fold(gateway, lifecycle("error", NOW + 90, aborted=True, error="aborted", executionSettled=True))
    assert {aborted.id for aborted in of(Aborted, events)} == {"r-1"}
    assert states(events)[-1] == (State.IDLE, "")


def test_an_abort_between_two_attempts_leaves_an_error_without_a_successor() -> None:
    gateway = told()
    events = fold(
        gateway,
        lifecycle("start", NOW),
        model(NOW + 1),
        failure(NOW + 2),
        lifecycle("end", NOW + 3, aborted=True),
        lifecycle("error", NOW + 4, aborted=True, executionSettled=True),
    )
    assert count(events) == Sum(calls=0, errors=1, retries=0, fallbacks=0, failed=0)


def test_the_runs_of_2026_6_name_nothing_but_themselves_at_the_end() -> None:
    gateway = told()
    events = fold(gateway, lifecycle("start", NOW))
    last = {"runId": "r-1", "stream": "lifecycle", "ts": NOW + 5, "data": {"phase": "end", "stopReason": "stop"}}
    events += gateway.read("agent", last, NOW + 5)
    assert states(events) == [(State.RUNNING, None), (State.IDLE, None)]


def test_what_a_pause_refuses_is_no_error_and_its_model_no_model() -> None:
    gateway = told()
    refused = "Unknown model: paused/by-clawtop"
    held = message("e9", NOW + 3, stopReason="error", errorMessage=refused, provider="paused", usage={})
    events = fold(
        gateway,
        lifecycle("start", NOW),
        lifecycle("model", NOW + 1, provider="paused", model="by-clawtop"),
        lifecycle("finishing", NOW + 2, error=refused),
        lifecycle("error", NOW + 3, error=refused, executionSettled=True),
        Frame("session.message", pushed(held), NOW + 4),
    )
    events += gateway.history(KEY, [{"sessionId": SESSION, "messages": [held]}], NOW + 5)
    assert {type(event) for event in events} == {SessionState}
    assert states(events)[-1][0] is State.IDLE


def test_the_tool_that_runs_is_shown_and_a_failed_one_counted_under_one_identity() -> None:
    gateway = told()

    def tool(phase: str, at: int, **data: object) -> Frame:
        payload = {"runId": "r-1", "sessionKey": KEY, "agentId": "main", "stream": "tool", "ts": at}
        return Frame("session.tool", {**payload, "data": {"phase": phase, "toolCallId": "c1", **data}}, at)

    events = fold(gateway, lifecycle("start", NOW), tool("start", NOW + 1, name="exec"))
    assert of(SessionState, events)[-1].tool == "exec"
    events += fold(gateway, tool("result", NOW + 2, name="exec", isError=True))
    assert of(SessionState, events)[-1].tool is None
    result = {"role": "toolResult", "toolCallId": "c1", "toolName": "exec", "isError": True, "timestamp": NOW + 2}
    page = {"sessionId": SESSION, "messages": [{**result, "__openclaw": {"id": "e7", "recordTimestampMs": NOW + 2}}]}
    events += gateway.history(KEY, [page], NOW + 3)
    assert {error.id for error in of(ToolError, events)} == {f"{SESSION}/c1"}
    assert len(of(ToolError, events)) == 2


def test_a_run_counts_once_whether_it_was_told_live_or_is_history() -> None:
    gateway = told()
    events = fold(gateway, lifecycle("start", NOW), model(NOW + 1), model(NOW + 2))
    events += gateway.read("session.message", pushed(message("e1", NOW + 1)), NOW + 3)
    events += gateway.history(KEY, [{"sessionId": SESSION, "messages": [message("e1", NOW + 1)]}], NOW + 4)
    assert {attempt.id for attempt in of(Attempt, events)} == {"r-1"}
    assert count(events).calls == 1


def test_history_pages_are_told_oldest_first() -> None:
    failed = message("e1", NOW, run=None, stopReason="error", errorMessage="429", usage={})
    again = message("e2", NOW + 1000, run=None)
    prompt = {"role": "user", "content": "do it", "timestamp": NOW - 1, "__openclaw": {"id": "e0"}}
    pages: list[dict[str, Any]] = [{"sessionId": SESSION, "messages": [again]}, {"messages": [prompt, failed]}]
    events = told().history(KEY, pages, NOW + 6)
    assert count(events) == Sum(calls=1, errors=1, retries=1, fallbacks=0, failed=0)
    assert oldest_of(pages[0]) == NOW + 1700
    assert oldest_of({"messages": []}) == 0


def test_a_forks_copies_are_its_parents_calls() -> None:
    gateway = told()
    fork = {"key": "agent:main:fork", "sessionId": "s-2", "agentId": "main", "parentSessionKey": KEY}
    gateway.learn_sessions([{**fork, "forkedFromParent": True, "createdAt": NOW + 100}], NOW)
    page = {"sessionId": "s-2", "messages": [message("e1", NOW), message("e2", NOW + 200)]}
    copied, own = of(Call, gateway.history("agent:main:fork", [page], NOW + 300))
    assert (copied.key.session, own.key.session) == (SESSION, "s-2")


def test_the_ledger_tells_background_runs_and_aborts() -> None:
    run = {"kind": "agent_run", "agentId": "main", "runId": "r-5", "occurredAt": NOW, "action": "agent.run.finished"}
    internal = "agent:main:internal-session-effects:x"
    events = told().audit(
        [
            {**run, "sessionKey": internal, "status": "succeeded"},
            {**run, "runId": "r-6", "sessionKey": KEY, "sessionId": SESSION, "status": "cancelled"},
            {**run, "runId": "r-7", "sessionKey": KEY, "status": "succeeded"},
            {**run, "kind": "tool_action"},
            {"kind": "agent_run"},
            None,
        ]
    )
    assert [(type(event), event.id) for event in events if isinstance(event, Unmetered | Aborted)] == [
        (Unmetered, "r-5"),
        (Aborted, "r-6"),
    ]
    assert told().audit("nothing") == []


def test_a_compaction_and_a_reset_count() -> None:
    gateway = told()
    operation = {"operationId": "o-1", "operation": "compact", "sessionKey": KEY, "agentId": "main", "ts": NOW}
    events = gateway.read("session.operation", {**operation, "phase": "start"}, NOW)
    events += gateway.read("session.operation", {**operation, "phase": "end", "completed": False}, NOW)
    events += gateway.read("session.operation", {**operation, "phase": "end", "completed": True}, NOW)
    anew = {"sessionKey": KEY, "agentId": "main", "sessionId": "s-2", "reason": "reset", "ts": NOW + 5}
    events += gateway.read("sessions.changed", anew, NOW + 5)
    assert [(event.id, event.reset) for event in of(Compaction, events)] == [("o-1", False), ("reset s-2", True)]


def test_a_row_says_what_was_not_seen() -> None:
    gateway = told()
    row = {"key": KEY, "sessionId": SESSION, "agentId": "main", "snapshotAt": NOW + 10, "hasActiveRun": True}
    queued = gateway.learn_sessions([row], NOW)
    assert states(queued) == [(State.RUNNING, None)]
    assert gateway.learn_sessions([row], NOW) == []
    over = {**row, "hasActiveRun": False, "status": "failed", "endedAt": NOW + 20, "snapshotAt": NOW + 30}
    ended = gateway.read("sessions.changed", {"session": over, "lastRunError": "401 no"}, NOW + 31)
    assert states(ended) == [(State.ERROR, "401 no")]
    assert of(SessionState, ended)[0].at == NOW + 20


def test_a_row_from_before_the_end_of_a_run_does_not_revive_it() -> None:
    gateway = told()
    fold(gateway, lifecycle("start", NOW), model(NOW + 1), lifecycle("end", NOW + 50, executionSettled=True))
    late = {"key": KEY, "sessionId": SESSION, "agentId": "main", "hasActiveRun": True, "snapshotAt": NOW + 49}
    assert gateway.read("sessions.changed", {"session": late}, NOW + 60) == []


def test_what_ran_when_the_connection_was_lost_is_unknown_until_told_again() -> None:
    gateway = told()
    fold(gateway, lifecycle("start", NOW))
    (lost,) = of(SessionState, gateway.lost(NOW + 10))
    assert (lost.state, lost.at, lost.key.session) == (State.UNKNOWN, NOW + 10, SESSION)
    row = {"key": KEY, "sessionId": SESSION, "agentId": "main", "hasActiveRun": False, "endedAt": NOW + 5}
    (again,) = of(SessionState, gateway.learn_sessions([{**row, "snapshotAt": NOW + 90}], NOW + 90))
    assert (again.state, again.at) == (State.IDLE, NOW + 10)


def test_a_session_with_another_run_still_runs() -> None:
    gateway = told()
    events = fold(gateway, lifecycle("start", NOW), lifecycle("start", NOW + 1, run="r-2"), lifecycle("end", NOW + 2))
    assert states(events)[-1][0] is State.RUNNING
    assert [event.key.run for event in of(SessionState, gateway.going(NOW + 3))] == ["r-2"]


def test_an_end_that_was_told_late_still_ends_what_was_said_to_run() -> None:
    gateway = told()
    fold(gateway, lifecycle("start", NOW))
    gateway.going(NOW + 500)
    (ended,) = of(SessionState, fold(gateway, lifecycle("end", NOW + 480)))
    assert (ended.state, ended.at) == (State.IDLE, NOW + 500)


def test_somebody_unheard_of_asks_for_the_roster_once() -> None:
    gateway = told()
    assert not gateway.unknown
    start = lifecycle("start", NOW)
    start.payload.update(agentId="new", sessionKey="agent:new:main", sessionId="s-7")
    events = gateway.read(*start)
    assert gateway.unknown
    assert [event.key.agent for event in of(SessionState, events)] == ["new", "new"]
    gateway.unknown = False
    gateway.read(*start)
    assert not gateway.unknown


def test_a_message_that_cannot_be_used_is_counted_as_skipped() -> None:
    gateway = told()
    broken = message("e1", NOW, usage={"input": -5})
    assert gateway.read("session.message", pushed(broken), NOW) == []
    nameless = message("e2", NOW)
    del nameless["__openclaw"]["id"]
    assert (
        gateway.read("session.message", {**pushed(message("e3", NOW)), "message": nameless, "messageId": 7}, NOW) == []
    )
    assert sum(gateway.skipped.values()) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
FIELDS = sorted(
    {"runId", "sessionKey", "sessionId", "agentId", "stream", "data", "ts", "message", "messageId", "session", "job"}
)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_garbage_in_a_real_frame_raises(data: st.DataObject) -> None:
    """Any part of a frame may be anything."""
    capture = data.draw(st.sampled_from(CAPTURES))
    told_frames = frames(capture)
    start = data.draw(st.integers(0, max(0, len(told_frames) - 12)))
    gateway = GatewayEvents("box", companion=data.draw(st.booleans()))
    for frame in told_frames[start : start + 12]:
        payload = dict(frame.payload)
        for name in data.draw(st.lists(st.sampled_from(FIELDS), max_size=2)):
            inner = payload.get(name)
            if isinstance(inner, dict) and inner and data.draw(st.booleans()):
                payload[name] = {**inner, data.draw(st.sampled_from(sorted(inner))): data.draw(JSON)}
            else:
                payload[name] = data.draw(JSON)
        for event in gateway.read(frame.event, payload, frame.at):
            assert event == copy.deepcopy(event)


@settings(max_examples=100, deadline=None)
@given(JSON, JSON, JSON)
def test_no_garbage_in_an_answer_raises(one: Any, two: Any, three: Any) -> None:
    gateway = told()
    gateway.learn_agents({"agents": one})
    gateway.learn_sessions([{"key": KEY, "sessionId": one, "agentId": two, "hasActiveRun": three}, one, two], NOW)
    gateway.roster.learn_config({"config": one})
    gateway.roster.learn_jobs(two)
    gateway.audit([{"kind": "agent_run", "agentId": one, "runId": two, "occurredAt": three}, three])
    pages = [{"sessionId": SESSION, "messages": [one, {"role": two, "content": three, "__openclaw": one}]}]
    assert all(isinstance(event.key.agent, str) for event in of(Call, gateway.history(KEY, pages, NOW)))


def test_rows_of_a_gateway_with_many_runs_are_little_work() -> None:
    rows = [{"key": KEY, "sessionId": SESSION, "agentId": "main", "hasActiveRun": False}]

    def work(runs: int) -> int:
        gateway = told()
        for number in range(runs):
            for phase in ("start", "end")[: 1 + number % 2]:
                payload = {"sessionKey": f"agent:main:s{number}", "sessionId": f"s{number}", "agentId": "main"}
                data = {"phase": phase}
                gateway.read("agent", {**payload, "runId": f"r{number}", "stream": "lifecycle", "data": data}, NOW)
        return steps(lambda: gateway.learn_sessions(rows, NOW))

    assert work(2000) < 2 * work(10)


def test_a_run_whose_session_is_told_late_is_one_of_its_runs() -> None:
    gateway = GatewayEvents("box", companion=False)
    payload = {"runId": "r-1", "agentId": "main", "stream": "lifecycle", "data": {"phase": "start"}}
    gateway.read("agent", payload, NOW)
    assert [run.id for run in gateway.runs.of_session("main", None)] == ["r-1"]
    gateway.read("agent", {**payload, "sessionId": SESSION}, NOW)
    assert [run.id for run in gateway.runs.of_session("main", SESSION)] == ["r-1"]
    assert gateway.runs.of_session("main", None) == []
    gateway.read("agent", {**payload, "sessionId": SESSION, "data": {"phase": "end"}}, NOW)
    assert gateway.runs.of_session("main", SESSION) == []


def test_who_is_asked_for_is_remembered_for_so_many() -> None:
    gateway = told()

    def hear(number: int) -> bool:
        gateway.unknown = False
        gateway.read("agent", {"sessionKey": f"agent:main:s{number}", "runId": "r", "data": {}}, NOW)
        return gateway.unknown

    assert all(hear(number) for number in range(20_001))
    assert not hear(20_000)
    assert hear(0), "it was forgotten over those that came since"
