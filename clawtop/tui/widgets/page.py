"""Painted lines that scroll: a page to read, and a menu to choose from."""

from collections.abc import Sequence

from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Line, Span, fit, width
from clawtop.tui.widgets.painted import Painted


class Page(Painted, ScrollView, can_focus=False):
    """Lines to read."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.lines: tuple[Line, ...] = ()

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines; the place in the page stays."""
        if self.lines == tuple(lines):
            return
        self.lines = tuple(lines)
        self.virtual_size = Size(self.size.width, len(self.lines))
        self.refresh()

    def scroll_by(self, step: int) -> None:
        """Scroll by so many lines."""
        self.scroll_to(y=self.scroll_offset.y + step, animate=False, immediate=True)

    def on_resize(self) -> None:
        """Keep the virtual width at the real one: a page never scrolls sideways."""
        self.virtual_size = Size(self.size.width, len(self.lines))

    def render_line(self, y: int) -> Strip:
        """The strip of one line in sight."""
        number = self.scroll_offset.y + y
        line = self.lines[number] if number < len(self.lines) else ()
        return self.paint(line)


class Menu(Page):
    """Lines to choose from."""

    class Chosen(Message):
        """A line was clicked."""

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._glyphs = glyphs
        self.cursor = 0

    def put(self, number: int) -> None:
        """Put the cursor on this line, or on the nearest there is."""
        self.cursor = max(0, min(number, len(self.lines) - 1))
        top, height = self.scroll_offset.y, self.size.height
        if height and not top <= self.cursor < top + height:
            self.scroll_to(
                y=self.cursor if self.cursor < top else self.cursor - height + 1, animate=False, immediate=True
            )
        self.refresh()

    def on_resize(self) -> None:
        """Keep the cursor in sight."""
        super().on_resize()
        self.put(self.cursor)

    def render_line(self, y: int) -> Strip:
        """The strip of one line in sight, marked where the cursor is."""
        number = self.scroll_offset.y + y
        here = number == self.cursor and number < len(self.lines)
        row = "row-cursor" if here else ""
        line = self.lines[number] if number < len(self.lines) else ()
        room = self.size.width - 2
        if width(line) > room:
            line = fit(line, room, self._glyphs.ellipsis)
        mark = Span(f"{self._glyphs.cursor} " if here else "  ", "accent")
        return self.paint((mark, *line), row)

    def on_click(self, event: Click) -> None:
        """Choose the line under the mouse."""
        number = self.scroll_offset.y + event.y
        if number < len(self.lines):
            self.put(number)
            self.post_message(self.Chosen())
