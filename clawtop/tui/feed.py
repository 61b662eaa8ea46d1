"""What the screen asks of the engine, which lives in another thread."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Protocol

from clawtop.model.commands import Command, Hold, Outcome, Plan, Target
from clawtop.model.snapshot import Snapshot, View


class Feed(Protocol):
    """A handle on the engine; every method returns at once."""

    @property
    def snapshot(self) -> Snapshot:
        """The latest one; another may take its place at any moment."""

    def show(self, view: View) -> None:
        """Make snapshots for this view from now on."""

    def look(self, view: View) -> Future[Snapshot]:
        """One snapshot of another view; the future fails with a ClawtopError where it cannot be made."""

    def plan(self, targets: tuple[Target, ...]) -> Future[tuple[Plan, ...]]:
        """What a pause of these agents would touch, one plan each."""

    def submit(self, command: Command) -> Future[Outcome]:
        """Carry a command out; it goes on when nobody waits for it."""

    def holds(self) -> Mapping[Target, Hold]:
        """The holds on agents as they stand now."""

    def listen(self, callback: Callable[[], None] | None) -> None:
        """Call this in the engine's thread after a snapshot was published, or nothing any more with None."""
