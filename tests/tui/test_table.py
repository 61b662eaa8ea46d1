"""The cursor, the tags and the order of the rows while figures change."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from textual.events import Key
from textual.strip import Strip

from clawtop.tui.render.line import Line
from clawtop.tui.render.order import RESORT_MS
from clawtop.tui.widgets.table import FleetTable
from tests.tui.fleet_feed import FleetFeed
from tests.tui.stage import lines, names, selected, shown, stage


def by_spend(feed: FleetFeed) -> list[str]:
    return [row.label for row in feed.snapshot.rows]


@pytest.mark.parametrize("seed", range(2))
async def test_a_key_acts_on_the_agent_it_was_aimed_at_whatever_the_order(seed: int) -> None:
    """50 agents whose order changes with every tick, and a key just before, between or after."""
    dice = Random(seed)  # noqa: S311
    feed = FleetFeed(50, step=RESORT_MS)
    app = stage(feed)
    orders = set()
    async with app.run_test(size=(100, 30)) as pilot:
        for _ in range(40):
            aimed_at = selected(app)
            assert aimed_at is not None
            for _ in range(dice.randint(0, 3)):
                feed.shuffle(dice)
            app.post_message(Key("space", " "))
            for _ in range(dice.randint(0, 3)):
                feed.shuffle(dice)
            await pilot.pause()
            assert [row.label for row in app.fleet.table.aimed] == [aimed_at]
            orders.add(tuple(names(app)))
            app.post_message(Key("U", "U"))
            app.post_message(Key(dice.choice(["up", "down", "pagedown", "home", "end"]), None))
            await pilot.pause()
    assert len(orders) > 30


async def test_the_line_under_the_cursor_is_marked_and_names_the_agent() -> None:
    feed = FleetFeed(50, step=RESORT_MS)
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("down", "down")
        agent = str(selected(app))
        for _ in range(5):
            feed.shuffle(Random(1))  # noqa: S311
            await pilot.pause()
            await pilot.press("F", "F")
            marked = [line for line in lines(app) if line.startswith("▌")]
            assert [agent in line for line in marked] == [True]


async def test_rows_change_places_at_most_every_two_seconds() -> None:
    feed = FleetFeed(30, step=500)
    app = stage(feed)
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        changed_at, known = [], names(app)
        for _ in range(20):
            feed.shuffle(Random(feed.at))  # noqa: S311
            await pilot.pause()
            if names(app) != known:
                changed_at.append(feed.at)
                known = names(app)
                assert known == by_spend(feed)
    assert changed_at
    assert all(later - earlier >= RESORT_MS for earlier, later in pairwise(changed_at))


async def test_figures_change_while_places_do_not() -> None:
    feed = FleetFeed(10, step=100)
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        before, figures = names(app), shown(app)
        feed.tick()
        await pilot.pause()
        assert names(app) == before
        assert shown(app) != figures


@pytest.mark.parametrize("key", ["g", "s", "p", "c", "question_mark", "enter", "o"])
async def test_nothing_changes_places_while_something_is_open(key: str) -> None:
    feed = FleetFeed(30, step=RESORT_MS)
    app = stage(feed)
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press(key)
        await pilot.pause()
        before = names(app)
        for _ in range(4):
            feed.shuffle(Random(feed.at))  # noqa: S311
            await pilot.pause()
            assert names(app) == before
        await pilot.press("escape")
        feed.shuffle(Random(feed.at))  # noqa: S311
        await pilot.pause()
        assert names(app) == by_spend(feed)


async def test_an_agent_that_leaves_takes_the_cursor_with_it_and_brings_it_back() -> None:
    feed = FleetFeed(10)
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("down")
        gone = selected(app)
        everyone = feed.agents
        feed.agents = [row for row in everyone if row.label != gone]
        feed.tick()
        await pilot.pause()
        assert selected(app) is None
        assert app.fleet.table.aimed == ()
        await pilot.press("space")
        assert app.fleet.table.tagged == set()
        feed.agents = everyone
        feed.tick()
        await pilot.pause()
        assert selected(app) == gone
        feed.agents = [row for row in everyone if row.label != gone]
        feed.tick()
        await pilot.pause()
        await pilot.press("down")
        assert selected(app) == names(app)[1]


async def test_moving() -> None:
    feed = FleetFeed(60)
    app = stage(feed)
    async with app.run_test(size=(80, 24)) as pilot:
        rows = names(app)
        at = {"end": 59, "up": 58, "pageup": 39, "pagedown": 58, "home": 0, "down": 1}
        for key, number in at.items():
            await pilot.press(key)
            assert selected(app) == rows[number]
            await pilot.pause()
            assert any(line.startswith("▌") for line in lines(app))


async def test_following_scrolls_to_the_agent_wherever_it_goes() -> None:
    feed = FleetFeed(60, step=RESORT_MS)
    app = stage(feed)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("F")
        busiest = names(app)[0]
        feed.agents = [replace(row, usd_per_hour=-1.0) if row.label == busiest else row for row in feed.agents]
        feed.at += RESORT_MS
        feed.publish()
        await pilot.pause()
        assert names(app)[-1] == selected(app) == busiest
        assert any(line.startswith("▌") and busiest in line for line in lines(app))
        assert "following" in lines(app)[-1]


async def test_tags_belong_to_agents() -> None:
    feed = FleetFeed(20, step=RESORT_MS)
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        first, second = names(app)[:2]
        await pilot.press("space", "space")
        feed.shuffle(Random(3))  # noqa: S311
        await pilot.pause()
        assert {row.label for row in app.fleet.table.aimed} == {first, second}
        assert "2 tagged" in lines(app)[-1]
        assert sum("◆" in line for line in lines(app)) == 2
        await pilot.press("U")
        await pilot.pause()
        assert app.fleet.table.tagged == set()
        assert "tagged" not in lines(app)[-1]


async def test_frozen_shows_what_it_showed() -> None:
    feed = FleetFeed(10, step=RESORT_MS)
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("Z")
        await pilot.pause()
        assert "FROZEN" in shown(app)
        before = shown(app)
        feed.tick()
        await pilot.pause()
        assert shown(app) == before
        await pilot.press("Z")
        await pilot.pause()
        assert "FROZEN" not in shown(app)
        assert names(app) == by_spend(feed)


async def test_only_lines_that_look_different_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = FleetFeed(40)
    app = stage(feed)
    drawn = []
    paint = FleetTable.paint

    def counted(table: FleetTable, line: Line, row: str = "") -> Strip:
        drawn.append(line)
        return paint(table, line, row)

    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        monkeypatch.setattr(FleetTable, "paint", counted)
        feed.publish()
        await pilot.pause()
        assert drawn == []
        feed.spend(names(app)[3])
        await pilot.pause()
        assert len(drawn) == 1
