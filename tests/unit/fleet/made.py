"""Small hand-made events, and hypothesis strategies that make many."""

from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import strategies as st

from clawtop.fleet.fleet import Fleet
from clawtop.fleet.prices import PriceBook, Rates
from clawtop.fleet.store import Limits
from clawtop.model.events import (
    Aborted,
    Attempt,
    Call,
    Compaction,
    Event,
    Price,
    PriceList,
    Resolution,
    Resolved,
    SessionState,
    State,
    Tokens,
    ToolCall,
    ToolError,
    Unmetered,
)
from clawtop.model.keys import Key
from clawtop.model.snapshot import Grouping, Row, Snapshot, View, Window

NOW = 1_800_000_000_123
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
CODER = Key("local", "coder", "s1", "r1", project="api")

LISTED = Price(3_000_000, 15_000_000, 300_000, 3_750_000)


def catalogue(provider: str, model: str) -> Callable[[int], tuple[Rates, ...]] | None:
    """A list in which only listed/* is listed."""
    return (lambda _: (Rates(-1, LISTED, 6_000_000),)) if provider == "listed" else None


def fleet(*events: Event, limits: Limits | None = None) -> Fleet:
    made = Fleet(PriceBook(catalogue), limits or Limits())
    for event in events:
        made.fold(event)
    return made


def call(name: str, ago: int = SECOND, key: Key = CODER, **fields: Any) -> Call:
    """A call that cost 1,000 micro-dollars `ago` milliseconds before NOW."""
    given = {"provider": "mock", "model": "normal", "tokens": Tokens(100, 10), "cost": 1000, **fields}
    return Call(key, NOW - ago, name, **given)


def failed(name: str, ago: int = SECOND, key: Key = CODER, model: str = "normal") -> Call:
    return Call(key, NOW - ago, name, "mock", model, error="429 too many")


def resolved(name: str, how: Resolution, ago: int = SECOND, key: Key = CODER, **fields: Any) -> Resolved:
    return Resolved(key, NOW - ago, name, "mock", "normal", how, **fields)


def shot(made: Fleet, window: Window = Window.H1, group_by: Grouping = Grouping.AGENT, **view: Any) -> Snapshot:
    return made.snapshot(View(window, group_by, **view), NOW)


def only(made: Fleet, window: Window = Window.H1, group_by: Grouping = Grouping.AGENT, **view: Any) -> Row:
    (row,) = shot(made, window, group_by, **view).rows
    return row


_AGES = [0, 1, 59_000, 61_000, 300_000, 900_000, HOUR, DAY, 7 * DAY, 40 * DAY, -5_000, -HOUR]
_SPANS = [MINUTE, 20 * MINUTE, 30 * HOUR, 60 * DAY]
_MODELS = [("mock", "normal"), ("mock2", "nocost"), ("listed", "big"), ("priced", "x"), ("", "bare")]
_KINDS = ["call", "call", "call", "failed", "failed", "attempt", "tool", "state", "other"]
_PRICES = PriceList(
    "local", {("priced", "x"): Price(1_500_000, 7_300_001, 10, 0), ("listed", "big"): Price(0, 0, 0, 0)}
)


def _some_key(dice: Random) -> Key:
    pick = dice.choice
    return Key(
        host=pick(["local", "far"]),
        agent=pick(["coder", "main", "ops"]),
        session=pick([None, "s1", "s2", "s3"]),
        run=pick([None, "r1", "r2"]),
        project=pick([None, "api", "web"]),
        user=pick([None, "ann", "bob"]),
        owner=pick([None, "team"]),
        environment=pick([None, "prod"]),
        task=pick([None, "t1"]),
        cron=pick([None, "nightly"]),
        session_key=pick([None, "agent:x:main", "agent:x:cron:nightly:run:1"]),
    )


def _some_events(number: int, seed: int) -> list[Event]:
    """An event whose id is its number, sometimes with the events that belong to it."""
    dice = Random(seed)  # noqa: S311  # a test history, no secret
    pick = dice.choice
    key, (provider, model), name = _some_key(dice), pick(_MODELS), f"e{number}"
    at = pick([0, NOW - pick(_AGES), *(NOW - dice.randrange(span) for span in _SPANS)])
    match pick(_KINDS):
        case "call":
            tokens = Tokens(*(pick([0, dice.randrange(300_000)]) for _ in range(4)))
            cost, latency = pick([None, dice.randrange(10**7)]), pick([None, dice.randrange(10**6)])
            return [Call(key, at, name, provider, model, tokens, cost, latency, pick([None, 200_000, 1_000_000]))]
        case "failed":
            final = Resolved(key, at, name, provider, model, pick(list(Resolution)), "mock2/other")
            guess = Resolved(key, at, name, provider, model, Resolution.FAILED, tentative=True)
            with_these: list[Event] = pick([[final], [guess], [final, guess], []])
            return [Call(key, at, name, provider, model, error="429"), *with_these]
        case "attempt":
            return [Attempt(key, at, name, provider, model)]
        case "tool":
            return [ToolCall(key, at, name, provider, model, "exec"), ToolError(key, at, name, "exec")]
        case "state":
            return [SessionState(key, NOW - 100_000 + number, pick(list(State)), pick([None, "boom"]))]
    others: list[Event] = [Aborted(key, at, name), Unmetered(key, at, name), Compaction(key, at, name)]
    return [pick(others)]


@st.composite
def histories(draw: st.DrawFn, size: int = 25) -> list[Event]:
    """Events of one history; the prices of a config are told somewhere among them."""
    seeds = draw(st.lists(st.integers(0, 2**32), min_size=1, max_size=size))
    events = [event for number, seed in enumerate(seeds) for event in _some_events(number, seed)]
    events.insert(draw(st.integers(0, len(events))), _PRICES)
    return events
