"""Transcripts and trajectories -> events: errors and what followed them, forks, aborts."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clawtop.formats.attribution import Attribution, SessionFacts
from clawtop.formats.trajectory import Trajectory
from clawtop.formats.transcript import AgentTranscripts, Transcript
from clawtop.model.events import Aborted, Attempt, Call, Event, Resolution, Resolved, ToolCall
from clawtop.model.snapshot import Counters
from tests.counted import total
from tests.openclaw_homes import T0, answer, header, iso, user


def agent(windows: dict[tuple[str, str], int] | None = None) -> AgentTranscripts:
    cron = {"j1": "nightly report"}
    return AgentTranscripts(Attribution("local", "main", cron_name=cron.get, windows=windows or {}))


def read(transcript: Transcript, *entries: dict[str, Any], settled: bool = False) -> list[Event]:
    events = [event for entry in entries for event in transcript.read(json.dumps(entry).encode())]
    return events + (transcript.settle() if settled else [])


def traced(trajectory: Trajectory, kind: str, seq: int, run: str = "r1", **data: Any) -> list[Event]:
    model = data.pop("model", "normal")
    event = {"type": kind, "ts": iso(T0 + seq), "sourceSeq": seq, "runId": run, "provider": "mock", "modelId": model}
    return trajectory.read(json.dumps({**event, "data": data}, separators=(",", ":")).encode(), "s1")


def failed(entry: str, at: int, model: str = "normal") -> dict[str, Any]:
    return answer(entry, at, model=model, error="429 slow down")


def test_a_call_carries_who_what_and_how_long() -> None:
    known = agent({("mock", "normal"): 200_000})
    known.who.learn("s1", SessionFacts(session_key="agent:main:telegram:direct:ann", owner="bob", label="triage"))
    call, tool = read(Transcript(known, "s1"), header("s1"), answer("e1", T0, tools=("t1",), took=700))
    assert isinstance(call, Call)
    assert isinstance(tool, ToolCall)
    key = call.key
    assert (key.host, key.agent, key.session, key.project) == ("local", "main", "s1", "ws-main")
    assert (key.user, key.owner, key.task, key.channel) == ("ann", "bob", "triage", "telegram")
    assert (call.at, call.latency, call.cost, call.window) == (T0 + 700, 700, 1000, 200_000)


def test_cron_jobs_go_by_name() -> None:
    known = agent()
    known.who.learn("s1", SessionFacts(session_key="agent:main:cron:j1"))
    known.who.learn("s2", SessionFacts(session_key="agent:main:cron:j2"))
    assert known.who.key("s1").cron == "nightly report"
    assert known.who.key("s2").cron == "j2"


def test_tokens_without_a_cost_are_not_free() -> None:
    (call,) = read(Transcript(agent(), "s1"), answer("e1", T0, cost=0))
    assert isinstance(call, Call)
    assert call.cost is None


def test_every_failed_attempt_of_the_jsonl_era_is_an_error_line() -> None:
    story = [user("u1", T0, "do it"), failed("e1", T0), failed("e2", T0 + 1), failed("e3", T0 + 2, "other")]
    row = total(read(Transcript(agent(), "s1"), *story, answer("e4", T0 + 3, model="other")))
    assert row.counters == Counters(calls=1, errors=3, retries=2, fallbacks=1)


def test_a_turn_that_failed_stays_failed_when_the_next_one_begins() -> None:
    story = [user("u1", T0, "do it"), failed("e1", T0), user("u2", T0 + 1, "something else"), answer("e2", T0 + 2)]
    assert total(read(Transcript(agent(), "s1"), *story)).counters == Counters(calls=1, errors=1, failed_turns=1)


def test_a_turn_that_repeats_its_words_goes_on() -> None:
    story = [user("u1", T0, "do it"), failed("e1", T0), user("u2", T0 + 1, "do it"), answer("e2", T0 + 2)]
    assert total(read(Transcript(agent(), "s1"), *story)).counters == Counters(calls=1, errors=1, retries=1)


def test_quiet_makes_a_failed_turn_until_something_follows() -> None:
    transcript = Transcript(agent(), "s1")
    events = read(transcript, user("u1", T0, "do it"), failed("e1", T0), settled=True)
    assert total(events).counters == Counters(errors=1, failed_turns=1)
    assert transcript.settle() == []
    events += read(transcript, answer("e2", T0 + 9))
    assert total(events).counters == Counters(calls=1, errors=1, retries=1)


def test_aborts_are_as_many_as_the_larger_of_both_records() -> None:
    abort: dict[str, Any] = {"openclawAbort": {"aborted": True, "runId": "r"}, "idempotencyKey": "r:assistant"}
    story = [
        answer("a1", T0, tokens=(0, 0, 0, 0), stop="aborted"),
        answer("i1", T0 + 1, tokens=(0, 0, 0, 0), model="gateway-injected", **abort),
        answer("a2", T0 + 2, tokens=(0, 0, 0, 0), stop="aborted"),
    ]
    events = read(Transcript(agent(), "s1"), *story)
    assert total(events).counters == Counters(aborts=2)


def test_a_file_read_again_counts_nothing_twice() -> None:
    known = agent()
    story = [header("s1"), failed("e1", T0), answer("e2", T0 + 1, tools=("t",)), answer("a1", T0 + 2, stop="aborted")]
    once = read(Transcript(known, "s1"), *story)
    again = read(Transcript(known, "s1"), *story)
    assert total(once + again) == total(once)


def test_a_forks_older_entries_belong_to_its_source() -> None:
    old, new = answer("e1", T0), answer("e2", T0 + 20_000)
    parent = [header("s1"), old]
    fork = [header("s2", T0 + 10_000, parentSession="sqlite:main:s1"), old, new]
    for order in ((parent, fork), (fork, parent)):
        known = agent()
        events = [e for story in order for e in read(Transcript(known, story[0]["id"]), *story)]
        row = total(events)
        assert (row.counters.calls, row.sessions) == (2, 2)


def test_the_first_of_two_headers_says_when_a_session_began() -> None:
    known = agent()
    read(Transcript(known, "s1"), header("other", T0), header("s1", T0 + 5_000, cwd="/elsewhere"))
    assert known.who.facts("s1").created == T0
    assert known.who.key("s1").project == "ws-main"


def test_with_runs_the_trajectory_tells_the_errors() -> None:
    known = agent()
    transcript, trajectory = Transcript(known, "s1"), Trajectory(known)
    events = read(transcript, answer("e1", T0, error="529", run="r1"))
    assert events == []
    for seq in (1, 2):
        events += traced(trajectory, "model.completed", seq, stopReason="error")
    events += traced(trajectory, "session.ended", 3, status="error")
    events += transcript.settle()
    assert total(events).counters == Counters(errors=2, retries=1, failed_turns=1)


def test_without_a_trajectory_the_entry_is_the_finest_record() -> None:
    transcript = Transcript(agent(), "s1")
    events = read(transcript, answer("e1", T0, error="529", run="r1"), settled=True)
    assert total(events).counters == Counters(errors=1, failed_turns=1)


def test_a_trajectory_of_retries_and_a_fallback() -> None:
    trajectory = Trajectory(agent())
    events = []
    for seq in range(3):
        events += traced(trajectory, "model.completed", seq, stopReason="error", model="dear")
    events += traced(trajectory, "model.completed", 4, stopReason="stop", model="cheap")
    row = total(events)
    assert row.counters == Counters(errors=3, retries=2, fallbacks=1)
    assert row.runs == 1
    fallback = next(e for e in events if isinstance(e, Resolved) and e.how is Resolution.FALLBACK)
    assert fallback.to == "mock/cheap"


def test_an_interrupted_run_leaves_an_error_without_successor() -> None:
    trajectory = Trajectory(agent())
    events = traced(trajectory, "model.completed", 1, stopReason="error")
    events += traced(trajectory, "session.ended", 2, status="interrupted", aborted=True)
    assert total(events).counters == Counters(errors=1)


def test_an_aborted_run_is_one_abort_in_both_records() -> None:
    known = agent()
    abort: dict[str, Any] = {"openclawAbort": {"aborted": True, "runId": "r1"}}
    entry = answer("i1", T0, tokens=(0, 0, 0, 0), model="gateway-injected", run="r1", **abort)
    events = read(Transcript(known, "s1"), entry)
    events += traced(Trajectory(known), "model.completed", 1, stopReason="aborted", aborted=True)
    assert [type(e) for e in events].count(Aborted) == 2
    assert total(events).counters == Counters(aborts=1)


def test_what_a_hold_or_a_hook_refused_is_no_attempt() -> None:
    trajectory = Trajectory(agent())
    held = {"type": "model.completed", "ts": iso(T0), "sourceSeq": 1, "runId": "r1", "provider": "paused"}
    raw = json.dumps({**held, "modelId": "by-clawtop", "data": {"stopReason": "error"}}, separators=(",", ":")).encode()
    assert trajectory.read(raw, "s1") == []
    assert traced(trajectory, "model.completed", 2, promptErrorSource="hook:before_agent_run") == []


def test_attempts_of_2026_6_say_only_that_a_run_was() -> None:
    (event,) = traced(Trajectory(agent()), "model.completed", 1, aborted=True)
    assert isinstance(event, Attempt)
    assert event.key.run == "r1"


steps = st.lists(
    st.tuples(st.sampled_from(["ok", "error", "aborted", "prompt", "again"]), st.sampled_from(["a", "b"])), max_size=12
)


@given(steps)
def test_errors_are_retries_fallbacks_and_failed_turns(story: list[tuple[str, str]]) -> None:
    transcript, events, words = Transcript(agent(), "s1"), [], "start"
    for place, (step, model) in enumerate(story):
        at = T0 + place * 1000
        match step:
            case "ok" | "aborted":
                entry = answer(f"e{place}", at, model=model, stop="stop" if step == "ok" else "aborted")
            case "error":
                entry = failed(f"e{place}", at, model)
            case "prompt":
                words = f"words {place}"
                entry = user(f"e{place}", at, words)
            case _:
                entry = user(f"e{place}", at, words)
        events += read(transcript, entry)
    events += transcript.settle()
    counters = total(events).counters
    assert counters.errors == sum(step == "error" for step, _ in story)
    assert counters.errors == counters.retries + counters.fallbacks + counters.failed_turns


def test_an_answer_and_a_trajectory_cut_within_an_emoji_count() -> None:
    known = agent()
    (call,) = read(Transcript(known, "s1"), answer("e1", T0, content=[{"type": "text", "text": "cut \ud83d"}]))
    assert isinstance(call, Call)
    assert call.cost == 1000
    events = traced(Trajectory(known), "model.completed", 1, stopReason="error", promptError="cut \ud83d")
    assert [event.error for event in events if isinstance(event, Call)] == ["cut \ufffd"]
