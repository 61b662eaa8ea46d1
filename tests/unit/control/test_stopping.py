"""Cutting off for weeks: what a watch remembers does not grow with what it has cut off."""

import gc
from collections.abc import Sequence
from typing import Any, cast

import pytest

from clawtop.control.gateway_calls import Operator
from clawtop.control.gateway_facts import Activity, Session
from clawtop.control.stopping import Item, Stopping
from clawtop.gateway.protocol import Hello


class Aborting:
    """An operator that cuts off whatever it is told to."""

    async def abort_session(self, key: str) -> bool:
        """It ran."""
        return True


def running(key: str, parent: str | None = None) -> Session:
    """A session that runs something."""
    return Session(key, key.split(":")[1], f"id-{key}", True, "p/m", None, parent)


def look(stopping: Stopping, *sessions: Session) -> None:
    """What a look at the gateway finds."""
    stopping.strike(Activity(sessions, (), {}))


async def struck(stopping: Stopping, sessions: Sequence[Session]) -> None:
    """Look after look, one of these running at each."""
    for session in sessions:
        look(stopping, session)
        await stopping.first_answers(10)
    look(stopping)


def kept() -> int:
    """How many things that could be cut off are still remembered by anybody."""
    gc.collect()
    return sum(isinstance(each, Item) for each in gc.get_objects())


async def test_what_was_cut_off_is_told_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawtop.control.stopping._SETTLING_SECONDS", 0.0)
    told: list[str] = []
    stopping = Stopping(cast("Operator", Aborting()), ["coder"], (), cut=lambda _, item: told.append(item.id))
    before = kept()
    keys = [f"agent:coder:cron:job:{number}" for number in range(300)]
    await struck(stopping, [running(key) for key in keys])

    assert told == keys
    assert kept() - before <= 1
    assert stopping.progress["coder"].known == frozenset()


async def test_whom_an_agent_has_spawned_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawtop.control.stopping._MOST_REMEMBERED", 20)
    told: list[str] = []
    stopping = Stopping(cast("Operator", Aborting()), ["coder"], (), cut=lambda _, item: told.append(item.id))
    child, other = "agent:main:subagent:1", "agent:main:main"
    await struck(stopping, [running(child, "agent:coder:main"), running(other)])
    # its parent is in no look any more, and no name says whose it is
    await struck(stopping, [running("agent:main:subagent:2", child)])
    most = []
    for number in range(100):
        await struck(stopping, [running(f"agent:main:subagent:n{number}", "agent:coder:main")])
        most.append(len(stopping.progress["coder"].known))

    assert told[:2] == [child, "agent:main:subagent:2"]
    assert other not in told
    assert len(told) == 102
    assert max(most) <= 21


async def test_who_asks_once_is_told_every_step() -> None:
    stopping = Stopping(cast("Operator", Aborting()), ["coder"], ())
    await struck(stopping, [running("agent:coder:a"), running("agent:coder:b")])

    assert [step.what for step in stopping.progress["coder"].steps.values()] == [
        "run in agent:coder:a",
        "run in agent:coder:b",
    ]
    assert stopping.progress["coder"].stopped == 2


async def test_a_run_that_is_over_is_remembered_as_long_as_the_audit_log_shows_it_as_begun() -> None:
    class Gateway:
        hello = Hello(4, "?", frozenset({"audit.list", "sessions.abort"}), frozenset())
        begun: Sequence[str] = ()

        async def call(self, method: str, _: object, **__: object) -> dict[str, object]:
            if method == "sessions.abort":
                return {"status": "no-active-run"}
            shown = {"kind": "agent_run", "action": "agent.run.started", "agentId": "coder"}
            key = "agent:coder:internal-session-effects:1"
            return {"events": [{**shown, "runId": run, "sessionKey": key} for run in self.begun]}

    gateway = Gateway()
    operator = Operator(cast("Any", gateway))
    most = 0
    for number in range(50):
        gateway.begun = [f"r{number}", f"r{number + 1}"]
        fresh = await operator.background()
        assert set(fresh) == ({"r0", "r1"} if number == 0 else {f"r{number + 1}"})
        for run in fresh:
            await operator.abort_run(run)
        most = max(most, len(operator.ended))

    assert most == 2
