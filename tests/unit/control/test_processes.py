"""Pause, resume and abort of agents that are processes, and every fault on the way."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clawtop.control.holds import HoldStore
from clawtop.control.outcomes import Asker
from clawtop.control.process_plan import LocalAgent
from clawtop.control.process_rule import ProcessRule
from clawtop.control.process_table import Identity, NotAllowed, ProcessTable
from clawtop.control.processes import Kept, ProcessControl
from clawtop.control.record import HoldRecord, ProcessBefore, TreeBefore
from clawtop.model.commands import About, HoldState, Means, Result, Target
from clawtop.model.local import LocalWork
from tests.process_trees import Family, agent, eventually, one

BOT, OTHER = Target("local", "claude:api"), Target("local", "bot")
ME = Asker("me@here", "too dear", 5)
CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that is called claude."""
    path = tmp_path / "bin" / "claude"
    path.parent.mkdir()
    path.symlink_to(sys.executable)
    return path


@pytest.fixture
def family(tmp_path: Path, program: Path) -> Iterator[Family]:
    """An agent with tools of its own, which writes a log."""
    log = tmp_path / "session.jsonl"
    with Family(tmp_path / "api", agent(log=str(log)), command=(str(program),)) as family:
        eventually(log.exists, "the log to be written")
        yield family


def untold(state: HoldState, detail: str) -> None:
    """Nobody listens on the way."""


def store(tmp_path: Path) -> HoldStore:
    """The holds on disk."""
    return HoldStore(tmp_path / "state" / "holds")


def control(tmp_path: Path, *rules: ProcessRule, table: ProcessTable | None = None) -> ProcessControl:
    """Another clawtop each time."""
    return ProcessControl(store(tmp_path), rules, table)


def local(family: Family, tmp_path: Path) -> LocalAgent:
    """The family as an agent of Claude Code."""
    log = tmp_path / "session.jsonl"
    return LocalAgent(BOT, works=(LocalWork(BOT.agent, str(family.folder), "s1", log),))


def paused(family: Family, tmp_path: Path, table: ProcessTable | None = None) -> Result:
    """The result of a pause."""
    return control(tmp_path, table=table).pause(local(family, tmp_path), ME, untold)


def resumed(tmp_path: Path, target: Target = BOT, *, force: bool = False, keep: bool = False) -> Result:
    """The result of a resume by a clawtop that has read no logs."""
    return control(tmp_path).resume(LocalAgent(target), ME, force=force, keep=keep)


def tree_on_disk(tmp_path: Path, target: Target = BOT) -> TreeBefore:
    """What the hold file says."""
    record = store(tmp_path).read(target)
    assert record is not None
    assert record.tree is not None
    return record.tree


def by_glob(family: Family, agent: str = "bot") -> ProcessRule:
    """A rule by the command line."""
    return ProcessRule(agent, command=f"*{family.program} *")


def test_the_plan_names_processes_and_what_stays_uncovered(family: Family, tmp_path: Path) -> None:
    plan = control(tmp_path).plan(local(family, tmp_path), None)

    (root,) = plan.processes
    assert (plan.means, plan.problem, plan.pauses) == (Means.PROCESS, None, True)
    assert (root.pid, root.command, len(root.children), root.stopped) == (family.root.pid, "claude", 4, 0)
    assert {child.partition(" ")[0] for child in root.children} <= {"claude", "python"}
    gaps = [gap.what for gap in plan.not_covered]
    assert gaps == ["the request under way", "a new Claude Code in its folder", "what runs elsewhere"]
    assert plan.warnings == ()


def test_a_pause_holds_stands_on_disk_and_is_undone(family: Family, tmp_path: Path) -> None:
    family.burns()
    result = paused(family, tmp_path)

    assert result.verified
    assert result.hold is not None
    assert (result.hold.state, result.hold.detail) == (HoldState.PAUSED, "5 processes stand still")
    assert result.settled is not None
    assert result.verified_after is not None
    assert result.settled <= result.verified_after
    assert set(family.states().values()) == {"T"}
    assert {each.pid for each in tree_on_disk(tmp_path).processes} == {kin.pid for kin in family.kin()}
    assert [log.size for log in tree_on_disk(tmp_path).logs] == [(tmp_path / "session.jsonl").stat().st_size]
    assert control(tmp_path).verify(BOT) == (HoldState.PAUSED, "verified again")

    result = resumed(tmp_path)

    assert (result.verified, result.detail, result.hold) == (True, "5 processes go on", None)
    assert store(tmp_path).read(BOT) is None
    family.burns()


def test_what_was_stopped_before_stays_stopped(family: Family, tmp_path: Path) -> None:
    server = family.named("server")
    os.kill(server.pid, signal.SIGSTOP)
    eventually(lambda: server.state == "T", "the server to stop")

    assert "1 of them stopped before" in paused(family, tmp_path).detail
    assert paused(family, tmp_path).verified, "a second pause changes nothing of that"
    result = resumed(tmp_path)

    assert result.verified
    assert "1 process that had been stopped before left so" in result.detail
    assert [name for name, state in family.states().items() if state == "T"] == ["server"]


def test_what_ended_meanwhile_is_told(family: Family, tmp_path: Path) -> None:
    paused(family, tmp_path)
    plain = family.named("plain")
    os.kill(plain.pid, signal.SIGKILL)
    eventually(lambda: plain.is_gone, "it to end")

    assert "1 process ended meanwhile" in resumed(tmp_path).detail


def test_what_goes_on_all_the_same_does_not_hold(family: Family, tmp_path: Path) -> None:
    paused(family, tmp_path)
    os.kill(family.root.pid, signal.SIGCONT)

    state, detail = control(tmp_path).verify(BOT)
    assert state is HoldState.FAILED
    assert f"it does not hold: process {family.root.pid} (claude) goes on" in detail

    kept = control(tmp_path).keep(BOT)
    assert kept == Kept(again=f"process {family.root.pid} (claude)")
    assert set(family.states().values()) == {"T"}
    assert control(tmp_path).keep(BOT) == Kept(detail="verified again")
    for kin in family.kin():
        os.kill(kin.pid, signal.SIGCONT)
    kept = control(tmp_path).keep(BOT)
    assert kept == Kept(again=f"process {family.root.pid} (claude) and 4 more")


def test_a_new_process_of_a_held_agent_is_stopped_and_undone_with_it(
    family: Family, tmp_path: Path, program: Path
) -> None:
    paused(family, tmp_path)
    with Family(tmp_path / "second", one("second"), (str(program),), family.folder) as second:
        assert "goes on" in control(tmp_path).verify(BOT)[1]
        kept = control(tmp_path).keep(BOT)

        assert kept == Kept(again=f"process {second.process.pid} (claude)")
        assert second.named("second").state == "T"
        assert "6 processes go on" in resumed(tmp_path).detail
        assert not second.named("second").is_gone


def test_a_log_that_grows_under_a_hold_is_told_once(family: Family, tmp_path: Path) -> None:
    paused(family, tmp_path)
    with (tmp_path / "session.jsonl").open("a") as log:
        log.write("{}\n")

    assert "still grows" in control(tmp_path).verify(BOT)[1]
    kept = control(tmp_path).keep(BOT)
    assert kept is not None
    assert (kept.state, kept.again) == (HoldState.FAILED, "")
    assert control(tmp_path).keep(BOT) == Kept(detail="verified again")


def test_a_hold_that_somebody_lifted_or_works_on_is_left_alone(family: Family, tmp_path: Path) -> None:
    paused(family, tmp_path)
    with store(tmp_path).lock(BOT):
        assert control(tmp_path).keep(BOT) is None
    resumed(tmp_path)

    assert control(tmp_path).keep(BOT) == Kept(lifted=True)
    assert control(tmp_path).verify(BOT) == (HoldState.FAILED, "its hold file is gone")


def test_when_all_has_ended_the_hold_says_so(family: Family, tmp_path: Path) -> None:
    paused(family, tmp_path)
    for kin in family.kin():
        os.kill(kin.pid, signal.SIGKILL)
    eventually(lambda: not family.everybody(), "all to end")

    assert control(tmp_path).verify(BOT) == (HoldState.PAUSED, "all its processes have ended")
    assert paused(family, tmp_path).detail == "all its processes have ended"
    result = resumed(tmp_path)
    assert (result.verified, result.hold) == (True, None)
    assert "5 processes ended meanwhile" in result.detail


def test_an_abort_ends_the_tree_and_nothing_else(family: Family, tmp_path: Path, program: Path) -> None:
    with Family(tmp_path / "other", one("stranger"), command=(str(program),)) as other:
        result = control(tmp_path).abort(local(family, tmp_path))

        assert result.verified
        assert result.detail == "5 processes ended"
        assert family.everybody() == []
        assert {kin.name for kin in family.kin("asked")} == {kin.name for kin in family.kin()}
        assert not other.named("stranger").is_gone
    assert store(tmp_path).all() == []


def test_an_abort_of_a_held_agent_lets_it_act_and_keeps_the_hold(family: Family, tmp_path: Path) -> None:
    paused(family, tmp_path)

    result = control(tmp_path).abort(LocalAgent(BOT))

    assert result.detail == "5 processes ended; the hold stays"
    assert {kin.name for kin in family.kin("asked")} == {kin.name for kin in family.kin()}
    assert resumed(tmp_path).verified


def test_the_deaf_are_killed(tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawtop.control.processes._GRACE_SECONDS", 0.2)
    log = tmp_path / "session.jsonl"
    with Family(tmp_path / "api", one("root", deaf=True, log=str(log)), command=(str(program),)) as family:
        eventually(log.exists, "the log to be written")
        result = control(tmp_path).abort(local(family, tmp_path))

        assert result.verified
        assert result.detail == "1 process ended; 1 of them killed, having ignored that they were asked to end"


def test_what_is_not_known_for_certain_is_not_touched(family: Family, tmp_path: Path) -> None:
    stranger = LocalAgent(BOT, works=(LocalWork(BOT.agent, str(tmp_path), "s1", tmp_path / "none"),))

    plan = control(tmp_path).plan(stranger, None)
    pause = control(tmp_path).pause(stranger, ME, untold)
    abort = control(tmp_path).abort(stranger)

    assert (plan.means, plan.pauses) == (Means.NONE, False)
    assert plan.problem is not None
    assert "no process of Claude Code works in" in plan.problem
    assert "[[control.hook]]" in plan.problem
    assert pause.hold is not None
    assert pause.hold.state is HoldState.UNSUPPORTED
    assert (abort.verified, abort.hold) == (False, None)
    assert abort.detail.startswith("nothing was done: no process")
    assert "T" not in family.states().values()
    assert store(tmp_path).all() == []
    assert resumed(tmp_path).detail == "it is not held"


@pytest.mark.skipif(os.getppid() <= 1, reason="needs a parent that a signal could reach")
def test_what_runs_clawtop_itself_is_refused(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    pidfile.write_text(f"{os.getppid()}")
    rule = ProcessRule("bot", pidfile=str(pidfile))
    bot = LocalAgent(OTHER)

    plan = control(tmp_path, rule).plan(bot, None)
    pause = control(tmp_path, rule).pause(bot, ME, untold)
    abort = control(tmp_path, rule).abort(bot)

    assert plan.means is Means.NONE
    for said in (plan.problem or "", pause.detail, abort.detail):
        assert f"clawtop itself runs under process {os.getppid()} " in said
    assert store(tmp_path).all() == []


def test_what_a_multiplexer_lets_go_on_can_only_be_ended(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clawtop.control.process_plan.reviver", lambda pid: "tmux" if pid == family.root.pid else None)

    plan = control(tmp_path).plan(local(family, tmp_path), None)
    pause = paused(family, tmp_path)

    assert plan.means is Means.PROCESS
    assert not plan.pauses
    assert plan.problem is not None
    assert "tmux has started process" in plan.problem
    assert pause.hold is not None
    assert pause.hold.state is HoldState.UNSUPPORTED
    assert "T" not in family.states().values()
    assert control(tmp_path).abort(local(family, tmp_path)).verified


def test_another_users_process_fails_and_says_so(family: Family, tmp_path: Path) -> None:
    class Refusing(ProcessTable):
        def send(self, process: Identity, number: signal.Signals) -> bool:
            if process.pid == family.named("server").pid:
                raise NotAllowed(f"process {process.pid} belongs to root")
            return super().send(process, number)

    result = paused(family, tmp_path, Refusing())

    assert not result.verified
    assert result.hold is not None
    assert result.hold.state is HoldState.FAILED
    assert "belongs to root" in result.hold.detail
    assert [step.done for step in result.steps].count(True) == 4
    undone = ProcessControl(store(tmp_path), (), Refusing()).resume(LocalAgent(BOT), ME, force=False, keep=False)
    assert undone.verified, "it was never stopped"


def test_one_that_cannot_be_let_go_on_keeps_the_hold(family: Family, tmp_path: Path) -> None:
    class Refusing(ProcessTable):
        def send(self, process: Identity, number: signal.Signals) -> bool:
            if number == signal.SIGCONT and process.pid == family.root.pid:
                raise NotAllowed(f"process {process.pid} belongs to root")
            return super().send(process, number)

    paused(family, tmp_path)
    result = ProcessControl(store(tmp_path), (), Refusing()).resume(LocalAgent(BOT), ME, force=False, keep=False)

    assert not result.verified
    assert result.hold is not None
    assert "stays stopped" in result.hold.detail
    assert resumed(tmp_path).detail.startswith("1 process goes on; 4 processes went on already")


def test_a_hold_that_cannot_be_written_stops_nothing(family: Family, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")

    result = paused(family, tmp_path)

    assert not result.verified
    assert result.detail.startswith("nothing was done: ")
    assert "T" not in family.states().values()


def test_a_disk_that_is_full_stops_nothing(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: HoldStore, record: HoldRecord) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(HoldStore, "write", full)

    result = paused(family, tmp_path)

    assert "cannot be written down" in result.detail
    assert result.detail.endswith("so nothing was stopped")
    assert "T" not in family.states().values()


def test_killed_in_the_middle_of_a_pause_a_later_clawtop_undoes_exactly_that(family: Family, tmp_path: Path) -> None:
    os.kill(family.named("server").pid, signal.SIGSTOP)
    eventually(lambda: family.named("server").state == "T", "the server to stop")
    died = subprocess.run(
        [sys.executable, "-c", _DIES_AFTER_TWO_SIGNALS, str(tmp_path), str(family.folder)],
        cwd=CHECKOUT,
        timeout=60,
        check=False,
    )

    assert died.returncode == -signal.SIGKILL
    stopped = {name for name, state in family.states().items() if state == "T"}
    assert {"root", "server"} < stopped
    assert len(stopped) == 3
    state, detail = control(tmp_path).verify(BOT)
    assert state is HoldState.FAILED
    assert detail.count("goes on") == 2

    assert resumed(tmp_path).verified
    assert [name for name, state in family.states().items() if state == "T"] == ["server"]
    assert store(tmp_path).all() == []


def test_killed_in_the_middle_of_a_pause_the_next_pause_completes_it(family: Family, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", _DIES_AFTER_TWO_SIGNALS, str(tmp_path), str(family.folder)],
        cwd=CHECKOUT,
        timeout=60,
        check=False,
    )

    assert paused(family, tmp_path).verified
    assert set(family.states().values()) == {"T"}
    assert "5 processes go on" in resumed(tmp_path).detail


_DIES_AFTER_TWO_SIGNALS = """
import os, signal, sys
from pathlib import Path
from clawtop.control.process_table import ProcessTable
from tests.unit.control import test_processes as here

class Dying(ProcessTable):
    sent = 0
    def send(self, process, number):
        if self.sent == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        self.sent += 1
        return super().send(process, number)

tmp_path, folder = Path(sys.argv[1]), Path(sys.argv[2])
work = here.LocalWork("claude:api", str(folder), "s1", tmp_path / "session.jsonl")
here.control(tmp_path, table=Dying()).pause(here.LocalAgent(here.BOT, works=(work,)), here.ME, lambda *_: None)
"""


def damage(tmp_path: Path) -> Path:
    """Ruin the hold file."""
    path = store(tmp_path).path(BOT)
    path.write_text("{")
    return path


def test_a_damaged_hold_asks_before_anything_goes_on(family: Family, tmp_path: Path) -> None:
    paused(family, tmp_path)
    path = damage(tmp_path)
    bot = local(family, tmp_path)

    asked = control(tmp_path).resume(bot, ME, force=False, keep=False)

    assert not asked.verified
    assert len(asked.conflicts) == 5
    assert asked.conflicts[0].now == "stopped"
    assert set(family.states().values()) == {"T"}
    assert path.exists()
    forced = control(tmp_path).resume(bot, ME, force=True, keep=False)
    assert forced.verified
    assert "T" not in family.states().values()
    assert path.with_name(f"{path.name}.damaged-1").read_text() == "{"
    assert not path.exists()


def test_a_damaged_hold_can_be_closed_with_everything_as_it_is(family: Family, tmp_path: Path) -> None:
    paused(family, tmp_path)
    damage(tmp_path)

    closed = control(tmp_path).resume(local(family, tmp_path), ME, force=False, keep=True)

    assert closed.hold is None
    assert "5 processes that had been stopped before left so" in closed.detail
    assert set(family.states().values()) == {"T"}


def test_a_damaged_hold_of_nobody_known_is_closed_only_when_asked(family: Family, tmp_path: Path) -> None:
    paused(family, tmp_path)
    damage(tmp_path)

    open_ = resumed(tmp_path)
    closed = resumed(tmp_path, keep=True)

    assert not open_.verified
    assert open_.hold is not None
    assert "see to them by hand" in open_.detail
    assert closed.verified
    assert store(tmp_path).all() == []


def test_a_pause_over_a_damaged_hold_keeps_it_and_claims_nothing(family: Family, tmp_path: Path) -> None:
    paused(family, tmp_path)
    path = damage(tmp_path)
    family_again = paused(family, tmp_path)

    assert family_again.verified
    assert path.with_name(f"{path.name}.damaged-1").exists()
    assert {each.stopped for each in tree_on_disk(tmp_path).processes} == {None}
    assert len(resumed(tmp_path).conflicts) == 5
    assert "5 processes go on" in resumed(tmp_path, force=True).detail


def test_a_hold_of_another_kind_is_not_overwritten(family: Family, tmp_path: Path) -> None:
    store(tmp_path).write(HoldRecord(BOT, 1, "me@here", 1, hook="bots"))

    result = paused(family, tmp_path)

    assert "held already, by bots" in result.detail
    assert "T" not in family.states().values()


def inner(family: Family) -> ProcessRule:
    """A second agent: the tool that the first one has started."""
    pidfile = family.folder / "tool.pid"
    pidfile.write_text(f"{family.named('tool').pid}")
    return ProcessRule("bot", pidfile=str(pidfile))


def test_two_holds_that_share_processes_let_go_only_together(family: Family, tmp_path: Path) -> None:
    both = control(tmp_path, inner(family))
    assert paused(family, tmp_path).verified
    assert both.pause(LocalAgent(OTHER), ME, untold).verified

    outer = resumed(tmp_path)

    assert not outer.verified
    assert "2 processes held still with bot" in outer.detail
    assert {name for name, state in family.states().items() if state == "T"} == {"tool", "helper"}
    assert resumed(tmp_path, OTHER).detail == "2 processes go on"
    assert "T" not in family.states().values()


def test_holds_that_share_processes_and_go_at_the_same_time_leave_none(family: Family, tmp_path: Path) -> None:
    both = control(tmp_path, inner(family))
    for _ in range(5):
        acts: list[Callable[[], object]] = [
            lambda: both.pause(local(family, tmp_path), ME, untold),
            lambda: both.pause(LocalAgent(OTHER), ME, untold),
        ]
        side_by_side(acts)
        assert set(family.states().values()) == {"T"}
        side_by_side([lambda: resumed(tmp_path), lambda: resumed(tmp_path, OTHER)])
        assert "T" not in family.states().values()
        assert store(tmp_path).all() == []


def side_by_side(acts: list[Callable[[], object]]) -> None:
    """Do these at the same time."""
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def test_a_rule_is_enough_and_its_glob_is_warned_of(family: Family, tmp_path: Path) -> None:
    ways = control(tmp_path, by_glob(family, "bot*"))
    bot = LocalAgent(OTHER)

    assert ways.has_rule(OTHER, About())
    plan = ways.plan(bot, None)
    assert "is for all agents bot*" in plan.warnings[0]
    assert "a new process that its [[control.process]] fits" in [gap.what for gap in plan.not_covered]
    assert ways.pause(bot, ME, untold).verified
    assert set(family.states().values()) == {"T"}
    assert ways.has_stopped(OTHER)
    assert resumed(tmp_path, OTHER).verified


def test_after_the_clock_was_set_a_process_is_still_the_same(family: Family, tmp_path: Path) -> None:
    paused(family, tmp_path)
    tree = tree_on_disk(tmp_path)
    record = store(tmp_path).read(BOT)
    assert record is not None
    moved: list[ProcessBefore] = [replace(each, started=each.started + 86_400_000) for each in tree.processes]
    store(tmp_path).write(replace(record, tree=replace(tree, processes=tuple(moved))))

    assert "5 processes go on" in resumed(tmp_path).detail


def test_after_the_machine_was_started_again_none_is_the_same(family: Family, tmp_path: Path) -> None:
    paused(family, tmp_path)
    tree = tree_on_disk(tmp_path)
    record = store(tmp_path).read(BOT)
    assert record is not None
    earlier = [replace(each, birth=f"other boot:{each.birth.partition(':')[2]}") for each in tree.processes]
    store(tmp_path).write(replace(record, tree=replace(tree, processes=tuple(earlier))))

    assert "5 processes ended meanwhile" in resumed(tmp_path).detail
    assert set(family.states().values()) == {"T"}, "they are others"
