"""An outlet that remembers what a source put, and lets a test wait for something to come."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from clawtop.model.errors import SourceError
from clawtop.model.events import Event
from clawtop.model.snapshot import Health, SourceStatus
from clawtop.sources import Source

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


@contextlib.asynccontextmanager
async def followed(source: Source, now: int) -> AsyncIterator[Remembered]:
    """What a running source puts, once it has read what was there; `now` is the test's time in Unix milliseconds."""
    outlet = Remembered(lambda: now)
    task = asyncio.create_task(source.run(outlet, follow=True))
    try:
        await outlet.until(lambda so_far: so_far.status is not None and so_far.status.health is Health.OK)
        yield outlet
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, SourceError):
            await task


async def once(source: Source, now: int) -> Remembered:
    """What a source puts that does not follow. Raises SourceError as the source does."""
    outlet = Remembered(lambda: now)
    await source.run(outlet, follow=False)
    return outlet
