"""A simulated fleet, for a first look, screenshots and tests: nothing of it is real, and its status says so."""

import asyncio
from itertools import islice
from urllib.parse import parse_qsl

from clawtop.model.errors import UsageError
from clawtop.model.snapshot import Health, SourceStatus
from clawtop.sources import Outlet
from clawtop.sources.demo_cast import ROLES
from clawtop.sources.demo_fleet import DemoFleet

MOST_AGENTS = 5000

_TICK_SECONDS = 0.25
_BATCH = 2000


class DemoSource:
    """`demo:?seed=7&speed=20&agents=500`; what the URI says goes before the arguments.

    A day of history, then live: simulated time runs `speed` times as fast as the clock. One agent begins to spend far
    more than all others after a minute. Raises UsageError for a URI that makes no sense.
    """

    def __init__(self, uri: str = "demo:", seed: int = 7, speed: float = 1.0, *, agents: int = len(ROLES)) -> None:
        self._uri = uri
        self._seed, self._speed, self._agents = seed, speed, agents
        for name, value in parse_qsl(uri.partition("?")[2], keep_blank_values=True):
            self._set(name, value)
        if not 0 < self._speed <= 1000:
            raise UsageError(f"{uri}: speed is above 0 and at most 1000, e.g. demo:?speed=20")
        if not 1 <= self._agents <= MOST_AGENTS:
            raise UsageError(f"{uri}: agents is 1 to {MOST_AGENTS}, e.g. demo:?agents=500")

    def _set(self, name: str, value: str) -> None:
        try:
            match name:
                case "seed":
                    self._seed = int(value)
                case "speed":
                    self._speed = float(value)
                case "agents":
                    self._agents = int(value)
                case _:
                    raise UsageError(f"{self._uri}: {name!r} is none of seed, speed, agents")
        except ValueError:
            raise UsageError(f"{self._uri}: {name} needs a number, e.g. demo:?seed=7&speed=20&agents=500") from None

    @property
    def uri(self) -> str:
        """`demo:` and its parameters."""
        return self._uri

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        """See Source."""
        outlet.report(self._status(Health.READING, 0))
        fleet = DemoFleet(self._seed, agents=self._agents, speed=self._speed)
        entries = 0
        history = fleet.history(outlet.now())
        while batch := list(islice(history, _BATCH)):
            await outlet.put(batch)
            entries += len(batch)
        outlet.report(self._status(Health.OK, entries))
        while follow:
            await asyncio.sleep(_TICK_SECONDS)
            events = fleet.step(outlet.now())
            if events:
                await outlet.put(events)
                entries += len(events)
                outlet.report(self._status(Health.OK, entries))

    def _status(self, health: Health, entries: int) -> SourceStatus:
        detail = f"simulated: {self._agents} made-up agents, seed {self._seed}"
        return SourceStatus(self._uri, health, detail, entries=entries, demo=True)
