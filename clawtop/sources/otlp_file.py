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
_MOST_KNOWN = 200_000


class _Exports:
    """The lines of a collector, as EventsSource wants its lines read."""

    def __init__(self, reader: OtlpReader, now: Callable[[], int], *, follow: bool) -> None:
        self._reader = reader
        self._now = now
        self._follow = follow
        self._settled = now()
        self._told: list[Event] = []
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
        events, self._told = self._told, []
        if not self._follow:
            events += self._reader.settle(now, over=True)
        elif now - self._settled >= _SETTLE_MS:
            self._settled = now
            events += self._reader.settle(now)
        return events

    def told_elsewhere(self, host: str, agent: str, session: str) -> None:
        self._told += self._reader.told_elsewhere(host, agent, session)  # put with what is read next


class OtlpFileSource(EventsSource):
    """The exports in `path`: a file, a folder, or `-`, standard input. See EventsSource for how they are followed."""

    kind = "otlp-file"
    what = "exports in OTLP/JSON"

    def __init__(self, uri: str, path: str | Path, *, attributes: AttributeMap | None = None) -> None:
        self._attributes = attributes
        self._now: Callable[[], int] = int
        self._following = False
        self._known: dict[tuple[str, str, str], None] = {}
        super().__init__(uri, path)

    def _line_reader(self) -> LineReader:
        reader = OtlpReader(HOST, own_names(), self._attributes)
        self._exports = _Exports(reader, self._now, follow=self._following)
        for told in self._known:
            self._exports.told_elsewhere(*told)
        return self._exports

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        """See Source."""
        self._now, self._following = outlet.now, follow
        await super().run(outlet, follow=follow)

    def told_elsewhere(self, host: str, agent: str, session: str) -> None:
        """See Echo."""
        if len(self._known) < _MOST_KNOWN:
            self._known[host, agent, session] = None
        self._exports.told_elsewhere(host, agent, session)
