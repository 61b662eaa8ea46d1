"""openclaw.json of both generations, as far as clawtop needs it."""

from clawtop.formats.openclaw_config import read_config
from clawtop.model.events import Price

MODEL = {
    "id": "normal",
    "contextWindow": 200000,
    "cost": {"input": 3, "output": 15, "cacheRead": 0.3, "cacheWrite": 3.75},
}


def test_prices_are_micro_dollars_per_million_tokens() -> None:
    config = read_config({"models": {"providers": {"mock": {"models": [MODEL, {"id": "nocost"}]}}}})
    assert config.prices == {("mock", "normal"): Price(3_000_000, 15_000_000, 300_000, 3_750_000)}
    assert config.windows == {("mock", "normal"): 200000}


def test_zeros_are_a_price() -> None:
    free = {"id": "local", "cost": {"input": 0, "output": 0}}
    config = read_config({"models": {"providers": {"ollama": {"models": [free]}}}})
    assert config.prices == {("ollama", "local"): Price(0, 0, 0, 0)}


def test_what_is_not_understood_is_left_out() -> None:
    broken = [
        {"id": 3},
        "x",
        {"id": "a", "cost": {"input": -1}},
        {"id": "b", "contextWindow": -5},
        {"id": "c", "cost": 1},
    ]
    config = read_config({"models": {"providers": {"p": {"models": broken}, "q": 7}}, "agents": []})
    assert (config.prices, config.windows) == ({}, {})
    assert read_config([1]).prices == {}


def test_a_price_that_nobody_filled_in_is_none() -> None:
    for number, cost in enumerate([{}, {"cacheRead": 0}, {"input": 0}]):
        model = {"id": f"m{number}", "cost": cost}
        assert read_config({"models": {"providers": {"p": {"models": [model]}}}}).prices == {}
