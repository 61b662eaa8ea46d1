"""Cron jobs that a person has switched while the question was open: a hold takes what stands there once it is made."""

from pathlib import Path

import pytest

from clawtop.control.holds import HoldStore
from clawtop.model.commands import Pause
from tests.fake_gateway import Params
from tests.unit.control.stage import CODER, resume, switch_to
from tests.unit.control.test_switch import working


@pytest.mark.parametrize("old", [False, True])
async def test_a_job_switched_off_before_the_answer_stays_off_after_a_resume(tmp_path: Path, old: bool) -> None:
    pretend = working()
    pretend.add_job("hourly", "coder")
    async with pretend.gateway() as gateway:
        if old:
            for name in ("sessions.abort", "tasks.list", "tasks.cancel", "audit.list", "sessions.subscribe"):
                del gateway.handlers[name]
            gateway.handlers["chat.abort"] = lambda _: {"aborted": True}
        switch = switch_to(gateway, tmp_path)
        await switch.plan([CODER])
        pretend.jobs["hourly"]["enabled"] = False
        await switch.carry_out(Pause((CODER,)))
        held = [job["enabled"] for job in pretend.jobs.values()]
        resumed = await resume(switch)
        await switch.stop()

    assert held == [False, False]
    assert resumed.verified
    assert [job["enabled"] for job in pretend.jobs.values()] == [True, False]


async def test_a_job_is_written_down_before_it_is_switched_off(tmp_path: Path) -> None:
    pretend = working()
    update = pretend.handlers()["cron.update"]
    written: list[list[str]] = []

    def watched(params: Params) -> object:
        record = HoldStore(tmp_path / "holds").read(CODER)
        written.append([job.id for job in record.cron] if record is not None else [])
        return update(params)

    async with pretend.gateway(cron_update=watched) as gateway:
        switch = switch_to(gateway, tmp_path)
        await switch.plan([CODER])
        pretend.add_job("fresh", "coder")
        result = (await switch.carry_out(Pause((CODER,)))).results[0]
        await switch.stop()

    assert result.verified
    assert written == [["nightly", "fresh"]] * 2


async def test_what_runs_is_cut_off_whenever_the_jobs_are_told(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await switch.plan([CODER])
        read = gateway.handlers["cron.list"]
        aborted: list[str] = []

        def listing(params: Params) -> object:
            aborted.extend(pretend.aborted)
            return read(params)

        gateway.handlers["cron.list"] = listing
        result = (await switch.carry_out(Pause((CODER,)))).results[0]
        await switch.stop()

    assert result.verified
    assert "agent:coder:main" in aborted
