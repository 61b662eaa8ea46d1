"""Events that wait: bounded, droppable ones first, nothing of weight without a word."""

import asyncio

import pytest

from clawtop.gateway.backlog import Backlog
from clawtop.gateway.protocol import GAP, GatewayEvent

TICK = GatewayEvent("tick", {})


def weighty(number: int) -> GatewayEvent:
    return GatewayEvent("session.message", {"n": number})


async def drained(backlog: Backlog) -> list[GatewayEvent]:
    backlog.end(None)
    events = []
    while (event := await backlog.get()) is not None:
        events.append(event)
    return events


async def test_droppable_events_go_first() -> None:
    backlog = Backlog(most=3)
    for event in (weighty(1), TICK, weighty(2), TICK, weighty(3)):
        backlog.put(event, 10)
    assert await drained(backlog) == [weighty(1), weighty(2), weighty(3)]
    assert backlog.missed == 0


async def test_where_weighty_events_go_the_reader_is_told_first() -> None:
    backlog = Backlog(most=2)
    for number in range(5):
        backlog.put(weighty(number), 10)
    assert await drained(backlog) == [GatewayEvent(GAP, {"missed": 3}), weighty(3), weighty(4)]
    assert backlog.missed == 3


async def test_bytes_are_bounded_too_but_one_event_always_fits() -> None:
    backlog = Backlog(most=100, most_bytes=50)
    backlog.put(weighty(1), 1000)
    assert await backlog.get() == weighty(1)
    backlog.put(weighty(2), 40)
    backlog.put(weighty(3), 40)
    assert await drained(backlog) == [GatewayEvent(GAP, {"missed": 1}), weighty(3)]


async def test_the_end_comes_after_what_waits() -> None:
    backlog = Backlog()
    backlog.put(weighty(1), 1)
    backlog.end(ConnectionError("gone"))
    backlog.end(None)
    assert await backlog.get() == weighty(1)
    with pytest.raises(ConnectionError, match="gone"):
        await backlog.get()


async def test_a_reader_that_waits_is_woken() -> None:
    backlog = Backlog()
    reading = asyncio.create_task(backlog.get())
    await asyncio.sleep(0)
    backlog.put(TICK, 1)
    assert await reading == TICK
