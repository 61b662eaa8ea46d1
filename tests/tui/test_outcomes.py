"""What is said after a command: in one line, on a page, in a question, and when one leaves."""

from dataclasses import replace

import pytest

from clawtop.model.commands import (
    Conflict,
    Escalation,
    HoldState,
    Outcome,
    Pause,
    Result,
    Resume,
    Step,
)
from clawtop.tui.screens.question import Conflicts, Leaving
from clawtop.tui.screens.reader import DetailScreen, OutcomeScreen
from tests.tui.fleet_feed import FleetFeed
from tests.tui.holding import SIZE, answered, held, hold, plan, settled, target
from tests.tui.stage import lines, shown, stage


def outcome(command: Pause | Resume, *results: Result) -> Outcome:
    return Outcome(command, results, 420)


async def test_what_happened_is_said_in_one_line() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("k", "y")
        await pilot.pause()
        (command,) = feed.submitted
        assert isinstance(command, Pause)
        feed.outcome.set_result(outcome(command, Result(target("coder"), True, "", settled=210, verified_after=420)))
        await settled(pilot)
        assert "coder paused within 420ms" in shown(app)
        assert app.screen is app.fleet


FAILED = Result(
    target("coder"),
    verified=False,
    detail="the run goes on",
    hold=hold("coder", HoldState.FAILED),
    steps=(Step("abort the run", True, milliseconds=12), Step("hold the config", False, "baseHash \x1b[0m differs")),
)


async def test_what_is_not_verified_is_shown_with_its_steps_and_what_would_be_harsher() -> None:
    feed = FleetFeed()
    harsher = Escalation("sessions.delete", "the session's run", "its transcript")
    feed.plans.set_result((plan("coder", escalations=(harsher,)),))
    app = stage(feed)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("k")
        await settled(pilot)
        await pilot.press("y", "slash", "e", "f")
        feed.outcome.set_result(outcome(Pause((target("coder"),)), FAILED))
        await settled(pilot)
        assert app.screen is app.fleet
        await pilot.press("escape")
        feed.tick()
        await settled(pilot)
        assert isinstance(app.screen, OutcomeScreen)
        said = shown(app)
        for word in ("coder not paused: the run goes on", "abort the run 12ms", "hold the config",
                     "baseHash \ufffd[0m differs", "sessions.delete", "None of it was done",
                     "destroys its transcript"):  # fmt: skip
            assert word in said, word


async def test_what_became_of_a_command_is_shown_over_the_page_it_was_given_on() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("enter", "k", "y")
        feed.outcome.set_result(outcome(Pause((target("coder"),)), FAILED))
        await settled(pilot)
        assert isinstance(app.screen, OutcomeScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, DetailScreen)


async def test_a_command_that_ends_in_an_error_does_not_end_the_screen() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("k", "y")
        await pilot.pause()
        feed.outcome.set_exception(OSError("disk full"))
        await settled(pilot)
        assert "disk full" in shown(app)
        assert app.screen is app.fleet


@pytest.mark.parametrize(
    ("key", "wanted"),
    [("f", Resume((target("coder"),), force=True)), ("e", Resume((target("coder"),), keep=True)), ("escape", None)],
)
async def test_what_somebody_changed_meanwhile_is_asked_about(key: str, wanted: Resume | None) -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        held(feed, "coder")
        await pilot.press("r", "y", "o")
        changed = Conflict("agents.list[0].model", "a/b", "c/d\u202e")
        result = Result(target("coder"), verified=False, detail="changed", conflicts=(changed,))
        feed.outcome.set_result(outcome(Resume((target("coder"),)), result))
        await settled(pilot)
        await pilot.press("escape")
        feed.tick()
        await settled(pilot)
        assert isinstance(app.screen, Conflicts)
        for word in ("agents.list[0].model", "before the hold: a/b", "now: c/d\ufffd"):
            assert word in shown(app)
        await pilot.press("enter", "y", key)
        await pilot.pause()
        assert feed.submitted[1:] == ([] if wanted is None else [wanted])
        assert answered(app)


async def test_a_held_agent_is_seen_in_the_table_and_in_the_header() -> None:
    feed = FleetFeed(3)
    app = stage(feed, ascii=True)
    async with app.run_test(size=(240, 24)) as pilot:
        feed.agents[0] = replace(feed.agents[0], hold="paused", hold_detail="412 ms; runs away")
        held(feed, "coder")
        await pilot.pause()
        assert "= paused 412ms" in shown(app)
        assert " 1 HELD " in lines(app)[0]


async def test_leaving_waits_for_a_command_that_is_under_way() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("k", "y")
        await pilot.pause()
        held(feed, "coder")
        await pilot.press("q")
        await pilot.pause()
        assert "A command is still under way" in shown(app)
        assert "clawtop resume coder" in shown(app)
        assert "leave now" in shown(app)
        assert app.is_running
        done = Result(target("coder"), True, "", settled=210, verified_after=420)
        feed.outcome.set_result(outcome(Pause((target("coder"),)), done))
        await settled(pilot)
    assert app.return_value == 0


async def test_a_command_that_fails_while_one_waits_to_leave_is_shown() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("k", "y", "q")
        await pilot.pause()
        assert isinstance(app.screen, Leaving)
        feed.outcome.set_result(outcome(Pause((target("coder"),)), FAILED))
        await settled(pilot)
        feed.publish()
        await settled(pilot)
        assert isinstance(app.screen, OutcomeScreen)
        assert app.is_running


async def test_one_can_leave_a_command_half_way() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("k", "y", "q", "q")
        await pilot.pause()
    assert app.return_value == 0


@pytest.mark.parametrize("key", ["q", "y"])
async def test_leaving_with_holds_says_that_they_stay(key: str) -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        feed.held = {target("co der"): hold("co der"), target("gone"): hold("gone", HoldState.UNSUPPORTED)}
        await pilot.press("q")
        await pilot.pause()
        assert isinstance(app.screen, Leaving)
        assert "One agent stays held" in shown(app)
        assert "clawtop resume 'co der'" in shown(app)
        await pilot.press("enter", "escape")
        await pilot.pause()
        assert answered(app)
        await pilot.press("ctrl+q")
        await pilot.pause()
        assert app.is_running
        await pilot.press(key)
    assert app.return_value == 0
