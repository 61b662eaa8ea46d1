"""A process and all that it started: stopped from the top down, let go on from the bottom up, or ended.

Parents stop first: one that is stopped starts nothing more, and sees nothing of what its children do. They go on last:
a shell with job control that went on before its child would still find it stopped, and take its terminal away.
"""

import signal
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace

from clawtop.control.elapsed import milliseconds_since
from clawtop.control.process_table import (
    Identity,
    Line,
    NotAllowed,
    ProcessTable,
    State,
    command,
    terminal_of_shell,
)
from clawtop.control.record import LogBefore, ProcessBefore
from clawtop.model.commands import Step
from clawtop.model.errors import ClawtopError

_LOOK_SECONDS = 0.002
_LEVEL_SECONDS = 0.1
_STILL_SECONDS = 0.1
_TRIES = 3
_BACK_SECONDS = 0.1
_GOING_SECONDS = 2.0
_ENDING_SECONDS = 0.02
_FREEZE_SECONDS = 1.0
_SLACK_SECONDS = 0.02

Logs = Callable[[], Sequence[LogBefore]]


class WithClawtop(ClawtopError):
    """Clawtop itself runs under what it was asked to stop."""


class Tree:
    """The processes of an agent: its roots, what those started, and what was theirs when it was seen before.

    `held` reads the processes of other holds: what those have stopped was not stopped before. With `doubted` nobody
    knows any more what was.
    """

    def __init__(
        self,
        table: ProcessTable,
        known: Iterable[ProcessBefore] = (),
        *,
        held: Callable[[], Mapping[Identity, ProcessBefore]] = dict,
        doubted: bool = False,
    ) -> None:
        self.table = table
        self._own = table.own()
        self._held = held
        self._doubted = doubted
        self.members: dict[Identity, ProcessBefore] = {identity_of(each): each for each in known}
        """Each after the one that started it."""

    def take(self, roots: Iterable[Identity]) -> None:
        """Count these in, as far as they are still there. Raises WithClawtop."""
        fresh = [root for root in roots if root not in self.members]
        lines = self.table.lines() if fresh else {}
        for root in fresh:
            if _is_there(root, lines):
                self._add(root, lines[root.pid], root=True)

    def grow(self) -> bool:
        """Look for what they have started since; whether there is a new one. Raises WithClawtop."""
        lines = self.table.lines()
        children: dict[int, list[int]] = {}
        for pid, line in lines.items():
            children.setdefault(line.parent, []).append(pid)
        before = len(self.members)
        waiting = [each for each in self.members if _is_there(each, lines)]
        for parent in waiting:
            self._spare_clawtop(parent)
            for pid in children.get(parent.pid, ()):
                # one that is older than its parent has the pid of a child that is gone
                if lines[pid].started < lines[parent.pid].started - _SLACK_SECONDS:
                    continue
                child = Identity(pid, lines[pid].birth)
                if child not in self.members:
                    self._add(child, lines[pid])
                    waiting.append(child)
        return len(self.members) > before

    def alive(self) -> list[ProcessBefore]:
        """Those that have not ended."""
        return [each for it, each in self.members.items() if self.table.state(it) is not State.ENDED]

    def _was_stopped(self, it: Identity) -> bool | None:
        # another hold is written down before it stops anything, so it is there by now if this was its doing
        other = self._held().get(it)
        if other is not None:
            return other.stopped
        return (None if self._doubted else True) if self.table.state(it) is State.STOPPED else False

    def _spare_clawtop(self, it: Identity) -> None:
        if it.pid in self._own:
            raise WithClawtop(
                f"clawtop itself runs under process {it.pid} ({command(it.pid)}) of it and would stop with it: "
                "act from another terminal"
            )

    def _add(self, it: Identity, line: Line, *, root: bool = False) -> None:
        self._spare_clawtop(it)
        self.members[it] = ProcessBefore(
            pid=it.pid,
            birth=it.birth,
            parent=line.parent,
            started=round(line.started * 1000),
            command=command(it.pid),
            stopped=self._was_stopped(it) if line.state is State.STOPPED else False,
            terminal=terminal_of_shell(it.pid) if root else None,
        )


class Halt:
    """Stops a tree and sees that it stands still.

    `write` puts down what is going to be stopped and is called before each first signal; `told` takes what a person
    should know while it waits, `logs` says how the logs stand, `began` is when it was asked for, monotonic.
    """

    def __init__(
        self,
        tree: Tree,
        write: Callable[[], None],
        told: Callable[[str], None],
        logs: Logs,
        began: float | None = None,
    ) -> None:
        self._tree = tree
        self._table = tree.table
        self._write = write
        self._told = told
        self._logs = logs
        self._refused: dict[Identity, str] = {}
        self._began = time.monotonic() if began is None else began
        self.steps: dict[Identity, Step] = {}
        self.settled: int | None = None
        """Milliseconds until every process was stopped for the first time."""
        self.problems: list[str] = []

    def run(self, seconds: float) -> None:
        """Stop them all, however many appear meanwhile, at most for `seconds`. Raises WithClawtop, OSError."""
        until, tries, first = time.monotonic() + seconds, 0, True
        while True:
            if self._tree.grow() or first:
                first = False
                self._write()
            loose = self._loose()
            if not loose:
                self.settled = milliseconds_since(self._began) if self.settled is None else self.settled
                moved = self._moved()
                tries += 1
                if not moved or tries > _TRIES:
                    self.problems = [*self._refused.values(), *moved]
                    return
            elif time.monotonic() > until:
                self.problems = [*self._refused.values(), *(self._why(it, state) for it, state in loose.items())]
                return
            for level in levels([self._tree.members[it] for it in self._loose()]):
                self._stop(level)

    def _loose(self) -> dict[Identity, State]:
        """Those that are not stopped and may be."""
        states = {it: self._table.state(it) for it in self._tree.members if it not in self._refused}
        return {it: state for it, state in states.items() if state not in (State.STOPPED, State.ENDED)}

    def _stop(self, level: Sequence[ProcessBefore]) -> None:
        for each in level:
            it, began = identity_of(each), time.monotonic()
            try:
                sent = self._table.send(it, signal.SIGSTOP)
            except NotAllowed as error:
                self._refused[it] = f"{label(each)} goes on: {error}"
                self.steps[it] = Step(f"{label(each)} stopped", done=False, detail=str(error))
                continue
            if sent and it not in self.steps:
                self.steps[it] = Step(f"{label(each)} stopped", done=True, milliseconds=milliseconds_since(began))
        self._wait(level)

    def _wait(self, level: Sequence[ProcessBefore]) -> None:
        """Until they have stopped: before that they may still start others, or wait for a child to begin."""
        until = time.monotonic() + _LEVEL_SECONDS
        while left := [each for each in level if self._is_loose(identity_of(each))]:
            if time.monotonic() > until:
                busy = [each for each in left if self._table.state(identity_of(each)) is State.BUSY]
                if busy:
                    self._told(f"waits: {label(busy[0])} {State.BUSY}")
                return
            time.sleep(_LOOK_SECONDS)

    def _is_loose(self, it: Identity) -> bool:
        return it not in self._refused and self._table.state(it) not in (State.STOPPED, State.ENDED)

    def _moved(self) -> list[str]:
        """What does not stand still, by state, children, CPU time and log."""
        used = {it: self._table.cpu(it) for it in self._tree.members if it not in self._refused}
        logs = self._logs()
        time.sleep(_STILL_SECONDS)
        if self._tree.grow():
            self._write()
            return ["it starts processes faster than they can be stopped"]
        moved = [self._why(it, state) for it, state in self._loose().items()]
        moved += [
            f"{label(self._tree.members[it])} is stopped and uses CPU time"
            for it, seconds in used.items()
            if self._table.cpu(it) > seconds and not self._is_loose(it)
        ]
        return moved + grown(logs, self._logs())

    def _why(self, it: Identity, state: State) -> str:
        each = self._tree.members[it]
        match state:
            case State.BUSY:
                return f"{label(each)} {state}: it stops as soon as it wakes"
            case State.TRACED:
                return f"{label(each)} {state}, which says when it goes on"
            case _:
                parent = self._table.lines().get(it.pid)
                by = f"its parent, {parent.parent} ({command(parent.parent)})," if parent else "somebody"
                return f"{label(each)} goes on after each stop; {by} may let it"


class Going:
    """Lets the processes of a hold go on; those in `spare` are left as they are."""

    def __init__(self, table: ProcessTable, members: Sequence[ProcessBefore], spare: Container[Identity]) -> None:
        self._table = table
        self._mine = [each for each in members if not each.stopped]
        self._spare = spare
        self.steps: list[Step] = []
        self.ended: list[ProcessBefore] = []
        self.running: list[ProcessBefore] = []
        """Those that somebody had let go on already."""
        self.spared: list[ProcessBefore] = []
        self.problems: list[str] = []
        self.sent: list[ProcessBefore] = []
        """Those that were stopped and were told to go on."""

    def run(self) -> None:
        """Signal each of them, the children first."""
        for each in reversed(self._mine):
            it = identity_of(each)
            state = self._table.state(it)
            if state is State.ENDED:
                self.ended.append(each)
            elif it in self._spare:
                self.spared.append(each)
            else:
                self._let_go(each, state)

    def _let_go(self, each: ProcessBefore, state: State) -> None:
        what = f"{label(each)} goes on"
        try:
            # also one that is not stopped: its stop may be under way
            if not self._table.send(identity_of(each), signal.SIGCONT):
                self.ended.append(each)
                return
        except NotAllowed as error:
            if state is State.STOPPED:
                self.problems.append(f"{label(each)} stays stopped: {error}")
                self.steps.append(Step(what, done=False, detail=str(error)))
            return
        if state is State.STOPPED:
            self.sent.append(each)
            self.steps.append(Step(what, done=True))
        else:
            self.running.append(each)

    def stopped_again(self) -> list[ProcessBefore]:
        """Those that are stopped all the same a moment later."""
        until = time.monotonic() + _GOING_SECONDS
        while self._still_stopped() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        # who reads or sets a terminal that a shell has taken back is stopped by the system soon after
        time.sleep(_BACK_SECONDS)
        return self._still_stopped()

    def _still_stopped(self) -> list[ProcessBefore]:
        return [each for each in self.sent if self._table.state(identity_of(each)) is State.STOPPED]


def end(tree: Tree, grace: float, seconds: float) -> list[Step]:
    """Ask all of them to end, kill those that are left after `grace` seconds, at most for `seconds` more.

    Raises WithClawtop. Who is still there then is in `tree.alive()`.
    """
    steps: dict[Identity, Step] = {}
    # what ends while it stands still leaves no child behind that nobody has seen
    _freeze(tree)
    _signal(tree, tree.alive(), signal.SIGTERM, steps)
    _signal(tree, tree.alive()[::-1], signal.SIGCONT, {})
    asked, until = set(tree.members), time.monotonic() + grace
    while tree.alive() and time.monotonic() < until:
        time.sleep(_ENDING_SECONDS)
        tree.grow()
        _signal(tree, [tree.members[it] for it in tree.members.keys() - asked], signal.SIGTERM, steps)
        asked |= tree.members.keys()
    until = time.monotonic() + seconds
    while tree.alive() and time.monotonic() < until:
        _freeze(tree)
        _signal(tree, tree.alive(), signal.SIGKILL, steps)
        time.sleep(_ENDING_SECONDS)
    return list(steps.values())


def _freeze(tree: Tree) -> None:
    Halt(tree, lambda: None, lambda _: None, list).run(_FREEZE_SECONDS)


_WORDS = {signal.SIGTERM: "ended", signal.SIGKILL: "killed"}


def _signal(tree: Tree, members: Iterable[ProcessBefore], number: signal.Signals, steps: dict[Identity, Step]) -> None:
    for each in members:
        what = f"{label(each)} {_WORDS.get(number, '')}"
        try:
            if tree.table.send(identity_of(each), number):
                steps[identity_of(each)] = Step(what, done=True)
        except NotAllowed as error:
            steps[identity_of(each)] = Step(what, done=False, detail=str(error))


def _is_there(it: Identity, lines: Mapping[int, Line]) -> bool:
    return it.pid in lines and lines[it.pid].birth == it.birth


def identity_of(each: ProcessBefore) -> Identity:
    """The process that was written down."""
    return Identity(each.pid, each.birth)


def label(each: ProcessBefore) -> str:
    """The process in few words."""
    return f"process {each.pid} ({each.command})"


def levels(members: Sequence[ProcessBefore]) -> list[list[ProcessBefore]]:
    """The members by how far they are below the topmost of them; each must come after its parent."""
    depth: dict[int, int] = {}
    found: list[list[ProcessBefore]] = []
    for each in members:
        depth[each.pid] = depth.get(each.parent, -1) + 1
        if depth[each.pid] == len(found):
            found.append([])
        found[depth[each.pid]].append(each)
    return found


def tops(members: Sequence[ProcessBefore]) -> list[ProcessBefore]:
    """Those whose parent is none of them."""
    pids = {each.pid for each in members}
    return [each for each in members if each.parent not in pids]


def grown(before: Sequence[LogBefore], now: Sequence[LogBefore]) -> list[str]:
    """Which logs do not stand as they stood, in words; one that is new has grown."""
    known = {log.path: log for log in before}
    return [f"its log {log.path} still grows" for log in now if known.get(log.path, replace(log, size=0)) != log]
