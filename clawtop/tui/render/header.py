"""What stands above the table: what the fleet burns, in two lines or in five with large figures."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from clawtop.model.events import Tokens
from clawtop.model.snapshot import Health, Row, Snapshot, SourceStatus
from clawtop.tui.render.cells import burn, unpriced
from clawtop.tui.render.digits import big
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.graph import area, bar
from clawtop.tui.render.line import EMPTY, Line, Span, ends, fit, width
from clawtop.tui.render.plain import printable
from clawtop.units import dollars, money, si, size

COMPACT, TALL = 2, 6
_SLICES_PER_HOUR = 720
_SLICES_PER_MINUTE = 12
_DIGITS_ROOM = 26
_FACTS = (20, 24)


class Chip(NamedTuple):
    """A few words of a line; those with the highest rank go first where room is short."""

    rank: int
    spans: Line


def height(columns: int, lines: int) -> int:
    """How many lines the header takes on a terminal of this size."""
    return TALL if lines >= 32 and columns >= 96 else COMPACT


def header(
    snapshot: Snapshot, columns: int, lines: int, glyphs: Glyphs, badges: Sequence[str] = ()
) -> tuple[Line, ...]:
    """The header in `lines` lines (COMPACT or TALL) of `columns` cells."""
    marks = tuple(Span(f" {badge} ", "badge") for badge in _badges(snapshot, badges))
    if lines >= TALL and columns >= 96:
        return _tall(snapshot, columns, glyphs, marks)
    return _compact(snapshot, columns, glyphs, marks)


def _badges(snapshot: Snapshot, more: Sequence[str]) -> Sequence[str]:
    return ("DEMO", *more) if any(source.demo for source in snapshot.sources) else more


def spent(snapshot: Snapshot) -> str:
    """Dollars in the window, with their sign: $12.34, $?, $1.38+?."""
    total = snapshot.total
    if unpriced(total) or total.known_cost is None:
        return "$?"
    return f"${money(total.cost)}{'+?' if total.counters.unpriced_calls > 0 else ''}"


def _compact(snapshot: Snapshot, columns: int, glyphs: Glyphs, marks: Line) -> tuple[Line, ...]:
    total = snapshot.total
    number, more = burn(snapshot.total)
    left: Line = (
        Span(" "),
        Span(f" ${number}{more}/h ", "burn"),
        Span(_of_fleet(snapshot), "muted"),
        Span("  "),
        Span(spent(snapshot), "value"),
        Span(f" in {snapshot.view.window.value}", "muted"),
    )
    agents: Line = (
        Span("  "),
        Span(f"{si(total.agents_running)}/{si(total.agents)}", "value"),
        Span(" running", "muted"),
    )
    if width(left) + width(agents) + width(marks) <= columns:
        left += agents
    values, peak = _curve(snapshot)
    label = "" if not any(values) else f" {peak} " if columns >= 100 else f" {_whose(snapshot)}15m "
    room = columns - width(left) - width(marks) - len(label) - 2
    chart = (Span("  "), Span(area(values, room, 1, glyphs)[0], "spark"), Span(label, "muted")) if room >= 6 else ()
    first = ends((*left, *chart), marks, columns)
    return first, progress(snapshot, columns, glyphs) if snapshot.reading else _chips(_facts(snapshot, glyphs), columns)


def _facts(snapshot: Snapshot, glyphs: Glyphs) -> tuple[Chip, ...]:
    total = snapshot.total
    kinds = total.kinds_per_min
    tokens: Line = (Span(si(total.tokens_per_min), "value"), Span(" tok/m", "muted"))
    split = () if kinds is None else _split(kinds)
    errors = total.counters.errors
    down = any(source.health is Health.DOWN for source in snapshot.sources)
    return (
        Chip(1, tokens),
        Chip(4, split),
        Chip(2, (Span(known(rate(total.calls_per_min), total, "calls", glyphs), "value"), Span(" calls/m", "muted"))),
        Chip(
            0, (Span(known(si(errors), total, "errors", glyphs), "bad" if errors else "value"), Span(" err", "muted"))
        ),
        Chip(-1 if down else 3, trouble(snapshot.sources, glyphs)),
    )


def _split(kinds: Tokens) -> Line:
    parts = (("in", kinds.input), ("out", kinds.output), ("cache", kinds.cache_read + kinds.cache_write))
    return tuple(
        span
        for index, (word, number) in enumerate(parts)
        for span in (Span(f"{' ' if index else ''}{word} ", "faint"), Span(si(number), "muted"))
    )


def _chips(chips: Sequence[Chip], columns: int) -> Line:
    kept = [chip for chip in chips if chip.spans]
    while kept and 1 + sum(width(chip.spans) + 2 for chip in kept) - 2 > columns:
        kept.remove(max(kept, key=lambda chip: chip.rank))
    out: list[Span] = [Span(" ")]
    for index, chip in enumerate(kept):
        out.extend(((Span("  "),) if index else ()) + chip.spans)
    return fit(out, columns)


def rate(per_minute: float) -> str:
    """A small rate with one decimal, a large one without: 0, 0.4, 31.2, 184."""
    return f"{per_minute:.1f}" if 0 < per_minute < 99.95 else si(per_minute)


def trouble(sources: Sequence[SourceStatus], glyphs: Glyphs) -> Line:
    """The sources in a few words, what is wrong with them first."""
    down = sum(source.health is Health.DOWN for source in sources)
    skipped = sum(source.skips for source in sources)
    if down:
        return (Span(f"{glyphs.error} {down} of {len(sources)} sources down", "bad"),)
    if skipped:
        return (Span(f"{glyphs.warning} {si(skipped)} skipped", "warn"),)
    return (Span(glyphs.running, "running"), Span(f" {_count(len(sources), 'source')}", "muted"))


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _curve(snapshot: Snapshot) -> tuple[Sequence[int], str]:
    """What the chart shows, money where there is any, and what its peak is."""
    if any(snapshot.recent_cost):
        # A call lands whole in one slice of 5 s, so its rate is read over a minute of them.
        smooth = _minute(snapshot.recent_cost)
        return smooth, f"{_whose(snapshot)}15m peak ${dollars(max(smooth) * _SLICES_PER_HOUR / 1e6)}/h"
    smooth = _minute(snapshot.recent_tokens)
    return smooth, f"{_whose(snapshot)}15m peak {si(max(smooth, default=0) * _SLICES_PER_MINUTE)} tok/m"


def _whose(snapshot: Snapshot) -> str:
    return "" if snapshot.unfiltered is None else "fleet "


def _of_fleet(snapshot: Snapshot) -> str:
    """What the whole fleet spends, where a filter leaves only a part of it in the figures."""
    return "" if snapshot.unfiltered is None else f" of ${''.join(burn(snapshot.unfiltered))}"


def _minute(slices: Sequence[int]) -> tuple[int, ...]:
    span = min(_SLICES_PER_MINUTE, len(slices))
    return tuple(sum(slices[end - span : end]) // span for end in range(span, len(slices) + 1)) if span else ()


def progress(snapshot: Snapshot, columns: int, glyphs: Glyphs) -> Line:
    """How far the sources have been read."""
    busy = [source for source in snapshot.sources if source.health is Health.READING]
    done, expected = sum(source.bytes for source in busy), sum(source.expected for source in busy)
    names = ", ".join(printable(source.uri, ascii_only=glyphs.ascii_only) for source in busy)
    if expected <= 0:
        words = f"{size(done)} read" if done else "looking"
        return fit(
            (Span(" reading ", "accent"), Span(f" {words}  ", "value"), Span(names, "muted")), columns, glyphs.ellipsis
        )
    share = min(done / expected, 1.0)
    room = max(8, min(30, columns // 3))
    return fit(
        (
            Span(" reading ", "accent"),
            Span(bar(share, room, glyphs), "accent"),
            Span(f" {100 * share:3.0f}%", "value"),
            Span(f"  {size(done)} of {size(expected)}  ", "muted"),
            Span(names, "faint"),
        ),
        columns,
        glyphs.ellipsis,
    )


def _tall(snapshot: Snapshot, columns: int, glyphs: Glyphs, marks: Line) -> tuple[Line, ...]:
    number, more = burn(snapshot.total)
    figures = None if glyphs.ascii_only else big(number)
    total = snapshot.total
    errors = total.counters.errors
    kinds = total.kinds_per_min
    money_facts = (
        (spent(snapshot), f"in {snapshot.view.window.value}", "value"),
        (f"{total.agents_running}/{total.agents}", "running", "value"),
        (known(rate(total.calls_per_min), total, "calls", glyphs), "calls/min", "value"),
        (
            known(si(errors), total, "errors", glyphs),
            "error" if errors == 1 else "errors",
            "bad" if errors else "value",
        ),
    )
    token_facts = (
        (si(total.tokens_per_min), "tokens/min", "value"),
        ("" if kinds is None else si(kinds.input), "" if kinds is None else "input", "muted"),
        ("" if kinds is None else si(kinds.output), "" if kinds is None else "output", "muted"),
        (
            "" if kinds is None else si(kinds.cache_read),
            "" if kinds is None else f"cache +{si(kinds.cache_write)} new",
            "muted",
        ),
    )
    values, peak = _curve(snapshot)
    room = columns - _DIGITS_ROOM - sum(_FACTS) - 4
    chart = area(values, room, 4, glyphs)
    out: list[Line] = [EMPTY]
    for index in range(4):
        line = (
            *fit(_figure_line(figures, number, more, index, _of_fleet(snapshot)), _DIGITS_ROOM),
            *_fact(money_facts[index], 8, _FACTS[0]),
            *_fact(token_facts[index], 6, _FACTS[1]),
            Span("  "),
            Span(chart[index], f"chart-{index}"),
        )
        out.append(fit(line, columns))
    left: Line = (Span(" "), *marks, Span(" " if marks else ""))
    below = (
        progress(snapshot, columns - width(left), glyphs) if snapshot.reading else source_line(snapshot.sources, glyphs)
    )
    label = Span(f"  {peak} " if any(values) else "", "muted")
    out.append(ends((*left, *below), (label,), columns, glyphs.ellipsis))
    return tuple(out)


def _figure_line(figures: tuple[str, str, str] | None, number: str, more: str, index: int, of_fleet: str) -> Line:
    if figures is None:
        headline = (Span(" "), Span(f"${number}{more}/h", "headline"))
        return headline if index == 1 else (Span(of_fleet, "muted"),) if index == 2 else (Span(""),)
    if index < 3:
        return (Span(" "), Span(figures[index], "headline"))
    words = f"$/h{more}{of_fleet}" if of_fleet else f"$ per hour{' + unknown' if more else ''}"
    return (Span(" "), Span(words, "muted"))


def known(printed: str, total: Row, name: str, glyphs: Glyphs) -> str:
    """A counter's figure; where nothing was counted and some source cannot see it, that it is not known."""
    return glyphs.unseen if name in total.blind and not getattr(total.counters, name) else printed


def _fact(fact: tuple[str, str, str], number_room: int, room: int) -> Line:
    number, word, style = fact
    return fit((Span(f"{number:>{number_room}}", style), Span(f" {word}", "muted")), room)


def source_line(sources: Iterable[SourceStatus], glyphs: Glyphs) -> Line:
    """Each source with its state and what it skipped, those in trouble first."""
    out: list[Span] = []
    for source in sorted(sources, key=lambda source: (source.health is not Health.DOWN, source.skips == 0)):
        if out:
            out.append(Span("   "))
        out.extend(source_spans(source, glyphs))
    return tuple(out)


def health_sign(source: SourceStatus, glyphs: Glyphs) -> tuple[str, str]:
    """The sign of a source's health, and its style."""
    return {
        Health.OK: (glyphs.running, "running"),
        Health.READING: (glyphs.unknown, "accent"),
        Health.DOWN: (glyphs.error, "bad"),
    }[source.health]


def source_spans(source: SourceStatus, glyphs: Glyphs) -> Line:
    """One source: state, name, what it gave, and what it could not use and why."""
    sign, style = health_sign(source, glyphs)
    uri = printable(source.uri, 40, ascii_only=glyphs.ascii_only)
    out: list[Span] = [Span(f"{sign} ", style), Span(uri, "plain"), Span(f" {si(source.entries)} entries", "muted")]
    if source.health is Health.DOWN:
        out[-1] = Span(f" {printable(source.detail or 'down', 60, ascii_only=glyphs.ascii_only)}", "bad")
    if source.skips:
        reasons = ", ".join(
            f"{si(count)} {printable(reason, 30, ascii_only=glyphs.ascii_only)}"
            for reason, count in sorted(source.skipped.items(), key=lambda item: -item[1])
        )
        out.append(Span(f" {glyphs.warning} {si(source.skips)} skipped: {reasons}", "warn"))
    return tuple(out)
