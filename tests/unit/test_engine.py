"""The engine: supervised sources, snapshots, wake-ups."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from clawtop import engine as engine_module
from clawtop.engine import ITSELF, Engine, now_ms
from clawtop.fleet.fleet import Fleet
from clawtop.model.commands import Command, Hold, HoldState, Means, Outcome, Pause, Plan, Result, Target
from clawtop.model.errors import SourceError, UsageError
from clawtop.model.events import Call, Event, Increase, Tokens
from clawtop.model.keys import Key
from clawtop.model.selection import parse_filter
from clawtop.model.snapshot import Grouping, Health, Snapshot, SourceStatus, View, Window
from clawtop.sources import Outlet

PATIENCE = 20
ALL = View(window=Window.ALL)


def call(name: str, at: int = 1_795_345_500_000, agent: str = "main") -> Call:
    return Call(Key("local", agent), at, name, "mock", "normal", Tokens(10, 1, 0, 0), 5)


class Scripted:
    """A source that runs one step of its script each time it is run."""

    def __init__(self, *script: Callable[[Outlet], Awaitable[None]], uri: str = "test:") -> None:
        self.uri = uri
        self._script = iter(script)

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        step = next(self._script, None)
        if step is not None:
            await step(outlet)
        if follow:
            await asyncio.Event().wait()


def gives(events: Sequence[Event]) -> Callable[[Outlet], Awaitable[None]]:
    async def step(outlet: Outlet) -> None:
        await outlet.put(events)
        outlet.report(SourceStatus("test:", Health.OK, entries=len(events)))

    return step


def fails(error: Exception) -> Callable[[Outlet], Awaitable[None]]:
    async def step(_: Outlet) -> None:
        raise error

    return step


@contextmanager
def running(*sources: Scripted, view: View = ALL, follow: bool = True) -> Iterator[Engine]:
    engine = Engine(sources, view, delay=0.1, follow=follow)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def until(engine: Engine, happened: Callable[[Snapshot], bool]) -> Snapshot:
    """The first published snapshot of which `happened` is true."""
    woken = threading.Event()
    engine.listen(woken.set)
    while not happened(engine.snapshot):
        assert woken.wait(PATIENCE), engine.snapshot
        woken.clear()
    return engine.snapshot


def test_a_finite_source_is_read_to_its_end() -> None:
    with running(Scripted(gives([call("a"), call("b")])), follow=False) as engine:
        assert engine.caught_up(PATIENCE)
        assert engine.snapshot.total.counters.calls == 2
        assert engine.snapshot.sources[0].health is Health.OK


def test_before_anything_is_read_there_is_a_snapshot() -> None:
    snapshot = Engine([Scripted()], ALL).snapshot
    assert snapshot.rows == ()
    assert snapshot.reading


def test_another_view_is_shown_at_once_and_a_look_leaves_it_alone() -> None:
    with running(Scripted(gives([call("a"), call("b", agent="coder")]))) as engine:
        engine.caught_up(PATIENCE)
        looked = engine.look(View(window=Window.ALL, filter=parse_filter("coder"))).result(PATIENCE)
        assert [row.label for row in looked.rows] == ["coder"]
        assert engine.snapshot.view == ALL
        engine.show(View(window=Window.ALL, group_by=Grouping.MODEL))
        assert [row.label for row in until(engine, lambda s: s.view.group_by is Grouping.MODEL).rows] == ["mock/normal"]


def test_a_source_that_fails_says_why_and_since_when_and_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_FIRST_WAIT_SECONDS", 0.01)
    source = Scripted(fails(SourceError("no such folder")), gives([call("a")]))
    began = now_ms()
    with running(source) as engine:
        assert engine.caught_up(PATIENCE)
        down = until(engine, lambda s: s.sources[0].health is not Health.READING).sources[0]
        if down.health is Health.DOWN:
            assert (down.detail, down.since >= began) == ("no such folder", True)
        assert until(engine, lambda s: s.total.counters.calls == 1).sources[0].health is Health.OK


def test_a_bug_in_one_source_ends_no_other() -> None:
    bad, good = Scripted(fails(KeyError("oops")), uri="bad:"), Scripted(gives([call("a")]))
    with running(bad, good, follow=False) as engine:
        assert engine.caught_up(PATIENCE)
        first, second = engine.snapshot.sources
        assert first.health is Health.DOWN
        assert "KeyError" in first.detail
        assert second.health is Health.OK
        assert engine.snapshot.total.counters.calls == 1


def test_clocks_in_the_future_count_now_and_it_is_said() -> None:
    with running(Scripted(gives([call("a", now_ms() + 10**10)])), view=View(window=Window.M5)) as engine:
        engine.caught_up(PATIENCE)
        snapshot = until(engine, lambda s: s.total.counters.calls == 1)
        assert snapshot.total.last_at is not None
        assert snapshot.total.last_at <= now_ms() + 1000
        assert "1 from the future" in snapshot.sources[0].detail


def test_a_source_can_be_added_while_it_runs() -> None:
    with running(Scripted(gives([]))) as engine:
        engine.caught_up(PATIENCE)
        engine.add(Scripted(gives([call("a")]), uri="late:"))
        assert len(until(engine, lambda s: s.total.counters.calls == 1).sources) == 2


def test_a_listener_that_stalls_costs_no_event() -> None:
    release = threading.Event()
    with running(Scripted(gives([call(str(place)) for place in range(500)]))) as engine:
        engine.caught_up(PATIENCE)
        engine.listen(lambda: None)
        looked = engine.look(ALL).result(PATIENCE)
        release.set()
        assert looked.total.counters.calls == 500


def test_stopping_twice_and_never_started_is_fine() -> None:
    engine = Engine([Scripted(gives([]))], ALL)
    engine.stop()
    engine.start()
    engine.stop()
    engine.stop()


class Recorded:
    """A switch that holds whatever it is told to."""

    def __init__(self) -> None:
        self.held: dict[Target, Hold] = {}
        self.watching = threading.Event()

    async def plan(self, targets: Sequence[Target]) -> Sequence[Plan]:
        return [Plan(target, Means.GATEWAY) for target in targets]

    async def carry_out(self, command: Command) -> Outcome:
        for target in command.targets:
            self.held[target] = Hold(target, HoldState.PAUSED, 1, "me@here", "too dear", "", 250)
        return Outcome(command, tuple(Result(t, verified=True, detail="") for t in command.targets), 250)

    def holds(self) -> dict[Target, Hold]:
        return self.held

    async def start(self) -> None:
        self.watching.set()

    async def stop(self) -> None:
        self.watching.clear()


def test_a_hold_is_ours_and_stands_beside_the_agents_state() -> None:
    target = Target("local", "main")
    switch = Recorded()
    engine = Engine([Scripted(gives([call("a"), call("b", agent="coder")]))], ALL, delay=0.1, switch=lambda _: switch)
    engine.start()
    try:
        assert engine.caught_up(PATIENCE)
        assert switch.watching.wait(PATIENCE)
        assert engine.plan((target,)).result(PATIENCE)[0].means is Means.GATEWAY
        assert engine.submit(Pause((target,))).result(PATIENCE).verified
        held = {row.label: row for row in until(engine, lambda s: any(row.hold for row in s.rows)).rows}
        assert (held["main"].hold, held["main"].hold_detail) == ("paused", "250 ms; too dear")
        assert held["coder"].hold is None
        assert engine.look(ALL).result(PATIENCE).rows[0] is engine.look(ALL).result(PATIENCE).rows[0]
    finally:
        engine.stop()
    assert not switch.watching.is_set()


class Slow(Recorded):
    """A switch that holds nothing until it may, and notes that it was cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.may = asyncio.Event()
        self.cut_off = False

    async def carry_out(self, command: Command) -> Outcome:
        self.begun.set()
        try:
            await self.may.wait()
        except asyncio.CancelledError:
            self.cut_off = True
            raise
        return await super().carry_out(command)


@pytest.mark.parametrize("ends", [True, False])
def test_a_command_under_way_may_end_before_the_engine_does(monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    target, switch = Target("local", "main"), Slow()

    async def until_the_end(_: Outlet) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if ends:
                switch.may.set()

    if not ends:
        monkeypatch.setattr(engine_module, "_FINISH_SECONDS", 0.05)
    engine = Engine([Scripted(until_the_end)], ALL, delay=0.1, switch=lambda _: switch)
    engine.start()
    engine.submit(Pause((target,)))
    assert switch.begun.wait(PATIENCE)
    assert engine.acting
    engine.stop()

    assert (target in switch.held, switch.cut_off) == (ends, not ends)
    assert not engine.acting


def test_without_a_switch_nothing_can_be_paused_and_it_is_said() -> None:
    with running(Scripted(gives([call("a")]))) as engine:
        target = Target("local", "main")
        assert engine.plan((target,)).result(PATIENCE)[0].problem
        assert not engine.submit(Pause((target,))).result(PATIENCE).verified
        assert engine.holds() == {}


def itself(snapshot: Snapshot) -> list[SourceStatus]:
    return [source for source in snapshot.sources if source.uri == ITSELF]


class Breaking:
    """Something of a fleet that fails while it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.broken = False
        works = getattr(Fleet, name)

        def maybe(fleet: Fleet, *args: Any, **more: Any) -> Any:
            if self.broken:
                raise KeyError("oops")
            return works(fleet, *args, **more)

        monkeypatch.setattr(Fleet, name, maybe)


def test_a_table_that_cannot_be_made_is_said_and_made_again_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_module, "_FIRST_WAIT_SECONDS", 0.01)
    making, began = Breaking(monkeypatch, "snapshot"), now_ms()
    with running(Scripted(gives([call("a")]))) as engine:
        assert engine.caught_up(PATIENCE)
        making.broken = True
        engine.add(Scripted(gives([call("b")]), uri="late:"))
        (down,) = itself(until(engine, lambda s: bool(itself(s))))
        assert (down.health, down.since >= began) == (Health.DOWN, True)
        assert down.detail == "making the table failed inside clawtop: KeyError: 'oops'; the log has more"
        assert engine.snapshot.total.counters.calls == 1
        assert not engine.ended
        making.broken = False
        assert until(engine, lambda s: not itself(s)).total.counters.calls == 2
    assert "Traceback" in caplog.text


def test_history_that_cannot_be_tidied_up_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_PRUNE_SECONDS", 0.01)
    tidying = Breaking(monkeypatch, "prune")
    with running(Scripted(gives([call("a")]))) as engine:
        assert engine.caught_up(PATIENCE)
        tidying.broken = True
        assert "putting together what is old failed" in itself(until(engine, lambda s: bool(itself(s))))[0].detail
        tidying.broken = False
        until(engine, lambda s: not itself(s))


def test_whoever_asks_for_what_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Breaking(monkeypatch, "look")
    with running(Scripted(gives([call("a")]))) as engine:
        assert engine.caught_up(PATIENCE)
        with pytest.raises(UsageError, match="shoes"):
            engine.look(View(sort="shoes")).result(PATIENCE)
        looking.broken = True
        with pytest.raises(SourceError, match="KeyError"):
            engine.look(ALL).result(PATIENCE)
        looking.broken = False
        assert engine.look(ALL).result(PATIENCE).total.counters.calls == 1


def test_an_engine_that_ends_by_itself_says_so_to_whoever_reads_it_on() -> None:
    told = threading.Event()

    def listener() -> None:
        if engine.ended:
            told.set()
        else:
            raise SystemExit

    with running(Scripted(gives([call("a")]))) as engine:
        assert engine.caught_up(PATIENCE)
        assert not engine.ended
        engine.listen(listener)
        engine.show(ALL)
        assert told.wait(PATIENCE)
        (down,) = itself(engine.snapshot)
        assert down.health is Health.DOWN
        assert "start clawtop again" in down.detail
        assert "SystemExit" in down.detail
        assert engine.snapshot.total.counters.calls == 1


def test_a_switch_that_cannot_start_is_said_and_the_rest_goes_on() -> None:
    class Broken(Recorded):
        async def start(self) -> None:
            raise OSError("no room")

    engine = Engine([Scripted(gives([call("a")]))], ALL, delay=0.1, switch=lambda _: Broken())
    engine.start()
    try:
        assert "taking over the holds failed" in itself(until(engine, lambda s: bool(itself(s))))[0].detail
        assert until(engine, lambda s: s.total.counters.calls == 1).rows
    finally:
        engine.stop()


def test_what_is_taken_back_of_a_clock_that_runs_ahead_leaves_the_moment_it_was_counted_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = 1_795_345_500_000
    clock = [began]
    monkeypatch.setattr(engine_module, "now_ms", lambda: clock[0])
    first, more = Tokens(100, 1), Tokens(10, 500)
    key, at = Key("local", "main"), began + 600_000

    async def script(outlet: Outlet) -> None:
        await outlet.put([Call(key, at, "a", "mock", "normal", first, 5)])
        clock[0] += 20_000
        await outlet.put(
            [
                Increase(key, at, "a-", "mock", "normal", Tokens(-100, -1), -5, calls=-1),
                Increase(key, at + 20_000, "a+", "mock", "normal", more, 9, calls=1),
            ]
        )

    with running(Scripted(script)) as engine:
        for wait in (20, 59, 61, 63, 79):
            clock[0] = began + wait * 1000 if wait > 20 else clock[0]
            until(engine, lambda s: s.total.tokens.total > 0)
            total = engine.look(View(window=Window.M1)).result(PATIENCE).total
            assert (total.tokens, total.cost, total.counters.calls) == (more, 9, 1), wait
