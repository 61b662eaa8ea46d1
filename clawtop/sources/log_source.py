"""The source that a tree of logs makes: history first, then what is appended, and what its agents do."""

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Generic

from clawtop.model.errors import SourceError
from clawtop.model.events import Blind, Event, SessionState, State
from clawtop.model.keys import Key
from clawtop.model.local import LocalWork
from clawtop.model.snapshot import Health, SourceStatus
from clawtop.sources import Outlet
from clawtop.sources.logs import L, LogFile, LogTree
from clawtop.sources.progress import Progress
from clawtop.sources.watch import Watch

_SWEEP_SECONDS = 1.0
_THOROUGH_EVERY = 20


class LogSource(ABC, Generic[L]):
    """A folder with logs below `roots`. `unseen` is what they cannot show."""

    def __init__(self, uri: str, folder: Path, roots: Sequence[Path], unseen: frozenset[str]) -> None:
        self._uri = uri
        self._folder = folder
        self._roots = roots
        self._unseen = unseen
        self._begin()

    @property
    def uri(self) -> str:
        """The kind and the folder, e.g. `claude:/home/me/.claude`."""
        return self._uri

    @property
    def folder(self) -> Path:
        """What it reads."""
        return self._folder

    def _begin(self) -> None:
        self._progress = Progress(self._uri)
        self._tree: LogTree[L] = LogTree(self._roots, self._open, self._progress)
        self._agents: set[Key] = set()

    @abstractmethod
    def _open(self, path: Path, changed: int) -> L | None:
        """The format's side of a log that was found, by its path and its last change (Unix ms); None for no log."""

    @abstractmethod
    def _ordered(self, files: list[LogFile[L]]) -> list[LogFile[L]]:
        """The history in the order in which it is read."""

    @abstractmethod
    def _state(self, file: LogFile[L]) -> State:
        """What the session of a log does."""

    @abstractmethod
    def _work(self, file: LogFile[L]) -> LocalWork:
        """Where the session of a log works."""

    @property
    def _beside(self) -> Sequence[Path]:
        """Folders beside the logs in which a change means something."""
        return ()

    def _look_around(self, now: int) -> Sequence[LogFile[L]]:
        """Look at what lies beside the logs; the logs that this says something new of."""
        del now
        return ()

    def places(self, agent: str) -> list[LocalWork]:
        """Where an agent of this folder works, the most recent first. In the engine's loop only."""
        found = [self._work(file) for file in self._tree.files if file.log.agent == agent]
        return sorted(found, key=lambda work: work.last_at, reverse=True)

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        """See Source. A log that cannot be read is named in the status while the rest goes on."""
        self._begin()
        self._check_folder()
        watch = Watch(recursive=True)
        try:
            if follow:
                await watch.look_at(self._watched())
                await asyncio.sleep(0)  # what is appended during the first read wakes the second one
            await self._history(outlet)
            if follow:
                await self._follow(outlet, watch)
        finally:
            await watch.close()

    async def _history(self, outlet: Outlet) -> None:
        now = outlet.now()
        self._tree.look(now)
        outlet.report(self._status())
        await self._read(outlet, self._ordered(self._tree.waiting()))
        self._look_around(now)
        await outlet.put(self._present(list(self._tree.files), now))
        self._progress.health = Health.OK
        outlet.report(self._status())

    async def _follow(self, outlet: Outlet, watch: Watch) -> None:
        clock = asyncio.get_running_loop().time
        swept, sweeps = clock(), 0
        while True:
            await watch.look_at(self._watched())
            changed = await watch.wait(_SWEEP_SECONDS)
            now, before = outlet.now(), self._status()
            fresh, strange = self._tree.touched(changed)
            due = clock() - swept >= _SWEEP_SECONDS
            if strange or due:
                thorough = due and sweeps % _THOROUGH_EVERY == 0
                self._check_folder()
                self._tree.look(now, thorough=thorough)
                fresh += [file for file in self._tree.waiting() if file not in fresh]
            if due:
                swept, sweeps = clock(), sweeps + 1
                fresh += [file for file in self._tree.grown(now, thorough=thorough) if file not in fresh]
            await self._read(outlet, fresh)
            concerned = [*fresh, *(self._tree.hot(now) if due else ())]
            if strange or due:
                concerned += self._look_around(now)
            events = self._present(concerned, now)
            if events:
                await outlet.put(events)
            if self._status() != before:
                outlet.report(self._status())

    def _watched(self) -> frozenset[Path]:
        return self._tree.folders | {folder for folder in self._beside if folder.is_dir()}

    async def _read(self, outlet: Outlet, files: Iterable[LogFile[L]]) -> None:
        for file in files:
            for events in self._tree.read(file):
                await outlet.put(events)
                if self._progress.health is Health.READING:
                    outlet.report(self._status())

    def _present(self, files: Iterable[LogFile[L]], now: int) -> list[Event]:
        """What the time says of these logs, what their sessions do, and which agents there are."""
        events: list[Event] = []
        for file in files:
            if not file.started or file.log.cwd is None:
                continue  # nothing that counts was said in it
            events += file.log.settle(now)
            state = self._state(file)
            if state is not file.told:
                first = file.told is None and state is not State.RUNNING
                at = (file.log.last_at or file.changed) if first else now
                file.told = state
                events += self._introduce(file.log.key())
                events.append(SessionState(file.log.key(), at, state))
        return events

    def _introduce(self, key: Key) -> list[Event]:
        agent = Key(key.host, key.agent)
        if agent in self._agents:
            return []
        self._agents.add(agent)
        return [Blind(agent, self._unseen)]

    def _check_folder(self) -> None:
        try:
            os.scandir(self._folder).close()
        except FileNotFoundError:
            kind = self._uri.partition(":")[0]
            raise SourceError(f"{self._folder} does not exist; name the folder with -s {kind}:DIR") from None
        except OSError as error:
            raise SourceError(f"{self._folder} cannot be read: {error.strerror}") from error

    def _status(self) -> SourceStatus:
        count = len(self._tree.files)
        if not count:
            return self._progress.status(f"no sessions yet in {self._folder}")
        return self._progress.status("1 session log" if count == 1 else f"{count} session logs")
