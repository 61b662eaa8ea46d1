"""What is said and done where a hold was lost, damaged, or never made: nothing is claimed that cannot be known."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from clawtop.control.holds import HoldStore
from clawtop.control.hook import HookCommand, HookRule
from clawtop.control.record import DamagedHold, HoldRecord, ProcessBefore, Search, TreeBefore, from_json, to_json
from clawtop.control.switch import Switch, Ways
from clawtop.gateway.connection import GatewayAddress
from clawtop.model.commands import Pause, Resume, Target
from tests.unit.control.pretend import Pretend
from tests.unit.control.stage import CODER, MAIN, on_disk, pause, resume, switch_to

NOWHERE = GatewayAddress("ws://127.0.0.1:1", "t")
LATE = 99_999_999_999_999_999


def working() -> Pretend:
    """A gateway whose coder runs, has a cron job, and a session with a model of its own."""
    pretend = Pretend()
    pretend.add_session("agent:coder:main", active=True)
    pretend.add_job("nightly", "coder")
    return pretend


async def test_what_a_damaged_file_said_is_not_claimed_to_be_back(tmp_path: Path) -> None:
    pretend, store = working(), HoldStore(tmp_path / "holds")
    async with pretend.gateway() as gateway:
        first = switch_to(gateway, tmp_path)
        await pause(first)
        await first.stop()
        store.path(CODER).write_text("{")
        second = switch_to(gateway, tmp_path)
        await pause(second)
        (aside,) = store.path(CODER).parent.glob("*.damaged-*")
        asked, forced = await resume(second), await resume(second, force=True)
        await second.stop()

    assert not asked.verified
    for result in (asked, forced):
        assert "as it was before" not in result.detail
        assert f"an earlier hold file of it could not be read and lies in {aside}" in result.detail
        assert "which model it had, which cron jobs were on and which sessions" in result.detail
    assert forced.verified
    assert not pretend.jobs["nightly"]["enabled"]


async def test_what_was_held_without_a_file_is_not_claimed_to_be_back(tmp_path: Path) -> None:
    async with working().gateway() as gateway:
        first = switch_to(gateway, tmp_path)
        await pause(first)
        await first.stop()
        HoldStore(tmp_path / "holds").remove(CODER)
        second = switch_to(gateway, tmp_path)
        forced = await resume(second, force=True)
        await second.stop()

    assert forced.verified
    assert "as it was before" not in forced.detail
    assert "it was held before without a hold file; which model it had" in forced.detail


async def test_nothing_is_changed_of_what_is_not_held(tmp_path: Path) -> None:
    pretend = working()
    del pretend.config["agents"]["entries"]["main"]
    before = pretend.state()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        results = [await resume(switch, MAIN), await resume(switch), await resume(switch, force=True)]
        await pause(switch)
        both = (await switch.carry_out(Resume((MAIN, CODER)))).results
        await switch.stop()

    assert {(result.verified, result.hold, result.detail) for result in results} == {(False, None, "it is not held")}
    assert [(result.verified, result.detail) for result in both] == [
        (False, "it is not held"),
        (True, "as it was before"),
    ]
    pretend.sessions["agent:coder:main"]["hasActiveRun"] = True
    assert pretend.state() == before


async def test_a_pause_that_reached_nobody_holds_nobody(tmp_path: Path) -> None:
    switch = switch_to(NOWHERE, tmp_path)
    paused = await pause(switch)
    after = dict(switch.holds())
    resumed = await resume(switch)
    await switch.stop()

    assert (paused.verified, paused.hold, after) == (False, None, {})
    assert (resumed.verified, resumed.hold, dict(switch.holds())) == (False, None, {})
    assert resumed.detail.startswith("it is not held, as far as it has no hold file: nothing listens at")
    assert on_disk(tmp_path) == []


async def test_a_hook_resumes_nobody_who_is_not_held(tmp_path: Path) -> None:
    bot, touched = Target("ci", "bot"), tmp_path / "touched"
    rule = HookRule("h", pause=HookCommand(("true",)), resume=HookCommand(("touch", str(touched))))
    switch = Switch(tmp_path, Ways(lambda _: None, hooks=[rule]))
    (result,) = (await switch.carry_out(Resume((bot,)))).results
    made = touched.exists()
    await switch.carry_out(Pause((bot,)))
    (again,) = (await switch.carry_out(Resume((bot,)))).results

    assert (result.verified, result.detail, made) == (False, "it is not held", False)
    assert again.verified
    assert touched.exists()


async def test_a_hook_that_pauses_over_a_damaged_file_notes_where_it_lies(tmp_path: Path) -> None:
    bot, store = Target("ci", "bot"), HoldStore(tmp_path / "holds")
    switch = Switch(tmp_path, Ways(lambda _: None, hooks=[HookRule("h", pause=HookCommand(("true",)))]))
    await switch.carry_out(Pause((bot,)))
    store.path(bot).write_text("{")
    await switch.carry_out(Pause((bot,)))

    record = store.read(bot)
    assert record is not None
    assert record.damaged is not None
    assert [str(path) for path in store.path(bot).parent.glob("*.damaged-*")] == [record.damaged]


def test_where_a_damaged_file_lies_and_what_is_being_written_is_read_as_it_was_written() -> None:
    record = HoldRecord(CODER, 1, "me@here", 1, damaged="/state/holds/x.json.damaged-1", writing=5)
    assert from_json(orjson.loads(orjson.dumps(to_json(record)))) == record


@pytest.mark.parametrize("at", [LATE, -1])
@pytest.mark.parametrize("path", [("since",), ("tree", "processes", 0, "started")])
def test_a_time_that_is_none_is_damaged(at: int, path: tuple[Any, ...]) -> None:
    process = ProcessBefore(77, "b", 1, 1_795_363_200_000, "node")
    fields: Any = to_json(HoldRecord(CODER, 1, "me@here", 1, tree=TreeBefore(Search(), (process,))))
    place = fields = orjson.loads(orjson.dumps(fields))
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = at

    with pytest.raises(DamagedHold, match=f"is no time: {at}"):
        from_json(fields)


def test_a_file_that_speaks_of_another_agent_is_damaged(tmp_path: Path) -> None:
    store = HoldStore(tmp_path)
    store.write(HoldRecord(CODER, 1, "me@here", 1))
    store.path(CODER).rename(store.path(MAIN))

    with pytest.raises(DamagedHold, match="it is one of coder@local"):
        store.read(MAIN)
    ((target, found),) = store.all()
    assert target == MAIN
    assert isinstance(found, DamagedHold)
