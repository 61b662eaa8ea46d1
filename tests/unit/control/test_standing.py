"""What stands after a command that was refused, or that broke off: nothing that is held is dropped from sight."""

import asyncio
import errno
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clawtop.control.holds import HoldStore
from clawtop.control.hook import HookCommand, HookRule
from clawtop.control.switch import Switch, Ways
from clawtop.model.commands import HoldState, Pause, Resume, Target
from tests.fake_gateway import FakeGateway
from tests.unit.control.pretend import Pretend
from tests.unit.control.stage import CODER, on_disk, pause, resume, switch_to

BOT = Target("ci", "bot")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another clawtop is not waited for."""
    monkeypatch.setattr("clawtop.control.gateway._LOCK_SECONDS", 0.0)


def working() -> Pretend:
    """A gateway whose coder runs and has a session with a model of its own."""
    pretend = Pretend()
    pretend.add_session("agent:coder:main", active=True)
    pretend.add_session("agent:coder:own", model="mock2/dear")
    return pretend


def python(program: str) -> HookCommand:
    """A command that runs this program."""
    return HookCommand((sys.executable, "-c", program), 20.0)


def hooked(folder: Path, *rules: HookRule) -> Switch:
    """A switch whose agents have hooks only."""
    rules = rules or (HookRule("h", pause=python("pass"), resume=python("pass")),)
    return Switch(folder, Ways(lambda _: None, hooks=rules))


def another(folder: Path) -> HoldStore:
    """The holds as another clawtop has them."""
    return HoldStore(folder / "holds")


def failing(error: int) -> Callable[..., None]:
    """Something that the disk refuses."""

    def refuse(*_: object) -> None:
        raise OSError(error, "the disk says no")

    return refuse


async def started_again(gateway: FakeGateway, pretend: Pretend) -> None:
    """Let something start in the agent, and wait until it was cut off."""
    begun = pretend.aborted.count("agent:coder:main")
    pretend.sessions["agent:coder:main"]["hasActiveRun"] = True
    await gateway.push("sessions.changed", {"sessionKey": "agent:coder:main", "phase": "start"})
    await gateway.until(lambda: pretend.aborted.count("agent:coder:main") > begun)


@pytest.mark.usefixtures("impatient")
async def test_a_resume_that_is_refused_leaves_the_hold_in_sight_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clawtop.control.watch._LOOK_SECONDS", 0.01)
    pretend = working()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch)
        with another(tmp_path).lock(CODER):
            result = await resume(switch)
        hold = switch.holds()[CODER]
        await started_again(gateway, pretend)
        await switch.stop()

    assert not result.verified
    assert (hold.state, hold.reason) == (HoldState.PAUSED, "too dear")
    assert "another clawtop" in hold.detail
    assert on_disk(tmp_path) == [CODER]


@pytest.mark.usefixtures("impatient")
async def test_a_second_pause_that_is_refused_leaves_the_first(tmp_path: Path) -> None:
    async with working().gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch)
        before = switch.holds()[CODER]
        with another(tmp_path).lock(CODER):
            await pause(switch)
        hold = switch.holds()[CODER]
        await switch.stop()

    assert (hold.state, hold.since, hold.by) == (HoldState.PAUSED, before.since, before.by)
    assert "another clawtop" in hold.detail


@pytest.mark.usefixtures("impatient")
async def test_a_refused_pause_of_an_agent_that_is_not_held_leaves_none(tmp_path: Path) -> None:
    async with working().gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        with another(tmp_path).lock(CODER):
            result = await pause(switch)
        await switch.stop()

    assert not result.verified
    assert switch.holds() == {}


async def test_an_agent_that_its_gateway_has_lost_stays_held_for_all_that_is_known(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch)
        del pretend.config["agents"]["entries"]["coder"]
        await pause(switch)
        hold = switch.holds()[CODER]
        await switch.stop()

    assert hold.state is HoldState.PAUSED
    assert "knows no agent coder" in hold.detail


@pytest.mark.parametrize("command", [Pause((BOT,)), Resume((BOT,))])
async def test_a_hook_that_another_clawtop_is_using_leaves_the_hold(tmp_path: Path, command: Pause | Resume) -> None:
    switch = hooked(tmp_path)
    await switch.carry_out(Pause((BOT,), "too dear"))
    with another(tmp_path).lock(BOT):
        outcome = await switch.carry_out(command)

    assert not outcome.verified
    assert switch.holds()[BOT].state is HoldState.PAUSED
    assert "another clawtop" in switch.holds()[BOT].detail
    assert on_disk(tmp_path) == [BOT]


@pytest.mark.parametrize("command", [Pause((BOT,)), Resume((BOT,))])
async def test_a_hold_whose_hook_is_gone_from_the_config_stays(tmp_path: Path, command: Pause | Resume) -> None:
    await hooked(tmp_path).carry_out(Pause((BOT,)))
    later = hooked(tmp_path, HookRule("other", agent="other", pause=python("pass")))
    later.take_over()
    outcome = await later.carry_out(command)

    assert not outcome.verified
    assert later.holds()[BOT].state is HoldState.PAUSED
    assert "no hook of the config matches it" in later.holds()[BOT].detail


async def test_a_resume_of_what_nobody_holds_makes_no_hold(tmp_path: Path) -> None:
    switch = hooked(tmp_path, HookRule("h", pause=python("pass"), resume=python("import sys; sys.exit(1)")))
    outcome = await switch.carry_out(Resume((BOT,)))

    assert not outcome.verified
    assert switch.holds() == {}


async def test_a_resume_that_cannot_be_written_down_says_how_far_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend = working()
    before = pretend.state()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch)
        with monkeypatch.context() as full:
            full.setattr(HoldStore, "write", failing(errno.ENOSPC))
            result = await resume(switch)
        hold = switch.holds()[CODER]
        audited = (tmp_path / "audit.jsonl").read_text().splitlines()
        again = await resume(switch)
        await switch.stop()

    assert not result.verified
    assert "the disk says no" in result.detail
    assert "done before: model of agent:coder:own back to mock2/dear" in result.detail
    assert hold.state is HoldState.FAILED
    assert (hold.reason, hold.detail) == ("too dear", result.detail)
    assert "the disk says no" in audited[-1]
    assert again.verified
    assert pretend.state() == before


async def test_a_hold_file_that_cannot_be_removed_is_told_and_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clawtop.control.watch._LOOK_SECONDS", 0.01)
    pretend = working()
    before = pretend.state()
    pretend.add_session("agent:main:main")
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch, CODER, Target("local", "main"))
        with monkeypatch.context() as stubborn:
            stubborn.setattr(HoldStore, "remove", failing(errno.EROFS))
            result = await resume(switch)
        hold = switch.holds()[CODER]
        # the other agent is kept still, so what starts in both is seen
        pretend.sessions["agent:coder:main"]["hasActiveRun"] = True
        await gateway.push("sessions.changed", {"sessionKey": "agent:coder:main", "phase": "start"})
        pretend.sessions["agent:main:main"]["hasActiveRun"] = True
        await gateway.push("sessions.changed", {"sessionKey": "agent:main:main", "phase": "start"})
        await gateway.until(lambda: "agent:main:main" in pretend.aborted)
        goes_on = pretend.sessions["agent:coder:main"]["hasActiveRun"]
        again = await resume(switch)
        await resume(switch, Target("local", "main"))
        await switch.stop()

    path = another(tmp_path).path(CODER)
    assert not result.verified
    assert result.detail.startswith(f"it goes on; its hold file {path} could not be removed (the disk says no)")
    assert (hold.state, hold.detail) == (HoldState.FAILED, result.detail)
    assert goes_on
    assert again.verified
    assert switch.holds() == {}
    assert on_disk(tmp_path) == []
    pretend.sessions.pop("agent:main:main")
    pretend.sessions["agent:coder:main"]["hasActiveRun"] = True
    assert pretend.state() == before


async def test_what_a_hook_has_resumed_is_not_said_to_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched = tmp_path / "touched"
    rule = HookRule("h", pause=python("pass"), resume=python(f"open({str(touched)!r}, 'w')"))
    switch = hooked(tmp_path, rule)
    await switch.carry_out(Pause((BOT,)))
    monkeypatch.setattr(HoldStore, "remove", failing(errno.EROFS))
    (result,) = (await switch.carry_out(Resume((BOT,)))).results

    assert touched.exists()
    assert not result.verified
    assert result.detail.startswith("it goes on; its hold file ")
    assert [step.what for step in result.steps] == ["resume by hook h"]
    assert switch.holds()[BOT].state is HoldState.FAILED


async def test_a_damaged_hold_is_set_aside_only_by_a_hook_that_did_its_work(tmp_path: Path) -> None:
    store = another(tmp_path)
    works = HookRule("h", pause=python("pass"), resume=python("pass"), abort=python("pass"))
    fails = HookRule("h", pause=python("pass"), resume=python("import sys; sys.exit(1)"))
    await hooked(tmp_path, works).carry_out(Pause((BOT,)))
    store.path(BOT).write_text("{")

    await hooked(tmp_path, fails).carry_out(Resume((BOT,)))
    kept = store.path(BOT).exists()
    outcome = await hooked(tmp_path, works).carry_out(Resume((BOT,)))

    assert kept
    assert outcome.verified
    assert on_disk(tmp_path) == []
    assert len(list((tmp_path / "holds").glob("*.damaged-*"))) == 1


async def test_a_refusal_that_comes_late_does_not_undo_what_was_told_meanwhile(tmp_path: Path) -> None:
    slow = HookRule("h", pause=python("import sys; sys.stdin.read()"), resume=python("pass"))
    switch = hooked(tmp_path, slow)
    first, second = await asyncio.gather(switch.carry_out(Pause((BOT,))), switch.carry_out(Pause((BOT,))))

    assert sorted((first.verified, second.verified)) == [False, True]
    assert switch.holds()[BOT].state is HoldState.PAUSED
