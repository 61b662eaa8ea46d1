"""What was counted, as Prometheus takes it: counters that never go down, and no more series than were asked for.

Counters stand for all of history. One that an agent's sources cannot see has no series; what has no known price is
in `clawtop_unpriced_calls_total` and not in the cost. Label values are made printable; those that come out the same
are one series.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import core
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from clawtop import __version__
from clawtop.model.events import State
from clawtop.model.snapshot import Health, SourceStatus
from clawtop.model.usage import AgentUsage, CellUsage, Usage
from clawtop.plain import printable

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
OTHER = "(other)"
"""The agent of what is beyond that."""

_PICO = 10**12
STANDS_MS = 150_000
"""OpenClaw exports its metrics once a minute and its spans when they end: by then they have found each other."""
_LONGEST_LABEL = 200

Labels = tuple[str, ...]
Counts = tuple[int, ...]


class _Counter(NamedTuple):
    """A counter: its name, what it counts, and the name under which a source may be blind to it."""

    name: str
    about: str
    seen_as: str


_OF_AGENT = ("host", "agent")
_OF_RUNS = (*_OF_AGENT, "project", "user")
_OF_USAGE = (*_OF_RUNS, "model")
_KINDS = ("input", "output", "cache_read", "cache_write")
_COST, _UNPRICED = len(_KINDS), len(_KINDS) + 1
_USAGE = (
    _Counter("unpriced_calls", "Calls of a model without a known price; their cost is in no other series.", "cost"),
    _Counter("calls", "Answers of a model.", "calls"),
    _Counter("errors", "Attempts at a model that failed.", "errors"),
    _Counter("retries", "Failed attempts that were followed by one at the same model.", "retries"),
    _Counter("fallbacks", "Failed attempts that were followed by one at another model.", "fallbacks"),
    _Counter("failed_turns", "Failed attempts that nothing followed.", "failed_turns"),
    _Counter("tool_calls", "Tools that a model asked for.", "tool_calls"),
)
_RUNS = (
    _Counter("tool_errors", "Results of tools that were errors.", "tool_errors"),
    _Counter("aborts", "Runs that were cut off.", "aborts"),
    _Counter("compactions", "Times that a session's context was compacted.", "compactions"),
    _Counter("context_resets", "Times that a session's context was thrown away.", "resets"),
    _Counter("unmetered_runs", "Runs whose model spend no transcript shows.", "unmetered_runs"),
)


class Exposition:
    """The series of one process lifetime: `most` label sets have series of their own; `started` is Unix ms.

    What may yet prove to be another's is handed out once it has stood for `stands` ms.

    Who comes first has a series of its own, of those that come together the ones with most tokens. Who came too late
    stays in OTHER, so that nothing there ever goes down.
    """

    def __init__(self, most: int, *, started: int, stands: int = STANDS_MS) -> None:
        self._started = started
        self._most = most
        self._usage = _Counters(most, _OF_USAGE, lambda labels: (*labels[:2], "", "", labels[4]), stands)
        self._runs = _Counters(most, _OF_RUNS, lambda labels: (*labels[:2], "", ""), stands)
        self._priced: set[Labels] = set()
        self._stated: dict[Labels, None] = {}
        self._unstated = 0
        self._skips: dict[Labels, _Skips] = {}
        self._folds = 0

    def text(self, usage: Usage, *, in_openmetrics: bool = False, also: Iterable[core.Metric] = ()) -> bytes:
        """The text of a scrape, in Prometheus' own format or in OpenMetrics; `also` are metrics of the process."""
        families = _Families([*self._take(usage), *also])
        if not in_openmetrics:
            return generate_latest(families)
        made: bytes = openmetrics.generate_latest(families)  # type: ignore[no-untyped-call]
        return made

    def _take(self, usage: Usage) -> Iterator[core.Metric]:
        moved, self._folds = usage.folds != self._folds, usage.folds
        open_ = {_labels(cell) for cell in usage.cells if cell.provisional}
        counts = _summed((_labels(cell), _usage_counts(cell)) for cell in _spending(usage))
        self._usage.take(counts, open_, usage.at, moved=moved)
        runs = _summed((_labels(cell)[:4], _run_counts(cell)) for cell in usage.cells)
        self._runs.take(runs, {labels[:4] for labels in open_}, usage.at, moved=moved)
        self._priced |= {self._usage.place(_labels(cell)) for cell in usage.cells if cell.priced}
        blind: dict[Labels, frozenset[str]] = {}
        for agent in usage.agents:
            name = _agent_labels(agent)
            blind[name] = blind.get(name, frozenset()) | agent.blind
        yield from self._usage_families(blind)
        yield from self._run_families(blind)
        yield self._states(usage.agents)
        yield from self._source_families(usage.sources)
        yield from self._own()

    def _usage_families(self, blind: Mapping[Labels, frozenset[str]]) -> Iterator[core.Metric]:
        tokens = core.CounterMetricFamily(
            "clawtop_tokens",
            "Tokens by kind; input excludes what was read from or written to the cache.",
            labels=(*_OF_USAGE, "kind"),
        )
        cost = core.CounterMetricFamily("clawtop_cost_usd", "Dollars, of calls with a known price.", labels=_OF_USAGE)
        rest = [_family(counter, _OF_USAGE) for counter in _USAGE]
        for labels, counts in self._usage:
            unseen = blind.get(labels[:2], frozenset())
            if "tokens" not in unseen:
                for kind, count in zip(_KINDS, counts, strict=False):
                    tokens.add_metric((*labels, kind), count)
            if "cost" not in unseen and labels in self._priced:
                cost.add_metric(labels, counts[_COST] / _PICO)
            for counter, family, count in zip(_USAGE, rest, counts[_UNPRICED:], strict=True):
                if counter.seen_as not in unseen:
                    family.add_metric(labels, count)
        return iter((tokens, cost, *rest))

    def _run_families(self, blind: Mapping[Labels, frozenset[str]]) -> Iterator[core.Metric]:
        families = [_family(counter, _OF_RUNS) for counter in _RUNS]
        for labels, counts in self._runs:
            unseen = blind.get(labels[:2], frozenset())
            for counter, family, count in zip(_RUNS, families, counts, strict=True):
                if counter.seen_as not in unseen:
                    family.add_metric(labels, count)
        return iter(families)

    def _states(self, agents: Iterable[AgentUsage]) -> core.Metric:
        family = core.GaugeMetricFamily(
            "clawtop_agent_state",
            "1 for the state an agent is in, 0 for the others.",
            labels=(*_OF_AGENT, "state"),
        )
        states: dict[Labels, State] = {}
        for agent in agents:
            name = _agent_labels(agent)
            states[name] = min(agent.state, states.get(name, State.UNKNOWN), key=_FIRST_TO_TELL.index)
        for name in states:
            if len(self._stated) < self._most:
                self._stated.setdefault(name)
        for name, now in states.items():
            if name in self._stated:
                for state in State:
                    family.add_metric((*name, state.value), float(state is now))
        self._unstated = len(states.keys() - self._stated.keys())
        return family

    def _source_families(self, sources: Iterable[SourceStatus]) -> Iterator[core.Metric]:
        up = core.GaugeMetricFamily("clawtop_source_up", "Whether a source can be read.", labels=("source",))
        skipped = core.CounterMetricFamily(
            "clawtop_source_skipped", "Entries of a source that could not be used.", labels=("source", "reason")
        )
        health: dict[str, bool] = {}
        skips: dict[Labels, int] = {}
        for source in sources:
            uri = _label(source.uri)
            health[uri] = health.get(uri, True) and source.health is not Health.DOWN
            for reason, count in source.skipped.items():
                skips[uri, _label(reason)] = skips.get((uri, _label(reason)), 0) + count
        for uri, is_up in health.items():
            up.add_metric((uri,), float(is_up))
        for labels, count in skips.items():
            skipped.add_metric(labels, self._skips.setdefault(labels, _Skips()).up_to(count))
        return iter((up, skipped))

    def _own(self) -> Iterator[core.Metric]:
        folded = self._usage.left_over + self._runs.left_over + self._unstated
        yield core.GaugeMetricFamily(
            "clawtop_series_folded", f"Label sets beyond --max-series, added up into agent {OTHER}.", folded
        )
        yield core.GaugeMetricFamily(
            "clawtop_start_time_seconds", "When these counters began to be handed out, Unix time.", self._started / 1000
        )
        yield core.InfoMetricFamily("clawtop_build", "The clawtop that hands this out.", {"version": __version__})


_FIRST_TO_TELL = (State.RUNNING, State.ERROR, State.IDLE, State.UNKNOWN)


def once(usage: Usage) -> str:
    """All that was counted, for a single look: without a bound, because nothing comes after it."""
    most = max(1, len(usage.cells) + len(usage.agents))
    return Exposition(most, started=usage.at, stands=0).text(usage).decode()


class _Families(Collector):
    def __init__(self, families: list[core.Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[core.Metric]:
        return self._families


class _Counters:
    """Counts by label set that never go down, for at most `most` sets; the rest is added up under OTHER.

    What the fleet has moved from one set to a coarser one (`coarser` says which) stays where it was handed out. What
    may yet prove to be another set's is handed out once it has stood for a while.
    """

    def __init__(self, most: int, names: Labels, coarser: Callable[[Labels], Labels], stands: int) -> None:
        self._most = most
        self._stands = stands
        self._other: Labels = ("", OTHER, *("",) * (len(names) - 2))
        self._coarser = coarser
        self._before: Mapping[Labels, Counts] = {}
        self._real: dict[Labels, Counts] = {}
        self._shown: dict[Labels, Counts] = {}
        self._kept_back: dict[Labels, deque[tuple[int, Counts]]] = {}
        self.left_over = 0
        """How many sets have no series of their own now."""

    def __iter__(self) -> Iterator[tuple[Labels, Counts]]:
        return iter(self._shown.items())

    def place(self, labels: Labels) -> Labels:
        """Under which labels a set is counted."""
        return labels if labels in self._shown else self._other

    def take(self, now: Mapping[Labels, Counts], provisional: Iterable[Labels], at: int, *, moved: bool) -> None:
        """Take over what is counted at `at` (Unix ms); of the `provisional` sets some may yet move to another one.

        `moved` says that the fleet moved counts since the last time.
        """
        self._admit(now)
        for labels in provisional:
            self._kept_back.setdefault(self.place(labels), deque())
        changes: list[tuple[Labels, Counts]] = []
        for labels in self._before.keys() | now.keys():
            before, after = self._before.get(labels), now.get(labels)
            if before == after:
                continue
            grown = _difference(after, before)
            if moved and min(grown) < 0:
                coarser = self._coarser(labels)
                if coarser in now:
                    changes.append((self.place(coarser), tuple([min(each, 0) for each in grown])))
                grown = tuple([max(each, 0) for each in grown])
            changes.append((self.place(labels), grown))
        # all of them first: what moved has left one set before it has come to the other
        for place, grown in _summed(changes).items():
            self._add(place, grown)
        for place in self._kept_back:
            self._hand_out(place, at)
        self._before = now

    def _admit(self, now: Mapping[Labels, Counts]) -> None:
        new = [labels for labels in now if labels not in self._shown]
        for labels in sorted(new, key=lambda labels: (-sum(now[labels][: len(_KINDS)]), labels)):
            if len(self._shown) - (self._other in self._shown) >= self._most:
                break
            self._shown[labels] = _nothing(now[labels])
        self.left_over = sum(labels not in self._shown for labels in new)

    def _add(self, place: Labels, grown: Counts) -> None:
        known = self._real.get(place)
        real = self._real[place] = grown if known is None else _sum(known, grown)
        shown = self._shown.setdefault(place, _nothing(real))
        if place not in self._kept_back:
            self._shown[place] = tuple(map(max, shown, real))

    def _hand_out(self, place: Labels, at: int) -> None:
        """What has stood for as long as it has to: the least of all looks since then."""
        if place not in self._real:
            return
        looks = self._kept_back[place]
        looks.append((at, self._real[place]))
        while len(looks) > 1 and looks[1][0] <= at - self._stands:
            looks.popleft()
        if looks[0][0] <= at - self._stands:
            least = tuple(map(min, *(counts for _, counts in looks))) if len(looks) > 1 else looks[0][1]
            self._shown[place] = tuple(map(max, self._shown[place], least))


class _Skips:
    """Entries skipped, through the restarts of their source."""

    def __init__(self) -> None:
        self._total = self._last = 0

    def up_to(self, count: int) -> int:
        self._total += count - self._last if count >= self._last else count
        self._last = count
        return self._total


def _family(counter: _Counter, labels: Labels) -> core.CounterMetricFamily:
    return core.CounterMetricFamily(f"clawtop_{counter.name}", counter.about, labels=labels)


def _nothing(counts: Counts) -> Counts:
    return (0,) * len(counts)


def _sum(one: Counts, other: Counts) -> Counts:
    return tuple([a + b for a, b in zip(one, other, strict=True)])


def _difference(after: Counts | None, before: Counts | None) -> Counts:
    """How much more there is than there was; None is nothing."""
    if after is None:
        return tuple([-each for each in before or ()])
    return after if before is None else tuple([b - a for a, b in zip(before, after, strict=True)])


def _summed(counted: Iterable[tuple[Labels, Counts]]) -> dict[Labels, Counts]:
    sums: dict[Labels, Counts] = {}
    for labels, counts in counted:
        known = sums.get(labels)
        sums[labels] = counts if known is None else _sum(known, counts)
    return sums


def _spending(usage: Usage) -> Iterator[CellUsage]:
    """The cells that have to do with a model."""
    return (cell for cell in usage.cells if cell.model is not None or any(_usage_counts(cell)))


def _usage_counts(cell: CellUsage) -> Counts:
    counters = cell.counters
    return (
        *cell.tokens,
        cell.cost,
        counters.unpriced_calls,
        counters.calls,
        counters.errors,
        counters.retries,
        counters.fallbacks,
        counters.failed_turns,
        counters.tool_calls,
    )


def _run_counts(cell: CellUsage) -> Counts:
    counters = cell.counters
    return (
        counters.tool_errors,
        counters.aborts,
        counters.compactions,
        counters.resets,
        counters.unmetered_runs,
    )


def _labels(cell: CellUsage) -> Labels:
    return _label(cell.host), _label(cell.agent), _label(cell.project), _label(cell.user), _label(cell.model)


def _agent_labels(agent: AgentUsage) -> Labels:
    return _label(agent.host), _label(agent.agent)


def _label(text: str | None) -> str:
    return printable(text, _LONGEST_LABEL) if text else ""
