"""Following one file through appends, torn writes, truncation, replacement and rewriting."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from clawtop.model.errors import SourceError
from clawtop.sources.tail import Tail


def drain(tail: Tail, most: int = 1 << 20) -> tuple[list[bytes], bool]:
    """All lines there are now, and whether the tail started again."""
    lines: list[bytes] = []
    restarted = False
    while True:
        chunk = tail.read(most)
        if chunk.restarted:
            lines.clear()
        lines += chunk.lines
        restarted |= chunk.restarted
        if not chunk.more:
            return lines, restarted


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def touch_later(path: Path) -> None:
    """A write within one tick of the clock leaves the time as it was; tests must not depend on that."""
    seen = path.stat()
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns + 10_000_000))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.jsonl"


def test_appended_lines_come_once(log: Path) -> None:
    log.write_bytes(b"one\ntwo\n")
    tail = Tail(log)
    first = tail.read()
    assert (first.lines, first.size, first.more, first.restarted, first.gone) == (
        [b"one", b"two"],
        8,
        False,
        False,
        False,
    )
    append(log, b"three\n")
    assert tail.read().lines == [b"three"]
    assert tail.read().lines == []
    assert tail.offset == 14
    assert tail.inode == log.stat().st_ino


def test_a_torn_line_is_neither_lost_nor_doubled(log: Path) -> None:
    log.write_bytes(b"on")
    tail = Tail(log)
    assert tail.read().lines == []
    append(log, b"e")
    assert tail.read().lines == []
    append(log, b"\ntw")
    assert tail.read().lines == [b"one"]
    assert tail.offset == 6


def test_small_reads_say_there_is_more(log: Path) -> None:
    log.write_bytes(b"one\ntwo\n")
    tail = Tail(log)
    reads = [tail.read(5) for _ in range(3)]
    assert [chunk.lines for chunk in reads] == [[b"one"], [b"two"], []]
    assert [chunk.more for chunk in reads] == [True, False, False]


def test_truncation_starts_again(log: Path) -> None:
    log.write_bytes(b"one\ntwo\nthr")
    tail = Tail(log)
    tail.read()
    log.write_bytes(b"")
    assert tail.read().restarted
    append(log, b"new\n")
    assert drain(tail) == ([b"new"], False)


def test_truncation_that_grew_past_the_offset_starts_again(log: Path) -> None:
    log.write_bytes(b"one\ntwo\n")
    tail = Tail(log)
    tail.read()
    log.write_bytes(b"other lines, and more of them\n")
    assert drain(tail) == ([b"other lines, and more of them"], True)


def test_a_file_rewritten_to_the_same_length_starts_again(log: Path) -> None:
    log.write_bytes(b"one\ntwo\n")
    tail = Tail(log)
    tail.read()
    log.write_bytes(b"eno\nowt\n")
    touch_later(log)
    assert drain(tail) == ([b"eno", b"owt"], True)


def test_a_changed_time_alone_changes_nothing(log: Path) -> None:
    log.write_bytes(b"one\n")
    tail = Tail(log)
    tail.read()
    touch_later(log)
    assert drain(tail) == ([], False)


def test_another_file_under_the_name_starts_again(log: Path) -> None:
    log.write_bytes(b"one\n")
    tail = Tail(log)
    tail.read()
    fresh = log.with_suffix(".new")
    fresh.write_bytes(b"one\ntwo\n")
    fresh.replace(log)
    assert drain(tail) == ([b"one", b"two"], True)


def test_by_inode_another_file_under_the_name_is_gone_and_the_owner_moves_the_path(log: Path) -> None:
    log.write_bytes(b"one\n")
    tail = Tail(log, by_inode=True)
    tail.read()
    append(log, b"two\n")
    moved = log.rename(log.with_suffix(".1"))
    log.write_bytes(b"another\n")
    assert tail.read().gone
    tail.path = moved
    assert drain(tail) == ([b"two"], False)


def test_a_file_that_vanished_is_picked_up_when_it_returns(log: Path) -> None:
    tail = Tail(log)
    assert tail.read().gone
    log.write_bytes(b"one\n")
    assert drain(tail) == ([b"one"], False)
    away = log.rename(log.with_suffix(".away"))
    assert tail.read().gone
    away.rename(log)
    append(log, b"two\n")
    assert drain(tail) == ([b"two"], False)


def test_nothing_new_costs_no_open(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_bytes(b"one\n")
    tail = Tail(log)
    tail.read()

    def refuse(*args: object) -> int:
        raise AssertionError("opened")

    monkeypatch.setattr(os, "open", refuse)
    assert tail.read().lines == []


def test_lines_that_are_too_long_are_counted_across_restarts(log: Path) -> None:
    log.write_bytes(b"far too long\nok\n")
    tail = Tail(log, limit=4)
    assert tail.read().lines == [b"ok"]
    log.write_bytes(b"again too long\n")
    assert drain(tail) == ([], True)
    assert tail.too_long == 2


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SourceError, match="is a pipe"):
        Tail(pipe).read()
    with pytest.raises(SourceError, match="is a folder"):
        Tail(tmp_path).read()
    with pytest.raises(SourceError, match="is a device"):
        Tail(Path("/dev/null")).read()


def test_a_file_that_may_not_be_read_says_so(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_bytes(b"one\n")

    def refuse(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SourceError, match=r"cannot read .*app\.jsonl: Permission denied"):
        Tail(log).read()


class TailMachine(RuleBasedStateMachine):
    """A file under any sequence of writes; what the tail gave since its last start is what the file holds."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "app.jsonl"
        self.content: bytes | None = None
        self.tail = Tail(self.path)
        self.lines: list[bytes] = []
        self.serial = 0
        self.clock = 1_000_000_000

    def teardown(self) -> None:
        self.folder.cleanup()

    def write(self, content: bytes, mode: str) -> None:
        with self.path.open(mode) as file:
            file.write(content)
        self.clock += 1_000_000_000
        os.utime(self.path, ns=(self.clock, self.clock))
        self.content = self.path.read_bytes()

    def unique(self, length: int) -> bytes:
        """Text that differs from any other in every few bytes, as two logs do."""
        self.serial += 1
        return (f"{self.serial}," * (length + 1))[: length + 5].encode()

    @rule(length=st.integers(0, 90), end=st.sampled_from([b"\n", b"\r\n", b"\n\n", b"", b"\r"]))
    def append(self, length: int, end: bytes) -> None:
        self.write(self.unique(length) + end, "ab")

    @rule()
    def end_the_line(self) -> None:
        self.write(b"\n", "ab")

    @rule(length=st.integers(0, 90))
    def truncate_and_write(self, length: int) -> None:
        self.write(self.unique(length) + b"\n", "wb")

    @rule()
    def empty(self) -> None:
        self.write(b"", "wb")

    @rule(extra=st.integers(0, 90))
    def rewrite_in_place(self, extra: int) -> None:
        self.write(self.unique(len(self.content or b"") + extra) + b"\n", "wb")

    @rule(length=st.integers(0, 90))
    def replace(self, length: int) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(self.unique(length) + b"\n")
        fresh.replace(self.path)
        self.write(b"", "ab")

    @rule()
    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.content = None

    @rule(most=st.integers(1, 64))
    def read(self, most: int) -> None:
        chunk = self.tail.read(most)
        assert chunk.size <= most
        assert chunk.gone is (self.content is None)
        if chunk.restarted:
            self.lines = []
        self.lines += chunk.lines
        if not chunk.gone and not chunk.more:
            self.up_to_date()

    @rule()
    def catch_up(self) -> None:
        for _ in range(10_000):
            chunk = self.tail.read(50)
            if chunk.restarted:
                self.lines = []
            self.lines += chunk.lines
            if not chunk.more:
                break
        if self.content is not None:
            self.up_to_date()

    def up_to_date(self) -> None:
        assert self.content is not None
        whole = self.content.split(b"\n")[:-1]
        stripped = [line[:-1] if line.endswith(b"\r") else line for line in whole]
        assert self.lines == [line for line in stripped if line]
        assert self.tail.offset == len(self.content)

    @invariant()
    def nothing_is_counted_as_too_long(self) -> None:
        assert self.tail.too_long == 0


TestTailMachine = TailMachine.TestCase
TestTailMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
