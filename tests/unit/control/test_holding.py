"""A look at a hold measures it as its pause did: what passes the held config is no hold, nor is one nobody keeps."""

import json
from pathlib import Path

import pytest

from clawtop.control.switch import Switch, Ways
from clawtop.model.commands import HoldState
from tests.unit.control.pretend import Pretend
from tests.unit.control.stage import CODER, hold_of, pause, resume, switch_to
from tests.unit.control.test_control_cli import Shell, served
from tests.unit.control.test_switch import working


def a_model_of_its_own(pretend: Pretend) -> str:
    """Somebody gives a session a model under the hold."""
    pretend.add_session("agent:coder:main", model="mock2/dear")
    return "agent:coder:main has a model of its own"


def a_job_with_a_model_of_its_own(pretend: Pretend) -> str:
    """Somebody adds a cron job under the hold."""
    pretend.add_job("fresh", "coder", model="mock2/dear")
    return "cron job fresh is on"


@pytest.mark.parametrize("change", [a_model_of_its_own, a_job_with_a_model_of_its_own])
async def test_what_passes_the_hold_is_seen_by_a_later_look(tmp_path: Path, change: object) -> None:
    assert callable(change)
    pretend = working()
    async with pretend.gateway() as gateway:
        first = switch_to(gateway, tmp_path)
        await pause(first)
        await first.stop()
        said = change(pretend)
        later = switch_to(gateway, tmp_path)
        await later.start(keep=False)
        hold = later.holds()[CODER]

    assert hold.state is HoldState.FAILED
    assert said in hold.detail


async def test_a_new_job_on_the_held_model_and_one_the_gateway_keeps_do_not_fail_a_look(tmp_path: Path) -> None:
    pretend = working()
    pretend.add_job("review", "coder", model="mock2/dear")
    pretend.stubborn.add("review")
    async with pretend.gateway() as gateway:
        first = switch_to(gateway, tmp_path)
        paused = await pause(first)
        await first.stop()
        pretend.add_job("fresh", "coder")
        later = switch_to(gateway, tmp_path)
        await later.start(keep=False)

    assert paused.verified
    assert later.holds()[CODER].state is HoldState.PAUSED, later.holds()


async def test_without_a_held_config_a_hold_needs_a_clawtop_that_stays(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway:
        shell = Switch(tmp_path, Ways(lambda _: gateway.address, config_hold=False), stays=False)
        shell.take_over()
        paused = await pause(shell)
        await shell.stop()
        look = switch_to(gateway, tmp_path, config_hold=False)
        await look.start(keep=False)
        screen = switch_to(gateway, tmp_path, config_hold=False)
        await screen.start()
        kept = screen.holds()[CODER]
        resumed = await resume(screen)
        await screen.stop()

    assert not paused.verified
    assert hold_of(paused).state is HoldState.FAILED
    for detail in (paused.detail, look.holds()[CODER].detail):
        assert "nothing holds it unless clawtop runs" in detail
    assert look.holds()[CODER].state is HoldState.FAILED
    assert kept.state is HoldState.PAUSED
    assert resumed.verified


async def test_a_config_that_should_be_held_and_is_not_is_no_hold_though_somebody_watches(tmp_path: Path) -> None:
    async with working().gateway() as gateway:
        lenient = switch_to(gateway, tmp_path, config_hold=False)
        await pause(lenient)
        await lenient.stop()
        strict = switch_to(gateway, tmp_path)
        await strict.start()
        hold = strict.holds()[CODER]
        await strict.stop()

    assert hold.state is HoldState.FAILED
    assert "its config is not held" in hold.detail


def test_holds_from_the_shell_end_with_trouble_where_one_is_passed_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend = working()
    with served(pretend) as gateway:
        shell = Shell(gateway, tmp_path, capsys)
        paused, _ = shell("pause", "coder", "--yes")
        pretend.add_session("agent:coder:main", model="mock2/dear")
        code, said = shell("holds", "--json")

    assert (paused, code) == (0, 1)
    assert json.loads(said)["holds"][0]["state"] == "failed"
