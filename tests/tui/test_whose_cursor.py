"""Whose the cursor and the tags are while filters and views come and go."""

import pytest

from clawtop.model.selection import Scope
from clawtop.model.snapshot import Grouping, View
from tests.tui.fleet_feed import FleetFeed, row
from tests.tui.holding import settled
from tests.tui.stage import lines, names, selected, shown, stage


async def test_typing_a_filter_that_the_agent_passes_in_the_end_leaves_the_cursor_on_it() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(100, 30)) as pilot:
        mine = next(name for name in reversed(names(app)) if "c" not in name)
        await pilot.press(*["down"] * names(app).index(mine))
        assert selected(app) == mine
        await pilot.press("slash", *"calls>0", "enter")
        await settled(pilot)
        assert selected(app) == mine
        assert app.fleet.table.strayed is None


@pytest.mark.parametrize("moved", [[], ["down", "down"]])
async def test_a_filter_that_is_taken_back_gives_the_cursor_and_who_is_followed_back(moved: list[str]) -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(*moved, "F")
        mine = selected(app)
        await pilot.press("slash", *"triage")
        await settled(pilot)
        assert selected(app) == names(app)[0] != mine
        await pilot.press("escape")
        await settled(pilot)
        assert selected(app) == mine
        assert "following" in lines(app)[-1]


async def test_a_cursor_comes_back_with_its_project_and_its_grouping() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("down")
        mine = selected(app)
        views = (View(scope=Scope(projects=("docs",))), View(group_by=Grouping.PROJECT))
        for view in views:
            app.show(view)
            await settled(pilot)
            assert selected(app) == names(app)[0] != mine
            app.show(View())
            await settled(pilot)
            assert selected(app) == mine


@pytest.mark.parametrize("key", ["down", "F", "space"])
async def test_a_lent_cursor_that_is_used_stays_where_it_is(key: str) -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("slash", *"triage", "enter")
        await settled(pilot)
        await pilot.press(key)
        used = selected(app)
        await pilot.press("slash", *["backspace"] * 6, "enter")
        await settled(pilot)
        assert app.fleet.view.filter.text == ""
        assert selected(app) == used != names(app)[0]


async def test_a_lent_cursor_goes_home_only_with_a_view_that_may_have_other_rows() -> None:
    feed = FleetFeed(5)
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        mine = selected(app)
        await pilot.press("slash", *"!coder", "enter")
        await settled(pilot)
        lent = selected(app)
        feed.agents = [row(f"{mine}x") if each.label == mine else each for each in feed.agents]
        feed.agents[0] = row("free", group=("local", str(mine)))
        feed.tick()
        await settled(pilot)
        assert "free" in names(app)
        await pilot.press("I")
        await settled(pilot)
        assert selected(app) == lent
        await pilot.press("w")
        await settled(pilot)
        assert selected(app) == "free"


async def test_the_key_to_filter_does_nothing_more_while_one_types() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("slash", *"qa", "f3", "f4")
        await settled(pilot)
        await pilot.press("escape")
        await settled(pilot)
        assert app.fleet.view.filter.text == ""


async def test_a_wrong_filter_stays_open_with_what_is_wrong() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"qa colour>5", "enter")
        await settled(pilot)
        assert app.fleet.filter_line.is_open
        said = " ".join(shown(app).split())
        assert "'colour' in 'colour>5'" in said
        assert "usd_per_hour" in said
        await pilot.resize_terminal(40, 10)
        await settled(pilot)
        assert "'colour'" in shown(app)
        await pilot.resize_terminal(80, 24)
        await pilot.press(*["backspace"] * 9, "enter")
        await settled(pilot)
        assert not app.fleet.filter_line.is_open
        assert app.fleet.view.filter.text == "qa"


async def test_tagged_rows_that_are_hidden_are_never_another_row() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await pilot.press("space", "space", "space")
        await pilot.press("slash", *"triage", "enter")
        await settled(pilot)
        assert "3 tagged (3 hidden)" in lines(app)[-1]
        await pilot.press("k")
        await settled(pilot)
        assert app.screen is app.fleet
        assert feed.planned == []
        assert "all 3 tagged rows are hidden" in " ".join(shown(app).split())
        await pilot.press("space")
        await settled(pilot)
        assert "4 tagged (3 hidden)" in lines(app)[-1]
        await pilot.press("k")
        await settled(pilot)
        assert [len(targets) for targets in feed.planned] == [1]


async def test_a_command_is_found_by_its_short_word_and_nothing_opens_where_there_is_none() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(100, 40), notifications=True) as pilot:
        await pilot.press("ctrl+p")
        await settled(pilot)
        await pilot.press(*"freeze", "enter")
        await settled(pilot)
        assert "FROZEN" in shown(app)
        await pilot.press("o")
        await settled(pilot)
        sources = app.screen
        await pilot.press("ctrl+p")
        await settled(pilot)
        assert app.screen is sources
        assert "commands are found by" in shown(app)


async def test_what_refuses_names_the_key_as_it_is_mapped() -> None:
    view = View(group_by=Grouping.MODEL)
    app = stage(FleetFeed(view=view), view=view, keys={"group": "G"})
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await pilot.press("k")
        await settled(pilot)
        assert "group by agent (G)" in " ".join(shown(app).split())


async def test_a_project_called_like_a_glob_is_chosen_and_named() -> None:
    feed = FleetFeed(3)
    feed.agents = [row("coder", project="*"), row("qa", project="a[b]c"), row("ops", project="web")]
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        for typed, name, agent in (("*", "*", "coder"), ("a[", "a[b]c", "qa")):
            await pilot.press("p")
            await settled(pilot)
            await pilot.press(*typed, "enter")
            await settled(pilot)
            assert names(app) == [agent]
            assert f"project {name} " in lines(app)[-1]


async def test_what_sorts_is_told_where_its_column_is_not_shown() -> None:
    view = View(sort="retries")
    app = stage(FleetFeed(view=view), view=view)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "by retry▼" in lines(app)[-1]
        await pilot.resize_terminal(160, 24)
        await settled(pilot)
        assert "by retry" not in lines(app)[-1]
        assert "retry▼" in shown(app)


async def test_a_cursor_that_comes_back_far_down_is_in_sight() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("end", "slash", *"triage")
        await settled(pilot)
        await pilot.press("escape")
        await settled(pilot)
        assert selected(app) == names(app)[-1]
        assert any(line.startswith("▌") for line in lines(app))
