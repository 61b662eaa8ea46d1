"""The questions before processes of this machine are stopped or ended."""

from dataclasses import replace

import pytest

from clawtop.model.commands import Abort, Gap, Means, Pause, Plan, RunningProcess
from tests.tui.fleet_feed import START, FleetFeed
from tests.tui.holding import SIZE, plan, settled, target
from tests.tui.stage import shown, stage

TREE = RunningProcess(4711, "node cli.js", START - 7_200_000, ("bash", "node vite.js", "bash"), stopped=1)
LOCAL = Plan(
    target("coder"), Means.PROCESS, processes=(TREE,), not_covered=(Gap("the request under way", "it is billed"),)
)


async def asked(key: str, *plans: Plan) -> str:
    """What the question says once this is known, all of it."""
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=(100, 60)) as pilot:
        await pilot.press(key)
        feed.plans.set_result(plans)
        await settled(pilot)
        return " ".join(shown(app).split())


async def test_a_pause_names_the_processes_and_how_they_are_stopped() -> None:
    said = await asked("k", LOCAL)

    assert "Pause coder?" in said
    assert "Its processes stop where they stand, and stay so until somebody lets them go on." in said
    assert "What runs is ended" not in said
    assert "4 processes" in said
    assert "cron job" not in said
    assert "4711 node cli.js, 2h old; 3 that it has started: 2 bash, node vite.js;" in said
    assert "stopped already" in said
    assert "SIGSTOP to each process by itself" in said
    assert "the request under way: it is billed" in said


async def test_an_abort_says_that_it_ends_them() -> None:
    said = await asked("x", LOCAL)

    assert "End the processes of coder?" in said
    assert "asked to end and, after 5 s, killed" in said
    assert "Only what runs now ends" not in said
    assert "the request under way" not in said


@pytest.mark.parametrize("size", [SIZE, (100, 60)])
async def test_y_ends_nothing_that_was_not_named_yet(size: tuple[int, int]) -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=size) as pilot:
        await pilot.press("x", "y")
        await settled(pilot)
        assert feed.submitted == []
        assert "y yes" not in shown(app)
        feed.plans.set_result((LOCAL,))
        await settled(pilot)
        await pilot.press("y")
        assert feed.submitted == [Abort((target("coder"),))]


async def test_a_pause_waits_for_nothing() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("k", "y")
        assert feed.submitted == [Pause((target("coder"),))]


async def test_what_can_only_be_ended_is_not_paused() -> None:
    revived = replace(LOCAL, problem="tmux lets it go on whenever it is stopped")
    said = await asked("k", revived)

    assert "Nothing can be done from here." in said
    assert "cannot be stopped from here" in said
    assert "tmux lets it go on" in said
    assert "SIGSTOP" not in said
    assert "y yes" not in said
    ended = await asked("x", revived)
    assert "y yes" in ended
    assert "tmux lets it go on" not in ended


async def test_side_by_side_with_agents_of_a_gateway_both_promises_stand() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=(100, 70)) as pilot:
        await pilot.press("space", "space", "k")
        first, second = feed.planned[0]
        feed.plans.set_result((replace(LOCAL, target=first), replace(plan(second.agent), target=second)))
        await settled(pilot)
        said = " ".join(shown(app).split())

    assert "What runs is ended" in said
    assert "Its processes stop where they stand" in said
    assert "1 running, 1 subagent, 1 cron job, 1 own model, 4 processes" in said


async def test_hostile_names_reach_no_terminal() -> None:
    evil = replace(TREE, command="\x1b[2J\u202eevil", children=("\x1b]0;x\x07",))

    said = await asked("k", replace(LOCAL, processes=(evil,)))

    assert "\x1b" not in said
    assert "\u202e" not in said


def test_children_are_named_by_what_most_of_them_are() -> None:
    assert replace(TREE, children=()).following == "it has started none"
    assert replace(TREE, children=("sleep",)).following == "1 that it has started: sleep"
    many = ("a", "b", "c", "d", "e", "f", "f")
    assert replace(TREE, children=many).following == "7 that it has started: 2 f, a, b, c, d, others"
