"""What is said and what is still counted where a part of a home cannot be read, or is not what it should be."""

import asyncio
import contextlib
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clawtop.discovery import discover
from clawtop.model.errors import SourceError
from clawtop.model.events import Event
from clawtop.model.snapshot import Counters, Grouping, Health
from clawtop.sources.events import EventsSource
from clawtop.sources.openclaw import OpenClawSource, home, sqlite
from clawtop.sources.openclaw.database import AgentDatabase
from tests import outlets
from tests.counted import LATER, seen, total
from tests.openclaw_homes import T0, AgentStore, answer, header, lines, session_file
from tests.outlets import Remembered

STORY = [header("s1"), answer("e1", T0), answer("e2", T0 + 1000)]
A_DAY = 86_400_000


def source(folder: Path) -> OpenClawSource:
    return OpenClawSource(f"openclaw:{folder}", folder)


async def once(folder: Path) -> Remembered:
    return await outlets.once(source(folder), LATER)


def counters(outlet: Remembered) -> Counters:
    return total(outlet.events).counters


def has_calls(count: int) -> Callable[[Remembered], bool]:
    return lambda so_far: counters(so_far).calls == count


def detail(outlet: Remembered) -> str:
    return outlet.status.detail if outlet.status is not None else ""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AgentStore]:
    store = AgentStore(tmp_path, "main")
    yield store
    store.close()


# ---- a part of a database


async def test_a_damaged_page_loses_its_rows_and_says_so(tmp_path: Path, store: AgentStore) -> None:
    for number in range(1000):
        store.add(f"s{number % 5}", number, answer(f"e{number}", T0 + number))
    store.spoil()
    outlet = await once(tmp_path)
    assert outlet.status is not None
    lost = outlet.status.skipped["rows that could not be read"]
    assert lost > 0
    assert counters(outlet).calls == 1000 - lost > 900


async def test_a_row_that_is_too_large_is_counted_and_the_rest_goes_on(
    tmp_path: Path, store: AgentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_LARGEST_VALUE", 100_000)
    for number in range(3):
        store.add("s1", number, answer(f"e{number}", T0, note="x" * 200_000 if number == 1 else ""))
    async with outlets.followed(source(tmp_path), LATER) as outlet:
        assert counters(outlet).calls == 2
        store.connection.execute("BEGIN")
        for number in range(3, 6):
            store.add("s1", number, answer(f"e{number}", T0, note="x" * 200_000 if number == 3 else ""))
        store.connection.execute("COMMIT")
        await outlet.until(lambda so_far: counters(so_far).calls == 4)
        await outlet.until(
            lambda so_far: so_far.status is not None and so_far.status.skipped == {"rows that could not be read": 2}
        )


@pytest.mark.parametrize(
    ("table", "column", "calls", "errors"),
    [
        ("session_windows", "updated_at", 2, 1),
        ("session_nodes", "updated_at", 2, 1),
        ("trajectory_runtime_events", "event_json", 2, 0),
        ("trajectory_runtime_events", "session_id", 2, 0),
        ("trajectory_runtime_events", "seq", 2, 1),
        ("transcript_events", "seq", 2, 1),
        ("transcript_rewrite_watermarks", "generation", 2, 1),
    ],
)
async def test_a_newer_schema_that_lacks_a_column_loses_what_needs_it_alone(
    tmp_path: Path, table: str, column: str, calls: int, errors: int
) -> None:
    store = AgentStore(tmp_path, "main", schema=30)
    store.window("s1", "agent:main:main")
    store.add("s1", 0, answer("e1", T0, run="r1"))
    store.attempt("s1", 0, "r1", T0, stop="error")
    store.connection.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO renamed")
    async with outlets.followed(source(tmp_path), LATER) as outlet:
        store.add("s1", 1, answer("e2", T0 + 1000, run="r1"))
        await outlet.until(lambda so_far: counters(so_far).calls == calls)
        assert counters(outlet).errors == errors
        assert "schema 30 is newer than the known 23" in detail(outlet)
    store.close()


async def test_a_newer_schema_without_what_everything_needs_is_named(tmp_path: Path, store: AgentStore) -> None:
    session_file(tmp_path, "other", "s1", STORY)
    store.connection.execute("ALTER TABLE transcript_events RENAME COLUMN session_id TO renamed")
    store.connection.execute("PRAGMA user_version = 30")
    outlet = await once(tmp_path)
    assert counters(outlet).calls == 2
    assert "main: transcript_events of schema 30 has no session_id, so it is not read" in detail(outlet)


# ---- a locked database


async def test_what_is_locked_is_waited_for_where_nothing_is_followed(
    tmp_path: Path, store: AgentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0)
    monkeypatch.setattr(home, "_AGAIN_SECONDS", 0.01)
    session_file(tmp_path, "other", "s1", STORY)
    lock(store)
    outlet = Remembered(lambda: LATER)
    task = asyncio.create_task(source(tmp_path).run(outlet, follow=False))
    await outlet.until(lambda so_far: counters(so_far).calls == 2 and "locked" in detail(so_far))
    assert {status.health for status in outlet.statuses} == {Health.READING}
    store.close()
    await task
    assert counters(outlet).calls == 3
    assert (outlet.statuses[-1].health, outlet.statuses[-1].skipped) == (Health.OK, {})


async def test_what_stays_locked_is_said(tmp_path: Path, store: AgentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0)
    monkeypatch.setattr(home, "_PATIENCE_SECONDS", 0.0)
    lock(store)
    with pytest.raises(SourceError, match="locked"):
        await once(tmp_path)
    session_file(tmp_path, "other", "s1", STORY)
    outlet = await once(tmp_path)
    assert detail(outlet).startswith("1 of the databases of 2 agents cannot be read; main: ")
    assert outlet.status is not None
    assert outlet.status.skipped == {"database is locked by another process; it is tried again": 1}


def lock(store: AgentStore) -> None:
    """Commit a call, and keep the database to oneself."""
    store.connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    store.add("s1", 0, answer("e9", T0))


async def test_one_try_at_a_lock_is_enough_for_all_sessions(
    tmp_path: Path, store: AgentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        store.add(f"s{number}", 0, answer(f"e{number}", T0))
    session_file(tmp_path, "other", "s1", STORY)
    read, tries = AgentDatabase.read, [0]

    def failing(self: AgentDatabase, session: str) -> Iterator[list[Event]]:
        tries[0] += 1
        if tries[0] == 1:
            raise sqlite.UnreadableError(self.database.path, sqlite._LOCKED)
        return read(self, session)

    monkeypatch.setattr(AgentDatabase, "read", failing)
    async with outlets.followed(source(tmp_path), LATER) as outlet:
        assert tries == [1]
        await outlet.until(lambda so_far: counters(so_far).calls == 7)
        await outlet.until(lambda so_far: detail(so_far) == "2 agents")


async def test_a_session_that_stays_unreadable_keeps_no_other_waiting(
    tmp_path: Path, store: AgentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        store.add(f"s{number}", 0, answer(f"e{number}", T0))
    session_file(tmp_path, "other", "s1", STORY)
    read, locked = AgentDatabase.read, [sqlite._LOCKED]

    def failing(self: AgentDatabase, session: str) -> Iterator[list[Event]]:
        if locked or session == "s3":
            raise sqlite.UnreadableError(
                self.database.path, locked.pop() if locked else "cannot be read: disk I/O error"
            )
        return read(self, session)

    monkeypatch.setattr(AgentDatabase, "read", failing)
    async with outlets.followed(source(tmp_path), LATER) as outlet:
        await outlet.until(has_calls(6))
        await outlet.until(lambda so_far: "disk I/O error" in detail(so_far))


# ---- a gateway that cannot be seen


class Clock:
    """The time, which the test moves."""

    def __init__(self) -> None:
        self.now = LATER

    def __call__(self) -> int:
        return self.now


@contextlib.asynccontextmanager
async def following(folder: Path, clock: Clock) -> AsyncIterator[Remembered]:
    outlet = Remembered(clock)
    task = asyncio.create_task(source(folder).run(outlet, follow=True))
    try:
        await outlet.until(lambda so_far: so_far.status is not None and so_far.status.health is Health.OK)
        yield outlet
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def claimed_elsewhere(folder: Path) -> None:
    """A gateway on another host holds the lease and works on s1."""
    path = folder / "state" / "openclaw.sqlite"
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.executescript("""
            CREATE TABLE worker_session_placements (agent_id TEXT, session_id TEXT, turn_claim_run_id TEXT);
            CREATE TABLE state_leases (scope TEXT, expires_at INTEGER, payload_json TEXT);
            INSERT INTO worker_session_placements VALUES ('main', 's1', 'r1');
        """)
        owner = json.dumps({"owner": {"pid": 7, "host": "elsewhere", "startedAt": 1}})
        connection.execute("INSERT INTO state_leases VALUES ('gateway-owner', ?, ?)", (LATER + A_DAY, owner))
    connection.close()


@pytest.mark.parametrize("claimed", [True, False])
async def test_an_error_and_its_later_trajectory_count_once_whoever_runs_the_gateway(
    tmp_path: Path, store: AgentStore, claimed: bool
) -> None:
    clock = Clock()
    if claimed:
        claimed_elsewhere(tmp_path)
    async with following(tmp_path, clock) as outlet:
        store.add("s1", 0, answer("x1", T0, error="500", run="r1"))
        await outlet.until(lambda so_far: so_far.status is not None and so_far.status.entries == 1)
        assert counters(outlet).errors == 0
        store.attempt("s1", 0, "r1", T0, stop="error")
        await outlet.until(lambda so_far: counters(so_far).errors == 1)
        clock.now += 60_000
        store.add("s1", 1, answer("e2", T0, run="r1"))
        await outlet.until(lambda so_far: so_far.status is not None and so_far.status.entries == 2)
        assert counters(outlet).errors == 1


async def test_an_error_without_any_trajectory_counts_after_a_while(tmp_path: Path, store: AgentStore) -> None:
    clock = Clock()
    async with following(tmp_path, clock) as outlet:
        store.add("s1", 0, answer("x1", T0, error="500", run="r1"))
        await outlet.until(lambda so_far: so_far.status is not None and so_far.status.entries == 1)
        clock.now += 3_000
        await outlet.until(lambda so_far: counters(so_far) == Counters(errors=1, failed_turns=1))
    assert counters(await once(tmp_path)) == Counters(errors=1, failed_turns=1)


# ---- whose it is


async def test_one_date_in_the_future_hides_no_later_session(tmp_path: Path, store: AgentStore) -> None:
    store.window("s0", "agent:main:main", at=LATER + 3 * A_DAY)
    async with outlets.followed(source(tmp_path), LATER) as outlet:
        store.window("s1", "agent:main:telegram:direct:ann", at=T0 + 5000)
        store.add("s1", 0, answer("e1", T0 + 5000))
        await outlet.until(lambda so_far: counters(so_far).calls == 1)
        assert [row.label for row in seen(outlet.events, Grouping.USER).rows if row.counters.calls] == ["ann"]


async def test_a_job_added_while_it_is_followed_goes_by_its_name(tmp_path: Path) -> None:
    jobs = tmp_path / "cron" / "jobs.json"
    jobs.parent.mkdir()
    jobs.write_text(json.dumps({"jobs": [{"id": "j1", "name": "nightly"}]}))
    session_file(tmp_path, "main", "s1", STORY)
    async with outlets.followed(source(tmp_path), LATER) as outlet:
        jobs.write_text(json.dumps({"jobs": [{"id": "j1", "name": "nightly"}, {"id": "j2", "name": "weekly"}]}))
        index = {"agent:main:cron:j2": {"sessionId": "s2"}}
        (tmp_path / "agents" / "main" / "sessions" / "sessions.json").write_text(json.dumps(index))
        session_file(tmp_path, "main", "s2", [header("s2"), answer("e9", T0)])
        await outlet.until(lambda so_far: counters(so_far).calls == 3)
        assert "weekly" in {row.label for row in seen(outlet.events, Grouping.CRON).rows}


# ---- folders and files one may not read, and odd names


def close_off(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Nobody may look into the folder, whoever runs the test."""
    look, listing = os.stat, os.scandir

    def refused(path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and folder in Path(path).parents

    def stat(path: Any, *arguments: Any, **more: Any) -> os.stat_result:
        if refused(path):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, *arguments, **more)

    def scandir(path: Any = ".") -> Any:
        if refused(path) or Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        ("agents/b", "b: "),
        ("agents/b/agent", "b: "),
        ("agents/b/sessions", "b/sessions: "),
        ("state", "state/openclaw.sqlite: "),
    ],
)
@pytest.mark.parametrize("follow", [True, False])
async def test_a_folder_one_may_not_look_into_is_named_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str, said: str, follow: bool
) -> None:
    session_file(tmp_path, "a", "s1", STORY)
    session_file(tmp_path, "b", "s1", [header("s1")])
    AgentStore(tmp_path, "b").close()
    claimed_elsewhere(tmp_path)
    close_off(monkeypatch, tmp_path / closed)
    if follow:
        async with outlets.followed(source(tmp_path), LATER) as outlet:
            session_file(tmp_path, "a", "s2", [header("s2"), answer("e9", T0)])
            await outlet.until(lambda so_far: counters(so_far).calls == 3)
    else:
        outlet = await once(tmp_path)
        assert counters(outlet).calls == 2
    assert said in detail(outlet)
    assert "Permission denied" in detail(outlet)


async def test_a_home_one_may_not_look_into_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close_off(monkeypatch, tmp_path / "closed")
    with pytest.raises(SourceError, match="cannot be read: Permission denied"):
        await once(tmp_path / "closed" / "home")
    with pytest.raises(SourceError, match="Permission denied"):
        await outlets.once(EventsSource("events:x", tmp_path / "closed" / "x"), LATER)
    (found,) = discover({}, tmp_path / "closed" / "me")
    assert found.uri == f"openclaw:{tmp_path}/closed/me/.openclaw"


async def test_names_that_are_no_text_are_spelled(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/agents/b\xff"))
    quiet = session_file(tmp_path, "a", "s1", STORY)
    path = odd / "sessions" / os.fsdecode(b"s\xfe.jsonl")
    path.parent.mkdir(parents=True)
    path.write_bytes(lines([header("s"), answer("e7", T0)]))
    AgentStore(tmp_path, odd.name).close()
    async with outlets.followed(source(tmp_path), LATER) as outlet:
        for place, entry in ((path, "e8"), (quiet, "e9")):
            with place.open("ab") as file:
                file.write(lines([answer(entry, T0 + 5000)]))
        await outlet.until(lambda so_far: counters(so_far).calls == 5)
        rows = {row.label: row.counters.calls for row in seen(outlet.events).rows}
        assert rows == {"a": 3, "b\\xff": 2}
        assert {row.label for row in seen(outlet.events, Grouping.SESSION).rows} == {"s1", "s\\xfe"}
        detail(outlet).encode()


async def test_a_file_whose_name_is_no_text_does_not_end_the_others(tmp_path: Path) -> None:
    quiet = session_file(tmp_path, "a", "s1", STORY)
    odd = quiet.with_name(os.fsdecode(b"s\xfe.jsonl"))
    odd.write_bytes(lines([header("s")]))
    async with outlets.followed(source(tmp_path), LATER) as outlet:
        for number in range(3):
            for place in (odd, quiet):
                with place.open("ab") as file:
                    file.write(lines([answer(f"{number} {place == odd}", T0 + 5000)]))
            await outlet.until(has_calls(4 + 2 * number))


async def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    path = session_file(tmp_path, "a", "s1", STORY)
    for loop in (tmp_path / "agents" / "loop", path.with_name("loop.jsonl")):
        loop.symlink_to(loop.name)
    outlet = await once(tmp_path)
    assert counters(outlet).calls == 2
    assert "agents/loop: cannot be read: Too many levels of symbolic links" in detail(outlet)
    assert "loop.jsonl: cannot be read: Too many levels of symbolic links" in detail(outlet)


async def test_pipes_in_the_place_of_files_are_not_waited_for(tmp_path: Path) -> None:
    path = session_file(tmp_path, "a", "s1", STORY)
    (tmp_path / "cron").mkdir()
    for pipe in (tmp_path / "cron" / "jobs.json", path.with_name("s1.jsonl.lock"), path.with_name("sessions.json")):
        os.mkfifo(pipe)
    assert counters(await asyncio.wait_for(once(tmp_path), 20)).calls == 2
