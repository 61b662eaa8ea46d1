"""Databases that are locked, in folders one may not write to, damaged in part, or no databases at all."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clawtop.model.errors import SourceError
from clawtop.sources.openclaw import sqlite
from clawtop.sources.openclaw.sqlite import Database, UnreadableError
from tests.openclaw_homes import T0, AgentStore, answer

NEW = 23


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AgentStore]:
    store = AgentStore(tmp_path, "main")
    yield store
    store.close()


def rows(database: Database) -> list[object]:
    """The numbers of the transcript's rows, 'lost' for those that cannot be read."""
    found = database.rows(
        "transcript_events",
        ("rowid", "seq", "event_json"),
        ("session_id", "session_id = :s"),
        order="seq",
        values={"s": "s"},
    )
    return [row[1] if len(row) > 1 else "lost" for row in found]


def test_a_database_that_was_locked_at_first_is_not_frozen(store: AgentStore) -> None:
    store.connection.execute("PRAGMA journal_mode = DELETE")
    store.add("s", 0, answer("e0", T0))
    store.connection.execute("BEGIN EXCLUSIVE")
    database = Database(store.path, newest_known=NEW)
    with pytest.raises(UnreadableError, match="locked") as told:
        database.changed()
    assert told.value.locked
    store.connection.execute("COMMIT")
    assert database.changed()
    assert rows(database) == [0]
    store.add("s", 1, answer("e1", T0))
    assert database.changed()
    assert rows(database) == [0, 1]


def test_a_database_in_a_folder_one_may_not_write_to_goes_on_when_somebody_writes(
    store: AgentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("s", 0, answer("e0", T0))
    store.close()
    log, connect = store.path.with_name(store.path.name + "-wal"), sqlite._connect
    assert not log.exists()

    def refusing(path: Path, how: str) -> sqlite3.Connection:
        if how == "mode=ro" and not log.exists():
            raise sqlite3.OperationalError("unable to open database file")
        return connect(path, how)

    monkeypatch.setattr(sqlite, "_connect", refusing)
    long_ago = (T0 - 3_600_000) * 1_000_000
    os.utime(store.path, ns=(long_ago, long_ago))
    database = Database(store.path, newest_known=NEW)
    assert database.changed()
    assert rows(database) == [0]
    assert not database.changed()
    store.connection = sqlite3.connect(store.path, isolation_level=None)
    store.add("s", 1, answer("e1", T0))
    assert log.exists()
    assert database.changed()
    assert rows(database) == [0, 1]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    said: list[str] = []

    def look() -> None:
        try:
            Database(tmp_path / "pipe", newest_known=NEW).changed()
        except SourceError as error:
            said.append(str(error))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert said == [f"{tmp_path}/pipe cannot be read: it is a pipe or a device"]


def test_a_row_that_is_too_large_is_lost_alone(store: AgentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_LARGEST_VALUE", 100_000)
    for seq in range(5):
        store.add("s", seq, answer(f"e{seq}", T0, note="x" * 200_000 if seq in (1, 3) else ""))
    assert rows(Database(store.path, newest_known=NEW)) == [0, "lost", 2, "lost", 4]


def test_rows_on_a_damaged_page_are_lost_alone(store: AgentStore) -> None:
    for seq in range(1000):
        store.add("s", seq, answer(f"e{seq}", T0))
    store.spoil()
    found = rows(Database(store.path, newest_known=NEW))
    assert len(found) == 1000
    assert 0 < found.count("lost") < 100


def test_a_test_or_an_order_that_needs_a_missing_column_is_left_out(store: AgentStore) -> None:
    store.add("s", 0, answer("e0", T0))
    store.connection.execute("ALTER TABLE transcript_events RENAME COLUMN created_at TO made_at")
    database = Database(store.path, newest_known=NEW)
    assert database.changed()
    where = database.where(
        "transcript_events", ("created_at", "created_at > 9"), ("seq", "seq = 0"), order="created_at"
    )
    assert where == "WHERE seq = 0 ORDER BY rowid"
    with pytest.raises(SourceError, match=r"transcript_events of schema 23 has no created_at, so it is not read"):
        database.need("transcript_events", "seq", "created_at")
