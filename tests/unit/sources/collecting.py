"""An outlet that keeps what a source puts into it, and lets a test wait for that."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from clawtop.model.events import Event
from clawtop.model.snapshot import SourceStatus

_E = TypeVar("_E")


class CollectingOutlet:
    """Batches, statuses and a clock that stands still unless the test moves it."""

    def __init__(self, at: int = 1_795_262_400_000) -> None:
        self.at = at
        self.batches: list[list[Event]] = []
        self.statuses: list[SourceStatus] = []
        self._news = asyncio.Event()

    async def put(self, events: Sequence[Event]) -> None:
        self.batches.append(list(events))
        self._news.set()
        await asyncio.sleep(0)

    def report(self, status: SourceStatus) -> None:
        self.statuses.append(status)
        self._news.set()

    def now(self) -> int:
        return self.at

    @property
    def events(self) -> list[Event]:
        return [event for batch in self.batches for event in batch]

    def of(self, kind: type[_E]) -> list[_E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a put or report after which the condition holds; fails after 10 s."""
        async with asyncio.timeout(10):
            while not condition():
                self._news.clear()
                await self._news.wait()
