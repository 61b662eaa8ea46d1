"""A snapshot without a screen: JSON, CSV, or the plain text of batch mode."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from clawtop import units
from clawtop.model.commands import HoldState
from clawtop.model.snapshot import Basis, Grouping, Health, Row, Snapshot, SourceStatus
from clawtop.plain import printable

SCHEMA = "clawtop/1"

_COUNTERS = (
    "calls",
    "errors",
    "retries",
    "fallbacks",
    "failed_turns",
    "aborts",
    "tool_calls",
    "tool_errors",
    "compactions",
    "resets",
    "unmetered_runs",
)


_OF_AN_AGENT = (Grouping.SESSION, Grouping.RUN)


def to_json(snapshot: Snapshot) -> str:
    """One object in one line of ASCII: no byte of a hostile name reaches a terminal unescaped."""
    return json.dumps(as_object(snapshot), ensure_ascii=True, separators=(",", ":")).replace("\x7f", "\\u007f")


def as_object(snapshot: Snapshot) -> dict[str, Any]:
    """The object of DESIGN's "command line": money in dollars, times in ISO 8601, null for what cannot be known."""
    return {
        "schema": SCHEMA,
        "at": _iso(snapshot.at),
        "window": snapshot.view.window.value,
        "group_by": snapshot.view.group_by.value,
        "sources": [_source(source) for source in snapshot.sources],
        "totals": {**_figures(snapshot.total), "blind": sorted(snapshot.total.blind)},
        "rows": [{**_names(row, snapshot.view.group_by), **_figures(row)} for row in snapshot.rows],
    }


def to_csv(snapshot: Snapshot) -> str:
    """The same rows, a header and a line each; what is unknown is an empty field."""
    flat = [dict(_flatten(row)) for row in as_object(snapshot)["rows"]]
    grouping = snapshot.view.group_by
    none = [grouping.value, *(["agent"] if grouping in _OF_AN_AGENT else [])]
    names = list(flat[0]) if flat else [*none, *(name for name, _ in _flatten(_figures(snapshot.total)))]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: printable(v) if isinstance(v, str) else v for name, v in row.items()} for row in flat)
    return text.getvalue()


def to_text(snapshot: Snapshot) -> str:
    """What `top -b` would print: a head, a line for each source, then the rows."""
    lines = [*_head(snapshot), "", *_table(snapshot)]
    return "\n".join(lines) + "\n"


def _source(source: SourceStatus) -> dict[str, Any]:
    return {
        "uri": source.uri,
        "state": source.health.value,
        "detail": source.detail,
        "entries": source.entries,
        "skipped": source.skips,
        "skipped_by_reason": dict(source.skipped),
        "bytes": source.bytes,
        "since": _iso(source.since) if source.since else None,
    }


def _names(row: Row, grouping: Grouping) -> dict[str, Any]:
    """What the row is called; a session or a run says whose it is, too."""
    owner = {"agent": row.group[1]} if grouping in _OF_AN_AGENT else {}
    return {grouping.value: row.label, **owner}


def _figures(row: Row) -> dict[str, Any]:
    counters = {name: None if name in row.blind else getattr(row.counters, name) for name in _COUNTERS}
    return {
        "host": row.host,
        "project": row.project,
        "projects": row.projects,
        "user": row.user,
        "state": row.state.value,
        "detail": row.detail,
        "hold": row.hold,
        "hold_detail": row.hold_detail,
        "model": row.model,
        **counters,
        "sessions": None if "sessions" in row.blind else row.sessions,
        "runs": None if "runs" in row.blind else row.runs,
        "agents": row.agents,
        "agents_running": row.agents_running,
        "tokens": _tokens(row),
        "cost_usd": None if row.known_cost is None else row.known_cost / 1e6,
        "cost_basis": row.basis.value,
        "unpriced_calls": row.counters.unpriced_calls,
        "rate_unpriced_calls": row.rate_unpriced,
        "rates": _rates(row),
        "context_pct": None if row.context_pct is None else round(row.context_pct, 2),
        "latency_ms": {"p50": row.latency_p50, "p95": row.latency_p95},
        "last_at": None if not row.last_at else _iso(row.last_at),
        "alerts": list(row.alerts),
    }


def _tokens(row: Row) -> dict[str, int | None]:
    unseen = "tokens" in row.blind and not row.tokens.total
    counted = {**row.tokens._asdict(), "total": row.tokens.total}
    return dict.fromkeys(counted) if unseen else dict(counted)


def _rates(row: Row) -> dict[str, float | None]:
    unseen = "tokens_per_min" in row.blind and not row.tokens_per_min
    return {
        "tokens_per_min": None if unseen else round(row.tokens_per_min, 3),
        "usd_per_hour": None if row.known_rate is None else round(row.known_rate, 6),
    }


def _flatten(figures: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}_")
        elif isinstance(value, list):
            yield f"{prefix}{name}", " ".join(map(str, value))
        else:
            yield f"{prefix}{name}", value


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _head(snapshot: Snapshot) -> list[str]:
    total = snapshot.total
    head = (
        f"clawtop - {_iso(snapshot.at)[11:19]} UTC  ${_rate(total)}/h  "
        f"{_cost(total)} in {snapshot.view.window.value}  {_tokens_per_min(total)} tokens/min  "
        f"{total.agents_running} of {total.agents} agents running  {total.counters.errors} errors"
    )
    return [head, *(_source_line(source) for source in snapshot.sources)]


def _source_line(source: SourceStatus) -> str:
    state = "DEMO" if source.demo else source.health.value
    since = f" since {_iso(source.since)[11:19]}" if source.health is Health.DOWN and source.since else ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(source.skipped.items()))
    skipped = f"  skipped {source.skips}: {reasons}" if source.skips else ""
    return printable(f"{state}{since}  {source.uri}  {source.detail}{skipped}", 1000)


def _cost(row: Row) -> str:
    if row.known_cost is None:
        return "?" if row.basis is Basis.UNKNOWN else "–"
    return f"${units.known_part(row.known_cost / 1e6, partly=row.counters.unpriced_calls > 0)}"


def _rate(row: Row) -> str:
    if row.known_rate is None and row.rate_basis is not Basis.UNKNOWN:
        return "–"
    return units.known_part(row.known_rate, partly=row.rate_unpriced > 0)


def _tokens_per_min(row: Row) -> str:
    unseen = "tokens_per_min" in row.blind and not row.tokens_per_min
    return "–" if unseen else units.si(row.tokens_per_min)


def _count(name: str) -> Callable[[Row], str]:
    return lambda row: "–" if name in row.blind else units.si(getattr(row.counters, name))


def _state(row: Row) -> str:
    """The agent's state; where we hold it that of the hold, which a report reads and does not verify."""
    return "held?" if row.hold == HoldState.REQUESTED else row.hold or row.state.value


_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("STATE", _state),
    ("$/H", _rate),
    ("COST", _cost),
    ("TOK/MIN", _tokens_per_min),
    ("INPUT", lambda row: units.si(row.tokens.input)),
    ("OUTPUT", lambda row: units.si(row.tokens.output)),
    ("CACHE", lambda row: units.si(row.tokens.cache_read + row.tokens.cache_write)),
    ("CALLS", _count("calls")),
    ("RETRY", _count("retries")),
    ("FALLB", _count("fallbacks")),
    ("ERR", _count("errors")),
    ("TOOLS", _count("tool_calls")),
    ("P95", lambda row: "–" if row.latency_p95 is None else units.duration(row.latency_p95)),
    ("PROJECT", lambda row: printable(row.project or "–", 24)),
    ("MODEL", lambda row: printable(row.model or "–", 32)),
)
_LEFT = ("AGENT", "STATE", "HOST", "PROJECT", "MODEL")


def _columns(snapshot: Snapshot) -> tuple[tuple[str, Callable[[Row], str]], ...]:
    columns = _COLUMNS
    if snapshot.several_hosts and snapshot.view.group_by is not Grouping.HOST:
        columns = (("HOST", lambda row: printable(row.host or "–", 24)), *columns)
    if snapshot.view.group_by in _OF_AN_AGENT:
        columns = (("AGENT", lambda row: printable(row.group[1], 32)), *columns)
    return columns


def _table(snapshot: Snapshot) -> list[str]:
    columns = _columns(snapshot)
    names = [snapshot.view.group_by.value.upper(), *(name for name, _ in columns)]
    cells = [[printable(row.label, 40), *(print_cell(row) for _, print_cell in columns)] for row in snapshot.rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    return [_line(names, names, widths), *(_line(names, row, widths) for row in cells)]


def _line(names: list[str], cells: list[str], widths: list[int]) -> str:
    placed = (
        cell.ljust(width) if place == 0 or name in _LEFT else cell.rjust(width)
        for place, (name, cell, width) in enumerate(zip(names, cells, widths, strict=True))
    )
    return "  ".join(placed).rstrip()
