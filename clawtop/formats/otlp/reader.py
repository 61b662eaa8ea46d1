"""OTLP records -> events: OpenClaw's, Claude Code's and whatever follows the GenAI conventions."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from clawtop.formats.otlp.claude_code import ClaudeCode
from clawtop.formats.otlp.genai import GenAi
from clawtop.formats.otlp.openclaw import OpenClaw
from clawtop.formats.otlp.records import Log, Metric, Record, Scope, Span
from clawtop.formats.otlp.senders import AttributeMap, Directory
from clawtop.formats.otlp.spend import Spend
from clawtop.formats.otlp.traces import Traces
from clawtop.model.events import Event
from clawtop.model.keys import HOST

_SLICE = 250
_BLIND_AFTER_MS = 10_000
_INDISTINCT = (
    "Claude Code's metrics name no session, so they cannot be told apart from its own files and both count: "
    "set OTEL_METRICS_INCLUDE_SESSION_ID=true, or send its logs, too"
)


class OtlpReader:
    """Everything that was sent so far, as far as it matters to what comes next: any order gives the same sums.

    `host` is what this machine is called, whose own names a resource may give; `attributes` say whose a call was.
    """

    def __init__(self, host: str = HOST, own_names: Iterable[str] = (), attributes: AttributeMap | None = None) -> None:
        self._spend = Spend(Directory(host, frozenset(own_names), attributes or AttributeMap()))
        self._traces = Traces(self._spend)
        self._openclaw = OpenClaw(self._spend, self._traces)
        self._claude = ClaudeCode(self._spend)
        self._genai = GenAi(self._spend, self._traces)
        self.skipped = self._spend.skipped
        """What could not be used, by reason."""

    @property
    def used(self) -> int:
        """Points, spans and log records that were of use so far."""
        return self._spend.used

    @property
    def early(self) -> int:
        """Moments in the future so far, which were taken for now."""
        return self._spend.early

    @property
    def doubt(self) -> str:
        """What may be counted twice, and what to do about it; empty where nothing may."""
        return _INDISTINCT if self._claude.indistinct else ""

    def read(self, records: Iterable[tuple[Scope, Record]], now: int) -> Iterator[list[Event]]:
        """The events of one body, in slices that take some milliseconds each; `now` is Unix milliseconds.

        The body is read as its slices are asked for, and must be read to its end.
        """
        self._spend.now = now
        size, events = 0, []
        for scope, record in records:
            events += self._read(scope, record)
            size += len(record.points) + 1 if isinstance(record, Metric) else 1
            if size >= _SLICE:
                yield events
                size, events = 0, []
        yield events
        rest = chain(self._traces.flush(), self._spend.flush(), self._openclaw.flush())
        while part := list(islice(rest, _SLICE)):
            yield part

    def _read(self, scope: Scope, record: Record) -> list[Event]:
        sender = self._spend.directory.sender(scope.resource)
        events: list[Event] = []
        match record:
            case Metric():
                ours, events = self._openclaw.metric(sender, scope.name, record)
                if not ours and not self._claude.metric(sender, scope.name, record):
                    self._genai.metric(sender, scope.name, record)
            case Span():
                ours, events = self._openclaw.span(sender, scope.name, record)
                if not ours and not record.name.startswith("claude_code."):
                    self._genai.span(sender, record)
            case Log():
                ours, events = self._claude.log(sender, scope.name, record)
                if not ours:
                    self._genai.log(sender, record)
        return events

    def settle(self, now: int, *, over: bool = False) -> list[Event]:
        """What the passing of time tells: some times a minute, and with `over` once nothing more will come."""
        self._spend.now = now
        before = now if over else now - _BLIND_AFTER_MS
        return [*self._traces.settle(), *self._openclaw.settle(), *self._spend.tell_blind(before)]

    def told_elsewhere(self, host: str, agent: str, session: str) -> list[Event]:
        """Another source tells this session in full: what was told of it here is taken back, and no more is told."""
        self._spend.sighted(host, agent)
        if not self._spend.tell_elsewhere(session):
            return []
        return [*self._openclaw.told_elsewhere(session), *self._claude.told_elsewhere(agent, session)]
