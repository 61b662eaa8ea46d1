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
    from clawtop.model.snapshot import Row

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


TEXTS: dict[str, Callable[["Row"], str]] = {
    "agent": lambda row: row.label,
    "name": lambda row: row.label,
    "project": _text("project"),
    "user": _text("user"),
    "model": _text("model"),
    "host": _text("host"),
    "state": _text("state"),
    "hold": _text("hold"),
}
"""What `word:value` can ask for: the value is looked for in that text."""

NUMBERS: dict[str, Callable[["Row"], float | None]] = {
    "cost": lambda row: row.cost / 1e6,
    "usd_per_hour": lambda row: row.usd_per_hour,
    "$/h": lambda row: row.usd_per_hour,
    "tokens": lambda row: float(row.tokens.total),
    "tokens_per_min": lambda row: row.tokens_per_min,
    "input": lambda row: float(row.tokens.input),
    "output": lambda row: float(row.tokens.output),
    "context": lambda row: row.context_pct,
    "latency": lambda row: None if row.latency_p95 is None else float(row.latency_p95),
    "sessions": lambda row: float(row.sessions),
    "runs": lambda row: None if row.runs is None else float(row.runs),
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
"""What `name>5` can compare; money in dollars, context in percent, latency in milliseconds."""


@dataclass(frozen=True, slots=True)
class Term:
    """One word of a filter: a plain word (op ""), `field:value`, or a comparison; all may be negated."""

    field: str
    op: str
    value: str
    negated: bool = False

    def matches(self, row: "Row") -> bool:
        """Whether the row passes this term. What a row cannot know passes no comparison."""
        return self._holds(row) is not self.negated

    def _holds(self, row: "Row") -> bool:
        if self.op == "":
            return any(self.value in TEXTS[name](row).casefold() for name in ("agent", "project", "user", "model"))
        if self.op == ":":
            text = TEXTS[self.field](row).casefold()
            return fnmatchcase(text, self.value) if any(c in self.value for c in "*?[") else self.value in text
        number = NUMBERS[self.field](row)
        return number is not None and _COMPARE[self.op](number, float(self.value))


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
    """The filter that `text` spells, e.g. `coder project:api retries>0 !idle`.

    Raises UsageError with the word that is wrong and what was expected.
    """
    return Filter(text.strip(), tuple(_term(word) for word in text.split()))


def _term(word: str) -> Term:
    negated, body = word.startswith("!"), word.removeprefix("!")
    if not body:
        raise UsageError("filter: `!` needs a word right after it, e.g. !idle")
    found = _TERM.fullmatch(body.casefold())
    if found is None:
        return Term("", "", body.casefold(), negated)
    name, op, value = found["field"], found["op"], found["value"]
    if op == ":" or (op == "=" and name in TEXTS):
        return _text_term(name, value, negated, word)
    if name not in NUMBERS:
        raise UsageError(f"filter: {name!r} in {word!r} is no number; one of {', '.join(sorted(NUMBERS))}")
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

    A scope cuts inside a row (a row then holds only the calls of that project), a Filter takes whole rows.
    """

    projects: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    def holds(self, key: Key) -> bool:
        """Whether spend under this key counts."""
        return (
            _any(self.projects, key.project or "") and _any(self.agents, key.agent) and _any(self.users, key.user or "")
        )


def _any(globs: tuple[str, ...], text: str) -> bool:
    return not globs or any(fnmatchcase(text, glob) for glob in globs)
