"""Holds and plans as the engine would tell them, and how tests wait for answers."""

from dataclasses import replace

from textual.pilot import Pilot

from clawtop.model.commands import (
    CronJob,
    Gap,
    Hold,
    HoldState,
    Means,
    OwnModel,
    Plan,
    Target,
    Work,
    WorkKind,
)
from clawtop.tui.app import ClawtopApp
from clawtop.tui.screens.box import Box
from tests.tui.fleet_feed import START, FleetFeed

SIZE = (80, 24)


def target(name: str) -> Target:
    return Target("local", name)


def hold(name: str, state: HoldState = HoldState.PAUSED, **changes: object) -> Hold:
    known = Hold(target(name), state, START - 300_000, "ann@box", "runs away", milliseconds=412)
    return replace(known, **changes)  # type: ignore[arg-type]


def plan(name: str, **changes: object) -> Plan:
    known = Plan(
        target(name),
        Means.GATEWAY,
        running=(
            Work(WorkKind.TURN, name, f"agent:{name}:main", model="anthropic/claude-opus-4-5", tool="exec"),
            Work(WorkKind.SUBAGENT, "helper", "agent:helper:sub:1", parent=f"agent:{name}:main"),
        ),
        cron_jobs=(CronJob("c1", "nightly digest", "every 6s"),),
        own_models=(OwnModel(f"agent:{name}:odd", "openai/gpt-5.2"),),
        config_hold=True,
        not_covered=(Gap("runs of another gateway", "it is not connected"),),
        warnings=("the config has an include",),
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def held(feed: FleetFeed, *names: str) -> None:
    feed.held = {target(name): hold(name) for name in names}
    feed.publish()


async def settled(pilot: Pilot[int]) -> None:
    """Wait until nothing is under way: an answer, the screen it opens, and what that writes."""
    for _ in range(4):
        await pilot.pause()


def answered(app: ClawtopApp) -> bool:
    return not isinstance(app.screen, Box)
