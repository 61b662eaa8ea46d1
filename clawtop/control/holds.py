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
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import orjson

from clawtop.control.record import DamagedHold, HoldRecord, from_json, to_json
from clawtop.model.commands import Hold, HoldState, Step, Target
from clawtop.model.errors import ClawtopError

_LONGEST_NAME = 180
_Print = tuple[int, int, int]
"""By which two versions of a file are told apart: inode, when it was written in Unix ns, bytes."""


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
        self._seen: dict[Path, tuple[_Print, Target]] = {}
        self._seeing = threading.Lock()

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
                own = _print(os.fstat(file.fileno()))
            with self._seeing:
                Path(beside).replace(path)
                self._seen[path] = own, record.target
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
        with self._seeing:
            self.path(target).unlink(missing_ok=True)
            self._seen.pop(self.path(target), None)
        self._sync_folder()

    def set_aside(self, target: Target) -> Path:
        """Move a hold file that cannot be read out of the way, and return where it lies now. Raises OSError."""
        path = self.path(target)
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        with self._seeing:
            path.rename(aside)
            self._seen.pop(path, None)
        self._sync_folder()
        return aside

    def changes(self) -> frozenset[Target]:
        """The targets whose holds other clawtops have made, changed or taken away since the last call."""
        with self._seeing:
            before, self._seen = self._seen, self._look(self._seen)
            changed = before.keys() ^ self._seen.keys()
            changed |= {path for path in before.keys() & self._seen.keys() if before[path] != self._seen[path]}
            return frozenset((self._seen.get(path) or before[path])[1] for path in changed)

    def _look(self, before: Mapping[Path, "tuple[_Print, Target]"]) -> "dict[Path, tuple[_Print, Target]]":
        found: dict[Path, tuple[_Print, Target]] = {}
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError):
                # what is put in its place after this look differs at the next one
                now = _print(path.stat())
                known = before.get(path)
                found[path] = known if known is not None and known[0] == now else (now, _target_in(path))
        return found

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

    def is_locked(self, target: Target) -> bool:
        """Whether another clawtop is acting on this target."""
        try:
            with self.lock(target):
                return False
        except Busy:
            return True
        except OSError:
            return False

    def _sync_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def standing(store: HoldStore) -> dict[Target, Hold]:
    """The holds on disk as they are known without asking anybody: `requested`, or `failed` where one is damaged."""
    return {target: _standing(target, record) for target, record in store.all()}


def hold_on_disk(store: HoldStore, target: Target) -> Hold | None:
    """The hold on one target as `standing` knows it, None where there is none."""
    try:
        record = store.read(target)
    except DamagedHold as error:
        return _standing(target, error)
    return None if record is None else _standing(target, record)


def _standing(target: Target, record: HoldRecord | DamagedHold) -> Hold:
    if isinstance(record, DamagedHold):
        return Hold(target, HoldState.FAILED, 0, "?", detail=str(record))
    state, detail = HoldState.REQUESTED, f"found, held since then by {record.by}; not verified yet"
    if record.hook is not None and record.steps:
        state, detail = _said(record.hook, record.steps[-1])
    return Hold(target, state, record.since, record.by, record.reason, detail)


def step_of(verb: str, hook: str) -> str:
    """What the step of a hook is called."""
    return f"{verb} by hook {hook}"


def _said(hook: str, last: Step) -> tuple[HoldState, str]:
    """How a hook's hold stands by what the hook has said last, for nothing else tells."""
    if last.done and last.what == step_of("pause", hook):
        return HoldState.PAUSED, f"the hook {hook} said so; nobody has looked since"
    return HoldState.FAILED, f"{last.what} failed{f': {last.detail}' if last.detail else ''}"


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


def _print(status: os.stat_result) -> _Print:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _target_in(path: Path) -> Target:
    try:
        return _load(path).target
    except DamagedHold:
        return _target(path.stem)


def _load(path: Path) -> HoldRecord:
    try:
        record = from_json(orjson.loads(path.read_bytes()))
    except (OSError, ValueError, DamagedHold) as error:
        raise DamagedHold(f"the hold file {path} cannot be read: {error}") from None
    if _stem(record.target) != path.stem:
        whose = "@".join(reversed(record.target))
        raise DamagedHold(f"the hold file {path} cannot be used: it is one of {whose}")
    return record


def _stem(target: Target) -> str:
    stem = "~".join(quote(part, safe="").replace("~", "%7E") for part in target)
    if len(stem) <= _LONGEST_NAME:
        return stem
    return f"{stem[:100]}~{hashlib.sha256(stem.encode()).hexdigest()[:32]}"


def _target(stem: str) -> Target:
    host, _, agent = stem.partition("~")
    return Target(unquote(host), unquote(agent))
