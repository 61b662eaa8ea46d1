"""What is looked at beside the published view, and what keeping both up to date costs."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawtop.fleet.board import Board
from clawtop.fleet.cells import Strand
from clawtop.fleet.slots import Slot
from clawtop.fleet.windows import Lens
from clawtop.model.commands import About, Target
from clawtop.model.errors import UsageError
from clawtop.model.events import Event
from clawtop.model.selection import Scope, parse_filter
from clawtop.model.snapshot import Grouping, View, Window

from .made import CODER, MINUTE, NOW, SECOND, call, fleet, histories
from .test_properties import shown, views

MAIN = View()
OF_ONE = View(group_by=Grouping.SESSION, scope=Scope(agents=("a7",)))


def crowd(agents: int = 20, sessions: int = 4) -> list[Event]:
    return [
        call(f"{agent}/{session}", key=CODER._replace(agent=f"a{agent}", session=f"s{agent}.{session}"))
        for agent in range(agents)
        for session in range(sessions)
    ]


@pytest.fixture
def adopted(monkeypatch: pytest.MonkeyPatch) -> list[Strand]:
    """The strands that were gone through."""
    seen: list[Strand] = []
    adopt = Board.adopt

    def note(board: Board, strand: Strand) -> None:
        seen.append(strand)
        adopt(board, strand)

    monkeypatch.setattr(Board, "adopt", note)
    return seen


def test_a_look_at_one_agent_goes_through_its_strands_alone(adopted: list[Strand]) -> None:
    made = fleet(*crowd())
    made.snapshot(MAIN, NOW)
    adopted.clear()
    assert [row.label for row in made.look(OF_ONE, NOW).rows] == ["s7.0", "s7.1", "s7.2", "s7.3"]
    assert {strand.cell.key.agent for strand in adopted} == {"a7"}


def test_looking_again_and_going_back_build_nothing_anew(adopted: list[Strand]) -> None:
    made = fleet(*crowd())
    parts = [View(group_by=each, scope=Scope(agents=("a7",))) for each in (Grouping.MODEL, Grouping.SESSION)]
    for view in parts:
        made.look(view, NOW)
    before = made.snapshot(MAIN, NOW)
    adopted.clear()
    for second in range(1, 6):
        for view in parts:
            made.look(view, NOW + second * SECOND)
        assert made.snapshot(MAIN, NOW + second * SECOND).rows[0] is before.rows[0]
    assert adopted == []


def test_a_board_that_nobody_looks_at_any_more_takes_in_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = fleet(*crowd())
    made.snapshot(MAIN, NOW)
    made.look(OF_ONE, NOW)
    added: list[View] = []
    monkeypatch.setattr(Board, "add", lambda board, *_: added.append(board.view))
    made.fold(call("new"))
    assert added == [MAIN, OF_ONE]
    made.snapshot(MAIN, NOW + MINUTE)
    added.clear()
    made.fold(call("newer"))
    assert added == [MAIN]


def test_the_same_rows_in_another_order_leave_the_published_ones_alone() -> None:
    made = fleet(*crowd())
    before = made.snapshot(MAIN, NOW)
    filtered = View(filter=parse_filter("a7"))
    assert [row.label for row in made.look(filtered, NOW).rows] == ["a7"]
    assert made.look(MAIN, NOW).rows is before.rows
    assert made.snapshot(MAIN, NOW).rows is before.rows


def test_a_look_by_what_is_no_column_is_refused() -> None:
    made = fleet(*crowd())
    with pytest.raises(UsageError):
        made.look(View(sort="shoes"), NOW)


@given(st.data(), histories(), views, views)
def test_whatever_is_looked_at_between_events_is_right(
    data: st.DataObject, events: list[Event], main: View, other: View
) -> None:
    watched, scope = fleet(), data.draw(st.sampled_from([Scope(), Scope(agents=("coder",)), Scope(projects=("a*",))]))
    looks = [other, View(other.window, other.group_by, scope=scope)]
    dice = data.draw(st.randoms(use_true_random=False))
    at = NOW - 3 * MINUTE
    for event in events:
        watched.fold(event)
        at = min(NOW, at + dice.choice([0, SECOND, MINUTE]))
        if dice.random() < 0.3:
            watched.look(dice.choice(looks), at)
        if dice.random() < 0.3:
            watched.snapshot(main, at)
        if dice.random() < 0.1:
            watched.prune(at)
    for view in looks:
        assert shown(watched.look(view, NOW)) == shown(fleet(*events).snapshot(view, NOW))
    assert shown(watched.snapshot(main, NOW)) == shown(fleet(*events).snapshot(main, NOW))


@contextmanager
def counting_sweeps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Slot]]:
    swept: list[Slot] = []
    sweep = Slot.sweep

    def note(slot: Slot, lens: Lens) -> None:
        swept.append(slot)
        sweep(slot, lens)

    with monkeypatch.context() as patch:
        patch.setattr(Slot, "sweep", note)
        yield swept


@pytest.mark.parametrize("grouping", [Grouping.HOST, Grouping.MODEL])
def test_a_row_of_many_agents_is_swept_once_however_many_leave_the_window(
    grouping: Grouping, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, view = fleet(*crowd()), View(Window.M1, grouping)
    made.snapshot(view, NOW)
    with counting_sweeps(monkeypatch) as swept:
        assert made.snapshot(view, NOW + 2 * MINUTE).total.sessions == 0
    assert len(swept) == 1


def test_what_is_known_of_an_agent_comes_from_its_latest_attempt_and_its_dearest_project() -> None:
    made = fleet(
        call("a", 9 * SECOND, CODER._replace(project="web"), cost=5000),
        call("b", 5 * SECOND, CODER._replace(session="s2", run="r2", user="ann")),
        call("c", SECOND, CODER._replace(agent="other", session="s3")),
    )
    assert made.about(Target("local", "coder")) == About("web", "ann", "s2", "r2")
    assert made.about(Target("local", "nobody")) == About()
