"""Keeping the holds on processes: as long as it runs, what goes on or is new in a held agent is stopped once more."""

import asyncio
import time
from collections.abc import Callable, Collection

from clawtop.control.processes import Kept
from clawtop.model.commands import Target

_LOOK_SECONDS = 1.0
_SHARE = 50
"""A look at many processes takes its time: of all time at most this part is spent on looking."""


class ProcessWatch:
    """Looks at held targets again and again. `look` blocks, and is called in a thread; `told` takes what it saw."""

    def __init__(self, look: Callable[[Target], Kept | None], told: Callable[[Target, Kept], None]) -> None:
        self._look = look
        self._told = told
        self._targets: tuple[Target, ...] = ()
        self._task: asyncio.Task[None] | None = None

    def watch(self, targets: Collection[Target]) -> None:
        """Keep these still from now on, and no others."""
        self._targets = tuple(targets)
        if self._targets and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Look no more."""
        self._targets = ()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause = _LOOK_SECONDS
        while self._targets:
            await asyncio.sleep(pause)
            began = time.monotonic()
            for target in self._targets:
                kept = await asyncio.to_thread(self._look, target)
                if kept is not None and target in self._targets:
                    self._told(target, kept)
            pause = max(_LOOK_SECONDS, (time.monotonic() - began) * _SHARE)
