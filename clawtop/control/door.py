"""Through which gateway an agent is acted on: the one by which it is held, else the only one that may run it."""

from collections.abc import Sequence
from dataclasses import dataclass

from clawtop.control.record import HoldRecord
from clawtop.gateway.connection import GatewayAddress
from clawtop.model.commands import Means, Target
from clawtop.model.keys import HOST


@dataclass(frozen=True, slots=True)
class Door:
    """A gateway that may run an agent.

    `source` is what `-s` takes so that it is known, and no text where that is not known; one that is `usual` is there
    without it, too.
    """

    address: GatewayAddress
    source: str = ""
    usual: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """By which means an agent is acted on, through which door, or why it cannot be."""

    means: Means
    door: Door | None = None
    problem: str = ""


def way_through(target: Target, doors: Sequence[Door], record: HoldRecord | None) -> Way | None:
    """The way by a gateway, None where there is none. `record` is the hold that a gateway's way has made."""
    if record is not None and record.gateway is not None:
        made = next((door for door in doors if _made_by(door, record)), None)
        return Way(Means.NONE, problem=_elsewhere(record)) if made is None else Way(Means.GATEWAY, made)
    if len(doors) > 1:
        sources = " and ".join(door.source or door.address.url for door in doors)
        return Way(Means.NONE, problem=f"{target.agent} may be of {sources}: name one of them with -s, and no other")
    return Way(Means.GATEWAY, doors[0]) if doors else None


def source_of(record: HoldRecord, doors: Sequence[Door]) -> str | None:
    """What `-s` has to be given so that this hold is reached, None where it is without."""
    if record.gateway is None or any(door.usual and _made_by(door, record) for door in doors):
        return None
    return record.source or (None if record.target.host == HOST else f"gateway:{record.gateway}")


def _made_by(door: Door, record: HoldRecord) -> bool:
    # the gateway of a home may listen elsewhere by now
    return door.source == record.source if record.source and door.source else door.address.url == record.gateway


def _elsewhere(record: HoldRecord) -> str:
    source = source_of(record, ()) or "openclaw:DIR with its home"
    return f"it is held through {record.gateway}, which is not among the sources: give -s {source}"
