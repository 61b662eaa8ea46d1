"""The sources' page: what was read from where, and what could not be used and why."""

from collections.abc import Sequence

from clawtop.model.snapshot import Health, Snapshot, SourceStatus
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.header import health_sign
from clawtop.tui.render.line import EMPTY, Line, Span, wrap
from clawtop.tui.render.plain import printable
from clawtop.units import age, size


def page(snapshot: Snapshot, cells: int, glyphs: Glyphs, notices: Sequence[str] = ()) -> tuple[Line, ...]:
    """Every source in full, after what was said at the start."""
    out: list[Line] = [EMPTY]
    for notice in notices:
        words = wrap(printable(notice, ascii_only=glyphs.ascii_only), max(10, cells - 6))
        out.extend((Span(f"  {' ' if index else glyphs.warning} {line}", "warn"),) for index, line in enumerate(words))
    if notices:
        out.append(EMPTY)
    for source in snapshot.sources:
        out.extend((*_source(source, snapshot.at, cells, glyphs), EMPTY))
    if not snapshot.sources:
        out.append((Span("  No source at all.", "muted"),))
    unseen = sorted(frozenset[str]().union(*(row.blind for row in snapshot.rows)))
    if unseen:
        out.append((Span("  Not all sources can see: ", "muted"), Span(", ".join(unseen), "value")))
    return tuple(out)


def _read(source: SourceStatus) -> str:
    of = f" of {size(source.expected)}" if source.expected > source.bytes else ""
    return f" from {size(source.bytes)}{of}" if source.bytes or of else ""


_WORDS = {Health.OK: "up to date", Health.READING: "reading", Health.DOWN: "down"}


def _source(source: SourceStatus, at: int, cells: int, glyphs: Glyphs) -> tuple[Line, ...]:
    sign, style = health_sign(source, glyphs)
    since = f" for {age(at - source.since)}" if source.since else ""
    out: list[Line] = [
        (
            Span(f"  {sign} ", style),
            Span(printable(source.uri, cells - 6, ascii_only=glyphs.ascii_only), "value"),
            Span("  DEMO: these figures are made up" if source.demo else "", "warn"),
        ),
        (
            Span(f"    {_WORDS[source.health]}{since}", style),
            Span(f", {source.entries:,} entries{_read(source)}", "muted"),
        ),
    ]
    if source.detail:
        detail = printable(source.detail, ascii_only=glyphs.ascii_only)
        out.extend((Span(f"    {line}", "plain"),) for line in wrap(detail, max(10, cells - 6)))
    for reason, count in sorted(source.skipped.items(), key=lambda item: (-item[1], item[0])):
        words = printable(reason, cells - 20, ascii_only=glyphs.ascii_only)
        out.append((Span(f"    {glyphs.warning} {count:>7,} skipped ", "warn"), Span(words)))
    return tuple(out)
