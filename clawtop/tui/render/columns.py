"""The columns of the fleet table: what each says, how wide it is, and which of them a terminal has room for."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from clawtop.model.snapshot import Grouping, View
from clawtop.tui.render import cells
from clawtop.tui.render.cells import Cell, Look
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Line, Span, fit, right
from clawtop.tui.render.line import width as cells_of


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    `width` is the least it takes. `sort` is what View.sort calls it, None where it cannot be sorted by, and
    `ascending` how it is sorted first. `but` names groupings that make it pointless.
    """

    id: str
    title: str
    about: str
    width: int
    draw: Cell
    sort: str | None = None
    left: bool = False
    ascending: bool = False
    but: tuple[Grouping, ...] = ()


_ONE = (Grouping.AGENT, Grouping.SESSION, Grouping.RUN)
_NOT_OF_ONE = tuple(grouping for grouping in Grouping if grouping not in {Grouping.SESSION, Grouping.RUN})
_FIVE = "over the last 5 minutes"


def _figure(name: str, title: str, about: str, width: int, draw: Cell) -> Column:
    return Column(name, title, about, width, draw, name)


def _word(name: str, about: str, width: int, draw: Cell, *but: Grouping) -> Column:
    return Column(name, name, about, width, draw, name, left=True, ascending=True, but=but)


COLUMNS: tuple[Column, ...] = (
    Column("state", "state", "what it does now, or that clawtop holds it", 6, cells.state, "state", left=True),
    _word("name", "the agent, or what the rows are grouped by", 12, cells.name),
    Column("agent", "agent", "whose session or run it is", 10, cells.agent, left=True, but=_NOT_OF_ONE),
    _word("host", "the machine or gateway it comes from, where there is more than one", 8, cells.host, Grouping.HOST),
    _figure(
        "usd_per_hour", "$/h", f"dollars per hour, {_FIVE}; ? has no price, and sorts above 0", 7, cells.usd_per_hour
    ),
    Column("share", "share", "its part of what the whole fleet spends per hour", 5, cells.share, left=True),
    _figure("cost", "$", "dollars in the window; ? without a price, +? where some calls have none", 9, cells.cost),
    _figure("tokens_per_min", "tok/m", f"tokens per minute, {_FIVE}", 6, cells.tokens_per_min),
    Column("trend", "trend", "tokens over the window, scaled to the row's own peak", 8, cells.trend, left=True),
    _word("model", "the model it used last", 13, cells.model, Grouping.MODEL),
    _word("project", "the project with most of its spend", 10, cells.project, Grouping.PROJECT),
    _word("user", "who it worked for", 8, cells.user, Grouping.USER),
    Column("agents", "agents", "running agents of all", 7, cells.agents, "agents", but=_ONE),
    _figure("context", "ctx", "how full the context of its latest session is", 4, cells.context),
    _figure("input", "in", "input tokens, without what came from the cache", 6, cells.tokens_in),
    _figure("output", "out", "output tokens", 6, cells.tokens_out),
    Column("cache", "cache", "the cache's share of what the models read", 6, cells.cache),
    _figure("calls", "calls", "answers of a model", 6, cells.counter("calls")),
    _figure("retries", "retry", "failed attempts tried again on the same model", 6, cells.counter("retries", "warm")),
    _figure(
        "fallbacks", "fallb", "failed attempts that went on to another model", 6, cells.counter("fallbacks", "warm")
    ),
    _figure("errors", "err", "failed attempts", 4, cells.counter("errors", "bad")),
    _figure("tool_calls", "tools", "tool calls", 6, cells.counter("tool_calls")),
    _figure("latency", "p95", "95 of 100 calls were faster than this", 5, cells.latency),
    _figure("sessions", "sess", "sessions with at least one call", 5, cells.sessions),
    _figure("last_at", "age", "how long ago it did something", 4, cells.last),
)
BY_ID = {column.id: column for column in COLUMNS}
GUTTER = 2
"""Cells left of the first column, for the cursor and the tag."""

_PLAN = (
    ("state", 6), ("name", 12), ("usd_per_hour", 7), ("cost", 9), ("agent", 12), ("share", 5), ("tokens_per_min", 6),
    ("trend", 8), ("errors", 4), ("host", 10), ("last_at", 4), ("agents", 7), ("context", 4), ("name", 18),
    ("model", 17), ("state", 10), ("retries", 6), ("project", 12), ("fallbacks", 6), ("calls", 6), ("name", 22),
    ("cache", 6), ("output", 6), ("input", 6), ("tool_calls", 6), ("latency", 5), ("state", 14), ("project", 16),
    ("trend", 12), ("host", 16), ("sessions", 5), ("name", 28), ("agent", 16), ("user", 8), ("share", 8), ("model", 30),
    ("trend", 24), ("name", 40), ("trend", 60),
)  # fmt: skip
"""What room is used for, the most important first: a column is there from its first step on, then gets wider."""
_PLANS = {Grouping.MODEL: (*_PLAN[:4], ("name", 17), *_PLAN[4:])}
"""Plans of their own, for rows whose names need the room that a column of that kind gets."""


class Place(NamedTuple):
    """A column and the width it got."""

    column: Column
    width: int


Layout = tuple[Place, ...]


_MODEL = replace(BY_ID["name"], draw=cells.model_name)
_SESSION = replace(BY_ID["name"], draw=cells.session_of_agent)


def unknown(columns: Iterable[str]) -> tuple[str, ...]:
    """Those ids that no column has."""
    return tuple(name for name in columns if name not in BY_ID)


def layout(
    width: int,
    grouping: Grouping,
    hidden: Collection[str] = (),
    chosen: Sequence[str] = (),
    *,
    of_one_agent: bool = False,
) -> Layout:
    """The columns that fit into `width` cells; `hidden` are ids left out at will.

    `chosen` are the ids of those that are wanted, in their order on the screen and of their importance; without any
    the plan says what is most important. `of_one_agent`: whose rows they are is said elsewhere.
    """
    room = width - GUTTER - 1
    widths: dict[str, int] = {}
    for name, wanted in (*((each, BY_ID[each].width) for each in chosen), *_PLANS.get(grouping, _PLAN)):
        column = BY_ID[name]
        if name in hidden or (chosen and name not in chosen) or grouping in column.but:
            continue
        if name not in widths:
            need = column.width + (1 if widths else 0)
            if need > room:
                continue
            widths[name] = column.width
            room -= need
        more = max(0, min(room, wanted - widths[name]))
        widths[name] += more
        room -= more
    order = chosen or BY_ID
    special = {}
    if grouping is Grouping.MODEL:
        special["name"] = _MODEL
    elif grouping is Grouping.SESSION and (of_one_agent or "agent" in widths):
        special["name"] = _SESSION
    return tuple(Place(special.get(name, BY_ID[name]), widths[name]) for name in order if name in widths)


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
    """The cells of one row, without the gutter and without the blanks at its end.

    Blanks go into the span that follows them: on one background they look the same, and a row has a third of the
    spans that it would have otherwise, which is what drawing it costs.
    """
    out: list[Span] = []
    blanks = 0
    for column, width in places:
        spans = column.draw(at, width, glyphs)
        left = width - cells_of(spans)
        if left < 0:
            spans, left = fit(spans, width, glyphs.ellipsis), 0
        if not column.left:
            blanks += left
        for text, style in spans:
            out.append(Span(" " * blanks + text, style))
            blanks = 0
        blanks += 1 + (left if column.left else 0)
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
    """The sortable column `step` places right of the one that sorts now, None where there is none.

    One that is not shown counts as standing where it would stand.
    """
    sortable = [place.column for place in places if place.column.sort is not None]
    now = next((column for column in COLUMNS if column.sort == current), None)
    if now is not None and now not in sortable:
        behind = (at for at, column in enumerate(sortable) if COLUMNS.index(column) > COLUMNS.index(now))
        sortable.insert(next(behind, len(sortable)), now)
    at = 0 if now is None else sortable.index(now)
    return sortable[at + step] if 0 <= at + step < len(sortable) else None
