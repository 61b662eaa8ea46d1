"""A list to choose from, over the table."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key
from textual.screen import ModalScreen

from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Span
from clawtop.tui.render.lists import Item, matching
from clawtop.tui.screens.room import TooSmall, mark, too_small
from clawtop.tui.widgets.page import Menu
from clawtop.tui.widgets.painted import Lines

_SHARE = 90
"""How much of the terminal's height the box may take in percent, as in clawtop.tcss."""

_ROUND = 4
"""Lines of the box around the menu."""


class Picker(ModalScreen[str | None]):
    """One value of a list, None where nobody chose. Typing leaves only the lines that hold what is typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel"),
        Binding("enter", "choose", "choose"),
        Binding("up", "move(-1)"),
        Binding("down", "move(1)"),
        Binding("pageup", "move(-10)"),
        Binding("pagedown", "move(10)"),
        Binding("home", "move(-100000)"),
        Binding("end", "move(100000)"),
    ]

    def __init__(self, title: str, items: Sequence[Item], glyphs: Glyphs, current: str | None = None) -> None:
        super().__init__()
        self._title = title
        self._glyphs = glyphs
        self._items = tuple(items)
        self._current = current
        self._typed = ""
        self._matching: Sequence[Item] = self._items
        self._head = Lines(id="picker-head")
        self.menu = Menu(glyphs, id="picker-menu")

    def compose(self) -> ComposeResult:
        """The box."""
        with Vertical(id="picker"):
            yield self._head
            yield self.menu
        yield TooSmall()

    def on_mount(self) -> None:
        """Start on the current value."""
        self._show()
        values = [item.value for item in self._items]
        if self._current in values:
            self.menu.put(values.index(self._current))

    def offer(self, items: Sequence[Item]) -> None:
        """Take these lines from now on; the cursor stays on its value."""
        here = self._here()
        self._items = tuple(items)
        self._show()
        values = [item.value for item in self._matching]
        wanted = here.value if here is not None else self._current
        if wanted in values:
            self.menu.put(values.index(wanted))

    def _show(self) -> None:
        self._matching = matching(self._items, self._typed)
        self.menu.show([item.line for item in self._matching])
        self._fit()
        found = Span(
            f"  {self._typed}{self._glyphs.tag}" if self._typed else "  type to narrow",
            "accent" if self._typed else "faint",
        )
        self._head.show(((Span(f" {self._title}", "section"), found), ()))
        self.menu.put(self.menu.cursor)

    def on_resize(self) -> None:
        """Leave no line of the box out of sight."""
        mark(self)
        self._fit()

    def _fit(self) -> None:
        # A menu that is higher than its box would take itself for wholly in sight, and never scroll.
        room = self.app.size.height * _SHARE // 100 - _ROUND
        self.menu.styles.height = max(1, min(len(self._matching), room))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Nobody chooses what cannot be seen."""
        return action != "choose" or not too_small(self.app.size)

    def _here(self) -> Item | None:
        return self._matching[self.menu.cursor] if self._matching else None

    def on_key(self, event: Key) -> None:
        """Collect what is typed."""
        if event.key == "backspace":
            self._typed = self._typed[:-1]
        elif event.is_printable and event.character is not None:
            self._typed += event.character
        else:
            return
        event.stop()
        event.prevent_default()
        self._show()

    def on_menu_chosen(self) -> None:
        """A click chooses."""
        self.action_choose()

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        self.menu.put(self.menu.cursor + step)

    def action_choose(self) -> None:
        """Close with the value under the cursor."""
        here = self._here()
        if here is not None:
            self.dismiss(here.value)

    def action_cancel(self) -> None:
        """Close without one."""
        self.dismiss(None)


class Toggles(Picker):
    """A list in which Enter and a click turn a line on or off; Esc closes it."""

    def __init__(self, title: str, toggle: Callable[[str | None], Sequence[Item]], glyphs: Glyphs) -> None:
        super().__init__(title, toggle(None), glyphs)
        self._toggle = toggle

    def action_choose(self) -> None:
        """Turn the line under the cursor on or off."""
        here = self._here()
        if here is not None:
            self.offer(self._toggle(here.value))
