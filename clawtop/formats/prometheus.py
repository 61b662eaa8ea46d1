"""The answers of a Prometheus -> events: what its counters grew by, from one look to the next.

A counter that fell has begun again at 0, so all it shows is new; one of `clawtop export` begins again with all of
history, so nothing is new that it told before. The first value of a series counts since the beginning, at no known
time, where its target was not seen before or began anew with it; else it came to be between two looks. Where looks are
hours apart the Prometheus also says what lies between them (see Found): targets come, go and begin again.
"""

from bisect import insort
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

from clawtop.formats.prometheus_answers import Found, number
from clawtop.formats.prometheus_names import (
    ASIDE,
    COST,
    KINDS,
    LATENCY,
    SOURCE,
    START,
    STATE,
    Family,
    Meaning,
    Target,
    meaning_of,
)
from clawtop.model.errors import Unusable
from clawtop.model.events import Blind, Event, Increase, SessionState, State, Tokens
from clawtop.model.keys import Key
from clawtop.model.snapshot import Counters

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
HISTORY_MS = 7 * DAY_MS + HOUR_MS
"""How far back windows reach, and a step more."""
_STEPS = ((HISTORY_MS, HOUR_MS), (25 * HOUR_MS, 60_000), (65 * 60_000, 15_000))
"""(until how long ago, how fine): hours for the days, minutes for the day, seconds for the hour."""
_MICRO = 10**6
_LEAST_COST = 1e-13
_MOST_METERS = 100_000
_MOST_GONE = 200_000
_MOST_LEFT_OUT = 20_000
_MOST_BOUNDS = 200
_COUNTERS = frozenset(field.name for field in fields(Counters)) - {"unpriced_calls"}
_NEVER_TOLD = frozenset({"sessions", "runs", "context_pct"})
_TOGETHER = {
    "tokens": frozenset({"tokens", "tokens_per_min", "input", "output", "cache_read"}),
    "cost": frozenset({"cost", "usd_per_hour"}),
    "calls": frozenset({"calls", "calls_per_min"}),
    LATENCY: frozenset({"latency_p50", "latency_p95"}),
}
"""Names of Row that are not known where a counter is not."""
_COUNTED_AS = {**dict.fromkeys(KINDS, "tokens"), "unpriced_calls": "cost"}
_OF_OPENCLAW = ("openclaw:", "gateway:", "otlp")
_OF_MODELS = ("tokens", "calls")


_Name = tuple[tuple[str, str], ...]
_K = TypeVar("_K")


class Phase(NamedTuple):
    """Looks at `start` + `step`, … up to `end`, Unix ms."""

    start: int
    end: int
    step: int


def phases(since: int, now: int) -> list[Phase]:
    """When to look for what grew between two moments: the longer ago, the less often."""
    found: list[Phase] = []
    ends = [now - until for until, _ in _STEPS[1:]] + [now]
    for (_, step), end in zip(_STEPS, ends, strict=True):
        start = found[-1].end if found else since
        steps = (end - start) // step
        if steps > 0:
            found.append(Phase(start, start + steps * step, step))
    return found


def appearances(found: Iterable[Found], phase: Phase) -> list[int]:
    """The looks of a phase at which a series has a value that has none a step before, in order."""
    began: set[int] = set()
    for one in found:
        known = {at for at, _ in one.points}
        began.update(at for at in known if at > phase.start and at - phase.step not in known)
    return sorted(began)


@dataclass(slots=True)
class _Meter:
    """One series: what it means, its identity, and its last value (a cost in millionths of a micro-dollar)."""

    meaning: Meaning
    mark: str
    last: int | None = None


class _Cell(NamedTuple):
    key: Key
    provider: str
    model: str


class _Growth:
    """What a cell grew by at one moment. `below` says how many calls took at most so many milliseconds.

    `of` are the values that this was read from: what it is called by.
    """

    __slots__ = ("below", "by", "family", "of")

    def __init__(self, family: Family) -> None:
        self.family = family
        self.by: Counter[str] = Counter()
        self.below: Counter[float] = Counter()
        self.of: list[str] = []


class PrometheusReader:
    """What one Prometheus (`server`, its host and port; `url`, the whole address) tells, from one look to the next.

    `skipped` counts by reason what could not be used. Of more series than are kept those are forgotten that were
    longest not seen, and of them only their last values are kept, for when they come back.
    """

    def __init__(self, server: str, url: str = "") -> None:
        self.skipped: Counter[str] = Counter()
        self._left_out: OrderedDict[tuple[Family, Target], None] = OrderedDict()
        self._server = server
        self._url = url or server
        self._meters: OrderedDict[_Name, _Meter | None] = OrderedDict()
        self._gone: OrderedDict[int, int] = OrderedDict()
        self._targets: set[Target] = set()
        self._of_target: Counter[Target] = Counter()
        self._of_agent: Counter[tuple[str, str]] = Counter()
        self._bounds: list[float] = []
        self._priced: Counter[_Cell] = Counter()
        self._paid: dict[tuple[str, str], tuple[int, int]] = {}
        self._told: dict[tuple[str, str], tuple[Family, set[str]]] = {}
        self._blind: set[tuple[str, str]] = set()
        self._states: dict[tuple[str, str], State] = {}

    @property
    def left_out(self) -> AbstractSet[tuple[Family, Target]]:
        """Those that tell of the same spend as others.

        OpenClaw's own counters where a clawtop reads that machine's OpenClaw and tells of the same models, GenAI's
        beside OpenClaw's.
        """
        return self._left_out.keys()

    @property
    def targets(self) -> Mapping[Family, int]:
        """How many targets of each family are counted."""
        return Counter(
            family
            for family, _ in {
                (meter.meaning.family, meter.meaning.target) for meter in self._meters.values() if meter is not None
            }
        )

    def survey(self, found: Iterable[Found]) -> None:
        """See who tells of the same spend, before any of it is counted."""
        meanings = [meaning for one in found if (meaning := meaning_of(one.labels, self._server)) is not None]
        readers = {each.target for each in meanings if each.counts == (SOURCE,) and each.about.startswith(_OF_OPENCLAW)}
        known = {(each.machine, each.full_model) for each in meanings if each.target in readers}
        spending = [each for each in meanings if each.family is Family.OPENCLAW and set(each.counts) & {*KINDS, COST}]
        twice = {each[:2] for each in spending if each.model and (each.machine, each.full_model) in known}
        gateways = {each.target for each in spending}
        twice |= {each[:2] for each in meanings if each.family is Family.GENAI and each.target in gateways}
        for one in twice:
            self._left_out[one] = None
            self._left_out.move_to_end(one)
        while len(self._left_out) > max(_MOST_LEFT_OUT, len(twice)):
            self._left_out.popitem(last=False)

    def take(self, found: Iterable[Found], *, opening: bool = False) -> list[Event]:
        """What grew since the last look; with `opening` all that is there counts since the beginning."""
        metered = [(meter, one) for one in found if (meter := self._meter(one.labels)) and any(one[1:])]
        begun = self._begun(metered)
        grown: dict[tuple[_Cell, int], _Growth] = {}
        for meter, one in metered:
            meaning = meter.meaning
            if meaning.counts[0] in ASIDE:
                continue
            cell = _cell(meaning)
            since = begun.get(meaning.target, ())
            for at, more, new in self._steps(meter, one):
                if more:
                    when = 0 if new and (opening or at in since) else at
                    growth = grown.get((cell, when))
                    if growth is None:
                        growth = grown[cell, when] = _Growth(meaning.family)
                    growth.of.append(f"{meter.mark} {at} {meter.last}")
                    _add(growth, meaning, more)
        events: list[Event] = [self._increase(cell, when, growth) for (cell, when), growth in grown.items()]
        self._forget()
        return events

    def states(self, found: Iterable[Found], at: int) -> list[Event]:
        """The states of agents that changed, where all that is known now was found; who is gone is unknown."""
        now: dict[tuple[str, str], State] = {}
        for one in found:
            if not one.points or one.points[-1][1] != "1":
                continue
            meter = self._meter(one.labels)
            if meter is not None and meter.meaning.counts == (STATE,) and meter.meaning.about in _STATES:
                now[meter.meaning.key[:2]] = State(meter.meaning.about)
        gone = dict.fromkeys(self._states.keys() - now.keys(), State.UNKNOWN)
        events = self._changed({**gone, **now}, at)
        self._forget()
        return events

    def lost(self, at: int) -> list[Event]:
        """Nobody knows any more what agents do."""
        return self._changed(dict.fromkeys(self._states, State.UNKNOWN), at)

    def blinds(self) -> list[Event]:
        """What cannot be known of agents that were met since the last time; all their series have been found."""
        events: list[Event] = []
        for agent, (family, told) in self._told.items():
            if agent in self._blind or (family is Family.CLAWTOP and told.isdisjoint(_OF_MODELS)):
                continue
            self._blind.add(agent)
            unseen = {name for counter in (*_COUNTERS, *_TOGETHER) if counter not in told for name in _names(counter)}
            events.append(Blind(Key(*agent), frozenset(unseen) | _NEVER_TOLD))
        return events

    def _changed(self, states: Mapping[tuple[str, str], State], at: int) -> list[Event]:
        changed = {agent: state for agent, state in states.items() if self._states.get(agent) is not state}
        self._states.update(changed)
        return [SessionState(Key(*agent), at, state) for agent, state in changed.items()]

    def _meter(self, labels: Mapping[str, str]) -> _Meter | None:
        name = tuple(sorted(labels.items()))
        if name in self._meters:
            self._meters.move_to_end(name)
            return self._meters[name]
        meter = self._meters[name] = self._new(labels, _digest(name))
        if meter is not None:
            meter.last = self._gone.pop(hash(name), None)
        return meter

    def _forget(self) -> None:
        """Make room, after a look: no meter of this one is forgotten before it has its new value."""
        while len(self._meters) > _MOST_METERS:
            name, meter = self._meters.popitem(last=False)
            if meter is None:
                continue
            meaning = meter.meaning
            if meter.last is not None:
                self._gone[hash(name)] = meter.last
            if _dropped(self._of_target, meaning.target):
                self._targets.discard(meaning.target)
            if COST in meaning.counts:
                _dropped(self._priced, _cell(meaning))
            agent = meaning.key[:2]
            if _dropped(self._of_agent, agent):
                self._told.pop(agent, None)
                self._paid.pop(agent, None)
                self._states.pop(agent, None)
                self._blind.discard(agent)
        while len(self._gone) > _MOST_GONE:
            self._gone.popitem(last=False)

    def _new(self, labels: Mapping[str, str], mark: str) -> _Meter | None:
        meaning = meaning_of(labels, self._server)
        if meaning is None or meaning[:2] in self._left_out:
            return None
        if meaning.counts == (LATENCY,) and meaning.bound not in self._bounds:
            if len(self._bounds) >= _MOST_BOUNDS:
                self.skipped["a histogram has more buckets than are kept apart"] += 1
                return None
            insort(self._bounds, meaning.bound)
        self._of_target[meaning.target] += 1
        self._of_agent[meaning.key[:2]] += 1
        if COST in meaning.counts:
            self._priced[_cell(meaning)] += 1
        if meaning.counts[0] not in ASIDE:
            told = self._told.setdefault(meaning.key[:2], (meaning.family, set()))[1]
            told |= {_COUNTED_AS.get(each, each) for each in meaning.counts}
            if "tokens" in told and meaning.family is not Family.CLAWTOP:
                told.add("cost")  # at least their list price
        return _Meter(meaning, mark)

    def _begun(self, metered: Sequence[tuple[_Meter, Found]]) -> dict[Target, set[int]]:
        """The looks at which a target was first seen, or had begun anew."""
        begun: dict[Target, set[int]] = {}
        first: dict[Target, int] = {}
        for meter, one in metered:
            target = meter.meaning.target
            if meter.meaning.counts == (START,):
                begun.setdefault(target, set()).update(at for at, text in one.points if self._grown(meter, text)[0])
            if target not in self._targets:
                at = min(points[0][0] for points in one[1:] if points)
                first[target] = min(at, first.get(target, at))
        for target, at in first.items():
            begun.setdefault(target, set()).add(at)
        self._targets |= first.keys()
        return begun

    def _steps(self, meter: _Meter, found: Found) -> Iterator[tuple[int, int, bool]]:
        """(when, what a series grew by, whether it was never seen before), step by step."""
        if not found.least and not found.grown:
            for at, text in found.points:
                yield at, *self._grown(meter, text)
            return
        points, least, grown = (dict(each) for each in found[1:])
        for at in sorted(points.keys() | least.keys() | grown.keys()):
            before = meter.last
            if at in grown:
                more = self._value(meter, grown[at])
                meter.last = self._value(meter, points[at], before) if at in points else before
                yield at, more or 0, False
                continue
            if at in least and (before is None or meter.meaning.family is not Family.CLAWTOP):
                yield at, *self._grown(meter, least[at])
            if at in points:
                yield at, *self._grown(meter, points[at])

    def _value(self, meter: _Meter, text: str, otherwise: int | None = None) -> int | None:
        try:
            return _pico(text) if COST in meter.meaning.counts else round(number(text))
        except Unusable as why:
            self.skipped[str(why)] += 1
            return otherwise

    def _grown(self, meter: _Meter, text: str) -> tuple[int, bool]:
        """(what a series grew by, whether it was never seen before)."""
        value = self._value(meter, text)
        if value is None:
            return 0, False
        last, meter.last = meter.last, value
        if last is None:
            return value, True
        if value < last:
            return 0 if meter.meaning.family is Family.CLAWTOP else value, False
        return value - last, False

    def _increase(self, cell: _Cell, at: int, growth: _Growth) -> Increase:
        by = growth.by
        tokens = Tokens(*(by.pop(kind, 0) for kind in KINDS))
        cost: int | None = self._micro_dollars(cell.key, by.pop(COST, 0))
        if growth.family is not Family.CLAWTOP and cell not in self._priced:
            cost = None
        counts: dict[str, Any] = dict(by)
        return Increase(
            cell.key,
            at,
            _digest((self._url, *growth.of)),
            cell.provider,
            cell.model,
            tokens,
            cost,
            latencies=self._latencies(growth.below),
            **counts,
        )

    def _micro_dollars(self, key: Key, pico: int) -> int:
        """Whole micro-dollars; what is left over is kept, so that an agent's sum is right to the last one."""
        told, paid = self._paid.get(key[:2], (0, 0))
        told += pico
        due = (told + _MICRO // 2) // _MICRO
        self._paid[key[:2]] = told, due
        return due - paid

    def _latencies(self, below: Mapping[float, int]) -> tuple[tuple[int, int], ...]:
        """(milliseconds, how many): each bucket's calls in its middle, those beyond all bounds at the last one."""
        found: list[tuple[int, int]] = []
        lower, counted = 0.0, 0
        for bound in self._bounds if below else ():
            count = below.get(bound, counted) - counted
            if count > 0:
                middle = lower if bound == float("inf") else (lower + bound) / 2
                found.append((round(middle), count))
                counted += count
            lower = bound
        return tuple(found)


def _digest(parts: Iterable[object]) -> str:
    """A short name for all these parts together."""
    return blake2b("\0".join(map(str, parts)).encode("utf-8", "replace"), digest_size=12).hexdigest()


_STATES = frozenset(state.value for state in State)


def _cell(meaning: Meaning) -> _Cell:
    return _Cell(meaning.key, meaning.provider, meaning.model)


def _dropped(counts: Counter[_K], key: _K) -> bool:
    """Count one less; whether that was the last."""
    counts[key] -= 1
    if counts[key] > 0:
        return False
    del counts[key]
    return True


def _names(counter: str) -> frozenset[str]:
    return _TOGETHER.get(counter, frozenset({counter}))


def _add(growth: _Growth, meaning: Meaning, more: int) -> None:
    if meaning.counts == (LATENCY,):
        growth.below[meaning.bound] += more
        return
    for name in meaning.counts:
        growth.by[name] += more


def _pico(text: str) -> int:
    about = number(text)
    if about < _LEAST_COST:
        return 0  # also what is too small for a Decimal
    return int(Decimal(text).scaleb(12).to_integral_value())
