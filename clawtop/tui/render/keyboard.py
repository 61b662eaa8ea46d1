"""The help page: every command with its keys, under the heading of its group."""

from collections.abc import Iterable
from typing import Protocol

from rich.cells import cell_len

from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import EMPTY, Line, Span, fit


class Command(Protocol):
    """What the page needs to know of a key binding."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Its keys as people read them."""

    @property
    def about(self) -> str:
        """What it does."""

    @property
    def group(self) -> str:
        """The heading it stands under."""


_KEYS = 12
_SIGNS = (
    ("running", "running", "running: a live run is known"),
    ("idle", "idle", "idle"),
    ("error", "bad", "error: its last run failed or timed out"),
    ("unknown", "muted", "unknown: it cannot be seen from here"),
    ("held", "held", "clawtop holds it"),
    ("warning", "bad", "an alert is up, or entries were skipped"),
)


def page(commands: Iterable[Command], cells: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """The commands in one column, or in two where there is room, and what the signs mean."""
    blocks: dict[str, list[Line]] = {}
    for command in commands:
        blocks.setdefault(command.group, []).append(_command(command))
    parts = [[(Span(group, "section"),), *lines, EMPTY] for group, lines in blocks.items()]
    parts.append([(Span("Signs", "section"),), *_signs(glyphs)])
    if cells < 120:
        return tuple(_indent(line) for part in parts for line in part)
    return _two_columns(parts, cells, glyphs)


def _indent(line: Line) -> Line:
    return (Span("  "), *line)


def _command(command: Command) -> Line:
    keys = " ".join(command.keys)
    return (Span(f"{keys}{' ' * max(1, _KEYS - cell_len(keys))}", "key"), Span(command.about))


def _signs(glyphs: Glyphs) -> list[Line]:
    words = [(getattr(glyphs, sign), style, about) for sign, style, about in _SIGNS]
    words += [
        ("?", "muted", "no known price; 1.38+? is partly unknown"),
        (glyphs.unseen, "faint", "the sources cannot see this; it is not 0"),
    ]
    return [(Span(f"{sign}{' ' * (_KEYS - 1)}", style), Span(about)) for sign, style, about in words]


def _two_columns(parts: list[list[Line]], cells: int, glyphs: Glyphs) -> tuple[Line, ...]:
    left: list[Line] = []
    right: list[Line] = []
    for part in parts:
        (left if len(left) <= len(right) else right).extend(part)
    half = cells // 2
    height = max(len(left), len(right))
    left += [EMPTY] * (height - len(left))
    right += [EMPTY] * (height - len(right))
    return tuple(
        (*fit(_indent(first), half, glyphs.ellipsis), *fit(second, cells - half, glyphs.ellipsis))
        for first, second in zip(left, right, strict=True)
    )
