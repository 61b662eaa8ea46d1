"""What is idle longest is added to what it is part of; nothing that was counted is lost."""

import pytest

from clawtop.fleet.store import Limits
from clawtop.model.events import Call, Resolution, SessionState, State
from clawtop.model.keys import Key
from clawtop.model.snapshot import Grouping, Row, View, Window

from .made import CODER, MINUTE, NOW, SECOND, call, failed, fleet, only, resolved, shot


def comparable(row: Row) -> tuple[object, ...]:
    return row.counters, row.tokens, row.cost, row.sessions, row.runs, row.first_at, row.last_at, row.spark, row.model


@pytest.mark.parametrize("limits", [Limits(sessions=10), Limits(runs=10), Limits(10, 10, 10)])
def test_folding_changes_no_count(limits: Limits) -> None:
    keys = [CODER._replace(session=f"s{each}", run=f"r{each}", task=f"t{each % 40}") for each in range(60)]
    events = [call(f"c{each}", ago=(60 - each) * MINUTE, key=key) for each, key in enumerate(keys)]
    events += [call(f"d{each}", ago=(60 - each) * MINUTE, key=key, model="big") for each, key in enumerate(keys)]
    expected, actual = fleet(*events), fleet(*events, limits=limits)
    actual.prune(NOW)
    for window in Window:
        for grouping in (Grouping.AGENT, Grouping.MODEL, Grouping.PROJECT, Grouping.SESSION, Grouping.RUN):
            assert comparable(shot(actual, window, grouping).total) == comparable(
                shot(expected, window, grouping).total
            )
        assert comparable(only(actual, window)) == comparable(only(expected, window))


def one_call_each(keys: list[Key]) -> list[Call]:
    """The first was active last."""
    return [call(str(each), ago=each * SECOND, key=key) for each, key in enumerate(keys)]


def test_the_sessions_that_were_idle_longest_lose_their_rows() -> None:
    keys = [CODER._replace(session=f"s{each}", run=None) for each in range(20)]
    made = fleet(
        *(call(str(each), ago=each * SECOND, key=key) for each, key in enumerate(keys)), limits=Limits(sessions=10)
    )
    made.prune(NOW)
    rows = shot(made, group_by=Grouping.SESSION, sort="last_at").rows
    assert [row.label for row in rows] == [*(f"s{each}" for each in range(9)), "–"]
    assert rows[-1].counters.calls == 11
    assert shot(made, group_by=Grouping.SESSION).total.sessions == 20


def test_a_folded_session_that_goes_on_is_still_one_session() -> None:
    keys = [CODER._replace(session=f"s{each}", run=f"r{each}") for each in range(20)]
    made = fleet(
        *(call(str(each), ago=each * SECOND, key=key) for each, key in enumerate(keys)), limits=Limits(sessions=10)
    )
    for number in range(3):
        made.prune(NOW)
        made.fold(call(f"again{number}", ago=0, key=keys[-1]))
        assert (only(made).sessions, only(made).runs) == (20, 20)


def test_runs_are_added_to_their_session() -> None:
    keys = [CODER._replace(session="s1", run=f"r{each}") for each in range(20)]
    made = fleet(
        *(call(str(each), ago=each * SECOND, key=key) for each, key in enumerate(keys)), limits=Limits(runs=10)
    )
    made.prune(NOW)
    assert only(made, group_by=Grouping.SESSION).counters.calls == 20
    assert len(shot(made, group_by=Grouping.RUN).rows) == 10
    assert only(made).runs == 20


def test_a_running_session_keeps_its_row() -> None:
    keys = [CODER._replace(session=f"s{each}", run=None) for each in range(20)]
    events = one_call_each(keys)
    running = SessionState(keys[19], NOW - 3 * MINUTE, State.RUNNING)
    made = fleet(*events, running, limits=Limits(sessions=10))
    made.prune(NOW)
    assert "s19" in [row.label for row in shot(made, group_by=Grouping.SESSION).rows]
    assert only(made).state is State.RUNNING


def test_cells_lose_task_and_cron_first_then_whose_they_were_never_the_model() -> None:
    keys = [CODER._replace(task=f"t{each}", project=f"p{each % 5}") for each in range(20)]
    events = one_call_each(keys)
    made = fleet(*events, limits=Limits(cells=10))
    made.prune(NOW)
    assert "–" in [row.label for row in shot(made, group_by=Grouping.TASK).rows]
    assert sum(row.counters.calls for row in shot(made, group_by=Grouping.PROJECT).rows if row.label != "–") == 20
    made = fleet(*events, limits=Limits(cells=3))
    made.prune(NOW)
    assert only(made, group_by=Grouping.MODEL).counters.calls == 20
    assert len(shot(made, group_by=Grouping.PROJECT).rows) <= 3


def test_a_guess_about_a_folded_session_can_still_be_replaced() -> None:
    keys = [CODER._replace(session=f"s{each}") for each in range(20)]
    made = fleet(*(call(str(each), key=key) for each, key in enumerate(keys)), limits=Limits(sessions=10))
    old = CODER._replace(session="old")
    made.fold(failed("f", ago=MINUTE, key=old))
    made.fold(resolved("f", Resolution.FAILED, ago=MINUTE, key=old, tentative=True))
    made.prune(NOW)
    made.fold(resolved("f", Resolution.RETRY, ago=MINUTE, key=old))
    assert (only(made).counters.retries, only(made).counters.failed_turns) == (1, 0)


def test_guesses_beyond_a_bound_become_definite() -> None:
    made = fleet(*(resolved(str(each), Resolution.FAILED, tentative=True) for each in range(10_001)))
    made.fold(resolved("0", Resolution.RETRY))
    made.fold(resolved("1", Resolution.RETRY))
    assert (only(made).counters.failed_turns, only(made).counters.retries) == (10_000, 1)


def test_pruning_without_snapshots_keeps_the_windows_right() -> None:
    made = fleet(call("a"), call("b", ago=30 * MINUTE))
    view = View(Window.M15)
    assert made.snapshot(view, NOW).total.counters.calls == 1
    for step in range(1, 60):
        made.prune(NOW + step * MINUTE)
    made.fold(call("c", ago=-61 * MINUTE))
    assert made.snapshot(view, NOW + 61 * MINUTE).total.counters.calls == 1
    assert made.snapshot(View(Window.ALL), NOW + 61 * MINUTE).total.counters.calls == 3
