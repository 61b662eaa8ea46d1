"""A whole home: found, read, followed, and what is said when something is wrong with it."""

import asyncio
import json
import sqlite3
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from clawtop.model.errors import SourceError
from clawtop.model.events import PriceList, SessionState, State
from clawtop.model.snapshot import Basis, Grouping, Health
from clawtop.sources.openclaw import OpenClawSource, find_homes
from clawtop.sources.openclaw import state as gateway_state
from clawtop.sources.openclaw.sqlite import Database
from clawtop.sources.openclaw.state import StateDatabase
from clawtop.sources.processes import this_host
from tests import outlets
from tests.counted import LATER, seen, total
from tests.openclaw_homes import T0, AgentStore, answer, header, lines, session_file
from tests.outlets import Remembered

STORY = [header("s1"), answer("e1", T0), answer("e2", T0 + 1000)]


def followed(home: Path) -> AbstractAsyncContextManager[Remembered]:
    """The source, running, once it has read what was there."""
    return outlets.followed(OpenClawSource(f"openclaw:{home}", home), LATER)


async def once(home: Path) -> Remembered:
    return await outlets.once(OpenClawSource(f"openclaw:{home}", home), LATER)


def calls(outlet: Remembered) -> int:
    return total(outlet.events).counters.calls


async def test_an_appended_line_and_a_commit_arrive(tmp_path: Path) -> None:
    path = session_file(tmp_path, "main", "s1", STORY)
    store = AgentStore(tmp_path, "coder")
    async with followed(tmp_path) as outlet:
        assert calls(outlet) == 2
        with path.open("ab") as file:
            file.write(lines([answer("e3", T0 + 2000)]))
        await outlet.until(lambda so_far: calls(so_far) == 3)
        store.add("s9", 0, answer("e9", T0 + 3000, run="r"))
        await outlet.until(lambda so_far: calls(so_far) == 4)
    store.close()


async def test_an_agent_that_appears_later_is_found(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    async with followed(tmp_path) as outlet:
        assert "no agents yet" in ((outlet.status and outlet.status.detail) or "")
        session_file(tmp_path, "late", "s1", STORY)
        await outlet.until(lambda so_far: calls(so_far) == 2)


async def test_both_generations_in_one_home_count_once(tmp_path: Path) -> None:
    session_file(tmp_path, "main", "s1", STORY)
    store = AgentStore(tmp_path, "main")
    for seq, entry in enumerate([*STORY, answer("e3", T0 + 2000, run="r")]):
        store.add("s1", seq, entry)
    assert calls(await once(tmp_path)) == 3
    store.close()


async def test_an_agent_without_calls_has_a_row(tmp_path: Path) -> None:
    (tmp_path / "agents" / "idle").mkdir(parents=True)
    (row,) = seen((await once(tmp_path)).events).rows
    assert (row.label, row.state) == ("idle", State.IDLE)


async def test_missing_and_unreadable_homes_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"does not exist; name OpenClaw's state directory with -s openclaw:DIR"):
        await once(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="cannot be read"):
        await once(tmp_path / "file")


async def test_a_damaged_database_is_named_while_the_others_are_read(tmp_path: Path) -> None:
    store = AgentStore(tmp_path, "good")
    store.add("s1", 0, answer("e1", T0, run="r"))
    bad = tmp_path / "agents" / "bad" / "agent" / "openclaw-agent.sqlite"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"hello" * 1000)
    outlet = await once(tmp_path)
    assert calls(outlet) == 1
    assert outlet.status is not None
    assert "bad:" in outlet.status.detail
    assert "damaged" in outlet.status.detail
    store.close()


async def test_a_home_of_which_nothing_can_be_read_is_down(tmp_path: Path) -> None:
    bad = tmp_path / "agents" / "bad" / "agent" / "openclaw-agent.sqlite"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"hello" * 1000)
    with pytest.raises(SourceError, match="damaged"):
        await once(tmp_path)


async def test_a_home_that_goes_away_is_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    session_file(home, "main", "s1", STORY)
    outlet = Remembered(lambda: LATER)
    task = asyncio.create_task(OpenClawSource("openclaw:x", home).run(outlet, follow=True))
    await outlet.until(lambda so_far: so_far.status is not None and so_far.status.health is Health.OK)
    home.rename(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="is gone"):
        await asyncio.wait_for(task, 20)


@pytest.mark.parametrize(
    ("config", "known"),
    [
        ("{\n // prices\n models: {providers: {mock: {models: [{id: 'free', cost: {input: 0, output: 0}}]}}}}", True),
        ("{ this is not json5", False),
        ("[]", False),
        ("", False),
    ],
)
async def test_prices_come_from_a_config_in_json5(tmp_path: Path, config: str, known: bool) -> None:
    session_file(tmp_path, "main", "s1", [answer("e1", T0, cost=0, model="free")])
    (tmp_path / "openclaw.json").write_text(config)
    outlet = await once(tmp_path)
    prices = next(event for event in outlet.events if isinstance(event, PriceList)).prices
    assert (("mock", "free") in prices) is known
    assert total(outlet.events).counters.unpriced_calls == (0 if known else 1)
    if config in ("", "{ this is not json5"):
        assert outlet.status is not None
        assert "openclaw.json" in outlet.status.detail


@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_the_prices_of_one_home_are_not_those_of_another(tmp_path: Path, order: str) -> None:
    for home, price in (("a", 1), ("b", 0)):
        model = {"id": "free", "cost": {"input": price, "output": 0}}
        session_file(tmp_path / home, f"of-{home}", "s1", [answer("e1", T0, cost=0, model="free")])
        config = {"models": {"providers": {"mock": {"models": [model]}}}}
        (tmp_path / home / "openclaw.json").write_text(json.dumps(config))
    events = [event for home in order for event in (await once(tmp_path / home)).events]
    rows = {row.label: (row.cost > 0, row.basis) for row in seen(events).rows}
    assert rows == {"of-a": (True, Basis.PRICED), "of-b": (False, Basis.PRICED)}


async def test_an_agent_that_appears_later_has_the_prices_of_its_home(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    model = {"id": "free", "cost": {"input": 0, "output": 0}}
    (tmp_path / "openclaw.json").write_text(json.dumps({"models": {"providers": {"mock": {"models": [model]}}}}))
    async with followed(tmp_path) as outlet:
        session_file(tmp_path, "late", "s1", [answer("e1", T0, cost=0, model="free")])
        await outlet.until(lambda so_far: calls(so_far) == 1)
    assert total(outlet.events).counters.unpriced_calls == 0


async def test_hostile_names_are_names(tmp_path: Path) -> None:
    names = ["\x1b[2J", "[bold]", "a" * 200, "\u202eevil"]
    for name in names:
        session_file(tmp_path, name, "s1", STORY)
    rows = {row.label: row for row in seen((await once(tmp_path)).events, Grouping.AGENT).rows}
    assert rows.keys() == set(names)
    assert all(row.counters.calls == 2 for row in rows.values())


def gateway(home: Path, *, host: str | None = None, pid: int = 2**22 + 1) -> StateDatabase:
    """A state database with two cancelled runs, an unmetered one under two sessions, and a lease."""
    path = home / "state" / "openclaw.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.executescript("""
            CREATE TABLE audit_events (sequence INTEGER PRIMARY KEY, occurred_at INTEGER, kind TEXT, action TEXT,
                status TEXT, agent_id TEXT, session_key TEXT, session_id TEXT, run_id TEXT);
            CREATE TABLE worker_session_placements (agent_id TEXT, session_id TEXT, turn_claim_run_id TEXT);
            CREATE TABLE state_leases (scope TEXT, expires_at INTEGER, payload_json TEXT);
            CREATE TABLE cron_jobs (job_id TEXT, name TEXT);
            CREATE TABLE task_runs (run_id TEXT, last_tool_name TEXT, status TEXT);
            INSERT INTO cron_jobs VALUES ('j1', 'nightly');
            INSERT INTO worker_session_placements VALUES ('main', 's1', 'r1'), ('main', 's2', NULL);
            INSERT INTO task_runs VALUES ('r1', 'exec', 'running');
        """)
        finished = [
            ("s1", "r1", "cancelled"),
            ("s1", "r2", "cancelled"),
            ("s1", "r1", "cancelled"),
            ("s1", "r3", "failed"),
        ]
        for session, run, status in finished:
            row = (T0, "agent_run", "agent.run.finished", status, "main", "agent:main:main", session, run)
            connection.execute("INSERT INTO audit_events VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        for session in ("x", "s1"):
            key = "agent:main:internal-session-effects:skill-workshop-review_1"
            for action, status in (("started", "started"), ("finished", "cancelled")):
                run = "skill-workshop-review:1"
                row = (T0, "agent_run", f"agent.run.{action}", status, "main", key, session, run)
                connection.execute("INSERT INTO audit_events VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        payload = json.dumps({"owner": {"pid": pid, "host": host or this_host(), "startedAt": 1}, "port": 1})
        connection.execute("INSERT INTO state_leases VALUES ('gateway-owner', ?, ?)", (LATER + 1, payload))
    connection.close()
    return StateDatabase(Database(path, newest_known=gateway_state.KNOWN_SCHEMA), "local")


async def test_the_audit_log_tells_aborts_and_unmetered_runs_once(tmp_path: Path) -> None:
    gateway(tmp_path)
    session_file(tmp_path, "main", "s1", STORY)
    counters = total((await once(tmp_path)).events).counters
    assert (counters.aborts, counters.unmetered_runs) == (3, 1)


def test_claims_jobs_and_owner(tmp_path: Path) -> None:
    state = gateway(tmp_path)
    state.look()
    assert state.claims == {("main", "s1"): "exec"}
    assert state.cron_names == {"j1": "nightly"}
    state.check_owner(LATER)
    assert state.alive is False


def test_an_owner_on_another_host_cannot_be_seen(tmp_path: Path) -> None:
    state = gateway(tmp_path, host="elsewhere")
    state.check_owner(LATER)
    assert state.alive is None
    state.check_owner(LATER + 600_000)
    assert state.alive is False


async def test_after_kill_9_nothing_runs_whatever_the_database_says(tmp_path: Path) -> None:
    gateway(tmp_path)
    store = AgentStore(tmp_path, "main")
    store.add("s1", 0, answer("e1", T0, run="r1"))
    store.window("s1", "agent:main:main", "running", T0)
    outlet = await once(tmp_path)
    states = [event.state for event in outlet.events if isinstance(event, SessionState)]
    assert State.RUNNING not in states
    store.close()


def test_homes_are_where_the_environment_says(tmp_path: Path) -> None:
    assert find_homes({}, tmp_path) == [(tmp_path / ".openclaw", None)]
    assert find_homes({"OPENCLAW_HOME": "/srv/a"}, tmp_path) == [(Path("/srv/a/.openclaw"), None)]
    both = {"OPENCLAW_HOME": "/srv/a", "OPENCLAW_STATE_DIR": "/srv/b", "OPENCLAW_CONFIG_PATH": "/srv/c.json"}
    assert find_homes(both, tmp_path) == [(Path("/srv/b"), Path("/srv/c.json"))]
