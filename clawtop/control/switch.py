"""The kill switch: what the engine, the screen and the command line ask to plan, pause, resume and abort.

It belongs to one event loop. It knows the holds there are, keeps them as long as it runs, and writes the audit log.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from clawtop.control.audit import Audit, this_person
from clawtop.control.door import Door, Way, source_of, way_through
from clawtop.control.elapsed import milliseconds_since
from clawtop.control.gateway import GatewayControl
from clawtop.control.hold_watch import HoldWatch
from clawtop.control.holds import HoldStore, hold_on_disk, standing
from clawtop.control.hook import HookRule
from clawtop.control.hooked import HookControl
from clawtop.control.outcomes import Asker, failed, interrupted, lifted_elsewhere, unaudited
from clawtop.control.pausing import together
from clawtop.control.process_plan import LocalAgent
from clawtop.control.process_rule import ProcessRule
from clawtop.control.process_watch import ProcessWatch
from clawtop.control.processes import Kept, ProcessControl
from clawtop.control.record import DamagedHold, HoldRecord
from clawtop.control.watch import Watch
from clawtop.gateway.connection import GatewayAddress
from clawtop.model.commands import (
    Abort,
    About,
    Command,
    Hold,
    HoldState,
    Means,
    Outcome,
    Pause,
    Plan,
    Result,
    Resume,
    Target,
)
from clawtop.model.errors import ClawtopError
from clawtop.model.local import LocalWork

_GATEWAYS_AT_ONCE = 8
_ENDING_SECONDS = 20.0
_CAME_BACK = "clawtop, the gateway came back"
_KEPT = frozenset({HoldState.PAUSED, HoldState.FAILED, HoldState.REQUESTED})
_UNDER_WAY = frozenset({HoldState.REQUESTED, HoldState.STOPPING})


@dataclass(frozen=True, slots=True)
class Ways:
    """How agents are reached: the gateway of a target, None where it has none; what is known of it beside that.

    Where several gateways may run a target, `doors` says which; then `gateway_of` is not asked.

    An agent that is held is reached as it was when it was held. Else what the config names comes first, by `processes`
    or else by `hooks`; then the processes of the works that an agent of this machine has; then its gateway.

    With `config_hold` off no gateway's config is changed, and holds are kept only as long as clawtop runs.
    """

    gateway_of: Callable[[Target], GatewayAddress | None]
    about: Callable[[Target], About] = lambda _: About()
    hooks: Sequence[HookRule] = ()
    config_hold: bool = True
    works_of: Callable[[Target], Sequence[LocalWork]] = lambda _: ()
    processes: Sequence[ProcessRule] = ()
    doors: Callable[[Target], Sequence[Door]] | None = None


@dataclass(frozen=True, slots=True)
class _Doing:
    """A command under way: how the holds stood before it, and in `results` what has become of it so far."""

    command: Command
    targets: Sequence[Target]
    asker: Asker
    before: Mapping[Target, Hold]
    results: dict[Target, Result] = field(default_factory=dict)


class ReadOnly(ClawtopError):
    """This clawtop was started so that it acts on nothing."""


class Switch:
    """Carries out commands. With `readonly` it only looks; one that `stays` keeps the holds until it is stopped.

    `folder` is the state directory, `now` tells Unix ms, `on_change` is called after each change of the holds.
    """

    def __init__(
        self,
        folder: Path,
        ways: Ways,
        *,
        readonly: bool = False,
        stays: bool = True,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = HoldStore(folder / "holds")
        self._audit = Audit(folder / "audit.jsonl")
        self._ways = ways
        self._readonly = readonly
        self._keeps = stays and not readonly
        self._now = now
        self._on_change = on_change
        self._person = this_person()
        self._holds: dict[Target, Hold] = {}
        self._controls: dict[tuple[str, Door], GatewayControl] = {}
        self._watches: dict[GatewayControl, tuple[Watch, asyncio.Task[None]]] = {}
        self._stopped_again: dict[Target, int] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._at_work: Counter[Target] = Counter()
        self._resuming: Counter[Target] = Counter()
        self._hooked = HookControl(self._store, ways.hooks)
        self._processes = ProcessControl(self._store, ways.processes)
        self._process_watch = ProcessWatch(self._processes.keep, self._kept)

    def holds(self) -> Mapping[Target, Hold]:
        """The hold on each target that has one, as far as it is known now."""
        return MappingProxyType(dict(self._holds))

    def take_over(self) -> None:
        """Know the holds on disk from now on: they are `requested` until they are verified."""
        self._store.changes()  # from here on they are those of other clawtops
        self._holds.update({target: self._with_source(hold) for target, hold in standing(self._store).items()})
        self._on_change()

    async def start(self, *, keep: bool = True) -> None:
        """Take over the holds on disk and verify them. With `keep` they are kept, too."""
        self.take_over()
        self._keeps = self._keeps and keep
        if not keep:
            await self.verify(patience=_ENDING_SECONDS)
            return
        # one gateway that is slow to answer delays the watch of no other
        self._keep_watches()
        self._remember(asyncio.create_task(HoldWatch(self._store, self._at_work.__contains__, self).run()))
        await self.verify()
        self._keep_watches()
        if any(hold.state is HoldState.FAILED for hold in self._holds.values()):
            # what still ran is being cut off by now
            self._remember(asyncio.create_task(self.verify(patience=_ENDING_SECONDS)))

    async def stop(self) -> None:
        """Let go of the gateways. The holds stay."""
        tasks = [task for _, task in self._watches.values()] + list(self._jobs)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watches.clear()
        await self._process_watch.stop()

    async def verify(self, *, patience: float = 0.0) -> None:
        """Look whether the holds still hold. Nothing is changed. What runs may take `patience` seconds to end."""
        await self._look_at(list(self._holds), patience)

    async def _look_at(self, targets: Collection[Target], patience: float) -> None:
        groups = self._by_gateway(targets)
        await asyncio.gather(
            *(self._verify(control, targets, patience) for control, targets in groups.items() if control),
            *(self._verify_processes(target) for target in groups.get(None, ()) if self._processes.has_stopped(target)),
        )
        for target in groups.get(None, ()):
            way = self._way(target)
            if way.means is Means.NONE:
                self._change(target, f"not verified: {way.problem}")

    async def plan(self, targets: Sequence[Target]) -> list[Plan]:
        """What a pause of these targets would do, in their order; one for each."""
        plans: dict[Target, Plan] = {}
        for control, group in self._by_gateway(targets).items():
            if control is None:
                found = await asyncio.gather(*(self._plan_without_gateway(it) for it in group))
                plans |= dict(zip(group, found, strict=True))
            else:
                held = {it.agent: hold for it in group if (hold := self._holds.get(it)) is not None}
                plans |= {plan.target: plan for plan in await control.plan([it.agent for it in group], held)}
        return [plans[target] for target in targets]

    async def carry_out(self, command: Command) -> Outcome:
        """Do it and say what became of it; one result for each target, in their order. Raises ReadOnly."""
        if self._readonly:
            raise ReadOnly("clawtop was started with --readonly: it pauses, resumes and aborts nothing")
        began = time.monotonic()
        targets = tuple(dict.fromkeys(command.targets))
        asker = Asker(command.by or self._person, command.reason, self._now())
        try:
            self._audit.request(asker.at, self._who(asker), _verb(command), targets, command.reason)
        except OSError as error:
            why = f"nothing was done, because the audit log cannot be written: {error}"
            return Outcome(command, tuple(failed(target, why) for target in targets), 0)
        before = {target: hold for target in targets if (hold := self._holds.get(target)) is not None}
        if isinstance(command, Pause):
            for target in targets:
                self._tell(target, HoldState.REQUESTED, "", asker)
        doing = _Doing(command, targets, asker, before)
        try:
            await self._carry_out(doing)
        except asyncio.CancelledError:
            self._interrupted(doing)
            raise
        outcome = Outcome(command, tuple(doing.results[target] for target in targets), milliseconds_since(began))
        try:
            self._audit.outcome(self._now(), self._who(asker), outcome)
        except OSError as error:
            # the request stands there already, and nothing can be undone by not telling
            return unaudited(outcome, error)
        return outcome

    def stopped_again(self, control: GatewayControl, agent: str, what: str) -> None:
        """Something started in a held agent all the same, and was cut off."""
        self._again(Target(control.host, agent), what)

    def _again(self, target: Target, what: str) -> None:
        self._stopped_again[target] = self._stopped_again.get(target, 0) + 1
        with contextlib.suppress(OSError):
            self._audit.note(self._now(), self._person, target, "stopped-again", what)
        self._change(target, f"stopped again {self._stopped_again[target]}×: {what}")

    def lost(self, control: GatewayControl, agents: Collection[str], why: str) -> None:
        """A gateway with held agents cannot be watched."""
        for agent in agents:
            self._change(Target(control.host, agent), f"not watched: {why}")

    def found_again(self, control: GatewayControl, agents: Collection[str]) -> None:
        """A gateway that was gone may have taken up again what was stopped: its agents are paused once more."""
        targets = tuple(Target(control.host, agent) for agent in sorted(agents))
        self._remember(asyncio.create_task(self._hold_again(control, targets)))

    async def _hold_again(self, control: GatewayControl, targets: Sequence[Target]) -> None:
        held = tuple(target for target in targets if control.is_held(target.agent))
        if not held:
            return
        began, asker = time.monotonic(), Asker(_CAME_BACK, None, self._now())
        command = Pause(held, by=_CAME_BACK)
        with contextlib.suppress(OSError):
            # what was held stays so, whether or not that can be written
            self._audit.request(asker.at, self._who(asker), _verb(command), held, None)
        before, agents = dict(self._holds), [target.agent for target in held]
        with self._acting_on(held):
            results = await control.pause(agents, asker, self._told(control, asker), again=True)
            self._take({result.target: result for result in results}, before)
        with contextlib.suppress(OSError):
            outcome = Outcome(command, tuple(results), milliseconds_since(began))
            self._audit.outcome(self._now(), self._who(asker), outcome)

    def acted_on_elsewhere(self, target: Target) -> None:
        """Another clawtop is about this target: what is known of its hold is settled later."""
        known = self._holds.get(target) or hold_on_disk(self._store, target)
        if known is not None:
            self._holds[target] = replace(known, detail="another clawtop is acting on it")
            self._on_change()

    def changed_elsewhere(self, target: Target) -> None:
        """Another clawtop has made, changed or lifted the hold on this target."""
        found = hold_on_disk(self._store, target)
        if found is not None:
            self._holds[target] = self._with_source(found)
            self._keep_watches()
            self._on_change()
            self._remember(asyncio.create_task(self._look_at([target], _ENDING_SECONDS)))
        elif target in self._holds:
            with contextlib.suppress(OSError):
                self._audit.note(self._now(), self._person, target, "let-go", "its hold was lifted by somebody else")
            self._take({target: lifted_elsewhere(target)}, {})

    @contextlib.contextmanager
    def _acting_on(self, targets: Sequence[Target]) -> Iterator[None]:
        """What changes of the holds on these meanwhile is this clawtop's own doing."""
        self._at_work.update(targets)
        try:
            yield
        finally:
            self._at_work -= Counter(targets)

    async def _carry_out(self, doing: _Doing) -> None:
        """Do it; what becomes of it is learned and kept for each gateway once it has answered."""
        command, asker = doing.command, doing.asker
        limit = asyncio.Semaphore(_GATEWAYS_AT_ONCE)

        async def one(control: GatewayControl | None, group: Sequence[Target]) -> None:
            with self._acting_on(group):
                if control is None:
                    found: Sequence[Result] = [await self._without_gateway(command, group[0], asker)]
                else:
                    async with limit:
                        agents = [target.agent for target in group]
                        found = await self._by_gateway_of(control, command, agents, asker)
                told = {result.target: result for result in found}
                if not isinstance(command, Abort):
                    self._take(told, doing.before)
                doing.results.update(told)

        groups = self._by_gateway(doing.targets)
        alone = [(None, [target]) for target in groups.pop(None, [])]
        await together(*(one(control, group) for control, group in [*groups.items(), *alone]))

    def _interrupted(self, doing: _Doing) -> None:
        """Learn and write down how far a command came that was not carried out to its end."""
        command, targets, results = doing.command, doing.targets, doing.results
        rest = [target for target in targets if target not in results]
        cut = {it: interrupted(command, it, self._holds.get(it), stands=self._store.stands(it)) for it in rest}
        if not isinstance(command, Abort):
            self._take(cut, doing.before)
        outcome = Outcome(command, tuple((results | cut)[target] for target in targets), 0)
        with contextlib.suppress(OSError):
            self._audit.outcome(self._now(), self._who(doing.asker), outcome)

    async def _by_gateway_of(
        self, control: GatewayControl, command: Command, agents: Sequence[str], asker: Asker
    ) -> Sequence[Result]:
        told = self._told(control, asker)
        match command:
            case Pause():
                return await control.pause(agents, asker, told, kept=self._keeps)
            case Resume():
                # as long as it is kept, what resumes would be cut off
                with self._let_go(control, agents):
                    return await control.resume(agents, asker, told, force=command.force, keep=command.keep)
            case Abort():
                return await control.abort(agents, commands=command.commands)

    async def _without_gateway(self, command: Command, target: Target, asker: Asker) -> Result:
        way = self._way(target)
        if way.means is Means.NONE:
            return failed(target, f"nothing was done: {way.problem}")
        if way.means is not Means.PROCESS:
            return await self._hooked.carry_out(_verb(command), target, self._ways.about(target), asker)
        processes, loop = self._processes, asyncio.get_running_loop()
        # what a hold has stopped it knows by itself, and reading logs takes long
        known = isinstance(command, Resume) and processes.has_stopped(target)
        agent = LocalAgent(target, self._ways.about(target)) if known else self._local(target)

        def told(state: HoldState, detail: str) -> None:
            loop.call_soon_threadsafe(self._tell, target, state, detail, asker)

        match command:
            case Pause():
                return await asyncio.to_thread(processes.pause, agent, asker, told)
            case Resume():
                return await asyncio.to_thread(processes.resume, agent, asker, force=command.force, keep=command.keep)
            case Abort():
                return await asyncio.to_thread(processes.abort, agent)

    async def _plan_without_gateway(self, target: Target) -> Plan:
        held, way = self._holds.get(target), self._way(target)
        if way.means is Means.NONE:
            return Plan(target, Means.NONE, problem=way.problem, held=held)
        if way.means is Means.PROCESS:
            return await asyncio.to_thread(self._processes.plan, self._local(target), held)
        return self._hooked.plan(target, self._ways.about(target), held)

    def _way(self, target: Target) -> Way:
        """How this target is reached: as it is held, else as `Ways` has it."""
        record, about = self._record(target), self._ways.about(target)
        if record is not None and record.tree is not None:
            return Way(Means.PROCESS)
        if record is not None and record.hook is not None:
            return Way(Means.HOOK)
        if record is None and self._processes.has_rule(target, about):
            return Way(Means.PROCESS)
        if record is None and self._hooked.has_rule(target, about):
            return Way(Means.HOOK)
        if record is None and self._ways.works_of(target):
            return Way(Means.PROCESS)
        # without a gateway only a hook could be there, and says that none is
        return way_through(target, self._doors(target), record) or Way(Means.HOOK)

    def _record(self, target: Target) -> HoldRecord | None:
        try:
            return self._store.read(target)
        except DamagedHold:
            return None

    def _doors(self, target: Target) -> Sequence[Door]:
        if self._ways.doors is not None:
            return self._ways.doors(target)
        address = self._ways.gateway_of(target)
        return () if address is None else (Door(address),)

    def _with_source(self, hold: Hold) -> Hold:
        """The hold with what a shell has to name to lift it."""
        record = self._record(hold.target)
        source = None if record is None else source_of(record, self._doors(hold.target))
        return hold if source == hold.source else replace(hold, source=source)

    def _local(self, target: Target) -> LocalAgent:
        return LocalAgent(target, self._ways.about(target), tuple(self._ways.works_of(target)))

    def _by_gateway(self, targets: Collection[Target]) -> dict[GatewayControl | None, list[Target]]:
        groups: dict[GatewayControl | None, list[Target]] = {}
        for target in dict.fromkeys(targets):
            door = self._way(target).door
            control = None if door is None else self._control(target.host, door)
            groups.setdefault(control, []).append(target)
        return groups

    def _control(self, host: str, door: Door) -> GatewayControl:
        key = (host, door)
        if key not in self._controls:
            self._controls[key] = GatewayControl(
                host, door.address, self._store, config_hold=self._ways.config_hold, source=door.source
            )
        return self._controls[key]

    async def _verify(self, control: GatewayControl, targets: Sequence[Target], patience: float) -> None:
        before = {target: self._holds[target].state for target in targets if target in self._holds}
        found = await control.verify([target.agent for target in targets], patience=patience, kept=self._keeps)
        for target in targets:
            state, detail = found[target.agent]
            hold = self._holds.get(target)
            # a command given meanwhile knows better
            if hold is not None and hold.since and hold.state is before.get(target):
                self._holds[target] = replace(hold, state=state, detail=detail)
        self._on_change()

    async def _verify_processes(self, target: Target) -> None:
        state, detail = await asyncio.to_thread(self._processes.verify, target)
        self._stand(target, state, detail)

    def _kept(self, target: Target, kept: Kept) -> None:
        """A look at the processes of a hold; nothing changes where they stand still as they did."""
        hold = self._holds.get(target)
        if hold is None:
            return
        if kept.lifted:
            self._take({target: lifted_elsewhere(target)}, {})
            return
        # one that cannot be kept still is not told of at each look
        if kept.again and not (kept.state is hold.state is HoldState.FAILED):
            self._again(target, kept.again)
        if kept.state is not hold.state:
            self._stand(target, kept.state, kept.detail)

    def _stand(self, target: Target, state: HoldState, detail: str) -> None:
        hold = self._holds.get(target)
        if hold is not None and hold.since:
            self._holds[target] = replace(hold, state=state, detail=detail or hold.detail)
            self._on_change()

    def _take(self, results: Mapping[Target, Result], before: Mapping[Target, Hold]) -> None:
        """Learn what became of a command, `before` it stood so."""
        for target, result in results.items():
            hold = result.hold
            if hold is None and not result.lifted:
                hold = self._still(target, before.get(target), result.detail)
            if hold is not None:
                self._holds[target] = self._with_source(hold)
            else:
                self._holds.pop(target, None)
                self._stopped_again.pop(target, None)
        self._keep_watches()
        self._on_change()

    def _still(self, target: Target, before: Hold | None, detail: str) -> Hold | None:
        """The hold on a target that a command has left as it was, None where there was none."""
        now = self._holds.get(target)
        if now is None:
            return None
        # another command may have come to its end meanwhile: only what this one has told on the way is taken back
        known = before if now.state in _UNDER_WAY else now
        return None if known is None else replace(known, detail=detail)

    def _told(self, control: GatewayControl, asker: Asker) -> Callable[[str, HoldState, str], None]:
        return lambda agent, state, detail: self._tell(Target(control.host, agent), state, detail, asker)

    def _tell(self, target: Target, state: HoldState, detail: str, asker: Asker) -> None:
        known = self._holds.get(target)
        if known is None:
            self._holds[target] = Hold(target, state, asker.at, asker.by, asker.reason, detail)
        else:
            self._holds[target] = replace(known, state=state, detail=detail)
        self._on_change()

    def _change(self, target: Target, detail: str) -> None:
        hold = self._holds.get(target)
        if hold is not None and hold.detail != detail:
            self._holds[target] = replace(hold, detail=detail)
            self._on_change()

    def _keep_watches(self) -> None:
        """Watch the gateways of the holds there are, and no others."""
        held = [target for target, hold in self._holds.items() if hold.state in _KEPT]
        kept = [target for target in held if target not in self._resuming]
        groups = self._by_gateway([it for it in kept if self._store.stands(it)] if self._keeps else [])
        for control in {*self._watches, *(it for it in groups if it is not None)}:
            agents = [target.agent for target in groups.get(control, [])]
            if not agents:
                self._end(self._watches.pop(control)[1])
                continue
            if control not in self._watches:
                watch = Watch(control, self)
                self._watches[control] = (watch, asyncio.create_task(watch.run()))
            self._watches[control][0].keep(agents)
        self._process_watch.watch([it for it in groups.get(None, ()) if self._processes.has_stopped(it)])

    def _end(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        self._remember(task)

    def _remember(self, task: asyncio.Task[None]) -> None:
        """Whatever is under way is waited for when the switch stops."""
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    @contextlib.contextmanager
    def _let_go(self, control: GatewayControl, agents: Collection[str]) -> Iterator[None]:
        """Keep these agents still no longer, whatever else comes to its end meanwhile."""
        targets = [Target(control.host, agent) for agent in agents]
        self._resuming.update(targets)
        try:
            if control in self._watches:
                watch = self._watches[control][0]
                watch.keep(watch.agents - set(agents))
            yield
        finally:
            self._resuming -= Counter(targets)

    def _who(self, asker: Asker) -> str:
        return self._person if asker.by == self._person else f"{asker.by}, {self._person}"


def _verb(command: Command) -> str:
    return type(command).__name__.lower()
