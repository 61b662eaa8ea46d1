"""Two clawtops over one state directory: what one does to a hold, the other knows, and neither undoes it."""

import asyncio
import errno
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clawtop.control.holds import HoldStore
from clawtop.control.switch import Switch, Ways
from clawtop.model.commands import HoldState, Pause, Resume, Target
from tests.fake_gateway import FakeGateway, Handler, Params
from tests.unit.control.pretend import Pretend
from tests.unit.control.stage import CODER, MAIN, on_disk, pause, resume, switch_to
from tests.unit.control.test_switch import audit, changes, working


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks are taken all the time."""
    monkeypatch.setattr("clawtop.control.hold_watch._LOOK_SECONDS", 0.01)


@asynccontextmanager
async def screen(
    gateway: FakeGateway, folder: Path, *, readonly: bool = False
) -> AsyncIterator[tuple[Switch, asyncio.Event]]:
    """A switch that runs, and an event for each change of its holds."""
    changed = asyncio.Event()
    switch = switch_to(gateway, folder, readonly=readonly, on_change=changed.set)
    await switch.start()
    try:
        yield switch, changed
    finally:
        await switch.stop()


async def begins(gateway: FakeGateway, pretend: Pretend, key: str) -> None:
    """Something starts in a session, and the gateway tells of it."""
    pretend.sessions[key]["hasActiveRun"] = True
    await gateway.push("sessions.changed", {"sessionKey": key, "phase": "start"})


async def test_what_another_clawtop_has_resumed_is_let_go(tmp_path: Path) -> None:
    pretend = working()
    pretend.add_session("agent:main:main")
    async with pretend.gateway() as gateway, screen(gateway, tmp_path) as (switch, changed):
        await pause(switch, CODER, MAIN)
        shell = switch_to(gateway, tmp_path)
        resumed = await resume(shell)
        await changes(lambda: CODER not in switch.holds(), changed)
        pretend.aborted.clear()
        await begins(gateway, pretend, "agent:coder:main")
        await begins(gateway, pretend, "agent:main:main")
        await gateway.until(lambda: "agent:main:main" in pretend.aborted)
        await shell.stop()
        kept = dict(switch.holds())

    assert resumed.verified
    assert "agent:coder:main" not in pretend.aborted
    assert kept.keys() == {MAIN}
    assert [line["agent"] for line in audit(tmp_path) if line["event"] == "let-go"] == ["coder"]


async def test_nothing_is_cut_off_once_the_hold_file_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawtop.control.hold_watch._LOOK_SECONDS", 1000.0)
    pretend = working()
    pretend.add_session("agent:main:main")
    async with pretend.gateway() as gateway, screen(gateway, tmp_path) as (switch, _):
        await pause(switch, CODER, MAIN)
        pretend.aborted.clear()
        HoldStore(tmp_path / "holds").remove(CODER)
        await begins(gateway, pretend, "agent:coder:main")
        await begins(gateway, pretend, "agent:main:main")
        await gateway.until(lambda: "agent:main:main" in pretend.aborted)

    assert "agent:coder:main" not in pretend.aborted


async def test_what_another_clawtop_has_paused_is_seen_and_kept(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway, screen(gateway, tmp_path) as (switch, changed):
        shell = switch_to(gateway, tmp_path)
        paused = await pause(shell)
        await shell.stop()
        await changes(lambda: CODER in switch.holds() and switch.holds()[CODER].state is HoldState.PAUSED, changed)
        hold = switch.holds()[CODER]
        await begins(gateway, pretend, "agent:coder:main")
        await changes(lambda: "stopped again" in switch.holds()[CODER].detail, changed)

    assert paused.verified
    assert hold.reason == "too dear"
    assert not pretend.sessions["agent:coder:main"]["hasActiveRun"]


async def test_one_that_may_not_act_sees_what_others_do(tmp_path: Path) -> None:
    async with working().gateway() as gateway, screen(gateway, tmp_path, readonly=True) as (switch, changed):
        shell = switch_to(gateway, tmp_path)
        await pause(shell)
        await changes(lambda: CODER in switch.holds() and switch.holds()[CODER].state is HoldState.PAUSED, changed)
        await resume(shell)
        await changes(lambda: not switch.holds(), changed)
        await shell.stop()


async def test_a_clawtop_does_not_take_its_own_writes_for_another_ones(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway, screen(gateway, tmp_path) as (switch, changed):
        await pause(switch)
        before = switch.holds()[CODER]
        shell = switch_to(gateway, tmp_path)
        await pause(shell, MAIN)
        await shell.stop()
        # once the other one's was seen, its own have been looked at, too
        await changes(lambda: MAIN in switch.holds(), changed)
        after = switch.holds()[CODER]

    assert after == before
    assert [line["event"] for line in audit(tmp_path)] == ["request", "outcome"] * 2


async def test_a_hold_that_another_clawtop_is_about_is_said_to_be_so(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway, screen(gateway, tmp_path) as (switch, changed):
        shell, other = switch_to(gateway, tmp_path), HoldStore(tmp_path / "holds")
        await pause(shell)
        await shell.stop()
        await changes(lambda: CODER in switch.holds() and switch.holds()[CODER].state is HoldState.PAUSED, changed)
        record = other.read(CODER)
        assert record is not None
        with other.lock(CODER):
            other.write(record)
            await changes(lambda: "another clawtop is acting" in switch.holds()[CODER].detail, changed)
        await changes(lambda: "another clawtop" not in switch.holds()[CODER].detail, changed)


async def test_a_gateway_that_comes_back_is_paused_again_only_where_the_hold_still_stands(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway, screen(gateway, tmp_path) as (switch, changed):
        await pause(switch, CODER, MAIN)
        await gateway.until(lambda: len(gateway.asked("sessions.subscribe")) == 2)
        await gateway.die()
        await changes(lambda: "not watched" in switch.holds()[MAIN].detail, changed)
        HoldStore(tmp_path / "holds").remove(CODER)
        pretend.jobs["nightly"]["enabled"] = True
        pretend.add_session("agent:main:main", active=True)
        await gateway.listen()
        await changes(lambda: len(came_back(tmp_path)) == 2, changed)

    assert came_back(tmp_path) == [("request", "main"), ("outcome", "main")]
    assert pretend.jobs["nightly"]["enabled"]
    assert on_disk(tmp_path) == [MAIN]


async def test_a_hold_lifted_while_the_gateway_comes_back_is_not_made_anew(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway, screen(gateway, tmp_path) as (switch, changed):
        await pause(switch)
        await gateway.until(lambda: len(gateway.asked("sessions.subscribe")) == 2)
        other = HoldStore(tmp_path / "holds")
        with other.lock(CODER):
            await gateway.die()
            await changes(lambda: "not watched" in switch.holds()[CODER].detail, changed)
            await gateway.listen()
            await gateway.until(lambda: len(gateway.asked("sessions.subscribe")) >= 3)
            await asyncio.to_thread(requested_again, tmp_path)
            other.remove(CODER)
        await changes(lambda: not switch.holds(), changed)

    assert on_disk(tmp_path) == []
    assert [line["detail"] for line in audit(tmp_path) if line["event"] == "outcome"][-1] == "lifted by somebody else"


def came_back(folder: Path) -> list[tuple[str, str]]:
    """(event, agent) of what the audit log tells of gateways that came back."""
    lines = audit(folder)
    return [(it["event"], it["agent"]) for it in lines if it["by"].startswith("clawtop, the gateway came back")]


def requested_again(folder: Path) -> None:
    """Return once the audit log tells that the agent is to be paused again."""
    until = time.monotonic() + 10
    while not came_back(folder) and time.monotonic() < until:
        pass


class Late:
    """A method that is answered only once `answered` is set."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.answered = asyncio.Event()

    async def __call__(self, params: Params) -> object:
        await self.answered.wait()
        return self._handler(params)


async def test_a_gateway_that_answers_is_not_kept_waiting_for_one_that_does_not(tmp_path: Path) -> None:
    fast, silent = working(), working()
    changed = asyncio.Event()
    far = CODER._replace(host="far")
    late = Late(silent.handlers()["sessions.list"])
    async with fast.gateway() as near, silent.gateway(sessions_list=late) as deaf:
        ways = Ways(lambda target: near.address if target.host == "local" else deaf.address)
        switch = Switch(tmp_path, ways, on_change=changed.set)
        command = asyncio.create_task(switch.carry_out(Pause((CODER, far))))
        await changes(lambda: CODER in switch.holds() and switch.holds()[CODER].state is HoldState.PAUSED, changed)
        await begins(near, fast, "agent:coder:main")
        await changes(lambda: "stopped again" in switch.holds()[CODER].detail, changed)
        waiting = not command.done()
        late.answered.set()
        outcome = await command
        await deaf.until(lambda: len(deaf.asked("sessions.subscribe")) == 2)
        await switch.stop()

    assert waiting
    assert outcome.verified


async def test_holds_on_disk_are_watched_before_the_slowest_gateway_was_asked(tmp_path: Path) -> None:
    fast, silent = working(), working()
    changed = asyncio.Event()
    far = CODER._replace(host="far")
    late = Late(silent.handlers()["sessions.list"])
    async with fast.gateway() as near, silent.gateway() as deaf:
        ways = Ways(lambda target: near.address if target.host == "local" else deaf.address)
        first = Switch(tmp_path, ways)
        await first.carry_out(Pause((CODER, far)))
        await first.stop()
        deaf.handlers["sessions.list"] = late
        switch = Switch(tmp_path, ways, on_change=changed.set)
        starting = asyncio.create_task(switch.start())
        await changes(lambda: CODER in switch.holds() and switch.holds()[CODER].state is HoldState.PAUSED, changed)
        await begins(near, fast, "agent:coder:main")
        await changes(lambda: "stopped again" in switch.holds()[CODER].detail, changed)
        waiting = not starting.done()
        late.answered.set()
        await starting
        await switch.stop()

    assert waiting
    assert {hold.state for hold in switch.holds().values()} == {HoldState.PAUSED}


async def test_a_folder_that_cannot_be_read_for_a_while_is_followed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([True])
    changes_of = HoldStore.changes

    def flaky(store: HoldStore) -> frozenset[Target]:
        if next(looks, False):
            raise OSError(errno.EIO, "the disk says no")
        return changes_of(store)

    async with working().gateway() as gateway, screen(gateway, tmp_path) as (switch, changed):
        monkeypatch.setattr(HoldStore, "changes", flaky)
        shell = switch_to(gateway, tmp_path)
        await pause(shell)
        await shell.stop()
        await changes(lambda: CODER in switch.holds(), changed)

    assert next(looks, None) is None


async def test_what_is_being_resumed_is_not_kept_again_when_another_gateway_is_done(tmp_path: Path) -> None:
    fast, slow = working(), working()
    slow.add_session("agent:main:main")
    changed = asyncio.Event()
    far, far_main = CODER._replace(host="far"), MAIN._replace(host="far")
    async with fast.gateway() as near, slow.gateway() as distant:
        ways = Ways(lambda target: near.address if target.host == "local" else distant.address)
        switch = Switch(tmp_path, ways, on_change=changed.set)
        await switch.carry_out(Pause((CODER, far, far_main)))
        await distant.until(lambda: len(distant.asked("sessions.subscribe")) == 2)
        late = Late(slow.handlers()["config.patch"])
        distant.handlers["config.patch"] = late
        slow.aborted.clear()
        command = asyncio.create_task(switch.carry_out(Resume((CODER, far))))
        await changes(lambda: CODER not in switch.holds(), changed)
        await begins(distant, slow, "agent:coder:main")
        await begins(distant, slow, "agent:main:main")
        await distant.until(lambda: "agent:main:main" in slow.aborted)
        late.answered.set()
        outcome = await command
        await switch.stop()

    assert outcome.verified
    assert "agent:coder:main" not in slow.aborted
