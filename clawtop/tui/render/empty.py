"""What stands in the table's place when there are no rows."""

from collections.abc import Sequence

from clawtop.model.snapshot import Health, Snapshot
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Line, Span, wrap
from clawtop.tui.render.plain import printable

_OTLP, _OTLP_PLACE = "otlp://", "127.0.0.1:4318"


def nothing_found(snapshot: Snapshot) -> bool:
    """Whether no source has anything at all, whatever the window and the filter."""
    return (
        not snapshot.rows
        and not snapshot.hidden
        and not snapshot.reading
        and not any(source.entries for source in snapshot.sources)
    )


def page(
    snapshot: Snapshot, cells: int, glyphs: Glyphs, demo_key: str | None, absent: Sequence[str] = ()
) -> tuple[Line, ...]:
    """Why there are no rows, and what to do; () where there are some. `absent` was looked for and is no source."""
    if snapshot.rows:
        return ()
    if snapshot.reading:
        return ((), (Span("  Reading what is there"), Span(glyphs.ellipsis)))
    if nothing_found(snapshot):
        return _welcome(snapshot, cells, glyphs, demo_key, absent)
    return _filtered(snapshot, glyphs)


def _filtered(snapshot: Snapshot, glyphs: Glyphs) -> tuple[Line, ...]:
    view = snapshot.view
    if view.filter.text:
        wanted = printable(view.filter.text, 60, ascii_only=glyphs.ascii_only)
        why: Line = (Span("  No row passes the filter "), Span(wanted, "accent"))
        more = f"  {snapshot.hidden} rows are hidden. Press / to change it."
    elif view.scope.projects or view.scope.agents or view.scope.users:
        scoped = ", ".join((*view.scope.projects, *view.scope.agents, *view.scope.users))
        wanted = printable(scoped, 60, ascii_only=glyphs.ascii_only)
        why = (Span("  Nothing was spent on "), Span(wanted, "accent"), Span(f" in {view.window.value}."))
        more = "  Press p for another project, w to count further back."
    else:
        why = (Span(f"  Nothing happened in the last {view.window.value}."),)
        more = "  Press w to count further back."
    return (), why, (), (Span(more, "muted"),)


def _welcome(
    snapshot: Snapshot, cells: int, glyphs: Glyphs, demo_key: str | None, absent: Sequence[str]
) -> tuple[Line, ...]:
    listening = _listening(snapshot)
    headline = "Nothing was sent yet" if listening else "No agents found on this machine"
    out: list[Line] = [(), (Span(f"  {headline}", "headline"),), (), (Span("  clawtop looked for", "section"),)]
    for source in snapshot.sources:
        sign, style = (glyphs.error, "bad") if source.health is Health.DOWN else (glyphs.unseen, "muted")
        uri = printable(source.uri, cells - 6, ascii_only=glyphs.ascii_only)
        out.append((Span(f"  {sign} ", style), Span(uri, "value")))
        detail = printable(source.detail or "nothing there yet", ascii_only=glyphs.ascii_only)
        out.extend((Span(f"      {line}", "muted"),) for line in wrap(detail, max(10, cells - 8)))
    for uri in absent:
        shown = printable(uri, max(10, cells - 22), ascii_only=glyphs.ascii_only)
        out.append((Span(f"  {glyphs.unseen} ", "muted"), Span(shown, "value"), Span("   is not there", "muted")))
    if not snapshot.sources and not absent:
        out.append((Span(f"  {glyphs.unseen} ", "muted"), Span("no source at all", "muted")))
    if listening:
        out.extend(((), (Span("  Point a sender at it", "section"),)))
        out.extend(
            (Span(f"    OTEL_EXPORTER_OTLP_ENDPOINT=http://{printable(place, 60)}", "accent"),) for place in listening
        )
    out.extend(
        (
            (),
            (Span("  Point it somewhere", "section"),),
            (Span("    clawtop -s openclaw:DIR", "accent"), Span("   an OpenClaw state directory", "muted")),
            (
                Span("    clawtop -s claude:DIR  ", "accent"),
                Span("   Claude Code's folder; codex:DIR Codex's", "muted"),
            ),
            (Span("    clawtop -s events:PATH ", "accent"), Span("   usage events, a JSON object a line", "muted")),
            (Span("    clawtop -s otlp://     ", "accent"), Span("   listens for OpenTelemetry", "muted")),
            (Span("    clawtop doctor         ", "accent"), Span("   what is where, and what can be read", "muted")),
        )
    )
    if demo_key:
        out.extend(((), (Span("  Or press "), Span(demo_key, "key"), Span(" to see it with a made-up fleet."))))
    return tuple(out)


def _listening(snapshot: Snapshot) -> list[str]:
    """Where OTLP receivers listen, HOST:PORT, that nobody has written to."""
    said = (source for source in snapshot.sources if source.health is Health.OK and source.uri.startswith(_OTLP))
    return [source.uri.removeprefix(_OTLP) or _OTLP_PLACE for source in said]
