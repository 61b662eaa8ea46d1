"""Following the hold folder: what other clawtops do to the holds there is learned as long as it runs."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from clawtop.control.holds import HoldStore
from clawtop.model.commands import Target

_LOOK_SECONDS = 1.0


class Listener(Protocol):
    """Who is told what other clawtops do."""

    def changed_elsewhere(self, target: Target) -> None:
        """A hold was made, changed or taken away, and nobody acts on its target any more."""

    def acted_on_elsewhere(self, target: Target) -> None:
        """A hold was made or changed, and another clawtop is still about it."""


class HoldWatch:
    """Looks at the hold folder again and again. A target that is `ours`, acted on by this clawtop, is told of later."""

    def __init__(self, store: HoldStore, ours: Callable[[Target], bool], listener: Listener) -> None:
        self._store = store
        self._ours = ours
        self._listener = listener

    async def run(self) -> None:
        """Look until cancelled."""
        due: set[Target] = set()
        acted_on: set[Target] = set()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            with contextlib.suppress(OSError):
                # a disk that cannot be read now may be read at the next look
                due |= await asyncio.to_thread(self._store.changes)
            for target in [each for each in due if not self._ours(each)]:
                acting = await asyncio.to_thread(self._store.is_locked, target)
                if self._ours(target):
                    continue
                if not acting:
                    due.discard(target)
                    acted_on.discard(target)
                    self._listener.changed_elsewhere(target)
                elif target not in acted_on:
                    acted_on.add(target)
                    self._listener.acted_on_elsewhere(target)
