"""An outlet that remembers what a source put, and lets a test wait for something to come."""

import asyncio
from collections.abc import Callable, Sequence

from clawtop.model.events import Event
from clawtop.model.snapshot import SourceStatus

PATIENCE_SECONDS = 20


class Remembered:
    """What came so far; `until` waits for events, never for time."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.events: list[Event] = []
        self.status: SourceStatus | None = None
        self.statuses: list[SourceStatus] = []
        self._now = now
        self._news = asyncio.Event()

    async def put(self, events: Sequence[Event]) -> None:
        """Remember the events."""
        self.events += events
        self._news.set()
        await asyncio.sleep(0)

    def report(self, status: SourceStatus) -> None:
        """Remember the status."""
        self.status = status
        self.statuses.append(status)
        self._news.set()

    def now(self) -> int:
        """The test's time."""
        return self._now()

    async def until(self, happened: Callable[["Remembered"], bool]) -> None:
        """Return once `happened` is true of what came; fails after 20 s."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not happened(self):
                self._news.clear()
                await self._news.wait()
