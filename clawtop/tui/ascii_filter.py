"""The last gate before a terminal that shows ASCII alone: what Textual itself draws (palette, toasts) passes it."""

from functools import lru_cache

from rich.cells import get_character_cell_size
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_KNOWN = {
    "…": "~", "•": "*", "–": "-", "—": "-", "▌": "|", "▐": "|", "│": "|", "┃": "|", "▁": "-", "▔": "-", "─": "-",
    "━": "-", **dict.fromkeys("▂▃▄▅▆▇▉▊▋▍▎▏", " "),
}  # fmt: skip
"""Parts of a block are the ends of a scrollbar: their background says enough."""


class AsciiOnly(LineFilter):
    """Puts an ASCII character of the same width in the place of every other."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """The same segments in ASCII."""
        return [
            segment if segment.text.isascii() else Segment(_plain(segment.text), segment.style, segment.control)
            for segment in segments
        ]


@lru_cache(1024)
def _plain(text: str) -> str:
    return "".join(char if char.isascii() else _KNOWN.get(char, "?" * get_character_cell_size(char)) for char in text)
