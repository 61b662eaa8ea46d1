"""A home that is followed while one of its agents is never quiet."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from clawtop.sources.openclaw import OpenClawSource, home
from clawtop.sources.watch import Watch
from tests import outlets
from tests.counted import LATER, seen
from tests.openclaw_homes import T0, answer, header, lines, session_file
from tests.outlets import Remembered

TWO_HOURS_NS = 7_200_000_000_000
_PULSE_SECONDS = 0.05


@contextlib.asynccontextmanager
async def never_quiet(write: Callable[[int], None]) -> AsyncIterator[None]:
    """Something is written twenty times a second."""

    async def go_on() -> None:
        number = 0
        while True:
            write(number)
            number += 1
            await asyncio.sleep(_PULSE_SECONDS)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()


class QuietOnce(Watch):
    """A watch that tells when nothing had changed for a second."""

    quiet: asyncio.Event

    async def wait(self, seconds: float) -> set[str]:
        changed = await super().wait(seconds)
        if not changed:
            self.quiet.set()
        return changed


def calls(outlet: Remembered, agent: str) -> int:
    return next((row.counters.calls for row in seen(outlet.events).rows if row.label == agent), 0)


def append(path: Path, entry: str) -> None:
    with path.open("ab") as file:
        file.write(lines([answer(entry, T0)]))


@pytest.mark.parametrize("named", ["absolute", "relative", "with .."])
async def test_a_session_resumed_after_hours_counts_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    old = session_file(tmp_path / "home", "resumed", "s1", [header("s1"), answer("e", T0)])
    busy = session_file(tmp_path / "home", "busy", "s1", [header("s1")])
    long_ago = LATER * 1_000_000 - TWO_HOURS_NS
    os.utime(old, ns=(long_ago, long_ago))
    monkeypatch.chdir(tmp_path)
    folder = {"absolute": tmp_path / "home", "relative": Path("home"), "with ..": tmp_path / "home" / ".." / "home"}
    monkeypatch.setattr(home, "Watch", QuietOnce)
    monkeypatch.setattr(QuietOnce, "quiet", asyncio.Event(), raising=False)
    source = OpenClawSource("openclaw:home", folder[named])
    async with outlets.followed(source, LATER) as outlet:
        await QuietOnce.quiet.wait()
        async with never_quiet(lambda number: append(busy, f"b{number}")):
            await outlet.until(lambda so_far: calls(so_far, "busy") > 10)
            append(old, "later")
            before = calls(outlet, "busy")
            await outlet.until(lambda so_far: calls(so_far, "resumed") == 2)
            assert calls(outlet, "busy") - before < 30, "it was found by looking at everything, not by being told"
