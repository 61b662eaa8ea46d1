"""Runs that were cut off and end later: a pause waits for them, and says so where they don't."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from clawtop.control.endings import Endings
from clawtop.gateway.protocol import GatewayEvent
from tests.fake_gateway import FakeGateway, Params
from tests.unit.control.pretend import Pretend
from tests.unit.control.stage import pause, switch_to

KEY = "agent:coder:main"


def lifecycle(phase: str, key: str = KEY, **data: object) -> dict[str, Any]:
    """The payload of an event of a run's life."""
    return {"sessionKey": key, "runId": data.pop("run", "r1"), "stream": "lifecycle", "data": {"phase": phase, **data}}


def message(role: str = "assistant", **usage: int) -> GatewayEvent:
    """A message of a session."""
    return GatewayEvent("session.message", {"sessionKey": KEY, "message": {"role": role, "usage": usage}})


@pytest.mark.parametrize("end", ["end", "error"])
async def test_a_run_is_being_closed_until_it_ends(end: str) -> None:
    endings = Endings(lambda key: key == KEY)
    for payload in (lifecycle("end", aborted=True, status="cancelled"), lifecycle("finishing", aborted=True)):
        endings.take(GatewayEvent("agent", payload))

    assert endings.closing == [KEY]
    waiting = asyncio.create_task(endings.closed())
    await asyncio.sleep(0)
    last = lifecycle(end, aborted=True)
    del last["sessionKey"]
    endings.take(GatewayEvent("agent", last))
    assert await asyncio.wait_for(waiting, 10) == []


async def test_an_announced_end_is_waited_for_a_while_and_then_believed() -> None:
    now = [100.0]
    endings = Endings(lambda key: key == KEY, lambda: now[0])
    endings.take(GatewayEvent("agent", lifecycle("end", aborted=True, status="cancelled")))
    waiting = asyncio.create_task(endings.closed())
    await asyncio.sleep(0)
    assert not waiting.done()
    now[0] += 100
    endings.take(GatewayEvent("agent", lifecycle("end", run="another")))
    assert await asyncio.wait_for(waiting, 10) == []


async def test_a_settled_end_closes_at_once() -> None:
    endings = Endings(lambda key: key == KEY)
    endings.take(GatewayEvent("agent", lifecycle("end", aborted=True, status="cancelled", executionSettled=True)))
    assert await asyncio.wait_for(endings.closed(), 10) == []


@pytest.mark.parametrize(
    "payload",
    [
        lifecycle("finishing", aborted=False),
        lifecycle("finishing", key="agent:main:main", aborted=True),
        {"sessionKey": KEY, "stream": "lifecycle", "data": 7, "runId": 7},
        {"sessionKey": 7},
        {},
    ],
)
async def test_other_events_say_nothing(payload: dict[str, Any]) -> None:
    endings = Endings(lambda key: key == KEY)
    endings.take(GatewayEvent("agent", payload))

    assert await asyncio.wait_for(endings.closed(), 10) == []


def test_only_an_answer_that_cost_tokens_is_a_call() -> None:
    endings = Endings(lambda key: key == KEY)
    before = time.monotonic()
    for event in (message("user", input=5), message(input=0, output=0), message()):
        endings.take(event)
    assert endings.called_since(before - 1) == []

    endings.take(message(input=5))
    assert endings.called_since(before - 1) == [KEY]
    assert endings.called_since(time.monotonic() + 1) == []


def closing(pretend: Pretend) -> FakeGateway:
    """A gateway that tells of each abort that the run is finishing."""
    pretend.add_session(KEY, active=True)
    gateway = pretend.gateway()
    abort = gateway.handlers["sessions.abort"]

    async def slowly(params: Params) -> object:
        await gateway.push("agent", lifecycle("finishing", aborted=True))
        return abort(params)

    gateway.handlers["sessions.abort"] = slowly
    return gateway


async def test_a_pause_is_verified_only_when_its_runs_have_ended(tmp_path: Path) -> None:
    pretend = Pretend()
    gateway = closing(pretend)
    async with gateway:
        switch = switch_to(gateway, tmp_path)
        pausing = asyncio.create_task(pause(switch))
        await gateway.until(lambda: pretend.writes == 1)
        early = pausing.done()
        await gateway.push("agent", lifecycle("end", aborted=True))
        result = await pausing
        await switch.stop()

    assert not early
    assert result.verified, result.detail


async def test_a_run_that_never_ends_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawtop.control.endings._CLOSING_SECONDS", 0.5)
    gateway = closing(Pretend())
    async with gateway:
        switch = switch_to(gateway, tmp_path)
        result = await pause(switch)
        await switch.stop()

    assert not result.verified
    assert f"the run in {KEY} was cut off and has not ended" in result.detail


async def test_an_answer_after_the_end_is_said(tmp_path: Path) -> None:
    pretend = Pretend()
    gateway = pretend.gateway()
    listing = gateway.handlers["cron.list"]

    async def answer_late(params: Params) -> object:
        if pretend.writes:
            await gateway.push("session.message", message(input=7).payload)
        return listing(params)

    gateway.handlers["cron.list"] = answer_late
    async with gateway:
        switch = switch_to(gateway, tmp_path)
        result = await pause(switch)
        await switch.stop()

    assert f"a model answered in {KEY} after that was stopped" in result.detail
