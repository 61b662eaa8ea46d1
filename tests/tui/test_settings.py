"""What the config asks of the screen, and the chart of a page."""

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from clawtop.tui.render import plot
from clawtop.tui.render.line import Line
from tests.tui.fleet_feed import FleetFeed
from tests.tui.stage import names, selected, shown, stage


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keys": {"nothing": "x"}}, "keys: 'nothing' is no command"),
        ({"keys": {"quit": "g"}, "preset": "vim"}, "would mean both 'group' and 'quit'"),
        ({"keys": {"page.up": "k"}}, "would mean both 'page.up' and 'pause'"),
        ({"preset": "emacs", "origins": {"keys": "/etc/x.toml"}}, "/etc/x.toml: keys: no preset 'emacs'"),
        ({"columns": ("cost", "colour")}, "columns: 'colour' is no column"),
        ({"notices": ("config.toml: [b]delay\u202e",)}, "config.toml: [b]delay\ufffd"),
    ],
)
async def test_what_is_wrong_in_the_config_is_told_and_stays_readable(options: dict[str, object], words: str) -> None:
    app = stage(FleetFeed(), **options)
    async with app.run_test(size=(160, 40), notifications=True) as pilot:
        await pilot.pause()
        assert words[:30] in shown(app)
        app.clear_notifications()
        await pilot.press("j" if options.get("preset") == "vim" else "down", "o")
        await pilot.pause()
        assert words in shown(app)
        assert "128,412 entries" in shown(app)
        assert selected(app) == names(app)[1]


async def test_columns_are_chosen_in_the_config_and_on_the_screen() -> None:
    app = stage(FleetFeed(), columns=("name", "errors", "cost", "errors", "colour"))
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        assert [place.column.id for place in app.fleet.table.places] == ["name", "errors", "cost"]
        await pilot.press("c", *"answers", "enter", "escape", "c", *"dollars", "down", "enter")
        await pilot.pause()
        assert "[ ] $" in shown(app)
        await pilot.press("escape")
        assert [place.column.id for place in app.fleet.table.places] == ["name", "errors", "calls"]


async def test_the_chart_of_a_page_is_drawn_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    tokens = plot.tokens

    def counted(values: Sequence[int], *how: Any) -> tuple[Line, ...]:
        drawn.append(len(values))
        return tokens(values, *how)

    monkeypatch.setattr(plot, "tokens", counted)
    feed = FleetFeed(5, step=250)
    app = stage(feed)
    async with app.run_test(size=(120, 60)) as pilot:
        feed.tick()
        await pilot.pause()
        assert drawn == []
        await pilot.press("enter")
        await pilot.pause()
        assert "Tokens over 1h, in slices of 1m" in shown(app)
        assert "-10m" in shown(app)
        for _ in range(8):
            feed.tick()
            await pilot.pause()
        assert len(drawn) == 3
        await pilot.press("escape")
        feed.ticks(8)
        await pilot.pause()
        assert len(drawn) == 3


async def test_without_plotext_there_is_a_small_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotext", None)
    app = stage(FleetFeed(5))
    async with app.run_test(size=(120, 60)) as pilot:
        await pilot.press("enter")
        await pilot.pause()
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "Tokens over 1h " in shown(app)
        assert "-10m" not in shown(app)
