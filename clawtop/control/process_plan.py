"""What stopping an agent's processes would touch, and what it would leave out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clawtop.control.process_rule import ProcessRule
from clawtop.control.process_search import PRODUCTS
from clawtop.control.process_table import ProcessTable, State, reviver
from clawtop.control.process_tree import Tree, identity_of, label, tops
from clawtop.control.record import ProcessBefore, Search
from clawtop.model.commands import About, Gap, Hold, Means, Plan, RunningProcess, Target
from clawtop.model.local import LocalWork

HINT = "a [[control.process]] or [[control.hook]] of the config can say how it is stopped"
_GLOB = frozenset("*?[")
_WAY = Gap(
    "the request under way",
    "it is answered and billed; its connection may be gone when the agent goes on, which then asks again",
)
_ELSEWHERE = Gap("what runs elsewhere", "containers, services, and processes whose parents have ended are not its tree")


@dataclass(frozen=True, slots=True)
class LocalAgent:
    """An agent as far as it may be a process of this machine."""

    target: Target
    about: About = About()
    works: tuple[LocalWork, ...] = ()


def plan_of(target: Target, tree: Tree, search: Search, rule: ProcessRule | None, held: Hold | None) -> Plan:
    """What is known of a tree whose processes were found."""
    alive = tree.alive()
    return Plan(
        target,
        Means.PROCESS,
        processes=tuple(_running(tree.table, root, alive) for root in tops(alive)),
        not_covered=(*_terminals(alive), _WAY, *_later(search), _ELSEWHERE),
        warnings=tuple(_shared(rule)),
        problem=revived(alive),
        held=held,
    )


def unknown(target: Target, why: str, held: Hold | None) -> Plan:
    """There is no hand on it."""
    return Plan(target, Means.NONE, problem=f"{why}; {HINT}", held=held)


def revived(members: Iterable[ProcessBefore]) -> str | None:
    """Why these cannot be paused by signals, None where they can."""
    for each in members:
        by = reviver(each.pid)
        if by is not None:
            return (
                f"{by} has started {label(each)} in a window of its own and lets it go on whenever it is stopped: "
                f"it can only be ended (x, clawtop abort); one that is started from a shell in {by} can be paused"
            )
    return None


def _running(table: ProcessTable, root: ProcessBefore, alive: Sequence[ProcessBefore]) -> RunningProcess:
    below = {root.pid}
    children: list[ProcessBefore] = []
    for each in alive:
        if each.parent in below and each is not root:
            below.add(each.pid)
            children.append(each)
    stopped = sum(table.state(identity_of(each)) is State.STOPPED for each in (root, *children))
    return RunningProcess(root.pid, root.command, root.started, tuple(each.command for each in children), stopped)


def _later(search: Search) -> Iterable[Gap]:
    why = "it is stopped, too, but only while clawtop runs"
    if search.product is not None:
        yield Gap(f"a new {PRODUCTS[search.product].name} in its folder", why)
    elif search.pidfile is not None or search.command is not None:
        yield Gap("a new process that its [[control.process]] fits", why)


def _terminals(alive: Iterable[ProcessBefore]) -> Iterable[Gap]:
    for each in alive:
        if each.terminal is not None:
            why = "the shell there takes it back and says Stopped; after r, type fg there to have it in front again"
            yield Gap(f"the terminal {each.terminal} of {label(each)}", why)


def _shared(rule: ProcessRule | None) -> Iterable[str]:
    if rule is not None and _GLOB & set(rule.agent):
        yield f"its [[control.process]] is for all agents {rule.agent}: these processes may run others of them, too"
