"""From events to snapshots: everything is counted once, and folds in any order to the same sums."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from clawtop.fleet.board import Board
from clawtop.fleet.boards import Boards
from clawtop.fleet.cells import Agent, Moment, Strand
from clawtop.fleet.incidents import Incidents
from clawtop.fleet.ledger import Ledger, fingerprint
from clawtop.fleet.prices import PriceBook
from clawtop.fleet.publish import Table
from clawtop.fleet.store import Limits, Store
from clawtop.fleet.tally import (
    ABORTS,
    BINS,
    COMPACTIONS,
    ERRORS,
    FAILED_TURNS,
    FALLBACKS,
    RESETS,
    RETRIES,
    TOOL_CALLS,
    TOOL_ERRORS,
    UNMETERED,
    call,
    cost_alone,
    increase,
    latency_bin,
    one,
    unlogged_call,
)
from clawtop.fleet.usage import about_of, usage_of
from clawtop.model.commands import About, Hold, Target
from clawtop.model.events import (
    Aborted,
    Attempt,
    Blind,
    Call,
    Compaction,
    Event,
    Increase,
    PriceList,
    Resolution,
    Resolved,
    SessionState,
    ToolCall,
    ToolError,
    Unmetered,
)
from clawtop.model.keys import Key
from clawtop.model.selection import Scope
from clawtop.model.snapshot import Incident, Snapshot, SourceStatus, View
from clawtop.model.usage import Usage

_PENDING = 10_000
_MOST_LATENCIES = 200
"""How many latencies are kept of one Increase; of more, each stands for several."""
_NO_LIMITS_PASSED = Limits()
_COUNTED_AS = {
    Resolution.RETRY: RETRIES,
    Resolution.FALLBACK: FALLBACKS,
    Resolution.FAILED: FAILED_TURNS,
}

_LAST_MS = 253_402_300_799_999
_ONE_ERROR = one(ERRORS)

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
        self._boards = Boards(self._store)
        self._now = 0
        self._first = 0
        self._folds = 0
        self._held: frozenset[Target] = frozenset()
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Call: self._call,
            Increase: self._increase,
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

    def lay(self, holds: Mapping[Target, Hold]) -> None:
        """Take over the holds that stand, beside the agents' own states; one on an agent not seen yet waits for it."""
        for target in self._held | holds.keys():
            agent = self._store.known(target.host, target.agent)
            hold = holds.get(target)
            if agent is not None and agent.hold != hold:
                agent.hold = hold
                self._changed(agent)
        self._held = frozenset(holds)

    def snapshot(self, view: View, now: int, sources: tuple[SourceStatus, ...] = ()) -> Snapshot:
        """The fleet at `now` (Unix ms), for the view that is published: the next one of it costs little.

        Raises UsageError where the view's sort is no column.
        """
        self._now = max(self._now, now // 1000)
        return self._shown(view, sources, *self._boards.published(view, now, self._first))

    def look(self, view: View, now: int, sources: tuple[SourceStatus, ...] = ()) -> Snapshot:
        """The fleet at `now` for another view, beside the one that is published. Raises as `snapshot` does."""
        self._now = max(self._now, now // 1000)
        return self._shown(view, sources, *self._boards.look(view, now, self._first))

    def forget(self) -> None:
        """Make the next snapshot from the ground: the making of one broke off, and may have left sums half done."""
        self._boards.clear()

    def _shown(self, view: View, sources: tuple[SourceStatus, ...], board: Board, table: Table) -> Snapshot:
        tokens, costs = board.recent.up_to(board.now)
        return Snapshot(
            at=board.now,
            view=view,
            rows=table.rows,
            total=table.total,
            sources=sources,
            hidden=table.hidden,
            recent_tokens=tokens,
            recent_cost=costs,
            incidents=self._incidents.newest_first,
            unfiltered=table.unfiltered,
        )

    def usage(self, scope: Scope, now: int, sources: tuple[SourceStatus, ...] = ()) -> Usage:
        """What was counted since history begins, at `now` (Unix ms)."""
        cells, agents = usage_of(self._store, scope)
        return Usage(now, cells, agents, sources, self._folds)

    def about(self, target: Target) -> About:
        """What is known of an agent since history begins, of one never seen nothing."""
        agent = self._store.known(target.host, target.agent)
        return About() if agent is None else about_of(agent)

    def prune(self, now: int) -> None:
        """Make old buckets coarser, and fold what is idle longest once limits are passed. Some times a minute."""
        self._now = max(self._now, now // 1000)
        self._boards.advance(now, self._first)
        self._store.roll(self._now)
        if self._store.fold_idle():
            self._folds += 1
            self._boards.clear()

    def _new(self, kind: str, key: Key, name: str) -> int | None:
        """The fingerprint of an id that has not been counted yet, else None."""
        mark = fingerprint(kind, key.host, key.agent, name)
        return mark if self._ledger.add(mark) else None

    def _count(self, strand: Strand, at: int, tally: int, bins: bytes = b"") -> None:
        if not 0 < at <= _LAST_MS:
            at = 0
        elif at < self._first or not self._first:
            self._first = at
        strand.touch(at)
        strand.series.add(at, tally, bins, self._now)
        for board in self._boards.kept:
            board.add(strand, at, tally, bins)

    def _changed(self, agent: Agent) -> None:
        for board in self._boards.kept:
            board.changed(agent)

    def _call(self, event: Call) -> None:
        mark = self._new("call", event.key, event.id)
        if mark is None:
            return
        strand = self._store.strand(event.key, event.provider, event.model)
        when = (event.at if 0 < event.at <= _LAST_MS else 0, mark)
        tally, bins = 0, b""
        if any(event.tokens):
            tally = self._spoke(strand, event, when)
            if event.latency is not None and event.latency >= 0:
                bins = BINS[latency_bin(event.latency)]
        elif event.cost:
            tally = cost_alone(event.cost)
        if event.error is not None:
            tally += _ONE_ERROR
            self._incident(event, "error", event.error, strand)
        if tally and when > strand.latest:
            strand.latest = when
        if strand.run is not None and when[0] > strand.tried:
            strand.tried = when[0]
        self._count(strand, event.at, tally, bins)

    def _spoke(self, strand: Strand, event: Call, when: Moment) -> int:
        """Note the latest call; its tally."""
        tokens = event.tokens
        strand.called = max(strand.called, when[0])
        if when > strand.spoke:
            strand.spoke, strand.context = when, (tokens.context, event.window)
        session = strand.session
        if event.window and session is not None and when[0] >= session.window[0]:
            before, session.window = session.window[1], max(session.window, (when[0], event.window))
            if session.window[1] != before:
                # rows that this call is no part of show its session's context, too
                self._changed(strand.cell.agent)
        if event.cost is not None:
            return call(tokens, event.cost)
        priced = strand.cell.price is not None
        list_price = None if priced else self._listed(event, when[0])
        return call(tokens, 0) + unlogged_call(tokens, list_price)

    def _listed(self, event: Call | Increase, at: int) -> int | None:
        calls = event.calls if isinstance(event, Increase) else 1
        return self._prices.listed(event.provider, event.model, at, event.tokens, event.cache_write_1h, calls=calls)

    def _increase(self, event: Increase) -> None:
        mark = self._new("increase", event.key, event.id)
        if mark is None:
            return
        when = (event.at if 0 < event.at <= _LAST_MS else 0, mark)
        key, provider, model = event.key, event.provider, event.model
        list_price = None
        if event.cost is None and self._prices.declared(key.host, key.agent, provider, model) is None:
            list_price = self._listed(event, when[0])
        tally = increase(event, list_price)
        if tally < 0:
            strand = self._store.standing(key, provider, model, when[0], tally)
        else:
            strand = self._store.strand(key, provider, model)
        strand.cell.provisional |= event.provisional
        called = event.calls > 0 or any(event.tokens)
        if called:
            strand.called = max(strand.called, when[0])
        if called or event.errors > 0:
            strand.latest = max(strand.latest, when)
        self._count(strand, event.at, tally, _bins(event.latencies))

    def _attempt(self, event: Attempt) -> None:
        strand = self._store.strand(event.key, event.provider, event.model)
        at = event.at if 0 < event.at <= _LAST_MS else 0
        strand.tried = max(strand.tried, at)
        strand.latest = max(strand.latest, (at, fingerprint(event.id)))
        self._count(strand, at, 0)

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
        self._count(strand, event.at, one(counter))
        return strand, event.at, counter, incident

    def _undo(self, strand: Strand, at: int, counter: int, incident: Incident | None) -> None:
        while strand.into is not None:
            strand = strand.into
        self._count(strand, at, -one(counter))
        if incident is not None:
            self._incidents.remove(incident)

    def _tool_call(self, event: ToolCall) -> None:
        if self._new("tool call", event.key, event.id) is not None:
            strand = self._store.strand(event.key, event.provider, event.model)
            self._count(strand, event.at, one(TOOL_CALLS))

    def _tool_error(self, event: ToolError) -> None:
        if self._new("tool error", event.key, event.id) is not None:
            self._count(self._store.strand(event.key), event.at, one(TOOL_ERRORS))

    def _compaction(self, event: Compaction) -> None:
        if self._new("compaction", event.key, event.id) is not None:
            strand = self._store.strand(event.key)
            self._incident(event, "compaction", "context thrown away" if event.reset else "context compacted", strand)
            self._count(strand, event.at, one(RESETS if event.reset else COMPACTIONS))

    def _aborted(self, event: Aborted) -> None:
        if self._new("aborted", event.key, event.id) is not None:
            strand = self._store.strand(event.key)
            self._incident(event, "abort", "run cut off", strand)
            self._count(strand, event.at, one(ABORTS))

    def _unmetered(self, event: Unmetered) -> None:
        if self._new("unmetered", event.key, event.id) is not None:
            self._count(self._store.strand(event.key), event.at, one(UNMETERED))

    def _incident(
        self, event: Call | Resolved | Compaction | Aborted, what: str, text: str, strand: Strand
    ) -> Incident:
        incident = Incident(event.at, event.key, what, strand.cell.key.full_model, text)
        self._incidents.add(incident)
        return incident

    def _session_state(self, event: SessionState) -> None:
        strand = self._store.strand(event.key)
        strand.cell.agent.note(event)
        for board in self._boards.kept:
            board.add(strand, 0, 0, b"")
        self._changed(strand.cell.agent)

    def _price_list(self, event: PriceList) -> None:
        if self._prices.declare(event.host, event.prices, event.agents):
            self._store.reprice(event.host)
            self._boards.clear()

    def _blind(self, event: Blind) -> None:
        agent = self._store.agent(event.key)
        agent.blind |= event.fields
        self._changed(agent)


def _bins(latencies: tuple[tuple[int, int], ...]) -> bytes:
    share = max(1.0, sum(count for _, count in latencies) / _MOST_LATENCIES)
    return b"".join(BINS[latency_bin(each)] * math.ceil(count / share) for each, count in latencies if each >= 0)
