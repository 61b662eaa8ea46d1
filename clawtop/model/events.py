"""What happened. A source yields these, the fleet folds them.

Every event that counts carries `id`, its identity within (host, agent): the fleet counts an id once, whichever
file, table or session it is read from again. `at` is Unix milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from clawtop.model.keys import Key

SOON_MS = 60_000
"""How far ahead of now a moment may lie: one further ahead comes from a clock that is wrong, and is taken for now."""


class Tokens(NamedTuple):
    """Token buckets of one call; `input` excludes what was read from or written to the cache."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def total(self) -> int:
        """All four buckets."""
        return self.input + self.output + self.cache_read + self.cache_write

    @property
    def context(self) -> int:
        """Tokens the model had before it when it answered."""
        return self.input + self.cache_read + self.cache_write


@dataclass(frozen=True, slots=True)
class Call:
    """A model answered, or an attempt failed (`error` is set).

    It counts as a call where any token bucket is above 0, and as an error where `error` is set.
    `cost` is micro-dollars as the source logged them, None where it logged none.
    `latency` is milliseconds from request to answer; `window` the model's context window in tokens.
    `cache_write_1h` is how many of `tokens.cache_write` were written to be kept for an hour, which costs more.
    """

    key: Key
    at: int
    id: str
    provider: str
    model: str
    tokens: Tokens = Tokens()
    cost: int | None = None
    latency: int | None = None
    window: int | None = None
    stop: str | None = None
    error: str | None = None
    cache_write_1h: int = 0


@dataclass(frozen=True, slots=True)
class Increase:
    """Counters grew by this much, of which no single call is known: what a metric or another counter tells.

    `cost` is micro-dollars, 0 where another Increase tells it, None where nothing does: the tokens then have their
    list price; `unpriced_calls` are those that are known to have none, whose tokens no cost covers. `latencies` are
    (milliseconds, how many). A counter's first value stands at the counter's start.
    An Increase whose numbers are negative takes back, at the same `at`, what proved to be somebody else's; one that
    is `provisional` may be taken back.
    """

    key: Key
    at: int
    id: str
    provider: str = ""
    model: str = ""
    tokens: Tokens = Tokens()
    cost: int | None = 0
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
    latencies: tuple[tuple[int, int], ...] = ()
    cache_write_1h: int = 0
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run reached the model once, whether it succeeded or not: what makes a run count as one."""

    key: Key
    at: int
    id: str
    provider: str
    model: str


class Resolution(StrEnum):
    """What followed a failed attempt of a turn."""

    RETRY = "retry"
    FALLBACK = "fallback"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Resolved:
    """What became of the failed attempt `id` (a Call's id): key, at, provider and model are that attempt's.

    `tentative` says that nothing followed so far and the turn seems over; a later Resolved of the same id
    takes its place. `to` is the model that a fallback went to, `provider/model`.
    """

    key: Key
    at: int
    id: str
    provider: str
    model: str
    how: Resolution
    to: str | None = None
    tentative: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model asked for a tool."""

    key: Key
    at: int
    id: str
    provider: str
    model: str
    tool: str


@dataclass(frozen=True, slots=True)
class ToolError:
    """A tool's result was an error."""

    key: Key
    at: int
    id: str
    tool: str


@dataclass(frozen=True, slots=True)
class Compaction:
    """A session's context was compacted, or with `reset` thrown away."""

    key: Key
    at: int
    id: str
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Aborted:
    """A run was cut off; `id` is the run's where the source knows it."""

    key: Key
    at: int
    id: str


@dataclass(frozen=True, slots=True)
class Unmetered:
    """A run whose model spend no transcript shows; `id` is the run's."""

    key: Key
    at: int
    id: str


class State(StrEnum):
    """An agent's own state. `error`: its last finished run failed or timed out; a killed one is idle."""

    RUNNING = "running"
    IDLE = "idle"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SessionState:
    """What a session of an agent does from `at` on. `running` is only said with a live owner.

    A `key.session` of None speaks of the whole agent and makes it appear though it has spent nothing yet.
    `tool` is what runs now, `detail` the last error.
    """

    key: Key
    at: int
    state: State
    detail: str | None = None
    tool: str | None = None


class Price(NamedTuple):
    """Micro-dollars per million tokens of each bucket."""

    input: int
    output: int
    cache_read: int
    cache_write: int


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices a gateway's own config states for its agents, by (provider, model).

    All zeros mean free; a model that is missing has no known price. `agents` are those of the gateway, as several may
    be on one host; None where all of the host are its own.
    """

    host: str
    prices: Mapping[tuple[str, str], Price]
    agents: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """A run's announcement, before its first call: what it may cost and what it is for."""

    key: Key
    at: int
    id: str
    budget: int | None = None
    max_retries: int | None = None
    route: str | None = None
    stop_rule: str | None = None
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A judgement on a run: accepted, rejected or abandoned."""

    key: Key
    at: int
    id: str
    status: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Blind:
    """What the sources of an agent cannot see: names of Row and Counters fields that are then not known.

    Of `key` only host and agent count; fields told at different times add up.
    """

    key: Key
    fields: frozenset[str]


Event = (
    Call
    | Increase
    | Attempt
    | Resolved
    | ToolCall
    | ToolError
    | Compaction
    | Aborted
    | Unmetered
    | SessionState
    | PriceList
    | Declared
    | Outcome
    | Blind
)
