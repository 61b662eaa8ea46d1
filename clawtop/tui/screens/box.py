"""A box over the table that asks something: a head, lines that scroll, and what can be pressed."""

from collections.abc import Sequence
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget

from clawtop.tui.render import foot
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Line
from clawtop.tui.screens.room import LEAST_HEIGHT, LEAST_WIDTH, TooSmall, mark, too_small
from clawtop.tui.widgets.page import Page
from clawtop.tui.widgets.painted import Lines

Answer = TypeVar("Answer")

_WIDTH = 96
_SIDES = 4
_ROOMY = 20


class Box(ModalScreen[Answer]):
    """Nothing is pressed by a click, and no key of the screen below does anything here."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll(-1)"),
        Binding("down", "scroll(1)"),
        Binding("pageup", "scroll(-8)"),
        Binding("pagedown", "scroll(8)"),
        Binding("home", "scroll(-100000)"),
        Binding("end", "scroll(100000)"),
    ]

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._head = Lines(id="box-head")
        self._page = Page(id="box-page")
        self._foot = Lines(id="box-foot")

    def compose(self) -> ComposeResult:
        """The box."""
        with Vertical(id="box"):
            yield self._head
            yield self._page
            yield from self.more()
            yield self._foot
        yield TooSmall()

    def more(self) -> Sequence[Widget]:
        """What stands between the lines and the keys."""
        return ()

    def head(self, width: int, *, roomy: bool) -> Sequence[Line]:
        """The lines that always stay in sight, large ones where the terminal is roomy."""
        raise NotImplementedError

    def body(self, width: int) -> Sequence[Line]:
        """The lines that scroll."""
        raise NotImplementedError

    def keys(self) -> Sequence[tuple[str, str]]:
        """What can be pressed."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Write what is known."""
        self.write()

    def on_resize(self) -> None:
        """Write it again in the new size."""
        mark(self)
        self.write()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Nothing is answered that cannot be seen."""
        return not too_small(self.app.size)

    def write(self) -> None:
        """Show the box as it is now."""
        columns, lines = max(LEAST_WIDTH, self.app.size.width), max(LEAST_HEIGHT, self.app.size.height)
        width = max(10, min(_WIDTH, columns) - _SIDES)
        head = self.head(width, roomy=lines >= _ROOMY)
        body = self.body(width)
        room = lines - len(head) - sum(self._heights()) - 2
        self._head.styles.height = len(head)
        self._head.show(head)
        self._page.styles.height = max(1, min(len(body), room))
        self._page.show(body)
        more = () if len(body) <= room else ((self._glyphs.moves, "more"),)
        self._foot.show(((), foot.hints((*self.keys(), *more), width)))

    def _heights(self) -> Sequence[int]:
        return (2, *(1 for _ in self.more()))

    def action_scroll(self, step: int) -> None:
        """Scroll by lines."""
        self._page.scroll_by(step)
