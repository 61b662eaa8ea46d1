"""The sum of the rows that pass, kept up to date row by row."""

from collections import Counter
from collections.abc import Collection, Iterable

from clawtop.fleet.cells import Agent
from clawtop.fleet.rows import RATE_MINUTES, basis_of, counters_of, per_hour, per_minute, tokens_of
from clawtop.fleet.slots import Part, Slot
from clawtop.fleet.tally import CALLS, TOKENS, latencies, unpacked
from clawtop.fleet.windows import SLICES
from clawtop.model.events import State
from clawtop.model.snapshot import Grouping, Rate, Row


def rate_of(parts: Iterable[Part]) -> Rate:
    """What rows spend per hour together."""
    tally = cost = priced_calls = unpriced = 0
    for part in parts:
        tally += part.rate
        cost += part.rate_cost
        priced_calls += part.rate_priced_calls
        unpriced += part.rate_unpriced
    return Rate(per_hour(cost), unpriced, basis_of(unpacked(tally), priced_calls, unpriced))


class Total:
    """What the rows that pass add up to. Sessions and runs are counted once, however many rows they are in."""

    def __init__(self) -> None:
        self._tally = 0
        self._latencies = 0
        self._rate = 0
        self._rate_cost = 0
        self._rate_priced_calls = 0
        self._rate_unpriced = 0
        self._cost = 0
        self._priced_calls = 0
        self._unpriced = 0
        self._spark = [0] * SLICES
        self._projects: Counter[str] = Counter()
        self._seen = _Activity()

    def add(self, part: Part) -> None:
        """Take a row in."""
        self._amounts(part, 1)

    def remove(self, part: Part) -> None:
        """Take a row out again."""
        self._amounts(part, -1)

    def _amounts(self, part: Part, sign: int) -> None:
        self._tally += sign * part.tally
        self._latencies += sign * part.latencies
        self._rate += sign * part.rate
        self._rate_cost += sign * part.rate_cost
        self._rate_priced_calls += sign * part.rate_priced_calls
        self._rate_unpriced += sign * part.rate_unpriced
        self._priced_calls += sign * part.priced_calls
        for project in part.projects:
            self._projects[project] += sign
        if part.row is None:
            return
        self._cost += sign * part.row.cost
        self._unpriced += sign * part.row.counters.unpriced_calls
        if any(part.row.spark):
            self._spark = [mine + sign * its for mine, its in zip(self._spark, part.row.spark, strict=True)]

    def see(self, slot: Slot) -> None:
        """Take over what a row knows of its latest activity. There is no way back but to `forget` all."""
        self._seen.see(slot)

    def forget(self) -> None:
        """Forget all latest activity."""
        self._seen = _Activity()

    def row(self, slots: list[Slot], grouping: Grouping, everyone: Collection[Agent] | None) -> Row:
        """The total as a row, of these slots; `everyone` is all agents where no filter takes any away."""
        agents: Collection[Agent] = everyone or _union(slot.part.agents for slot in slots if slot.part)
        running = [agent for agent in agents if agent.running]
        if everyone is None:
            running = list(_union(slot.part.running for slot in slots if slot.part))
        seen = self._seen
        p50, p95 = latencies(self._latencies)
        counters, rates = unpacked(self._tally), unpacked(self._rate)
        hosts = {agent.host for agent in agents}
        return Row(
            group=(),
            label="total",
            host=next(iter(hosts)) if len(hosts) == 1 else "",
            project=None,
            projects=sum(count > 0 for count in self._projects.values()),
            user=None,
            state=_state(agents, running),
            model=None if seen.tried is None else seen.tried.model,
            counters=counters_of(counters, self._unpriced),
            tokens=tokens_of(counters),
            cost=self._cost,
            basis=basis_of(counters, self._priced_calls, self._unpriced),
            sessions=_distinct((slot.sessions for slot in slots), grouping),
            runs=_distinct((slot.runs for slot in slots), grouping) if seen.had_runs else None,
            tokens_per_min=rates[TOKENS] / RATE_MINUTES,
            usd_per_hour=per_hour(self._rate_cost),
            calls_per_min=rates[CALLS] / RATE_MINUTES,
            context_pct=None if seen.spoke is None else seen.spoke.context_pct,
            latency_p50=p50,
            latency_p95=p95,
            first_at=seen.first or None,
            last_at=seen.last or None,
            spark=tuple(self._spark),
            agents=len(agents),
            agents_running=len(running),
            detail=max((agent.detail for agent in agents if agent.detail is not None), default=(0, None))[1],
            blind=frozenset[str]().union(*{agent.blind for agent in agents}),
            kinds_per_min=per_minute(rates),
            rate_unpriced=self._rate_unpriced,
            rate_basis=basis_of(rates, self._rate_priced_calls, self._rate_unpriced),
        )


def _distinct(present: Iterable[dict[int, int]], grouping: Grouping) -> int:
    if grouping in (Grouping.AGENT, Grouping.HOST):
        return sum(map(len, present))
    return len(set[int]().union(*present))


class _Activity:
    """The latest activity among rows."""

    def __init__(self) -> None:
        self.tried: Slot | None = None
        self.spoke: Slot | None = None
        self.first = 0
        self.last = 0
        self.had_runs = False

    def see(self, slot: Slot) -> None:
        if self.tried is None or slot.latest > self.tried.latest:
            self.tried = slot
        if self.spoke is None or slot.spoke > self.spoke.spoke:
            self.spoke = slot
        if slot.first and (not self.first or slot.first < self.first):
            self.first = slot.first
        self.last = max(self.last, slot.last)
        self.had_runs = self.had_runs or slot.had_runs


def _union(sets: Iterable[frozenset[Agent]]) -> frozenset[Agent]:
    return frozenset[Agent]().union(*sets)


def _state(agents: Collection[Agent], running: Collection[Agent]) -> State:
    if running:
        return State.RUNNING
    states = {agent.finished for agent in agents}
    return next((state for state in (State.ERROR, State.IDLE) if state in states), State.UNKNOWN)
