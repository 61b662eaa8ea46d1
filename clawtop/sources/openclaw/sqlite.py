"""Opening OpenClaw's databases: read only, never in a gateway's way, whatever state they are in."""

import contextlib
import os
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from clawtop.model.errors import SourceError

_BUSY_SECONDS = 0.2
_LARGEST_VALUE = 64 * 1024 * 1024
_SETTLED_NS = 2_000_000_000
_DAMAGED = "is damaged"


class UnreadableError(SourceError):
    """A database cannot be read; `why` are the words without its path, `damaged` says that trying again is no use."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} {why}")
        self.why = why
        self.damaged = why.startswith(_DAMAGED)


class Connections:
    """The open connections of a home: of more than `most` those that were longest of no use are closed.

    Each holds up to three descriptors, of which some systems give a process 256.
    """

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._used: OrderedDict[Database, None] = OrderedDict()

    def use(self, database: "Database") -> None:
        """This one is open and of use now."""
        self._used[database] = None
        self._used.move_to_end(database)
        if len(self._used) > self._most:
            idle = next((each for each in self._used if not each.busy), None)
            if idle is not None:
                idle.rest()

    def forget(self, database: "Database") -> None:
        """This one is closed."""
        self._used.pop(database, None)

    def close(self) -> None:
        """Close them all."""
        for database in list(self._used):
            database.close()


class Database:
    """One SQLite file, polled. Every method raises SourceError with what is wrong with it.

    `connections` are those it shares a number of descriptors with; while it is not open, what its files look like
    says whether it is worth opening.
    """

    def __init__(self, path: Path, *, newest_known: int, connections: Connections | None = None) -> None:
        self.path = path
        self._log = path.with_name(path.name + "-wal")
        self._newest_known = newest_known
        self._connections = connections or Connections()
        self._connection: sqlite3.Connection | None = None
        self._reading = 0
        self._identity = (0, 0)
        self._version = -1
        self._look: tuple[int, ...] | None = None
        self._columns: dict[str, tuple[str, ...]] = {}
        self.schema = 0
        """Its user_version, 0 before it was opened."""

    @property
    def newer(self) -> str | None:
        """A sentence for the user when the schema is newer than what was ever observed."""
        if self.schema <= self._newest_known:
            return None
        return f"schema {self.schema} is newer than the known {self._newest_known}: read as far as it is the same"

    @property
    def busy(self) -> bool:
        """Whether rows are being read from it."""
        return self._reading > 0

    def changed(self) -> bool:
        """Whether anything was committed since the last call; the first call says yes."""
        try:
            seen = self.path.stat()
        except OSError as error:
            self.close()
            raise SourceError(f"cannot read {self.path}: {error.strerror}") from error
        if (seen.st_dev, seen.st_ino) != self._identity:
            self.close()
            self._identity = (seen.st_dev, seen.st_ino)
        before, self._look = self._look, self._looks(seen)
        if self._version < 0 and self._look is not None and self._look == before:
            return False
        version = self._pragma("data_version")
        if version == self._version:
            return False
        self._version = version
        schema = self._pragma("user_version")
        if schema != self.schema or any(not names for names in self._columns.values()):
            self.schema = schema
            self._columns.clear()
        return True

    def again(self) -> None:
        """Let the next `changed` say yes: what was read last could not be used."""
        self._version = -1
        self._look = None

    def columns(self, table: str) -> tuple[str, ...]:
        """The columns a table has, none for a table that does not exist (yet)."""
        if table not in self._columns:
            self._columns[table] = tuple(row[1].decode() for row in self._execute(f"PRAGMA table_info({table})"))
        return self._columns[table]

    def select(
        self, table: str, names: tuple[str, ...], rest: str = "", values: tuple[object, ...] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of the named columns, None in place of a column that this schema lacks; nothing without the table.

        Text arrives as bytes: most of it is JSON that is never decoded.
        """
        there = self.columns(table)
        if not there:
            return
        known = {"rowid", *there}
        wanted = ", ".join(name if name in known or name == "max(rowid)" else "NULL" for name in names)
        if self._connection is not None:
            self._connections.use(self)
        yield from self._execute(f"SELECT {wanted} FROM {table} {rest}", values)  # noqa: S608

    def rest(self) -> None:
        """Let go of the file until it is of use again; what is known of it stays known."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._connections.forget(self)
        self._version = -1  # another connection counts differently

    def close(self) -> None:
        """Let go of the file, and of what is known of it."""
        self.rest()
        self.again()
        self._columns.clear()

    def _looks(self, seen: os.stat_result) -> tuple[int, ...] | None:
        """What the file and its log look like, None where a commit need not change that: their times move in steps."""
        files = [seen]
        with contextlib.suppress(OSError):
            files.append(self._log.stat())
        if any(abs(time.time_ns() - each.st_mtime_ns) < _SETTLED_NS for each in files):
            return None
        return tuple(part for each in files for part in (each.st_ino, each.st_mtime_ns, each.st_size))

    def _pragma(self, name: str) -> int:
        return int(next(iter(self._execute(f"PRAGMA {name}")))[0])

    def _execute(self, sql: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        self._reading += 1
        try:
            if self._connection is None:
                self._connection = self._open()
                self._connections.use(self)
            yield from self._connection.execute(sql, values)
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError) or "locked" not in str(error):
                self.close()
            self.again()
            raise UnreadableError(self.path, _explain(error, self.path)) from error
        finally:
            self._reading -= 1

    def _open(self) -> sqlite3.Connection:
        # Without a -wal there is nothing that is not in the file, and a folder one may not write to cannot hold the
        # -shm that a WAL database asks for.
        try:
            return _connect(self.path, "mode=ro")
        except sqlite3.OperationalError:
            if self._log.exists():
                raise
            return _connect(self.path, "immutable=1")


def _connect(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{how}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
    )
    try:
        connection.text_factory = bytes
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _explain(error: sqlite3.DatabaseError, path: Path) -> str:
    words = str(error)
    if "locked" in words or "busy" in words:
        return "is locked by another process; it is tried again"
    if "not a database" in words or "malformed" in words or "corrupt" in words:
        return f"{_DAMAGED} ({words}); what it held is not counted"
    if "unable to open" in words:
        words = _refusal(path) or words
    return f"cannot be read: {words}"


def _refusal(path: Path) -> str | None:
    """The system's own words for why a file cannot be opened, None where it can."""
    try:
        path.open("rb").close()
    except OSError as error:
        return error.strerror
    return None
