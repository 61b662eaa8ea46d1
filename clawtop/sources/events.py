"""Tagged events: a file or a folder of files, followed through rotation, or standard input."""

import asyncio
import os
import stat
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from clawtop.formats.lines import LineSplitter
from clawtop.formats.tagged import TaggedReader
from clawtop.model.errors import SourceError
from clawtop.model.events import Event
from clawtop.model.snapshot import Health, SourceStatus
from clawtop.paths import is_folder
from clawtop.sources import Outlet
from clawtop.sources.tail import Tail
from clawtop.sources.watch import Watch

SUFFIXES = (".jsonl", ".json", ".ndjson", ".log")
"""What is read of a folder."""

_CHUNK = 256 * 1024  # what is decoded in about 20 ms, after which the rest of the engine has its turn
_SWEEP_SECONDS = 1.0
_QUIET_SECONDS = 0.2
_FORGET_MS = 600_000
_OPENING = 8
_ORIGINS = 10_000


@dataclass(slots=True)
class _Log:
    """One file, known by its inode through its renames; `count` is its lines so far, `opening` sums the first ones."""

    tail: Tail
    folder: Path
    origin: str
    grown: int
    count: int = 0
    opening: int = 0

    def restart(self) -> None:
        self.origin, self.count, self.opening = f"{self.tail.inode:x}", 0, 0


_Identity = tuple[int, int]


class LineReader(Protocol):
    """What makes events of lines. `skipped` counts by reason what could not be used."""

    skipped: Counter[str]

    def read(self, line: bytes, place: str) -> list[Event]:
        """The events of one line; `place` is its identity where it has none of its own."""

    def settle(self) -> list[Event]:
        """What the end of what is there tells, also after each part of what is appended."""


class EventsSource:
    """Tagged events of `path`: a file, a folder (its .jsonl, .json, .ndjson and .log files), or `-`, the descriptor
    `stdin`, which is finished at its end.

    A record without an event_id is known by its file's inode, its number there and a sum of its line. A file that
    begins with the same eight lines as another is a copy of it and passes for that one (rotation by copying).
    """

    kind: ClassVar[str] = "events"
    what: ClassVar[str] = "tagged events"

    def __init__(self, uri: str, path: str | Path, *, stdin: int = 0) -> None:
        self._uri = uri
        # Path.absolute would keep the .. that a watch does not report
        self._path = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100
        self._stdin = stdin if str(path) == "-" else None
        self._begin()

    @property
    def uri(self) -> str:
        """`events:PATH`."""
        return self._uri

    def _line_reader(self) -> LineReader:
        return TaggedReader()

    def _begin(self) -> None:
        self._reader = self._line_reader()
        self._logs: dict[_Identity, _Log] = {}
        self._origins: dict[int, str] = {}
        self._troubles: dict[str, str] = {}
        self._folder = is_folder(self._path)
        self._health = Health.READING
        self._entries = self._bytes = self._expected = self._too_long = 0

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        """See Source. Standard input and pipes are read to their end, then it returns although `follow` is on."""
        self._begin()
        if self._stdin is not None:
            if os.isatty(self._stdin):
                raise SourceError(f"standard input is a terminal; pipe {self.what} into clawtop, or name a file")
            await self._stream(outlet, self._stdin, follow=follow)
        elif self._is_pipe():
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                await self._stream(outlet, descriptor, follow=follow)
            finally:
                os.close(descriptor)
        elif follow:
            watch = Watch()
            try:
                await watch.look_at(self._folders())
                await asyncio.sleep(0)  # what is appended during the first read wakes the second one
                await self._history(outlet)
                await self._follow(outlet, watch)
            finally:
                await watch.close()
        else:
            await self._history(outlet)

    def _is_pipe(self) -> bool:
        try:
            return stat.S_ISFIFO(self._path.stat().st_mode)
        except FileNotFoundError:
            raise SourceError(
                f"{self._path} does not exist; name a file or a folder of {self.what} with -s {self.kind}:PATH, "
                f"or read standard input with -s {self.kind}:-"
            ) from None
        except OSError as error:
            raise SourceError(f"cannot read {self._path}: {error.strerror}") from error

    # ---- files

    async def _history(self, outlet: Outlet) -> None:
        self._look(outlet.now())
        found = [(*_age_and_size(log.tail.path), log) for log in self._logs.values()]
        self._expected = sum(size for _, size, _ in found)
        outlet.report(self._status())
        # oldest first, as one run's attempts may lie on both sides of a rotation
        await self._round(outlet, [log for _, _, log in sorted(found, key=lambda item: item[0])])
        self._health = Health.OK
        outlet.report(self._status())

    async def _follow(self, outlet: Outlet, watch: Watch) -> None:
        clock = asyncio.get_running_loop().time
        swept = clock()
        while True:
            await watch.look_at(self._folders())
            changed = await watch.wait(_SWEEP_SECONDS)
            logs = self._touched(changed) if changed and clock() - swept < _SWEEP_SECONDS else None
            if logs is None:
                swept = clock()
                self._look(outlet.now())
                logs = list(self._logs.values())
            await self._round(outlet, logs)

    def _touched(self, changed: Iterable[str]) -> list[_Log] | None:
        """The logs that these paths are, None where one of them is new."""
        known = {str(log.tail.path): log for log in self._logs.values()}
        wanted = [path for path in changed if path in known or self._is_wanted(Path(path))]
        return [known[path] for path in wanted] if all(path in known for path in wanted) else None

    def _is_wanted(self, path: Path) -> bool:
        return path == self._path or (path.parent == self._path and path.name.endswith(SUFFIXES))

    def _folders(self) -> frozenset[Path]:
        if self._folder:
            return frozenset({self._path})
        return frozenset({self._path.parent, self._path.resolve().parent})

    async def _round(self, outlet: Outlet, logs: Iterable[_Log]) -> None:
        """Read all that these files have, and what took the place of one that is no longer where it was."""
        before = self._status()
        if not all([await self._drain(outlet, log) for log in logs]):
            self._look(outlet.now())
            for identity, log in list(self._logs.items()):
                if not await self._drain(outlet, log):
                    del self._logs[identity]
        settled = self._reader.settle()
        if settled:
            await outlet.put(settled)
        if self._status() != before:
            outlet.report(self._status())

    async def _drain(self, outlet: Outlet, log: _Log) -> bool:
        """Read one file to its end; whether it is still there."""
        more = True
        while more:
            try:
                chunk = log.tail.read(_CHUNK)
            except SourceError as error:
                if log.tail.path == self._path:
                    raise
                self._troubles[log.tail.path.name] = str(error)
                return True
            self._troubles.pop(log.tail.path.name, None)
            if chunk.gone:
                return False
            if chunk.restarted:
                log.restart()
            if chunk.size:
                log.grown = outlet.now()
                self._bytes += chunk.size
                self._too_long, log.tail.too_long = self._too_long + log.tail.too_long, 0
                await self._put(outlet, log, chunk.lines)
            more = chunk.more
        return True

    def _look(self, now: int) -> None:
        """See which files there are, and where those went that were renamed."""
        named: dict[_Identity, str] = {}
        for name in self._candidates():
            try:
                seen = os.stat(name)  # noqa: PTH116 - thousands a second, where a Path costs more than the stat
            except OSError:
                continue
            if stat.S_ISREG(seen.st_mode):
                named.setdefault((seen.st_dev, seen.st_ino), name)
        for identity, name in named.items():
            log = self._logs.get(identity)
            if log is None:
                tail = Tail(Path(name), by_inode=True)
                self._logs[identity] = _Log(tail, tail.path.resolve().parent, f"{identity[1]:x}", grown=now)
            elif str(log.tail.path) != name:
                log.tail.path = Path(name)
        for identity, log in list(self._logs.items()):
            if identity in named:
                continue
            if now - log.grown > _FORGET_MS:
                del self._logs[identity]
            else:
                log.tail.path = _find(log.folder, identity[1]) or log.tail.path

    def _candidates(self) -> list[str]:
        try:
            with os.scandir(self._path) as found:
                return sorted(entry.path for entry in found if entry.name.endswith(SUFFIXES))
        except NotADirectoryError:
            return [str(self._path)]
        except FileNotFoundError:
            if self._folder or not is_folder(self._path.parent):
                raise SourceError(f"{self._path} is gone") from None
            return []  # between a rotation's rename and its create there is no file
        except OSError as error:
            raise SourceError(f"cannot list {self._path}: {error.strerror}") from error

    # ---- standard input

    async def _stream(self, outlet: Outlet, descriptor: int, *, follow: bool) -> None:
        lines = LineSplitter()
        log = _Log(Tail(self._path), self._path.parent, "stream", grown=0)
        outlet.report(self._status())
        data = b"\n"
        while data:
            try:
                if follow and self._health is Health.READING and not await _readable(descriptor, _QUIET_SECONDS):
                    await self._quiet(outlet)
                await _readable(descriptor, None)
                data = os.read(descriptor, _CHUNK)
            except OSError as error:
                raise SourceError(f"cannot read {self._uri}: {error.strerror}") from error
            self._bytes += len(data)
            # at the end of a stream nothing can follow a last line that has no newline
            await self._put(outlet, log, lines.feed(data or b"\n"))
            self._too_long = lines.too_long
            if self._health is Health.OK or not data:
                await self._quiet(outlet)

    async def _quiet(self, outlet: Outlet) -> None:
        self._health = Health.OK
        settled = self._reader.settle()
        if settled:
            await outlet.put(settled)
        outlet.report(self._status())

    # ---- both

    async def _put(self, outlet: Outlet, log: _Log, lines: list[bytes]) -> None:
        if log.count == 0 and len(lines) >= _OPENING:
            log.origin = self._origins.get(zlib.crc32(b"\n".join(lines[:_OPENING])), log.origin)
        events: list[Event] = []
        for line in lines:
            refused = self._reader.skipped.total()
            found = self._reader.read(line, self._place(log, line))
            self._entries += bool(found) or self._reader.skipped.total() == refused
            events += found
        if events:
            await outlet.put(events)
        if lines:
            outlet.report(self._status())

    def _place(self, log: _Log, line: bytes) -> str:
        log.count += 1
        if log.count <= _OPENING:
            log.opening = zlib.crc32(line if log.count == 1 else b"\n" + line, log.opening)
            if log.count == _OPENING:
                self._origins.setdefault(log.opening, log.origin)
                if len(self._origins) > _ORIGINS:
                    del self._origins[next(iter(self._origins))]
        return f"{log.origin}:{log.count}:{zlib.crc32(line):x}"

    def _status(self) -> SourceStatus:
        skipped = Counter(self._reader.skipped)
        if self._too_long:
            skipped["line too long"] = self._too_long
        return SourceStatus(
            self._uri,
            self._health,
            self._detail(),
            entries=self._entries,
            skipped=dict(skipped),
            bytes=self._bytes,
            expected=self._expected,
        )

    def _detail(self) -> str:
        if self._troubles:
            first = self._troubles[min(self._troubles)]
            return first if len(self._troubles) == 1 else f"{first}, and {len(self._troubles) - 1} more like it"
        if self._stdin is not None:
            return ""
        if not self._folder:
            return "" if self._logs or self._health is Health.READING else f"{self._path} is gone"
        return "1 file" if len(self._logs) == 1 else f"{len(self._logs)} files"


async def _readable(descriptor: int, seconds: float | None) -> bool:
    """Wait until a read would not block; False after so many seconds."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:
        return True  # an ordinary file, which never blocks, cannot be waited for
    try:
        await asyncio.wait_for(ready.wait(), seconds)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True


def _find(folder: Path, inode: int) -> Path | None:
    try:
        with os.scandir(folder) as found:
            return next((Path(entry.path) for entry in found if entry.inode() == inode), None)
    except OSError:
        return None


def _age_and_size(path: Path) -> tuple[int, int]:
    try:
        seen = path.stat()
    except OSError:
        return 0, 0
    return seen.st_mtime_ns, seen.st_size
