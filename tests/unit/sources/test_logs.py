"""A tree of logs: what is found in it, and what may happen to it."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from clawtop.model.events import Event
from clawtop.model.keys import Key
from clawtop.sources.logs import LogFile, LogTree
from clawtop.sources.progress import Progress

LATER = 4_000_000_000_000


class Lines:
    """A log that remembers its lines."""

    session = agent = "x"

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self.cwd: str | None = "/"
        self.last_at = 0
        self.lines: list[bytes] = []

    def key(self) -> Key:
        return Key("local", "x")

    def read(self, lines: Sequence[bytes]) -> list[Event]:
        self.lines += lines
        return []

    def settle(self, now: int) -> list[Event]:
        return []


def tree(folder: Path) -> tuple[LogTree[Lines], Progress]:
    progress = Progress("x:")
    return LogTree([folder], lambda path, _: Lines() if path.suffix in (".jsonl", ".zst") else None, progress), progress


def names(logs: LogTree[Lines]) -> set[str]:
    return {file.path.name for file in logs.files}


def read(logs: LogTree[Lines], file: LogFile[Lines]) -> list[bytes]:
    for _ in logs.read(file):
        pass
    return file.log.lines


def test_only_folders_that_changed_are_looked_through_again(tmp_path: Path) -> None:
    logs, _ = tree(tmp_path)
    (tmp_path / "a").mkdir()
    logs.look(LATER)
    (tmp_path / "a" / "1.jsonl").write_bytes(b"x\n")
    logs.look(LATER, thorough=False)
    assert names(logs) == {"1.jsonl"}
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.jsonl").write_bytes(b"x\n")
    logs.look(LATER, thorough=False)
    assert names(logs) == {"1.jsonl", "2.jsonl"}


def test_a_folder_that_has_just_changed_is_looked_through_again(tmp_path: Path) -> None:
    logs, _ = tree(tmp_path)
    now = tmp_path.stat().st_mtime_ns
    logs.look(now // 1_000_000)
    (tmp_path / "1.jsonl").write_bytes(b"x\n")
    os.utime(tmp_path, ns=(now, now))
    logs.look(now // 1_000_000, thorough=False)
    assert names(logs) == {"1.jsonl"}


def test_a_tree_without_end_is_followed_only_so_deep(tmp_path: Path) -> None:
    folder = tmp_path
    for depth in range(12):
        folder = folder / "d"
        folder.mkdir()
        (folder / f"{depth}.jsonl").write_bytes(b"x\n")
    (tmp_path / "d" / "loop").symlink_to(tmp_path)
    logs, _ = tree(tmp_path)
    logs.look(LATER)
    assert names(logs) == {f"{depth}.jsonl" for depth in range(8)}


def test_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    path, packed = tmp_path / "1.jsonl", tmp_path / "2.jsonl.zst"
    path.write_bytes(b"x\n")
    packed.write_bytes(b"x")
    logs, progress = tree(tmp_path)
    logs.look(LATER)
    path.unlink()
    packed.unlink()
    for file in list(logs.files):
        assert read(logs, file) == []
    assert not logs.files
    assert not progress.notes
    tmp_path.rmdir()
    logs.look(LATER)
    assert logs.folders == frozenset()


def test_what_cannot_be_read_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    path.write_bytes(b"x\n")
    logs, progress = tree(tmp_path)
    logs.look(LATER)
    (file,) = logs.files
    path.unlink()
    path.mkdir()
    assert read(logs, file) == []
    assert list(progress.notes) == ["1.jsonl"]
    path.rmdir()
    path.write_bytes(b"y\n")
    assert read(logs, file) == [b"y"]
    assert not progress.notes


def test_what_changed_is_read_and_nothing_else(tmp_path: Path) -> None:
    for name in ("1.jsonl", "2.jsonl"):
        (tmp_path / name).write_bytes(b"x\n")
    logs, progress = tree(tmp_path)
    logs.look(LATER)
    assert {file.path.name for file in logs.waiting()} == {"1.jsonl", "2.jsonl"}
    for file in logs.waiting():
        read(logs, file)
    assert progress.read == progress.expected == 4
    with (tmp_path / "2.jsonl").open("ab") as more:
        more.write(b"y\n")
    now = (tmp_path / "2.jsonl").stat().st_mtime_ns // 1_000_000
    assert [file.path.name for file in logs.grown(now, thorough=False)] == ["2.jsonl"]
    assert logs.grown(now, thorough=False) == []
    assert logs.grown(now + 10**8, thorough=False) == []
    known, strange = logs.touched([str(tmp_path / "1.jsonl"), str(tmp_path / "3.jsonl")])
    assert (known, strange) == ([], True)
