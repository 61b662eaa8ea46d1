"""Makes the pictures of this folder: `python screenshots/make.py`.

They show the demo fleet (seeded, so its story is the same each time) before and after one of its agents runs away,
and OpenClaw homes as they were captured from real gateways.
"""

import asyncio
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from clawtop.discovery import open_source
from clawtop.engine import Engine
from clawtop.model.snapshot import Grouping, Snapshot, View, Window
from clawtop.sources import Source
from clawtop.sources.openclaw import OpenClawSource
from clawtop.tui.app import ClawtopApp
from clawtop.tui.options import Colours, ScreenOptions

HERE = Path(__file__).parent
CAPTURES = HERE.parent / "tests" / "fixtures" / "openclaw-homes.tar.xz"
PATIENCE_SECONDS = 120
RUNAWAY = 60.0
"""Dollars per hour from which on the demo's runaway is plain to see."""

Shot = tuple[str, tuple[int, int], Sequence[str]]


def runs_away(snapshot: Snapshot) -> bool:
    """Whether the first row burns more than any sound agent does."""
    return bool(snapshot.rows) and snapshot.rows[0].usd_per_hour > RUNAWAY


def is_read(snapshot: Snapshot) -> bool:
    """Whether everything that was there has been read."""
    return bool(snapshot.rows) and not snapshot.reading


async def take(source: Source, view: View, ready: Callable[[Snapshot], bool], shots: Sequence[Shot]) -> None:
    """Show a source until `ready`, then press each shot's keys and save what is on the screen."""
    engine = Engine([source], view, delay=0.5)
    engine.start()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not ready(engine.snapshot):
                await asyncio.sleep(0.1)
        for name, size, keys in shots:
            app = ClawtopApp(engine, ScreenOptions(view=view, colours=Colours.TRUE))
            async with app.run_test(size=size) as pilot:
                await pilot.pause(0.6)
                for key in keys:
                    await pilot.press(key)
                    await pilot.pause(0.4)
                svg = app.export_screenshot(title="clawtop")
                (HERE / f"{name}.svg").write_text(svg)
                print(name)
    finally:
        engine.stop()


async def main() -> None:
    """Make all pictures."""
    hour = View(window=Window.H1)
    await take(open_source("demo:"), hour, is_read, [("before-the-runaway-120x40", (120, 40), ())])
    await take(
        open_source("demo:?speed=12"),
        hour,
        runs_away,
        [
            ("fleet-120x40", (120, 40), ("home",)),
            ("fleet-80x24", (80, 24), ("home",)),
            ("fleet-200x50", (200, 50), ("home",)),
            ("filter-120x40", (120, 40), ("slash", *"retries>0")),
            ("projects-120x40", (120, 40), ("p",)),
            ("help-120x40", (120, 40), ("question_mark",)),
            ("detail-120x40", (120, 40), ("home", "enter")),
        ],
    )
    with tempfile.TemporaryDirectory() as folder, tarfile.open(CAPTURES) as captured:
        # Before Python 3.11.4 there are no filters; these archives are the project's own.
        captured.extraction_filter = getattr(tarfile, "data_filter", None)
        captured.extractall(folder)  # noqa: S202
        everything = View(window=Window.ALL, group_by=Grouping.MODEL)
        home = OpenClawSource("openclaw:~/.openclaw", Path(folder) / "openclaw-2026.9.6")
        await take(home, everything, is_read, [("openclaw-by-model-120x40", (120, 40), ("home",))])


if __name__ == "__main__":
    asyncio.run(main())
