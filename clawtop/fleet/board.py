"""The sums behind one view, kept up to date event by event, and bucket by bucket as time passes."""

from collections.abc import Collection

from clawtop.fleet.cells import NEVER, Agent, Cell, Strand
from clawtop.fleet.series import Series
from clawtop.fleet.slots import MICRO, Group, Slot, Unit, group_of, priced
from clawtop.fleet.tally import COST, SPEND, TOKENS, UNLOGGED, counted, histogram, unpacked
from clawtop.fleet.windows import Axis, Lens
from clawtop.model.snapshot import View, Window

_RECENT_MS, _RECENT_SLICES = 5_000, 180


class Recent:
    """Tokens and cost of the last 15 minutes in slices of 5 s."""

    def __init__(self, now: int) -> None:
        self._slices: dict[int, list[int]] = {}
        self._newest = now // _RECENT_MS

    def load(self, cell: Cell, series: Series) -> None:
        """Take in what a series has."""
        for second, tally, _ in series.since((self._newest - _RECENT_SLICES) * _RECENT_MS // 1000, 1):
            self.add(cell, second * 1000, tally)

    def add(self, cell: Cell, at: int, tally: int) -> None:
        """Take in what a cell spent at that moment (Unix ms)."""
        number = at // _RECENT_MS
        if number <= self._newest - _RECENT_SLICES:
            return
        values = self._slices.get(number)
        if values is None:
            values = self._slices[number] = [0, 0]
        values[0] += tally
        if counted(tally, UNLOGGED):
            counters = unpacked(tally)
            values[1] += priced(cell, counters) - counters[COST] * MICRO

    def up_to(self, now: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens and micro-dollars of each slice, oldest first; what lies beyond `now` is in the last."""
        self._newest = max(self._newest, now // _RECENT_MS)
        oldest = self._newest - _RECENT_SLICES + 1
        for number in [number for number in self._slices if number < oldest]:
            del self._slices[number]
        tokens, costs = [0] * _RECENT_SLICES, [0] * _RECENT_SLICES
        for number, (tally, unlogged) in self._slices.items():
            place = min(number - oldest, _RECENT_SLICES - 1)
            tokens[place] += max(0, counted(tally, TOKENS))
            costs[place] += max(0, counted(tally, COST) * MICRO + unlogged)
        return tuple(tokens), tuple((cost + MICRO // 2) // MICRO for cost in costs)


class Board:
    """All rows of one view (its window, grouping and scope).

    `stale` holds the slots whose row must be made anew, `first` is when the fleet's history begins.
    """

    def __init__(self, view: View, now: int, first: int) -> None:
        self.view = view
        self.now = now
        self.lens = Lens(view.window, now)
        self.axis = Axis.over(view.window, first, now)
        self.recent = Recent(now)
        self.slots: dict[Group, Slot] = {}
        self.stale: dict[Group, Slot] = {}
        self._rates = Lens(Window.M5, now)
        self._newest = now // (self.axis.width * 1000)
        self._units: dict[Strand, Unit | None] = {}
        self._by_series: dict[Series, Unit] = {}
        self._by_agent: dict[Agent, dict[Group, Slot]] = {}

    @property
    def newest(self) -> int:
        """The number of the slice that `now` falls into."""
        return self._newest

    @property
    def agents(self) -> Collection[Agent]:
        """All agents within the scope."""
        return self._by_agent.keys()

    def serves(self, view: View, now: int) -> bool:
        """Whether its sums are those of a view at that moment."""
        mine = self.view
        return now >= self.now and (view.window, view.group_by, view.scope) == (mine.window, mine.group_by, mine.scope)

    def adopt(self, strand: Strand) -> None:
        """Take in a strand with all it has."""
        unit = self._units[strand] = self._place(strand)
        if unit is None:
            return
        self._by_series[strand.series] = unit
        tally, latencies = self.lens.load(strand.series)
        unit.window += tally
        unit.latencies += latencies
        unit.rate += self._rates.load(strand.series)[0]
        self._load_slices(strand.series, unit.slot)
        self.recent.load(strand.cell, strand.series)
        unit.slot.see(strand)
        for mark, at in strand.sessions:
            unit.slot.count_session(mark, at, self.lens)
        for mark, at in strand.runs:
            unit.slot.count_run(mark, at, self.lens)
        self.stale[unit.slot.group] = unit.slot

    def _place(self, strand: Strand) -> Unit | None:
        scope = self.view.scope
        if scope.row is not None and group_of(scope.row[0], strand) != scope.row[1]:
            return None
        if not scope.holds(strand.cell.key.as_key):
            return None
        group = group_of(self.view.group_by, strand)
        slot = self.slots.get(group)
        if slot is None:
            slot = self.slots[group] = Slot(group)
        self._by_agent.setdefault(strand.cell.agent, {})[group] = slot
        return slot.unit(strand)

    def _load_slices(self, series: Series, slot: Slot) -> None:
        start = 0 if self.lens.endless else self.lens.start
        for second, tokens in series.tokens_since(start, self.axis.seconds, self.axis.width):
            slot.add_tokens(self.axis.slice_of(second), tokens)

    def add(self, strand: Strand, at: int, tally: int, bins: bytes) -> None:
        """Take in what a strand has just counted."""
        unit = self._units.get(strand, self)
        if not isinstance(unit, Unit):
            if unit is self:
                self.adopt(strand)
            return
        slot, lens = unit.slot, self.lens
        if lens.added(strand.series, at):
            unit.window += tally
            if bins:
                unit.latencies += histogram(bins)
        if at:
            if self._rates.added(strand.series, at):
                unit.rate += tally
            if tally & SPEND:
                number = self.axis.slice_of(at // 1000)
                slot.slices[number] = slot.slices.get(number, 0) + counted(tally, TOKENS)
                self.recent.add(unit.cell, at, tally)
        if strand.session is not None and strand.called > slot.sessions.get(strand.session.mark, NEVER):
            slot.count_session(strand.session.mark, strand.called, lens)
        if strand.run_mark is not None and strand.tried > slot.runs.get(strand.run_mark, NEVER):
            slot.count_run(strand.run_mark, strand.tried, lens)
        slot.see(strand)
        self.stale[slot.group] = slot

    def changed(self, agent: Agent) -> None:
        """Have the rows of an agent made anew: its state, or what is known of it, has changed."""
        self.stale.update(self._by_agent.get(agent, {}))

    def advance(self, now: int, first: int) -> None:
        """Move on to `now` (Unix ms): what has left the windows leaves the sums."""
        self.now = now
        losing: dict[Group, Slot] = {}
        for series, tally, latencies in self.lens.advance(now):
            unit = self._by_series[series]
            unit.window -= tally
            unit.latencies -= latencies
            losing[unit.slot.group] = unit.slot
        for slot in losing.values():
            slot.sweep(self.lens)
        self.stale.update(losing)
        for series, tally, _ in self._rates.advance(now):
            unit = self._by_series[series]
            unit.rate -= tally
            self.stale[unit.slot.group] = unit.slot
        self._shift(now, first)

    def _shift(self, now: int, first: int) -> None:
        axis = Axis.over(self.view.window, first, now)
        newest = now // (axis.width * 1000)
        if axis != self.axis:
            self.axis = axis
            for slot in self.slots.values():
                slot.slices = {}
            for series, unit in self._by_series.items():
                self._load_slices(series, unit.slot)
        elif newest == self._newest:
            return
        self._newest = newest
        self.stale.update({group: slot for group, slot in self.slots.items() if slot.slices})
