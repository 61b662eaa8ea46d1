"""What `clawtop doctor` says: what was looked for, what was found there, and what it can tell."""

from collections.abc import Sequence

from clawtop import units
from clawtop.model.snapshot import Health, Snapshot, SourceStatus
from clawtop.plain import printable

_PROTOCOL = "protocol "
_LOCAL = ("claude:", "codex:")
_MARKS = {Health.OK: "ok", Health.READING: "still reading", Health.DOWN: "DOWN"}


def examine(snapshot: Snapshot, *, named: bool, absent: Sequence[str] = ()) -> str:
    """Plain text, a paragraph for each source and one for the fleet as a whole; `absent` was looked for, too."""
    lines = ["clawtop doctor", ""]
    for source in snapshot.sources:
        lines += [*_source(source), ""]
    if absent:
        lines += [*(printable(f"{uri}: not there", 1000) for uri in absent), ""]
    lines += _fleet(snapshot)
    if not named and not snapshot.rows:
        lines += [
            "Nothing was found. Name what to read:",
            "  clawtop -s openclaw:DIR     OpenClaw's state directory (where agents/ lies)",
            "  clawtop -s claude:DIR       Claude Code's folder (where projects/ lies); codex:DIR is Codex's",
            "  clawtop -s events:PATH      JSON lines of usage events, a file, a folder, or - for standard input",
            "  clawtop demo                a made-up fleet, to see the screen",
        ]
    return "\n".join(lines) + "\n"


def _source(source: SourceStatus) -> list[str]:
    lines = [
        printable(f"{source.uri}: {_MARKS[source.health]}", 1000),
        f"  {printable(source.detail, 1000)}",
        f"  {source.entries:,} entries read, {units.size(source.bytes)}",
    ]
    lines += [f"  skipped {count:,}: {printable(reason)}" for reason, count in sorted(source.skipped.items())]
    return lines


def _fleet(snapshot: Snapshot) -> list[str]:
    total = snapshot.total
    blind = ", ".join(sorted(total.blind)) or "none"
    agents = "agent" if len(snapshot.rows) == 1 else "agents"
    return [
        f"{len(snapshot.rows)} {agents}, {total.counters.calls:,} calls, {total.tokens.total:,} tokens",
        f"{units.exact_money(total.cost)} ({total.basis.value}) in the window {snapshot.view.window.value}",
        f"calls without a known price: {total.counters.unpriced_calls:,}",
        f"counters some agent's source cannot fill: {blind}",
        f"pausing: {_pausing(snapshot)}",
        "",
    ]


def _pausing(snapshot: Snapshot) -> str:
    """Whether agents can be stopped from here."""
    local = any(source.uri.startswith(_LOCAL) for source in snapshot.sources)
    by_processes = ["; Claude Code and Codex by stopping their processes"] if local else []
    return "".join([_by_gateways(snapshot), *by_processes])


def _by_gateways(snapshot: Snapshot) -> str:
    gateways = [source for source in snapshot.sources if source.uri.startswith("gateway:")]
    reached = [source.uri for source in gateways if _PROTOCOL in source.detail]
    if reached:
        names = ", ".join(printable(uri) for uri in reached)
        return f"by {names}, reached with operator.read; operator.admin is asked for only while acting"
    return (
        "no gateway can be reached"
        if gateways
        else "no gateway was found; [[control.process]] and [[control.hook]] in the config can stop others"
    )
