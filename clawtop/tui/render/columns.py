"""The columns of the fleet table: what each says, how wide it is, and which of them a terminal has room for."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from clawtop.model.snapshot import Grouping, View
from clawtop.tui.render import cells
from clawtop.tui.render.cells import Cell, Look
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Line, Span, fit, right


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    `sort` is what View.sort calls it; None cannot be sorted by. `width` is the least it takes, `narrower` columns
    are left out first where `rank` is higher. `but` names groupings that make it pointless.
    """

    id: str
    title: str
    about: str
    width: int
    rank: int
    draw: Cell
    sort: str | None = None
    left: bool = False
    ascending: bool = False
    but: tuple[Grouping, ...] = ()


_ONE = (Grouping.AGENT, Grouping.SESSION, Grouping.RUN)
_FIVE = "over the last 5 minutes"


def _figure(name: str, title: str, about: str, width: int, rank: int, draw: Cell, sort: str = "") -> Column:  # noqa: PLR0913, PLR0917
    return Column(name, title, about, width, rank, draw, sort or name)


def _word(name: str, about: str, width: int, rank: int, draw: Cell, *but: Grouping) -> Column:
    return Column(name, name, about, width, rank, draw, name, left=True, ascending=True, but=but)


COLUMNS: tuple[Column, ...] = (
    Column("state", "state", "what it does now, or that clawtop holds it", 6, 0, cells.state, "state", left=True),
    _word("name", "the agent, or what the rows are grouped by", 12, 1, cells.name),
    _figure("usd_per_hour", "$/h", f"dollars per hour, {_FIVE}", 7, 2, cells.usd_per_hour),
    Column("share", "share", "its part of what the whole fleet spends per hour", 5, 4, cells.share, left=True),
    _figure("cost", "$", "dollars in the window; ? without a price, +? where some calls have none", 9, 3, cells.cost),
    _figure("tokens_per_min", "tok/m", f"tokens per minute, {_FIVE}", 6, 5, cells.tokens_per_min),
    Column("trend", "trend", "tokens over the window, scaled to the row's own peak", 8, 6, cells.trend, left=True),
    _word("model", "the model it used last", 13, 10, cells.model, Grouping.MODEL),
    _word("project", "the project with most of its spend", 10, 13, cells.project, Grouping.PROJECT),
    _word("user", "who it worked for", 8, 21, cells.user, Grouping.USER),
    Column("agents", "agents", "running agents of all", 7, 8, cells.agents, "agents", but=_ONE),
    _figure("context", "ctx", "how full the context of its latest session is", 4, 9, cells.context),
    _figure("input", "in", "input tokens, without what came from the cache", 5, 17, cells.tokens_in),
    _figure("output", "out", "output tokens", 5, 16, cells.tokens_out),
    _figure("cache", "cache", "the cache's share of what the models read", 6, 15, cells.cache, "cache_share"),
    _figure("calls", "calls", "answers of a model", 6, 12, cells.counter("calls")),
    _figure(
        "retries", "retry", "failed attempts tried again on the same model", 6, 11, cells.counter("retries", "warm")
    ),
    _figure(
        "fallbacks", "fallb", "failed attempts that went on to another model", 6, 14, cells.counter("fallbacks", "warm")
    ),
    _figure("errors", "err", "failed attempts", 4, 7, cells.counter("errors", "bad")),
    _figure("tools", "tools", "tool calls", 6, 18, cells.counter("tool_calls"), "tool_calls"),
    _figure("latency", "p95", "95 of 100 calls were faster than this", 5, 19, cells.latency),
    _figure("sessions", "sess", "sessions with at least one call", 5, 20, cells.sessions),
    _figure("age", "age", "how long ago it did something", 4, 8, cells.last, "last_at"),
)
BY_ID = {column.id: column for column in COLUMNS}
GUTTER = 2
"""Cells left of the first column, for the cursor and the tag."""

_GROW = (
    ("name", 16),
    ("state", 10),
    ("model", 17),
    ("name", 20),
    ("trend", 12),
    ("project", 16),
    ("name", 28),
    ("share", 8),
    ("model", 30),
    ("trend", 24),
    ("name", 40),
    ("trend", 60),
)


class Place(NamedTuple):
    """A column and the width it got."""

    column: Column
    width: int


Layout = tuple[Place, ...]


def layout(width: int, grouping: Grouping, hidden: Collection[str] = ()) -> Layout:
    """The columns that fit into `width` cells, in their order on the screen; `hidden` are ids left out at will."""
    room = width - GUTTER
    chosen: set[str] = set()
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        if column.id in hidden or grouping in column.but:
            continue
        need = column.width + (1 if chosen else 0)
        if need > room:
            continue
        chosen.add(column.id)
        room -= need
    widths = {name: BY_ID[name].width for name in chosen}
    for name, most in _GROW:
        if name in widths and room > 0 and widths[name] < most:
            more = min(room, most - widths[name])
            widths[name] += more
            room -= more
    return tuple(Place(column, widths[column.id]) for column in COLUMNS if column.id in chosen)


def title(column: Column, view: View) -> str:
    """What stands above a column."""
    if column.id == "name":
        return view.group_by.value
    return f"$ {view.window.value}" if column.id == "cost" else column.title


def head(places: Layout, view: View, glyphs: Glyphs) -> Line:
    """The line of titles, the column that sorts marked with an arrow."""
    out: list[Span] = [Span(" " * GUTTER)]
    for index, (column, width) in enumerate(places):
        sorts = column.sort is not None and column.sort == view.sort
        arrow = (glyphs.descending if view.descending else glyphs.ascending) if sorts else ""
        words = title(column, view)
        span = Span(words + arrow, "sorted" if sorts else "title")
        if index:
            out.append(Span(" "))
        if column.id == "cost":
            out.extend((*right((span,), width - (1 if sorts else 2)), Span(" " if sorts else "  ")))
        else:
            out.extend(fit((span,), width, "") if column.left else right((span,), width))
    return tuple(out)


def body(at: Look, places: Layout, glyphs: Glyphs) -> Line:
    """The cells of one row, without the gutter."""
    out: list[Span] = []
    for index, (column, width) in enumerate(places):
        if index:
            out.append(Span(" "))
        cell = column.draw(at, width, glyphs)
        out.extend(fit(cell, width, glyphs.ellipsis) if column.left else right(cell, width))
    return tuple(out)


def column_at(places: Layout, x: int) -> Column | None:
    """The column that covers the cell `x`, None in the gutter and behind the last."""
    left = GUTTER
    for column, width in places:
        if left <= x < left + width:
            return column
        left += width + 1
    return None


def next_sort(places: Layout, current: str, step: int) -> Column | None:
    """The sortable column `step` places right of the one that sorts now, None where there is none."""
    sortable = [place.column for place in places if place.column.sort is not None]
    at = next((index for index, column in enumerate(sortable) if column.sort == current), None)
    if not sortable:
        return None
    if at is None:
        return sortable[0]
    return sortable[at + step] if 0 <= at + step < len(sortable) else None
