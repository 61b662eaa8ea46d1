"""What all kinds of senders share: series, the pools of their spend, and what was seen already."""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from clawtop.formats.otlp.pools import Detail, Pool
from clawtop.formats.otlp.records import Metric, Point
from clawtop.formats.otlp.senders import Directory, Sender, digest
from clawtop.formats.otlp.series import Growth, SeriesBook
from clawtop.formats.otlp.standing import NOTHING, Amounts, Latencies, Place
from clawtop.model.errors import Unusable
from clawtop.model.events import SOON_MS, Blind, Event
from clawtop.model.keys import UNTAGGED, Key

_MOST_POOLS = 4_000
_MOST_SEEN = 200_000
_MOST_AGENTS = 5_000
_MOST_MUTED = 20_000
_NANO = 1_000_000_000


class PoolKey(NamedTuple):
    """What belongs together: of one `family` of signals, one process, one model.

    `part` sets a session's or an agent's own apart, where the metrics do.
    """

    family: str
    process: str
    part: str
    provider: str
    model: str


@dataclass(slots=True)
class _Export:
    """What one body says about a pool at one moment."""

    place: Place
    since: int
    until: int
    amounts: Amounts = NOTHING
    latencies: Latencies = ()


@dataclass(slots=True)
class _Money:
    """Nano-dollars so far, of which so many micro-dollars were told: no fraction is lost on the way."""

    total: int = 0
    told: int = 0

    def add(self, dollars: float) -> int:
        self.total += round(dollars * _NANO)
        whole = (self.total + 500) // 1000
        told, self.told = whole - self.told, whole
        return told


@dataclass(slots=True)
class Spend:
    """The state behind all events. `now` (Unix ms) is set before each body; `skipped` counts by reason.

    `early` counts what came from the future and was taken for now; `told` are the sessions that another source tells.
    """

    directory: Directory
    now: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    used: int = 0
    early: int = 0
    told: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _series: SeriesBook = field(default_factory=SeriesBook)
    _pools: OrderedDict[PoolKey, Pool] = field(default_factory=OrderedDict)
    _exports: dict[tuple[PoolKey, int, bool], _Export] = field(default_factory=dict)
    _money: dict[tuple[str, str, str, str], _Money] = field(default_factory=dict)
    _seen: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _agents: set[tuple[str, str]] = field(default_factory=set)
    _blind: OrderedDict[Key, tuple[int, frozenset[str]]] = field(default_factory=OrderedDict)
    _metered: OrderedDict[Key, tuple[int, frozenset[str]]] = field(default_factory=OrderedDict)
    _spanned: set[Key] = field(default_factory=set)
    _sighted: set[tuple[str, str]] = field(default_factory=set)
    _muted: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)
    _details: list[tuple[PoolKey, Detail]] = field(default_factory=list)

    def at(self, nanoseconds: int) -> int:
        """Unix milliseconds; what lies more than a minute ahead is taken for now."""
        moment = nanoseconds // 1_000_000
        if moment > self.now + SOON_MS:
            self.early += 1
            return self.now
        return moment

    def fresh(self, *parts: object) -> bool:
        """Whether this was not seen before: senders send again what they got no answer for."""
        name = digest(parts)
        if name in self._seen:
            return False
        self._seen[name] = None
        if len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)
        return True

    def known(self, key: Key) -> Key:
        """The key, under no agent's name where there are more agents than anybody has."""
        if self._keeps(key):
            return key
        self.skipped["more agents than are kept apart"] += 1
        return key._replace(agent=UNTAGGED)

    def _keeps(self, key: Key) -> bool:
        who = (key.host, key.agent)
        if who not in self._agents:
            if len(self._agents) >= _MOST_AGENTS:
                return False
            self._agents.add(who)
        return True

    def tell_elsewhere(self, session: str) -> bool:
        """Note that another source tells this session; False where that is known."""
        if session in self.told:
            return False
        self.told[session] = None
        if len(self.told) > _MOST_SEEN:
            self.told.popitem(last=False)
        return True

    # ---- what cannot be seen

    def blind(self, key: Key, fields: frozenset[str]) -> list[Event]:
        """Say what cannot be seen of an agent; of one of this machine only later, as its own files may tell it."""
        who = Key(key.host, key.agent)
        if not self._keeps(who):
            return []
        self._spanned.add(who)
        _, known = self._blind.get(who, (0, frozenset()))
        if fields <= known or (key.host, key.agent) in self._sighted:
            return []
        at_once = key.host != self.directory.host
        self._blind[who] = 0 if at_once else self.now, known | fields
        return [Blind(who, fields)] if at_once else []

    def metered(self, key: Key, fields: frozenset[str]) -> None:
        """Only metrics told of this agent so far; if it stays so, these cannot be seen of it."""
        if self._keeps(key):
            self._metered.setdefault(Key(key.host, key.agent), (self.now, fields))

    def sighted(self, host: str, agent: str) -> None:
        """Another source tells of this agent in full."""
        self._sighted.add((host, agent))

    def tell_blind(self, before: int) -> list[Event]:
        """What cannot be seen of agents first met before that moment (Unix ms)."""
        found = {who: fields for who, (since, fields) in self._blind.items() if 0 < since <= before}
        self._blind.update({who: (0, fields) for who, fields in found.items()})
        metered = {who: fields for who, (since, fields) in self._metered.items() if 0 < since <= before}
        self._metered.update({who: (0, fields) for who, fields in metered.items()})
        found |= {who: fields for who, fields in metered.items() if who not in self._spanned}
        return [Blind(who, fields) for who, fields in found.items() if (who.host, who.agent) not in self._sighted]

    # ---- metrics

    def grew(self, sender: Sender, scope: str, metric: Metric, point: Point) -> Growth | None:
        """By how much a point's series grew, None where it did not or the point cannot be used."""
        try:
            growth = self._series.grow(sender.process, scope, metric, point)
        except Unusable as reason:
            self.skipped[str(reason)] += 1
            return None
        self.used += 1
        if growth is None:
            return None
        until = self.at(growth.until * 1_000_000)
        return growth._replace(until=until, since=min(growth.since, until), at=min(growth.at, until))

    def money(self, sender: Sender, provider: str, model: str, dollars: float) -> int:
        """Micro-dollars of a sum of dollars; what is rounded off is kept for the next one."""
        key = (sender.host, sender.agent, provider, model)
        if key not in self._money and len(self._money) >= _MOST_POOLS:
            self._money.pop(next(iter(self._money)))
        return self._money.setdefault(key, _Money()).add(dollars)

    def add(self, pool: PoolKey, key: Key, growth: Growth, amounts: Amounts, latencies: Latencies = ()) -> None:
        """Note what a body says of a pool; `flush` tells it."""
        first = growth.at < growth.until
        place = Place(self.known(key), growth.at, pool.provider, pool.model)
        found = self._exports.setdefault((pool, growth.until, first), _Export(place, growth.since, growth.until))
        found.amounts = found.amounts.plus(amounts)
        found.latencies += latencies
        found.since = min(found.since, growth.since)
        if growth.at < found.place.at:
            found.place = found.place._replace(at=growth.at)

    def later(self, details: list[tuple[PoolKey, Detail]]) -> None:
        """Note what a body tells in detail; `flush` sets it against the metrics."""
        self._details += details

    def flush(self) -> Iterator[Event]:
        """The events of a whole body's metrics and details."""
        exports, self._exports = self._exports, {}
        details, self._details = self._details, []
        for pool, detail in details:
            yield from self.explain(pool, detail)
        for (pool, _, _), each in exports.items():
            yield from self.pool(pool).grow(each.place, each.since, each.until, each.amounts, each.latencies)

    # ---- pools

    def pool(self, key: PoolKey) -> Pool:
        """The pool of that name."""
        found = self._pools.get(key)
        if found is None:
            found = self._pools[key] = Pool(digest(key), splits=key.family == "openclaw")
            if self._is_muted(key.family, key.process):
                found.mute()
            if len(self._pools) > _MOST_POOLS:
                self._pools.popitem(last=False)
        else:
            self._pools.move_to_end(key)
        return found

    def explain(self, key: PoolKey, detail: Detail) -> list[Event]:
        """A detail of that pool."""
        return self.pool(key).explain(detail)

    def withdraw(self, details: Iterable[tuple[PoolKey, Detail]]) -> None:
        """These details say again what others say."""
        for key, detail in details:
            self.pool(key).withdraw(detail)

    def mute(self, family: str, process: str) -> list[Event]:
        """Tell no more of what no detail of this process explains, in pools that come as well."""
        if self._is_muted(family, process):
            return []
        self._muted[family, process] = None
        if len(self._muted) > _MOST_MUTED:
            self._muted.popitem(last=False)
        events: list[Event] = []
        for key, pool in self._pools.items():
            if (key.family, key.process) == (family, process):
                events += pool.mute()
        return events

    def _is_muted(self, family: str, process: str) -> bool:
        muted = (family, process) in self._muted
        if muted:
            self._muted.move_to_end((family, process))
        return muted
