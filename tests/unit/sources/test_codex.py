"""A folder of Codex: rollouts in use, put away and packed, read and followed."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import zstandard

from clawtop.model.events import Blind, SessionState, State
from clawtop.model.local import LocalWork
from clawtop.sources.codex import CodexSource, find_folder
from tests import outlets
from tests.codex_lines import T0, context, count, event, meta, text, usage
from tests.counted import LATER, seen, total
from tests.outlets import Remembered

FIRST = usage(1000, 200, 50)
STORY = text(meta(), context(), count(FIRST, FIRST, 10), event("task_complete", 11))
DAY = "sessions/2026/11/22"


def rollout(folder: Path, name: str = "12-00-00-s1", data: bytes = STORY, where: str = DAY, end: str = "") -> Path:
    """A rollout of that day."""
    path = folder / where / f"rollout-2026-11-22T{name}.jsonl{end}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def followed(folder: Path) -> AbstractAsyncContextManager[Remembered]:
    """The source, running, once it has read what was there."""
    return outlets.followed(CodexSource(f"codex:{folder}", folder), LATER)


async def once(folder: Path) -> Remembered:
    return await outlets.once(CodexSource(f"codex:{folder}", folder), LATER)


def calls(outlet: Remembered) -> int:
    return total(outlet.events).counters.calls


async def test_rollouts_in_use_and_put_away_are_read(tmp_path: Path) -> None:
    rollout(tmp_path)
    rollout(tmp_path, "13-00-00-s2", text(meta("s2", "/srv/api"), count(FIRST, FIRST)), where="archived_sessions")
    rollout(tmp_path, "14-00-00-s3", b"{}", end=".tmp")
    (tmp_path / DAY / "notes.jsonl").write_bytes(STORY)
    outlet = await once(tmp_path)
    rows = {row.label: row for row in seen(outlet.events).rows}
    assert {name: row.counters.calls for name, row in rows.items()} == {"codex:web": 1, "codex:api": 1}
    assert outlet.status is not None
    assert (outlet.status.detail, outlet.status.bytes) == ("2 session logs", outlet.status.expected)
    assert "retries" in total(outlet.events).blind
    assert {each.key.agent for each in outlet.events if isinstance(each, Blind)} == {"codex:web", "codex:api"}


async def test_packed_rollouts_are_read_unless_the_plain_one_is_there(tmp_path: Path) -> None:
    packed = zstandard.compress(text(meta("s2", "/srv/api"), count(FIRST, FIRST)))
    rollout(tmp_path, "13-00-00-s2", packed, end=".zst")
    rollout(tmp_path)
    rollout(tmp_path, data=packed[:20], end=".zst")
    outlet = await once(tmp_path)
    assert calls(outlet) == 2
    assert outlet.status is not None
    assert outlet.status.skips == 0


async def test_a_damaged_pack_is_told(tmp_path: Path) -> None:
    rollout(tmp_path, data=b"no zstd at all", end=".zst")
    outlet = await once(tmp_path)
    assert outlet.status is not None
    assert outlet.status.skipped == {"a bad zstd frame": 1}


async def test_a_fork_is_read_after_what_it_was_forked_from(tmp_path: Path) -> None:
    fork = text(
        meta("s2", "/tree/x", forked_from_id="s1"), count(FIRST, FIRST, 9), count(usage(3000, 900, 60), None, 99)
    )
    rollout(tmp_path, "13-00-00-s2", fork)
    rollout(tmp_path)
    outlet = await once(tmp_path)
    (row,) = seen(outlet.events).rows
    assert (row.label, row.counters.calls, row.tokens.output) == ("codex:web", 2, 60)


async def test_what_is_appended_and_what_begins_arrives(tmp_path: Path) -> None:
    path = rollout(tmp_path)
    async with followed(tmp_path) as outlet:
        with path.open("ab") as file:
            file.write(text(count(usage(3000, 900, 60), None, 99)))
        await outlet.until(lambda so_far: calls(so_far) == 2)
        tomorrow = text(meta("s2"), count(FIRST, FIRST))
        rollout(tmp_path, "13-00-00-s2", tomorrow, where="sessions/2026/11/23")
        await outlet.until(lambda so_far: calls(so_far) == 3)


async def test_a_rollout_that_is_put_away_or_packed_counts_once(tmp_path: Path) -> None:
    path = rollout(tmp_path)
    other = rollout(tmp_path, "13-00-00-s2", text(meta("s2"), count(FIRST, FIRST)))
    async with followed(tmp_path) as outlet:
        away = tmp_path / "archived_sessions" / path.name
        away.parent.mkdir()
        path.rename(away)
        rollout(tmp_path, "13-00-00-s2", zstandard.compress(other.read_bytes()), end=".zst")
        other.unlink()
        rollout(tmp_path, "14-00-00-s3", text(meta("s3"), count(FIRST, FIRST)))
        await outlet.until(lambda so_far: calls(so_far) == 3)
        await outlet.until(lambda so_far: so_far.status is not None and so_far.status.entries == 4 + 2 + 4 + 2 + 2)
        assert calls(outlet) == 3


async def test_the_state_is_what_the_rollout_says(tmp_path: Path) -> None:
    rollout(tmp_path)
    rollout(tmp_path, "13-00-00-s2", text(meta("s2", "/srv/api"), event("task_started", 5)))
    told = {each.key.agent: each.state for each in (await once(tmp_path)).events if isinstance(each, SessionState)}
    assert told == {"codex:web": State.IDLE, "codex:api": State.UNKNOWN}


async def test_where_an_agent_works_is_known_but_not_its_process(tmp_path: Path) -> None:
    path = rollout(tmp_path)
    source = CodexSource("codex:x", tmp_path)
    await source.run(Remembered(lambda: LATER), follow=False)
    assert source.places("codex:web") == [LocalWork("codex:web", "/srv/web", "s1", path, last_at=T0 + 10)]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "home/.codex"), ({"CODEX_HOME": "/x"}, "/x"), ({"CODEX_HOME": ""}, "home/.codex")],
)
def test_its_folder_is_where_the_environment_says(environment: dict[str, str], expected: str) -> None:
    assert find_folder(environment, Path("home")) == Path(expected)
