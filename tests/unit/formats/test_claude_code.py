"""Claude Code's lines -> events: messages on several lines, retries, subagents, copies, and what is no call."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clawtop.formats.attribution import ProjectRule
from clawtop.formats.claude_code import ClaudeLog, ClaudeLogs
from clawtop.formats.claude_lines import Place, home_of, place_of
from clawtop.model.events import Aborted, Call, Event, Increase, Resolution, Resolved, Tokens, ToolCall, ToolError
from clawtop.model.snapshot import Grouping
from tests.claude_lines import CWD, SLUG, T0, answer, api_error, gave_up, line, raw, result, said, usage
from tests.counted import seen, total

HERE = Place(SLUG, "s1")
TOKENS = Tokens(10, 50, 1000, 200)


def log(place: Place = HERE, senior: int = 0, **logs: Any) -> ClaudeLog:
    return ClaudeLog(ClaudeLogs("local", **logs), place, senior)


def read(*lines: dict[str, Any], into: ClaudeLog | None = None) -> list[Event]:
    return (into or log()).read(raw(*lines))


def calls(events: list[Event]) -> list[Call]:
    return [event for event in events if isinstance(event, Call)]


def resolved(events: list[Event]) -> list[Resolution]:
    return [event.how for event in events if isinstance(event, Resolved)]


def test_a_call_carries_who_where_and_what() -> None:
    (call,) = calls(read(answer(stop="end_turn")))
    assert (call.key.host, call.key.agent, call.key.session, call.key.project) == ("local", "claude:api", "s1", "api")
    assert call.key.user is None
    assert (call.at, call.provider, call.model) == (T0, "anthropic", "claude-sonnet-4-5-20250929")
    assert (call.tokens, call.cost, call.cache_write_1h, call.stop) == (TOKENS, None, 0, "end_turn")


def test_a_message_on_several_lines_counts_once_as_its_last_line_says() -> None:
    events = read(answer(usage=usage(1)), answer(ms=5, usage=usage(8), tools=["t1"]), answer(ms=9, usage=usage(50)))
    assert [call.tokens for call in calls(events)] == [TOKENS]
    assert total(events).counters.tool_calls == 1


def test_a_line_that_comes_later_corrects_what_was_shown() -> None:
    at_once = log()
    first = at_once.read(raw(answer(usage=usage(1))))
    assert [call.tokens.output for call in calls(first)] == [1]
    later = at_once.read(raw(answer(ms=9000, usage=usage(50))))
    assert not calls(later)
    assert [(event.at, event.tokens.output) for event in later if isinstance(event, Increase)] == [
        (T0, -1),
        (T0 + 9000, 50),
    ]
    row = total(first + later)
    assert (row.tokens, row.counters.calls, row.cost) == (TOKENS, 1, total(read(answer())).cost)


def test_a_line_that_says_the_same_again_changes_nothing() -> None:
    at_once = log()
    at_once.read(raw(answer()))
    assert at_once.read(raw(answer(ms=700))) == []


def test_the_last_line_counts_even_where_it_says_less() -> None:
    assert total(read(answer(usage=usage(90)), answer(ms=9))).tokens == TOKENS


def test_a_broken_last_line_leaves_the_one_before_it() -> None:
    broken = log()
    events = read(answer(), answer(ms=9, usage=usage(-1)), into=broken)
    assert total(events).tokens == TOKENS
    assert broken.skipped == {"a token count is negative, fractional or huge": 1}


def test_caches_of_an_hour_are_told_apart() -> None:
    lifetimes = {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 150}
    (call,) = calls(read(answer(usage=usage(cache_creation=lifetimes))))
    assert (call.tokens, call.cache_write_1h) == (TOKENS, 150)
    dearer, cheaper = total([call]).cost, total(read(answer())).cost
    assert dearer - cheaper == pytest.approx(150 * (6 - 3.75), abs=1)


@pytest.mark.parametrize(
    ("written", "lifetimes", "expected"),
    [(200, None, (200, 0)), (200, {}, (200, 0)), (0, {"ephemeral_1h_input_tokens": 70}, (70, 70))],
)
def test_what_was_written_is_known_where_only_one_of_both_says_it(
    written: int, lifetimes: object, expected: tuple[int, int]
) -> None:
    (call,) = calls(read(answer(usage=usage(cache_creation_input_tokens=written, cache_creation=lifetimes))))
    assert (call.tokens.cache_write, call.cache_write_1h) == expected


def test_old_lines_have_a_cost_and_no_lifetimes() -> None:
    (call,) = calls(read(answer(costUSD=0.0125, usage=usage(cache_creation=None))))
    assert (call.cost, call.tokens) == (12_500, TOKENS)


def test_a_corrected_cost_is_the_logged_one() -> None:
    at_once = log()
    events = at_once.read(raw(answer(usage=usage(1), costUSD=0.001))) + at_once.read(raw(answer(ms=9, costUSD=0.002)))
    assert (total(events).cost, total(events).basis.value) == (2000, "logged")


def test_who_answers_faster_has_no_known_price() -> None:
    events = read(answer(model="claude-opus-4-6", usage=usage(speed="fast")))
    assert calls(events)[0].model == "claude-opus-4-6-fast"
    assert total(events).counters.unpriced_calls == 1


@pytest.mark.parametrize(
    ("model", "provider"),
    [("claude-opus-4-6", "anthropic"), ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"), ("glm-4.6", "")],
)
def test_the_provider_is_what_the_model_tells(model: str, provider: str) -> None:
    assert calls(read(answer(model=model)))[0].provider == provider


# ---- copies


def test_a_copy_in_another_file_is_the_same_message() -> None:
    logs = ClaudeLogs("local")
    older, newer = ClaudeLog(logs, HERE, senior=-1), ClaudeLog(logs, Place(SLUG, "s2"), senior=-2)
    copies = raw(answer(sessionId="s2"), answer("msg_2", 50, sessionId="s2"))
    events = newer.read(copies) + older.read(raw(answer()))
    sessions = seen(events, Grouping.SESSION).rows
    assert {row.group[-1]: row.counters.calls for row in sessions} == {"s1": 1, "s2": 1}
    assert total(events).tokens.total == 2 * TOKENS.total


def test_a_forks_lines_belong_to_the_session_they_come_from() -> None:
    origin = {"sessionId": "s1", "messageUuid": "u9"}
    (call,) = calls(read(answer(sessionId="s2", forkedFrom=origin)))
    assert call.key.session == "s1"
    (event,) = read(api_error(sessionId="s2", forkedFrom=origin))
    assert isinstance(event, Call)
    assert event.id == "u9"


def test_a_side_question_repeats_messages_under_new_requests() -> None:
    repeated = answer(isSidechain=True, requestId="req_other", ms=99, usage=usage(51))
    for lines in ([answer(), repeated], [repeated, answer()]):
        assert total(read(*lines)).tokens == TOKENS


def test_ids_that_are_not_anthropics_are_told_apart_by_their_request() -> None:
    events = read(answer("1", requestId="a"), answer("1", requestId="b"), answer("1", requestId="a"))
    assert total(events).counters.calls == 2


def test_a_message_without_an_id_is_its_line() -> None:
    assert total(read(answer(None), answer(None, 5), answer(None))).counters.calls == 2  # type: ignore[arg-type]


# ---- subagents


def test_a_subagent_counts_for_the_agent_in_a_session_of_its_own() -> None:
    child = log(place_of(f"{SLUG}/s1/subagents/agent-a7.jsonl"))
    (call,) = calls(read(answer(isSidechain=True, agentId="a7", cwd=f"{CWD}/src"), into=child))
    assert (call.key.agent, call.key.session, call.key.parent) == ("claude:api", "a7", "s1")


def test_a_subagent_elsewhere_belongs_to_the_project_it_was_started_in() -> None:
    logs = ClaudeLogs("local")
    ClaudeLog(logs, HERE).read(raw(said("go")))
    child = ClaudeLog(logs, Place(SLUG, "s1", "a7"))
    (call,) = calls(child.read(raw(answer(isSidechain=True, agentId="a7", cwd="/elsewhere"))))
    assert call.key.agent == "claude:api"


def test_what_a_session_says_of_a_subagents_answer_is_that_answer() -> None:
    inner = answer(ms=3)
    told = line("progress", 4, data={"type": "agent_progress", "agentId": "a7", "message": inner})
    (call,) = calls(read(told))
    assert (call.key.session, call.key.parent) == ("a7", "s1")
    assert total(read(told, answer(ms=3, isSidechain=True, agentId="a7"))).counters.calls == 1


# ---- failures


def test_a_retry_follows_each_failed_attempt() -> None:
    events = read(answer(), api_error(1), api_error(2), answer("msg_2", 3))
    assert resolved(events) == [Resolution.RETRY, Resolution.RETRY]
    failed = [call for call in calls(events) if call.error]
    assert [(call.error, call.model) for call in failed] == [("529 Overloaded", "claude-sonnet-4-5-20250929")] * 2
    counters = total(events).counters
    assert (counters.errors, counters.retries, counters.failed_turns, counters.calls) == (2, 2, 0, 2)


def test_another_model_that_answers_is_a_fallback() -> None:
    events = read(answer(), api_error(1), answer("msg_2", 3, model="claude-haiku-4-5"))
    (fell,) = [event for event in events if isinstance(event, Resolved)]
    assert (fell.how, fell.to) == (Resolution.FALLBACK, "anthropic/claude-haiku-4-5")


def test_the_first_attempt_of_a_session_has_no_model_to_fall_back_from() -> None:
    assert resolved(read(api_error(1), answer("msg_2", 3))) == [Resolution.RETRY]


def test_a_turn_that_was_given_up_has_failed() -> None:
    failed = log()
    events = read(answer(), api_error(1), gave_up(2), into=failed)
    assert resolved(events) == [Resolution.RETRY, Resolution.FAILED]
    assert total(events).counters.errors == 2
    assert total(events).counters.calls == 1
    assert failed.failed
    read(answer("msg_2", 9), into=failed)
    assert not failed.failed


def test_what_claude_code_wrote_itself_is_no_call() -> None:
    assert not read(answer(model="<synthetic>", usage=usage(5)))


def test_a_new_question_means_that_the_turn_failed() -> None:
    assert resolved(read(api_error(1), said("and now?", 2))) == [Resolution.FAILED]
    assert resolved(read(api_error(1), said("hidden", 2, isMeta=True), result("t", 3))) == []


def test_what_was_cut_off_between_two_attempts_has_no_successor() -> None:
    events = read(api_error(1), said("[Request interrupted by user]", 2), said("go on", 3), answer("msg_2", 4))
    assert resolved(events) == []
    assert [event.id for event in events if isinstance(event, Aborted)] == ["p2"]


def test_words_about_an_interruption_are_none() -> None:
    assert not read(said("what does [Request interrupted by user] mean?"))


def test_after_a_while_a_failed_attempt_passes_for_lost_until_something_follows() -> None:
    waiting = log()
    events = read(answer(), api_error(1), into=waiting)
    assert waiting.settle(T0 + 60_000) == []
    lost = waiting.settle(T0 + 200_000)
    assert waiting.settle(T0 + 300_000) == []
    assert total(events + lost).counters.failed_turns == 1
    found = read(answer("msg_2", 400_000), into=waiting)
    counters = total(events + lost + found).counters
    assert (counters.retries, counters.failed_turns) == (1, 0)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ({"status": 503, "error": {"type": "new_api_error"}}, "503 new_api_error"),
        ({"cause": {"code": "FailedToOpenSocket", "path": "https://x"}}, "FailedToOpenSocket"),
        ({"message": "Connection error."}, "Connection error."),
        ("odd", "failed"),
        (None, "failed"),
    ],
)
def test_an_error_says_its_innermost_reason(error: object, said: str) -> None:
    (call,) = calls(read({**api_error(), "error": error}))
    assert call.error == said


# ---- tools, compactions, names


def test_tools_are_known_by_their_ids() -> None:
    events = read(
        answer(tools=["t1", "t2"]), answer(ms=9, tools=["t1"]), result("t1", 20), result("t2", 21, failed=True)
    )
    tools = {event.id: event.tool for event in events if isinstance(event, ToolCall)}
    errors = [(event.id, event.tool) for event in events if isinstance(event, ToolError)]
    assert (tools, errors) == ({"t1": "Bash", "t2": "Bash"}, [("t2", "Bash")])
    assert total(events).counters.tool_calls == 2


def test_compactions_are_counted() -> None:
    counters = total(read(answer(), line("system", 3, subtype="compact_boundary"), line("system", 4, subtype="x")))
    assert counters.counters.compactions == 1


def test_a_title_names_the_session_and_a_persons_stays() -> None:
    def title(kind: str, name: str, words: str) -> dict[str, str]:
        return {"type": f"{kind}-title", name: words, "sessionId": "s1"}

    titled = log()
    read(answer(), title("ai", "aiTitle", "Find the leak"), into=titled)
    assert titled.key().session_key == "Find the leak"
    read(title("custom", "customTitle", "leak"), title("ai", "aiTitle", "Another"), into=titled)
    assert titled.key().session_key == "leak"
    assert titled.key().session == "s1"


def test_rules_name_the_project() -> None:
    rules = [ProjectRule("backend", path="/srv/*", agent="claude:*")]
    assert calls(read(answer(), into=log(projects=rules)))[0].key.project == "backend"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("-srv-api/s1.jsonl", Place("-srv-api", "s1")),
        ("-srv-api/s1/subagents/agent-a7.jsonl", Place("-srv-api", "s1", "a7")),
        ("-srv-api/agent-a7.jsonl", Place("-srv-api", "agent-a7", "a7")),
        ("s1.jsonl", Place("", "s1")),
    ],
)
def test_a_path_says_whose_log_it_is(path: str, place: Place) -> None:
    assert place_of(path) == place


@pytest.mark.parametrize(
    ("slug", "cwd", "home"),
    [
        ("-srv-api", "/srv/api", "/srv/api"),
        ("-srv-api", "/srv/api/src/deep", "/srv/api"),
        ("-srv-my-api", "/srv/my_api/src", "/srv/my_api"),
        ("-srv-api", "/elsewhere", None),
        ("", "", None),
    ],
)
def test_the_folder_it_was_started_in_is_found_above_the_one_it_is_in(slug: str, cwd: str, home: str | None) -> None:
    assert home_of(slug, cwd) == home


# ---- what may come


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (b"\0" * 40, "not JSON"),
        (b'{"usage":', "not JSON"),
        (b'{"cwd":"/x","usage" }', "not JSON"),
        (b'["usage"]', "not JSON"),
        (b'{"type":"assistant","cwd":"/x","usage":1}', "an answer without a message"),
        (raw({**answer(), "timestamp": "soon"})[0], "a line without a time"),
        (raw({**answer(usage=usage(1.5)), "cwd": "/x"})[0], "a token count is negative, fractional or huge"),
        (raw({**api_error(), "uuid": None})[0], "a line without id"),
    ],
)
def test_what_cannot_be_used_is_counted(odd: bytes, reason: str) -> None:
    strange = log()
    events = strange.read([odd, *raw(answer())])
    assert strange.skipped == {reason: 1}
    assert len(calls(events)) == 1


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_no_line_is_too_odd(data: st.DataObject) -> None:
    kinds = [answer(tools=["t"]), said("x"), result("t", failed=True), api_error(), gave_up()]
    broken = []
    for each in [*kinds, line("system", subtype="compact_boundary"), line("progress", data={"message": answer()})]:
        place: Any = each
        while isinstance(place, dict) and place:
            name = data.draw(st.sampled_from(sorted(place)))
            inner = place[name]
            if not isinstance(inner, dict) or data.draw(st.booleans()):
                place[name] = data.draw(odd)
                break
            place = inner
        broken.append(each)
    reader = log()
    reader.read(raw(*broken))
    reader.settle(T0 + 10**9)
    assert total(reader.read(raw(answer("msg_z", 10**6)))).counters.calls == 1


revisions = st.builds(
    lambda message, ms, output, side, tools: answer(
        f"msg_{message}",
        ms,
        usage=usage(output),
        isSidechain=side,
        agentId="a1" if side else None,
        tools=[f"t{message}{tools}"] if tools else [],
    ),
    st.integers(1, 4),
    st.integers(0, 5),
    st.integers(1, 900),
    st.booleans(),
    st.integers(0, 2),
)


@settings(deadline=None)
@given(st.lists(st.lists(revisions, max_size=8), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_any_chunking_and_any_order_of_files_gives_the_same_totals(files: list[list[Any]], dice: Any) -> None:
    def counted(order: list[int], most: int) -> object:
        logs = ClaudeLogs("local")
        places = [Place(SLUG, f"s{number}") for number in range(len(files))]
        readers = [ClaudeLog(logs, place, senior=-number) for number, place in enumerate(places)]
        events: list[Event] = []
        waiting = {number: raw(*files[number]) for number in order}
        while waiting:
            number = dice.choice(list(waiting))
            size = dice.randint(1, most)
            events += readers[number].read(waiting[number][:size])
            waiting[number] = waiting[number][size:]
            if not waiting[number]:
                del waiting[number]
        row = total(events)
        sessions = seen(events, Grouping.SESSION).rows
        spent = {each.group: (each.tokens, each.counters.calls) for each in sessions if each.counters.calls}
        return row.tokens, row.cost, row.counters, spent

    order = list(range(len(files)))
    whole = counted(order, 1000)
    assert counted(order[::-1], 1000) == whole
    assert counted(order, 1) == whole
    assert counted(order, 3) == whole
