"""Lists, pages and questions on terminals that are small, too small, or change their size."""

import pytest

from clawtop.model.snapshot import Health, SourceStatus
from clawtop.tui.app import ClawtopApp, run_screen
from clawtop.tui.options import ScreenOptions
from clawtop.tui.render.columns import head
from clawtop.tui.render.glyphs import UNICODE
from clawtop.tui.screens.picker import Picker
from tests.tui.fleet_feed import FleetFeed
from tests.tui.holding import hold, plan, settled, target
from tests.tui.stage import lines, names, shown, stage

TOO_SMALL = "terminal too small (need 40x10)"


@pytest.mark.parametrize("size", [(40, 10), (60, 16), (80, 24), (120, 40), (200, 50)])
@pytest.mark.parametrize("key", ["p", "s", "c", "g"])
async def test_the_cursor_of_a_list_is_always_in_sight(key: str, size: tuple[int, int]) -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=size) as pilot:
        await pilot.press(key)
        await settled(pilot)
        assert isinstance(app.screen, Picker)
        menu = app.screen.menu
        for pressed in ("end", "up", "pageup", "home", "down", "end"):
            await pilot.press(pressed)
            await settled(pilot)
            region = menu.region
            marked = [line[region.x :] for line in lines(app)[region.y : region.bottom] if line[region.x] == "▌"]
            wanted = "".join(text for text, _ in menu.lines[menu.cursor]).split()[0]
            assert [wanted in line for line in marked] == [True], pressed
            assert "▌" not in lines(app)[region.bottom][region.x : region.right]


async def test_a_list_keeps_its_cursor_in_sight_while_the_terminal_changes() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(80, 50)) as pilot:
        await pilot.press("g", "end")
        for size in ((80, 50), (60, 12), (40, 10), (100, 30)):
            await pilot.resize_terminal(*size)
            await settled(pilot)
            assert any("▌ environment" in line for line in lines(app))


async def test_what_a_list_has_no_room_for_ends_in_an_ellipsis() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(40, 10)) as pilot:
        await pilot.press("g", "down", "down")
        await settled(pilot)
        assert any("the people the" in line and "…" in line for line in lines(app))


@pytest.mark.parametrize("keys", [["enter"], ["question_mark"], ["o"], ["p"], ["c"], ["k"], ["q"], ["slash"]])
async def test_nothing_that_is_open_dies_on_any_size(keys: list[str]) -> None:
    feed = FleetFeed()
    feed.held = {target("coder"): hold("coder")}
    app = stage(feed)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*keys)
        await settled(pilot)
        for size in ((39, 24), (80, 9), (17, 5), (16, 10), (3, 2), (1, 1)):
            await pilot.resize_terminal(*size)
            feed.tick()
            await settled(pilot)
            assert lines(app)[0].strip() == TOO_SMALL[: size[0]].strip()
            assert not "".join(lines(app)[1:]).strip()
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert TOO_SMALL not in shown(app)
        await pilot.press("escape", "escape")
        await settled(pilot)
        assert names(app)[0] in shown(app)


@pytest.mark.parametrize("key", ["k", "enter", "g"])
async def test_what_is_opened_on_a_terminal_that_is_too_small_is_seen_when_it_has_grown(key: str) -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(30, 8)) as pilot:
        await settled(pilot)
        assert lines(app)[0].startswith(TOO_SMALL[:30])
        await pilot.press(key)
        await settled(pilot)
        assert lines(app)[0].startswith(TOO_SMALL[:30])
        assert not "".join(lines(app)[1:]).strip()
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert {"k": "Pause coder?", "enter": "Spend in 1h", "g": "group by"}[key] in shown(app)
        await pilot.press("escape")
        await settled(pilot)
        assert names(app)[0] in shown(app)


async def test_a_question_that_cannot_be_seen_cannot_be_answered() -> None:
    feed = FleetFeed()
    feed.plans.set_result((plan("coder"),))
    app = stage(feed)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("k")
        await pilot.resize_terminal(39, 9)
        await settled(pilot)
        await pilot.press("y")
        await settled(pilot)
        assert feed.submitted == []
        await pilot.resize_terminal(40, 10)
        await settled(pilot)
        await pilot.press("y")
        await settled(pilot)
        assert len(feed.submitted) == 1


async def test_nothing_is_chosen_from_a_list_that_cannot_be_seen() -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("g", "end")
        await pilot.resize_terminal(39, 9)
        before = app.fleet.view
        await pilot.press("enter")
        await settled(pilot)
        assert app.fleet.view == before


async def test_one_can_leave_whatever_the_size() -> None:
    feed = FleetFeed()
    feed.held = {target("coder"): hold("coder")}
    app = stage(feed)
    async with app.run_test(size=(20, 5)) as pilot:
        await pilot.press("q", "q")
    assert app.return_value == 0


@pytest.mark.parametrize("frozen", [False, True])
async def test_the_titles_belong_to_the_cells_as_soon_as_the_size_has_changed(frozen: bool) -> None:
    app = stage(FleetFeed())
    async with app.run_test(size=(120, 30)) as pilot:
        if frozen:
            await pilot.press("Z")
        for width in (62, 140, 40):
            await pilot.resize_terminal(width, 30)
            await settled(pilot)
            table = app.fleet.table
            titles = "".join(text for text, _ in head(table.places, app.fleet.snapshot.view, UNICODE))
            assert lines(app)[table.region.y - 1].rstrip() == titles.rstrip()


async def test_an_empty_machine_scrolls_and_names_its_key_on_the_smallest_terminal() -> None:
    nothing = SourceStatus("openclaw:~/.openclaw", Health.DOWN, "no such directory")
    app = stage(FleetFeed(0, [nothing]), demo_offer=lambda: None)
    async with app.run_test(size=(40, 10)) as pilot:
        await settled(pilot)
        said = lines(app)
        assert any("press d" in line for line in said)
        assert "d demo" in said[-1]
        assert "1 of 1 sources down" in said[1]
        assert "clawtop doctor" not in shown(app)
        await pilot.press("end")
        await settled(pilot)
        assert "clawtop doctor" in shown(app)
        await pilot.press("home", "down", "pagedown", "up", "pageup", "up")
        await settled(pilot)
        assert "No agents found" in shown(app)


def test_a_screen_that_has_fallen_over_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    run = ClawtopApp.run

    def headless(app: ClawtopApp, *, mouse: bool) -> int | None:
        return run(app, headless=True, mouse=mouse)

    def fall_over(app: ClawtopApp) -> None:
        raise ZeroDivisionError(app.title)

    monkeypatch.setattr(ClawtopApp, "run", headless)
    monkeypatch.setattr(ClawtopApp, "on_mount", fall_over)
    assert run_screen(FleetFeed(3), ScreenOptions()) == 1
