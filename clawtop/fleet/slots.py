"""A row in the making: the shares of cells it adds up, and what does not add up from them."""

from collections.abc import Sequence
from typing import NamedTuple

from clawtop.fleet.cells import NO_MOMENT, Agent, Cell, Strand
from clawtop.fleet.tally import COST, LIST_COST, UNLOGGED, UNLOGGED_CACHE_WRITE, UNLOGGED_INPUT
from clawtop.fleet.windows import SLICES, Lens
from clawtop.model.snapshot import Grouping, Row

MICRO = 1_000_000
Group = tuple[str, ...]


class Part(NamedTuple):
    """A finished row (None where there is nothing to show), and what a total needs besides."""

    row: Row | None
    tally: int
    latencies: int
    priced_calls: int
    rate: int
    rate_cost: int
    rate_priced_calls: int
    rate_unpriced: int
    agents: frozenset[Agent]
    running: frozenset[Agent]
    projects: frozenset[str]


class Unit:
    """One cell's share of a row: its tally in the window, and in the minutes that rates are taken over."""

    __slots__ = ("cell", "latencies", "rate", "slot", "window")

    def __init__(self, cell: Cell, slot: "Slot") -> None:
        self.cell = cell
        self.slot = slot
        self.window = 0
        self.latencies = 0
        self.rate = 0


class Slot:
    """One row in the making.

    `sessions` and `runs` hold the moments of the last call and attempt by mark, of those within the window;
    `members` the sessions of its strands by agent, to tell whose running is the row's; `counted` is the part
    that a total holds, where the row passes.
    """

    __slots__ = (
        "agents", "counted", "first", "group", "had_runs", "hosts", "last", "latest", "latest_cell",
        "members", "name", "order", "part", "runs", "sessions", "slices", "spoke", "spoke_in", "units",
    )  # fmt: skip

    def __init__(self, group: Group) -> None:
        self.group = group
        self.name: Strand | None = None
        self.units: dict[Cell, Unit] = {}
        self.agents: set[Agent] = set()
        self.hosts: set[str] = set()
        self.members: set[tuple[Agent, str | None]] = set()
        self.sessions: dict[int, int] = {}
        self.runs: dict[int, int] = {}
        self.had_runs = False
        self.slices: dict[int, int] = {}
        self.first = 0
        self.last = 0
        self.latest = NO_MOMENT
        self.latest_cell: Cell | None = None
        self.spoke = NO_MOMENT
        self.spoke_in: Strand | None = None
        self.part: Part | None = None
        self.counted: Part | None = None
        self.order: tuple[object, ...] = ()

    def unit(self, strand: Strand) -> Unit:
        """The strand's cell's share, made where it is new."""
        cell = strand.cell
        self.agents.add(cell.agent)
        self.hosts.add(cell.agent.host)
        self.members.add((cell.agent, strand.session.key if strand.session else None))
        if self.name is None:
            self.name = strand
        unit = self.units.get(cell)
        if unit is None:
            unit = self.units[cell] = Unit(cell, self)
        return unit

    def see(self, strand: Strand) -> None:
        """Take over what a strand knows about its latest activity."""
        if strand.first and (not self.first or strand.first < self.first):
            self.first = strand.first
        self.last = max(self.last, strand.last)
        if strand.latest > self.latest:
            self.latest, self.latest_cell = strand.latest, strand.cell
        if strand.spoke > self.spoke:
            self.spoke, self.spoke_in = strand.spoke, strand

    @property
    def model(self) -> str | None:
        """The model of its latest attempt."""
        return None if self.latest_cell is None else self.latest_cell.key.full_model

    def usual(self, field: str) -> str | None:
        """The project or user of its latest attempt; without attempts one that it has."""
        if self.latest_cell is not None:
            name: str | None = getattr(self.latest_cell.key, field)
            return name
        return min(filter(None, (getattr(cell.key, field) for cell in self.units)), default=None)

    @property
    def context_pct(self) -> float | None:
        """How full the context was at its latest call, None where the window is not known."""
        if self.spoke_in is None:
            return None
        session, (tokens, window) = self.spoke_in.session, self.spoke_in.context
        window = window or (session.window[1] if session else 0)
        return 100 * tokens / window if window > 0 else None

    def count_session(self, mark: int, called: int, lens: Lens) -> None:
        """Count a session whose last call was then, if that lies within the window."""
        if called >= self.sessions.get(mark, 0) and lens.holds(called):
            self.sessions[mark] = called

    def count_run(self, mark: int, tried: int, lens: Lens) -> None:
        """Count a run whose last attempt was then, if that lies within the window."""
        self.had_runs = True
        if tried >= self.runs.get(mark, 0) and lens.holds(tried):
            self.runs[mark] = tried

    def sweep(self, lens: Lens) -> None:
        """Drop the sessions and runs that have left the window."""
        for present in (self.sessions, self.runs):
            for mark in [mark for mark, at in present.items() if not lens.holds(at)]:
                del present[mark]

    def add_tokens(self, number: int, tokens: int) -> None:
        """Count tokens in a slice of the window."""
        self.slices[number] = self.slices.get(number, 0) + tokens

    def spark(self, newest: int) -> tuple[int, ...]:
        """Tokens of each slice up to number `newest`, oldest first; what lies beyond is in the last."""
        if not self.slices:
            return _NOTHING
        get = self.slices.get
        values = [get(number, 0) for number in range(newest - SLICES + 1, newest + 1)]
        if max(self.slices) > newest:
            values[-1] += sum([tokens for number, tokens in self.slices.items() if number > newest])
        if len(self.slices) > 2 * SLICES:
            self.slices = {number: tokens for number, tokens in self.slices.items() if number > newest - SLICES}
        return tuple(values) if min(values) >= 0 else tuple([max(0, value) for value in values])


_NOTHING = (0,) * SLICES


def priced(cell: Cell, counters: Sequence[int]) -> int:
    """What the counters of a tally cost as far as it is known, in millionths of a micro-dollar."""
    cost = counters[COST] * MICRO
    if not counters[UNLOGGED]:
        return cost
    if cell.price is None:
        return cost + counters[LIST_COST] * MICRO
    tokens = counters[UNLOGGED_INPUT : UNLOGGED_CACHE_WRITE + 1]
    return cost + sum([amount * price for amount, price in zip(tokens, cell.price, strict=True)])


_FIELDS = {
    Grouping.PROJECT: "project",
    Grouping.USER: "user",
    Grouping.OWNER: "owner",
    Grouping.PROVIDER: "provider",
    Grouping.TASK: "task",
    Grouping.CRON: "cron",
    Grouping.HOST: "host",
    Grouping.ENVIRONMENT: "environment",
}


def group_of(grouping: Grouping, strand: Strand) -> Group:
    """Which row a strand belongs to; "" stands for what is not known."""
    key = strand.cell.key
    match grouping:
        case Grouping.AGENT:
            return (key.host, key.agent)
        case Grouping.MODEL:
            return (key.provider, key.model)
        case Grouping.SESSION:
            return (key.host, key.agent, strand.session.key if strand.session else "")
        case Grouping.RUN:
            return (key.host, key.agent, strand.run or "")
        case _:
            return (getattr(key, _FIELDS[grouping]) or "",)


def label_of(grouping: Grouping, slot: Slot) -> str:
    """What to print for a row, – for what is not known."""
    if grouping is Grouping.AGENT:
        return slot.group[1]
    strand = slot.name
    if grouping is Grouping.MODEL:
        return "/".join(filter(None, slot.group)) or "–"
    if grouping is Grouping.SESSION and strand is not None and strand.session is not None:
        return strand.session.name or strand.session.key
    return slot.group[-1] or "–"
