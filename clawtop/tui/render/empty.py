"""What stands in the table's place when there are no rows."""

from collections.abc import Callable, Sequence

from clawtop.model.snapshot import Health, Snapshot
from clawtop.tui.render.foot import plainly
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Line, Span, width, wrap
from clawtop.tui.render.plain import printable

KeyOf = Callable[[str], str | None]
"""The key of a binding id as people read it, None where it has none."""

_OTLP, _OTLP_PLACE = "otlp://", "127.0.0.1:4318"


_COMMANDS = (
    ("clawtop -s openclaw:DIR", "an OpenClaw state directory"),
    ("clawtop -s claude:DIR", "Claude Code's folder; codex:DIR Codex's"),
    ("clawtop -s events:PATH", "usage events, a JSON object a line"),
    ("clawtop -s otlp://", "listens for OpenTelemetry"),
    ("clawtop doctor", "what is where, and what can be read"),
)


def nothing_found(snapshot: Snapshot) -> bool:
    """Whether no source has anything at all, whatever the window and the filter."""
    return (
        not snapshot.rows
        and not snapshot.hidden
        and not snapshot.reading
        and not any(source.entries for source in snapshot.sources)
    )


def page(
    snapshot: Snapshot, cells: int, glyphs: Glyphs, key_of: KeyOf, absent: Sequence[str] = (), *, demo: bool = False
) -> tuple[Line, ...]:
    """Why there are no rows, and what to do; () where there are some.

    `absent` was looked for and is no source; `demo` says whether one can be started.
    """
    if snapshot.rows:
        return ()
    if snapshot.reading:
        return ((), (Span("  Reading what is there"), Span(glyphs.ellipsis)))
    if nothing_found(snapshot):
        return _welcome(snapshot, cells, glyphs, key_of("demo") if demo else None, absent)
    return _filtered(snapshot, cells, glyphs, key_of)


def _filtered(snapshot: Snapshot, cells: int, glyphs: Glyphs, key_of: KeyOf) -> tuple[Line, ...]:
    view = snapshot.view
    further = ("window", "to count further back")
    if view.filter.text:
        wanted = printable(view.filter.text, 60, ascii_only=glyphs.ascii_only)
        why: Line = (Span("  No row passes the filter "), Span(wanted, "accent"))
        more = " ".join((f"{snapshot.hidden} rows are hidden.", _press(key_of, ("filter", "to change it"))))
    elif view.scope.projects or view.scope.agents or view.scope.users:
        scoped = ", ".join(map(plainly, (*view.scope.projects, *view.scope.agents, *view.scope.users)))
        wanted = printable(scoped, 60, ascii_only=glyphs.ascii_only)
        why = (Span("  Nothing was spent on "), Span(wanted, "accent"), Span(f" in {view.window.value}."))
        more = _press(key_of, ("project", "for another project"), further)
    else:
        why = (Span(f"  Nothing happened in the last {view.window.value}."),)
        more = _press(key_of, further)
    return (), why, (), *((Span(f"  {line}", "muted"),) for line in wrap(more, cells - 4))


def _press(key_of: KeyOf, *what: tuple[str, str]) -> str:
    """What to press for what, "" where none of these commands has a key."""
    known = [f"{key_of(name)} {words}" for name, words in what if key_of(name)]
    return f"Press {', '.join(known)}." if known else ""


def _welcome(
    snapshot: Snapshot, cells: int, glyphs: Glyphs, demo_key: str | None, absent: Sequence[str]
) -> tuple[Line, ...]:
    listening = _listening(snapshot)
    headline = "Nothing was sent yet" if listening else "No agents found on this machine"
    out: list[Line] = [(), (Span(f"  {headline}", "headline"),)]
    if demo_key:
        out.append((Span("  press "), Span(demo_key, "key"), Span(" to see a made-up fleet")))
    out += [(), (Span("  clawtop looked for", "section"),)]
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
            *(line for command, about in _COMMANDS for line in _command(command, about, cells)),
        )
    )
    return tuple(out)


def _command(command: str, about: str, cells: int) -> tuple[Line, ...]:
    """A command and what it does, below it where both do not fit beside each other."""
    said = Span(f"    {command:<23}", "accent")
    beside = (said, Span(f"   {about}", "muted"))
    if width(beside) <= cells:
        return (beside,)
    return ((said,), *((Span(f"      {line}", "muted"),) for line in wrap(about, cells - 6)))


def _listening(snapshot: Snapshot) -> list[str]:
    """Where OTLP receivers listen, HOST:PORT, that nobody has written to."""
    said = (source for source in snapshot.sources if source.health is Health.OK and source.uri.startswith(_OTLP))
    return [source.uri.removeprefix(_OTLP) or _OTLP_PLACE for source in said]
