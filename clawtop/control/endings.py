"""What a gateway tells of runs that were cut off: some end a while after they are not active any more.

Observed: an abort is answered by `end` with status cancelled, then come `finishing` and the real `end` or `error`; on
2026.9.6 within 0.1 s, on 2026.6.35 up to 30 s later, in which time it may ask the model for a summary that no abort
reaches.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from clawtop.gateway.protocol import GatewayEvent

_CLOSING_SECONDS = 45.0
"""2026.6 gives a run that was cut off half a minute until it takes it for ended."""


@dataclass(frozen=True, slots=True)
class _Closing:
    """A run that has not ended; it is not waited for after the monotonic time `until`.

    One that was only announced to have been cancelled is then believed to have ended.
    """

    key: str
    until: float
    finishing: bool


class Endings:
    """Follows the runs of the sessions that `ours` says yes to."""

    def __init__(self, ours: Callable[[str], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._ours = ours
        self._clock = clock
        self._closing: dict[str, _Closing] = {}
        self._calls: dict[str, float] = {}
        self._news = asyncio.Event()

    async def listen(self, events: AsyncIterator[GatewayEvent]) -> None:
        """Take in events until they end. Raises ConnectionLost when the gateway is gone."""
        async for event in events:
            self.take(event)

    def take(self, event: GatewayEvent) -> None:
        """Learn from an event whether a run is being closed, has ended, or has had an answer of a model."""
        payload = event.payload
        key, run, data = payload.get("sessionKey"), payload.get("runId"), payload.get("data")
        if event.event == "agent" and payload.get("stream") == "lifecycle":
            if isinstance(run, str) and isinstance(data, dict):
                self._phase(key, run, data)
        elif event.event == "session.message" and self._is_ours(key) and _spent(payload.get("message")):
            self._calls[key] = self._clock()

    @property
    def closing(self) -> list[str]:
        """The sessions of the runs that are being closed."""
        return sorted({each.key for each in self._closing.values()})

    async def closed(self) -> list[str]:
        """Wait for the runs that are being closed; the sessions of those that do not end in time."""
        while waited := [each.until for each in self._closing.values() if each.until > self._clock()]:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(waited) - self._clock())
        return sorted({each.key for each in self._closing.values() if each.finishing})

    def called_since(self, moment: float) -> list[str]:
        """The sessions to which a model's answer came after this monotonic time."""
        return sorted(key for key, at in self._calls.items() if at > moment)

    def _is_ours(self, key: object) -> TypeGuard[str]:
        return isinstance(key, str) and self._ours(key)

    def _phase(self, key: object, run: str, data: Mapping[str, object]) -> None:
        phase, aborted = data.get("phase"), data.get("aborted") is True
        announced = phase == "end" and data.get("status") == "cancelled" and not data.get("executionSettled")
        finishing = phase == "finishing" and aborted
        if announced or finishing:
            if self._is_ours(key):
                self._closing[run] = _Closing(key, self._clock() + _CLOSING_SECONDS, finishing)
        elif phase in ("end", "error"):
            # on 2026.6 the last one names no session
            self._closing.pop(run, None)
        self._news.set()


def _spent(message: object) -> bool:
    usage = message.get("usage") if isinstance(message, dict) and message.get("role") == "assistant" else None
    if not isinstance(usage, dict):
        return False
    return any(isinstance(usage.get(name), int) and usage[name] > 0 for name in ("input", "output", "cacheRead"))
