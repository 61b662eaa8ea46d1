"""What an OpenTelemetry collector's file exporter writes: JSON lines, each one export, followed as they grow."""

from collections.abc import Callable
from pathlib import Path

from clawtop.formats.otlp import json_body
from clawtop.formats.otlp.reader import OtlpReader
from clawtop.formats.otlp.senders import AttributeMap
from clawtop.model.errors import Unusable
from clawtop.model.events import Event
from clawtop.model.keys import HOST
from clawtop.sources import Outlet
from clawtop.sources.events import EventsSource, LineReader
from clawtop.sources.otlp.source import own_names

_SETTLE_MS = 5_000


class _Exports:
    """The lines of a collector, as EventsSource wants its lines read."""

    def __init__(self, reader: OtlpReader, now: Callable[[], int], told: list[Event], *, follow: bool) -> None:
        self._reader = reader
        self._now = now
        self._told = told
        self._follow = follow
        self._settled = now()
        self.skipped = reader.skipped

    def read(self, line: bytes, place: str) -> list[Event]:
        del place  # what is exported has identities of its own
        try:
            message = json_body.parsed(line)
            records = json_body.decode(json_body.signal_of(message), message, self.skipped)
        except Unusable as reason:
            self.skipped[str(reason)] += 1
            return []
        return [event for events in self._reader.read(records, self._now()) for event in events]

    def settle(self) -> list[Event]:
        now = self._now()
        events = self._told.copy()
        self._told.clear()
        if not self._follow:
            events += self._reader.settle(now, over=True)
        elif now - self._settled >= _SETTLE_MS:
            self._settled = now
            events += self._reader.settle(now)
        return events


class OtlpFileSource(EventsSource):
    """The exports in `path`: a file, a folder, or `-`, standard input. See EventsSource for how they are followed.

    What was told is kept in mind over a restart of the source, as senders go on counting in a file that came back.
    """

    kind = "otlp-file"
    what = "exports in OTLP/JSON"

    def __init__(self, uri: str, path: str | Path, *, attributes: AttributeMap | None = None) -> None:
        self._otlp = OtlpReader(HOST, own_names(), attributes)
        self._told: list[Event] = []
        self._now: Callable[[], int] = int
        self._following = False
        super().__init__(uri, path)

    def _line_reader(self) -> LineReader:
        self._otlp.skipped.clear()  # all that is there is read again
        return _Exports(self._otlp, self._now, self._told, follow=self._following)

    def _detail(self) -> str:
        return "; ".join(filter(None, (super()._detail(), self._otlp.doubt)))

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        """See Source."""
        self._now, self._following = outlet.now, follow
        await super().run(outlet, follow=follow)

    def told_elsewhere(self, host: str, agent: str, session: str) -> None:
        """See Echo."""
        self._told += self._otlp.told_elsewhere(host, agent, session)  # put with what is read next
