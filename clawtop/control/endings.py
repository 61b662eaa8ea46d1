"""What a gateway tells of runs that were cut off: some end a while after they are not active any more.

2026.6 still asks the model for a summary within that time, which no abort reaches.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from clawtop.gateway.protocol import GatewayEvent


class Endings:
    """Follows the runs of the sessions that `ours` says yes to."""

    def __init__(self, ours: Callable[[str], bool]) -> None:
        self._ours = ours
        self._closing: dict[str, str] = {}
        self._calls: dict[str, float] = {}
        self._news = asyncio.Event()

    async def listen(self, events: AsyncIterator[GatewayEvent]) -> None:
        """Take in events until they end. Raises ConnectionLost when the gateway is gone."""
        async for event in events:
            self.take(event)

    def take(self, event: GatewayEvent) -> None:
        """Learn from an event whether a run is being closed, has ended, or has had an answer of a model."""
        payload = event.payload
        key = payload.get("sessionKey")
        if not isinstance(key, str) or not self._ours(key):
            return
        if event.event == "agent" and payload.get("stream") == "lifecycle":
            self._phase(key, payload.get("runId"), payload.get("data"))
        elif event.event == "session.message" and _spent(payload.get("message")):
            self._calls[key] = time.monotonic()

    async def closed(self, until: float) -> list[str]:
        """Wait for the runs that are being closed, until the monotonic time `until`; the sessions of those left."""
        while self._closing and (left := until - time.monotonic()) > 0:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                break
        return sorted(set(self._closing.values()))

    def called_since(self, moment: float) -> list[str]:
        """The sessions to which a model's answer came after this monotonic time."""
        return sorted(key for key, at in self._calls.items() if at > moment)

    def _phase(self, key: str, run: object, data: object) -> None:
        if not isinstance(run, str) or not isinstance(data, dict):
            return
        phase = data.get("phase")
        if phase == "finishing" and data.get("aborted") is True:
            self._closing[run] = key
        elif phase in ("end", "error"):
            self._closing.pop(run, None)
            self._news.set()


def _spent(message: object) -> bool:
    usage = message.get("usage") if isinstance(message, dict) and message.get("role") == "assistant" else None
    if not isinstance(usage, dict):
        return False
    return any(isinstance(usage.get(name), int) and usage[name] > 0 for name in ("input", "output", "cacheRead"))
