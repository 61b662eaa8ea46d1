"""What keys do."""

from dataclasses import replace
from pathlib import Path

import pytest
from textual.events import Paste

from clawtop.model.events import State
from clawtop.model.snapshot import Grouping, Health, SourceStatus
from clawtop.tui import keys
from clawtop.tui.render.columns import COLUMNS
from tests.tui.fleet_feed import OK_SOURCE, FleetFeed
from tests.tui.stage import lines, names, selected, shown, stage


async def test_a_filter_takes_hold_while_one_types() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("slash", *"qa")
        await pilot.pause()
        assert set(names(app)) == {row.label for row in feed.agents if "qa" in row.label}
        assert "qa" in lines(app)[-2]
        await pilot.press("enter")
        await pilot.pause()
        assert "/qa (43 hidden)" in lines(app)[-1]
        await pilot.press("down")
        assert selected(app) == names(app)[1]


async def test_a_wrong_filter_says_what_is_wrong_and_changes_nothing() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("slash", *"qa")
        await pilot.pause()
        before = names(app)
        app.post_message(Paste(" retries>"))
        await pilot.pause()
        await pilot.pause()
        assert names(app) == before
        assert "'retries>' needs a number after '>', e.g. retries>5" in shown(app)
        await pilot.press("0")
        await pilot.pause()
        assert "needs a number" not in shown(app)
        assert names(app) != before


async def test_escape_takes_a_filter_back() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("f4", *"qa", "enter", "slash", "x", "y")
        await pilot.pause()
        assert app.fleet.view.filter.text == "qaxy"
        await pilot.press("escape")
        await pilot.pause()
        assert app.fleet.view.filter.text == "qa"
        assert not app.fleet.filter_line.is_open


async def test_a_filter_that_nothing_passes_says_so() -> None:
    app = stage(FleetFeed(5))
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("slash", *"zzz", "enter")
        await pilot.pause()
        assert "No row passes the filter zzz" in shown(app)
        assert selected(app) is None
        await pilot.press("enter", "space", "down")
        assert app.screen is app.fleet


async def test_a_project_is_chosen_from_those_there_are() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("p")
        await pilot.pause()
        assert feed.looked[-1].group_by is Grouping.PROJECT
        assert "all projects" in shown(app)
        await pilot.press(*"bill", "enter")
        await pilot.pause()
        assert app.fleet.view.scope.projects == ("billing",)
        assert {row.project for row in app.fleet.table.rows} == {"billing"}
        assert "project billing" in lines(app)[-1]
        await pilot.press("p", "home", "enter")
        await pilot.pause()
        assert not app.fleet.view.scope.projects


@pytest.mark.parametrize(
    ("typed", "grouping"), [("proj", Grouping.PROJECT), ("ses", Grouping.SESSION), ("cr", Grouping.CRON)]
)
async def test_a_grouping_is_chosen(typed: str, grouping: Grouping) -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("g", *typed, "enter")
        await pilot.pause()
        assert app.fleet.view.group_by is grouping
        assert lines(app)[app.fleet.table.region.y - 1].split()[1] == grouping.value
        assert selected(app) == names(app)[0]


async def test_tags_end_with_another_grouping() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("space", "g", *"project", "enter")
        await pilot.pause()
        assert app.fleet.table.tagged == set()


async def test_sorting() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("s", *"failed attempts", "home", "enter")
        await pilot.pause()
        assert (app.fleet.view.sort, app.fleet.view.descending) == ("retries", True)
        await pilot.press("I")
        assert not app.fleet.view.descending
        await pilot.press("f6", "enter")
        assert app.fleet.view.descending
        await pilot.press("less_than_sign")
        await pilot.pause()
        assert app.fleet.view.sort == "context"
        assert "ctx▼" in shown(app)
        await pilot.press("greater_than_sign", "greater_than_sign")
        assert app.fleet.view.sort == "fallbacks"
        assert [row.label for row in feed.snapshot.rows] == names(app)
        await pilot.press("s", *"agent,", "enter")
        assert (app.fleet.view.sort, app.fleet.view.descending) == ("name", False)


async def test_windows() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("w")
        await pilot.pause()
        assert app.fleet.view.window.value == "24h"
        assert "$ 24h" in shown(app)
        await pilot.press("W", "W")
        assert app.fleet.view.window.value == "15m"


async def test_columns_can_be_left_out() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("c", *"share", "enter")
        await pilot.pause()
        assert "[ ] share" in shown(app)
        await pilot.press("escape")
        await pilot.pause()
        assert "share" not in shown(app)
        await pilot.press("c", *"share", "enter", "escape")
        await pilot.pause()
        assert "share" in shown(app)


async def test_help_is_made_from_the_bindings() -> None:
    app = stage(FleetFeed(), keys={"group": "G"})
    async with app.run_test(size=(120, 60)) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        said = shown(app)
        for binding in (*keys.FLEET, *keys.ACT, *keys.APP):
            assert binding.tooltip in said
        assert [line.split()[-7:][0] for line in lines(app) if "Choose what a row stands for" in line] == ["G"]
        await pilot.press("escape", "g", "G")
        await pilot.pause()
        assert "group by" in shown(app)


async def test_the_keys_of_vim() -> None:
    app = stage(FleetFeed(), preset="vim")
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("j", "j", "k")
        assert selected(app) == names(app)[1]
        await pilot.press("enter", "j", "j")
        assert app.screen is not app.fleet


async def test_the_page_of_an_agent_shows_what_it_is_made_of_and_keeps_up() -> None:
    feed = FleetFeed(step=2000)
    app = stage(feed)
    async with app.run_test(size=(120, 80)) as pilot:
        await pilot.press("enter")
        await pilot.pause()
        agent = feed.snapshot.rows[0]
        asked = {view.group_by: view.scope.row for view in feed.looked}
        of_it = (Grouping.AGENT, agent.group)
        assert asked == dict.fromkeys([Grouping.MODEL, Grouping.SESSION, Grouping.RUN], of_it)
        for word in (agent.label, "Spend in 1h", "Models", "Sessions", "Runs", "Last errors", "cache write"):
            assert word in shown(app)
        before = shown(app)
        feed.tick()
        await pilot.pause()
        assert shown(app) != before
        assert len(feed.looked) == 6
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is app.fleet
        assert selected(app) == agent.label


async def test_a_page_scrolls() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter", "end")
        await pilot.pause()
        assert "Last errors" in shown(app)
        await pilot.press("home", "down", "pagedown", "up", "pageup")
        await pilot.pause()
        assert "Spend in 1h" in shown(app)


async def test_the_sources_page_keeps_up() -> None:
    feed = FleetFeed()
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("o")
        await pilot.pause()
        assert "128,412 entries" in shown(app)
        feed.sources = (replace(OK_SOURCE, entries=128_413),)
        feed.publish()
        await pilot.pause()
        assert "128,413 entries" in shown(app)


async def test_a_picture_is_saved_here_or_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    for folder in (here, home):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    app = stage(FleetFeed(5))
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await pilot.press("S")
        await pilot.pause()
        (picture,) = here.glob("*.svg")
        assert "<svg" in picture.read_text()
        assert "saved" in shown(app)
        here.rename(tmp_path / "gone")
        monkeypatch.setattr(Path, "cwd", lambda: here)
        await pilot.press("S")
        await pilot.pause()
        assert len(list(home.glob("*.svg"))) == 1


@pytest.mark.parametrize("key", ["q", "f10"])
async def test_leaving_says_goodbye_to_the_feed(key: str) -> None:
    feed = FleetFeed(5)
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        assert feed.listener is not None
        await pilot.press(key)
    assert app.return_value == 0
    assert feed.listener is None
    feed.tick()


async def test_an_empty_machine_offers_the_demo() -> None:
    started: list[str] = []
    nothing = SourceStatus("openclaw:~/.openclaw", Health.DOWN, "no such directory")
    feed = FleetFeed(0, [nothing])
    app = stage(feed, demo_offer=lambda: started.append("demo"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        said = shown(app)
        for word in (
            "No agents found",
            "openclaw:~/.openclaw",
            "no such directory",
            "clawtop -s events:PATH",
            "press d",
        ):
            assert word in said
        await pilot.press("d")
        assert started == ["demo"]
        feed.agents = FleetFeed(3).agents
        feed.sources = (nothing, SourceStatus("demo:", Health.OK, entries=9, demo=True))
        feed.publish()
        await pilot.pause()
        assert "No agents found" not in shown(app)
        assert " DEMO " in lines(app)[0]
        await pilot.press("d")
        assert started == ["demo"]


async def test_a_remapped_demo_key_is_the_one_that_is_shown() -> None:
    feed = FleetFeed(0, [SourceStatus("openclaw:x", Health.DOWN, "no")])
    app = stage(feed, demo_offer=lambda: None, keys={"demo": "f8"})
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "press F8" in shown(app)


async def test_while_reading_the_cursor_rests_on_the_first_row() -> None:
    feed = FleetFeed(5, [replace(OK_SOURCE, health=Health.READING, bytes=5, expected=10)], step=3000)
    app = stage(feed)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert " 50%" in lines(app)[1]
        feed.agents.append(replace(feed.agents[0], label="later", group=("local", "later"), usd_per_hour=999.0))
        feed.at += 3000
        feed.publish()
        await pilot.pause()
        assert selected(app) == "later"
        feed.sources = (OK_SOURCE,)
        feed.agents.append(replace(feed.agents[0], label="last", group=("local", "last"), usd_per_hour=9999.0))
        feed.at += 3000
        feed.publish()
        await pilot.pause()
        assert selected(app) == "later"


async def test_a_table_that_was_empty_begins_at_the_top_of_its_first_full_order() -> None:
    feed = FleetFeed(0, [SourceStatus("openclaw:x", Health.DOWN, "no")])
    app = stage(feed)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        reading = SourceStatus("demo:", Health.READING, entries=3, demo=True)
        for count, source in ((2, reading), (5, replace(reading, health=Health.OK))):
            feed.agents = [
                replace(each, usd_per_hour=1.0 + number) for number, each in enumerate(FleetFeed(count).agents)
            ]
            feed.sources = (source,)
            feed.at += 500
            feed.publish()
            await pilot.pause()
            assert selected(app) == names(app)[0]
        for _ in range(2):
            feed.at += 2000
            feed.publish()
            await pilot.pause()
            assert selected(app) == names(app)[0] == feed.snapshot.rows[0].label
        feed.agents = [*feed.agents, replace(feed.agents[0], label="new", group=("local", "new"), usd_per_hour=99.0)]
        feed.at += 2000
        feed.publish()
        await pilot.pause()
        assert selected(app) == names(app)[1]


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (120, 40), (200, 50), (400, 100)])
async def test_it_fits_any_size(size: tuple[int, int]) -> None:
    app = stage(FleetFeed(120))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.resize_terminal(*size)
        await pilot.pause()
        assert [len(line) for line in lines(app)] == [size[0]] * size[1]
        assert "too small" not in shown(app)
        assert names(app)[0] in shown(app)
        assert "$" in lines(app)[0] + lines(app)[4]


@pytest.mark.parametrize("size", [(39, 24), (80, 9), (10, 3), (1, 1)])
async def test_it_says_when_there_is_too_little_room(size: tuple[int, int]) -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.resize_terminal(*size)
        await pilot.pause()
        assert lines(app)[0].startswith("terminal too small (need 40x10)"[: size[0]])
        assert not shown(app).replace("terminal too small (need 40x10)"[: size[0]], "").strip()
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert names(app)[0] in shown(app)


async def test_ages_come_from_the_snapshot() -> None:
    feed = FleetFeed(3)
    app = stage(feed)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.agents = [replace(row, state=State.IDLE, last_at=feed.at) for row in feed.agents]
        feed.at += 125_000
        feed.publish()
        await pilot.pause()
        assert [line.split()[-1] for line in lines(app)[3:6]] == ["2m"] * 3


async def test_the_palette_has_every_command() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(100, 40)) as pilot:
        titles = {command.title for command in app.get_system_commands(app.screen)}
        bindings = [each for each in (*keys.FLEET, *keys.ACT, *keys.APP) if each.id != "palette"]
        assert titles == {f"{each.description}: {each.tooltip}" for each in bindings}
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press(*"stands for", "enter")
        await pilot.pause()
        await pilot.pause()
        assert "group by" in shown(app)


async def test_the_mouse_chooses_rows_and_columns() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.click("#table", offset=(20, 4))
        assert selected(app) == names(app)[4]
        x = lines(app)[2].index("$ 1h")
        await pilot.click("#table-head", offset=(x, 0))
        await pilot.pause()
        assert app.fleet.view.sort == "cost"
        await pilot.click("#table-head", offset=(x, 0))
        assert not app.fleet.view.descending
        await pilot.press("g")
        await pilot.pause()
        await pilot.click("#picker-menu", offset=(4, 1))
        await pilot.pause()
        assert app.fleet.view.group_by is Grouping.PROJECT


async def test_columns_are_known_to_whoever_sorts() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(400, 30)) as pilot:
        for column in COLUMNS:
            if column.sort is not None:
                app.fleet._sort(column)
                await pilot.pause()
                assert app.fleet.snapshot.view.sort == column.sort
