"""The engine: a thread with its own event loop that runs the sources, folds what they read, and publishes snapshots.

A screen that stalls delays nothing here: it pulls the latest snapshot and skips those it missed.
"""

import asyncio
import contextlib
import gc
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from clawtop.fleet.fleet import Fleet
from clawtop.model.commands import About, Command, Hold, Means, Outcome, Plan, Result, Target
from clawtop.model.errors import ClawtopError, SourceError
from clawtop.model.events import SOON_MS, Blind, Call, Event, Increase, PriceList
from clawtop.model.selection import Scope
from clawtop.model.snapshot import Health, Snapshot, SourceStatus, View
from clawtop.model.usage import Usage
from clawtop.sources import Echo, Source

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

ITSELF = "clawtop itself"
"""The source that is down where something fails inside the engine."""

_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 30.0
_PRUNE_SECONDS = 60.0
_IDLE_SECONDS = 1.0
_LISTENER_SECONDS = 2.0
_MOST_TOLD = 200_000
_MOST_MOVED = 10_000
_KNOWN_SECONDS = 2.0
_STOP_SECONDS = 5.0
_FINISH_SECONDS = 5.0
_CUT_OFF_SECONDS = 20.0


class Switch(Protocol):
    """What can stop agents, in the engine's loop."""

    async def plan(self, targets: Sequence[Target]) -> Sequence[Plan]:
        """What a pause of each target would touch."""

    async def carry_out(self, command: Command) -> Outcome:
        """Do it, and say what was verified."""

    def holds(self) -> Mapping[Target, Hold]:
        """The holds that stand."""

    async def start(self) -> None:
        """Take over the holds there are and watch over them."""

    async def stop(self) -> None:
        """Let go of everything; the holds stay."""


@dataclass(slots=True)
class _Slot:
    """One source, how it does, whether it has read what was there at the start, and the agents it told of.

    `moved` says where moments of an agent that came from the future were put.
    """

    source: Source
    status: SourceStatus
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    early: int = 0
    agents: set[tuple[str, str]] = field(default_factory=set)
    moved: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def move(self, host: str, agent: str, at: int, now: int) -> int:
        """Where to put a moment that lies in the future: at now, and where it comes again, at the same."""
        self.early += 1
        if len(self.moved) >= _MOST_MOVED:
            del self.moved[next(iter(self.moved))]
        return self.moved.setdefault((host, agent, at), now)


class _Outlet:
    """Where one source puts what it read."""

    def __init__(self, engine: "Engine", slot: _Slot) -> None:
        self._engine = engine
        self._slot = slot

    async def put(self, events: Sequence[Event]) -> None:
        """Fold the events, then let the other sources and the snapshots have their turn."""
        self._engine.fold(events, self._slot)
        await asyncio.sleep(0)

    def report(self, status: SourceStatus) -> None:
        """Show the source's new status."""
        self._engine.report(status, self._slot)

    def now(self) -> int:
        """Unix milliseconds."""
        return now_ms()


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Engine:
    """Runs sources and publishes snapshots of one view at most every `delay` seconds.

    Its methods may be called from any thread, `fold` and `report` only from its own.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        view: View,
        *,
        delay: float = 1.0,
        follow: bool = True,
        switch: Callable[[Callable[[], None]], Switch] | None = None,
        holds: Callable[[], Mapping[Target, Hold]] = dict,
        for_screen: bool = False,
    ) -> None:
        """`switch` makes the engine's switch; it is given what to call when a hold changes. Without one, `holds` tells.

        With `for_screen` reading begins once somebody listens: it would make the first picture late.
        """
        self._fleet = Fleet()
        self._switch = switch(self._holds_changed) if switch is not None else None
        self._standing = holds
        self._view = view
        self._delay = delay
        self._follow = follow
        self._slots = [_slot(source) for source in sources]
        self._echoes = [source for source in sources if isinstance(source, Echo)]
        self._told: set[tuple[str, str, str]] = set()
        self._known: dict[Target, About] = {}
        self._known_at = 0.0
        self._failing: dict[str, SourceStatus] = {}
        self._snapshot = self._make(view)
        self._listener: Callable[[], None] | None = None
        self._ended = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._caught_up = threading.Event()
        self._dirty = asyncio.Event()
        self._awaited = asyncio.Event()
        if not for_screen:
            self._awaited.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._commands: set[asyncio.Task[Any]] = set()

    @property
    def snapshot(self) -> Snapshot:
        """The latest one; it is never changed, only replaced.

        Where something failed inside the engine, one of its sources is ITSELF, and says what.
        """
        return self._snapshot

    @property
    def ended(self) -> bool:
        """Whether the engine has ended by itself, so that nothing will change any more."""
        return self._ended

    @property
    def acting(self) -> bool:
        """Whether a command is being carried out."""
        return bool(self._commands)

    def start(self) -> None:
        """Begin to read. Returns as soon as the engine takes calls."""
        self._thread = threading.Thread(target=self._run, name="clawtop-engine", daemon=True)
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Let go of the sources and end the thread; at most some seconds, more where a command is under way.

        That is given time to come to its end, and then to note how far it came.
        """
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None and thread.is_alive():
            more = _FINISH_SECONDS + _CUT_OFF_SECONDS if self._commands else 0.0
            loop.call_soon_threadsafe(self._cancel)
            thread.join(timeout=_STOP_SECONDS + more)

    def caught_up(self, timeout: float) -> bool:
        """Wait until every source has read what was there or is down; False where `timeout` seconds passed first."""
        return self._caught_up.wait(timeout)

    def listen(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` in the engine's thread after each snapshot; None ends that."""
        self._listener = callback
        self._call(self._awaited.set)

    def show(self, view: View) -> None:
        """Make snapshots of this view from now on, the first one at once."""
        self._call(lambda: self._turn_to(view))

    def look(self, view: View) -> Future[Snapshot]:
        """One snapshot of another view, beside those that are published; a ClawtopError where it cannot be made."""
        return self._ask(lambda: self._look(view))

    def usage(self, scope: Scope) -> Future[Usage]:
        """What was counted in a scope since history begins; a ClawtopError where it cannot be added up."""
        return self._ask(lambda: self._fleet.usage(scope, now_ms(), self._statuses()))

    def plan(self, targets: tuple[Target, ...]) -> Future[tuple[Plan, ...]]:
        """What a pause of these agents would touch."""
        return self._act(self._plan(targets))

    def submit(self, command: Command) -> Future[Outcome]:
        """Carry a command out; it goes on when nobody waits for it."""
        return self._act(self._carry_out(command))

    def about(self, target: Target) -> About:
        """What is known of an agent, some seconds old at most. In the engine's own thread, or once it has stopped."""
        now = time.monotonic()
        if now - self._known_at > _KNOWN_SECONDS:
            self._known, self._known_at = {}, now
        if target not in self._known:
            told = tuple(slot.status.uri for slot in self._slots if tuple(target) in slot.agents)
            self._known[target] = replace(self._fleet.about(target), sources=told)
        return self._known[target]

    def holds(self) -> Mapping[Target, Hold]:
        """The holds that stand."""
        return self._switch.holds() if self._switch is not None else self._standing()

    def add(self, source: Source) -> None:
        """Read this source, too."""

        def begin() -> None:
            slot = _slot(source)
            self._slots.append(slot)
            self._echoes += [source] if isinstance(source, Echo) else []
            self._keep(self._try("watching over a source", self._supervise(slot)))
            self._dirty.set()

        self._call(begin)

    def fold(self, events: Sequence[Event], slot: _Slot) -> None:
        """Count these events. A clock that runs ahead is set to now, and the source says so."""
        slot.agents.update({event.key[:2] for event in events if not isinstance(event, PriceList)})
        now = now_ms()
        latest = now + SOON_MS
        for event in events:
            if isinstance(event, PriceList | Blind):
                self._fleet.fold(event)
            elif event.at > latest:
                self._fleet.fold(replace(event, at=slot.move(*event.key[:2], event.at, now)))
            elif slot.moved and isinstance(event, Increase):
                # by now its moment may have come, and what it takes back still stands where that was put
                self._fleet.fold(replace(event, at=slot.moved.get((*event.key[:2], event.at), event.at)))
            else:
                self._fleet.fold(event)
        if self._echoes and slot.source not in self._echoes:
            self._tell_echoes(events)
        self._dirty.set()

    def _tell_echoes(self, events: Sequence[Event]) -> None:
        """Tell the sources that hear of spend from afar which sessions are read here call by call."""
        for event in events:
            if isinstance(event, Call) and event.key.session is not None:
                told = (event.key.host, event.key.agent, event.key.session)
                if told not in self._told:
                    if len(self._told) >= _MOST_TOLD:
                        self._told.clear()
                    self._told.add(told)
                    for echo in self._echoes:
                        echo.told_elsewhere(*told)

    def report(self, status: SourceStatus, slot: _Slot) -> None:
        """Take over a source's status; `since` is when its health last changed."""
        changed = status.health is not slot.status.health or not slot.status.since
        early = f"{slot.early} from the future, counted as now" if slot.early else ""
        slot.status = replace(
            status,
            since=now_ms() if changed else slot.status.since,
            detail="; ".join(filter(None, (status.detail, early))),
        )
        if status.health is not Health.READING:
            slot.caught_up.set()
        self._dirty.set()

    def _call(self, function: Callable[[], None]) -> None:
        if self._loop is None or self._loop.is_closed():
            function()
        else:
            self._loop.call_soon_threadsafe(function)

    def _act(self, job: Coroutine[Any, Any, _Answer]) -> Future[_Answer]:
        if self._loop is None or self._loop.is_closed():
            job.close()
            raise SourceError("the engine does not run, so nothing can be asked of it")
        return asyncio.run_coroutine_threadsafe(job, self._loop)

    async def _plan(self, targets: tuple[Target, ...]) -> tuple[Plan, ...]:
        if self._switch is None:
            return tuple(Plan(target, Means.NONE, problem="nothing here can pause an agent") for target in targets)
        return tuple(await self._switch.plan(targets))

    async def _carry_out(self, command: Command) -> Outcome:
        if self._switch is None:
            refused = tuple(Result(target, verified=False, detail="nothing here can") for target in command.targets)
            return Outcome(command, refused, 0)
        doing = asyncio.ensure_future(self._switch.carry_out(command))
        self._commands.add(doing)
        doing.add_done_callback(self._commands.discard)
        outcome = await doing
        self._dirty.set()
        return outcome

    def _holds_changed(self) -> None:
        self._dirty.set()

    def _turn_to(self, view: View) -> None:
        self._view = view
        self._publish()

    def _make(self, view: View) -> Snapshot:
        self._fleet.lay(self.holds())
        return self._fleet.snapshot(view, now_ms(), self._statuses())

    def _look(self, view: View) -> Snapshot:
        self._fleet.lay(self.holds())
        return self._fleet.look(view, now_ms(), self._statuses())

    def _statuses(self) -> tuple[SourceStatus, ...]:
        return (*(slot.status for slot in self._slots), *self._failing.values())

    def _publish(self) -> bool:
        """Make a new snapshot and tell the listener; where that fails the last one stays, and says so."""
        made = self._attempt("making the table", self._take_picture)
        if not made:
            self._fleet.forget()
            self._snapshot = replace(self._snapshot, sources=self._statuses())
        if self._listener is not None:
            self._attempt("telling the screen", self._listener)
        return made

    def _take_picture(self) -> None:
        self._snapshot = self._make(self._view)

    def _ask(self, make: Callable[[], _Answer]) -> "Future[_Answer]":
        """Have something made in the engine's thread; what fails inside is a SourceError to whoever asked."""
        future: Future[_Answer] = Future()

        def answer() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(make())
            except ClawtopError as error:
                future.set_exception(error)
            except Exception as error:  # noqa: BLE001 - whoever asked is told, and the engine goes on
                _log.error("an answer failed", exc_info=error)
                self._fleet.forget()
                future.set_exception(SourceError(_failed(error)))

        self._call(answer)
        return future

    def _attempt(self, what: str, step: Callable[[], None]) -> bool:
        """Do what comes again and again; that it failed is logged, and shown until it succeeds."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 - what fails in one place must end nothing else; it is shown
            self._note_failure(what, error)
            return False
        if self._failing.pop(what, None) is not None:
            self._dirty.set()
        return True

    async def _try(self, what: str, job: Coroutine[Any, Any, None]) -> None:
        try:
            await job
        except Exception as error:  # noqa: BLE001 - as above
            self._note_failure(what, error)

    def _note_failure(self, what: str, error: BaseException) -> None:
        known, detail = self._failing.get(what), f"{what} {_failed(error)}"
        if known is None or known.detail != detail:  # the same again and again would fill the disk
            _log.error("%s failed", what, exc_info=error)
        since = now_ms() if known is None else known.since
        self._failing[what] = SourceStatus(ITSELF, Health.DOWN, detail, since=since)
        self._dirty.set()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass
        except (Exception, SystemExit) as error:  # noqa: BLE001 - nobody would hear of it: readers see it as a source
            self._end(error)
        finally:
            self._ready.set()
            self._caught_up.set()

    def _end(self, error: BaseException) -> None:
        """The thread ends: have whoever looks see that nothing changes any more, and why."""
        self._note_failure("reading has ended, start clawtop again: it", error)
        self._ended = True
        self._snapshot = replace(self._snapshot, sources=self._statuses())
        if self._listener is not None:
            self._attempt("telling the screen", self._listener)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tidy()  # what is older than the minutes is then never kept by the second
        for slot in self._slots:
            self._keep(self._try("watching over a source", self._supervise(slot)))
        if self._switch is not None:
            self._keep(self._try("taking over the holds", self._switch.start()))
        self._keep(self._try("waiting for the sources", self._tell_when_caught_up()))
        self._keep(self._try("putting together what is old", self._prune()))
        self._ready.set()
        try:
            await self._keep(self._publish_on())
        finally:
            if self._commands:
                await asyncio.wait(self._commands, timeout=_FINISH_SECONDS)
            if self._switch is not None:
                await self._switch.stop()

    def _keep(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _cancel(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    async def _publish_on(self) -> None:
        wait = _FIRST_WAIT_SECONDS
        while True:
            self._dirty.clear()
            if not self._publish():
                await asyncio.sleep(max(wait, self._delay))
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
                continue
            wait = _FIRST_WAIT_SECONDS
            await asyncio.sleep(self._delay)
            try:
                await asyncio.wait_for(self._dirty.wait(), max(0.0, _IDLE_SECONDS - self._delay))
            except TimeoutError:
                continue

    async def _tell_when_caught_up(self) -> None:
        for slot in self._slots:
            await slot.caught_up.wait()
        self._publish()
        self._caught_up.set()
        gc.freeze()  # history stays: a full collection need not walk it again and again

    async def _prune(self) -> None:
        while True:
            await asyncio.sleep(_PRUNE_SECONDS)
            self._tidy()

    def _tidy(self) -> None:
        self._attempt("putting together what is old", lambda: self._fleet.prune(now_ms()))

    async def _supervise(self, slot: _Slot) -> None:
        """Run a source for as long as the engine lives, with growing waits after each failure."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._awaited.wait(), _LISTENER_SECONDS)
        wait = _FIRST_WAIT_SECONDS
        while True:
            began = time.monotonic()
            try:
                await slot.source.run(_Outlet(self, slot), follow=self._follow)
            except SourceError as error:
                self._fail(slot, str(error))
            except Exception as error:  # noqa: BLE001 - one source that fails must not end the others; it is shown
                _log.exception("source %s failed", slot.source.uri)
                self._fail(slot, _failed(error))
            else:
                if slot.status.health is Health.READING:
                    self.report(replace(slot.status, health=Health.OK), slot)
                return
            if not self._follow:
                return
            wait = _FIRST_WAIT_SECONDS if time.monotonic() - began > _LONGEST_WAIT_SECONDS else wait
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    def _fail(self, slot: _Slot, why: str) -> None:
        self.report(replace(slot.status, health=Health.DOWN, detail=why), slot)


def _failed(error: BaseException) -> str:
    return f"failed inside clawtop: {type(error).__name__}: {error}; the log has more"


def _slot(source: Source) -> _Slot:
    return _Slot(source, SourceStatus(uri=source.uri))
