"""Opening OpenClaw's databases: read only, never in a gateway's way, whatever state they are in."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from clawtop.model.errors import SourceError

_BUSY_SECONDS = 0.2
_LARGEST_VALUE = 64 * 1024 * 1024


class Database:
    """One SQLite file, kept open and polled. Every method raises SourceError with what is wrong with it."""

    def __init__(self, path: Path, *, newest_known: int) -> None:
        self.path = path
        self._newest_known = newest_known
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._version = -1
        self._columns: dict[str, tuple[str, ...]] = {}
        self.schema = 0
        """Its user_version, 0 before it was opened."""

    @property
    def newer(self) -> str | None:
        """A sentence for the user when the schema is newer than what was ever observed."""
        if self.schema <= self._newest_known:
            return None
        return f"schema {self.schema} is newer than the known {self._newest_known}: read as far as it is the same"

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
        yield from self._execute(f"SELECT {wanted} FROM {table} {rest}", values)  # noqa: S608

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._version = -1
        self._columns.clear()

    def _pragma(self, name: str) -> int:
        return int(next(iter(self._execute(f"PRAGMA {name}")))[0])

    def _execute(self, sql: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            if self._connection is None:
                self._connection = self._open()
            yield from self._connection.execute(sql, values)
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError) or "locked" not in str(error):
                self.close()
            self.again()
            raise SourceError(_explain(error, self.path)) from error

    def _open(self) -> sqlite3.Connection:
        # Without a -wal there is nothing that is not in the file, and a folder one may not write to cannot hold the
        # -shm that a WAL database asks for.
        try:
            return _connect(self.path, "mode=ro")
        except sqlite3.OperationalError:
            if self.path.with_name(self.path.name + "-wal").exists():
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
        return f"{path} is locked by another process; it is tried again"
    if "not a database" in words or "malformed" in words or "corrupt" in words:
        return f"{path} is damaged ({words}); what it held is not counted"
    return f"{path} cannot be read: {words}"
