"""Which agents a command is about when rows are what one points at."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from clawtop.model.commands import Target
from clawtop.model.selection import Scope
from clawtop.model.snapshot import OF_ONE_AGENT, Grouping, Row, Snapshot, View
from clawtop.tui.render.detail import exactly

_OF_MANY = {Grouping.PROJECT, Grouping.USER, Grouping.HOST}


class Aim(NamedTuple):
    """The agents, or the view whose rows they are (see `found`), or why there are none."""

    targets: tuple[Target, ...] = ()
    view: View | None = None
    refusal: str | None = None


def aim(rows: Sequence[Row], view: View, group_key: str | None = None) -> Aim:
    """What a command on these rows of `view` is aimed at; `group_key` groups rows otherwise, as people read it."""
    grouping = view.group_by
    if not rows:
        return Aim(refusal="no row is selected")
    if grouping in OF_ONE_AGENT:
        return Aim(_targets(rows))
    if grouping not in _OF_MANY:
        how = f"group by agent ({group_key})" if group_key else "group by agent"
        return Aim(refusal=f"a {grouping.value} row is no agent: {how}, then choose whom to stop")
    return Aim(view=View(view.window, Grouping.AGENT, scope=_narrowed(view.scope, rows, grouping)))


def _narrowed(scope: Scope, rows: Sequence[Row], grouping: Grouping) -> Scope:
    names = tuple(exactly(row.group[-1]) for row in rows)
    if grouping is Grouping.PROJECT:
        return replace(scope, projects=names)
    return replace(scope, users=names) if grouping is Grouping.USER else scope


def found(snapshot: Snapshot, rows: Sequence[Row], grouping: Grouping) -> tuple[Target, ...]:
    """The agents of the rows, once the snapshot of `Aim.view` is there."""
    hosts = {row.group[-1] for row in rows}
    return _targets(row for row in snapshot.rows if grouping is not Grouping.HOST or row.host in hosts)


def _targets(rows: Iterable[Row]) -> tuple[Target, ...]:
    return tuple(dict.fromkeys(Target(row.group[0], row.group[1]) for row in rows))


def by_target(snapshot: Snapshot) -> dict[Target, Row]:
    """The rows of a snapshot by agent."""
    return {Target(row.group[0], row.group[1]): row for row in snapshot.rows}


def named(rows: Sequence[Row], grouping: Grouping) -> str:
    """The rows in a few words, before anybody knows their agents; not made printable."""
    first = rows[0].label or "(none)"
    return (
        f"the agents of {grouping.value} {first}" if len(rows) == 1 else f"the agents of {len(rows)} {grouping.value}s"
    )
