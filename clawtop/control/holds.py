"""The hold files: one JSON a target in the state directory, written before anything is changed.

A file is complete or not there: it is written beside its place, synced, and renamed. One that cannot be read is
reported and never deleted. A lock keeps two clawtops from acting on one target at the same time; the system lets go
of it when its owner dies, however that happens.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import orjson

from clawtop.control.record import DamagedHold, HoldRecord, from_json, to_json
from clawtop.model.commands import Hold, HoldState, Target
from clawtop.model.errors import ClawtopError

_LONGEST_NAME = 180


class Busy(ClawtopError):
    """Another clawtop is acting on this target at this moment."""


class NotRemoved(ClawtopError):
    """A hold was undone and its file stays."""

    def __init__(self, path: Path, error: OSError) -> None:
        why = error.strerror or str(error)
        super().__init__(
            f"it goes on; its hold file {path} could not be removed ({why}): remove it, or resume it once more, "
            "before another clawtop takes it for held"
        )


class HoldStore:
    """The holds of one state directory. Its methods block for as long as the disk takes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left_over: set[Target] = set()

    def path(self, target: Target) -> Path:
        """Where the hold on this target lies, if there is one."""
        return self._folder / f"{_stem(target)}.json"

    def read(self, target: Target) -> HoldRecord | None:
        """The hold on this target, None where there is none. Raises DamagedHold with the path and what is wrong."""
        path = self.path(target)
        return _load(path) if path.exists() else None

    def all(self) -> list[tuple[Target, HoldRecord | DamagedHold]]:
        """Every hold there is, by its target; those that cannot be read with the reason."""
        found: list[tuple[Target, HoldRecord | DamagedHold]] = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                record = _load(path)
                found.append((record.target, record))
            except DamagedHold as error:
                found.append((_target(path.stem), error))
        return found

    def write(self, record: HoldRecord) -> None:
        """Put the hold in its place, so that it survives the loss of power. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._left_over.discard(record.target)
        path = self.path(record.target)
        handle, beside = tempfile.mkstemp(prefix=f".{path.stem[:60]}-", suffix=".tmp", dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(orjson.dumps(to_json(record), option=orjson.OPT_INDENT_2))
                file.flush()
                os.fsync(file.fileno())
            Path(beside).replace(path)
        finally:
            Path(beside).unlink(missing_ok=True)  # it is there only where it did not come into its place
        self._sync_folder()

    def stands(self, target: Target) -> bool:
        """Whether a hold lies on disk, and is none that was lifted here and could not be taken away."""
        return target not in self._left_over and self.path(target).exists()

    def lift(self, target: Target, *, damaged: bool) -> Path | None:
        """The hold is undone: take its file away, or one that cannot be read out of the way; where it lies then.

        Raises NotRemoved: the file that stays stands for no hold any more, as far as this store is asked.
        """
        self._left_over.add(target)
        aside: Path | None = None
        try:
            if damaged:
                aside = self.set_aside(target)
            else:
                self.remove(target)
        except OSError as error:
            raise NotRemoved(self.path(target), error) from None
        self._left_over.discard(target)
        return aside

    def remove(self, target: Target) -> None:
        """Forget what stood before the hold. Raises OSError."""
        self.path(target).unlink(missing_ok=True)
        self._sync_folder()

    def set_aside(self, target: Target) -> Path:
        """Move a hold file that cannot be read out of the way, and return where it lies now. Raises OSError."""
        path = self.path(target)
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        path.rename(aside)
        self._sync_folder()
        return aside

    @contextlib.contextmanager
    def lock(self, target: Target) -> Iterator[None]:
        """Keep other clawtops off this target meanwhile. Raises Busy with the owner's pid, or OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{_stem(target)}.lock"
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = file.read(20).strip() or "?"
                raise Busy(f"another clawtop (pid {owner}) is acting on {target.agent} right now") from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def _sync_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def standing(store: HoldStore) -> dict[Target, Hold]:
    """The holds on disk as they are known without asking anybody: `requested`, or `failed` where one is damaged."""
    found: dict[Target, Hold] = {}
    for target, record in store.all():
        if isinstance(record, DamagedHold):
            found[target] = Hold(target, HoldState.FAILED, 0, "?", detail=str(record))
        else:
            detail = f"found, held since then by {record.by}; not verified yet"
            found[target] = Hold(target, HoldState.REQUESTED, record.since, record.by, record.reason, detail)
    return found


class OpenHolds:
    """The holds that are being worked on, by agent. Those of `unwritten` agents have no file and get none."""

    def __init__(self, store: HoldStore, records: Sequence[HoldRecord], unwritten: Collection[str] = ()) -> None:
        self._store = store
        self._unwritten = unwritten
        self._writing = asyncio.Lock()
        self.records = {record.target.agent: record for record in records}

    async def write(self, record: HoldRecord) -> None:
        """Take the place of the agent's record; it is on disk when this returns. Raises OSError."""
        agent = record.target.agent
        self.records[agent] = record
        if agent in self._unwritten:
            return
        async with self._writing:
            # by now it may have been changed again; the newest is what has to be there
            await asyncio.to_thread(self._store.write, self.records[agent])


def _load(path: Path) -> HoldRecord:
    try:
        return from_json(orjson.loads(path.read_bytes()))
    except (OSError, ValueError, DamagedHold) as error:
        raise DamagedHold(f"the hold file {path} cannot be read: {error}") from None


def _stem(target: Target) -> str:
    stem = "~".join(quote(part, safe="").replace("~", "%7E") for part in target)
    if len(stem) <= _LONGEST_NAME:
        return stem
    return f"{stem[:100]}~{hashlib.sha256(stem.encode()).hexdigest()[:32]}"


def _target(stem: str) -> Target:
    host, _, agent = stem.partition("~")
    return Target(unquote(host), unquote(agent))
