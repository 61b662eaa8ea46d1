"""openclaw.json (JSON5): prices and context windows. Secrets are never kept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clawtop.formats.quantities import table, tokens
from clawtop.model.errors import ClawtopError
from clawtop.model.events import Price


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """What clawtop uses of a gateway's config. `windows` are tokens, `prices` micro-dollars per million tokens."""

    prices: Mapping[tuple[str, str], Price] = field(default_factory=dict)
    windows: Mapping[tuple[str, str], int] = field(default_factory=dict)


def read_config(config: object) -> GatewayConfig:
    """What a parsed openclaw.json says, as far as it can be understood."""
    root = table(config)
    models = list(_models(root))
    return GatewayConfig(
        prices={name: price for name, model in models if (price := _price(model.get("cost"))) is not None},
        windows={name: window for name, model in models if (window := _window(model.get("contextWindow")))},
    )


def _models(root: Mapping[str, Any]) -> Iterable[tuple[tuple[str, str], Mapping[str, Any]]]:
    for provider, settings in table(table(root.get("models")).get("providers")).items():
        listed = table(settings).get("models")
        for model in listed if isinstance(listed, list) else []:
            if isinstance(model, dict) and isinstance(model.get("id"), str):
                yield (str(provider), model["id"]), model


def _price(cost: object) -> Price | None:
    if not isinstance(cost, dict):
        return None
    # what is free says so: an empty table is a price that nobody filled in
    if not any(cost.values()) and not {"input", "output"} <= cost.keys():
        return None
    buckets = [cost.get(name, 0) for name in ("input", "output", "cacheRead", "cacheWrite")]
    if any(isinstance(b, bool) or not isinstance(b, int | float) or not 0 <= b <= 10**6 for b in buckets):
        return None
    return Price(*(round(dollars * 1_000_000) for dollars in buckets))


def _window(value: object) -> int | None:
    try:
        return tokens(value) or None
    except ClawtopError:
        return None
