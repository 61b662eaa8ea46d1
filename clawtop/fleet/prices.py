"""What a call costs where its source logged no cost.

First what the gateway's own config states for its agents, then the list price of genai-prices by provider and
model, else it is unknown. Nothing here goes to the network: genai-prices brings its data along.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from clawtop.model.events import Price, Tokens

_MILLION = 1_000_000
_FASTER = "-fast"


class Rates(NamedTuple):
    """Prices that hold for calls with more than `above` tokens before the model, dearest context first.

    `cache_write_1h` is what a million tokens cost in micro-dollars that the cache keeps for an hour.
    """

    above: int
    price: Price
    cache_write_1h: int


class Catalogue(Protocol):
    """Where list prices come from."""

    def __call__(self, provider: str, model: str) -> Callable[[int], tuple[Rates, ...]] | None:
        """The model's rates by Unix milliseconds, None where it is not listed."""


def cost_of(price: Price, tokens: Tokens) -> int:
    """Millionths of a micro-dollar."""
    return sum(amount * each for amount, each in zip(tokens, price, strict=True))


class PriceBook:
    """The prices of one fleet. Without a catalogue it uses genai-prices, imported when first needed."""

    def __init__(self, catalogue: Catalogue | None = None) -> None:
        self._catalogue = catalogue or _genai_prices
        self._declared: dict[tuple[str, str | None], dict[tuple[str, str], Price]] = {}
        self._listed: dict[tuple[str, str], Callable[[int], tuple[Rates, ...]] | None] = {}

    def declare(
        self, host: str, prices: Mapping[tuple[str, str], Price], agents: Collection[str] | None = None
    ) -> bool:
        """Take the prices of a config for these agents of a host, or for all; False where nothing is new.

        A price once stated stays.
        """
        changed = False
        for agent in (None,) if agents is None else agents:
            known = self._declared.setdefault((host, agent), {})
            changed |= any(known.get(name) != price for name, price in prices.items())
            known.update(prices)
        return changed

    def declared(self, host: str, agent: str, provider: str, model: str) -> Price | None:
        """What a gateway's config on the host says a model costs an agent, None where it says nothing.

        It speaks of that gateway's agents: their ids hold no colon, as `claude:api` does.
        """
        for whose in () if ":" in agent else (agent, None):
            price = self._declared.get((host, whose), {}).get((provider, model))
            if price is not None:
                return price
        return None

    def listed(
        self, provider: str, model: str, at: int, tokens: Tokens, cache_write_1h: int = 0, *, calls: int = 1
    ) -> int | None:
        """The list price in micro-dollars of so many calls alike, None where the model is not listed.

        `cache_write_1h` of their cache writes are kept for an hour. Where it is not known how many `calls` (0) there
        were, none is taken for one with a long context. Tokens that are taken back have the same price, below zero.
        """
        key = (provider, model)
        if key not in self._listed:
            self._listed[key] = self._catalogue(provider, model) if model else None
        rates_at = self._listed[key]
        if rates_at is None:
            return None
        context = abs(tokens.context) // abs(calls) if calls else 0
        for above, price, longer in rates_at(at):
            if context > above:
                cost = cost_of(price, tokens) + (longer - price.cache_write) * cache_write_1h
                return round(cost / _MILLION)  # half to even: of many calls none adds up to more than they cost
        return None


def _genai_prices(provider: str, model: str) -> Callable[[int], tuple[Rates, ...]] | None:
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415  # 110 ms that most starts can do without

    try:
        _, found = get_snapshot().find_provider_model(model, None, provider or None, None)
    except LookupError:
        return None
    if model.endswith(_FASTER) and _FASTER not in found.id:
        return None  # it was matched by the beginning of its name, and answers faster at another price
    known: dict[int, tuple[Rates, ...]] = {}

    def rates_at(at: int) -> tuple[Rates, ...]:
        prices = found.get_prices(datetime.fromtimestamp(at / 1000, UTC))
        if id(prices) not in known:
            known[id(prices)] = _rates(prices)
        return known[id(prices)]

    return rates_at if rates_at(0) else None


def _rates(prices: Any) -> tuple[Rates, ...]:
    """Rates from genai-prices' own form; a cache bucket without a price costs what input costs."""
    if prices.input_mtok is None and prices.output_mtok is None:
        return ()
    named = [prices.input_mtok, prices.output_mtok, prices.cache_read_mtok, prices.cache_write_mtok]
    named[2:] = [prices.input_mtok if each is None else each for each in named[2:]]
    starts = {tier.start for each in named for tier in getattr(each, "tiers", ())}
    return tuple(
        _rates_above(above, named, prices.cache_write_1h_mtok) for above in [*sorted(starts, reverse=True), -1]
    )


def _rates_above(above: int, named: Sequence[Any], longer: Any) -> Rates:
    price = Price(*(_micro_dollars(each, above) for each in named))
    # who keeps caches for an hour asks twice the price of input for it, as far as it is not said
    return Rates(above, price, 2 * price.input if longer is None else _micro_dollars(longer, above))


def _micro_dollars(price: Any, above: int) -> int:
    """Micro-dollars per million tokens where the context is larger than `above`."""
    if price is None:
        return 0
    tiers = [tier.price for tier in getattr(price, "tiers", ()) if tier.start <= above]
    dollars: Decimal = tiers[-1] if tiers else getattr(price, "base", price)
    return int(dollars * _MILLION)
