import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price

from clawtop.fleet.prices import PriceBook, Rates
from clawtop.model.events import Price, Tokens

from .made import NOW

SOME = Tokens(1000, 200, 30_000, 4000)
MUCH = Tokens(250_000, 9_999, 1, 3)
AT = datetime.fromtimestamp(NOW / 1000, UTC)  # some prices depend on the hour


@pytest.mark.parametrize("tokens", [SOME, MUCH])
@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-sonnet-4-5"),
        ("openai", "gpt-5"),
        ("google", "gemini-2.5-pro"),
        ("google-vertex", "gemini-2.5-pro"),
        ("deepseek", "deepseek-chat"),
        ("openrouter", "anthropic/claude-sonnet-4"),
        ("xai", "grok-4"),
    ],
)
def test_list_prices_are_those_of_genai_prices(provider: str, model: str, tokens: Tokens) -> None:
    usage = Usage(
        input_tokens=tokens.context,
        output_tokens=tokens.output,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write,
    )
    dollars = calc_price(usage, model, provider_id=provider, genai_request_timestamp=AT).total_price
    listed = PriceBook().listed(provider, model, NOW, tokens)
    assert listed is not None
    assert abs(listed - dollars * Decimal(1_000_000)) <= 1


@pytest.mark.parametrize("tokens", [SOME, Tokens(1000, 200, 250_000, 4000)])
@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-5", "claude-haiku-4-5"])
def test_a_cache_that_lasts_an_hour_has_its_own_price(model: str, tokens: Tokens) -> None:
    usage = Usage(
        input_tokens=tokens.context,
        output_tokens=tokens.output,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write,
        cache_write_1h_tokens=3000,
    )
    dollars = calc_price(usage, model, provider_id="anthropic", genai_request_timestamp=AT).total_price
    listed = PriceBook().listed("anthropic", model, NOW, tokens, cache_write_1h=3000)
    assert listed is not None
    assert abs(listed - dollars * Decimal(1_000_000)) <= 1
    assert listed > (PriceBook().listed("anthropic", model, NOW, tokens) or 0)


def test_where_nothing_says_it_an_hour_costs_twice_the_input() -> None:
    book = PriceBook()
    model = ("openrouter", "anthropic/claude-sonnet-4.5")
    once, longer = Tokens(1_000_000), Tokens(cache_write=1_000_000)
    assert book.listed(*model, NOW, longer, cache_write_1h=1_000_000) == 2 * (book.listed(*model, NOW, once) or 0)


@pytest.mark.parametrize("tokens", [SOME, MUCH, Tokens(0, 1)])
def test_what_is_taken_back_costs_the_same_below_zero(tokens: Tokens) -> None:
    back = Tokens(*(-each for each in tokens))
    book, model = PriceBook(), ("anthropic", "claude-sonnet-4-5")
    assert book.listed(*model, NOW, back, cache_write_1h=-3) == -(book.listed(*model, NOW, tokens, 3) or 0)


def test_many_calls_together_cost_what_they_cost_one_by_one() -> None:
    book, model = PriceBook(), ("google", "gemini-2.5-pro")
    one = book.listed(*model, NOW, Tokens(100_000, 1000)) or 0
    ten = Tokens(1_000_000, 10_000)
    assert book.listed(*model, NOW, ten, calls=10) == 10 * one
    assert book.listed(*model, NOW, ten, calls=0) == 10 * one
    assert (book.listed(*model, NOW, ten) or 0) > 10 * one, "one call with a long context is dearer"


def test_a_faster_variant_is_not_taken_for_the_model_itself() -> None:
    book = PriceBook()
    assert book.listed("anthropic", "claude-opus-4-6", NOW, SOME) is not None
    assert book.listed("anthropic", "claude-opus-4-6-fast", NOW, SOME) is None
    assert book.listed("xai", "grok-4-fast", NOW, SOME) is not None


def test_what_is_not_listed_has_no_price() -> None:
    book = PriceBook()
    assert book.listed("mock", "normal", NOW, SOME) is None
    assert book.listed("anthropic", "no-such-model-9", NOW, SOME) is None
    assert book.listed("", "", NOW, SOME) is None


def test_a_model_is_looked_up_once() -> None:
    asked: list[tuple[str, str]] = []

    def catalogue(provider: str, model: str) -> None:
        asked.append((provider, model))

    book = PriceBook(catalogue)
    for _ in range(3):
        book.listed("mock", "normal", NOW, SOME)
    assert asked == [("mock", "normal")]


def test_the_dearer_rate_holds_above_its_context() -> None:
    rates = (Rates(1000, Price(2_000_000, 0, 0, 0), 0), Rates(-1, Price(1_000_000, 0, 0, 0), 0))
    book = PriceBook(lambda *_: lambda _: rates)
    assert book.listed("x", "y", NOW, Tokens(1000)) == 1000
    assert book.listed("x", "y", NOW, Tokens(1001)) == 2002


def test_prices_of_a_config_stay_and_add_up() -> None:
    book = PriceBook()
    price = Price(1, 2, 3, 4)
    assert book.declare("local", {("mock", "a"): price})
    assert not book.declare("local", {("mock", "a"): price})
    assert book.declare("local", {("mock", "b"): price})
    assert book.declared("local", "coder", "mock", "a") == price
    assert book.declared("far", "coder", "mock", "a") is None
    assert book.declared("local", "claude:api", "mock", "a") is None


def test_genai_prices_is_imported_only_when_needed() -> None:
    program = (
        "import sys; from clawtop.fleet.prices import PriceBook; book = PriceBook();"
        "assert 'genai_prices' not in sys.modules;"
        "book.listed('anthropic', 'claude-sonnet-4-5', 0, __import__('clawtop.model.events').model.events.Tokens(1));"
        "assert 'genai_prices' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
