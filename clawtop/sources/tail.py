"""Reading a file that grows, from where it was left, through everything that may happen to it meanwhile."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from clawtop.formats.lines import MAX_LINE, LineSplitter
from clawtop.model.errors import SourceError

_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_PROOF = 64


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one read gave.

    `size` is the bytes read, `more` says that there is more to read at once. `restarted`: the file was
    truncated, replaced or rewritten in place, and lines start from its beginning again. `gone`: the file does
    not exist now.
    """

    lines: list[bytes]
    size: int = 0
    more: bool = False
    restarted: bool = False
    gone: bool = False


class Tail:
    r"""One file, read from where it was left, whatever happens to it.

    It holds no descriptor between reads. A line is yielded once it has its \n. The file counts as another one
    when its inode or device changes, when it is shorter than what was read, or when the last 64 bytes before
    `offset` are no longer there; that last check is made where size or modification time changed.

    With `by_inode` it follows the file it began with rather than the name: another file under `path` is `gone`,
    and the owner, who finds out where the file went, changes `path`.
    """

    def __init__(self, path: Path, *, limit: int = MAX_LINE, by_inode: bool = False) -> None:
        self.path = path
        self.offset = 0
        """Bytes read so far, those of an unfinished line included."""
        self.inode = 0
        """The inode of the file that was read last, 0 before the first read."""
        self.too_long = 0
        """Lines dropped so far because they were longer than `limit`."""
        self._limit = limit
        self._by_inode = by_inode
        self._device = 0
        self._changed = 0
        self._proof = b""
        self._lines = LineSplitter(limit)

    def read(self, most: int = 1 << 20) -> Chunk:
        """The lines that ended in the next `most` bytes at most.

        Raises SourceError where the path cannot be read or is no ordinary file.
        """
        try:
            seen = self.path.stat()
            if not stat.S_ISREG(seen.st_mode):
                raise SourceError(f"{self.path} is {_kind(seen.st_mode)}, not a file that can be followed")
            if self._unchanged(seen):
                return Chunk([])
            return self._read(most)
        except (FileNotFoundError, NotADirectoryError):
            return Chunk([], gone=True)
        except OSError as error:
            raise SourceError(f"cannot read {self.path}: {error.strerror or error}") from error

    def _unchanged(self, seen: os.stat_result) -> bool:
        return (
            seen.st_size == self.offset
            and seen.st_mtime_ns == self._changed
            and seen.st_ino == self.inode
            and seen.st_dev == self._device
        )

    def _read(self, most: int) -> Chunk:
        descriptor = os.open(self.path, _OPEN)
        try:
            # what stat saw may have been replaced since: only the open file counts
            seen = os.fstat(descriptor)
            other = (seen.st_ino, seen.st_dev) != (self.inode, self._device)
            if other and self.inode and self._by_inode:
                return Chunk([], gone=True)
            restarted = self.offset > 0 and (other or not self._continues(descriptor, seen.st_size))
            if restarted:
                self._restart()
            self.inode, self._device, self._changed = seen.st_ino, seen.st_dev, seen.st_mtime_ns
            data = os.pread(descriptor, most, self.offset)
        finally:
            os.close(descriptor)
        lines = self._take(data)
        more = len(data) > 0 and self.offset < seen.st_size
        return Chunk(lines, size=len(data), more=more, restarted=restarted)

    def _continues(self, descriptor: int, size: int) -> bool:
        if size < self.offset:
            return False
        return os.pread(descriptor, len(self._proof), self.offset - len(self._proof)) == self._proof

    def _restart(self) -> None:
        self.offset = 0
        self._proof = b""
        self._lines = LineSplitter(self._limit)

    def _take(self, data: bytes) -> list[bytes]:
        before = self._lines.too_long
        lines = self._lines.feed(data)
        self.too_long += self._lines.too_long - before
        self.offset += len(data)
        self._proof = data[-_PROOF:] if len(data) >= _PROOF else (self._proof + data)[-_PROOF:]
        return lines


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a device or a socket"
