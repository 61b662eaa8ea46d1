"""What the fleet makes of events, for tests that care about totals and not about how they came."""

from collections.abc import Iterable

from clawtop.fleet.fleet import Fleet
from clawtop.model.events import Event
from clawtop.model.snapshot import Grouping, Row, Snapshot, View, Window
from tests.openclaw_homes import T0

LATER = T0 + 3_600_000


def seen(events: Iterable[Event], by: Grouping = Grouping.AGENT, window: Window = Window.ALL) -> Snapshot:
    """The snapshot after these events."""
    fleet = Fleet()
    for event in events:
        fleet.fold(event)
    return fleet.snapshot(View(window=window, group_by=by), LATER)


def total(events: Iterable[Event]) -> Row:
    """The sum over all agents."""
    return seen(events).total
