"""Pause, resume and abort of agents that are processes of this machine: their whole tree stops, goes on or ends.

Everything here blocks, for some tenths of a second as a rule, and belongs into a thread. A hold lies on disk before the
first signal, so that whoever comes later undoes exactly that.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from clawtop.control.elapsed import milliseconds_since
from clawtop.control.holds import Busy, HoldStore, NotRemoved
from clawtop.control.outcomes import Asker, failed, not_held
from clawtop.control.process_outcomes import aborted, asked, paused, resumed, unsupported
from clawtop.control.process_plan import HINT, LocalAgent, plan_of, revived, unknown
from clawtop.control.process_rule import ProcessRule
from clawtop.control.process_search import Found, find, find_again, logs_now, logs_of, search_of
from clawtop.control.process_table import Identity, ProcessTable, State
from clawtop.control.process_tree import Going, Halt, Tree, WithClawtop, end, grown, identity_of, label
from clawtop.control.record import DamagedHold, HoldRecord, ProcessBefore, Search, TreeBefore
from clawtop.control.rules import rule_for
from clawtop.model.commands import About, Hold, HoldState, Plan, Result, Target

_STOP_SECONDS = 5.0
_GRACE_SECONDS = 5.0
_KILL_SECONDS = 5.0
_LOCK_SECONDS = 10.0
_LOCK_WAIT_SECONDS = 0.05
_RESUMES = Target("", "resumes of processes")
"""Locked while one hold lets processes go on: two that share some must not each leave them to the other."""

_NO_TREE = TreeBefore(Search())
_GOES_ON = {State.BUSY: f"{State.BUSY}", State.TRACED: f"{State.TRACED}"}

Told = Callable[[HoldState, str], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a look at a hold saw: what had to be stopped once more, if anything, and how the hold stands after that.

    `lifted`: somebody else has lifted it meanwhile.
    """

    state: HoldState = HoldState.PAUSED
    detail: str = ""
    again: str = ""
    lifted: bool = False


@dataclass(frozen=True, slots=True)
class _Look:
    """How the processes of a hold stand: those that are not stopped, and what is wrong with its logs."""

    tree: Tree
    loose: Mapping[ProcessBefore, State]
    grown: tuple[str, ...]
    stopped: bool


class ProcessControl:
    """Acts on agents by the processes that run them."""

    def __init__(self, store: HoldStore, rules: Sequence[ProcessRule] = (), table: ProcessTable | None = None) -> None:
        self._store = store
        self._rules = rules
        self._table = table or ProcessTable()

    def has_stopped(self, target: Target) -> bool:
        """Whether the hold on this target was made by stopping processes."""
        try:
            record = self._store.read(target)
        except DamagedHold:
            return False
        return record is not None and record.tree is not None

    def has_rule(self, target: Target, about: About) -> bool:
        """Whether the config names the processes of this target."""
        return self._rule(target, about) is not None

    def plan(self, agent: LocalAgent, held: Hold | None) -> Plan:
        """What a pause would stop, and an abort end. Only looks."""
        search, found, _ = self._find(agent)
        known = self._members(agent.target)
        if found.doubt is not None and not known:
            return unknown(agent.target, found.doubt, held)
        tree = self._tree(agent.target, known)
        try:
            tree.take(found.roots)
            tree.grow()
        except WithClawtop as error:
            return unknown(agent.target, str(error), held)
        return plan_of(agent.target, tree, search, self._rule(agent.target, agent.about), held)

    def pause(self, agent: LocalAgent, asker: Asker, told: Told) -> Result:
        """Write down what will be stopped, stop it, and see that it stands still."""
        began = time.monotonic()
        try:
            with self._lock(agent.target):
                return self._pause(agent, asker, told, began)
        except (Busy, OSError) as error:
            return failed(agent.target, f"nothing was done: {error}")

    def resume(self, agent: LocalAgent, asker: Asker, *, force: bool, keep: bool) -> Result:
        """Let go on what the hold has stopped, and only that.

        Where it is not known which processes were stopped before, `force` lets them go on and `keep` does not.
        """
        try:
            with self._lock(agent.target):
                return self._resume(agent, asker, force=force, keep=keep)
        except (Busy, OSError) as error:
            return failed(agent.target, f"nothing was done: {error}")

    def abort(self, agent: LocalAgent) -> Result:
        """End the whole tree: ask it to end, and kill what is left of it after some seconds."""
        began = time.monotonic()
        try:
            with self._lock(agent.target):
                return self._abort(agent, began)
        except (Busy, OSError) as error:
            return failed(agent.target, f"nothing was done: {error}")

    def verify(self, target: Target) -> tuple[HoldState, str]:
        """How the hold on this target stands, and what a person should know. Only looks."""
        try:
            record = self._store.read(target)
        except DamagedHold as error:
            return HoldState.FAILED, str(error)
        if record is None or record.tree is None:
            return HoldState.FAILED, "its hold file is gone"
        try:
            return _standing(self._look(record, record.tree))
        except WithClawtop as error:
            return HoldState.FAILED, str(error)

    def keep(self, target: Target) -> Kept | None:
        """Stop once more whatever of a held agent goes on or is new.

        None while another clawtop acts on it, and for a hold of which only the file is left.
        """
        try:
            with self._store.lock(target):
                record = self._store.read(target)
                if record is None or record.tree is None:
                    return Kept(lifted=True)
                return self._keep(record, record.tree) if self._store.stands(target) else None
        except Busy:
            return None
        except (DamagedHold, WithClawtop, OSError) as error:
            return Kept(HoldState.FAILED, str(error))

    def _pause(self, agent: LocalAgent, asker: Asker, told: Told, began: float) -> Result:
        target = agent.target
        old, doubted = self._old(target)
        if old is not None and old.tree is None:
            return failed(target, f"it is held already, by {old.hook or old.gateway}: let it go on first")
        before = old.tree if old is not None and old.tree is not None else _NO_TREE
        search, found, logs = self._find(agent)
        if found.doubt is not None:
            # what is held already is known whoever else is not
            search, logs = before.search, tuple(log.path for log in before.logs)
        tree = self._tree(target, before.processes, doubted=doubted)
        why_not = self._why_not(tree, found)
        if why_not is not None:
            return unsupported(target, why_not, asker, held=doubted or old is not None)
        if doubted:
            self._store.set_aside(target)
        record = old or HoldRecord(target, asker.at, asker.by, os.getpid(), asker.reason)
        told(HoldState.STOPPING, "")
        halt = self._halt(record, tree, search, logs, lambda detail: told(HoldState.STOPPING, detail), began)
        try:
            halt.run(_STOP_SECONDS)
            self._write(record.with_steps(tuple(halt.steps.values())), tree, search, logs)
        except (OSError, WithClawtop) as error:
            why = f"the hold cannot be written down ({error})" if isinstance(error, OSError) else str(error)
            steps = tuple(halt.steps.values())
            return failed(target, why + ("" if steps else ", so nothing was stopped"), steps, asker)
        took = milliseconds_since(began)
        return paused(record, tree.alive(), halt, took)

    def _why_not(self, tree: Tree, found: Found) -> str | None:
        """Why this tree cannot be paused; what was found is taken into it."""
        if found.doubt is not None and not tree.members:
            return f"{found.doubt}; {HINT}"
        try:
            tree.take(found.roots)
            tree.grow()
        except WithClawtop as error:
            return str(error)
        return revived(tree.alive())

    def _halt(
        self,
        record: HoldRecord,
        tree: Tree,
        search: Search,
        logs: Sequence[str],
        told: Callable[[str], None] = lambda _: None,
        began: float | None = None,
    ) -> Halt:
        return Halt(tree, lambda: self._write(record, tree, search, logs), told, lambda: logs_now(logs), began)

    def _write(self, record: HoldRecord, tree: Tree, search: Search, logs: Sequence[str]) -> None:
        before = TreeBefore(search, tuple(tree.members.values()), tuple(logs_now(logs)))
        self._store.write(replace(record, tree=before))

    def _resume(self, agent: LocalAgent, asker: Asker, *, force: bool, keep: bool) -> Result:
        target = agent.target
        damage: str | None = None
        try:
            record = self._store.read(target)
        except DamagedHold as error:
            record, damage = self._guessed(agent, asker), str(error)
        if record is None or record.tree is None:
            return self._unknown_hold(target, record, asker, damage, keep=keep)
        doubtful = [each for each in record.tree.processes if each.stopped is None and self._is_stopped(each)]
        if doubtful and not (force or keep):
            return asked(record, doubtful, damage)
        members = [replace(each, stopped=keep) if each.stopped is None else each for each in record.tree.processes]
        record = replace(record, tree=replace(record.tree, processes=tuple(members)))
        remains: str | None = None
        with self._lock(_RESUMES):
            others = self._others(target)
            going = Going(self._table, members, others)
            going.run()
            if not going.problems:
                remains = self._lift(target, damaged=damage is not None)
        return resumed(record, going, self._holders(target, going.spared), going.stopped_again(), damage, remains)

    def _unknown_hold(
        self, target: Target, record: HoldRecord | None, asker: Asker, damage: str | None, *, keep: bool
    ) -> Result:
        if record is not None:
            return failed(target, f"it is held by {record.hook or record.gateway}: only that way it is let go on")
        if damage is None:
            return not_held(target)
        if not keep:
            why = "which processes it has stopped is not known: see to them by hand, then close the hold (--keep)"
            return failed(target, f"{damage}; {why}", asker=asker)
        aside = self._store.set_aside(target)
        detail = f"the hold is closed; its unreadable file lies in {aside}"
        return Result(target, verified=True, detail=detail, lifted=True)

    def _lift(self, target: Target, *, damaged: bool) -> str | None:
        """Why the file of a hold that is undone stays, None where it does not."""
        try:
            self._store.lift(target, damaged=damaged)
        except NotRemoved as error:
            return str(error)
        return None

    def _holders(self, target: Target, spared: Sequence[ProcessBefore]) -> list[str]:
        """The agents whose holds keep these."""
        wanted = {identity_of(each) for each in spared}
        return [
            record.target.agent
            for record in self._held(target)
            if record.tree is not None and wanted & {identity_of(each) for each in record.tree.processes}
        ]

    def _guessed(self, agent: LocalAgent, asker: Asker) -> HoldRecord | None:
        """What may have been stopped by a hold that cannot be read; nobody knows what had been stopped before."""
        search, found, _ = self._find(agent)
        if found.doubt is not None:
            return None
        tree = self._tree(agent.target, (), doubted=True)
        with contextlib.suppress(WithClawtop):
            tree.take(found.roots)
            tree.grow()
        before = TreeBefore(search, tuple(tree.members.values()))
        return HoldRecord(agent.target, asker.at, asker.by, os.getpid(), asker.reason, tree=before)

    def _abort(self, agent: LocalAgent, began: float) -> Result:
        known = self._members(agent.target)
        _, found, _ = self._find(agent)
        tree = self._tree(agent.target, known)
        if found.doubt is not None and not known:
            return failed(agent.target, f"nothing was done: {found.doubt}; {HINT}")
        try:
            tree.take(found.roots)
            tree.grow()
            there = len(tree.alive())
            steps = end(tree, _GRACE_SECONDS, _KILL_SECONDS)
        except WithClawtop as error:
            return failed(agent.target, f"nothing was done: {error}")
        return aborted(agent.target, there, tree.alive(), steps, milliseconds_since(began), held=bool(known))

    def _look(self, record: HoldRecord, before: TreeBefore) -> _Look:
        tree = self._tree(record.target, before.processes)
        tree.take(find_again(self._table, before.search).roots)
        tree.grow()
        states = {each: self._table.state(it) for it, each in tree.members.items()}
        loose = {each: state for each, state in states.items() if state not in (State.STOPPED, State.ENDED)}
        wrong = grown(before.logs, logs_now([log.path for log in before.logs]))
        return _Look(tree, loose, tuple(wrong), State.STOPPED in states.values())

    def _keep(self, record: HoldRecord, before: TreeBefore) -> Kept:
        look = self._look(record, before)
        logs = tuple(log.path for log in before.logs)
        if not look.loose:
            if look.grown:
                # told once; from now on it has to stand still as it is
                self._write(record, look.tree, before.search, logs)
            return Kept(*_standing(look))
        halt = self._halt(record, look.tree, before.search, logs)
        halt.run(_STOP_SECONDS)
        self._write(record, look.tree, before.search, logs)
        again = _first_of(list(look.loose))
        if halt.problems:
            return Kept(HoldState.FAILED, f"it does not hold: {'; '.join(halt.problems)}", again)
        return Kept(again=again)

    def _find(self, agent: LocalAgent) -> tuple[Search, Found, tuple[str, ...]]:
        """(by what they are found again, the processes, the logs that stand still with them)."""
        rule = self._rule(agent.target, agent.about)
        logs = logs_of(agent.works)
        if rule is not None:
            return rule.search, find_again(self._table, rule.search), logs
        name = agent.target.agent
        return search_of(name, agent.works), find(self._table, name, agent.works), logs

    def _rule(self, target: Target, about: About) -> ProcessRule | None:
        record, _ = self._old(target)
        search = None if record is None or record.tree is None else record.tree.search
        return rule_for(self._rules, target, about, lambda rule: rule.search == search)

    def _tree(self, target: Target, known: Sequence[ProcessBefore], *, doubted: bool = False) -> Tree:
        return Tree(self._table, known, held=lambda: self._others(target), doubted=doubted)

    def _held(self, target: Target) -> list[HoldRecord]:
        """The other holds there are."""
        return [it for other, it in self._store.all() if other != target and isinstance(it, HoldRecord)]

    def _others(self, target: Target) -> dict[Identity, ProcessBefore]:
        """What other holds have stopped, or found stopped."""
        trees = [record.tree for record in self._held(target) if record.tree is not None]
        return {identity_of(each): each for tree in trees for each in tree.processes}

    def _old(self, target: Target) -> tuple[HoldRecord | None, bool]:
        """(the hold that stands already, whether there is one that cannot be read)."""
        try:
            return self._store.read(target), False
        except DamagedHold:
            return None, True

    def _members(self, target: Target) -> tuple[ProcessBefore, ...]:
        try:
            record = self._store.read(target)
        except DamagedHold:
            return ()
        return record.tree.processes if record is not None and record.tree is not None else ()

    def _is_stopped(self, each: ProcessBefore) -> bool:
        return self._table.state(identity_of(each)) is State.STOPPED

    @contextlib.contextmanager
    def _lock(self, target: Target) -> Iterator[None]:
        """Keep other clawtops off. Raises Busy where one of them takes too long, or OSError."""
        until = time.monotonic() + _LOCK_SECONDS
        with contextlib.ExitStack() as held:
            while True:
                try:
                    held.enter_context(self._store.lock(target))
                    break
                except Busy:
                    if time.monotonic() > until:
                        raise
                time.sleep(_LOCK_WAIT_SECONDS)
            yield


def _standing(look: _Look) -> tuple[HoldState, str]:
    problems = [f"{label(each)} {_GOES_ON.get(state, 'goes on')}" for each, state in look.loose.items()]
    problems += look.grown
    if problems:
        return HoldState.FAILED, f"it does not hold: {'; '.join(problems)}"
    return HoldState.PAUSED, "verified again" if look.stopped else "all its processes have ended"


def _first_of(members: Sequence[ProcessBefore]) -> str:
    more = f" and {len(members) - 1} more" if len(members) > 1 else ""
    return f"{label(members[0])}{more}"
