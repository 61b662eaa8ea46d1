"""The page of one row: every figure by its name, what it is made of, and what went wrong last."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.cells import cell_len

from clawtop.model.snapshot import OF_ONE_AGENT, Basis, Grouping, Incident, Row, Snapshot, View
from clawtop.tui.render import cells as cell
from clawtop.tui.render.columns import body, head, layout
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.graph import area
from clawtop.tui.render.line import EMPTY, Line, Span, fit
from clawtop.tui.render.line import width as cells_of
from clawtop.tui.render.plain import printable
from clawtop.units import age, duration, exact_money, percent, si

_MOST = 12
_ERRORS = 20
_BLOCK = 29
_FIGURE = 13
_PARTS = (Grouping.AGENT, Grouping.MODEL, Grouping.SESSION, Grouping.RUN)
_MADE_OF = {
    **dict.fromkeys(Grouping, _PARTS),
    Grouping.AGENT: (Grouping.MODEL, Grouping.SESSION, Grouping.RUN),
    Grouping.MODEL: (Grouping.AGENT, Grouping.SESSION, Grouping.RUN),
    Grouping.SESSION: (Grouping.MODEL, Grouping.RUN),
    Grouping.RUN: (Grouping.MODEL, Grouping.SESSION),
}
_KEY_FIELDS = {Grouping.PROJECT, Grouping.USER, Grouping.OWNER, Grouping.TASK, Grouping.CRON, Grouping.ENVIRONMENT}


def exactly(name: str) -> str:
    """The glob that means this name and nothing else."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def parts(row: Row, view: View) -> dict[Grouping, View]:
    """The views that show what the row is made of."""
    scope = replace(view.scope, row=(view.group_by, row.group))
    return {each: replace(_view(each, view), scope=scope) for each in _MADE_OF[view.group_by]}


def _view(grouping: Grouping, view: View) -> View:
    return View(view.window, grouping, sort="last_at" if grouping is Grouping.RUN else "cost")


def concerns(incident: Incident, row: Row, grouping: Grouping) -> bool:
    """Whether the incident happened to this row."""
    key, group, who = incident.key, row.group, (incident.key.host, incident.key.agent)
    model = incident.model or ""
    if grouping in _KEY_FIELDS:
        return (getattr(key, grouping.value) or "") == group[-1]
    return {
        Grouping.AGENT: who == group,
        Grouping.SESSION: who == group[:2] and group[-1] in {key.session, key.session_key},
        Grouping.RUN: who == group[:2] and group[-1] == key.run,
        Grouping.MODEL: model == "/".join(filter(None, group)),
        Grouping.PROVIDER: model.startswith(f"{group[-1]}/"),
        Grouping.HOST: key.host == group[-1],
    }[grouping]


def page(
    row: Row,
    snapshot: Snapshot,
    made_of: Mapping[Grouping, Sequence[Row]],
    width: int,
    glyphs: Glyphs,
    *,
    chart: Sequence[Line] = (),
) -> tuple[Line, ...]:
    """The whole page; `made_of` has the rows of each part that has been read so far.

    `chart` is what its tokens look like over time; without one there is a small one without axes.
    """
    view = snapshot.view
    out = [EMPTY, *_title(row, snapshot, width, glyphs), EMPTY, *_figures(row, view, width, glyphs), EMPTY]
    out.extend(_trend(row, view, width, glyphs, chart))
    for grouping in _MADE_OF[view.group_by]:
        if any(map(_known, made_of.get(grouping, ()))):
            out.extend(_part(_view(grouping, view), made_of[grouping], snapshot, width, glyphs))
    found = [each for each in snapshot.incidents if concerns(each, row, view.group_by)]
    out.extend((EMPTY, (Span("  Last errors", "section"),)))
    out.extend(_incident(each, snapshot.at, width, glyphs) for each in found[:_ERRORS])
    if not found:
        out.append((Span("  none", "muted"),))
    return tuple(line if cells_of(line) <= width else fit(line, width, glyphs.ellipsis) for line in out)


def _title(row: Row, snapshot: Snapshot, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    at = cell.look(row, snapshot.fleet, snapshot.at, glyphs)
    burn = f" ${''.join(cell.burn(row))}/h "
    part = f"  {percent(100 * at.share / cell.SHARE_STEPS)} of the fleet" if at.share else ""
    name = printable(row.label, max(8, width - 44), ascii_only=glyphs.ascii_only)
    known = (
        ("host", row.host),
        ("project", f"{row.project} (+{row.projects - 1})" if row.projects > 1 else row.project),
        ("user", row.user),
        ("model", row.model),
        ("last active", f"{at.age} ago" if row.last_at is not None else None),
    )
    facts: list[Span] = [Span("  ")]
    for word, what in known:
        if what:
            shown = printable(what, 48, ascii_only=glyphs.ascii_only)
            facts.extend((Span(f"{word} ", "faint"), Span(f"{shown}   ", "plain")))
    lines: list[Line] = [
        (
            Span("  "),
            Span(name, "headline"),
            Span("  "),
            *cell.state(at, 12, glyphs),
            Span("   "),
            Span(burn, "burn"),
            Span(part, cell.heat(at.share)),
        ),
        fit(facts, width, glyphs.ellipsis),
    ]
    for detail, style in ((row.hold_detail, "held"), (row.detail, "bad"), (", ".join(row.alerts), "warn")):
        if detail:
            lines.append((Span(f"  {printable(detail, width - 4, ascii_only=glyphs.ascii_only)}", style),))
    return tuple(lines)


_BASES = {
    Basis.LOGGED: "as the agents logged it",
    Basis.PRICED: "at list prices",
    Basis.MIXED: "logged, and at list prices",
    Basis.UNKNOWN: "no price is known",
}


Block = tuple[str, tuple[tuple[str, str], ...]]


def _figures(row: Row, view: View, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    blocks = _blocks(row, view, glyphs)
    across = max(1, min(4, (width - 2) // _BLOCK))
    out: list[Line] = []
    for start in range(0, len(blocks), across):
        if start:
            out.append(EMPTY)
        out.extend(_side_by_side(blocks[start : start + across], (width - 2) // across))
    return tuple(out)


def _cost(row: Row) -> str:
    if cell.unpriced(row):
        return "?"
    return f"{exact_money(row.cost)}{'+?' if row.counters.unpriced_calls else ''}"


def _blocks(row: Row, view: View, glyphs: Glyphs) -> tuple[Block, ...]:
    count, tokens = row.counters, row.tokens
    window, unseen = view.window.value, glyphs.unseen
    return (
        (
            f"Spend in {window}",
            (
                ("cost", _cost(row)),
                ("", _BASES[row.basis]),
                ("unpriced calls", _exact(row, "unpriced_calls", count.unpriced_calls, glyphs)),
                ("unmetered runs", _exact(row, "unmetered_runs", count.unmetered_runs, glyphs)),
                ("tokens/min", si(row.tokens_per_min)),
                ("calls/min", f"{row.calls_per_min:.1f}"),
            ),
        ),
        (
            f"Tokens in {window}",
            (
                ("input", f"{tokens.input:,}"),
                ("output", f"{tokens.output:,}"),
                ("cache read", f"{tokens.cache_read:,}"),
                ("cache write", f"{tokens.cache_write:,}"),
                ("from the cache", _percent(cell.cache_share(row), glyphs)),
                ("context full", _percent(row.context_pct, glyphs)),
            ),
        ),
        (
            "Calls",
            (
                ("calls", _exact(row, "calls", count.calls, glyphs)),
                ("latency p50", unseen if row.latency_p50 is None else duration(row.latency_p50)),
                ("latency p95", unseen if row.latency_p95 is None else duration(row.latency_p95)),
                ("tool calls", _exact(row, "tool_calls", count.tool_calls, glyphs)),
                ("tool errors", _exact(row, "tool_errors", count.tool_errors, glyphs)),
                ("sessions, runs", f"{row.sessions:,}, {unseen if row.runs is None else f'{row.runs:,}'}"),
            ),
        ),
        (
            "Failures",
            (
                ("errors", _exact(row, "errors", count.errors, glyphs)),
                ("retries", _exact(row, "retries", count.retries, glyphs)),
                ("fallbacks", _exact(row, "fallbacks", count.fallbacks, glyphs)),
                ("failed turns", _exact(row, "failed_turns", count.failed_turns, glyphs)),
                ("aborts", _exact(row, "aborts", count.aborts, glyphs)),
                ("compactions", _exact(row, "compactions", count.compactions, glyphs)),
            ),
        ),
    )


def _side_by_side(blocks: Sequence[Block], room: int) -> list[Line]:
    out: list[Line] = [tuple(span for name, _ in blocks for span in fit((Span("  "), Span(name, "section")), room))]
    out.extend(
        tuple(span for word, figure in lines for span in fit(_fact(word, figure, room), room))
        for lines in zip(*(figures for _, figures in blocks), strict=True)
    )
    return out


def _fact(word: str, figure: str, room: int) -> Line:
    if not word:
        return (Span(f"  {figure}", "faint"),)
    label = max(0, min(20, room - _FIGURE - 2))
    return (Span(f"  {word:<{label}}", "muted"), Span(f"{figure:>{_FIGURE}}", "faint" if figure == "0" else "value"))


def _exact(row: Row, field: str, number: int, glyphs: Glyphs) -> str:
    return glyphs.unseen if field in row.blind else f"{number:,}"


def _percent(share: float | None, glyphs: Glyphs) -> str:
    return glyphs.unseen if share is None else percent(share)


def _trend(row: Row, view: View, width: int, glyphs: Glyphs, chart: Sequence[Line]) -> tuple[Line, ...]:
    if not any(row.spark):
        return ()
    small = area(row.spark, max(10, min(width - 4, 120)), 3, glyphs)
    each = duration(1000 * (view.window.seconds or 0) / len(row.spark)).removesuffix("00")
    slices = f", in slices of {each}" if chart and view.window.seconds else ""
    return (
        (Span(f"  Tokens over {view.window.value}", "section"), Span(slices, "muted")),
        *((Span("  "), *line) for line in chart or [(Span(line, f"chart-{n}"),) for n, line in enumerate(small, 1)]),
    )


_TITLES = {
    Grouping.AGENT: "Agents",
    Grouping.MODEL: "Models",
    Grouping.SESSION: "Sessions",
    Grouping.RUN: "Runs",
}


_NAMELESS = {Grouping.MODEL: "(no model)", Grouping.SESSION: "(no session)", Grouping.RUN: "(no run)"}


def _part(view: View, rows: Sequence[Row], snapshot: Snapshot, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    alone = snapshot.view.group_by in OF_ONE_AGENT
    hidden = {"share", "user", "project"} | ({"agent"} if alone else set())
    if alone or not snapshot.several_hosts:
        hidden.add("host")
    places = layout(width, view.group_by, hidden, of_one_agent=alone)
    counted, rest = _counts(view.group_by, rows)
    title = (Span(f"  {_TITLES[view.group_by]}", "section"), Span(f" {counted:,}", "muted"), Span(rest, "faint"))
    out: list[Line] = [EMPTY, title, head(places, view, glyphs)]
    for row in rows[:_MOST]:
        at = cell.look(_called(row, view.group_by), snapshot.fleet, snapshot.at, glyphs)
        out.append((Span("  "), *body(at, places, glyphs)))
    if len(rows) > _MOST:
        out.append((Span(f"  and {len(rows) - _MOST} more", "muted"),))
    return tuple(out)


def _of(row: Row, grouping: Grouping) -> int:
    """What a row of a part counts for: one may stand for several that are idle longest, or for none with a call."""
    if grouping is Grouping.SESSION:
        return row.sessions
    return row.runs or 0 if grouping is Grouping.RUN else int(row.counters.calls > 0)


def _counts(grouping: Grouping, rows: Sequence[Row]) -> tuple[int, str]:
    """How many there are as the row counts them, and in words what stands there besides."""
    counts = [_of(row, grouping) for row in rows]
    what = "an attempt" if grouping is Grouping.RUN else "a call"
    return sum(counts), f"  +{counts.count(0):,} without {what}" if 0 in counts else ""


def _known(row: Row) -> bool:
    """Whether the row of a part has a name of its own."""
    return any(row.group) if row.agent is None else bool(row.group[-1])


def _called(row: Row, grouping: Grouping) -> Row:
    """A row of a part, what has no name of its own by what it is."""
    if _known(row):
        return row
    several = _of(row, grouping)
    older = several and grouping in {Grouping.SESSION, Grouping.RUN}
    return replace(row, label=f"({several:,} older ones)" if older else _NAMELESS.get(grouping, "(none)"))


def _incident(incident: Incident, at: int, width: int, glyphs: Glyphs) -> Line:
    plain = glyphs.ascii_only
    when = f"  {age(at - incident.at):>4} ago  "
    what = f"{printable(incident.what, 12, ascii_only=plain):<13}"
    model = printable(incident.model or glyphs.unseen, 28, ascii_only=plain)
    room = width - cell_len(when) - 13 - 30
    text = printable(incident.text, max(8, room), ascii_only=plain)
    style = "bad" if incident.what in {"error", "failed turn"} else "warn"
    return (Span(when, "muted"), Span(what, style), *fit((Span(model, "muted"),), 29), Span(" "), Span(text))
