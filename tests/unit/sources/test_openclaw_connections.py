"""A home with more databases than a process may open at once, and what is said of those that cannot be opened."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clawtop.model.errors import SourceError
from clawtop.model.events import Event
from clawtop.model.snapshot import Health
from clawtop.sources.openclaw import OpenClawSource, sqlite
from clawtop.sources.openclaw.database import AgentDatabase
from clawtop.sources.openclaw.sqlite import Connections, Database
from tests import outlets
from tests.counted import LATER, total
from tests.openclaw_homes import T0, AgentStore, answer

LONG_AGO_NS = (T0 - 3_600_000) * 1_000_000


def agents(home: Path, count: int) -> None:
    """So many agents with one call each."""
    for number in range(count):
        store = AgentStore(home, f"a{number}")
        store.add("s", 0, answer(f"e{number}", T0, run="r"))
        store.close()


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


def stand_still(path: Path) -> None:
    """Nothing was written to the database for long."""
    for each in path.parent.iterdir():
        os.utime(each, ns=(LONG_AGO_NS, LONG_AGO_NS))


def refuse(monkeypatch: pytest.MonkeyPatch, refused: Callable[[Path], bool]) -> None:
    """Let opening some databases fail as it does without descriptors."""
    connect = sqlite._connect

    def refusing(path: Path, how: str) -> sqlite3.Connection:
        if refused(path):
            raise sqlite3.OperationalError("unable to open database file")
        return connect(path, how)

    monkeypatch.setattr(sqlite, "_connect", refusing)


async def test_many_databases_take_few_descriptors_and_each_commit_arrives(tmp_path: Path) -> None:
    agents(tmp_path, 80)
    before = descriptors()
    async with outlets.followed(OpenClawSource(f"openclaw:{tmp_path}", tmp_path), LATER) as outlet:
        assert total(outlet.events).counters.calls == 80
        assert descriptors() - before < 110
        for number in (0, 40, 79):
            store = AgentStore(tmp_path, f"a{number}", tables=False)
            store.add("s", 1, answer(f"later{number}", T0 + 1000, run="r"))
            store.close()
        await outlet.until(lambda so_far: total(so_far.events).counters.calls == 83)


def test_a_database_that_rests_is_opened_again_only_where_its_files_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = [AgentStore(tmp_path, name) for name in ("one", "two")]
    connections = Connections(most=1)
    one, two = (Database(store.path, newest_known=23, connections=connections) for store in stores)
    for store in stores:
        stand_still(store.path)
    assert (one.changed(), two.changed()) == (True, True)
    opened: list[Path] = []

    def noted(path: Path) -> bool:
        opened.append(path)
        return False

    refuse(monkeypatch, noted)
    assert (one.changed(), two.changed(), one.changed()) == (False, False, False)
    assert opened == []
    stores[0].add("s", 0, answer("e", T0))
    assert one.changed()
    assert opened == [one.path]
    connections.close()
    for store in stores:
        store.close()


def test_a_commit_that_files_need_not_show_is_not_missed(tmp_path: Path) -> None:
    stores = [AgentStore(tmp_path, name) for name in ("one", "two")]
    connections = Connections(most=1)
    one, two = (Database(store.path, newest_known=23, connections=connections) for store in stores)
    assert (one.changed(), two.changed()) == (True, True)
    assert one.changed(), "its files are so fresh that their times say nothing"
    connections.close()
    for store in stores:
        store.close()


def test_rows_are_read_to_the_end_while_others_are_opened(tmp_path: Path) -> None:
    agents(tmp_path, 3)
    connections = Connections(most=1)
    first, *others = (
        Database(path, newest_known=23, connections=connections)
        for path in sorted(tmp_path.glob("agents/*/agent/openclaw-agent.sqlite"))
    )
    rows = first.select("transcript_events", ("seq",), "UNION ALL SELECT 1 UNION ALL SELECT 2")
    found = [next(rows)]
    for other in others:
        assert list(other.select("transcript_events", ("seq",))) == [(0,)]
    assert [*found, *rows] == [(0,), (1,), (2,)]
    connections.close()


async def test_databases_that_cannot_be_opened_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agents(tmp_path, 5)
    refuse(monkeypatch, lambda path: path.parts[-3] in ("a1", "a3", "a4"))
    outlet = await outlets.once(OpenClawSource(f"openclaw:{tmp_path}", tmp_path), LATER)
    assert total(outlet.events).counters.calls == 2
    assert outlet.status is not None
    assert outlet.status.detail.startswith("3 of the databases of 5 agents cannot be read; a1: ")
    assert outlet.status.skipped == {"database cannot be read: unable to open database file": 3}


async def test_a_database_that_cannot_be_opened_for_a_while_is_read_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents(tmp_path, 2)
    refused = {"a1"}
    refuse(monkeypatch, lambda path: path.parts[-3] in refused)
    async with outlets.followed(OpenClawSource(f"openclaw:{tmp_path}", tmp_path), LATER) as outlet:
        refused.clear()
        await outlet.until(lambda so_far: total(so_far.events).counters.calls == 2)
        await outlet.until(lambda so_far: so_far.status is not None and not so_far.status.skipped)
        assert outlet.status is not None
        assert outlet.status.health is Health.OK


async def test_a_session_that_could_not_be_read_is_not_forgotten_over_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents(tmp_path, 1)
    store = AgentStore(tmp_path, "a0", tables=False)
    store.add("other", 0, answer("another", T0 + 1000, run="r"))
    read, refused = AgentDatabase.read, ["a session"]

    def failing(self: AgentDatabase, session: str) -> Iterator[list[Event]]:
        if refused:
            refused.pop()
            raise sqlite.UnreadableError(self.database.path, "cannot be read: disk I/O error")
        return read(self, session)

    monkeypatch.setattr(AgentDatabase, "read", failing)
    async with outlets.followed(OpenClawSource(f"openclaw:{tmp_path}", tmp_path), LATER) as outlet:
        said = [status for status in outlet.statuses if status.health is Health.OK]
        assert "cannot be read: disk I/O error" in said[0].detail
        await outlet.until(lambda so_far: total(so_far.events).counters.calls == 2)
        await outlet.until(lambda so_far: so_far.status is not None and so_far.status.detail == "1 agent")
    store.close()


def test_the_systems_words_say_why_a_database_cannot_be_opened(tmp_path: Path) -> None:
    database = Database(tmp_path, newest_known=23)
    with pytest.raises(SourceError, match="cannot be read: Is a directory"):
        database.changed()
