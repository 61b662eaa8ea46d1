"""Whole trees: stopped from the top, let go on from the bottom, ended; whatever happens in the middle of it."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clawtop.control.process_table import Identity, NotAllowed, ProcessTable, State
from clawtop.control.process_tree import (
    Going,
    Halt,
    Tree,
    WithClawtop,
    end,
    grown,
    identity_of,
    levels,
    tops,
)
from clawtop.control.record import LogBefore, ProcessBefore
from tests.process_trees import Family, agent, eventually, one

KIN = {"root", "tool", "helper", "server", "plain"}


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    """An agent with tools of its own."""
    with Family(tmp_path / "family") as family:
        yield family


class Watched(ProcessTable):
    """A table that remembers whom it signalled, and does something before it does."""

    def __init__(self, before: Callable[[Identity], None] = lambda _: None) -> None:
        self.sent: list[tuple[int, signal.Signals]] = []
        self._before = before

    def send(self, process: Identity, number: signal.Signals) -> bool:
        """As ever."""
        self._before(process)
        self.sent.append((process.pid, number))
        return super().send(process, number)


def tree_of(family: Family, table: ProcessTable | None = None) -> Tree:
    """The family as clawtop sees it."""
    table = table or ProcessTable()
    tree = Tree(table)
    root = table.identity(family.root.pid)
    assert root is not None
    tree.take([root])
    tree.grow()
    return tree


def halted(tree: Tree, seconds: float = 5, write: Callable[[], None] = lambda: None) -> Halt:
    """The tree after it was stopped."""
    halt = Halt(tree, write, lambda _: None, list)
    halt.run(seconds)
    return halt


def named(family: Family, tree: Tree) -> set[str]:
    """The names of the tree's members."""
    pids = {each.pid for each in tree.members.values()}
    return {kin.name for kin in family.kin() if kin.pid in pids}


def process(pid: int, parent: int, **more: object) -> ProcessBefore:
    """A process that was written down."""
    return ProcessBefore(pid, f"boot:{pid}", parent, 0, "x", **more)  # type: ignore[arg-type]


def test_levels_and_tops() -> None:
    members = [process(10, 1), process(20, 10), process(30, 20), process(21, 10), process(40, 1)]

    assert [[each.pid for each in level] for level in levels(members)] == [[10, 40], [20, 21], [30]]
    assert [each.pid for each in tops(members)] == [10, 40]
    assert levels([]) == []


def test_a_tree_has_what_lives_in_other_sessions_and_groups(family: Family) -> None:
    tree = tree_of(family)

    assert named(family, tree) == KIN
    assert next(iter(tree.members.values())).pid == family.root.pid
    sessions = {os.getsid(each.pid) for each in tree.members.values()}
    groups = {os.getpgid(each.pid) for each in tree.members.values()}
    assert len(sessions) == 2
    assert len(groups) == 4


def test_everything_of_it_stands_still_and_goes_on(family: Family) -> None:
    family.burns()
    table = Watched()
    tree = tree_of(family, table)
    written: list[tuple[int, int]] = []

    halt = halted(tree, write=lambda: written.append((len(tree.members), len(table.sent))))

    assert halt.problems == []
    assert halt.settled is not None
    assert set(family.states().values()) == {"T"}
    assert written == [(5, 0)], "what is going to be stopped is written down before the first signal"
    assert next(pid for pid, _ in table.sent) == family.root.pid
    before = family.cpu()
    assert halted(tree).problems == []
    assert family.cpu() == before

    table.sent.clear()
    going = Going(table, list(tree.members.values()), ())
    going.run()

    assert [pid for pid, _ in table.sent][-1] == family.root.pid
    order = [pid for pid, _ in table.sent]
    assert order.index(family.named("helper").pid) < order.index(family.named("tool").pid)
    assert going.stopped_again() == []
    assert len(going.sent) == 5
    family.burns()


def test_what_is_born_meanwhile_is_found(tmp_path: Path) -> None:
    with Family(tmp_path / "family", agent(breeds=True)) as family:
        eventually(lambda: len(family.kin("born")) > 3, "children to be born")
        tree = tree_of(family)
        halt = halted(tree)

        assert halt.problems == []
        assert family.all_stopped()
        before = len(family.kin("born"))
        assert halted(tree).problems == []
        assert len(family.kin("born")) == before


def test_what_lost_its_parent_meanwhile_is_still_known(family: Family) -> None:
    tool = family.named("tool")

    def orphan(it: Identity) -> None:
        if it.pid == family.root.pid and not tool.is_gone:
            os.kill(tool.pid, signal.SIGKILL)
            eventually(lambda: tool.is_gone, "the tool to end")

    tree = tree_of(family, Watched(orphan))
    halt = halted(tree)

    assert halt.problems == []
    assert {name: state for name, state in family.states().items() if name != "tool"} == dict.fromkeys(
        KIN - {"tool"}, "T"
    )
    going = Going(ProcessTable(), list(tree.members.values()), ())
    going.run()
    assert [each.pid for each in going.ended] == [tool.pid]
    assert family.named("helper").state != "T"


def test_a_member_whose_pid_was_given_away_is_left_alone(family: Family) -> None:
    table = Watched()
    tree = tree_of(family, table)
    plain = family.named("plain")
    it = table.identity(plain.pid)
    assert it is not None
    known = tree.members.pop(it)
    tree.members[Identity(it.pid, "earlier")] = ProcessBefore(
        known.pid, "earlier", known.parent, known.started, known.command
    )
    tree = Tree(table, [each for each in tree.members.values() if each.pid == plain.pid])

    assert halted(tree).problems == []
    assert plain.state != "T"
    going = Going(table, list(tree.members.values()), ())
    going.run()
    assert [each.pid for each in going.ended] == [plain.pid]
    assert end(tree, 0, 0) == []
    assert not plain.is_gone


def test_one_that_may_not_be_signalled_is_said_and_the_rest_stops(family: Family) -> None:
    server = family.named("server").pid

    class Refusing(ProcessTable):
        def send(self, process: Identity, number: signal.Signals) -> bool:
            if process.pid == server:
                raise NotAllowed(f"process {server} belongs to root")
            return super().send(process, number)

    tree = tree_of(family, Refusing())
    halt = halted(tree)

    assert len(halt.problems) == 1
    assert f"process {server} " in halt.problems[0]
    assert halt.problems[0].endswith("belongs to root")
    assert {name for name, state in family.states().items() if state != "T"} == {"server"}
    assert [step.done for step in halt.steps.values()].count(False) == 1


def test_one_that_sleeps_uninterruptibly_is_waited_for_and_said(family: Family) -> None:
    server = family.named("server").pid
    told: list[str] = []

    class Sleepy(ProcessTable):
        def state(self, process: Identity) -> State:
            return State.BUSY if process.pid == server else super().state(process)

    tree = tree_of(family, Sleepy())
    halt = Halt(tree, lambda: None, told.append, list)
    halt.run(0.3)

    assert told[0].startswith(f"waits: process {server} ")
    assert "uninterruptible sleep" in told[0]
    (problem,) = halt.problems
    assert "stops as soon as it wakes" in problem


def test_one_that_somebody_lets_go_on_is_said_with_its_parent(family: Family) -> None:
    root = family.root.pid

    class Revived(ProcessTable):
        def send(self, process: Identity, number: signal.Signals) -> bool:
            sent = super().send(process, number)
            return super().send(process, signal.SIGCONT) if process.pid == root else sent

    halt = halted(tree_of(family, Revived()), seconds=0.3)

    (problem,) = halt.problems
    assert f"process {root} " in problem
    assert f"its parent, {os.getpid()} (" in problem


def test_a_log_that_grows_all_the_same_is_said(family: Family) -> None:
    sizes = iter(range(1000))
    halt = Halt(tree_of(family), lambda: None, lambda _: None, lambda: [LogBefore("/x/log", next(sizes), 0)])
    halt.run(5)

    assert halt.problems == ["its log /x/log still grows"]
    assert family.all_stopped()


def test_logs_that_stand_still_and_those_that_grow() -> None:
    before = [LogBefore("a", 5, 1), LogBefore("b", 5, 1)]

    assert grown(before, before) == []
    assert grown(before, [LogBefore("a", 5, 1)]) == []
    assert grown(before, [LogBefore("a", 6, 2), LogBefore("c", 1, 1)]) == [
        "its log a still grows",
        "its log c still grows",
    ]


def test_nothing_that_clawtop_runs_under_is_touched() -> None:
    table = Watched()
    above = table.identity(os.getppid())
    here = table.identity(os.getpid())
    assert above is not None
    assert here is not None

    for root in (above, here):
        with pytest.raises(WithClawtop, match="act from another terminal"):
            Tree(table).take([root])
    known = ProcessBefore(above.pid, above.birth, 1, 0, "sh")
    with pytest.raises(WithClawtop):
        halted(Tree(table, [known]))
    with pytest.raises(WithClawtop):
        end(Tree(table, [known]), 0, 0)
    assert table.sent == []


def test_what_was_stopped_before_stays_stopped(family: Family) -> None:
    os.kill(family.named("server").pid, signal.SIGSTOP)
    eventually(lambda: family.named("server").state == "T", "the server to stop")
    tree = tree_of(family)
    halted(tree)

    going = Going(ProcessTable(), list(tree.members.values()), ())
    going.run()

    assert {name for name, state in family.states().items() if state == "T"} == {"server"}
    assert len(going.sent) == 4


def test_what_another_hold_keeps_is_spared_and_counts_as_its(family: Family) -> None:
    first = tree_of(family)
    halted(first)
    table = ProcessTable()
    second = Tree(table, held=lambda: first.members)
    second.take([it for it in first.members if it.pid == family.named("tool").pid])
    second.grow()

    assert [each.stopped for each in second.members.values()] == [False, False]
    going = Going(table, list(first.members.values()), second.members)
    going.run()
    assert len(going.spared) == 2
    assert {name for name, state in family.states().items() if state == "T"} == {"tool", "helper"}


def test_where_nobody_knows_what_was_stopped_before_none_is_claimed(family: Family) -> None:
    halted(tree_of(family))
    tree = Tree(ProcessTable(), doubted=True)
    root = ProcessTable().identity(family.root.pid)
    assert root is not None
    tree.take([root])

    assert [each.stopped for each in tree.members.values()] == [None]


def test_one_that_is_stopped_hears_that_it_is_to_end(family: Family) -> None:
    tree = tree_of(family)
    halted(tree)

    steps = end(tree, 20, 5)

    assert {kin.name for kin in family.kin("asked")} == KIN
    assert tree.alive() == []
    assert all(step.done and step.what.endswith(" ended") for step in steps)


def test_the_deaf_are_killed_and_what_they_bore(tmp_path: Path) -> None:
    with Family(tmp_path / "family", agent(deaf=True, breeds=True)) as family:
        tree = tree_of(family)
        steps = end(tree, 0.2, 20)

        assert tree.alive() == []
        assert family.everybody() == []
        killed = [step.what for step in steps if step.what.endswith(" killed")]
        assert any(f"process {family.root.pid} " in what for what in killed)


def test_the_right_parent_counts_where_pids_are_given_away(family: Family) -> None:
    class Older(ProcessTable):
        """Every child began before its parent: they are children of an earlier process of that pid."""

        def lines(self) -> dict[int, object]:  # type: ignore[override]
            lines = super().lines()
            return {
                pid: line._replace(started=line.started - (1000 if pid != family.root.pid else 0))
                for pid, line in lines.items()
            }

    assert named(family, tree_of(family, Older())) == {"root"}


def test_a_shell_with_job_control_never_sees_its_child_stopped(tmp_path: Path) -> None:
    """A shell that went on before its child would take the child's terminal away; here it would end the child."""
    program = tmp_path / "shell.py"
    program.write_text(
        "import os, signal, subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:], process_group=0)\n"
        "while True:\n"
        "    pid, status = os.waitpid(child.pid, os.WUNTRACED)\n"
        "    if os.WIFSTOPPED(status):\n"
        "        os.kill(child.pid, signal.SIGKILL)\n"
        "    else:\n"
        "        os._exit(0)\n"
    )
    with Family(tmp_path / "family", one("root"), command=(sys.executable, str(program), sys.executable)) as family:
        shell = ProcessTable().identity(family.process.pid)
        assert shell is not None
        tree = Tree(ProcessTable())
        tree.take([shell])
        tree.grow()
        for _ in range(5):
            halted(tree)
            going = Going(ProcessTable(), list(tree.members.values()), ())
            going.run()
            assert going.stopped_again() == []
        family.burns()
        assert [identity_of(each).pid for each in tree.alive()] == [family.process.pid, family.root.pid]
        os.kill(family.root.pid, signal.SIGKILL)
