"""What a view sees: one frozen object, made by the engine, read by screens and reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from clawtop.model.events import State, Tokens
from clawtop.model.keys import Key
from clawtop.model.selection import Filter, Scope, everything


class Window(StrEnum):
    """How far back a row counts."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    H1 = "1h"
    H24 = "24h"
    D7 = "7d"
    ALL = "all"

    @property
    def seconds(self) -> int | None:
        """Its length in seconds, None for all."""
        return _SECONDS[self]


_SECONDS = {
    Window.M1: 60,
    Window.M5: 300,
    Window.M15: 900,
    Window.H1: 3600,
    Window.H24: 86400,
    Window.D7: 604800,
    Window.ALL: None,
}


class Grouping(StrEnum):
    """What a row stands for."""

    AGENT = "agent"
    PROJECT = "project"
    USER = "user"
    OWNER = "owner"
    MODEL = "model"
    PROVIDER = "provider"
    SESSION = "session"
    RUN = "run"
    TASK = "task"
    CRON = "cron"
    HOST = "host"
    ENVIRONMENT = "environment"


OF_ONE_AGENT = (Grouping.AGENT, Grouping.SESSION, Grouping.RUN)
"""Groupings whose rows are each of one agent: only these show its hold."""


class Basis(StrEnum):
    """Where a row's money comes from. `unknown`: no call of it has a price."""

    LOGGED = "logged"
    PRICED = "priced"
    MIXED = "mixed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class View:
    """What to show: the engine makes its snapshots for one view at a time."""

    window: Window = Window.H1
    group_by: Grouping = Grouping.AGENT
    filter: Filter = everything
    scope: Scope = Scope()
    sort: str = "usd_per_hour"
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Counters:
    """What is counted, as DESIGN's table "What each number counts" defines it."""

    calls: int = 0
    errors: int = 0
    retries: int = 0
    fallbacks: int = 0
    failed_turns: int = 0
    aborts: int = 0
    tool_calls: int = 0
    tool_errors: int = 0
    compactions: int = 0
    resets: int = 0
    unmetered_runs: int = 0
    unpriced_calls: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Money is integer micro-dollars, times are Unix milliseconds.

    `group` identifies the row whatever the order of the table; `label` is what to print for it.
    `blind` names the fields this row's sources cannot know: they are null in JSON and – on the screen.
    `runs` is None where no source of the row has runs. `cost` is the part that is known: where `unpriced_calls`
    is above 0 the sum is `cost` and something more; where `basis` is unknown it says nothing. The same are
    `usd_per_hour`, `rate_unpriced` and `rate_basis` to the minutes that rates are taken over. `agent` is its name
    where the row is of one.
    `spark` is tokens per slice of the window, oldest first. `hold` is ours, `state` the agent's.
    `kinds_per_min` splits `tokens_per_min` into its buckets, whole tokens; None where nobody did.
    A row that did not change is the same object from one snapshot to the next.
    """

    group: tuple[str, ...]
    label: str
    host: str
    project: str | None
    projects: int
    user: str | None
    state: State
    model: str | None
    counters: Counters
    tokens: Tokens
    cost: int
    basis: Basis
    sessions: int
    runs: int | None
    tokens_per_min: float
    usd_per_hour: float
    calls_per_min: float
    context_pct: float | None
    latency_p50: int | None
    latency_p95: int | None
    first_at: int | None
    last_at: int | None
    spark: tuple[int, ...] = ()
    agents: int = 1
    agents_running: int = 0
    hold: str | None = None
    hold_detail: str | None = None
    detail: str | None = None
    alerts: tuple[str, ...] = ()
    blind: frozenset[str] = frozenset()
    kinds_per_min: Tokens | None = None
    agent: str | None = None
    rate_unpriced: int = 0
    rate_basis: Basis = Basis.LOGGED

    @property
    def known_cost(self) -> int | None:
        """The part of the cost that is known in micro-dollars, None where nothing at all is."""
        unseen = "cost" in self.blind and not self.cost
        return None if unseen or self.basis is Basis.UNKNOWN else self.cost

    @property
    def known_rate(self) -> float | None:
        """The part of the dollars per hour that is known, None where nothing at all is."""
        unseen = "usd_per_hour" in self.blind and not self.usd_per_hour
        return None if unseen or self.rate_basis is Basis.UNKNOWN else self.usd_per_hour


class Rate(NamedTuple):
    """What is spent per hour, in which these names mean what they mean in Row."""

    usd_per_hour: float
    rate_unpriced: int = 0
    rate_basis: Basis = Basis.LOGGED


class Health(StrEnum):
    """How a source does: still reading what is there, up to date, or not readable."""

    READING = "reading"
    OK = "ok"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A source as its user sees it.

    `entries` it yielded, `skipped` it could not use (by reason), `bytes` it has read and `expected` in all,
    `since` when it took on this health. `demo` says that its figures are made up.
    """

    uri: str
    health: Health = Health.READING
    detail: str = ""
    entries: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    expected: int = 0
    since: int = 0
    demo: bool = False

    @property
    def skips(self) -> int:
        """Entries skipped, whatever the reason."""
        return sum(self.skipped.values())


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that went wrong: `what` is error, fallback, failed turn, abort or compaction."""

    at: int
    key: Key
    what: str
    model: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The fleet at one moment, for one view.

    `rows` are sorted and filtered, `total` sums them, `hidden` counts the rows that the filter left out.
    `recent_tokens` and `recent_cost` (micro-dollars) are the whole scope's last 15 minutes in slices of 5 s,
    oldest first, whatever the window. `unfiltered` is what the whole scope spends, None where no filter takes any
    away and `total` is just that. `incidents` are the latest errors and what followed them, newest first.
    """

    at: int
    view: View
    rows: tuple[Row, ...]
    total: Row
    sources: tuple[SourceStatus, ...]
    hidden: int = 0
    recent_tokens: tuple[int, ...] = ()
    recent_cost: tuple[int, ...] = ()
    incidents: tuple[Incident, ...] = ()
    unfiltered: Rate | None = None

    @property
    def fleet(self) -> Row | Rate:
        """What the whole scope spends per hour, whatever a filter leaves of it."""
        return self.total if self.unfiltered is None else self.unfiltered

    @property
    def reading(self) -> bool:
        """Whether some source has not yet read what was there at the start."""
        return any(source.health is Health.READING for source in self.sources)

    @property
    def several_hosts(self) -> bool:
        """Whether its rows come from more than one host."""
        return self.total.agents > 1 and not self.total.host
