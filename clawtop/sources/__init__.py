"""Where events come from: the I/O around formats."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from clawtop.model.events import Event
from clawtop.model.snapshot import SourceStatus


class Outlet(Protocol):
    """Where a source puts what it has read. The engine gives each source its own."""

    async def put(self, events: Sequence[Event]) -> None:
        """Fold these events now and let the rest of the engine have its turn."""

    def report(self, status: SourceStatus) -> None:
        """Take the place of the source's last status; `since` is filled in where the health changed."""

    def now(self) -> int:
        """Unix milliseconds."""


class Source(Protocol):
    """Something that can be read, then followed."""

    @property
    def uri(self) -> str:
        """What the user calls it, e.g. `openclaw:/home/me/.openclaw`."""

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        """Read what is there, report Health.OK once that is done, then follow until cancelled.

        With `follow` off it returns after what is there. Raises SourceError where it cannot be read; the
        engine shows that and runs it again, which may then repeat events.
        """


@runtime_checkable
class Echo(Protocol):
    """A source whose spend others may tell better: telemetry of sessions whose own files are read, too."""

    def told_elsewhere(self, host: str, agent: str, session: str) -> None:
        """Another source tells this session call by call: take back what was told of it, and tell no more."""
