"""A hold is verified, kept and undone only in the way it was made; what is lacking for that is said."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from clawtop.control.door import Door
from clawtop.control.holds import HoldStore
from clawtop.control.hook import HookCommand, HookRule
from clawtop.control.switch import Switch, Ways
from clawtop.model.commands import Hold, HoldState, Means, Pause, Resume, Target
from tests.fake_gateway import FakeGateway
from tests.unit.control.pretend import Pretend
from tests.unit.control.stage import CODER, on_disk, pause, resume
from tests.unit.control.test_switch import working

FAR = Target("127.0.0.1:18999", "coder")
HOOK = HookRule("h", pause=HookCommand((sys.executable, "-c", "")), resume=HookCommand((sys.executable, "-c", "")))


def door(gateway: FakeGateway, source: str, *, usual: bool = False) -> Door:
    """The gateway of that source."""
    return Door(gateway.address, source, usual)


def with_doors(folder: Path, *doors: Door, hooks: Sequence[HookRule] = ()) -> Switch:
    """A switch whose agents may be of any of these."""
    return Switch(folder, Ways(lambda _: None, hooks=hooks, doors=lambda _: doors))


async def test_a_hold_is_not_lifted_through_another_gateway(tmp_path: Path) -> None:
    made, other = working(), working()
    before = made.state()
    async with made.gateway() as first, other.gateway() as second:
        here = with_doors(tmp_path, door(first, "openclaw:/a"))
        await pause(here)
        await here.stop()
        calls = len(second.calls)
        there = with_doors(tmp_path, door(second, "openclaw:/b"))
        await there.start()
        held = there.holds()[CODER]
        refused = await resume(there)
        (plan,) = await there.plan([CODER])
        await pause(there)
        await there.stop()
        asked = second.calls[calls:]
        kept = on_disk(tmp_path)
        back = with_doors(tmp_path, door(first, "openclaw:/a"), door(second, "openclaw:/b"))
        resumed = await resume(back)
        await back.stop()

    assert held.state is HoldState.REQUESTED
    assert not refused.verified
    for said in (held.detail, refused.detail, plan.problem or ""):
        assert f"held through {first.url}" in said
        assert "-s openclaw:/a" in said
    assert asked == []
    assert kept == [CODER]
    assert resumed.verified
    assert made.state() == before


async def test_an_agent_of_two_homes_is_refused_and_both_are_named(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as first, working().gateway() as second:
        switch = with_doors(tmp_path, door(first, "openclaw:/a"), door(second, "openclaw:/b"))
        (plan,) = await switch.plan([CODER])
        result = await pause(switch)
        calls = (first.calls, second.calls)
        await switch.stop()

    assert plan.means is Means.NONE
    assert not result.verified
    assert "openclaw:/a and openclaw:/b" in result.detail
    assert calls == ([], [])
    assert switch.holds() == {}


async def test_a_home_whose_gateway_listens_elsewhere_by_now_lifts_its_hold(tmp_path: Path) -> None:
    pretend = working()
    before = pretend.state()
    async with pretend.gateway() as gateway:
        switch = with_doors(tmp_path, door(gateway, "openclaw:/a"))
        await pause(switch)
        await switch.stop()
    async with pretend.gateway() as moved:
        result = await resume(with_doors(tmp_path, door(moved, "openclaw:/a")))

    assert moved.url != gateway.url
    assert result.verified
    before["jobs"] = pretend.state()["jobs"]
    assert pretend.state() == before


async def test_a_hold_of_a_gateway_that_is_no_source_says_which_one_it_needs(tmp_path: Path) -> None:
    async with Pretend().gateway() as gateway:
        first = with_doors(tmp_path, door(gateway, f"gateway:{gateway.url}"))
        await pause(first, FAR)
        await first.stop()
        later = with_doors(tmp_path)
        await later.start(keep=False)
        result = await resume(later, FAR)
        hold = later.holds()[FAR]

    assert f"-s gateway:{gateway.url}" in result.detail
    assert hold.undoing == f"clawtop resume coder@127.0.0.1:18999 -s gateway:{gateway.url}"
    assert gateway.token not in f"{result}{hold}"


async def test_a_hold_made_before_sources_were_written_down_is_known_by_its_url(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway, working().gateway() as other:
        first = with_doors(tmp_path, Door(gateway.address))
        await pause(first)
        await first.stop()
        refused = await resume(with_doors(tmp_path, door(other, "openclaw:/b")))
        resumed = await resume(with_doors(tmp_path, door(gateway, "openclaw:/a")))

    assert "-s openclaw:DIR with its home" in refused.detail
    assert resumed.verified


async def test_a_hooks_hold_is_lifted_by_the_hook_though_a_gateway_may_run_the_agent(tmp_path: Path) -> None:
    async with working().gateway() as gateway:
        await with_doors(tmp_path, hooks=[HOOK]).carry_out(Pause((CODER,)))
        switch = with_doors(tmp_path, door(gateway, "openclaw:/a"), hooks=[HOOK])
        (result,) = (await switch.carry_out(Resume((CODER,)))).results

    assert [step.what for step in result.steps] == ["resume by hook h"]
    assert gateway.calls == []
    assert on_disk(tmp_path) == []


async def test_a_hook_that_matches_comes_before_a_gateway(tmp_path: Path) -> None:
    async with working().gateway() as gateway:
        switch = with_doors(tmp_path, door(gateway, "openclaw:/a"), hooks=[HOOK])
        (plan,) = await switch.plan([CODER])
        outcome = await switch.carry_out(Pause((CODER,)))
        later = with_doors(tmp_path, door(gateway, "openclaw:/a"), hooks=[HOOK])
        await later.start(keep=False)

    assert plan.means is Means.HOOK
    assert outcome.verified
    assert gateway.calls == []


@pytest.mark.parametrize(
    ("source", "command"),
    [
        (None, "clawtop resume 'co der'"),
        ("openclaw:/my home", "clawtop resume 'co der' -s 'openclaw:/my home'"),
    ],
)
def test_a_hold_says_the_command_that_lifts_it(source: str | None, command: str) -> None:
    assert Hold(Target("local", "co der"), HoldState.PAUSED, 1, "me", source=source).undoing == command


async def test_what_is_there_without_being_named_need_not_be(tmp_path: Path) -> None:
    async with working().gateway() as gateway:
        switch = with_doors(tmp_path, door(gateway, "openclaw:/home/kim/.openclaw", usual=True))
        await pause(switch)
        await switch.stop()
        record = HoldStore(tmp_path / "holds").read(CODER)

    assert switch.holds()[CODER].source is None
    assert record is not None
    assert record.source == "openclaw:/home/kim/.openclaw"


@pytest.mark.parametrize(
    ("program", "state", "said"), [("", "paused", "the hook h said so"), ("1/0", "failed", "Zero")]
)
async def test_a_later_look_knows_what_the_hook_has_said(tmp_path: Path, program: str, state: str, said: str) -> None:
    rule = HookRule("h", pause=HookCommand((sys.executable, "-c", program)))
    await with_doors(tmp_path, hooks=[rule]).carry_out(Pause((CODER,)))
    later = with_doors(tmp_path, hooks=[rule])
    await later.start(keep=False)

    assert later.holds()[CODER].state == state
    assert said in later.holds()[CODER].detail


async def test_a_hook_that_could_not_resume_is_known_to_have_failed(tmp_path: Path) -> None:
    rule = HookRule(
        "h", pause=HookCommand((sys.executable, "-c", "")), resume=HookCommand((sys.executable, "-c", "1/0"))
    )
    switch = with_doors(tmp_path, hooks=[rule])
    await switch.carry_out(Pause((CODER,)))
    await switch.carry_out(Resume((CODER,)))
    later = with_doors(tmp_path, hooks=[rule])
    later.take_over()

    assert later.holds()[CODER].state is HoldState.FAILED
    assert "resume by hook h failed" in later.holds()[CODER].detail
