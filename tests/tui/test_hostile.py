"""Whatever agents are called and whatever their errors say: it stays on its line, and obeys nobody."""

import unicodedata
from dataclasses import replace

import pytest
from rich.cells import cell_len

from clawtop.model.errors import UsageError
from clawtop.model.keys import Key
from clawtop.model.snapshot import Health, Incident, SourceStatus
from tests.tui.fleet_feed import FleetFeed
from tests.tui.stage import lines, shown, stage

NAMES = (
    "\x1b[2J\x1b[31mred",
    "[bold]x[/] [@click=app.quit]y[/]",
    "abc\u202edef\u2066",
    "n" * 300,
    "世界" * 40,
    "e\u0301" * 50,
    "\ud800half",
    "z\u200bw\u200dj\ufe0f",
    "a\nb\tc\rd",
    "👩‍👩‍👧‍👦 family",
    "",
)
PAGES = ["escape", "enter", "o", "p", "g", "s", "c", "question_mark", "slash", "ctrl+p", "k", "K", "x"]


def hostile() -> FleetFeed:
    feed = FleetFeed(len(NAMES) + 3)
    feed.agents = [
        replace(
            row, label=name, group=("local", name), project=name, model=f"{name}/{name}", detail=name, usd_per_hour=50.0
        )
        for row, name in zip(feed.agents, NAMES, strict=False)
    ]
    feed.sources = (SourceStatus(NAMES[0], Health.DOWN, NAMES[2] * 9, skipped={NAMES[1]: 3, NAMES[7]: 1}),)
    feed.incidents = tuple(Incident(feed.at, Key("local", name), name, name, name * 3) for name in NAMES)
    feed.publish()
    return feed


def harmless(text: str) -> bool:
    return all(unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"} for char in text.replace("\n", ""))


@pytest.mark.parametrize("size", [(40, 10), (120, 40)])
async def test_every_page_stays_in_its_lines(size: tuple[int, int]) -> None:
    app = stage(hostile())
    async with app.run_test(size=size) as pilot:
        for key in PAGES:
            await pilot.press(key)
            await pilot.pause()
            assert [cell_len(line) for line in lines(app)] == [size[0]] * size[1]
            assert harmless(shown(app)), key
            await pilot.press("escape")


async def test_ascii_means_ascii_on_every_page() -> None:
    app = stage(hostile(), ascii=True)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        for key in PAGES:
            await pilot.press(key)
            app.say("saved \u202e")
            await pilot.pause()
            assert {char for char in shown(app) if not char.isascii()} == set(), key
            await pilot.press("escape")


async def test_markup_in_a_name_is_just_text() -> None:
    app = stage(hostile())
    async with app.run_test(size=(300, 50)) as pilot:
        await pilot.pause()
        assert "[bold]x[/] [@click=app.quit]y[/]" in shown(app)


async def test_an_error_of_the_engine_is_shown_as_it_is() -> None:
    feed = FleetFeed(3)
    app = stage(feed)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        feed.refuse(UsageError("sort: [bold]no[/]\u202e such column"))
        await pilot.press("p")
        await pilot.pause()
        await pilot.pause()
        assert "sort: [bold]no[/]\ufffd such column" in shown(app)
        assert app.screen is app.fleet
