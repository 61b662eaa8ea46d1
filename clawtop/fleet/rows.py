"""From sums to a row."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from clawtop.fleet.cells import Agent, Cell
from clawtop.fleet.slots import MICRO, Part, Slot, label_of, priced
from clawtop.fleet.tally import (
    ABORTS,
    CACHE_WRITE,
    CALLS,
    COMPACTIONS,
    COST,
    ERRORS,
    FAILED_TURNS,
    FALLBACKS,
    INPUT,
    LISTED,
    RESETS,
    RETRIES,
    TOKENS,
    TOOL_CALLS,
    TOOL_ERRORS,
    UNLOGGED,
    UNMETERED,
    at_least_zero,
    latencies,
    unpacked,
)
from clawtop.model.commands import Hold
from clawtop.model.events import State, Tokens
from clawtop.model.snapshot import OF_ONE_AGENT, Basis, Counters, Grouping, Row

RATE_MINUTES = 5


class Spend:
    """Counts and money added up over cells, each of which has its own price."""

    __slots__ = ("cost", "latencies", "priced_calls", "tally", "unpriced")

    def __init__(self) -> None:
        self.tally = 0
        self.latencies = 0
        self.cost = 0
        self.priced_calls = 0
        self.unpriced = 0

    def add(self, cell: Cell, tally: int) -> tuple[int, int]:
        """Add what a cell counted; what is below zero, because it took back what lies before it, adds nothing.

        Returns what that costs as far as it is known, in millionths of a micro-dollar, and its tokens.
        """
        tally = at_least_zero(tally)
        self.tally += tally
        counters = unpacked(tally)
        cost = priced(cell, counters)
        self.cost += cost
        unlogged = counters[UNLOGGED]
        if unlogged:
            known = counters[LISTED] if cell.price is None else unlogged
            self.priced_calls += known
            self.unpriced += unlogged - known
        return cost, counters[TOKENS]

    @property
    def micro_dollars(self) -> int:
        """The known part of the cost."""
        return (self.cost + MICRO // 2) // MICRO


def basis_of(counters: Sequence[int], priced_calls: int, unpriced: int) -> Basis:
    """Where the money of a tally's calls comes from; those that have no price stand beside it."""
    if counters[COST] or counters[CALLS] > priced_calls + unpriced:
        return Basis.MIXED if priced_calls else Basis.LOGGED
    if priced_calls:
        return Basis.PRICED
    return Basis.UNKNOWN if unpriced else Basis.LOGGED


def counters_of(counters: Sequence[int], unpriced: int) -> Counters:
    """What a row shows of the counters of a tally."""
    return Counters(
        calls=counters[CALLS],
        errors=counters[ERRORS],
        retries=counters[RETRIES],
        fallbacks=counters[FALLBACKS],
        failed_turns=counters[FAILED_TURNS],
        aborts=counters[ABORTS],
        tool_calls=counters[TOOL_CALLS],
        tool_errors=counters[TOOL_ERRORS],
        compactions=counters[COMPACTIONS],
        resets=counters[RESETS],
        unmetered_runs=counters[UNMETERED],
        unpriced_calls=unpriced,
    )


def tokens_of(counters: Sequence[int]) -> Tokens:
    """The token buckets among the counters of a tally."""
    return Tokens(*counters[INPUT : CACHE_WRITE + 1])


def per_minute(counters: Sequence[int]) -> Tokens:
    """Whole tokens per minute by bucket, from what the rate's minutes counted."""
    return Tokens(*[round(amount / RATE_MINUTES) for amount in tokens_of(counters)])


def per_hour(cost: int) -> float:
    """Dollars per hour, from what the rate's minutes cost in millionths of a micro-dollar."""
    return cost * 60 / RATE_MINUTES / MICRO / MICRO


class Shares:
    """Which of several names (projects, users) has most spend."""

    __slots__ = ("_spent",)

    def __init__(self) -> None:
        self._spent: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))

    def add(self, name: str | None, cost: int, tokens: int) -> None:
        """Count spend under a name; None is no name."""
        if name is not None:
            before = self._spent[name]
            self._spent[name] = before[0] + cost, before[1] + tokens

    @property
    def names(self) -> frozenset[str]:
        """All names."""
        return frozenset(self._spent)

    @property
    def largest(self) -> str | None:
        """The name with most cost, then most tokens, then first in the alphabet."""
        return min(self._spent, key=lambda name: (*(-each for each in self._spent[name]), name), default=None)


class Sums:
    """What the units of a slot add up to."""

    __slots__ = ("active", "projects", "rate", "spend", "users")

    def __init__(self, slot: Slot) -> None:
        self.spend, self.rate, self.projects, self.users = Spend(), Spend(), Shares(), Shares()
        self.active: set[Agent] = set()
        for unit in slot.units.values():
            window = at_least_zero(unit.window)
            if window:
                cost, tokens = self.spend.add(unit.cell, window)
                self.spend.latencies += unit.latencies
                self.active.add(unit.cell.agent)
                self.projects.add(unit.cell.key.project, cost, tokens)
                self.users.add(unit.cell.key.user, cost, tokens)
            if unit.rate:
                self.rate.add(unit.cell, unit.rate)


def part_of(slot: Slot, grouping: Grouping, newest: int) -> Part:
    """A slot's row and what goes with it; `newest` is the number of the last slice.

    An agent that was ever seen has a row; others need something in the window or something running.
    """
    sums = Sums(slot)
    running = _running(slot, grouping, sums.active)
    shown = grouping is Grouping.AGENT or sums.active or slot.runs or (running and any(slot.group))
    agents = frozenset(slot.agents if grouping in _WHOLE else sums.active | running or slot.agents)
    return Part(
        row=_row(slot, sums, grouping, newest, _Who(agents, running)) if shown else None,
        tally=sums.spend.tally,
        latencies=sums.spend.latencies,
        priced_calls=sums.spend.priced_calls,
        rate=sums.rate.tally,
        rate_cost=sums.rate.cost,
        rate_priced_calls=sums.rate.priced_calls,
        rate_unpriced=sums.rate.unpriced,
        agents=agents,
        running=running,
        projects=sums.projects.names,
    )


class _Who(NamedTuple):
    agents: frozenset[Agent]
    running: frozenset[Agent]


def _row(slot: Slot, sums: Sums, grouping: Grouping, newest: int, who: _Who) -> Row:
    spend = sums.spend
    counters, rates = unpacked(spend.tally), unpacked(sums.rate.tally)
    p50, p95 = latencies(spend.latencies)
    hold = _hold(slot) if grouping in OF_ONE_AGENT else None
    project = sums.projects.largest or slot.usual("project")
    return Row(
        group=slot.group,
        label=label_of(grouping, slot),
        host=next(iter(slot.hosts)) if len(slot.hosts) == 1 else "",
        project=project,
        projects=len(sums.projects.names) or int(project is not None),
        user=sums.users.largest or slot.usual("user"),
        state=_state(slot, grouping, who),
        model=slot.model,
        counters=counters_of(counters, spend.unpriced),
        tokens=tokens_of(counters),
        cost=spend.micro_dollars,
        basis=basis_of(counters, spend.priced_calls, spend.unpriced),
        sessions=len(slot.sessions),
        runs=len(slot.runs) if slot.had_runs else None,
        tokens_per_min=rates[TOKENS] / RATE_MINUTES,
        usd_per_hour=per_hour(sums.rate.cost),
        calls_per_min=rates[CALLS] / RATE_MINUTES,
        context_pct=slot.context_pct,
        latency_p50=p50,
        latency_p95=p95,
        first_at=slot.first or None,
        last_at=slot.last or None,
        spark=slot.spark(newest),
        agents=len(who.agents),
        agents_running=len(who.running),
        hold=None if hold is None else hold.state.value,
        hold_detail=None if hold is None else _told(hold),
        detail=_detail(slot, grouping, who.agents),
        blind=frozenset[str]().union(*{agent.blind for agent in who.agents}),
        kinds_per_min=per_minute(rates),
        agent=slot.group[1] if grouping in OF_ONE_AGENT else None,
        rate_unpriced=sums.rate.unpriced,
        rate_basis=basis_of(rates, sums.rate.priced_calls, sums.rate.unpriced),
    )


_WHOLE = (Grouping.AGENT, Grouping.HOST)
"""Groupings whose rows hold agents as a whole, whatever session does what."""


def _hold(slot: Slot) -> Hold | None:
    return next((agent.hold for agent in slot.agents), None)


def _told(hold: Hold) -> str | None:
    took = "" if hold.milliseconds is None else f"{hold.milliseconds} ms"
    return "; ".join(filter(None, (took, hold.detail, hold.reason))) or None


def _running(slot: Slot, grouping: Grouping, active: set[Agent]) -> frozenset[Agent]:
    return frozenset(agent for agent in slot.agents if agent.running and _runs_here(agent, slot, grouping, active))


def _runs_here(agent: Agent, slot: Slot, grouping: Grouping, active: set[Agent]) -> bool:
    if grouping in _WHOLE:
        return True
    if grouping is Grouping.RUN:
        return any(each.key.run == slot.group[-1] for each in agent.running.values())
    for session in agent.running:
        if session is not None and (agent, session) in slot.members:
            return True
        if session is None and agent in active and grouping is not Grouping.SESSION:
            return True
    return False


def _state(slot: Slot, grouping: Grouping, who: _Who) -> State:
    if who.running:
        return State.RUNNING
    if grouping in (Grouping.SESSION, Grouping.RUN):
        return _state_of_one(slot, grouping)
    states = {agent.finished for agent in who.agents}
    return next((state for state in (State.ERROR, State.IDLE) if state in states), State.UNKNOWN)


def _state_of_one(slot: Slot, grouping: Grouping) -> State:
    for agent, session in slot.members:
        known = agent.states.get(session)
        if known is not None and session is not None:
            over = grouping is Grouping.RUN and known.key.run != slot.group[-1]
            return State.IDLE if over else known.state
    return State.UNKNOWN


def _detail(slot: Slot, grouping: Grouping, agents: Iterable[Agent]) -> str | None:
    if grouping in (Grouping.SESSION, Grouping.RUN):
        known = [agent.states[session] for agent, session in slot.members if session in agent.states]
        return next((each.detail for each in known if each.detail is not None), None)
    return max((agent.detail for agent in agents if agent.detail is not None), default=(0, None))[1]
