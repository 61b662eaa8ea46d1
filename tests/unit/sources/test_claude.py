"""A folder of Claude Code: found, read, followed, and what its processes' records say."""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from clawtop.discovery import discover
from clawtop.model.errors import SourceError
from clawtop.model.events import Blind, Call, Event, SessionState, State
from clawtop.model.local import LocalWork
from clawtop.model.snapshot import Health, Row
from clawtop.sources.claude import ClaudeSource, find_folders
from tests import outlets
from tests.bench.claude_logs import write
from tests.claude_lines import SLUG, T0, answer, api_error, gave_up, result, said, text, usage
from tests.counted import LATER, seen, total
from tests.outlets import Remembered

STARTED = time.time_ns() // 1_000_000
STORY = text(said("go"), answer(ms=10, tools=["t1"]), result("t1", 20), answer("msg_2", 30))


def log(folder: Path, name: str = "s1.jsonl", data: bytes = STORY, slug: str = SLUG) -> Path:
    """A log below `projects`."""
    path = folder / "projects" / slug / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def record(folder: Path, **fields: object) -> Path:
    """What a running Claude Code leaves in `sessions`; the process is this test's."""
    pid = fields.get("pid", os.getpid())
    path = folder / "sessions" / f"{pid}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(orjson.dumps({"pid": pid, "sessionId": "s1", "cwd": "/srv/api", "startedAt": STARTED, **fields}))
    return path


@contextlib.asynccontextmanager
async def followed(folder: Path) -> AsyncIterator[tuple[ClaudeSource, Remembered]]:
    """The source, running, once it has read what was there."""
    source = ClaudeSource(f"claude:{folder}", folder)
    async with outlets.followed(source, LATER) as outlet:
        yield source, outlet


async def once(folder: Path, source: ClaudeSource | None = None) -> Remembered:
    return await outlets.once(source or ClaudeSource(f"claude:{folder}", folder), LATER)


def calls(outlet: Remembered) -> int:
    return total(outlet.events).counters.calls


def rows(outlet: Remembered) -> dict[str, Row]:
    return {row.label: row for row in seen(outlet.events).rows}


def states(outlet: Remembered) -> list[State]:
    return [event.state for event in outlet.events if isinstance(event, SessionState)]


@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_a_message_that_two_folders_hold_counts_as_the_fuller_of_both_says(tmp_path: Path, order: str) -> None:
    for name, output in (("a", 1), ("b", 500)):
        log(tmp_path / name, data=text(answer("msg_1", usage=usage(output))))
    named = ",".join(str(tmp_path / name) for name in order)
    events: list[Event] = []
    for source in discover({"CLAUDE_CONFIG_DIR": named}, tmp_path):
        events += (await outlets.once(source, LATER)).events
    assert (total(events).tokens.output, total(events).counters.calls) == (500, 1)


async def test_every_project_and_subagent_is_read(tmp_path: Path) -> None:
    log(tmp_path)
    log(tmp_path, "s1/subagents/agent-a7.jsonl", text(answer("msg_7", isSidechain=True, agentId="a7")))
    log(tmp_path, "s9.jsonl", text(answer("msg_9", cwd="/srv/web")), slug="-srv-web")
    log(tmp_path, "notes.md", b"# not a log")
    log(tmp_path, "s1/tool-results/out.txt", b"large")
    outlet = await once(tmp_path)
    assert {name: row.counters.calls for name, row in rows(outlet).items()} == {"claude:api": 3, "claude:web": 1}
    assert outlet.status is not None
    assert (outlet.status.health, outlet.status.detail, outlet.status.entries) == (Health.OK, "3 session logs", 6)
    assert outlet.status.bytes == outlet.status.expected > 0
    assert {event.key.agent for event in outlet.events if isinstance(event, Blind)} == {"claude:api", "claude:web"}


async def test_what_the_generator_wrote_is_what_is_counted(tmp_path: Path) -> None:
    truth = write(tmp_path, megabytes=2.5, projects=2, seed=3)
    counted = rows(await once(tmp_path))
    assert counted.keys() == truth.keys()
    for agent, expected in truth.items():
        row, wanted = counted[agent], expected.counts
        tokens = dict(zip(row.tokens._fields, row.tokens, strict=True))
        names = ("calls", "errors", "retries", "fallbacks", "failed_turns", "aborts", "tool_calls", "tool_errors")
        assert tokens == {name: wanted[name] for name in tokens}
        assert {name: getattr(row.counters, name) for name in names} == {name: wanted[name] for name in names}
        assert (row.counters.compactions, row.sessions) == (wanted["compactions"], wanted["sessions"])
        assert row.cost / 1e6 == pytest.approx(expected.cost, abs=1e-4)


async def test_an_appended_line_and_new_logs_arrive(tmp_path: Path) -> None:
    path = log(tmp_path)
    async with followed(tmp_path) as (_, outlet):
        with path.open("ab") as file:
            file.write(text(answer("msg_3", 40)))
        await outlet.until(lambda so_far: calls(so_far) == 3)
        log(tmp_path, "s2.jsonl", text(answer("msg_4")))
        await outlet.until(lambda so_far: calls(so_far) == 4)
        log(tmp_path, "s2/subagents/agent-a1.jsonl", text(answer("msg_5", isSidechain=True, agentId="a1")))
        await outlet.until(lambda so_far: calls(so_far) == 5)
        log(tmp_path, "s3.jsonl", text(answer("msg_6", cwd="/srv/new")), slug="-srv-new")
        await outlet.until(lambda so_far: calls(so_far) == 6)
        assert "claude:new" in rows(outlet)


async def test_projects_may_appear_later(tmp_path: Path) -> None:
    async with followed(tmp_path) as (_, outlet):
        assert outlet.status is not None
        assert outlet.status.detail == f"no sessions yet in {tmp_path}"
        log(tmp_path)
        await outlet.until(lambda so_far: calls(so_far) == 2)


async def test_a_message_that_grows_is_shown_at_once_and_ends_right(tmp_path: Path) -> None:
    path = log(tmp_path, data=text(said("go")))
    async with followed(tmp_path) as (_, outlet):
        for number, output in enumerate((1, 20, 50)):
            with path.open("ab") as file:
                file.write(text(answer(ms=100 * number, usage=usage(output))))
            await outlet.until(lambda so_far, wanted=output: total(so_far.events).tokens.output == wanted)  # type: ignore[misc]
        assert calls(outlet) == 1
        assert len([event for event in outlet.events if isinstance(event, Call)]) == 1


async def test_a_torn_line_waits_for_its_end(tmp_path: Path) -> None:
    whole = text(answer("msg_3", 40))
    path = log(tmp_path, data=STORY + whole[:50])
    async with followed(tmp_path) as (_, outlet):
        assert calls(outlet) == 2
        with path.open("ab") as file:
            file.write(whole[50:])
        await outlet.until(lambda so_far: calls(so_far) == 3)
        assert outlet.status is not None
        assert outlet.status.skips == 0


async def test_a_log_that_is_written_anew_counts_once(tmp_path: Path) -> None:
    path = log(tmp_path)
    async with followed(tmp_path) as (_, outlet):
        fresh = path.with_suffix(".tmp")
        fresh.write_bytes(text(said("other first words")) + STORY + text(answer("msg_3", 40)))
        fresh.rename(path)
        await outlet.until(lambda so_far: calls(so_far) == 3)


async def test_a_second_reading_counts_nothing_again(tmp_path: Path) -> None:
    path = log(tmp_path, data=text(answer(usage=usage(1))))
    source = ClaudeSource("claude:x", tmp_path)
    first = await once(tmp_path, source)
    with path.open("ab") as file:
        file.write(text(answer(ms=9)))
    again = await once(tmp_path, source)
    row = total([*first.events, *again.events])
    assert (row.counters.calls, row.tokens.output) == (1, 50)


async def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    log(tmp_path, data=STORY + b"\0" * 5000 + b"\n" + b'{"type":"assistant","usage"\n' + text(answer("msg_3", 40)))
    log(tmp_path, "s2.jsonl", b'{"type":"user","text":"' + b"x" * (17 << 20) + b'"}\n' + text(answer("msg_4")))
    (tmp_path / "projects" / SLUG / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "projects" / SLUG / "pipe.jsonl")
    outlet = await once(tmp_path)
    assert calls(outlet) == 4
    assert outlet.status is not None
    assert outlet.status.skipped == {"not JSON": 2, "a line over 16 MiB": 1}


async def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere does not exist; name the folder with -s claude:DIR"):
        await once(tmp_path / "nowhere")


async def test_a_folder_that_goes_away_ends_the_source(tmp_path: Path) -> None:
    folder = tmp_path / "claude"
    log(folder)
    outlet = Remembered(lambda: LATER)
    task = asyncio.create_task(ClaudeSource("claude:x", folder).run(outlet, follow=True))
    await outlet.until(lambda so_far: so_far.status is not None and so_far.status.health is Health.OK)
    shutil.rmtree(folder)
    with pytest.raises(SourceError, match="does not exist"):
        await asyncio.wait_for(task, 20)


# ---- processes


async def test_where_no_records_are_kept_the_state_is_unknown(tmp_path: Path) -> None:
    log(tmp_path)
    assert states(await once(tmp_path)) == [State.UNKNOWN]


@pytest.mark.parametrize(
    ("status", "state"),
    [("busy", State.RUNNING), ("idle", State.IDLE), (None, State.UNKNOWN), ("dreaming", State.UNKNOWN)],
)
async def test_a_live_process_says_what_it_does(tmp_path: Path, status: str | None, state: State) -> None:
    log(tmp_path)
    record(tmp_path, status=status)
    assert states(await once(tmp_path)) == [state]


async def test_a_subagent_is_not_said_to_run_because_its_session_does(tmp_path: Path) -> None:
    log(tmp_path, "s1/subagents/agent-a7.jsonl", text(answer("msg_7", isSidechain=True, agentId="a7")))
    record(tmp_path, status="busy")
    assert states(await once(tmp_path)) == [State.UNKNOWN]


@pytest.mark.parametrize("fields", [{"pid": 2**22 + 1}, {"startedAt": 1000}, {"pid": "1"}, {"sessionId": None}])
async def test_a_record_that_was_left_behind_means_nothing(tmp_path: Path, fields: dict[str, object]) -> None:
    log(tmp_path)
    record(tmp_path, **{"status": "busy", **fields})
    assert states(await once(tmp_path)) == [State.IDLE]


async def test_records_that_are_no_records_are_passed_over(tmp_path: Path) -> None:
    log(tmp_path)
    for name, data in (("1.json", b"{"), ("2.json", b"[]"), ("3.json", b"\0" * 100_000), ("4.txt", b"{}")):
        (tmp_path / "sessions").mkdir(exist_ok=True)
        (tmp_path / "sessions" / name).write_bytes(data)
    assert states(await once(tmp_path)) == [State.IDLE]


async def test_a_session_whose_last_turn_failed_is_in_error(tmp_path: Path) -> None:
    log(tmp_path, data=STORY + text(api_error(40), gave_up(50)))
    (tmp_path / "sessions").mkdir()
    assert states(await once(tmp_path)) == [State.ERROR]


async def test_a_process_that_begins_and_ends_is_seen(tmp_path: Path) -> None:
    log(tmp_path)
    (tmp_path / "sessions").mkdir()
    async with followed(tmp_path) as (_, outlet):
        assert states(outlet) == [State.IDLE]
        path = record(tmp_path, status="busy")
        await outlet.until(lambda so_far: states(so_far)[-1:] == [State.RUNNING])
        assert rows(outlet)["claude:api"].state is State.RUNNING
        path.unlink()
        await outlet.until(lambda so_far: states(so_far)[-1:] == [State.IDLE])
        assert rows(outlet)["claude:api"].state is State.IDLE


async def test_where_an_agent_works_is_known(tmp_path: Path) -> None:
    main = log(tmp_path)
    child = log(tmp_path, "s1/subagents/agent-a7.jsonl", text(answer("msg_7", isSidechain=True, agentId="a7")))
    other = log(tmp_path, "s2.jsonl", text(answer("msg_9", ms=99, sessionId="s2")))
    record(tmp_path, status="busy")
    source = ClaudeSource("claude:x", tmp_path)
    await once(tmp_path, source)
    pid = os.getpid()
    assert source.places("claude:api") == [
        LocalWork("claude:api", "/srv/api", "s2", other, last_at=T0 + 99),
        LocalWork("claude:api", "/srv/api", "s1", main, pid, STARTED, T0 + 30),
        LocalWork("claude:api", "/srv/api", "a7", child, pid, STARTED, T0),
    ]
    assert source.places("claude:web") == []


# ---- where it is


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ["home/.claude", "home/.config/claude"]),
        ({"XDG_CONFIG_HOME": "/x/conf"}, ["home/.claude", "/x/conf/claude"]),
        ({"CLAUDE_CONFIG_DIR": "/a"}, ["/a"]),
        ({"CLAUDE_CONFIG_DIR": " /a , /b/projects,/a"}, ["/a", "/b"]),
        ({"CLAUDE_CONFIG_DIR": " , "}, ["home/.claude", "home/.config/claude"]),
    ],
)
def test_its_folders_are_where_the_environment_says(environment: dict[str, str], expected: list[str]) -> None:
    assert find_folders(environment, Path("home")) == [Path(name) for name in expected]


async def test_projects_may_be_named_as_the_folder(tmp_path: Path) -> None:
    log(tmp_path)
    assert calls(await once(tmp_path / "projects")) == 2
