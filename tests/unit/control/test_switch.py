"""The switch: holds taken over at the start and kept, one line of audit for each thing done, nothing when read-only."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clawtop.control.hook import HookCommand, HookRule
from clawtop.control.switch import ReadOnly, Switch, Ways
from clawtop.control.watch import begun
from clawtop.gateway.protocol import GatewayEvent
from clawtop.model.commands import Abort, About, Hold, HoldState, Means, Pause, Resume, Target
from tests.fake_gateway import Params
from tests.unit.control.pretend import Pretend
from tests.unit.control.stage import CODER, MAIN, pause, resume, switch_to

BOT = Target("ci", "bot")


def working() -> Pretend:
    """A gateway whose coder runs and has a cron job."""
    pretend = Pretend()
    pretend.add_session("agent:coder:main", active=True)
    pretend.add_job("nightly", "coder")
    return pretend


async def changes(switch_holds: Callable[[], bool], changed: asyncio.Event) -> None:
    """Wait for a change after which this holds."""
    async with asyncio.timeout(20):
        while not switch_holds():
            changed.clear()
            await changed.wait()


async def test_holds_found_at_the_start_are_paused_only_once_verified(tmp_path: Path) -> None:
    pretend = working()
    seen: list[Hold] = []
    async with pretend.gateway() as gateway:
        first = switch_to(gateway, tmp_path)
        await pause(first)
        await first.stop()
        later = switch_to(gateway, tmp_path, on_change=lambda: seen.extend(later.holds().values()))
        await later.start()
        await later.stop()

    assert [hold.state for hold in seen] == [HoldState.REQUESTED, HoldState.PAUSED]
    assert "not verified yet" in seen[0].detail
    assert seen[-1].reason == "too dear"


async def test_a_hold_that_does_not_hold_any_more_is_said(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway:
        first = switch_to(gateway, tmp_path)
        await pause(first)
        await first.stop()
        entry = pretend.entry("coder")
        assert entry is not None
        entry["model"] = "mock/cheap"
        pretend.sessions["agent:coder:main"]["hasActiveRun"] = True
        later = switch_to(gateway, tmp_path)
        await later.start(keep=False)

    hold = later.holds()[CODER]
    assert hold.state is HoldState.FAILED
    assert "run in agent:coder:main" in hold.detail
    assert "runs it on mock/cheap" in hold.detail


async def test_a_refused_run_may_end_before_a_hold_is_judged(tmp_path: Path) -> None:
    pretend = working()
    looks = []

    def tasks(_: Params) -> object:
        looks.append(1)
        ending = {"taskId": "t1", "agentId": "coder", "runtime": "cron", "status": "running", "title": "often"}
        return {"tasks": [ending] if len(looks) == 1 else []}

    async with pretend.gateway() as gateway:
        first = switch_to(gateway, tmp_path)
        await pause(first)
        await first.stop()
        gateway.handlers["tasks.list"] = tasks
        later = switch_to(gateway, tmp_path)
        await later.start(keep=False)

    assert (later.holds()[CODER].state, len(looks)) == (HoldState.PAUSED, 2)


async def test_a_hold_of_a_gateway_that_is_gone_is_not_claimed(tmp_path: Path) -> None:
    async with working().gateway() as gateway:
        first = switch_to(gateway, tmp_path)
        await pause(first)
        await first.stop()
    later = switch_to(gateway, tmp_path)
    await later.start(keep=False)

    hold = later.holds()[CODER]
    assert hold.state is HoldState.REQUESTED
    assert "not verified" in hold.detail


async def test_whatever_starts_in_a_held_agent_is_cut_off_and_counted(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway:
        changed = asyncio.Event()
        switch = switch_to(gateway, tmp_path, on_change=changed.set)
        await pause(switch)
        await gateway.until(lambda: len(gateway.asked("sessions.subscribe")) == 1)
        pretend.add_session("agent:coder:new", active=True)
        await gateway.push("sessions.changed", {"sessionKey": "agent:coder:new", "phase": "start"})
        await changes(lambda: "stopped again 1×" in switch.holds()[CODER].detail, changed)
        pretend.add_session("agent:main:other", active=True)
        await gateway.push("sessions.changed", {"sessionKey": "agent:main:other", "phase": "start"})
        pretend.sessions["agent:coder:new"]["hasActiveRun"] = True
        await gateway.push(
            "agent", {"sessionKey": "agent:coder:new", "stream": "lifecycle", "data": {"phase": "start"}}
        )
        await changes(lambda: "stopped again 2×" in switch.holds()[CODER].detail, changed)
        await switch.stop()

    assert switch.holds()[CODER].state is HoldState.PAUSED
    assert pretend.sessions["agent:main:other"]["hasActiveRun"]
    notes = [line for line in audit(tmp_path) if line["event"] == "stopped-again"]
    assert [note["detail"] for note in notes] == ["run in agent:coder:new"] * 2


async def test_what_nobody_told_of_is_found_by_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawtop.control.watch._LOOK_SECONDS", 0.01)
    pretend = working()
    async with pretend.gateway() as gateway:
        changed = asyncio.Event()
        switch = switch_to(gateway, tmp_path, on_change=changed.set)
        await pause(switch)
        pretend.audit = [
            {
                "kind": "agent_run",
                "action": "agent.run.started",
                "runId": "skill-workshop-review:1",
                "agentId": "coder",
                "sessionKey": "agent:coder:internal-session-effects:1",
            }
        ]
        await changes(lambda: "skill-workshop-review:1" in switch.holds()[CODER].detail, changed)
        await switch.stop()

    assert "skill-workshop-review:1" in pretend.aborted


async def test_holds_on_disk_are_kept_from_the_start_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawtop.control.watch._LOOK_SECONDS", 0.01)
    pretend = working()
    async with pretend.gateway() as gateway:
        first = switch_to(gateway, tmp_path)
        await pause(first)
        await first.stop()
        changed = asyncio.Event()
        later = switch_to(gateway, tmp_path, on_change=changed.set)
        await later.start()
        pretend.sessions["agent:coder:main"]["hasActiveRun"] = True
        await changes(lambda: "stopped again" in later.holds()[CODER].detail, changed)
        await later.stop()

    assert not pretend.sessions["agent:coder:main"]["hasActiveRun"]


async def test_a_resumed_agent_is_let_go(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch, CODER, MAIN)
        await gateway.until(lambda: len(gateway.asked("sessions.subscribe")) == 1)
        await resume(switch)
        pretend.sessions["agent:coder:main"]["hasActiveRun"] = True
        pretend.add_session("agent:main:main", active=True)
        for key in ("agent:coder:main", "agent:main:main"):
            await gateway.push("sessions.changed", {"sessionKey": key, "phase": "start"})
        await gateway.until(lambda: "agent:main:main" in pretend.aborted)
        await switch.stop()

    assert pretend.sessions["agent:coder:main"]["hasActiveRun"]


async def test_a_conflict_stays_open_until_it_is_settled(tmp_path: Path) -> None:
    pretend = working()
    before = pretend.state()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch)
        entry = pretend.entry("coder")
        assert entry is not None
        entry["model"] = "mock/cheap"
        pretend.touch()
        asked = await resume(switch)
        open_hold = switch.holds()[CODER]
        jobs = pretend.state()["jobs"]
        forced = await resume(switch, force=True)
        await switch.stop()

    assert not asked.verified
    assert [(it.before, it.now) for it in asked.conflicts] == [("mock/normal", "mock/cheap")]
    assert open_hold.state is HoldState.FAILED
    assert jobs == before["jobs"]
    assert forced.verified
    assert pretend.state() == before
    assert switch.holds() == {}


async def test_what_was_changed_meanwhile_can_be_kept(tmp_path: Path) -> None:
    pretend = working()
    pretend.add_session("agent:coder:own", model="mock2/dear")
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch)
        await_set = pretend.sessions["agent:coder:own"]
        await_set |= {"modelProvider": "mock3", "model": "new", "modelOverrideSource": "user"}
        asked = await resume(switch)
        kept = await resume(switch, keep=True)
        await switch.stop()

    assert [(it.before, it.now) for it in asked.conflicts] == [("mock2/dear", "mock3/new")]
    assert kept.verified
    assert await_set["model"] == "new"


async def test_every_command_is_audited_before_and_after(tmp_path: Path) -> None:
    async with working().gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await switch.carry_out(Pause((CODER,), "too dear", by="budget day"))
        await switch.carry_out(Abort((CODER,)))
        await switch.carry_out(Resume((CODER,)))
        await switch.stop()

    told = [(line["event"], line["command"]) for line in audit(tmp_path)]
    assert told == [(event, verb) for verb in ("pause", "abort", "resume") for event in ("request", "outcome")]
    paused = audit(tmp_path)[1]
    assert paused["by"].startswith("budget day, ")
    assert (paused["agent"], paused["reason"], paused["verified"]) == ("coder", "too dear", True)
    assert {step["what"] for step in paused["changed"]} >= {"run in agent:coder:main", "cron job nightly off"}


async def test_a_read_only_switch_looks_and_does_nothing(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway:
        first = switch_to(gateway, tmp_path)
        await pause(first)
        await first.stop()
        calls = len(gateway.calls)
        switch = switch_to(gateway, tmp_path, readonly=True)
        await switch.start()
        (plan,) = await switch.plan([CODER])
        for command in (Pause((CODER,)), Resume((CODER,)), Abort((CODER,))):
            with pytest.raises(ReadOnly):
                await switch.carry_out(command)
        await switch.stop()
        later = gateway.calls[calls:]

    assert plan.means is Means.GATEWAY
    assert switch.holds()[CODER].state is HoldState.PAUSED
    assert {params["scopes"][0] for name, params in later if name == "connect"} == {"operator.read"}
    assert all(len(params["scopes"]) == 1 for name, params in later if name == "connect")
    assert {name for name, _ in later} <= {
        "connect",
        "sessions.list",
        "tasks.list",
        "audit.list",
        "cron.list",
        "agents.list",
        "config.get",
    }


async def test_agents_of_gateways_and_of_hooks_are_stopped_by_one_command(tmp_path: Path) -> None:
    pretend = working()
    hook = HookRule("ci", agent="bot", pause=HookCommand((sys.executable, "-c", "pass")))
    async with pretend.gateway() as gateway:
        ways = Ways(
            lambda target: gateway.address if target.host == "local" else None, lambda _: About(sources=("x",)), [hook]
        )
        switch = Switch(tmp_path, ways)
        stray = Target("ci", "stray")
        plans = await switch.plan([BOT, CODER, stray])
        outcome = await switch.carry_out(Pause((BOT, CODER, stray, BOT)))
        await switch.stop()

    assert [plan.means for plan in plans] == [Means.HOOK, Means.GATEWAY, Means.NONE]
    assert [(result.target, result.verified) for result in outcome.results] == [
        (BOT, True),
        (CODER, True),
        (stray, False),
    ]
    assert not outcome.verified
    assert switch.holds()[stray].state is HoldState.UNSUPPORTED


@pytest.mark.parametrize(
    ("event", "payload", "begins"),
    [
        ("agent", {"stream": "lifecycle", "data": {"phase": "start"}}, True),
        ("agent", {"stream": "lifecycle", "data": {"phase": "end"}}, False),
        ("agent", {"stream": "tool", "data": {"phase": "start"}}, False),
        ("sessions.changed", {"reason": "send"}, True),
        ("sessions.changed", {"reason": "abort"}, False),
        ("session.message", {"message": {"role": "user"}}, True),
        ("session.message", {"message": {"role": "assistant"}}, False),
        ("tick", {}, False),
    ],
)
def test_what_tells_of_a_beginning(event: str, payload: dict[str, object], begins: bool) -> None:
    found = begun(GatewayEvent(event, {"sessionKey": "agent:coder:main", **payload}))

    assert (found == "agent:coder:main") is begins


def audit(folder: Path) -> list[dict[str, Any]]:
    """The lines of the audit log."""
    return [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
