"""openclaw.json (JSON5): prices, context windows, agents, and where the gateway listens. Secrets are never kept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clawtop.formats.quantities import text, tokens
from clawtop.model.errors import ClawtopError
from clawtop.model.events import Price


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """What clawtop uses of a gateway's config. `windows` are tokens, `prices` micro-dollars per million tokens."""

    prices: Mapping[tuple[str, str], Price] = field(default_factory=dict)
    windows: Mapping[tuple[str, str], int] = field(default_factory=dict)
    agents: tuple[str, ...] = ()
    log_file: str | None = None


def read_config(config: object) -> GatewayConfig:
    """What a parsed openclaw.json says, as far as it can be understood."""
    root = _table(config)
    models = list(_models(root))
    return GatewayConfig(
        prices={name: price for name, model in models if (price := _price(model.get("cost"))) is not None},
        windows={name: window for name, model in models if (window := _window(model.get("contextWindow")))},
        agents=tuple(_agents(_table(root.get("agents")))),
        log_file=text(_table(root.get("logging")).get("file"), 4096),
    )


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _models(root: Mapping[str, Any]) -> Iterable[tuple[tuple[str, str], Mapping[str, Any]]]:
    for provider, settings in _table(_table(root.get("models")).get("providers")).items():
        listed = _table(settings).get("models")
        for model in listed if isinstance(listed, list) else []:
            if isinstance(model, dict) and isinstance(model.get("id"), str):
                yield (str(provider), model["id"]), model


def _price(cost: object) -> Price | None:
    if not isinstance(cost, dict):
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


def _agents(agents: Mapping[str, Any]) -> Iterable[str]:
    """`agents.entries` of 2026.8 and later, `agents.list` before; `main` where none is named."""
    yield from _table(agents.get("entries"))
    listed = agents.get("list")
    for agent in listed if isinstance(listed, list) else []:
        if isinstance(agent, dict) and isinstance(agent.get("id"), str):
            yield agent["id"]
