"""What the screen looks like. Accept a change with `--snapshot-update`, after looking at the new pictures."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from clawtop.model.snapshot import Grouping, Health, SourceStatus, View
from clawtop.tui.options import Colours
from tests.tui.fleet_feed import GATEWAY, OK_SOURCE, FleetFeed
from tests.tui.holding import hold, plan, target
from tests.tui.stage import stage

Compare = Callable[..., bool]
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)], ids=["80x24", "120x40", "200x50"])


def fleet(**changes: object) -> FleetFeed:
    """A fleet after a minute."""
    feed = FleetFeed(**{"count": 47, **changes})  # type: ignore[arg-type]
    feed.ticks(20)
    return feed


@SIZES
def test_table(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(stage(fleet()), terminal_size=size, press=["down", "space", "down"])


@SIZES
@pytest.mark.parametrize("grouping", [Grouping.PROJECT, Grouping.SESSION], ids=str)
def test_grouping(snap_compare: Compare, size: tuple[int, int], grouping: Grouping) -> None:
    view = View(group_by=grouping)
    assert snap_compare(stage(fleet(count=12, view=view), view=view), terminal_size=size)


@SIZES
def test_filter(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(stage(fleet()), terminal_size=size, press=["slash", "q", "a", "space", "c", "o", "s", "t", ">"])


@SIZES
def test_projects(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(stage(fleet()), terminal_size=size, press=["p", "down"])


@SIZES
def test_help(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(stage(fleet(count=3)), terminal_size=size, press=["question_mark"])


@SIZES
def test_empty(snap_compare: Compare, size: tuple[int, int]) -> None:
    nothing = (
        SourceStatus("openclaw:~/.openclaw", Health.DOWN, "no such directory"),
        SourceStatus("claude:~/.claude", Health.OK, "no sessions in ~/.claude/projects"),
    )
    app = stage(FleetFeed(0, nothing), demo_offer=lambda: None)
    assert snap_compare(app, terminal_size=size)


@SIZES
def test_detail(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(stage(fleet()), terminal_size=size, press=["down", "down", "enter"])


def asked(agents: int, *, hostile: bool = False) -> FleetFeed:
    feed = fleet()
    names = [row.label for row in feed.agents[:agents]]
    if hostile:
        names = ["\x1b[2Jred [bold]x[/] \u202edef 世界" + "n" * 90]
        feed.agents[0] = replace(feed.agents[0], label=names[0], group=("local", names[0]))
        feed.publish()
    feed.plans.set_result(tuple(plan(name) for name in names))
    return feed


@SIZES
def test_question(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(stage(asked(1)), terminal_size=size, press=["k"])


def test_question_about_many(snap_compare: Compare) -> None:
    assert snap_compare(stage(asked(3)), press=["space", "space", "space", "k", "tab", "l", "o", "o", "p"])


def test_question_with_a_hostile_name(snap_compare: Compare) -> None:
    assert snap_compare(stage(asked(1, hostile=True)), press=["k"])


def test_question_in_ascii(snap_compare: Compare) -> None:
    assert snap_compare(stage(asked(1), ascii=True), press=["k"])


def test_question_in_sixteen_colours(snap_compare: Compare) -> None:
    assert snap_compare(stage(asked(1), colours=Colours.BASIC), press=["x"])


def test_question_on_the_smallest_terminal(snap_compare: Compare) -> None:
    assert snap_compare(stage(asked(1)), terminal_size=(40, 10), press=["k"])


@pytest.mark.parametrize("colours", [Colours.TRUE, Colours.BASIC], ids=str)
def test_held(snap_compare: Compare, colours: Colours) -> None:
    feed = fleet()
    states = ("paused", "stopping", "failed", "unsupported", "requested")
    for number, state in enumerate(states):
        feed.agents[number] = replace(feed.agents[number], hold=state, hold_detail="412 ms; runs away")
    feed.held = {target(feed.agents[0].label): hold(feed.agents[0].label)}
    feed.publish()
    assert snap_compare(stage(feed, colours=colours), terminal_size=(120, 40))


def test_leaving(snap_compare: Compare) -> None:
    feed = fleet()
    feed.held = {target(name): hold(name) for name in ("coder", "researcher")}
    assert snap_compare(stage(feed), press=["q"])


def test_sources(snap_compare: Compare) -> None:
    sources = (
        replace(OK_SOURCE, demo=True),
        GATEWAY,
        SourceStatus("claude:~/.claude", Health.DOWN, "permission denied"),
    )
    assert snap_compare(stage(fleet(sources=sources)), press=["o"])


def test_demo_while_reading(snap_compare: Compare) -> None:
    sources = (replace(OK_SOURCE, demo=True, health=Health.READING, bytes=127_000_000),)
    assert snap_compare(stage(fleet(sources=sources)))


def test_the_smallest_terminal(snap_compare: Compare) -> None:
    assert snap_compare(stage(fleet()), terminal_size=(40, 10))


def test_ascii(snap_compare: Compare) -> None:
    assert snap_compare(stage(fleet(), ascii=True), press=["g"])


def test_sixteen_colours(snap_compare: Compare) -> None:
    assert snap_compare(stage(fleet(), colours=Colours.BASIC), press=["space"])
