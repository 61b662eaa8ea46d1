"""One agent's database: `agents/<id>/agent/openclaw-agent.sqlite`, OpenClaw 2026.8 and later (schema 23)."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import zstandard

from clawtop.formats.attribution import SessionFacts
from clawtop.formats.lines import json_value
from clawtop.formats.quantities import text, tokens
from clawtop.formats.trajectory import HELD, Trajectory
from clawtop.formats.transcript import AgentTranscripts, Transcript
from clawtop.model.errors import Unusable
from clawtop.model.events import Event, SessionState, State
from clawtop.sources.openclaw.sqlite import Database, UnreadableError
from clawtop.sources.progress import Progress

KNOWN_SCHEMA = 23
_LARGEST_ENTRY = 64 * 1024 * 1024
_BATCH = 500
_ROWS = ("rowid", "session_id", "seq", "event_json", "event_zstd", "created_at")
_TRACE = ("rowid", "session_id", "seq", "event_json")
_TELLING = (
    "event_json",
    """(instr(substr(event_json, 1, 1000), '"type":"model.completed"')
 OR instr(substr(event_json, 1, 1000), '"type":"session.ended"'))""",
)
_OF_SESSION = (("session_id", "session_id = :session"), ("rowid", "rowid <= :until"))
_SINCE = ("updated_at", "updated_at >= :since")
_WINDOW = ("session_id", "session_key", "status", "updated_at", "parent_session_key", "spawned_by")
_NODE = (
    "current_session_id",
    "session_key",
    "project_id",
    "owner_actor_id",
    "label",
    "fork_source_session_id",
    "parent_session_key",
    "entry_json",
    "updated_at",
)
_FAILED = ("failed", "timeout")
_LOST = "rows that could not be read"


@dataclass(slots=True)
class _Cursor:
    """The last row of a table that was read, and its lasting name: VACUUM may give rows other rowids."""

    table: str
    rowid: int = 0
    name: tuple[object, object] | None = None


@dataclass(slots=True)
class AgentDatabase:
    """Reads what is there, session by session, then what is committed.

    What can be done without is read under `noting` (the part's name), which may keep its errors from ending the rest.
    """

    database: Database
    agent: AgentTranscripts
    progress: Progress
    noting: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext()
    _transcripts: dict[str, Transcript] = field(default_factory=dict)
    _generations: dict[str, object] = field(default_factory=dict)
    _statuses: dict[str, tuple[str, int, str | None]] = field(default_factory=dict)
    _told: dict[str, tuple[State, str | int | None]] = field(default_factory=dict)
    _unsettled: dict[str, int | None] = field(default_factory=dict)
    _entries: _Cursor = field(default_factory=lambda: _Cursor("transcript_events"))
    _traces: _Cursor = field(default_factory=lambda: _Cursor("trajectory_runtime_events"))
    _facts_until: int = 0
    _stale: bool = False
    _trajectory: Trajectory = field(init=False)
    _zstd: zstandard.ZstdDecompressor = field(default_factory=zstandard.ZstdDecompressor)

    def __post_init__(self) -> None:
        self._trajectory = Trajectory(self.agent)

    def history(self, now: int) -> list[tuple[int, str]]:
        """(last change in Unix ms, session id) of every session, and from here on what is new is `fresh`."""
        self.database.changed()
        with self.noting("sessions"):
            self._learn(now)
        sessions: set[str] = set()
        with self.noting("trajectory"):
            self.database.need(self._traces.table, "session_id", "event_json")
            sessions |= self._begin(self._traces)
        self.database.need(self._entries.table, "session_id")
        sessions |= self._begin(self._entries)
        self._generations = dict(self._watermarks())
        return [(self._statuses.get(session, ("", 0, None))[1], session) for session in sessions]

    def read(self, session: str) -> Iterator[list[Event]]:
        """Events of a session's history, a batch of rows at a time: first what its trajectory says.

        Where only the trajectory cannot be read, the error comes after the rest.
        """
        batch: list[Event] = []
        trouble: UnreadableError | None = None
        try:
            for row in self._rows(self._traces, _TRACE, session, _TELLING):
                batch += self._traced(row)
        except UnreadableError as error:
            trouble = error
        self._transcripts[session] = Transcript(self.agent, session)
        for count, row in enumerate(self._rows(self._entries, _ROWS, session), 1):
            batch += self._entry(row)
            if count % _BATCH == 0:
                yield batch
                batch = []
        yield batch
        if trouble is not None:
            raise trouble

    def fresh(self, now: int) -> Iterator[list[Event]]:
        """Events of what was committed since the last call. `now` is Unix milliseconds."""
        with self.noting("sessions"):
            self._learn(now)
        for session, generation in self._rewritten():
            yield from self.read(session)
            self._generations[session] = generation
        if self._stale or self._renumbered(self._traces) or self._renumbered(self._entries):
            self._stale = True
            for _, session in self.history(now):
                yield from self.read(session)
            self._stale = False
            return
        batch: list[Event] = []
        with self.noting("trajectory"):
            batch += self._fresh_traces()
        after = (("rowid", "rowid > :after"),)
        values = {"after": self._entries.rowid}
        for row in self.database.rows(self._entries.table, _ROWS, *after, order="rowid", values=values):
            batch += self._entry(row)
            self._entries.rowid, self._entries.name = _int(row[0]), None if _is_lost(row) else (row[1], row[2])
            if len(batch) >= _BATCH:
                yield batch
                batch = []
        yield batch

    def _learn(self, now: int) -> None:
        """Learn which key each session goes by, whose it is, and how its last run ended."""
        until, since = self._facts_until, {"since": self._facts_until}
        recent = self.database.where("session_windows", _SINCE)
        for row in self.database.select("session_windows", _WINDOW, recent, since):
            session, key, status = _text(row[0]), _maybe(row[1]), _maybe(row[2])
            updated = _int(row[3])
            # what is dated days ahead must not hide what changes until then
            until = max(until, updated) if updated <= now else until
            self.agent.who.learn(session, SessionFacts(session_key=key, parent=_maybe(row[4]) or _maybe(row[5])))
            error = self._statuses.get(session, ("", 0, None))[2]
            self._statuses[session] = (status or "", updated, error)
        recent = self.database.where("session_nodes", _SINCE)
        for row in self.database.select("session_nodes", _NODE, recent, since):
            until = max(until, _int(row[8])) if _int(row[8]) <= now else until
            self._node(row)
        self._facts_until = until

    def states(self, claims: dict[str, str | None], *, alive: bool | None, now: int) -> list[Event]:
        """What each session does now, where that is news.

        `claims` are the sessions whose turn is claimed, with the tool that runs; `alive` says whether the gateway
        lives, None where that cannot be seen from here.
        """
        events: list[Event] = []
        for session, (status, updated, error) in self._statuses.items():
            claimed = session in claims
            state = _state(status, error, claimed=claimed, alive=alive)
            news = (state, claims.get(session) if claimed else updated)
            told = self._told.get(session)
            if told == news:
                continue
            self._told[session] = news
            # After kill -9 the database's own time of the end is older than what was said of the run since.
            at = now if State.RUNNING in (state, told and told[0]) else updated
            key = self.agent.who.key(session)
            events.append(SessionState(key, at, state, error if state is State.ERROR else None, claims.get(session)))
        return events

    def settle(self, running: Iterable[str], now: int, *, grace: int) -> list[Event]:
        """What the end of a run says of its last failed attempt, for sessions that do not run.

        An error entry waits `grace` ms from `now` (Unix ms) on for its trajectory, which is committed after it.
        """
        running = set(running)
        events: list[Event] = []
        for run, session in list(self._trajectory.open_runs.items()):
            if session not in running:
                events += self._trajectory.settle(run)
        for session in list(self._unsettled.keys() - running):
            since = self._unsettled[session]
            if since is None:
                since = self._unsettled[session] = now
            if now - since >= grace:
                del self._unsettled[session]
                events += self._transcripts[session].settle()
        return events

    def _begin(self, cursor: _Cursor) -> set[str]:
        """Place the cursor at the end; the sessions before it."""
        self._place(cursor)
        return {_text(row[0]) for row in self.database.select(cursor.table, ("session_id",), "GROUP BY session_id")}

    def _rows(
        self, cursor: _Cursor, names: tuple[str, ...], session: str, *content: tuple[str, str]
    ) -> Iterator[tuple[Any, ...]]:
        values = {"session": session, "until": cursor.rowid}
        return self.database.rows(cursor.table, names, *_OF_SESSION, order="seq", values=values, content=content)

    def _fresh_traces(self) -> list[Event]:
        self.database.need(self._traces.table, "session_id", "event_json")
        # the cursor moves over all rows, those that tell nothing included
        newest = self._newest(self._traces)
        between = ("rowid", "rowid > :after AND rowid <= :until")
        values = {"after": self._traces.rowid, "until": newest}
        rows = self.database.rows(
            self._traces.table, _TRACE, between, order="rowid", values=values, content=(_TELLING,)
        )
        events = [event for row in rows for event in self._traced(row)]
        if newest > self._traces.rowid:
            self._place(self._traces, newest)
        return events

    def _node(self, row: tuple[object, ...]) -> None:
        session = _text(row[0])
        try:
            entry = json_value(_bytes(row[7]) or b"{}")
        except Unusable:
            entry = {}
        entry = entry if isinstance(entry, dict) else {}
        try:
            window = tokens(entry.get("contextTokens")) or None
        except Unusable:
            window = None
        facts = SessionFacts(
            session_key=_maybe(row[1]),
            project=_maybe(row[2]),
            owner=_maybe(row[3]),
            label=_maybe(row[4]),
            source=_maybe(row[5]),
            parent=_maybe(row[6]),
            window=window,
        )
        self.agent.who.learn(session, facts)
        status, updated, _ = self._statuses.get(session, ("", _int(row[8]), None))
        self._statuses[session] = (status, updated, text(entry.get("lastRunError"), 500))

    def _entry(self, row: tuple[object, ...]) -> list[Event]:
        if _is_lost(row):
            self.progress.skip(_LOST)
            return []
        session = _text(row[1])
        self.progress.entries += 1
        transcript = self._transcripts.get(session)
        if transcript is None:
            transcript = self._transcripts[session] = Transcript(self.agent, session)
        try:
            raw = self._raw(row)
            self.progress.read += len(raw)
            events = transcript.read(raw, _int(row[5]) or None)
        except Unusable as reason:
            self.progress.skip(str(reason))
            return []
        if transcript.unsettled:
            self._unsettled.setdefault(session, None)
        return events

    def _raw(self, row: tuple[object, ...]) -> bytes:
        plain = _bytes(row[3])
        if plain is not None:
            return plain
        packed = _bytes(row[4])
        if packed is None:
            raise Unusable("a row without an event")
        try:
            size = zstandard.frame_content_size(packed)
            if size > _LARGEST_ENTRY:
                raise Unusable("an entry over 64 MiB")
            return self._zstd.decompress(packed, max_output_size=_LARGEST_ENTRY)
        except zstandard.ZstdError:
            raise Unusable("a bad zstd frame") from None

    def _traced(self, row: tuple[object, ...]) -> list[Event]:
        if _is_lost(row):
            self.progress.skip(_LOST)
            return []
        try:
            return self._trajectory.read(_bytes(row[3]) or b"", _text(row[1]))
        except Unusable as reason:
            self.progress.skip(str(reason))
            return []

    def _newest(self, cursor: _Cursor) -> int:
        return max((_int(row[0]) for row in self.database.select(cursor.table, ("max(rowid)",))), default=0)

    def _place(self, cursor: _Cursor, rowid: int | None = None) -> None:
        cursor.rowid = self._newest(cursor) if rowid is None else rowid
        cursor.name = self._name(cursor)

    def _name(self, cursor: _Cursor) -> tuple[object, object] | None:
        rows = self.database.select(cursor.table, ("session_id", "seq"), "WHERE rowid = ?", (cursor.rowid,))
        return next(((row[0], row[1]) for row in rows), None)

    def _renumbered(self, cursor: _Cursor) -> bool:
        try:
            return cursor.name is not None and self._name(cursor) != cursor.name
        except UnreadableError as error:
            if not error.partial:
                raise
            return False

    def _watermarks(self) -> Iterator[tuple[str, object]]:
        for row in self.database.select("transcript_rewrite_watermarks", ("session_id", "generation")):
            yield _text(row[0]), row[1]

    def _rewritten(self) -> list[tuple[str, object]]:
        """(session, generation) of transcripts that were written anew; a session that is new is not one of them."""
        now = dict(self._watermarks())
        self._generations = {session: self._generations.get(session, now[session]) for session in now}
        return [(session, now[session]) for session in now if self._generations[session] != now[session]]


def _state(status: str, error: str | None, *, claimed: bool, alive: bool | None) -> State:
    if claimed:
        return {True: State.RUNNING, False: State.IDLE, None: State.UNKNOWN}[alive]
    if status in _FAILED and not (error and f"{HELD}/" in error):
        return State.ERROR
    return State.IDLE


def _is_lost(row: tuple[object, ...]) -> bool:
    """Whether only the number of the row could be read."""
    return len(row) == 1


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _maybe(value: object) -> str | None:
    return _text(value)[:300] if isinstance(value, bytes) and value else None


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
