"""What a row shows besides its counts, and which rows there are."""

import pytest

from clawtop.model.commands import Hold, HoldState, Target
from clawtop.model.errors import UsageError
from clawtop.model.events import Blind, Call, SessionState, State, Tokens, ToolError
from clawtop.model.keys import Key
from clawtop.model.selection import Scope, parse_filter
from clawtop.model.snapshot import OF_ONE_AGENT, Grouping, Row, Snapshot, SourceStatus, View, Window

from .made import CODER, DAY, HOUR, MINUTE, NOW, SECOND, call, failed, fleet, only, shot

MAIN = CODER._replace(agent="main", session="m1", run="q1", project="web")


def state(key: Key, state: State, ago: int = MINUTE, detail: str | None = None) -> SessionState:
    return SessionState(key, NOW - ago, state, detail)


def labels(snapshot: Snapshot) -> list[str]:
    return [row.label for row in snapshot.rows]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], State.UNKNOWN),
        ([("s1", State.IDLE, 5), ("s2", State.RUNNING, 9), ("s3", State.ERROR, 1)], State.RUNNING),
        ([("s1", State.IDLE, 5), ("s2", State.ERROR, 9)], State.IDLE),
        ([("s1", State.IDLE, 9), ("s2", State.ERROR, 5), ("s3", State.UNKNOWN, 1)], State.ERROR),
        ([("s1", State.RUNNING, 9), ("s1", State.IDLE, 5)], State.IDLE),
        ([("s1", State.IDLE, 5), ("s1", State.RUNNING, 9)], State.IDLE),
        ([("s1", State.UNKNOWN, 5)], State.UNKNOWN),
        ([(None, State.IDLE, 5)], State.IDLE),
        ([(None, State.RUNNING, 5), ("s1", State.ERROR, 1)], State.RUNNING),
    ],
)
def test_an_agent_s_state(states: list[tuple[str | None, State, int]], expected: State) -> None:
    events = [state(CODER._replace(session=session), each, ago * SECOND) for session, each, ago in states]
    made = fleet(call("a"), *events)
    row = only(made)
    assert (row.state, row.agents, row.agents_running) == (expected, 1, int(expected is State.RUNNING))
    assert shot(made).total.state is expected


def test_the_latest_state_wins_and_the_later_fold_among_equals() -> None:
    made = fleet(state(CODER, State.RUNNING), state(CODER, State.ERROR, detail="boom"))
    assert (only(made).state, only(made).detail) == (State.ERROR, "boom")


def test_the_detail_is_the_last_error_s() -> None:
    other = CODER._replace(session="s2")
    events = [state(CODER, State.ERROR, 9, "new"), state(other, State.ERROR, 99, "old"), state(CODER, State.IDLE, 5)]
    made = fleet(*events)
    assert only(made).detail == "new"
    assert shot(fleet(*reversed(events))).rows[0].detail == "new"


def test_an_agent_that_spent_nothing_yet_has_a_row_in_every_window() -> None:
    made = fleet(state(Key("local", "new"), State.IDLE))
    for window in Window:
        assert (only(made, window).label, only(made, window).state) == ("new", State.IDLE)
        assert shot(made, window, Grouping.PROJECT).rows == ()
        assert shot(made, window, Grouping.PROJECT).total.agents == 1


def test_agents_stay_and_other_rows_go_with_what_they_spent() -> None:
    made = fleet(call("a", ago=2 * HOUR))
    assert labels(shot(made)) == ["coder"]
    assert only(made).tokens.total == 0
    assert (only(made).project, only(made).projects, only(made).model) == ("api", 1, "mock/normal")
    for grouping in Grouping:
        if grouping is not Grouping.AGENT:
            assert shot(made, group_by=grouping).rows == ()
            assert len(shot(made, Window.H24, grouping).rows) == 1


def test_a_session_that_runs_has_a_row_before_it_spent_anything() -> None:
    made = fleet(state(CODER, State.RUNNING), state(CODER._replace(session="s2", run="r2"), State.IDLE))
    assert labels(shot(made, group_by=Grouping.SESSION)) == ["s1"]
    assert labels(shot(made, group_by=Grouping.RUN)) == ["r1"]
    assert only(made, group_by=Grouping.PROJECT).state is State.RUNNING


def test_only_the_session_that_runs_is_running() -> None:
    other = CODER._replace(session="s2", run="r2", project="web")
    made = fleet(call("a"), call("b", key=other), state(CODER, State.RUNNING), state(other, State.ERROR, detail="boom"))
    for grouping, first, second in (
        (Grouping.SESSION, "s1", "s2"),
        (Grouping.RUN, "r1", "r2"),
        (Grouping.PROJECT, "api", "web"),
    ):
        rows = {row.label: row for row in shot(made, group_by=grouping).rows}
        assert (rows[first].state, rows[second].state) == (State.RUNNING, State.ERROR)
        assert rows[second].detail == "boom"


def test_a_run_that_is_over_does_not_run_with_its_session() -> None:
    made = fleet(call("a"), call("b", key=CODER._replace(run="r0")), state(CODER, State.RUNNING))
    assert {row.label: row.state for row in shot(made, group_by=Grouping.RUN).rows} == {
        "r1": State.RUNNING,
        "r0": State.IDLE,
    }


def test_a_row_of_several_agents() -> None:
    made = fleet(call("a"), call("b", key=MAIN), state(MAIN, State.ERROR), state(CODER, State.IDLE))
    row = only(made, group_by=Grouping.HOST)
    assert (row.state, row.agents, row.agents_running, row.host) == (State.ERROR, 2, 0, "local")
    made.fold(state(CODER, State.RUNNING, 0))
    row = only(made, group_by=Grouping.MODEL)
    assert (row.state, row.agents, row.agents_running) == (State.RUNNING, 2, 1)
    assert shot(made).total.agents_running == 1


def test_a_row_shows_the_project_and_user_with_most_spend() -> None:
    made = fleet(
        call("a", cost=10, key=CODER._replace(project="api", user="ann")),
        call("b", cost=90, key=CODER._replace(project="web", user=None)),
        call("c", cost=9000, ago=2 * HOUR, key=CODER._replace(project="old", user="bob")),
    )
    assert (only(made).project, only(made).projects, only(made).user) == ("web", 2, "ann")
    assert (only(made, Window.H24).project, only(made, Window.H24).projects) == ("old", 3)
    assert (only(made, Window.H24).user, shot(made).total.projects) == ("bob", 2)


def test_the_model_is_the_latest_attempt_s() -> None:
    made = fleet(call("a", model="big"), failed("b", ago=0, model="err429"), call("c", ago=HOUR, model="old"))
    assert only(made).model == "mock/err429"
    assert only(fleet(call("a", provider=""))).model == "normal"
    assert only(fleet(ToolError(CODER, NOW, "a", "exec"))).model is None
    assert only(fleet(call("a", provider="mock", model="")), group_by=Grouping.MODEL).label == "mock"


def test_how_full_the_context_is() -> None:
    full = call("a", ago=5, tokens=Tokens(500, 1, 400, 100), window=10_000)
    assert only(fleet(full, call("b", ago=9, window=10))).context_pct == 10
    later = call("c", ago=1, tokens=Tokens(50, 900))
    assert only(fleet(full, later, failed("e", ago=0))).context_pct == 0.5, "of the session's known window"
    unknown = call("d", ago=0, key=CODER._replace(session="s2"))
    assert only(fleet(full, unknown)).context_pct is None


def test_latencies_of_calls() -> None:
    row = only(fleet(*(call(str(each), latency=each * 100) for each in range(1, 101))))
    assert row.latency_p50 == pytest.approx(5000, rel=0.05)
    assert row.latency_p95 == pytest.approx(9500, rel=0.05)
    row = only(fleet(call("a"), call("b", latency=-3), call("c", tokens=Tokens(), error="x", latency=9)))
    assert (row.latency_p50, row.latency_p95) == (None, None)


def test_rates_are_over_five_minutes_whatever_the_window() -> None:
    made = fleet(call("a", ago=4 * MINUTE, cost=1_000_000), call("b", ago=6 * MINUTE), call("c", ago=DAY))
    for window in Window:
        row, total = only(made, window), shot(made, window, Grouping.MODEL).total
        for each in (row, total):
            assert (each.tokens_per_min, each.calls_per_min, each.usd_per_hour) == (22, 0.2, 12)
            assert each.kinds_per_min == Tokens(20, 2)


def test_tokens_over_time() -> None:
    made = fleet(call("a", ago=0), call("b", ago=MINUTE), call("c", ago=55 * MINUTE), call("d", ago=-MINUTE))
    spark = only(made).spark
    assert len(spark) == 30
    assert (sum(spark), spark[-1] >= 220) == (440, True)
    assert next(place for place, tokens in enumerate(spark) if tokens) in (1, 2)
    assert sum(only(fleet(call("a", ago=90 * DAY), call("b")), Window.ALL).spark) == 220
    assert shot(made).total.spark == spark


def test_the_last_fifteen_minutes_of_the_whole_scope() -> None:
    made = fleet(call("a", ago=0), call("b", ago=14 * MINUTE, key=MAIN), call("c", ago=16 * MINUTE))
    snapshot = shot(made, Window.M1)
    assert (len(snapshot.recent_tokens), len(snapshot.recent_cost)) == (180, 180)
    assert (sum(snapshot.recent_tokens), sum(snapshot.recent_cost)) == (220, 2000)
    assert (snapshot.recent_tokens[-1], snapshot.recent_cost[-1]) == (110, 1000)
    assert sum(shot(made, Window.M1, scope=Scope(agents=("main",))).recent_tokens) == 110


def test_first_and_last() -> None:
    row = only(fleet(call("a", ago=3 * DAY), ToolError(CODER, NOW - 7, "t", "exec"), call("u", ago=NOW)))
    assert (row.first_at, row.last_at) == (NOW - 3 * DAY, NOW - 7)


def test_what_some_agent_of_a_row_cannot_know() -> None:
    made = fleet(call("a"), call("b", key=MAIN))
    shot(made)
    made.fold(Blind(CODER, frozenset({"retries"})))
    made.fold(Blind(CODER, frozenset({"runs"})))
    assert {row.label: set(row.blind) for row in shot(made).rows} == {"coder": {"retries", "runs"}, "main": set()}
    assert only(made, group_by=Grouping.HOST).blind == shot(made).total.blind == {"retries", "runs"}
    assert shot(made, filter=parse_filter("main")).total.blind == frozenset()


def test_a_scope_cuts_inside_rows() -> None:
    made = fleet(call("a"), call("b", key=CODER._replace(project="web")), call("c", key=MAIN))
    assert only(made, scope=Scope(projects=("api",))).counters.calls == 1
    snapshot = shot(made, scope=Scope(projects=("w*",)))
    assert (labels(snapshot), snapshot.total.counters.calls, snapshot.hidden) == (["coder", "main"], 2, 0)
    assert labels(shot(made, scope=Scope(agents=("m*",)))) == ["main"]
    assert shot(made, scope=Scope(users=("nobody",))).rows == ()
    made.fold(call("d", key=CODER._replace(project="web", session="s9")))
    assert shot(made, scope=Scope(projects=("api",))).total.counters.calls == 1


def test_a_filter_takes_whole_rows_and_the_total_sums_the_rest() -> None:
    made = fleet(call("a"), call("b", key=MAIN), state(MAIN, State.RUNNING))
    snapshot = shot(made, filter=parse_filter("coder"))
    assert (labels(snapshot), snapshot.hidden) == (["coder"], 1)
    total = snapshot.total
    assert (total.counters.calls, total.sessions, total.agents, total.agents_running) == (1, 1, 1, 0)
    assert shot(made, filter=parse_filter("state:running")).total.agents_running == 1
    made.fold(state(MAIN, State.IDLE, 0))
    assert shot(made, filter=parse_filter("state:running")).hidden == 2


def test_a_filter_follows_what_a_row_comes_to() -> None:
    made, view = fleet(call("a"), call("b", key=MAIN)), View(filter=parse_filter("calls>1"))
    assert made.snapshot(view, NOW).rows == ()
    made.fold(call("c"))
    assert labels(made.snapshot(view, NOW)) == ["coder"]
    snapshot = made.snapshot(view, NOW + 2 * HOUR)
    assert (snapshot.rows, snapshot.hidden, snapshot.total.counters.calls, snapshot.total.last_at) == ((), 2, 0, None)


def test_order() -> None:
    def key(agent: str) -> Key:
        return CODER._replace(agent=agent)

    made = fleet(
        call("a", key=key("slow"), cost=5, latency=900),
        call("b", key=key("Big"), cost=900, latency=10, ago=HOUR),
        call("c", key=key("quick"), cost=5, latency=1),
        call("d", key=key("unpriced"), cost=None),
        state(key("zero"), State.IDLE),
    )
    assert labels(shot(made)) == ["quick", "slow", "unpriced", "Big", "zero"]
    assert labels(shot(made, sort="cost")) == ["Big", "quick", "slow", "zero", "unpriced"]
    assert labels(shot(made, sort="cost", descending=False)) == ["zero", "quick", "slow", "Big", "unpriced"]
    assert labels(shot(made, sort="latency")) == ["slow", "Big", "quick", "unpriced", "zero"]
    assert labels(shot(made, sort="latency_p50", descending=False)) == ["quick", "Big", "slow", "unpriced", "zero"]
    assert labels(shot(made, sort="name", descending=False)) == ["Big", "quick", "slow", "unpriced", "zero"]
    assert labels(shot(made, sort="name")) == ["zero", "unpriced", "slow", "quick", "Big"]
    assert labels(shot(made, sort="project")) == ["quick", "slow", "unpriced", "Big", "zero"]
    assert labels(shot(made, sort="last_at"))[-1] == "zero"
    with pytest.raises(UsageError, match="no column"):
        shot(made, sort="nonsense")


def test_a_row_that_did_not_change_is_the_same_object() -> None:
    made = fleet(call("a", ago=10 * SECOND), call("b", ago=10 * SECOND, key=MAIN))
    view = View(Window.ALL)
    before = made.snapshot(view, NOW)
    assert made.snapshot(view, NOW).rows is before.rows
    made.fold(call("c"))
    after = made.snapshot(view, NOW)
    changed, same = after.rows
    assert (changed.label, changed.counters.calls) == ("coder", 2)
    assert same is _row(before, "main")
    assert made.snapshot(View(Window.ALL, sort="name"), NOW).rows[0] is same, "sorting makes no rows"
    filtered = made.snapshot(View(Window.ALL, filter=parse_filter("main")), NOW)
    assert filtered.rows == (same,)
    assert filtered.rows[0] is same


def test_rows_change_when_something_leaves_the_window() -> None:
    made = fleet(call("a", ago=50 * SECOND), call("b", ago=20 * MINUTE, key=MAIN))
    view = View(Window.M1)
    before = made.snapshot(view, NOW)
    after = made.snapshot(view, NOW + 12 * SECOND)
    assert _row(after, "coder").counters.calls == 0
    assert _row(after, "coder").sessions == 0
    assert _row(after, "main") is _row(before, "main")
    assert _row(made.snapshot(view, NOW + 5 * MINUTE), "coder").tokens_per_min == 0


def _row(snapshot: Snapshot, label: str) -> Row:
    return next(row for row in snapshot.rows if row.label == label)


def test_groups_and_labels() -> None:
    key = Key("far", "coder", "s1", "r1", "api", "ann", "team", "prod", "t1", "nightly", session_key="agent:coder:main")
    made = fleet(call("a", key=key), call("b", key=key._replace(session_key="agent:coder:main:run:7")))
    expected = {
        Grouping.AGENT: (("far", "coder"), "coder"),
        Grouping.PROJECT: (("api",), "api"),
        Grouping.USER: (("ann",), "ann"),
        Grouping.OWNER: (("team",), "team"),
        Grouping.MODEL: (("mock", "normal"), "mock/normal"),
        Grouping.PROVIDER: (("mock",), "mock"),
        Grouping.SESSION: (("far", "coder", "s1"), "agent:coder:main"),
        Grouping.RUN: (("far", "coder", "r1"), "r1"),
        Grouping.TASK: (("t1",), "t1"),
        Grouping.CRON: (("nightly",), "nightly"),
        Grouping.HOST: (("far",), "far"),
        Grouping.ENVIRONMENT: (("prod",), "prod"),
    }
    for grouping in Grouping:
        row = only(made, group_by=grouping)
        assert (row.group, row.label) == expected[grouping]
    bare = fleet(Call(Key("", ""), NOW, "x", "", "", Tokens(1)))
    for grouping in Grouping:
        assert only(bare, group_by=grouping).label == ("" if grouping is Grouping.AGENT else "–")


def test_a_snapshot_carries_what_it_was_given() -> None:
    source = SourceStatus("demo:")
    snapshot = fleet().snapshot(View(), NOW, (source,))
    assert (snapshot.at, snapshot.sources, snapshot.rows) == (NOW, (source,), ())
    assert (snapshot.total.label, snapshot.total.agents, snapshot.total.runs) == ("total", 0, None)


def test_incidents_are_the_two_hundred_latest() -> None:
    made = fleet(*(failed(str(each), ago=(each * 7919) % 1009 * 1000) for each in range(1009)))
    incidents = shot(made).incidents
    assert [each.at for each in incidents] == [NOW - each * 1000 for each in range(200)]


def test_a_clock_that_goes_back_shows_what_was_there_then() -> None:
    made = fleet(call("a", ago=10 * MINUTE))
    assert only(made, Window.M15).counters.calls == 1
    assert made.snapshot(View(Window.M5), NOW).rows[0].counters.calls == 0
    assert made.snapshot(View(Window.M5), NOW - 8 * MINUTE).rows[0].counters.calls == 1


HELD = Hold(Target("local", "coder"), HoldState.PAUSED, NOW, "me@here", "too dear", milliseconds=250)


def test_a_hold_stands_in_the_rows_of_its_agent_until_it_is_lifted() -> None:
    made = fleet(call("a", key=MAIN))
    made.lay({HELD.target: HELD})
    assert only(made).hold is None
    made.fold(call("b"))
    for grouping in Grouping:
        made.lay({HELD.target: HELD})
        held = {row.hold for row in made.snapshot(View(group_by=grouping), NOW).rows if row.hold}
        assert held == ({"paused"} if grouping in OF_ONE_AGENT else set())
    made.lay({})
    assert {row.hold for row in made.snapshot(View(), NOW).rows} == {None}


def test_a_filter_finds_the_agents_that_are_held() -> None:
    made = fleet(call("a", key=MAIN), call("b"), call("c"))
    paused, free = (View(filter=parse_filter(each)) for each in ("hold:paused", "!hold:paused"))
    assert labels(made.snapshot(paused, NOW)) == []
    made.lay({HELD.target: HELD})
    found = made.snapshot(paused, NOW)
    assert [(row.label, row.hold_detail) for row in found.rows] == [("coder", "250 ms; too dear")]
    assert (found.total.counters.calls, found.hidden) == (2, 1)
    assert labels(made.snapshot(free, NOW)) == ["main"]
