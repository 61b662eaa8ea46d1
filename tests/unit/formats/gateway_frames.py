"""Frames that real gateways pushed, as recorded (long texts and most of the session rows cut off)."""

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from clawtop.formats.gateway_events import GatewayEvents
from clawtop.model.events import Call, Event, Resolution, Resolved

FOLDER = Path(__file__).parents[2] / "fixtures" / "gateway"
CAPTURES = sorted(path.name.removesuffix(".jsonl.xz") for path in FOLDER.iterdir())


class Frame(NamedTuple):
    """One pushed event and when it arrived (Unix ms)."""

    event: str
    payload: dict[str, Any]
    at: int


@cache
def frames(capture: str) -> tuple[Frame, ...]:
    """The frames of a capture in the order they came."""
    with lzma.open(FOLDER / f"{capture}.jsonl.xz", "rt", encoding="utf-8") as file:
        told = [json.loads(line) for line in file]
    return tuple(Frame(each["event"], each["payload"], each["t"]) for each in told)


def read(capture: str, *, companion: bool = False) -> list[Event]:
    """All events of a capture."""
    told = GatewayEvents("box", companion=companion)
    return [event for frame in frames(capture) for event in told.read(*frame)]


class Sum(NamedTuple):
    """What an agent's events count to."""

    calls: int
    errors: int
    retries: int
    fallbacks: int
    failed: int


def count(events: list[Event], agent: str | None = None) -> Sum:
    """What the fleet would count: everything once by its identity, the last word on a failed attempt."""
    mine = [
        event for event in events if agent is None or (isinstance(event, Call | Resolved) and event.key.agent == agent)
    ]
    calls = {event.id: event for event in mine if isinstance(event, Call)}
    ends = {event.id: event.how for event in mine if isinstance(event, Resolved)}
    how = list(ends.values())
    return Sum(
        sum(call.tokens.total > 0 for call in calls.values()),
        sum(call.error is not None for call in calls.values()),
        how.count(Resolution.RETRY),
        how.count(Resolution.FALLBACK),
        how.count(Resolution.FAILED),
    )
