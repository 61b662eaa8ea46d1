"""The last line: what keys do, and what the table shows of all there is."""

import re
from collections.abc import Sequence

from clawtop.model.snapshot import View
from clawtop.tui.render.columns import COLUMNS, Layout, title
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Line, Span, ends, fit, width
from clawtop.tui.render.plain import printable


def plainly(glob: str) -> str:
    """A glob as it is shown: one that means a name and nothing else (see detail.exactly) as that name."""
    return re.sub(r"\[([*?\[])\]", r"\1", glob)


def hints(keys: Sequence[tuple[str, str]], cells: int) -> Line:
    """As many keys with their meaning as there is room for."""
    out: list[Span] = [Span(" ")]
    for key, word in keys:
        item = (Span(key, "key"), Span(f" {word}  ", "muted"))
        if width(out) + width(item) - 2 > cells:
            break
        out.extend(item)
    return fit(out, cells, "")


def sorting(view: View, places: Layout, glyphs: Glyphs) -> Line:
    """What sorts, where no title says so."""
    if any(place.column.sort == view.sort for place in places):
        return ()
    words = next((title(column, view) for column in COLUMNS if column.sort == view.sort), view.sort)
    arrow = glyphs.descending if view.descending else glyphs.ascending
    return (Span(f"by {words}{arrow}  ", "accent"),)


def status(view: View, in_sight: tuple[int, int], count: int, hidden: int, glyphs: Glyphs) -> Line:
    """What is filtered and which rows are in sight."""
    out: list[Span] = []
    for scope, names in (
        ("project", view.scope.projects),
        ("agent", view.scope.agents),
        ("user", view.scope.users),
    ):
        if names:
            shown = printable(", ".join(map(plainly, names)), 20, ascii_only=glyphs.ascii_only)
            out.extend((Span(f"{scope} ", "muted"), Span(shown, "accent"), Span("  ")))
    if view.filter.text:
        shown = printable(view.filter.text, 24, ascii_only=glyphs.ascii_only)
        out.extend((Span("/", "muted"), Span(shown, "accent"), Span(f" ({hidden} hidden)  ", "muted")))
    first, behind = in_sight
    if behind - first < count:
        out.append(Span(f"{first + 1}-{behind} of {count} ", "muted"))
    return tuple(out)


def tagged(count: int, unseen: int) -> Line:
    """How many rows are tagged, and how many of them are not there to be seen."""
    if not count:
        return ()
    return (Span(f"{count} tagged", "accent"), Span(f" ({unseen} hidden)  " if unseen else "  ", "muted"))


def away(label: str, number: int, glyphs: Glyphs) -> Line:
    """Where the cursor is when it is out of sight."""
    name = printable(label, 20, ascii_only=glyphs.ascii_only)
    return (Span("cursor on ", "muted"), Span(name, "accent"), Span(f", row {number + 1}  ", "muted"))


def foot(keys: Sequence[tuple[str, str]], state: Line, cells: int) -> Line:
    """The whole line; the state goes first where both do not fit, and no figure of it is ever cut."""
    kept = list(state)
    while kept and width(kept) > cells:
        kept.pop()
    room = cells - width(kept)
    return ends(hints(keys, max(0, room - 1)), kept, cells)
