"""A command that is cut off in the middle: what was begun comes to its end, and how far it came is told and logged."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from clawtop.control.pausing import together
from clawtop.model.commands import Abort, HoldState, Pause, Resume
from tests.fake_gateway import Handler, Params
from tests.unit.control.pretend import Pretend
from tests.unit.control.stage import CODER, on_disk, pause, resume, switch_to


def working() -> Pretend:
    """A gateway whose coder runs, has a cron job, and a session with a model of its own."""
    pretend = Pretend()
    pretend.add_session("agent:coder:main", active=True)
    pretend.add_session("agent:coder:own", model="mock2/dear")
    pretend.add_job("nightly", "coder", model="mock2/dear")
    return pretend


class Slowly:
    """A handler that says when it was asked, and answers only once it may."""

    def __init__(self, handler: Handler) -> None:
        self.asked = asyncio.Event()
        self.may = asyncio.Event()
        self._handler = handler

    async def __call__(self, params: Params) -> object:
        self.asked.set()
        await self.may.wait()
        return self._handler(params)


def last_line(folder: Path) -> dict[str, Any]:
    """The newest line of the audit log."""
    found: dict[str, Any] = json.loads((folder / "audit.jsonl").read_text().splitlines()[-1])
    return found


async def test_a_config_write_is_waited_for_though_other_steps_are_cut_off(tmp_path: Path) -> None:
    pretend = working()
    before = pretend.state()
    handlers = pretend.handlers()
    writing = Slowly(handlers["config.patch"])
    # the gateway does one thing at a time: until the config is written no other step is answered
    async with pretend.gateway(config_patch=writing) as gateway:
        switch = switch_to(gateway, tmp_path)
        pausing = asyncio.create_task(switch.carry_out(Pause((CODER,))))
        await writing.asked.wait()
        pausing.cancel()
        ended, _ = await asyncio.wait({pausing}, timeout=0.3)
        writing.may.set()
        with pytest.raises(asyncio.CancelledError):
            await pausing
        entry, hold, told = pretend.entry("coder"), switch.holds()[CODER], last_line(tmp_path)
        resumed = await resume(switch)
        await switch.stop()

    assert not ended
    assert entry is not None
    assert entry["model"]["primary"] == "paused/by-clawtop"
    assert (hold.state, hold.detail) == (
        HoldState.FAILED,
        "interrupted; the hold stands in part: pause it once more, or resume it",
    )
    assert (told["event"], told["verified"], told["detail"]) == ("outcome", False, hold.detail)
    assert resumed.verified, resumed.detail
    pretend.sessions["agent:coder:main"]["hasActiveRun"] = True
    assert pretend.state() == before


async def test_a_pause_that_wrote_nothing_yet_holds_nothing(tmp_path: Path) -> None:
    pretend = working()
    looking = Slowly(pretend.handlers()["sessions.list"])
    async with pretend.gateway(sessions_list=looking) as gateway:
        switch = switch_to(gateway, tmp_path)
        pausing = asyncio.create_task(switch.carry_out(Pause((CODER,))))
        await looking.asked.wait()
        pausing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pausing
        await switch.stop()

    assert switch.holds() == {}
    assert on_disk(tmp_path) == []
    assert last_line(tmp_path)["detail"] == "interrupted; it is not held"


@pytest.mark.parametrize(
    ("command", "left"),
    [
        (Resume((CODER,)), "interrupted; it is let go in part: resume it once more"),
        (Abort((CODER,)), "interrupted; what ran may still run"),
    ],
)
async def test_what_is_left_of_a_resume_or_an_abort_is_told(tmp_path: Path, command: Resume | Abort, left: str) -> None:
    pretend = working()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch)
        looking = Slowly(pretend.handlers()["sessions.list"])
        gateway.handlers["sessions.list"] = looking
        acting = asyncio.create_task(switch.carry_out(command))
        await looking.asked.wait()
        acting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await acting
        await switch.stop()

    assert last_line(tmp_path)["detail"] == left
    assert switch.holds()[CODER].state is (HoldState.PAUSED if isinstance(command, Abort) else HoldState.FAILED)


async def test_jobs_that_are_cut_off_together_each_come_to_their_end() -> None:
    ended: list[str] = []
    begun = asyncio.Event()

    async def careful() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            ended.append("careful")

    work = asyncio.create_task(_as_task(careful))
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    assert ended == ["careful"]


async def _as_task(careful: Any) -> None:
    await together(asyncio.sleep(3600), careful())
