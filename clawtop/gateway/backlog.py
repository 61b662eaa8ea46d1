"""Events that wait to be read, in bounded memory."""

import asyncio
from collections import deque

from clawtop.gateway.protocol import GAP, GatewayEvent

MOST_EVENTS = 5000
MOST_BYTES = 96 << 20


class Backlog:
    """What came and was not read yet. Beyond its bounds it drops what is droppable, oldest first.

    Where only weighty events are left, the oldest of them goes, and the reader is told so by a GAP.
    """

    def __init__(self, most: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self.missed = 0
        """Events other than droppable ones that nobody read; each of these was told by a GAP."""
        self._most = most
        self._most_bytes = most_bytes
        self._waiting: deque[tuple[GatewayEvent, int]] = deque()
        self._bytes = 0
        self._untold = 0
        self._news = asyncio.Event()
        self._end: Exception | None = None
        self._ended = False

    def put(self, event: GatewayEvent, size: int) -> None:
        """Keep an event that came in a frame of `size` bytes."""
        self._waiting.append((event, size))
        self._bytes += size
        # the one that just came stays, however large it is
        while len(self._waiting) > 1 and (len(self._waiting) > self._most or self._bytes > self._most_bytes):
            self._drop()
        self._news.set()

    def end(self, why: Exception | None) -> None:
        """No more will come: what waits is still read, then `why` is raised, or with None the end is silent."""
        if not self._ended:
            self._end, self._ended = why, True
        self._news.set()

    async def get(self) -> GatewayEvent | None:
        """The next event, None at the end."""
        while True:
            if self._untold:
                missed, self._untold = self._untold, 0
                return GatewayEvent(GAP, {"missed": missed})
            if self._waiting:
                event, size = self._waiting.popleft()
                self._bytes -= size
                return event
            if self._ended:
                if self._end is not None:
                    raise self._end
                return None
            self._news.clear()
            await self._news.wait()

    def _drop(self) -> None:
        place = next((i for i, (event, _) in enumerate(self._waiting) if event.droppable), None)
        if place is None:
            place = 0
            self.missed += 1
            self._untold += 1
        self._bytes -= self._waiting[place][1]
        del self._waiting[place]
