"""A line of the screen as plain data: spans of text, each with the name of a style."""

from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len

from clawtop.tui.render.plain import cut


class Span(NamedTuple):
    """Some text and the name of its style in clawtop.tcss; "" is the line's own style."""

    text: str
    style: str = ""


Line = tuple[Span, ...]

EMPTY: Line = ()


def width(spans: Iterable[Span]) -> int:
    """Cells that the spans take."""
    return sum([len(text) if text.isascii() else cell_len(text) for text, _ in spans])


def fit(spans: Iterable[Span], cells: int, ellipsis: str = "") -> Line:
    """The spans in exactly `cells` cells: cut, ending in `ellipsis`, or filled up with blanks."""
    out: list[Span] = []
    left = cells
    for span in spans:
        taken = cell_len(span.text)
        if taken > left:
            out.append(Span(cut(span.text, left, ellipsis), span.style))
            left -= cell_len(out[-1].text)
            break
        out.append(span)
        left -= taken
    if left > 0:
        out.append(Span(" " * left))
    return tuple(out)


def right(spans: Iterable[Span], cells: int) -> Line:
    """The spans with blanks before them, so that they end at `cells`; cut where they are longer."""
    known = tuple(spans)
    left = cells - width(known)
    return (Span(" " * left), *known) if left > 0 else fit(known, cells)


def ends(first: Iterable[Span], last: Iterable[Span], cells: int, ellipsis: str = "") -> Line:
    """`first` from the left and `last` up to the right end; where both do not fit, `first` is cut."""
    known = tuple(last)
    room = cells - width(known)
    if room <= 0:
        return fit(known, cells)
    return (*fit(first, room, ellipsis), *known)


def wrap(words: str, cells: int) -> tuple[str, ...]:
    """`words` (printable already) in lines of at most `cells` cells, broken at blanks where it can be."""
    lines: list[str] = []
    current = ""
    for word in words.split():
        candidate = f"{current} {word}" if current else word
        if cell_len(candidate) <= cells:
            current = candidate
            continue
        if current:
            lines.append(current)
        while cell_len(word) > cells > 0:
            head = cut(word, cells, "")
            lines.append(head)
            word = word[len(head) :]  # noqa: PLW2901
        current = word
    return (*lines, current) if current or not lines else tuple(lines)
