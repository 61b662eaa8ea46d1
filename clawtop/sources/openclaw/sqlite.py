"""Opening OpenClaw's databases: read only, never in a gateway's way, whatever state they are in."""

import contextlib
import os
import sqlite3
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from clawtop.model.errors import SourceError

_BUSY_SECONDS = 0.2
_LARGEST_VALUE = 64 * 1024 * 1024
_PRIMARY = 0xFF
_SETTLED_NS = 2_000_000_000
_DAMAGED = "is damaged"
_LOCKED = "is locked by another process; it is tried again"
_TOO_BIG = "holds a value over 64 MiB"


class UnreadableError(SourceError):
    """A database cannot be read; `why` are the words without its `path`.

    `damaged`: trying again is no use. `locked`: it may be of use soon. `partial`: other rows may be readable.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} {why}")
        self.path = path
        self.why = why
        self.damaged = why.startswith(_DAMAGED)
        self.locked = why == _LOCKED
        self.partial = self.damaged or why == _TOO_BIG


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
        self._frozen: tuple[int, ...] | None = None
        self._is_frozen = False
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

    def exists(self) -> bool:
        """Whether there is such a file."""
        try:
            self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise UnreadableError(self.path, f"cannot be read: {error.strerror}") from error
        return True

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
        if self._is_frozen and (self._look is None or self._look != self._frozen):
            self.rest()
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

    def need(self, table: str, *names: str) -> None:
        """Raise SourceError where the table exists and lacks one of these columns."""
        there = self.columns(table)
        lacking = [name for name in names if there and name not in there]
        if lacking:
            raise SourceError(f"{table} of schema {self.schema} has no {' and no '.join(lacking)}, so it is not read")

    def where(self, table: str, *tests: tuple[str, str], order: str | None = None) -> str:
        """The end of a select: of these tests (column, condition) those whose column this schema has, and the order."""
        known = {"rowid", *self.columns(table)}
        held = [condition for column, condition in tests if column in known]
        where = f"WHERE {' AND '.join(held)}" if held else ""
        return where + (f" ORDER BY {order if order in known else 'rowid'}" if order else "")

    def select(
        self,
        table: str,
        names: tuple[str, ...],
        rest: str = "",
        values: tuple[object, ...] | Mapping[str, object] = (),
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

    def rows(
        self,
        table: str,
        names: tuple[str, ...],
        *tests: tuple[str, str],
        order: str,
        values: Mapping[str, object],
        content: tuple[tuple[str, str], ...] = (),
    ) -> Iterator[tuple[Any, ...]]:
        """As `select` with `where`, row by row where one of them is too large or lies in a damaged part of the file.

        `names` begins with the rowid; of a row that cannot be read there is nothing but that. `content` are tests that
        have to read the rows.
        """
        last = None
        try:
            for row in self.select(table, names, self.where(table, *tests, *content, order=order), values):
                last = row[0]
                yield row
        except UnreadableError as error:
            if not error.partial:
                raise
        else:
            return
        keys = [row[0] for row in self.select(table, ("rowid",), self.where(table, *tests, order=order), values)]
        for key in keys[keys.index(last) + 1 if last in keys else 0 :]:
            one = self.where(table, ("rowid", "rowid = :key"), *content)
            try:
                yield from self.select(table, names, one, {**values, "key": key})
            except UnreadableError as error:
                if not error.partial:
                    raise
                yield (key,)

    def rest(self) -> None:
        """Let go of the file until it is of use again; what is known of it stays known."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._is_frozen = False
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

    def _execute(self, sql: str, values: tuple[object, ...] | Mapping[str, object] = ()) -> Iterator[tuple[Any, ...]]:
        self._reading += 1
        try:
            if self._connection is None:
                self._connection = self._open()
                self._connections.use(self)
            yield from self._connection.execute(sql, values)
        except sqlite3.DatabaseError as error:
            if not _is_locked(error):
                self.close()
            self.again()
            raise UnreadableError(self.path, _explain(error, self.path)) from error
        finally:
            self._reading -= 1

    def _open(self) -> sqlite3.Connection:
        seen = self._seen()
        try:
            return _connect(self.path, "mode=ro")
        except sqlite3.OperationalError as error:
            if _is_locked(error) or self._log.exists():
                raise
        # Without a -wal there is nothing that is not in the file, and a folder one may not write to cannot hold the
        # -shm that a WAL database asks for. What is read so is never seen to change.
        connection = _connect(self.path, "immutable=1")
        self._is_frozen, self._frozen = True, self._looks(seen)
        return connection

    def _seen(self) -> os.stat_result:
        """What the file looks like; for what is no file an error: SQLite would wait at a pipe for ever."""
        try:
            seen = self.path.stat()
        except OSError as error:
            raise UnreadableError(self.path, f"cannot be read: {error.strerror}") from error
        if stat.S_ISDIR(seen.st_mode):
            raise UnreadableError(self.path, "cannot be read: Is a directory")
        if not stat.S_ISREG(seen.st_mode):
            raise UnreadableError(self.path, "cannot be read: it is a pipe or a device")
        return seen


def _connect(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?{how}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
    )
    try:
        connection.text_factory = bytes
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _is_locked(error: sqlite3.DatabaseError) -> bool:
    return _kind_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _kind_of(error: sqlite3.DatabaseError) -> int:
    """SQLite's code for the kind of an error, 0 where the error is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY


def _explain(error: sqlite3.DatabaseError, path: Path) -> str:
    words = str(error)
    if _is_locked(error):
        return _LOCKED
    if _kind_of(error) == sqlite3.SQLITE_TOOBIG:
        return _TOO_BIG
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
