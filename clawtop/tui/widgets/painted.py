"""Lines of named spans on the screen: the one place where a style name becomes a colour."""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.filter import ANSIToTruecolor, LineFilter
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from clawtop.tui.render.line import Line, width

STYLES = (
    "plain", "value", "name", "quiet", "muted", "faint", "title", "sorted", "headline", "burn", "accent", "hot",
    "warm", "mild", "running", "idle", "bad", "warn", "held", "spark", "quiet-spark", "chart-0", "chart-1", "chart-2",
    "chart-3", "badge", "key", "section", "row-cursor", "row-tagged", "row-cursor-tagged",
)  # fmt: skip


class Painted(Widget):
    """A widget that draws spans; the styles are the component classes `paint--NAME` in clawtop.tcss."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"paint--{name}" for name in STYLES}

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._palettes: dict[str, dict[str, Style]] = {}

    def paint(self, line: Line, row: str = "") -> Strip:
        """The line as a strip as wide as the widget, on the background of the row style `row`."""
        known = self._palettes.setdefault(row, {})
        style_of = self.style_of
        segments = [Segment(text, known.get(name) or style_of(name, row)) for text, name in line]
        cells, taken = self.size.width, width(line)
        if taken < cells:
            segments.append(Segment(" " * (cells - taken), style_of("", row)))
        strip = Strip(segments, max(taken, cells))
        return strip if taken <= cells else strip.crop(0, cells)

    def style_of(self, name: str, row: str = "") -> Style:
        """The colours of a style name on a row of the style `row`; "" is the widget's own."""
        palette = self._palettes.setdefault(row, {})
        known = palette.get(name)
        if known is None:
            known = self.get_component_rich_style(f"paint--{row}") if row else self.rich_style
            if name:
                known += self.get_component_rich_style(f"paint--{name}", partial=True)
            palette[name] = known
        return known

    def get_line_filters(self) -> Sequence[LineFilter]:
        """All but the one that makes true colours of the terminal's: it is dear, and no palette mixes the two."""
        return [each for each in super().get_line_filters() if not isinstance(each, ANSIToTruecolor)]

    def notify_style_update(self) -> None:
        """Forget the colours: the theme or the style sheet changed."""
        super().notify_style_update()
        self._palettes.clear()


class Lines(Painted):
    """A few painted lines that never scroll; a line that did not change is not sent again."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.lines: tuple[Line, ...] = ()

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines from now on."""
        known, self.lines = self.lines, tuple(lines)
        for y in range(max(len(known), len(self.lines))):
            if known[y : y + 1] != self.lines[y : y + 1]:
                self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """The strip of one line."""
        line = self.lines[y] if y < len(self.lines) else ()
        return self.paint(line)
