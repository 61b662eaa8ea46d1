"""Codex's lines -> events: counters turned into calls, forks, tools, and what rollouts cannot show."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawtop.formats.attribution import ProjectRule
from clawtop.formats.codex import CodexLog, CodexLogs
from clawtop.model.events import (
    Aborted,
    Call,
    Compaction,
    Event,
    Resolution,
    Resolved,
    State,
    Tokens,
    ToolCall,
    ToolError,
)
from tests.codex_lines import MODEL, T0, context, count, event, item, line, meta, raw, usage
from tests.counted import total

FIRST, SECOND = usage(1000, 200, 50), usage(2500, 1400, 90)
STORY = [meta(), context(), count(FIRST, FIRST, 10), count(SECOND, usage(1500, 1200, 40), 20)]


def log(logs: CodexLogs | None = None, name: str = "rollout-1") -> CodexLog:
    return CodexLog(logs or CodexLogs("local"), name)


def read(*lines: dict[str, Any], into: CodexLog | None = None) -> list[Event]:
    return (into or log()).read(raw(*lines))


def calls(events: list[Event]) -> list[Call]:
    return [event for event in events if isinstance(event, Call)]


def test_counters_become_calls() -> None:
    first, second = calls(read(*STORY))
    assert (first.key.agent, first.key.session, first.key.project) == ("codex:web", "s1", "web")
    assert (first.at, first.provider, first.model, first.window) == (T0 + 10, "openai", MODEL, 258_400)
    assert first.tokens == Tokens(800, 50, 200, 0)
    assert second.tokens == Tokens(300, 40, 1200, 0)
    assert first.cost is None
    assert total([first, second]).counters.unpriced_calls == 0


def test_without_the_last_call_the_difference_is_taken() -> None:
    first, second = calls(read(meta(), context(), count(FIRST, None), count(SECOND, None, 20)))
    assert (first.tokens, second.tokens) == (Tokens(800, 50, 200, 0), Tokens(300, 40, 1200, 0))


def test_the_same_total_again_is_no_new_call() -> None:
    again = count(SECOND, usage(1500, 1200, 40), 99)
    assert len(calls(read(*STORY, again, again))) == 2
    assert not read(event("token_count", info=None), event("token_count", rate_limits={}))


def test_a_counter_that_drops_has_begun_anew() -> None:
    events = calls(read(*STORY, count(usage(700, 0, 7), None, 30), count(usage(900, 100, 9), None, 40)))
    assert [call.tokens for call in events[2:]] == [Tokens(700, 7), Tokens(100, 2, 100)]


def test_what_was_written_to_the_cache_is_part_of_the_input() -> None:
    written = usage(1000, 200, 50, cache_write_input_tokens=300)
    (call,) = calls(read(meta(), context(), count(written, written)))
    assert call.tokens == Tokens(500, 50, 200, 300)


def test_more_cached_than_there_was_is_cut() -> None:
    (call,) = calls(read(meta(), context(), count(usage(10, 99, 1), usage(10, 99, 1))))
    assert call.tokens == Tokens(0, 1, 10, 0)


def test_the_model_changes_with_the_turn() -> None:
    events = calls(read(*STORY[:3], context("gpt-5.4"), *STORY[3:]))
    assert [call.model for call in events] == [MODEL, "gpt-5.4"]


# ---- forks and subagents


def test_a_fork_that_repeats_its_parent_counts_only_its_own() -> None:
    logs = CodexLogs("local")
    later = [{**each, "timestamp": "2026-12-01T00:00:00.000Z"} for each in STORY]
    own = count(usage(4000, 2500, 100), usage(1500, 1100, 10), 5000)
    events = read(*STORY, into=log(logs, "a"))
    for name in ("s2", "s3"):
        fork = log(logs, name)
        events += read(meta(name, "/elsewhere/tree", forked_from_id="s1"), *later, into=fork)
        assert (fork.agent, fork.session, fork.parent) == ("codex:web", name, "s1")
    assert total(events).counters.calls == 2
    events += read(own, into=fork)
    assert total(events).counters.calls == 3
    assert total(events).tokens.output == 100


def test_a_fork_of_a_fork_is_of_the_same_family() -> None:
    logs = CodexLogs("local")
    events = read(*STORY, into=log(logs))
    events += read(meta("s2", forked_from_id="s1"), *STORY, into=log(logs))
    events += read(meta("s3", forked_from_id="s2"), *STORY, into=log(logs))
    assert total(events).counters.calls == 2


@pytest.mark.parametrize(
    "born",
    [{"parent_thread_id": "s1"}, {"source": {"subagent": {"thread_spawn": {"parent_thread_id": "s1", "depth": 1}}}}],
)
def test_a_subagent_counts_for_the_agent_that_started_it(born: dict[str, Any]) -> None:
    logs = CodexLogs("local")
    read(*STORY, into=log(logs))
    own = usage(14_700, 0, 33)
    (call,) = calls(read(meta("s2", "/srv/tree", **born), meta("s1"), context(), count(own, own), into=log(logs)))
    assert (call.key.agent, call.key.session, call.key.parent) == ("codex:web", "s2", "s1")
    assert call.key.project == "tree"


def test_subagents_with_equal_figures_each_count() -> None:
    logs = CodexLogs("local")
    events = read(*STORY, into=log(logs))
    own = usage(12_000, 9_000, 20)
    for name in ("w1", "w2", "w3"):
        events += read(meta(name, parent_thread_id="s1"), context(), count(own, own), into=log(logs))
    events += read(meta("f1", forked_from_id="w1"), context(), count(own, own), into=log(logs))
    assert total(events).counters.calls == 2 + 3
    assert {call.key.agent for call in calls(events)} == {"codex:web"}


def test_threads_that_are_no_family_are_told_apart() -> None:
    logs = CodexLogs("local")
    events = read(*STORY, into=log(logs)) + read(meta("s2"), *STORY[1:], into=log(logs))
    assert total(events).counters.calls == 4


def test_an_older_subagents_session_id_is_not_its_own() -> None:
    child = log()
    read(meta("s2", session_id="s1", parent_thread_id="s1"), into=child)
    assert child.session == "s2"


# ---- what else happens


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (item("function_call", name="shell", call_id="c1", arguments="{}"), "shell"),
        (item("custom_tool_call", name="apply_patch", call_id="c1", input="*** Begin"), "apply_patch"),
        (item("local_shell_call", call_id="c1", action={"type": "exec"}), "shell"),
        (item("web_search_call", id="c1", action={}), "web_search"),
    ],
)
def test_tools_are_known_by_their_ids(asked: dict[str, Any], name: str) -> None:
    found = [each for each in read(*STORY, asked) if isinstance(each, ToolCall)]
    assert [(each.id, each.tool, each.model) for each in found] == [("c1", name, MODEL)]


@pytest.mark.parametrize(
    ("output", "failed"),
    [
        ("Exit code: 1\nWall time: 0.1 seconds\nOutput:\nno such file", True),
        ("Chunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code 127\nOutput:\n", True),
        ("Exit code: 0\nOutput:\nfine", False),
        ("Chunk ID: 1\nProcess exited with code 0\n", False),
        ('{"output":"bad","metadata":{"exit_code":2,"duration_seconds":0.1}}', True),
        ('{"output":"good","metadata":{"exit_code":0,"duration_seconds":0.1}}', False),
        ("words " * 200 + "Exit code: 1", False),
    ],
)
def test_a_tool_that_ended_with_another_code_than_0_failed(output: str, failed: bool) -> None:
    asked = item("function_call", name="shell", call_id="c1", arguments="{}")
    found = read(*STORY, asked, item("function_call_output", 5, call_id="c1", output=output))
    errors = [(each.id, each.tool) for each in found if isinstance(each, ToolError)]
    assert errors == ([("c1", "shell")] if failed else [])


def test_a_patch_that_did_not_apply_is_a_tools_error() -> None:
    found = read(*STORY, event("patch_apply_end", call_id="c9", success=False, stderr=""))
    assert [(each.id, each.tool) for each in found if isinstance(each, ToolError)] == [("c9", "apply_patch")]
    assert not read(event("patch_apply_end", call_id="c9", success=True))


def test_turns_that_were_cut_off_and_compactions_are_counted_once_in_a_family() -> None:
    logs = CodexLogs("local")
    more = [event("turn_aborted", 30, turn_id="t1", reason="interrupted"), line("compacted", {"message": "x"}, 40)]
    copies = [{**each, "timestamp": "2026-12-01T00:00:00.000Z"} for each in more]
    events = read(*STORY, *more, into=log(logs)) + read(meta("s2", forked_from_id="s1"), *copies, into=log(logs))
    assert {type(each) for each in events} == {Call, Aborted, Compaction}
    counters = total(events).counters
    assert (counters.aborts, counters.compactions) == (1, 1)


@pytest.mark.parametrize(
    ("turn", "state"),
    [
        ([], State.UNKNOWN),
        ([event("task_complete")], State.IDLE),
        ([event("error", message="usage limit"), event("task_complete")], State.ERROR),
        ([event("turn_aborted", reason="interrupted")], State.IDLE),
        ([event("task_complete"), event("task_started")], State.UNKNOWN),
    ],
)
def test_the_log_tells_what_a_turn_came_to(turn: list[dict[str, Any]], state: State) -> None:
    thread = log()
    read(*STORY, event("task_started"), *turn, into=thread)
    assert thread.state is state


def test_failed_attempts_that_somebody_had_kept_are_counted() -> None:
    events = read(*STORY[:3], event("stream_error", 12, message="stream disconnected; retrying 1/5"), *STORY[3:])
    assert [each.how for each in events if isinstance(each, Resolved)] == [Resolution.RETRY]
    events = read(*STORY, event("stream_error", 30, message="a"), event("error", 31, message="b"))
    assert [each.how for each in events if isinstance(each, Resolved)] == [Resolution.RETRY, Resolution.FAILED]
    assert total(events).counters.errors == 2


def test_a_name_names_the_thread() -> None:
    named = log()
    read(*STORY, event("thread_name_updated", thread_name="Fix the build"), into=named)
    assert named.key().session_key == "Fix the build"


def test_rules_name_the_project() -> None:
    logs = CodexLogs("local", [ProjectRule("frontend", path="/srv/*")])
    assert calls(read(*STORY, into=log(logs)))[0].key.project == "frontend"


def test_lines_may_have_a_number_of_their_own() -> None:
    numbered = [{"timestamp": each["timestamp"], "ordinal": 7, **each} for each in STORY]
    assert len(calls(read(*numbered))) == 2


def test_lines_in_another_order_of_their_fields_are_read_too() -> None:
    turned = [dict(reversed(each.items())) for each in STORY]
    assert len(calls(read(*turned))) == 2
    turned.append(dict(reversed(item("function_call_output", call_id="c", output="fine").items())))
    assert not [each for each in read(*turned) if isinstance(each, ToolError)]


# ---- what may come


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (b"\0" * 40, "not JSON"),
        (b'{"timestamp":"x","type":"session_meta","payload":{}', "not JSON"),
        (b'{"timestamp":"x","type":"turn_context","payload":{"a":}}', "not JSON"),
        (b'{"a":1}', "a line without a payload"),
        (raw({**count(usage(1, 0, 1), None), "timestamp": "soon"})[0], "a line without a time"),
        (raw(count(usage(-1, 0, 1), None))[0], "a token count is negative, fractional or huge"),
    ],
)
def test_what_cannot_be_used_is_counted(odd: bytes, reason: str) -> None:
    strange = log()
    events = strange.read([odd, *raw(*STORY)])
    assert strange.skipped == {reason: 1}
    assert len(calls(events)) == 2


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_no_line_is_too_odd(data: st.DataObject) -> None:
    story = [*deepcopy(STORY), context(), event("error", message="x"), item("function_call", name="x", call_id="y")]
    broken = []
    for each in [*story, item("function_call_output", call_id="y", output="Exit code: 1"), line("compacted", {})]:
        place: Any = each
        while isinstance(place, dict) and place:
            name = data.draw(st.sampled_from(sorted(place)))
            inner = place[name]
            if not isinstance(inner, dict) or data.draw(st.booleans()):
                place[name] = data.draw(odd)
                break
            place = inner
        broken.append(each)
    thread = log()
    thread.read(raw(*broken))
    thread.settle(T0)
    big = usage(10**9, 0, 5)
    assert len(calls(thread.read(raw(count(big, usage(7, 0, 1), 10**6))))) == 1


@given(st.lists(st.integers(1, 5), max_size=4), st.integers(1, 3))
def test_any_chunking_gives_the_same_calls(sizes: list[int], forks: int) -> None:
    lines = [*STORY, count(usage(700, 0, 7), None, 30), count(usage(900, 100, 9), None, 40)]

    def counted(sizes: list[int]) -> object:
        logs, events = CodexLogs("local"), []
        for number in range(forks):
            about = {"forked_from_id": "s0"} if number else {}
            waiting, thread = raw(meta(f"s{number}", **about), *lines[1:]), log(logs)
            for size in [*sizes, 100]:
                events += thread.read(waiting[:size])
                waiting = waiting[size:]
        row = total(events)
        return row.tokens, row.counters, row.cost

    assert counted(sizes) == counted([])
