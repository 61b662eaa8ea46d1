"""The least a terminal must have, and what a screen shows where it has less."""

from typing import Any

from textual.geometry import Size
from textual.screen import Screen

from clawtop.tui.render.line import Span
from clawtop.tui.widgets.painted import Lines

LEAST_WIDTH, LEAST_HEIGHT = 40, 10


class TooSmall(Lines):
    """The one line that is shown then, and nothing else."""

    def __init__(self) -> None:
        super().__init__(id="small")

    def on_mount(self) -> None:
        """It never changes."""
        self.show(((Span(f"terminal too small (need {LEAST_WIDTH}x{LEAST_HEIGHT})"),),))


def too_small(size: Size) -> bool:
    """Whether a terminal of this size shows nothing but that."""
    return size.width < LEAST_WIDTH or size.height < LEAST_HEIGHT


def mark(screen: Screen[Any]) -> None:
    """Let a screen that has a TooSmall show it alone, or not at all."""
    screen.set_class(too_small(screen.app.size), "-small")
