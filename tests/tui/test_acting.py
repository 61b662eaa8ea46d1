"""Pause, resume and abort from the screen: whom a key is about, and what says yes."""

from dataclasses import replace
from random import Random

import pytest
from textual.events import Key

from clawtop.model.commands import (
    Abort,
    Means,
    Pause,
    Plan,
    Resume,
    Work,
    WorkKind,
)
from clawtop.model.errors import SourceError
from clawtop.model.selection import Scope
from clawtop.model.snapshot import Grouping, View
from clawtop.tui import keys
from clawtop.tui.render.order import RESORT_MS
from clawtop.tui.screens.acting import ActingDetail
from clawtop.tui.screens.question import Question
from clawtop.tui.screens.reader import DetailScreen
from tests.tui.fleet_feed import FleetFeed
from tests.tui.holding import SIZE, answered, held, plan, settled, target
from tests.tui.stage import lines, names, selected, shown, stage


async def test_the_question_opens_at_once_and_fills_in() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("k")
        await pilot.pause()
        assert isinstance(app.screen, Question)
        assert "Pause coder?" in shown(app)
        assert "asking what runs" in shown(app)
        assert feed.planned == [(target("coder"),)]
        feed.plans.set_result((plan("coder"),))
        await pilot.pause()
        await pilot.press("home")
        said = shown(app)
        assert "1 running, 1 subagent, 1 cron job, 1 own model" in said
        await pilot.press("end")
        await pilot.pause()
        said += shown(app)
        for word in ("agent:coder:main", "claude-opus-4-5", "exec", "under helper", "nightly digest", "every 6s",
                     "agent:coder:odd", "will be held", "runs of another gateway: it is not connected",
                     "the config has an include", "$ per hour", "stops"):  # fmt: skip
            assert word in said, word
        assert feed.submitted == []


@pytest.mark.parametrize("preset", ["htop", "vim"])
async def test_only_y_does_it_and_only_once(preset: str) -> None:
    feed = FleetFeed()
    app = stage(feed, preset=preset)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("P" if preset == "vim" else "k")
        await pilot.press("k", "K", "k", "P", "f9", "enter", "space", "r", "x", "Y", "f", "e")
        await pilot.pause()
        assert not answered(app)
        await pilot.click(offset=(12, 20))
        await pilot.click(offset=(12, 6))
        assert not answered(app)
        assert feed.submitted == []
        for _ in range(3):
            app.post_message(Key("y", "y"))
        await pilot.pause()
        assert feed.submitted == [Pause((target("coder"),))]
        assert answered(app)


@pytest.mark.parametrize("key", ["escape", "n"])
async def test_no_means_no(key: str) -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("f9", key, "y")
        await pilot.pause()
        assert answered(app)
        assert feed.submitted == []


@pytest.mark.parametrize("seed", range(2))
async def test_the_target_stays_whatever_the_table_does(seed: int) -> None:
    dice = Random(seed)  # noqa: S311
    feed = FleetFeed(50, step=RESORT_MS)
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        for _ in range(12):
            aimed_at = str(selected(app))
            for _ in range(dice.randint(0, 2)):
                feed.shuffle(dice)
            app.post_message(Key("k", "k"))
            for _ in range(dice.randint(0, 2)):
                feed.shuffle(dice)
            await settled(pilot)
            assert f"Pause {aimed_at}?" in shown(app)
            for _ in range(3):
                feed.shuffle(dice)
                await pilot.pause()
            assert f"Pause {aimed_at}?" in shown(app)
            app.post_message(Key("y", "y"))
            await pilot.pause()
            assert feed.submitted[-1] == Pause((target(aimed_at),))
            app.post_message(Key(dice.choice(["up", "down", "pagedown", "home", "end"]), None))
            await pilot.pause()


async def test_the_spend_that_stops_keeps_up() -> None:
    feed = FleetFeed(5, step=RESORT_MS)
    app = stage(feed, ascii=True)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("k")
        feed.agents = [replace(each, usd_per_hour=77.25) for each in feed.agents]
        feed.tick()
        await settled(pilot)
        assert f"${feed.agents[0].usd_per_hour:.2f}/h   stops" in shown(app)


async def test_the_spend_is_that_of_the_whole_agent_whatever_the_scope() -> None:
    feed = FleetFeed()
    view = View(scope=Scope(projects=("api-gateway",)))
    app = stage(feed, view=view)
    async with app.run_test(size=SIZE) as pilot:
        feed.show(view)
        await pilot.pause()
        await pilot.press("k")
        await pilot.pause()
        assert feed.looked[-1].scope == Scope()


async def test_tagged_agents_are_paused_together() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        first, second = names(app)[:2]
        await pilot.press("space", "space", "k")
        await pilot.pause()
        assert "Pause 2 agents?" in shown(app)
        await pilot.press("y")
        await pilot.pause()
        (asked,) = feed.submitted
        assert set(asked.targets) == {target(first), target(second)}


async def test_all_that_pass_the_filter() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("slash", *"qa", "enter", "K")
        await pilot.pause()
        assert "Pause all 4 agents that pass the filter?" in shown(app)
        await pilot.press("K", "K", "y")
        await pilot.pause()
        (asked,) = feed.submitted
        assert {each.agent for each in asked.targets} == {row.label for row in feed.agents if "qa" in row.label}


async def test_the_page_of_an_agent_acts_on_that_agent_wherever_the_table_has_it() -> None:
    dice = Random(3)  # noqa: S311
    feed = FleetFeed(50, step=RESORT_MS)
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("down", "down", "enter")
        opened = str(selected(app))
        feed.plans.set_result((plan(opened),))
        for _ in range(3):
            feed.shuffle(dice)
            await pilot.pause()
        assert "k pause" in lines(app)[-1]
        await pilot.press("k")
        await pilot.pause()
        assert f"Pause {opened}?" in shown(app)
        await pilot.press("y")
        await pilot.pause()
        assert feed.submitted == [Pause((target(opened),))]
        assert isinstance(app.screen, ActingDetail)
        held(feed, opened)
        await pilot.press("r", "y")
        await pilot.press("x", "y")
        await pilot.pause()
        assert feed.submitted[1:] == [Resume((target(opened),)), Abort((target(opened),))]
        await pilot.press("K")
        assert isinstance(app.screen, ActingDetail)


async def test_readonly_has_no_key_that_acts() -> None:
    feed = FleetFeed()
    app = stage(feed, readonly=True)
    held(feed, "coder")
    async with app.run_test(size=(120, 60)) as pilot:
        await pilot.press("k", "K", "r", "x", "f9", "y")
        await pilot.pause()
        assert app.screen is app.fleet
        assert "pause" not in lines(app)[-1]
        assert not {command.title for command in app.get_system_commands(app.screen)} & {
            binding.tooltip for binding in keys.ACT
        }
        await pilot.press("question_mark")
        await pilot.pause()
        assert "asks first" not in shown(app)
        await pilot.press("escape", "enter", "k", "r", "x", "y")
        await pilot.pause()
        assert isinstance(app.screen, DetailScreen)
        assert "pause" not in lines(app)[-1]
        await pilot.press("escape", "q")
    assert app.return_value == 0
    assert (feed.planned, feed.submitted) == ([], [])


@pytest.mark.parametrize(("grouping", "field"), [(Grouping.PROJECT, "project"), (Grouping.HOST, "host")])
async def test_a_row_of_many_agents_means_its_agents(grouping: Grouping, field: str) -> None:
    feed = FleetFeed(12)
    view = View(group_by=grouping)
    app = stage(feed, view=view)
    async with app.run_test(size=SIZE) as pilot:
        feed.show(view)
        await pilot.pause()
        row = app.fleet.table.selected
        assert row is not None
        wanted = {target(each.label) for each in feed.agents if getattr(each, field) == row.label}
        await pilot.press("k")
        await pilot.pause()
        assert f"Pause {len(wanted)} agents?" in shown(app)
        await pilot.press("y")
        await pilot.pause()
        (asked,) = feed.submitted
        assert set(asked.targets) == wanted


async def test_a_session_means_its_agent() -> None:
    feed = FleetFeed(3)
    view = View(group_by=Grouping.SESSION)
    app = stage(feed, view=view)
    async with app.run_test(size=SIZE) as pilot:
        feed.show(view)
        await pilot.pause()
        row = app.fleet.table.selected
        assert row is not None
        await pilot.press("k", "y")
        await pilot.pause()
        assert feed.submitted == [Pause((target(row.group[1]),))]


@pytest.mark.parametrize("grouping", [Grouping.MODEL, Grouping.PROVIDER, Grouping.CRON])
async def test_a_row_that_is_no_agent_says_so(grouping: Grouping) -> None:
    feed = FleetFeed()
    view = View(group_by=grouping)
    app = stage(feed, view=view)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        feed.show(view)
        await pilot.pause()
        for key in ("k", "K", "r", "x"):
            await pilot.press(key)
        await pilot.pause()
        assert app.screen is app.fleet
        assert f"a {grouping.value} row is no agent" in shown(app)


async def test_a_plan_that_fails_says_why_and_a_pause_can_still_be_tried() -> None:
    feed = FleetFeed()
    feed.plans.set_exception(SourceError("gateway: \x1b[31m no answer"))
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("k")
        await settled(pilot)
        assert "what it touches cannot be said: gateway: \ufffd[31m no answer" in shown(app)
        await pilot.press("y")
        await pilot.pause()
        assert len(feed.submitted) == 1


async def test_what_nothing_can_pause_is_not_offered() -> None:
    feed = FleetFeed()
    feed.plans.set_result((Plan(target("coder"), Means.NONE, problem="its log says nothing of a gateway"),))
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("k")
        await settled(pilot)
        assert "its log says nothing of a gateway" in shown(app)
        assert "yes, do it" not in shown(app)
        assert "cannot be stopped from here" in shown(app)
        assert "reason" not in shown(app)
        assert "What runs is ended" not in shown(app)
        await pilot.press("y")
        await pilot.pause()
        assert feed.submitted == []
        await pilot.press("escape")
        assert answered(app)


async def test_only_what_can_be_reached_is_counted_as_stopping() -> None:
    feed = FleetFeed()
    lost = Plan(target("researcher"), Means.NONE, problem="no gateway runs it")
    feed.plans.set_result((plan("coder"), lost))
    app = stage(feed, ascii=True)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("space", "space", "k")
        await settled(pilot)
        said = shown(app)
        assert f"${feed.agents[0].usd_per_hour:.2f}/h   stops" in said
        assert "Only 1 of them can be reached." in said
        assert "yes, do it" in said


async def test_a_reason_may_have_any_letter() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("k", "tab", *"why not", "enter")
        await pilot.pause()
        assert feed.submitted == []
        await pilot.press("tab", "x", "escape", "y")
        await pilot.pause()
        assert feed.submitted == [Pause((target("coder"),), "why notx")]


async def test_an_abort_is_of_what_runs_now_and_spares_commands_unless_asked() -> None:
    feed = FleetFeed()
    command = Work(WorkKind.COMMAND, "coder", run="sleep 90")
    feed.plans.set_result((plan("coder", running=(command,)),))
    app = stage(feed)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("x")
        await settled(pilot)
        said = shown(app)
        assert "Only what runs now ends" in said
        assert "sleep 90  (goes on)" in said
        assert "nightly" not in said
        await pilot.press("y")
        await pilot.pause()
        assert feed.submitted == [Abort((target("coder"),))]
        await pilot.press("x")
        await settled(pilot)
        await pilot.press("c")
        await pilot.pause()
        assert "(goes on)" not in shown(app)
        await pilot.press("y")
        await pilot.pause()
        assert feed.submitted[-1] == Abort((target("coder"),), commands=True)


async def test_a_resume_shows_the_hold_and_only_held_agents_are_asked_about() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("r")
        await pilot.pause()
        assert "coder is not held" in shown(app)
        held(feed, "coder")
        await pilot.press("space", "space", "r")
        await pilot.pause()
        said = shown(app)
        assert "Let coder go on?" in said
        assert "5m ago by ann@box; runs away" in said
        assert "put back as they stood" in said
        await pilot.press("y")
        await pilot.pause()
        assert feed.submitted == [Resume((target("coder"),))]
        assert feed.planned == []


async def test_a_resume_of_a_project_leaves_the_others_alone() -> None:
    feed = FleetFeed(12)
    view = View(group_by=Grouping.PROJECT)
    app = stage(feed, view=view)
    async with app.run_test(size=SIZE) as pilot:
        held(feed, "coder")
        feed.show(view)
        await pilot.pause()
        await pilot.press("home", "r", "y")
        await pilot.pause()
        row = app.fleet.table.selected
        assert row is not None
        assert row.label == "api-gateway"
        assert feed.submitted == [Resume((target("coder"),))]
