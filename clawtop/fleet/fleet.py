"""From events to snapshots: everything is counted once, and folds in any order to the same sums."""

from collections.abc import Callable
from typing import Any

from clawtop.fleet.board import Board
from clawtop.fleet.cells import Context, Moment, Strand
from clawtop.fleet.incidents import Incidents
from clawtop.fleet.ledger import Ledger, fingerprint
from clawtop.fleet.prices import PriceBook
from clawtop.fleet.publish import Publisher
from clawtop.fleet.store import Limits, Store
from clawtop.fleet.tally import (
    ABORTS,
    CALLS,
    COMPACTIONS,
    COST,
    ERRORS,
    FAILED_TURNS,
    FALLBACKS,
    LIST_COST,
    LISTED,
    RESETS,
    RETRIES,
    TOKENS,
    TOOL_CALLS,
    TOOL_ERRORS,
    UNLOGGED,
    UNLOGGED_TOKENS,
    UNMETERED,
    latency_bin,
)
from clawtop.fleet.windows import LAST_MS
from clawtop.model.events import (
    Aborted,
    Attempt,
    Blind,
    Call,
    Compaction,
    Event,
    PriceList,
    Resolution,
    Resolved,
    SessionState,
    ToolCall,
    ToolError,
    Unmetered,
)
from clawtop.model.keys import Key
from clawtop.model.snapshot import Incident, Snapshot, SourceStatus, View

_PENDING = 10_000
_NO_LIMITS_PASSED = Limits()
_COUNTED_AS = {
    Resolution.RETRY: RETRIES,
    Resolution.FALLBACK: FALLBACKS,
    Resolution.FAILED: FAILED_TURNS,
}

_Deltas = list[tuple[int, int]]
_Pending = tuple[Strand, int, int, Incident | None]


class Fleet:
    """The state of all agents. It knows no clock: how old something is shows when `now` is told.

    Tell it `now` (prune) before a large history is folded: until then everything is kept by the second.
    """

    def __init__(self, prices: PriceBook | None = None, limits: Limits = _NO_LIMITS_PASSED) -> None:
        self._prices = prices or PriceBook()
        self._store = Store(self._prices, limits)
        self._ledger = Ledger()
        self._incidents = Incidents()
        self._pending: dict[int, _Pending] = {}
        self._board: Board | None = None
        self._publisher = Publisher()
        self._now = 0
        self._first = 0
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Call: self._call,
            Attempt: self._attempt,
            Resolved: self._resolved,
            ToolCall: self._tool_call,
            ToolError: self._tool_error,
            Compaction: self._compaction,
            Aborted: self._aborted,
            Unmetered: self._unmetered,
            SessionState: self._session_state,
            PriceList: self._price_list,
            Blind: self._blind,
        }

    def fold(self, event: Event) -> None:
        """Count an event, unless its id was counted before. What a run declares or comes to is not counted."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def snapshot(self, view: View, now: int, seq: int = 0, sources: tuple[SourceStatus, ...] = ()) -> Snapshot:
        """The fleet at `now` (Unix ms), for one view. Raises UsageError where the view's sort is no column."""
        self._now = max(self._now, now // 1000)
        board = self._board
        if board is None or not board.serves(view, now):
            board = self._board = Board(view, now, self._first)
            for strand in self._store:
                board.adopt(strand)
        else:
            board.advance(now, self._first)
        table = self._publisher.table(board, view)
        tokens, costs = board.recent.up_to(now)
        return Snapshot(
            seq=seq,
            at=now,
            view=view,
            rows=table.rows,
            total=table.total,
            sources=sources,
            hidden=table.hidden,
            recent_tokens=tokens,
            recent_cost=costs,
            incidents=self._incidents.newest_first,
        )

    def prune(self, now: int) -> None:
        """Make old buckets coarser, and fold what is idle longest once limits are passed. Some times a minute."""
        self._now = max(self._now, now // 1000)
        if self._board is not None:
            self._board.advance(max(now, self._board.now), self._first)
        self._store.roll(self._now)
        if self._store.fold_idle():
            self._board = None

    def _new(self, kind: str, key: Key, name: str) -> int | None:
        """The fingerprint of an id that has not been counted yet, else None."""
        mark = fingerprint(kind, key.host, key.agent, name)
        return mark if self._ledger.add(mark) else None

    def _count(self, strand: Strand, at: int, deltas: _Deltas) -> None:
        if not 0 < at <= LAST_MS:
            at = 0
        elif at < self._first or not self._first:
            self._first = at
        strand.touch(at)
        strand.series.add(at, deltas, self._now)
        if self._board is not None:
            self._board.add(strand, at, deltas)

    def _call(self, event: Call) -> None:
        mark = self._new("call", event.key, event.id)
        if mark is None:
            return
        strand = self._store.strand(event.key, event.provider, event.model)
        at = event.at if 0 < event.at <= LAST_MS else 0
        deltas: _Deltas = []
        if any(event.tokens):
            self._spoke(strand, event, Moment(at, mark), deltas)
        if event.cost:
            deltas.append((COST, event.cost))
        if event.error is not None:
            deltas.append((ERRORS, 1))
            self._incident(event, "error", event.error, strand)
        if deltas:
            strand.latest = max(strand.latest, Moment(at, mark))
        if strand.run is not None:
            strand.tried = max(strand.tried, at)
        self._count(strand, at, deltas)

    def _spoke(self, strand: Strand, event: Call, when: Moment, deltas: _Deltas) -> None:
        tokens = event.tokens
        deltas.append((CALLS, 1))
        deltas.extend((counter, amount) for counter, amount in zip(TOKENS, tokens, strict=True) if amount)
        if event.latency is not None and event.latency >= 0:
            deltas.append((latency_bin(event.latency), 1))
        if event.cost is None:
            deltas.append((UNLOGGED, 1))
            deltas.extend((counter, amount) for counter, amount in zip(UNLOGGED_TOKENS, tokens, strict=True) if amount)
            if strand.cell.price is None:
                self._list_price(event, when.at, deltas)
        strand.called = max(strand.called, when.at)
        strand.context = max(strand.context, Context(when, tokens.context, event.window))
        if event.window and strand.session is not None:
            strand.session.window = max(strand.session.window, (when.at, event.window))

    def _list_price(self, event: Call, at: int, deltas: _Deltas) -> None:
        cost = self._prices.listed(event.provider, event.model, at, event.tokens)
        if cost is not None:
            deltas.append((LISTED, 1))
            deltas.append((LIST_COST, cost))

    def _attempt(self, event: Attempt) -> None:
        strand = self._store.strand(event.key, event.provider, event.model)
        at = event.at if 0 < event.at <= LAST_MS else 0
        strand.tried = max(strand.tried, at)
        strand.latest = max(strand.latest, Moment(at, fingerprint(event.id)))
        self._count(strand, at, [])

    def _resolved(self, event: Resolved) -> None:
        mark = fingerprint("resolved", event.key.host, event.key.agent, event.id)
        if event.tentative:
            if mark not in self._ledger and mark not in self._pending:
                self._pending[mark] = self._resolve(event)
                if len(self._pending) > _PENDING:
                    oldest = next(iter(self._pending))
                    del self._pending[oldest]
                    self._ledger.add(oldest)
        elif self._ledger.add(mark):
            if mark in self._pending:
                self._undo(*self._pending.pop(mark))
            self._resolve(event)

    def _resolve(self, event: Resolved) -> _Pending:
        strand = self._store.strand(event.key, event.provider, event.model)
        counter = _COUNTED_AS[event.how]
        incident = None
        if event.how is not Resolution.RETRY:
            model = strand.cell.key.full_model or "–"
            fell_back = event.how is Resolution.FALLBACK
            text = f"{model} -> {event.to or '?'}" if fell_back else f"{model}: nothing followed"
            incident = self._incident(event, "fallback" if fell_back else "failed turn", text, strand)
        self._count(strand, event.at, [(counter, 1)])
        return strand, event.at, counter, incident

    def _undo(self, strand: Strand, at: int, counter: int, incident: Incident | None) -> None:
        while strand.into is not None:
            strand = strand.into
        self._count(strand, at, [(counter, -1)])
        if incident is not None:
            self._incidents.remove(incident)

    def _tool_call(self, event: ToolCall) -> None:
        if self._new("tool call", event.key, event.id) is not None:
            strand = self._store.strand(event.key, event.provider, event.model)
            self._count(strand, event.at, [(TOOL_CALLS, 1)])

    def _tool_error(self, event: ToolError) -> None:
        if self._new("tool error", event.key, event.id) is not None:
            self._count(self._store.strand(event.key), event.at, [(TOOL_ERRORS, 1)])

    def _compaction(self, event: Compaction) -> None:
        if self._new("compaction", event.key, event.id) is not None:
            strand = self._store.strand(event.key)
            self._incident(event, "compaction", "context thrown away" if event.reset else "context compacted", strand)
            self._count(strand, event.at, [(RESETS if event.reset else COMPACTIONS, 1)])

    def _aborted(self, event: Aborted) -> None:
        if self._new("aborted", event.key, event.id) is not None:
            strand = self._store.strand(event.key)
            self._incident(event, "abort", "run cut off", strand)
            self._count(strand, event.at, [(ABORTS, 1)])

    def _unmetered(self, event: Unmetered) -> None:
        if self._new("unmetered", event.key, event.id) is not None:
            self._count(self._store.strand(event.key), event.at, [(UNMETERED, 1)])

    def _incident(
        self, event: Call | Resolved | Compaction | Aborted, what: str, text: str, strand: Strand
    ) -> Incident:
        incident = Incident(event.at, event.key, what, strand.cell.key.full_model, text)
        self._incidents.add(incident)
        return incident

    def _session_state(self, event: SessionState) -> None:
        strand = self._store.strand(event.key)
        strand.cell.agent.note(event)
        if self._board is not None:
            self._board.add(strand, 0, [])
            self._board.changed(strand.cell.agent)

    def _price_list(self, event: PriceList) -> None:
        if self._prices.declare(event.host, event.prices):
            self._store.reprice(event.host)
            self._board = None

    def _blind(self, event: Blind) -> None:
        agent = self._store.agent(event.key)
        agent.blind |= event.fields
        if self._board is not None:
            self._board.changed(agent)
