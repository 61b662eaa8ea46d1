"""The switch beside agents that are processes: who is reached how, what is kept, what is written into the audit log."""

import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clawtop.control.holds import HoldStore
from clawtop.control.hook import HookCommand, HookRule
from clawtop.control.process_rule import ProcessRule
from clawtop.control.process_table import ProcessTable, State
from clawtop.control.switch import ReadOnly, Switch, Ways
from clawtop.gateway.connection import GatewayAddress
from clawtop.model.commands import Abort, About, HoldState, Means, Pause, Resume, Target
from clawtop.model.local import LocalWork
from tests.process_trees import Family, agent, eventually, one

BOT, CODER = Target("local", "claude:api"), Target("local", "coder")
NOWHERE = GatewayAddress("ws://127.0.0.1:1", None)


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


class Stage:
    """Clawtops that know of one Claude Code, and of a gateway that is down."""

    def __init__(self, folder: Path, family: Family) -> None:
        self._folder = folder
        self._work = LocalWork(BOT.agent, str(family.folder), "s1", folder / "session.jsonl")
        self.changed = asyncio.Event()

    def switch(
        self,
        *,
        hooks: tuple[HookRule, ...] = (),
        processes: tuple[ProcessRule, ...] = (),
        readonly: bool = False,
        project: str = "api",
    ) -> Switch:
        """Another clawtop. `project` is what the agent has spent most on."""
        ways = Ways(
            lambda target: NOWHERE if target.host == "local" else None,
            lambda _: About(project=project),
            hooks,
            works_of=lambda target: (self._work,) if target == BOT else (),
            processes=processes,
        )
        return Switch(self._folder / "state", ways, readonly=readonly, on_change=self.changed.set)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a change after which this holds."""
        async with asyncio.timeout(20):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    def holds(self) -> HoldStore:
        """The holds on disk."""
        return HoldStore(self._folder / "state" / "holds")

    def audit(self) -> list[dict[str, Any]]:
        """The lines of the audit log."""
        return [json.loads(line) for line in (self._folder / "state" / "audit.jsonl").read_text().splitlines()]


@pytest.fixture
def stage(tmp_path: Path, family: Family) -> Stage:
    """One beside the family."""
    return Stage(tmp_path, family)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawtop.control.process_watch._LOOK_SECONDS", 0.02)
    monkeypatch.setattr("clawtop.control.process_watch._SHARE", 1)


async def test_an_agent_of_this_machine_is_reached_by_its_processes_and_others_by_their_gateway(stage: Stage) -> None:
    switch = stage.switch()

    plans = await switch.plan([BOT, CODER, Target("ci", "stray")])

    assert [plan.means for plan in plans] == [Means.PROCESS, Means.GATEWAY, Means.NONE]


async def test_what_the_config_names_comes_first(stage: Stage, family: Family) -> None:
    hook = HookRule("mine", agent="claude:*", pause=HookCommand((sys.executable, "-c", "pass")))
    rule = ProcessRule("c*", command=f"*{family.program} *")

    (hooked,) = await stage.switch(hooks=(hook,)).plan([BOT])
    ruled = await stage.switch(hooks=(hook,), processes=(rule,)).plan([BOT, CODER])

    assert hooked.means is Means.HOOK
    assert [plan.means for plan in ruled] == [Means.PROCESS, Means.PROCESS]


async def test_a_hold_is_undone_as_it_was_made_whatever_the_agent_does_most_by_then(
    stage: Stage, family: Family, tmp_path: Path
) -> None:
    rules = tuple(
        HookRule(
            name,
            project=name,
            pause=HookCommand((sys.executable, "-c", "pass"), 20.0),
            resume=HookCommand((sys.executable, "-c", f"open({str(tmp_path / f'by-{name}')!r}, 'w')"), 20.0),
        )
        for name in ("web", "api")
    )
    by_web = stage.switch(hooks=rules, project="web")
    await by_web.carry_out(Pause((BOT,)))
    later = stage.switch(hooks=rules, processes=(ProcessRule("c*", "api", command=f"*{family.program} *"),))
    (plan,) = await later.plan([BOT])
    outcome = await later.carry_out(Resume((BOT,)))

    assert plan.means is Means.HOOK
    assert outcome.verified
    assert (tmp_path / "by-web").exists()
    assert not (tmp_path / "by-api").exists()
    assert "T" not in family.states().values()


async def test_a_second_pause_by_a_process_rule_takes_the_rule_of_the_first(stage: Stage, family: Family) -> None:
    rules = (
        ProcessRule("c*", "web", command=f"*{family.program} *"),
        ProcessRule("c*", "api", command=f"*{family.program}*"),
    )
    await stage.switch(processes=rules, project="web").carry_out(Pause((BOT,)))
    later = stage.switch(processes=rules)
    again = await later.carry_out(Pause((BOT,)))
    record = stage.holds().read(BOT)
    resumed = await later.carry_out(Resume((BOT,)))
    await later.stop()

    assert again.verified
    assert record is not None
    assert record.tree is not None
    assert record.tree.search == rules[0].search
    assert resumed.verified


async def test_pause_resume_and_abort_are_audited(stage: Stage, family: Family) -> None:
    switch = stage.switch()
    seen: list[HoldState] = []
    stage.changed = Telling(lambda: seen.extend(hold.state for hold in switch.holds().values()))
    switch = stage.switch()

    paused = await switch.carry_out(Pause((BOT,), "too dear"))
    assert paused.verified
    assert set(family.states().values()) == {"T"}
    assert switch.holds()[BOT].state is HoldState.PAUSED
    assert switch.holds()[BOT].reason == "too dear"
    resumed = await switch.carry_out(Resume((BOT,)))
    assert resumed.verified
    assert switch.holds() == {}
    aborted = await switch.carry_out(Abort((BOT,)))
    assert aborted.verified
    assert family.everybody() == []
    await switch.stop()

    assert list(dict.fromkeys(seen)) == [HoldState.REQUESTED, HoldState.STOPPING, HoldState.PAUSED]
    lines = stage.audit()
    assert [(line["event"], line["command"]) for line in lines] == [
        (event, command) for command in ("pause", "resume", "abort") for event in ("request", "outcome")
    ]
    assert lines[1]["verified_ms"] == paused.results[0].verified_after
    assert len(lines[1]["changed"]) == 5
    assert lines[0]["reason"] == "too dear"
    assert "agent.py" not in json.dumps([line for line in lines if line["event"] == "request"])
    assert str(family.folder) not in json.dumps(lines), "no argument of a command line is written down"


class Telling(asyncio.Event):
    """An event that also calls somebody."""

    def __init__(self, callback: Callable[[], None]) -> None:
        super().__init__()
        self._callback = callback

    def set(self) -> None:
        """As ever."""
        self._callback()
        super().set()


async def test_who_goes_on_or_is_new_is_stopped_again_and_counted(
    stage: Stage, family: Family, program: Path, tmp_path: Path
) -> None:
    switch = stage.switch()
    await switch.carry_out(Pause((BOT,)))
    os.kill(family.root.pid, signal.SIGCONT)
    await stage.until(lambda: "stopped again 1×" in switch.holds()[BOT].detail)
    with Family(tmp_path / "second", one("second"), (str(program),), family.folder) as second:
        await stage.until(lambda: "stopped again 2×" in switch.holds()[BOT].detail)
        assert second.named("second").state == "T"
        await switch.stop()

    assert set(family.states().values()) == {"T"}
    assert switch.holds()[BOT].state is HoldState.PAUSED
    notes = [line["detail"] for line in stage.audit() if line["event"] == "stopped-again"]
    assert notes == [f"process {family.root.pid} (claude)", f"process {second.process.pid} (claude)"]


async def test_a_later_clawtop_takes_the_hold_over_and_keeps_it(stage: Stage, family: Family) -> None:
    first = stage.switch()
    await first.carry_out(Pause((BOT,)))
    await first.stop()
    os.kill(family.root.pid, signal.SIGCONT)

    looking = stage.switch()
    await looking.start(keep=False)
    assert looking.holds()[BOT].state is HoldState.FAILED
    assert "it does not hold" in looking.holds()[BOT].detail
    assert family.root.state != "T"

    keeping = stage.switch()
    await keeping.start()
    await stage.until(lambda: keeping.holds()[BOT].state is HoldState.PAUSED)
    assert family.root.state == "T"
    await keeping.stop()


async def test_who_only_looks_stops_nothing(stage: Stage, family: Family) -> None:
    switch = stage.switch(readonly=True)
    for command in (Pause((BOT,)), Resume((BOT,)), Abort((BOT,))):
        with pytest.raises(ReadOnly):
            await switch.carry_out(command)
    held = stage.switch()
    await held.carry_out(Pause((BOT,)))
    await held.stop()
    os.kill(family.root.pid, signal.SIGCONT)

    await switch.start()
    assert switch.holds()[BOT].state is HoldState.FAILED
    await asyncio.wait({asyncio.create_task(stage.changed.wait())}, timeout=0.2)
    await switch.stop()
    assert family.root.state != "T"


async def test_what_another_clawtop_lifts_is_lifted_here(stage: Stage, family: Family) -> None:
    switch = stage.switch()
    await switch.carry_out(Pause((BOT,)))
    other = stage.switch()
    await other.start(keep=False)

    assert (await other.carry_out(Resume((BOT,)))).verified
    await stage.until(lambda: not switch.holds())
    await switch.stop()
    assert "T" not in family.states().values()


async def test_processes_that_go_on_are_let_be_though_their_hold_file_stays(
    stage: Stage, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    switch = stage.switch()
    await switch.carry_out(Pause((BOT,)))
    with monkeypatch.context() as stubborn:
        stubborn.setattr(HoldStore, "remove", read_only)
        (result,) = (await switch.carry_out(Resume((BOT,)))).results
    # a look of the watch that comes at the wrong moment
    assert switch._processes.keep(BOT) is None
    states = set(family.states().values())
    hold = switch.holds()[BOT]
    again = await switch.carry_out(Resume((BOT,)))
    await switch.stop()

    assert not result.verified
    assert result.detail.startswith("it goes on; its hold file ")
    assert "Read-only file system" in result.detail
    assert "5 processes go on" in result.detail
    assert "T" not in states
    assert (hold.state, hold.detail) == (HoldState.FAILED, result.detail)
    assert again.verified
    assert BOT not in switch.holds()


async def test_one_that_cannot_be_kept_still_is_told_of_once(
    stage: Stage, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clawtop.control.processes._STOP_SECONDS", 0.1)
    switch = stage.switch()
    await switch.carry_out(Pause((BOT,)))
    monkeypatch.setattr(ProcessTable, "state", lambda *_: State.BUSY)

    await stage.until(lambda: switch.holds()[BOT].state is HoldState.FAILED)
    notes = len(stage.audit())
    looks = 0
    original = switch._process_watch._told

    def counted(*seen: Any) -> None:
        nonlocal looks
        looks += 1
        original(*seen)
        stage.changed.set()

    monkeypatch.setattr(switch._process_watch, "_told", counted)
    await stage.until(lambda: looks > 2)
    await switch.stop()

    assert "uninterruptible sleep" in switch.holds()[BOT].detail
    assert len(stage.audit()) == notes
