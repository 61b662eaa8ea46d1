"""A Prometheus as a source: what a fleet's counters grew by, back to the beginning of the longest window, then live."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from clawtop.formats.prometheus import HISTORY_MS, HOUR_MS, Phase, PrometheusReader, appearances, phases
from clawtop.formats.prometheus_answers import Found, joined, number
from clawtop.formats.prometheus_names import Family, counts_for, is_known
from clawtop.model.errors import SourceError, Unusable
from clawtop.model.events import Event
from clawtop.model.snapshot import Health, SourceStatus
from clawtop.sources import Outlet
from clawtop.sources.prometheus_api import MOST_SERIES, Address, Api, TooMuch, connect

_PATTERN = "clawtop_.+|openclaw_.+|gen_ai_.+"
_POLL_SECONDS = 3.0
_LONGEST_POLL_SECONDS = 60.0
_SHARE = 20
"""A look may take one part in so many of the time between two."""
_NAMES_SECONDS = 60.0
_MOST_POINTS = 100_000
_BATCH = 1000


class PrometheusSource:
    """All `clawtop_*`, `openclaw_*` and `gen_ai_*` series of one Prometheus.

    History is asked for by what changed from one step to the next, so that idle counters cost nothing; where steps are
    hours, by the last values of each and what lies between them, as targets come, go and begin again. What was missed
    while it could not be reached is fetched when it can be again.
    """

    def __init__(self, address: Address, *, poll: float = _POLL_SECONDS) -> None:
        """`poll` is seconds between two looks."""
        self._address = address
        self._poll = poll
        self._reader = PrometheusReader(address.where, address.url)
        self._names: tuple[str, ...] = ()
        self._until: int | None = None
        self._entries = self._bytes = self._left_out = self._unusable = 0

    @property
    def uri(self) -> str:
        """`prometheus:URL`, without credentials."""
        return f"prometheus:{self._address.url}"

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        """See Source."""
        async with connect(self._address) as api:
            outlet.report(self._status(api, Health.READING))
            try:
                await self._catch_up(api, outlet)
                await self._look(api, outlet)
                while follow:
                    await self._follow(api, outlet)
                    await self._catch_up(api, outlet)
            except SourceError:
                await outlet.put(self._reader.lost(outlet.now()))
                raise
            finally:
                self._bytes, self._unusable = self._bytes + api.bytes, self._unusable + api.unusable
                api.bytes = api.unusable = 0

    async def _catch_up(self, api: Api, outlet: Outlet) -> None:
        """Read what happened since the last time, or since the longest window began."""
        await self._learn_names(api, outlet.now())
        if not self._names:
            return
        newest = await self._newest(api)
        self._reader.survey(newest)
        if self._left_out:
            return  # of what is left out at one moment there is no telling at the next
        now = _moment(newest) or outlet.now()
        if self._until is None:
            opening = await api.query(_latest(_any_of(self._names), HOUR_MS), now - HISTORY_MS)
            await self._put(outlet, self._reader.take(opening.found, opening=True))
            self._until = now - HISTORY_MS
        for phase in phases(self._until, now):
            await self._read(api, outlet, phase)

    async def _follow(self, api: Api, outlet: Outlet) -> None:
        """Look again and again, until it is time to see whether there are new names."""
        clock = asyncio.get_running_loop().time
        due = clock() + (_NAMES_SECONDS if self._names else self._poll)
        took = 0.0
        while clock() < due:
            await asyncio.sleep(min(max(self._poll, took * _SHARE), _LONGEST_POLL_SECONDS))
            began = clock()
            await self._look(api, outlet)
            took = clock() - began

    async def _learn_names(self, api: Api, now: int) -> None:
        names = await api.names(_PATTERN, now - HISTORY_MS)
        self._names = tuple(sorted(name for name in set(names) if is_known(name)))
        if self._names:
            sizes = await api.query(f"count by (__name__) ({_any_of(self._names)})")
            there = sum(self._size(text) for one in sizes.found for _, text in one.points)
            self._left_out = max(0, there - MOST_SERIES)

    def _size(self, text: str) -> int:
        try:
            return int(number(text))
        except Unusable:
            self._reader.skipped["the number of series of a name is no number"] += 1
            return 0

    async def _newest(self, api: Api) -> list[Found]:
        """The series as they are now; of too many the largest of each name."""
        if not self._left_out:
            return (await api.query(_any_of(self._names))).found
        share = MOST_SERIES // len(self._names)
        return [found for name in self._names for found in (await api.query(f"topk({share}, {name})")).found]

    async def _look(self, api: Api, outlet: Outlet) -> None:
        """Take in what is new, and the states."""
        newest = await self._newest(api) if self._names else []
        self._entries += len(newest)
        now = _moment(newest) or outlet.now()
        reader = self._reader
        grown = reader.take(newest, opening=bool(self._left_out))
        await self._put(outlet, [*grown, *reader.states(newest, now), *reader.blinds()])
        if self._names:
            self._until = now
        outlet.report(self._status(api, Health.OK))

    async def _read(self, api: Api, outlet: Outlet, phase: Phase) -> None:
        """Read what changed in a phase, in halves where that is too much at once."""
        try:
            found = await self._changes(api, phase)
        except TooMuch:
            steps = (phase.end - phase.start) // phase.step
            if steps == 1:
                raise
            middle = phase.start + steps // 2 * phase.step
            await self._read(api, outlet, Phase(phase.start, middle, phase.step))
            await self._read(api, outlet, Phase(middle, phase.end, phase.step))
            return
        await self._put(outlet, self._reader.take(found))
        self._until = phase.end
        outlet.report(self._status(api, Health.READING))

    async def _changes(self, api: Api, phase: Phase) -> list[Found]:
        """The values of all names at those looks at which they were not what they had been a step before."""
        found: list[Found] = []
        points = 0
        for name in self._names:
            fresh = await (self._between if phase.step >= HOUR_MS else self._changed)(api, name, phase)
            points += sum(len(each) for one in fresh for each in one[1:])
            if points > _MOST_POINTS:
                raise TooMuch(f"{self._address.where} has more than {_MOST_POINTS:,} changes within a step")
            found += fresh
        self._entries += points
        return found

    async def _changed(self, api: Api, name: str, phase: Phase) -> list[Found]:
        before = f"{name} offset {phase.step // 1000}s"
        return (await api.query_range(f"({name} != ({before})) or ({name} unless ({before}))", phase)).found

    async def _between(self, api: Api, name: str, phase: Phase) -> list[Found]:
        """The last values of each step, also of what is at no look, and what lies between where counters began."""
        step = phase.step
        latest = (await api.query_range(_latest(name, step), phase._replace(start=phase.start - step))).found
        family = counts_for(name)
        if family is None:
            return joined(name, latest, (), ())
        window = f"{name}[{step // 1000}s]"
        least: list[Found] = []
        began = appearances(latest, phase)
        if began:
            first = phase._replace(start=began[0] - step, end=began[-1])
            least = (await api.query_range(f"min_over_time({window})", first)).found
        if family is Family.CLAWTOP:
            return joined(name, latest, least, ())  # where it begins again it tells all that it had told
        # a counter may also have fallen from the last value before the window to the first one in it
        fallen = await api.query_range(f"increase({window}) and (resets({name}[{2 * step // 1000}s]) > 0)", phase)
        return joined(name, latest, least, fallen.found)

    async def _put(self, outlet: Outlet, events: Sequence[Event]) -> None:
        for start in range(0, len(events), _BATCH):
            await outlet.put(events[start : start + _BATCH])

    def _status(self, api: Api, health: Health) -> SourceStatus:
        skipped = Counter(self._reader.skipped)
        if self._unusable + api.unusable:
            skipped["a series is not as it should be"] = self._unusable + api.unusable
        return SourceStatus(
            self.uri,
            health,
            self._detail(),
            entries=self._entries,
            skipped=dict(skipped),
            bytes=self._bytes + api.bytes,
        )

    def _detail(self) -> str:
        if not self._names:
            told = ["no clawtop_*, openclaw_* or gen_ai_* series so far"]
        else:
            targets = self._reader.targets
            told = [", ".join(f"{family}_* of {_targets(targets[family])}" for family in Family if targets.get(family))]
        if self._left_out:
            told.append(
                f"{self._left_out:,} of {self._left_out + MOST_SERIES:,} series left out, and all history: "
                "only the largest of each name are read"
            )
        if self._reader.left_out:
            twice = sorted(f"{family}_* of {instance or job}" for family, (job, instance) in self._reader.left_out)
            more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
            told.append(f"{twice[0]}{more} left out, which others tell too")
        return "; ".join(filter(None, (*told, *self._address.warnings)))


def _moment(found: Sequence[Found]) -> int | None:
    """When the Prometheus, by its own clock, looked at what it found."""
    return next((one.points[-1][0] for one in found if one.points), None)


def _any_of(names: Sequence[str]) -> str:
    return f'{{__name__=~"{"|".join(names)}"}}'


def _latest(series: str, length: int) -> str:
    """The last values within so many milliseconds, also of what is gone at their end."""
    return f"last_over_time({series}[{length // 1000}s])"


def _targets(count: int) -> str:
    return "1 target" if count == 1 else f"{count} targets"
