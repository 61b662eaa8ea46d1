"""A tree of logs that agents append to: found, read, then followed.

What a log's lines mean is its format's: Claude Code's and Codex's logs have this shape.
"""

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import zstandard

from clawtop.formats.lines import LineSplitter
from clawtop.model.errors import SourceError
from clawtop.model.events import Event, State
from clawtop.model.keys import Key
from clawtop.sources.progress import Progress
from clawtop.sources.tail import Tail

PACKED = ".zst"
"""How the name of a log ends that was packed once nobody wrote to it any more."""

_CHUNK = 1 << 20
_HOT_MS = 3_600_000
_SETTLED_MS = 2_000  # a folder's time stands still for some milliseconds in which more may come
_DEEPEST = 8


class Log(Protocol):
    """One log as its format understands it; `last_at` is Unix milliseconds."""

    skipped: Counter[str]
    cwd: str | None
    last_at: int

    @property
    def agent(self) -> str:
        """Whose it is."""

    @property
    def session(self) -> str:
        """The id of the session whose log it is."""

    def key(self) -> Key:
        """The key of what happens in it."""

    def read(self, lines: Sequence[bytes]) -> list[Event]:
        """The events of lines that came together; lines that cannot be used are counted in `skipped`."""

    def settle(self, now: int) -> list[Event]:
        """What the time (Unix ms) says where no new line does."""


L = TypeVar("L", bound=Log)


@dataclass(slots=True, eq=False)
class LogFile(Generic[L]):
    """A log, how far it was read, when it changed last (Unix ms), and which state was told of it."""

    tail: Tail
    log: L
    changed: int = 0
    size: int = 0
    started: bool = False
    told: State | None = None

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.tail.path


class LogTree(Generic[L]):
    """The logs below some folders. `open_log` says what a file is, by its path and its last change: None for no log."""

    def __init__(self, roots: Sequence[Path], open_log: Callable[[Path, int], L | None], progress: Progress) -> None:
        self._roots = roots
        self._open_log = open_log
        self._progress = progress
        self._files: dict[str, LogFile[L]] = {}
        self._folders: dict[str, int] = {}

    @property
    def files(self) -> Collection[LogFile[L]]:
        """All logs that are known."""
        return self._files.values()

    @property
    def folders(self) -> frozenset[Path]:
        """The roots that exist, to be watched as deep as they go."""
        return frozenset(root for root in self._roots if root.is_dir())

    def look(self, now: int, *, thorough: bool = True) -> None:
        """See which logs there are; unless `thorough`, only in folders that changed since the last look."""
        for root in self._roots:
            self._folders.setdefault(str(root), 0)
        for folder, seen in list(self._folders.items()):
            changed = _changed(folder)
            if changed is None:
                del self._folders[folder]
            elif thorough or changed != seen:
                self._scan(folder, now, self._depth(folder))

    def _depth(self, folder: str) -> int:
        return min(folder.count("/") - str(root).count("/") for root in self._roots if folder.startswith(str(root)))

    def _scan(self, folder: str, now: int, depth: int) -> None:
        changed = _changed(folder)
        if changed is None:
            return
        self._folders[folder] = changed if now - changed // 1_000_000 > _SETTLED_MS else 0
        try:
            with os.scandir(folder) as found:
                entries = list(found)
        except OSError as error:
            self._progress.note(folder, f"cannot be listed: {error.strerror}")
            return
        self._progress.note(folder, None)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.path not in self._folders and depth < _DEEPEST:
                    self._scan(entry.path, now, depth + 1)
            elif entry.path not in self._files:
                self._notice(entry)

    def _notice(self, entry: os.DirEntry[str]) -> None:
        try:
            seen = entry.stat()
        except OSError:
            return
        path, changed = Path(entry.path), seen.st_mtime_ns // 1_000_000
        log = self._open_log(path, changed) if stat.S_ISREG(seen.st_mode) else None
        if log is not None:
            self._files[entry.path] = LogFile(Tail(path), log, changed, seen.st_size)
            self._progress.expected += seen.st_size

    def waiting(self) -> list[LogFile[L]]:
        """Logs of which nothing was read so far."""
        return [file for file in self._files.values() if not file.started]

    def hot(self, now: int) -> list[LogFile[L]]:
        """Logs that changed within the last hour."""
        return [file for file in self._files.values() if now - file.changed <= _HOT_MS]

    def grown(self, now: int, *, thorough: bool) -> list[LogFile[L]]:
        """Logs that have something new; those that are long idle are looked at only when `thorough`."""
        return [file for file in (self._files.values() if thorough else self.hot(now)) if self._has_grown(file)]

    def touched(self, paths: Iterable[str]) -> tuple[list[LogFile[L]], bool]:
        """(the logs among these paths, whether there are others among them)."""
        known, strange = [], False
        for path in paths:
            file = self._files.get(path)
            if file is None:
                strange = True
            elif self._has_grown(file):
                known.append(file)
        return known, strange

    def _has_grown(self, file: LogFile[L]) -> bool:
        try:
            seen = os.stat(file.tail.path)  # noqa: PTH116 - of many files each second
        except OSError:
            return not file.started or file.size != 0  # reading it finds out that it is gone
        changed, size = seen.st_mtime_ns // 1_000_000, seen.st_size
        same = file.started and changed == file.changed and size == file.size
        file.changed, file.size = changed, size
        return not same

    def read(self, file: LogFile[L]) -> Iterator[list[Event]]:
        """Events of one log from where it was left, a chunk at a time."""
        file.started = True
        if file.path.suffix == PACKED:
            yield from self._unpack(file)
            return
        more = True
        while more:
            try:
                chunk = file.tail.read(_CHUNK)
            except SourceError as error:
                self._progress.note(file.path.name, str(error))
                return
            self._progress.note(file.path.name, None)
            if chunk.gone:
                self._files.pop(str(file.path), None)
                return
            if chunk.restarted:
                file.log = self._open_log(file.path, file.changed) or file.log
            self._progress.read += chunk.size
            if file.tail.too_long:
                self._progress.skip("a line over 16 MiB", file.tail.too_long)
                file.tail.too_long = 0
            yield self._events(file, chunk.lines)
            more = chunk.more

    def _unpack(self, file: LogFile[L]) -> Iterator[list[Event]]:
        splitter = LineSplitter()
        try:
            with file.path.open("rb") as packed:
                unpacked = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
                while chunk := unpacked.read(_CHUNK):
                    yield self._events(file, splitter.feed(chunk))
        except zstandard.ZstdError:
            self._progress.skip("a bad zstd frame")
        except FileNotFoundError:
            self._files.pop(str(file.path), None)
        except OSError as error:
            self._progress.note(file.path.name, f"cannot be read: {error.strerror}")
        if splitter.too_long:
            self._progress.skip("a line over 16 MiB", splitter.too_long)
        self._progress.read += file.size

    def _events(self, file: LogFile[L], lines: list[bytes]) -> list[Event]:
        self._progress.entries += len(lines)
        events = file.log.read(lines)
        if file.log.skipped:
            self._progress.skipped += file.log.skipped
            file.log.skipped.clear()
        return events


def _changed(folder: str) -> int | None:
    """When a folder changed last, in nanoseconds; None where it is none."""
    try:
        seen = os.stat(folder)  # noqa: PTH116 - of many folders each second
    except OSError:
        return None
    return seen.st_mtime_ns if stat.S_ISDIR(seen.st_mode) else None
