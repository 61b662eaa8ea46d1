"""Tagged events from files, folders and standard input, read to the end and followed."""

# ruff: noqa: ASYNC240 - a test's own small writes may block
import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawtop.model.errors import SourceError
from clawtop.model.events import Call, Resolution, Resolved
from clawtop.model.snapshot import Health
from clawtop.sources import events as module
from clawtop.sources.events import EventsSource
from clawtop.sources.tail import Tail
from tests.unit.sources.collecting import CollectingOutlet


def line(number: int, **given: object) -> str:
    record = {
        "agent_id": "coder",
        "run_id": f"r{number}",
        "model": "gpt-5",
        "timestamp": 1_795_262_400 + number,
        "usage": {"prompt_tokens": 100, "completion_tokens": number},
    }
    return json.dumps(record | given) + "\n"


def append(path: Path, *numbers: int) -> None:
    with path.open("a") as file:
        file.writelines(line(number) for number in numbers)


def seen(outlet: CollectingOutlet) -> list[int]:
    """The calls' numbers in the order they came, each identity once, as the fleet counts."""
    return [call.tokens.output for call in {call.id: call for call in outlet.of(Call)}.values()]


class StandInWatch:
    """Reports what a test says changed, and tells it when the source has dealt with that."""

    def __init__(self) -> None:
        self.changes: asyncio.Queue[set[str]] = asyncio.Queue()
        self.idle = asyncio.Event()

    async def look_at(self, folders: frozenset[Path]) -> None:
        self.folders = folders

    async def wait(self, seconds: float) -> set[str]:
        self.idle.set()
        changed = await self.changes.get()
        self.idle.clear()
        return changed

    async def close(self) -> None:
        pass

    async def wake(self, *paths: Path) -> None:
        """These paths changed, or, without any, a second went by; returns when the source waits again."""
        await self.settled()
        self.idle.clear()
        self.changes.put_nowait({str(path) for path in paths})
        await self.settled()

    async def settled(self) -> None:
        async with asyncio.timeout(10):
            await self.idle.wait()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> StandInWatch:
    stand_in = StandInWatch()
    monkeypatch.setattr(module, "Watch", lambda: stand_in)
    return stand_in


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.jsonl"


@contextlib.asynccontextmanager
async def following(path: Path, outlet: CollectingOutlet) -> AsyncIterator[None]:
    task = asyncio.create_task(EventsSource(f"events:{path}", path).run(outlet, follow=True))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def once(path: Path | str, stdin: int = 0) -> CollectingOutlet:
    outlet = CollectingOutlet()
    await EventsSource(f"events:{path}", path, stdin=stdin).run(outlet, follow=False)
    return outlet


# ---- read to the end


async def test_a_file_is_read_to_its_end_and_says_how_far_it_is(log: Path) -> None:
    log.write_text(line(1) + "garbage\n" + line(2) + line(3)[:20])
    outlet = await once(log)
    assert seen(outlet) == [1, 2]
    first, last = outlet.statuses[0], outlet.statuses[-1]
    assert (first.health, first.bytes, first.expected) == (Health.READING, 0, log.stat().st_size)
    assert (last.health, last.entries, last.skipped) == (Health.OK, 2, {"not JSON": 1})
    assert last.bytes == last.expected


async def test_a_large_file_comes_in_many_batches(log: Path) -> None:
    log.write_text("".join(line(number) for number in range(8000)))
    outlet = await once(log)
    assert seen(outlet) == list(range(8000))
    assert len(outlet.batches) > 3
    assert [status.bytes for status in outlet.statuses] == sorted(status.bytes for status in outlet.statuses)


async def test_a_folder_is_read_oldest_first_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for age, name in enumerate(("b.jsonl", "a.log", "c.ndjson", "d.json", "notes.txt", "app.jsonl.1")):
        (tmp_path / name).write_text(line(age))
        os.utime(tmp_path / name, (1_000_000 + age, 1_000_000 + age))
    (tmp_path / "folder.jsonl").mkdir()
    outlet = await once(tmp_path)
    assert seen(outlet) == [0, 1, 2, 3]
    assert outlet.statuses[-1].detail == "4 files"


async def test_a_link_and_its_file_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "app-1.jsonl").write_text(line(1))
    (tmp_path / "current.jsonl").symlink_to("app-1.jsonl")
    assert len((await once(tmp_path)).of(Call)) == 1


async def test_equal_lines_are_different_calls_in_one_file_and_in_two(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line(1) * 2)
    (tmp_path / "b.jsonl").write_text(line(1))
    assert seen(await once(tmp_path)) == [1, 1, 1]


async def test_reading_again_gives_the_same_identities(log: Path) -> None:
    append(log, 1, 2, 3)
    source = EventsSource("events:x", log)
    outlet = CollectingOutlet()
    await source.run(outlet, follow=False)
    await source.run(outlet, follow=False)
    assert len(outlet.of(Call)) == 6
    assert seen(outlet) == [1, 2, 3]


async def test_a_failure_that_nothing_follows_is_told_at_the_end(log: Path) -> None:
    log.write_text(line(1, error="429", usage=None))
    (resolved,) = (await once(log)).of(Resolved)
    assert (resolved.how, resolved.tentative) == (Resolution.FAILED, True)


async def test_a_line_that_is_too_long_is_counted(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Tail", lambda path, by_inode: Tail(path, limit=500, by_inode=by_inode))
    log.write_text(line(1) + "x" * 1000 + "\n" + line(2))
    outlet = await once(log)
    assert seen(outlet) == [1, 2]
    assert outlet.statuses[-1].skipped == {"line too long": 1}


async def test_a_path_that_does_not_exist_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.jsonl does not exist; name a file or a folder"):
        await once(tmp_path / "nothing.jsonl")


async def test_one_unreadable_file_does_not_keep_a_folder_from_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(tmp_path / "a.jsonl", 1)
    append(tmp_path / "b.jsonl", 2)
    real_open = os.open

    def refuse(path: Path, *args: int) -> int:
        if Path(path).name == "a.jsonl":
            raise PermissionError(13, "Permission denied")
        return real_open(path, *args)

    monkeypatch.setattr(os, "open", refuse)
    outlet = await once(tmp_path)
    assert seen(outlet) == [2]
    assert outlet.statuses[-1].detail == f"cannot read {tmp_path}/a.jsonl: Permission denied"
    with pytest.raises(SourceError, match="Permission denied"):
        await once(tmp_path / "a.jsonl")


# ---- followed


async def test_an_appended_line_wakes_the_source(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SWEEP_SECONDS", 3600)
    append(log, 1)
    outlet = CollectingOutlet()
    async with following(log, outlet):
        await outlet.until(lambda: bool(outlet.statuses) and outlet.statuses[-1].health is Health.OK)
        append(log, 2)
        await outlet.until(lambda: seen(outlet) == [1, 2])


async def test_what_a_deaf_watch_misses_is_found_by_the_sweep(log: Path, watch: StandInWatch) -> None:
    append(log, 1)
    outlet = CollectingOutlet()
    async with following(log, outlet):
        await watch.settled()
        append(log, 2)
        await watch.wake()
        assert seen(outlet) == [1, 2]


async def test_rename_and_create_loses_nothing_on_either_side(log: Path, watch: StandInWatch) -> None:
    append(log, 1)
    outlet = CollectingOutlet()
    async with following(log, outlet):
        await watch.settled()
        append(log, 2)
        rotated = log.rename(f"{log}.1")
        append(log, 3)
        await watch.wake(log)
        assert sorted(seen(outlet)) == [1, 2, 3]
        append(rotated, 4)
        append(log, 5)
        await watch.wake(log)
        await watch.wake()
        assert sorted(seen(outlet)) == [1, 2, 3, 4, 5]
        assert len(outlet.of(Call)) == 5


async def test_between_rename_and_create_the_source_waits(log: Path, watch: StandInWatch) -> None:
    append(log, 1)
    outlet = CollectingOutlet()
    async with following(log, outlet):
        await watch.settled()
        log.unlink()
        await watch.wake(log)
        assert outlet.statuses[-1].detail == f"{log} is gone"
        append(log, 2)
        await watch.wake(log)
        assert seen(outlet) == [1, 2]
        assert outlet.statuses[-1].detail == ""


async def test_a_rotated_file_is_forgotten_after_ten_quiet_minutes(log: Path, watch: StandInWatch) -> None:
    append(log, 1)
    outlet = CollectingOutlet()
    async with following(log, outlet):
        await watch.settled()
        rotated = log.rename(f"{log}.1")
        append(log, 2)
        await watch.wake()
        outlet.at += 600_001
        await watch.wake()
        append(rotated, 3)
        await watch.wake()
        assert seen(outlet) == [1, 2]


async def test_copy_and_truncate_counts_once(tmp_path: Path, watch: StandInWatch) -> None:
    log = tmp_path / "app.jsonl"
    append(log, *range(20))
    outlet = CollectingOutlet()
    async with following(tmp_path, outlet):
        await watch.settled()
        append(log, 20)
        shutil.copy(log, tmp_path / "app-20261121.jsonl")
        os.truncate(log, 0)
        append(log, 21)
        await watch.wake(log, tmp_path / "app-20261121.jsonl")
        assert sorted(seen(outlet)) == list(range(22))


async def test_a_new_file_in_the_folder_is_picked_up(tmp_path: Path, watch: StandInWatch) -> None:
    outlet = CollectingOutlet()
    async with following(tmp_path, outlet):
        await watch.settled()
        append(tmp_path / "new.jsonl", 1)
        await watch.wake(tmp_path / "new.jsonl", tmp_path / "other.txt")
        assert seen(outlet) == [1]


async def test_only_the_file_that_changed_is_looked_at_between_sweeps(tmp_path: Path, watch: StandInWatch) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    append(one, 1)
    append(two, 2)
    outlet = CollectingOutlet()
    async with following(tmp_path, outlet):
        await watch.wake()
        append(one, 3)
        append(two, 4)
        await watch.wake(one)
        assert sorted(seen(outlet)) == [1, 2, 3]
        await watch.wake(tmp_path / "other.txt")
        assert sorted(seen(outlet)) == [1, 2, 3]
        await watch.wake()
        assert sorted(seen(outlet)) == [1, 2, 3, 4]


async def test_a_folder_that_is_gone_is_an_error(tmp_path: Path, watch: StandInWatch) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    task = asyncio.create_task(EventsSource("events:logs", folder).run(CollectingOutlet(), follow=True))
    await watch.settled()
    folder.rmdir()
    watch.changes.put_nowait(set())
    with pytest.raises(SourceError, match="logs is gone"):
        await task


async def test_a_retry_takes_the_place_of_what_looked_failed(log: Path, watch: StandInWatch) -> None:
    log.write_text(line(1, run_id="r", error="429", usage=None))
    outlet = CollectingOutlet()
    async with following(log, outlet):
        await watch.settled()
        with log.open("a") as file:
            file.write(line(2, run_id="r", attempt=2))
        await watch.wake(log)
        before, after = outlet.of(Resolved)
        assert (before.how, before.tentative) == (Resolution.FAILED, True)
        assert (after.how, after.tentative, after.id) == (Resolution.RETRY, False, before.id)


# ---- standard input


async def test_standard_input_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, (line(1) + line(2)[:-1]).encode())
    os.close(writing)
    try:
        outlet = await once("-", stdin=reading)
    finally:
        os.close(reading)
    assert seen(outlet) == [1, 2]
    assert outlet.statuses[-1].health is Health.OK


async def test_a_pipe_that_is_quiet_is_up_to_date_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_QUIET_SECONDS", 0.001)
    reading, writing = os.pipe()
    outlet = CollectingOutlet()
    task = asyncio.create_task(EventsSource("events:-", "-", stdin=reading).run(outlet, follow=True))
    try:
        os.write(writing, line(1).encode())
        await outlet.until(lambda: seen(outlet) == [1] and outlet.statuses[-1].health is Health.OK)
        os.write(writing, line(2).encode())
        await outlet.until(lambda: seen(outlet) == [1, 2])
        os.close(writing)
        async with asyncio.timeout(10):
            await task
    finally:
        os.close(reading)


async def test_standard_input_may_be_an_ordinary_file(log: Path) -> None:
    append(log, 1, 2)
    with log.open("rb") as file:
        assert seen(await once("-", stdin=file.fileno())) == [1, 2]


async def test_a_named_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = asyncio.create_task(once(pipe))
    writing = None
    async with asyncio.timeout(10):
        while writing is None:
            # without a reader a named pipe cannot be opened for writing
            with contextlib.suppress(OSError):
                writing = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            await asyncio.sleep(0)
        os.write(writing, line(1).encode())
        os.close(writing)
        assert seen(await reading) == [1]


async def test_a_terminal_and_a_closed_descriptor_are_refused() -> None:
    terminal, other = os.openpty()
    try:
        with pytest.raises(SourceError, match="standard input is a terminal"):
            await once("-", stdin=other)
    finally:
        os.close(terminal)
        os.close(other)
    with pytest.raises(SourceError, match="cannot read events:-: Bad file descriptor"):
        await once("-", stdin=other)
