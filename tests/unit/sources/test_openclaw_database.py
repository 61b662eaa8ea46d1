"""Databases of 2026.8 and later, written while they are read: FORMATS section 2, one test for each trap."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from clawtop.formats.attribution import Attribution
from clawtop.formats.transcript import AgentTranscripts
from clawtop.model.errors import SourceError
from clawtop.model.events import Event, SessionState, State
from clawtop.model.snapshot import Counters
from clawtop.sources.openclaw.database import KNOWN_SCHEMA, AgentDatabase
from clawtop.sources.openclaw.sqlite import Database
from clawtop.sources.progress import Progress
from tests.counted import LATER, seen, total
from tests.openclaw_homes import T0, AgentStore, answer, header


class Reader:
    """An agent's database, polled by hand."""

    def __init__(self, path: Path) -> None:
        self.progress = Progress("openclaw:x")
        who = Attribution("local", "main", cron_name=lambda _: None, windows={})
        self.database = Database(path, newest_known=KNOWN_SCHEMA)
        self.agent = AgentDatabase(self.database, AgentTranscripts(who), self.progress)
        self.events: list[Event] = []
        for _, session in self.agent.history(LATER):
            for batch in self.agent.read(session):
                self.events += batch
        self.settle()

    def poll(self) -> Counters:
        """Read what was committed and say what was counted so far."""
        if self.database.changed():
            for batch in self.agent.fresh(LATER):
                self.events += batch
        self.settle()
        return self.counted()

    def settle(self) -> None:
        self.events += self.agent.settle((), LATER, grace=0)
        self.events += self.agent.states({}, alive=False, now=LATER)

    def counted(self) -> Counters:
        return total(self.events).counters


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AgentStore]:
    """An agent's database with a session of two calls, one of them compressed."""
    store = AgentStore(tmp_path, "main")
    store.window("s1", "agent:main:main")
    store.add("s1", 0, header("s1", version=4))
    store.add("s1", 1, answer("e1", T0, run="r1"))
    store.add("s1", 2, answer("e2", T0 + 1000, run="r1"), packed=True)
    yield store
    store.close()


def test_compressed_rows_count(store: AgentStore) -> None:
    assert Reader(store.path).counted() == Counters(calls=2)


def test_rows_committed_while_it_is_read(store: AgentStore) -> None:
    reader = Reader(store.path)
    store.add("s1", 3, answer("e3", T0 + 2000, run="r2"), packed=True)
    assert reader.poll().calls == 3
    store.connection.execute("BEGIN")
    store.add("s1", 4, answer("e4", T0 + 3000, run="r2"))
    assert reader.poll().calls == 3
    store.connection.execute("COMMIT")
    assert reader.poll().calls == 4


def test_polling_locks_nothing_and_lets_the_log_be_truncated(store: AgentStore) -> None:
    reader = Reader(store.path)
    for place in range(20):
        store.add("s1", 3 + place, answer(f"n{place}", T0 + 2000 + place, run="r2"))
        assert reader.poll().calls == 3 + place
        (busy, *_rest) = store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0
    assert store.path.with_name(store.path.name + "-wal").stat().st_size == 0


def test_a_fork_copies_history_and_counts_once(store: AgentStore) -> None:
    reader = Reader(store.path)
    store.add("s2", 0, header("s2", T0 + 60_000, version=4, parentSession="sqlite:main:s1"))
    store.add("s2", 1, answer("e1", T0, run="r1"))
    store.add("s2", 2, answer("e2", T0 + 1000, run="r1"))
    store.add("s2", 3, answer("f1", T0 + 70_000, run="r9"))
    assert reader.poll().calls == 3
    fresh = Reader(store.path)
    assert fresh.counted().calls == 3
    assert (total(fresh.events).sessions, total(reader.events).sessions) == (2, 2)


def test_a_rewritten_session_is_read_again(store: AgentStore) -> None:
    mark = "INSERT OR REPLACE INTO transcript_rewrite_watermarks VALUES ('s1', ?, 1)"
    store.connection.execute(mark, ("a",))
    reader = Reader(store.path)
    store.connection.execute("BEGIN")
    store.connection.execute("DELETE FROM transcript_events WHERE session_id = 's1'")
    store.add("s1", 0, header("s1", version=4))
    store.add("s1", 1, answer("e2", T0 + 1000, run="r1"))
    store.add("s1", 2, answer("e3", T0 + 2000, run="r2"))
    store.connection.execute(mark, ("b",))
    store.connection.execute("COMMIT")
    assert reader.poll().calls == 3


def test_vacuum_renumbers_rows(store: AgentStore) -> None:
    for place in range(30):
        store.add("s0", place, answer(f"x{place}", T0 + place, run="r0"))
    store.add("s1", 3, answer("e3", T0 + 2000, run="r1"))
    reader = Reader(store.path)
    assert reader.counted().calls == 33
    store.connection.execute("DELETE FROM transcript_events WHERE session_id = 's0'")
    store.connection.execute("VACUUM")
    store.add("s1", 4, answer("e4", T0 + 3000, run="r1"))
    assert reader.poll().calls == 34


def test_failed_attempts_show_in_the_trajectory_only(store: AgentStore) -> None:
    reader = Reader(store.path)
    for seq in range(3):
        store.attempt("s1", seq, "r2", T0 + 5000 + seq, stop="error", model="dear")
        reader.poll()
    assert reader.counted() == Counters(calls=2, errors=3, retries=2, failed_turns=1)
    store.attempt("s1", 3, "r2", T0 + 6000, model="cheap")
    store.add("s1", 3, answer("e3", T0 + 6000, run="r2", model="cheap"))
    assert reader.poll() == Counters(calls=3, errors=3, retries=2, fallbacks=1)
    assert Reader(store.path).counted() == reader.counted()


def test_an_error_entry_before_its_trajectory_is_not_counted_twice(store: AgentStore) -> None:
    reader = Reader(store.path)
    store.add("s1", 3, answer("x1", T0 + 5000, error="500", run="r2"))
    reader.database.changed()
    for batch in reader.agent.fresh(LATER):
        reader.events += batch
    reader.events += reader.agent.settle({"s1"}, LATER, grace=0)
    store.attempt("s1", 0, "r2", T0 + 5000, stop="error")
    store.trace("s1", 1, "r2", T0 + 5001, "session.ended", {"status": "error"})
    assert reader.poll() == Counters(calls=2, errors=1, failed_turns=1)


def test_a_new_database_lacks_its_tables_for_a_moment(tmp_path: Path) -> None:
    store = AgentStore(tmp_path, "main", tables=False)
    reader = Reader(store.path)
    assert reader.poll() == Counters()
    store.create_tables()
    store.add("s1", 0, answer("e1", T0, run="r1"))
    assert reader.poll().calls == 1
    store.close()


def test_a_newer_schema_is_read_as_far_as_it_is_the_same(tmp_path: Path) -> None:
    store = AgentStore(tmp_path, "main", schema=31)
    store.add("s1", 0, answer("e1", T0, run="r1"))
    store.connection.execute("ALTER TABLE transcript_events DROP COLUMN navigation_json")
    store.connection.execute("ALTER TABLE session_nodes DROP COLUMN label")
    store.connection.execute("DROP TABLE transcript_rewrite_watermarks")
    reader = Reader(store.path)
    assert reader.counted().calls == 1
    assert "schema 31 is newer than the known 23" in (reader.database.newer or "")
    store.close()


def test_bad_rows_are_counted_and_the_rest_goes_on(store: AgentStore) -> None:
    insert = "INSERT INTO transcript_events VALUES ('s1', ?, ?, 1, ?, 1, NULL)"
    bad = answer("e7", T0)
    bad["message"]["usage"]["output"] = 0.5
    store.connection.execute(insert, (10, None, b"\x28\xb5\x2f\xfd torn"))
    store.connection.execute(insert, (11, None, b"no zstd at all"))
    store.connection.execute(insert, (12, "{", None))
    store.connection.execute(insert, (13, None, None))
    store.add("s1", 14, bad)
    store.add("s1", 15, answer("e8", T0 + 9, run="r1"))
    reader = Reader(store.path)
    assert reader.counted().calls == 3
    assert dict(reader.progress.skipped) == {
        "a bad zstd frame": 2,
        "not JSON": 1,
        "a row without an event": 1,
        "a token count is negative, fractional or huge": 1,
    }


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "openclaw-agent.sqlite"
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)
    with pytest.raises(SourceError, match="damaged"):
        Reader(path)
    path.write_bytes(b"hello")
    with pytest.raises(SourceError, match="damaged"):
        Reader(path)


def test_a_locked_database_is_tried_again(tmp_path: Path) -> None:
    store = AgentStore(tmp_path, "main")
    store.connection.execute("PRAGMA journal_mode = DELETE")
    store.add("s1", 0, answer("e1", T0, run="r1"))
    reader = Reader(store.path)
    store.add("s1", 1, answer("e2", T0 + 1, run="r1"))
    store.connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SourceError, match="locked"):
        reader.poll()
    store.connection.execute("COMMIT")
    assert reader.poll().calls == 2
    store.close()


def test_a_database_that_is_replaced_is_read_anew(store: AgentStore, tmp_path: Path) -> None:
    reader = Reader(store.path)
    store.close()
    for leftover in store.path.parent.iterdir():
        leftover.unlink()
    other = AgentStore(tmp_path, "main")
    other.add("s1", 0, answer("e1", T0, run="r1"))
    other.add("s9", 0, answer("e9", T0 + 9, run="r1"))
    assert reader.poll().calls == 3
    other.close()


@pytest.mark.parametrize(
    ("status", "claimed", "alive", "state"),
    [
        ("running", True, True, State.RUNNING),
        ("running", True, False, State.IDLE),
        ("running", True, None, State.UNKNOWN),
        ("running", False, True, State.IDLE),
        ("done", False, True, State.IDLE),
        ("killed", False, True, State.IDLE),
        ("failed", False, True, State.ERROR),
        ("timeout", False, None, State.ERROR),
    ],
)
def test_running_needs_a_claim_and_a_live_owner(
    store: AgentStore, status: str, claimed: bool, alive: bool | None, state: State
) -> None:
    reader = Reader(store.path)
    store.window("s1", "agent:main:main", status, T0 + 5000)
    reader.poll()
    events = reader.agent.states({"s1": "exec"} if claimed else {}, alive=alive, now=LATER)
    found = [event for event in events if isinstance(event, SessionState)] or [
        event for event in reader.events if isinstance(event, SessionState)
    ]
    assert found[-1].state is state


def test_a_run_that_the_hold_refused_is_no_error_of_the_agent(store: AgentStore) -> None:
    reader = Reader(store.path)
    store.window("s1", "agent:main:main", "failed", T0 + 5000)
    entry = '{"lastRunError": "Unknown model: paused/by-clawtop"}'
    node = "INSERT INTO session_nodes VALUES ('agent:main:main', 's1', ?, ?, NULL, NULL, NULL, NULL, NULL)"
    store.connection.execute(node, (entry, T0 + 5000))
    reader.poll()
    assert seen(reader.events).rows[0].state is State.IDLE


def test_facts_of_a_session(store: AgentStore) -> None:
    node = "INSERT INTO session_nodes VALUES ('agent:main:main', 's1', ?, ?, 'api', 'bob', 'triage', NULL, 'p')"
    store.connection.execute(node, ('{"contextTokens": 1500}', T0))
    reader = Reader(store.path)
    (row,) = seen(reader.events).rows
    assert row.project == "api"
    assert row.context_pct == pytest.approx(10.0)


def test_nothing_is_ever_written(store: AgentStore) -> None:
    reader = Reader(store.path)
    with pytest.raises(SourceError, match="readonly"):
        list(reader.database._execute("DELETE FROM transcript_events"))
    assert sqlite3.connect(store.path).execute("SELECT count(*) FROM transcript_events").fetchone() == (3,)
