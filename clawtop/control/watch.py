"""Keeping holds: as long as it runs, whatever starts in a held agent of one gateway is cut off again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Collection
from typing import Protocol

from clawtop.control.gateway import ACT, GatewayControl
from clawtop.control.pausing import beside
from clawtop.control.stopping import Item, Stopping
from clawtop.formats.session_keys import read_session_key
from clawtop.gateway.errors import GatewayError
from clawtop.gateway.protocol import GatewayEvent

_LOOK_SECONDS = 2.0
_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 30.0
_STARTS = frozenset({"start", "send", "steer", "agent.run.started"})


class Listener(Protocol):
    """Who is told what a watch sees."""

    def stopped_again(self, control: GatewayControl, agent: str, what: str) -> None:
        """Something started in a held agent and was cut off."""

    def lost(self, control: GatewayControl, agents: Collection[str], why: str) -> None:
        """The gateway cannot be watched at the moment."""

    def found_again(self, control: GatewayControl, agents: Collection[str]) -> None:
        """The gateway is watched again after it was lost."""


class Watch:
    """Watches some agents of one gateway with a connection of its own."""

    def __init__(self, control: GatewayControl, listener: Listener) -> None:
        self._control = control
        self._listener = listener
        self._agents: set[str] = set()
        self._changed = asyncio.Event()

    @property
    def agents(self) -> frozenset[str]:
        """The agents that are kept still."""
        return frozenset(self._agents)

    def keep(self, agents: Collection[str]) -> None:
        """Keep these agents still from now on, and no others."""
        if set(agents) != self._agents:
            self._agents = set(agents)
            self._changed.set()

    async def run(self) -> None:
        """Watch until cancelled; a gateway that is gone is tried again with growing waits."""
        wait, lost = _FIRST_WAIT_SECONDS, False
        while True:
            try:
                async with self._control.operator(ACT) as operator:
                    if not operator.can("sessions.abort"):
                        return
                    await operator.subscribe()
                    if lost:
                        self._listener.found_again(self._control, self.agents)
                    wait, lost = _FIRST_WAIT_SECONDS, False
                    while True:
                        self._changed.clear()
                        stopping = Stopping(
                            operator, sorted(self._agents), (), cut=self._cut, held=self._control.is_held
                        )
                        events = operator.gateway.events()
                        await beside(
                            self._changed.wait(), _both(stopping.run(_LOOK_SECONDS), _strike(stopping, events))
                        )
            except GatewayError as error:
                lost = True
                self._listener.lost(self._control, self.agents, str(error))
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    def _cut(self, agent: str, item: Item) -> None:
        self._listener.stopped_again(self._control, agent, item.label)


async def _both(first: Awaitable[None], second: Awaitable[None]) -> None:
    await beside(first, second)


async def _strike(stopping: Stopping, events: AsyncIterator[GatewayEvent]) -> None:
    async for event in events:
        key = begun(event)
        if key is not None:
            stopping.strike_session(key, read_session_key(key).agent)


def begun(event: GatewayEvent) -> str | None:
    """The key of the session in which this event tells of something that begins, None for any other event."""
    payload = event.payload
    key = payload.get("sessionKey") or payload.get("key")
    if not isinstance(key, str):
        return None
    data, message = payload.get("data"), payload.get("message")
    match event.event:
        case "agent":
            starts = payload.get("stream") == "lifecycle" and isinstance(data, dict) and data.get("phase") == "start"
        case "sessions.changed":
            starts = payload.get("phase") in _STARTS or payload.get("reason") in _STARTS
        case "session.message":
            starts = isinstance(message, dict) and message.get("role") == "user"
        case _:
            starts = False
    return key if starts else None
