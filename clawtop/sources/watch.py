"""Being woken when something in a folder changes, without missing it where the system cannot tell."""

import asyncio
import contextlib
import logging
from pathlib import Path

from watchfiles import awatch

_log = logging.getLogger(__name__)

_STEP_MS = 20
_DEBOUNCE_MS = 100


class Watch:
    """Folders that are watched one level deep, or with `recursive` as deep as they go. A change in them ends `wait`
    early; where the system cannot watch, the caller's own sweep after each `wait` still finds it."""

    def __init__(self, *, recursive: bool = False) -> None:
        self._recursive = recursive
        self._folders: frozenset[Path] = frozenset()
        self._changed: set[str] = set()
        self._woken = asyncio.Event()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def look_at(self, folders: frozenset[Path]) -> None:
        """Watch these folders from now on, instead of those before."""
        if folders == self._folders:
            return
        await self.close()
        self._folders, self._stop = folders, asyncio.Event()
        if folders:
            self._task = asyncio.create_task(self._run(folders, self._stop))

    async def wait(self, seconds: float) -> set[str]:
        """The paths that changed since the last call, as soon as there are some; empty after `seconds`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()
        changed, self._changed = self._changed, set()
        return changed

    async def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._task is not None:
            await self._task
            self._task = None
        self._folders = frozenset()

    async def _run(self, folders: frozenset[Path], stop: asyncio.Event) -> None:
        try:
            async for changes in awatch(
                *folders,
                step=_STEP_MS,
                debounce=_DEBOUNCE_MS,
                recursive=self._recursive,
                stop_event=stop,
                watch_filter=None,
            ):
                self._changed.update(path for _, path in changes)
                self._woken.set()
        except (OSError, RuntimeError, ExceptionGroup) as error:
            # A folder went away, the system's watches are used up, or a file's name is no text, which comes as a group:
            # the sweep goes on alone.
            _log.warning("watching %d folders ended: %s", len(folders), error)
            self._folders = frozenset()
