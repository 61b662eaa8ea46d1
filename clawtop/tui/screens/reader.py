"""Screens to read: help, sources, and the page of a row."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.screen import Screen

from clawtop.model.commands import Outcome, Plan, Target
from clawtop.model.snapshot import Grouping, Row, Snapshot
from clawtop.tui import keys
from clawtop.tui.desk import Desk
from clawtop.tui.render import detail, foot, keyboard, origins, outcome, plot
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Line, Span, fit
from clawtop.tui.render.order import RESORT_MS
from clawtop.tui.screens.room import LEAST_WIDTH, TooSmall, mark
from clawtop.tui.widgets.page import Page
from clawtop.tui.widgets.painted import Lines

CHART_MS = 1000
"""A chart is drawn at most this often."""

_CHART_WIDTH = 120


class Reader(Screen[None]):
    """Lines that scroll under a title; Esc goes back."""

    BINDINGS: ClassVar[list[BindingType]] = list(keys.PAGE)
    EXTRA: ClassVar[tuple[Binding, ...]] = ()
    """What the last line names besides the key to go back."""
    AUTO_FOCUS = None

    def __init__(self, desk: Desk, glyphs: Glyphs, title: str) -> None:
        super().__init__()
        self._desk = desk
        self._glyphs = glyphs
        self._heading = title
        self._head = Lines(id="reader-head")
        self.page = Page(id="reader-page")
        self._foot = Lines(id="foot")

    def compose(self) -> ComposeResult:
        """Title, page, last line."""
        yield self._head
        yield self.page
        yield self._foot
        yield TooSmall()

    def lines(self, width: int) -> Sequence[Line]:
        """The page in so many cells."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Write the page."""
        self.write()

    def on_resize(self) -> None:
        """Write it again in the new width."""
        mark(self)
        self.write()

    def take(self, snapshot: Snapshot) -> None:  # noqa: ARG002
        """Write it again with new figures."""
        self.write()

    def write(self) -> None:
        """Show the page as it is now."""
        width = max(LEAST_WIDTH, self.app.size.width)
        self._head.show((fit((Span(f" {self._heading}", "title"),), width),))
        self._foot.show((foot.foot(self._desk.hints_of(self.EXTRA), (), width),))
        self.page.show(self.lines(width))

    def action_back(self) -> None:
        """Go back."""
        self.dismiss(None)

    def action_scroll(self, step: int) -> None:
        """Scroll by lines."""
        self.page.scroll_by(step)

    def action_scroll_page(self, step: int) -> None:
        """Scroll by a screen."""
        self.action_scroll(step * max(1, self.page.size.height - 1))

    def action_scroll_to_end(self, step: int) -> None:
        """Scroll to the top (-1) or the bottom."""
        self.action_scroll(step * len(self.page.lines))


class HelpScreen(Reader):
    """What the keys do, made from the bindings."""

    def __init__(self, desk: Desk, glyphs: Glyphs, commands: Sequence[keys.Command]) -> None:
        super().__init__(desk, glyphs, "help")
        self._commands = commands

    def lines(self, width: int) -> Sequence[Line]:
        """Commands by group."""
        return ((), *keyboard.page(self._commands, width, self._glyphs))


class SourcesScreen(Reader):
    """Where the figures come from."""

    def __init__(self, desk: Desk, glyphs: Glyphs) -> None:
        super().__init__(desk, glyphs, "sources")

    def lines(self, width: int) -> Sequence[Line]:
        """Every source in full."""
        return origins.page(self._desk.snapshot, width, self._glyphs, self._desk.notices)


class OutcomeScreen(Reader):
    """What became of a command that did not go as it should."""

    def __init__(self, desk: Desk, glyphs: Glyphs, told: Outcome, plans: Mapping[Target, Plan]) -> None:
        super().__init__(desk, glyphs, "not as asked")
        self._told = told
        self._plans = plans

    def lines(self, width: int) -> Sequence[Line]:
        """Each step that was tried, and what would be harsher."""
        return outcome.page(self._told, self._plans, width, self._glyphs)


class DetailScreen(Reader):
    """One row of the table: it keeps up with the fleet, and asks for its parts at most every RESORT_MS."""

    def __init__(self, desk: Desk, glyphs: Glyphs, row: Row, snapshot: Snapshot) -> None:
        super().__init__(desk, glyphs, snapshot.view.group_by.value)
        self._row = row
        self._snapshot = snapshot
        self._view = snapshot.view
        self._asked_at = snapshot.at
        self._answers: list[Future[Snapshot]] = []
        self._made_of: dict[Grouping, tuple[Row, ...]] = {}
        self._draws = plot.loaded()
        self._drawn: tuple[int, Size] | None = None
        self._chart: Sequence[Line] = ()

    @property
    def row(self) -> Row:
        """What the page is about, as it was seen last."""
        return self._row

    @property
    def made_of(self) -> Mapping[Grouping, tuple[Row, ...]]:
        """The parts that have been read so far."""
        return self._made_of

    def on_mount(self) -> None:
        """Write what is known, ask for the rest."""
        super().on_mount()
        self._ask()
        if not self._draws:
            self.run_worker(self._learn_to_draw())

    async def _learn_to_draw(self) -> None:
        try:
            await asyncio.to_thread(plot.load)
        except (ImportError, OSError):  # a system it is not made for keeps the small chart
            return
        self._draws = True
        self.write()

    def lines(self, width: int) -> Sequence[Line]:
        """The page of the row as it is now."""
        self._draw()
        return detail.page(self._row, self._snapshot, self._made_of, width, self._glyphs, chart=self._chart)

    def _draw(self) -> None:
        """Draw the chart anew where it would look different, at most every CHART_MS."""
        at, size, values = self._snapshot.at, self.app.size, self._row.spark
        fresh = self._drawn is not None and self._drawn[1] == size and 0 <= at - self._drawn[0] < CHART_MS
        if fresh or not self._draws:
            return
        self._drawn = at, size
        width, height = min(max(LEAST_WIDTH, size.width) - 4, _CHART_WIDTH), max(6, min(12, size.height // 4))
        seconds = self._view.window.seconds
        self._chart = plot.tokens(values, seconds, width, height, self._glyphs) if any(values) else ()

    def take(self, snapshot: Snapshot) -> None:
        """Keep up with the row; one that is gone stays as it was last."""
        if snapshot.view.group_by is not self._view.group_by:
            return
        self._snapshot = snapshot
        self._row = next((row for row in snapshot.rows if row.group == self._row.group), self._row)
        if all(answer.done() for answer in self._answers) and snapshot.at - self._asked_at >= RESORT_MS:
            self._ask()
        self.write()

    def _ask(self) -> None:
        self._asked_at = self._snapshot.at
        self._answers = [
            self._desk.look(view, partial(self._told, grouping))
            for grouping, view in detail.parts(self._row, self._view).items()
        ]

    def _told(self, grouping: Grouping, snapshot: Snapshot) -> None:
        self._made_of[grouping] = snapshot.rows
        if self.is_mounted:
            self.write()
