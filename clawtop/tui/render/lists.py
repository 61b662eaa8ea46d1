"""The lines of the lists one chooses from: projects, groupings, columns, windows."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from clawtop.model.snapshot import Grouping, Row, Snapshot, View
from clawtop.tui.render.cells import cost, heat, look, share, usd_per_hour
from clawtop.tui.render.columns import BY_ID, COLUMNS, Column, title
from clawtop.tui.render.detail import exactly
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Line, Span, fit, right
from clawtop.tui.render.plain import printable

EVERYTHING = "*"
"""The value of the line that takes a choice back: the glob that means any; a project of that name has another."""


class Item(NamedTuple):
    """One line of a list: its value, what it says, and the words that typing finds it by."""

    value: str
    line: Line
    words: str


_GROUPINGS = {
    Grouping.AGENT: "one row for each agent",
    Grouping.PROJECT: "what each project costs",
    Grouping.USER: "the people the agents work for",
    Grouping.OWNER: "those who answer for the agents",
    Grouping.MODEL: "what each model costs",
    Grouping.PROVIDER: "what goes to each provider",
    Grouping.SESSION: "one row for each session",
    Grouping.RUN: "one row for each run",
    Grouping.TASK: "what each task costs",
    Grouping.CRON: "what each scheduled job costs",
    Grouping.HOST: "one row for each machine",
    Grouping.ENVIRONMENT: "production, staging and so on",
}


def _pair(word: str, about: str, room: int = 14) -> Line:
    return (*fit((Span(word, "value"),), room), Span(" "), Span(about, "muted"))


def groupings() -> tuple[Item, ...]:
    """What a row can stand for."""
    return tuple(Item(each.value, _pair(each.value, _GROUPINGS[each]), each.value) for each in Grouping)


def sorts(view: View, glyphs: Glyphs) -> tuple[Item, ...]:
    """The columns that can sort, the one that does with its arrow."""
    arrow = glyphs.descending if view.descending else glyphs.ascending
    return tuple(
        Item(
            column.id,
            _pair(f"{_called(column, view)}{f' {arrow}' if column.sort == view.sort else ''}", column.about),
            f"{_called(column, view)} {column.about}",
        )
        for column in COLUMNS
        if column.sort is not None
    )


def _called(column: Column, view: View) -> str:
    """A column's title; where rows stand for what another column shows, the one of their names is called by its id."""
    words = title(column, view)
    return column.id if column.id == "name" and words in BY_ID else words


def columns(view: View, hidden: Collection[str]) -> tuple[Item, ...]:
    """All columns, with a cross before those that are shown where there is room."""
    return tuple(
        Item(
            column.id,
            (Span("[ ] " if column.id in hidden else "[x] ", "accent"), *_pair(_called(column, view), column.about)),
            f"{_called(column, view)} {column.about}",
        )
        for column in COLUMNS
    )


def projects(snapshot: Snapshot, glyphs: Glyphs) -> tuple[Item, ...]:
    """Every project with what it spends, the most expensive first, after a line for all of them.

    Their values are the globs of a scope.
    """
    rows = sorted(snapshot.rows, key=lambda row: (-row.cost, row.label))
    return (
        Item(EVERYTHING, _spend("all projects", snapshot.total, snapshot, glyphs), "all projects"),
        *(
            Item(
                exactly(row.group[-1]),
                _spend(printable(row.label, ascii_only=glyphs.ascii_only), row, snapshot, glyphs),
                row.label,
            )
            for row in rows
        ),
    )


def _spend(name: str, row: Row, snapshot: Snapshot, glyphs: Glyphs) -> Line:
    at = look(row, snapshot.fleet, snapshot.at, glyphs)
    if row is snapshot.total:
        at = at._replace(share=0)
    return (
        *fit((Span(name, heat(at.share) or "value"),), 22),
        *right(cost(at, 9, glyphs), 11),
        *right(usd_per_hour(at, 7, glyphs), 8),
        Span("/h ", "faint"),
        *fit(share(at, 8, glyphs), 8),
    )


def spend_title(view: View) -> str:
    """What stands above a list of spend."""
    return f"$ in {view.window.value} and per hour"


def matching(items: Iterable[Item], typed: str) -> Sequence[Item]:
    """The items that hold what was typed."""
    wanted = typed.casefold()
    return tuple(item for item in items if wanted in item.words.casefold())
