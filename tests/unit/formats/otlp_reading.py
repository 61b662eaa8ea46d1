"""Reads OTLP bodies and counts what comes of them."""

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from clawtop.fleet.fleet import Fleet
from clawtop.formats.otlp import json_body, protobuf
from clawtop.formats.otlp.reader import OtlpReader
from clawtop.model.events import Event, Tokens
from clawtop.model.snapshot import Grouping, Row, Snapshot, View, Window
from tests.otlp_messages import NOW, Post, Table

_E = TypeVar("_E")


class Reading:
    """A reader, everything it told, and the fleet that counts it."""

    def __init__(self, reader: OtlpReader | None = None, now: int = NOW) -> None:
        self.reader = reader or OtlpReader()
        self.now = now
        self.events: list[Event] = []
        self._fleet = Fleet()

    def take(self, *bodies: Table | Post) -> "Reading":
        """Read these bodies one after the other."""
        for body in bodies:
            if isinstance(body, Post):
                records = protobuf.decode(body.signal, body.body)
            else:
                signal = json_body.signal_of(body)
                assert signal is not None
                records = json_body.decode(signal, body, Counter())
            for events in self.reader.read(records, self.now):
                self.count(events)
        return self

    def count(self, events: Iterable[Event]) -> None:
        """Take over events."""
        for event in events:
            self.events.append(event)
            self._fleet.fold(event)

    def settle(self, *, over: bool = False) -> "Reading":
        """Let time tell what it does."""
        self.count(self.reader.settle(self.now, over=over))
        return self

    def of(self, kind: type[_E]) -> list[_E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def shot(self, by: Grouping = Grouping.AGENT, window: Window = Window.ALL) -> Snapshot:
        """What is counted."""
        return self._fleet.snapshot(View(window=window, group_by=by), self.now)

    def rows(self, by: Grouping = Grouping.AGENT, window: Window = Window.ALL) -> dict[str, Row]:
        """The rows by their name."""
        return {row.label: row for row in self.shot(by, window).rows}

    def used(self, by: Grouping = Grouping.AGENT) -> dict[str, Tokens]:
        """Token buckets of the rows that have any."""
        return {name: row.tokens for name, row in self.rows(by).items() if any(row.tokens)}
