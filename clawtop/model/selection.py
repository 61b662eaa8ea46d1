"""Which rows and which spend a view shows: filter expressions and scopes."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from clawtop.model.errors import UsageError
from clawtop.model.keys import Key

if TYPE_CHECKING:
    from clawtop.model.snapshot import Grouping, Row

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_TERM = re.compile(r"(?P<field>[a-z_0-9/$]+)(?P<op>>=|<=|>|<|=|:)(?P<value>.*)", re.DOTALL)


def _text(name: str) -> Callable[["Row"], str]:
    return lambda row: str(getattr(row, name) or "")


def _count(name: str) -> Callable[["Row"], float | None]:
    return lambda row: None if name in row.blind else float(getattr(row.counters, name))


def _seen(name: str, number: Callable[["Row"], float | None]) -> Callable[["Row"], float | None]:
    """The number, None where it is 0 because no source of the row sees it."""

    def known(row: "Row") -> float | None:
        value = number(row)
        return None if not value and name in row.blind else value

    return known


def _cost(row: "Row") -> float | None:
    return None if row.known_cost is None else row.known_cost / 1e6


def _cached(row: "Row") -> float | None:
    return 100 * row.tokens.cache_read / row.tokens.context if row.tokens.context else None


TEXTS: dict[str, Callable[["Row"], str]] = {
    "agent": _text("agent"),
    "name": lambda row: row.label,
    "project": _text("project"),
    "user": _text("user"),
    "model": _text("model"),
    "host": _text("host"),
    "state": _text("state"),
    "hold": _text("hold"),
}
"""What `word:value` can ask for: the value is looked for in that text. A row of several agents has no `agent`."""

_WORDS = tuple(TEXTS[name] for name in ("name", "agent", "project", "user", "model"))
"""Where a plain word is looked for."""

NUMBERS: dict[str, Callable[["Row"], float | None]] = {
    "cost": _cost,
    "usd_per_hour": lambda row: row.known_rate,
    "tokens": _seen("tokens", lambda row: float(row.tokens.total)),
    "tokens_per_min": _seen("tokens_per_min", lambda row: row.tokens_per_min),
    "input": _seen("input", lambda row: float(row.tokens.input)),
    "output": _seen("output", lambda row: float(row.tokens.output)),
    "cache": _seen("cache_read", _cached),
    "context": lambda row: row.context_pct,
    "latency": lambda row: None if row.latency_p95 is None else float(row.latency_p95),
    "sessions": _seen("sessions", lambda row: float(row.sessions)),
    "runs": lambda row: None if row.runs is None else float(row.runs),
    "agents": lambda row: float(row.agents),
    **{
        name: _count(name)
        for name in (
            "calls",
            "errors",
            "retries",
            "fallbacks",
            "failed_turns",
            "aborts",
            "tool_calls",
            "tool_errors",
            "compactions",
            "unmetered_runs",
            "unpriced_calls",
        )
    },
}
"""What `name>5` can compare; money in dollars, context and cache in percent, latency in milliseconds."""

ALIASES = {
    "$": "cost",
    "$/h": "usd_per_hour",
    "tok/m": "tokens_per_min",
    "ctx": "context",
    "in": "input",
    "out": "output",
    "retry": "retries",
    "fallb": "fallbacks",
    "err": "errors",
    "tools": "tool_calls",
    "p95": "latency",
    "sess": "sessions",
}
"""What the columns call those numbers."""

_UNKNOWN_PART: dict[str, Callable[["Row"], bool]] = {
    "cost": lambda row: row.counters.unpriced_calls > 0 or "cost" in row.blind,
    "usd_per_hour": lambda row: row.rate_unpriced > 0 or "usd_per_hour" in row.blind,
}
"""Sums of which a part can be unknown: then the number is the least that it is."""


def _found(value: str, text: str) -> bool:
    folded = text.casefold()
    return fnmatchcase(folded, value) if any(c in value for c in "*?[") else value in folded


@dataclass(frozen=True, slots=True)
class Term:
    """One word of a filter: a plain word (op ""), `field:value`, or a comparison; all may be negated."""

    field: str
    op: str
    value: str
    negated: bool = False

    def matches(self, row: "Row") -> bool:
        """Whether the row passes this term. What a row cannot know passes no comparison.

        A sum that is partly unknown passes those that its known part alone decides: `cost>5`, and never `cost<5`.
        """
        return self._holds(row) is not self.negated

    def _holds(self, row: "Row") -> bool:
        if self.op == "":
            return any(self.value in text(row).casefold() for text in _WORDS)
        if self.op == ":":
            # the names of OpenClaw's sessions begin with what reads as a term: agent:coder:main
            named = self.field == "agent" and _found(f"agent:{self.value}", row.label)
            return named or _found(self.value, TEXTS[self.field](row))
        number = NUMBERS[self.field](row)
        return number is not None and self._can_tell(row) and _COMPARE[self.op](number, float(self.value))

    def _can_tell(self, row: "Row") -> bool:
        partly = _UNKNOWN_PART.get(self.field)
        return self.op in {">", ">="} or partly is None or not partly(row)


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter expression: a row passes when it passes every term."""

    text: str = ""
    terms: tuple[Term, ...] = ()

    def __call__(self, row: "Row") -> bool:
        """Whether the row is shown."""
        return all(term.matches(row) for term in self.terms)


everything = Filter()


def parse_filter(text: str) -> Filter:
    """The filter that `text` spells, e.g. `coder project:api retries>0 !state:idle`.

    Raises UsageError with the word that is wrong and what was expected.
    """
    return Filter(text.strip(), tuple(_term(word) for word in text.split()))


def _term(word: str) -> Term:
    negated, body = word.startswith("!"), word.removeprefix("!")
    if not body:
        raise UsageError("filter: `!` needs a word right after it, e.g. !state:idle")
    found = _TERM.fullmatch(body.casefold())
    if found is None:
        return Term("", "", body.casefold(), negated)
    name, op, value = found["field"], found["op"], found["value"]
    if op == ":" or (op == "=" and name in TEXTS):
        return _text_term(name, value, negated, word)
    name = ALIASES.get(name, name)
    if name not in NUMBERS:
        numbers, titles = ", ".join(sorted(NUMBERS)), ", ".join(ALIASES)
        raise UsageError(f"filter: {name!r} in {word!r} is no number; one of {numbers}, or as columns say {titles}")
    try:
        number = float(value.strip("$%"))
    except ValueError:
        raise UsageError(f"filter: {word!r} needs a number after {op!r}, e.g. {name}{op}5") from None
    return Term(name, op, repr(number), negated)


def _text_term(name: str, value: str, negated: bool, word: str) -> Term:  # noqa: FBT001
    if name not in TEXTS:
        raise UsageError(f"filter: {name!r} in {word!r} is no field; one of {', '.join(sorted(TEXTS))}")
    if not value:
        raise UsageError(f"filter: {word!r} needs a word after the colon, e.g. {name}:x")
    return Term(name, ":", value, negated)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which spend counts at all: globs on a call's own project, agent and user; empty means any.

    A scope cuts inside a row (a row then holds only the calls of that project), a Filter takes whole rows. `row` is
    for looks at what one row is made of: the grouping and the group of the only one that counts.
    """

    projects: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    row: "tuple[Grouping, tuple[str, ...]] | None" = None

    def holds(self, key: Key) -> bool:
        """Whether spend under this key counts, as far as a key tells: not whether it is the row's."""
        return (
            _any(self.projects, key.project or "") and _any(self.agents, key.agent) and _any(self.users, key.user or "")
        )


def _any(globs: tuple[str, ...], text: str) -> bool:
    return not globs or any(fnmatchcase(text, glob) for glob in globs)
