"""What was told to the fleet and may have to be taken back: the same spend comes by several signals, in any order."""

from typing import NamedTuple, Self

from clawtop.model.events import Event, Increase, Tokens
from clawtop.model.keys import Key


class Amounts(NamedTuple):
    """What is counted of a model's or a tool's use. `cost` is micro-dollars."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    calls: int = 0
    errors: int = 0
    tool_calls: int = 0
    tool_errors: int = 0
    cost: int = 0

    @classmethod
    def of(cls, tokens: Tokens, **others: int) -> Self:
        """The amounts of these tokens and others."""
        return cls(*tokens, **others)

    @property
    def tokens(self) -> Tokens:
        """The token buckets."""
        return Tokens(*self[:4])

    @property
    def weight(self) -> int:
        """Tokens weighed by what they usually cost: output five times an input token, cache reads a tenth."""
        return 20 * self.input + 100 * self.output + 2 * self.cache_read + 25 * self.cache_write

    def plus(self, other: "Amounts") -> "Amounts":
        """Both together."""
        return Amounts(*[mine + theirs for mine, theirs in zip(self, other, strict=True)])

    def minus(self, other: "Amounts") -> "Amounts":
        """This without the other."""
        return Amounts(*[mine - theirs for mine, theirs in zip(self, other, strict=True)])

    def common(self, other: "Amounts") -> "Amounts":
        """What both have, amount by amount."""
        return Amounts(*map(min, self, other))


NOTHING = Amounts()
Latencies = tuple[tuple[int, int], ...]


class Place(NamedTuple):
    """Whose, when (Unix ms) and of which model something counts."""

    key: Key
    at: int
    provider: str = ""
    model: str = ""


class Standing:
    """An Increase that stands in the fleet until another takes its place.

    Replacing takes all of it back at the same moment and tells the new one, so that list prices stay right.
    """

    __slots__ = ("_name", "_shown", "_times")

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown: Increase | None = None
        self._times = 0

    @property
    def shown(self) -> bool:
        """Whether anything stands."""
        return self._shown is not None

    def show(
        self, place: Place | None, amounts: Amounts = NOTHING, *, priced: bool = True, latencies: Latencies = ()
    ) -> list[Event]:
        """The events after which this stands, nothing for a `place` of None.

        Without `priced` a cost of 0 is not known: the tokens have their list price.
        """
        wanted = None if place is None else _increase(place, amounts, priced=priced)
        if wanted == self._shown:
            return []
        events: list[Event] = []
        if self._shown is not None:
            events.append(_named(_taken_back(self._shown), f"{self._name}-{self._times}"))
        if wanted is not None:
            self._times += 1
            events.append(_named(wanted, f"{self._name}+{self._times}", latencies))
        self._shown = wanted
        return events


def _increase(place: Place, amounts: Amounts, *, priced: bool) -> Increase | None:
    if not any(amounts):
        return None
    return Increase(
        place.key,
        place.at,
        "",
        place.provider,
        place.model,
        tokens=amounts.tokens,
        cost=amounts.cost if priced or amounts.cost or not any(amounts.tokens) else None,
        calls=amounts.calls,
        errors=amounts.errors,
        tool_calls=amounts.tool_calls,
        tool_errors=amounts.tool_errors,
        provisional=True,
    )


def _taken_back(told: Increase) -> Increase:
    return Increase(
        told.key,
        told.at,
        "",
        told.provider,
        told.model,
        tokens=Tokens(*[-each for each in told.tokens]),
        cost=None if told.cost is None else -told.cost,
        calls=-told.calls,
        errors=-told.errors,
        tool_calls=-told.tool_calls,
        tool_errors=-told.tool_errors,
    )


def _named(event: Increase, name: str, latencies: Latencies = ()) -> Increase:
    return Increase(
        event.key,
        event.at,
        name,
        event.provider,
        event.model,
        event.tokens,
        event.cost,
        event.calls,
        event.errors,
        tool_calls=event.tool_calls,
        tool_errors=event.tool_errors,
        latencies=latencies,
        provisional=event.provisional,
    )
