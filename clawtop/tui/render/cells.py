"""What stands in one cell of the fleet table: a row's figures as short text with a style name, never padded."""

import re
from collections.abc import Callable
from typing import NamedTuple

from rich.cells import cell_len

from clawtop.model.events import State
from clawtop.model.snapshot import Basis, Rate, Row
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.graph import bar, sparkline
from clawtop.tui.render.line import Line, Span
from clawtop.tui.render.plain import cut, middle, printable, tail
from clawtop.units import age, dollars, duration, money, percent, si

SHARE_STEPS = 48
"""A share of the fleet's spend is told in this many steps: what differs less looks the same and is not redrawn."""

_HOT, _WARM, _MILD = 0.25, 0.10, 0.03


class Look(NamedTuple):
    """A row as it looks now; two equal looks of one width draw the same line.

    `share` is its part of the fleet's spend per hour in SHARE_STEPS, `age` how long ago it did something.
    """

    row: Row
    share: int
    age: str


Cell = Callable[[Look, int, Glyphs], Line]
"""Draws one cell of a row for a column of so many cells."""


def look(row: Row, fleet: Row | Rate, at: int, glyphs: Glyphs) -> Look:
    """How `row` looks in a fleet that spends so much, at the time `at` (Unix ms)."""
    whole = fleet.usd_per_hour
    share = min(row.usd_per_hour / whole, 1.0) if whole > 0 else 0.0
    steps = max(1, round(share * SHARE_STEPS)) if share > 0 else 0
    return Look(row, steps, glyphs.unseen if row.last_at is None else age(at - row.last_at))


def heat(share: int) -> str:
    """The style of what takes this share of the fleet's spend, "" where it is nothing to look at."""
    part = share / SHARE_STEPS
    return "hot" if part >= _HOT else "warm" if part >= _WARM else "mild" if part >= _MILD else ""


_WORDS = {
    State.RUNNING: ("running", "run", "running"),
    State.IDLE: ("idle", "idle", "idle"),
    State.ERROR: ("error", "err", "bad"),
    State.UNKNOWN: ("unknown", "?", "muted"),
}
_HOLDS = {
    "requested": (("requested", "asked", "ask"), "warn"),
    "stopping": (("stopping", "stop"), "warn"),
    "paused": (("paused", "held"), "held"),
    "failed": (("failed", "fail"), "bad"),
    "unsupported": (("unsupported", "no hold", "n/a"), "bad"),
}
_TOOK = re.compile(r"(\d{1,9}) ms\b")


def state(at: Look, width: int, glyphs: Glyphs) -> Line:
    """Glyph and word of the hold where there is one, else of the agent's own state."""
    row = at.row
    if row.hold is not None:
        words, style = _HOLDS.get(row.hold, (("hold",), "warn"))
        sign = glyphs.error if style == "bad" else glyphs.held
        took = _TOOK.match(row.hold_detail or "") if row.hold == "paused" else None
        if took is not None:
            words = (f"paused {duration(int(took[1]))}", *words)
    else:
        full, short, style = _WORDS[row.state]
        words = (full, short)
        sign = getattr(glyphs, row.state.value)
    if width <= 1:
        return (Span(sign, style),)
    word = next((word for word in words if len(word) + 2 <= width), words[-1])
    return (Span(f"{sign} {word}", style),)


def quiet(row: Row) -> bool:
    """Whether the row neither runs nor spends now."""
    return row.state is not State.RUNNING and row.usd_per_hour <= 0 and row.tokens_per_min <= 0


def name(at: Look, width: int, glyphs: Glyphs) -> Line:
    """The row's label, with a sign behind it where an alert is up. Sessions and runs differ at their ends."""
    return _named(at, at.row.label, middle if len(at.row.group) > 2 else cut, width, glyphs)


def session_of_agent(at: Look, width: int, glyphs: Glyphs) -> Line:
    """A session where its agent is named anyway: without the agent's name in its own."""
    label = at.row.label.removeprefix(f"agent:{at.row.agent}:") or at.row.label
    return _named(at, label, middle, width, glyphs)


def model_name(at: Look, width: int, glyphs: Glyphs) -> Line:
    """A row that stands for a model, shortened as models are."""
    return _named(at, at.row.label, _shortened_model, width, glyphs)


def _named(at: Look, label: str, shorten: Callable[[str, int, str], str], width: int, glyphs: Glyphs) -> Line:
    room = width - 2 if at.row.alerts else width
    shown = shorten(printable(label or "(none)", ascii_only=glyphs.ascii_only), room, glyphs.ellipsis)
    style = "held" if at.row.hold == "paused" else "quiet" if quiet(at.row) else "name"
    return (Span(shown, style), Span(f" {glyphs.warning}", "bad")) if at.row.alerts else (Span(shown, style),)


def agent(at: Look, width: int, glyphs: Glyphs) -> Line:
    """Whose session or run it is."""
    return _word(at.row.group[1] if len(at.row.group) > 2 else None, width, glyphs)


def host(at: Look, width: int, glyphs: Glyphs) -> Line:
    """The machine or gateway that it comes from; a row of several has none."""
    return _word(at.row.host or None, width, glyphs)


def project(at: Look, width: int, glyphs: Glyphs) -> Line:
    """The project with most of the spend, and how many others there are."""
    others = f" +{at.row.projects - 1}" if at.row.projects > 1 else ""
    return _word(at.row.project, width, glyphs, others)


def user(at: Look, width: int, glyphs: Glyphs) -> Line:
    """Who the agent worked for."""
    return _word(at.row.user, width, glyphs)


_DATE = re.compile(r"-20\d{6}$")


def model(at: Look, width: int, glyphs: Glyphs) -> Line:
    """The model: with its provider where there is room, else its own name, else that without its date, else the end."""
    full = at.row.model
    if full is None:
        return (Span(glyphs.unseen, "faint"),)
    shown = printable(full, ascii_only=glyphs.ascii_only)
    return (Span(_shortened_model(shown, width, glyphs.ellipsis), "muted"),)


def _shortened_model(full: str, width: int, ellipsis: str) -> str:
    shown = full if cell_len(full) <= width else full.rsplit("/", 1)[-1] or full
    return shown if cell_len(shown) <= width else tail(_DATE.sub("", shown), width, ellipsis)


def _word(word: str | None, width: int, glyphs: Glyphs, more: str = "") -> Line:
    if word is None:
        return (Span(glyphs.unseen, "faint"),)
    shown = printable(word, ascii_only=glyphs.ascii_only)
    return (Span(cut(shown, width - len(more), glyphs.ellipsis), "muted"), Span(more, "faint"))


def unpriced(row: Row) -> bool:
    """Whether nothing at all is known about what the row costs."""
    return row.basis is Basis.UNKNOWN and (row.counters.unpriced_calls > 0 or row.counters.calls > 0)


def rate_unknown(row: Row | Rate) -> bool:
    """Whether nothing at all is known about what it spends now: an old call without a price spends nothing any more."""
    return row.rate_basis is Basis.UNKNOWN and row.rate_unpriced > 0


def burn(row: Row | Rate) -> tuple[str, str]:
    """Dollars per hour as a number, ? where nothing at all is known, and what to add where some calls have no price."""
    if rate_unknown(row) or (isinstance(row, Row) and row.known_rate is None):
        return "?", ""
    return dollars(row.usd_per_hour), "+?" if row.rate_unpriced > 0 else ""


def usd_per_hour(at: Look, width: int, glyphs: Glyphs) -> Line:
    """Dollars per hour over the last minutes; large ones that are partly unknown without their decimals."""
    row = at.row
    if "usd_per_hour" in row.blind:
        return (Span(glyphs.unseen, "faint"),)
    amount, more = burn(row)
    if len(amount) + len(more) > width:
        amount = si(row.usd_per_hour)
    style = "muted" if amount == "?" else heat(at.share) or ("value" if row.usd_per_hour > 0 else "faint")
    return (Span(amount, style), Span(more, "muted")) if more else (Span(amount, style),)


def share(at: Look, width: int, glyphs: Glyphs) -> Line:
    """The row's part of the fleet's spend as a bar; what is less than a fiftieth has none."""
    if at.share < 2:
        return ()
    return (Span(bar(at.share / SHARE_STEPS, width, glyphs).rstrip(), heat(at.share) or "muted"),)


def cost(at: Look, _width: int, glyphs: Glyphs) -> Line:
    """Dollars in the window; `?` where no price is known, `1.38+?` where some are not."""
    row = at.row
    if "cost" in row.blind:
        return (Span(glyphs.unseen, "faint"), Span("  "))
    if unpriced(row):
        return (Span("?", "muted"), Span("  "))
    amount = Span(money(row.cost), "value" if row.cost > 0 else "faint")
    return (amount, Span("+?", "muted") if row.counters.unpriced_calls > 0 else Span("  "))


def tokens_per_min(at: Look, _width: int, glyphs: Glyphs) -> Line:
    """Tokens per minute over the last minutes."""
    return _number("tokens_per_min", at.row.tokens_per_min, at.row, glyphs)


def trend(at: Look, width: int, glyphs: Glyphs) -> Line:
    """Tokens over the window."""
    return (Span(sparkline(at.row.spark, width, glyphs), "quiet-spark" if quiet(at.row) else "spark"),)


def tokens_in(at: Look, _width: int, glyphs: Glyphs) -> Line:
    """Input tokens, without what the cache saved."""
    return _number("input", at.row.tokens.input, at.row, glyphs)


def tokens_out(at: Look, _width: int, glyphs: Glyphs) -> Line:
    """Output tokens."""
    return _number("output", at.row.tokens.output, at.row, glyphs)


def cache_share(row: Row) -> float | None:
    """Hundredths of what the model read that came from the cache, None where it read nothing."""
    return None if row.tokens.context == 0 else 100 * row.tokens.cache_read / row.tokens.context


def cache(at: Look, _width: int, glyphs: Glyphs) -> Line:
    """The cache's share of what the model read."""
    part = None if "cache_read" in at.row.blind else cache_share(at.row)
    return (Span(glyphs.unseen, "faint"),) if part is None else (Span(percent(part), "muted"),)


def context(at: Look, _width: int, glyphs: Glyphs) -> Line:
    """How full the context is."""
    full = at.row.context_pct
    if full is None or "context_pct" in at.row.blind:
        return (Span(glyphs.unseen, "faint"),)
    if quiet(at.row):
        return (Span(percent(full), "faint"),)
    return (Span(percent(full), "bad" if full >= 90 else "warm" if full >= 75 else "muted"),)


def counter(field: str, loud: str = "value") -> Cell:
    """The cell of a counter, in the style `loud` where it is above 0."""

    def draw(at: Look, _width: int, glyphs: Glyphs) -> Line:
        return _number(field, getattr(at.row.counters, field), at.row, glyphs, loud)

    return draw


def agents(at: Look, _width: int, glyphs: Glyphs) -> Line:
    """Running agents of all."""
    row = at.row
    style = "running" if row.agents_running else "muted"
    return (Span(f"{si(row.agents_running)}/{si(row.agents)}", style),) if row.agents else (Span(glyphs.unseen),)


def sessions(at: Look, _width: int, glyphs: Glyphs) -> Line:
    """Sessions with at least one call."""
    return _number("sessions", at.row.sessions, at.row, glyphs)


def latency(at: Look, _width: int, glyphs: Glyphs) -> Line:
    """The 95th percentile of how long a model took."""
    slow = at.row.latency_p95
    return (Span(glyphs.unseen, "faint"),) if slow is None else (Span(duration(slow), "muted"),)


def last(at: Look, _width: int, _glyphs: Glyphs) -> Line:
    """How long ago it did something."""
    return (Span(at.age, "muted"),)


def _number(field: str, number: float | None, row: Row, glyphs: Glyphs, loud: str = "value") -> Line:
    if number is None or field in row.blind:
        return (Span(glyphs.unseen, "faint"),)
    return (Span(si(number), loud if round(number) else "faint"),)
