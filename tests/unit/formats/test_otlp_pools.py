"""One spend in metrics and in spans: counted once, whichever came first."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from clawtop.fleet.fleet import Fleet
from clawtop.fleet.prices import PriceBook
from clawtop.formats.otlp.pools import Detail, Pool
from clawtop.formats.otlp.standing import Amounts, Place, Standing
from clawtop.model.events import Event, Price, PriceList, Tokens
from clawtop.model.keys import Key
from clawtop.model.snapshot import Basis, Row, View, Window

NOW = 1_795_347_500_000
GATEWAY = Key("vm", "gateway")


@dataclass(frozen=True)
class Used:
    """A run: who used how much when, and what it cost."""

    agent: str
    at: int
    tokens: Tokens
    cost: int = 0


def _no_prices(provider: str, model: str) -> None:
    """Nothing is listed."""


class Told:
    """A pool and what it told."""

    def __init__(self, *, splits: bool = True) -> None:
        self.pool = Pool("pool", splits=splits)
        self.fleet = Fleet(PriceBook(_no_prices))
        self._details = 0

    def fold(self, events: list[Event]) -> None:
        for event in events:
            self.fleet.fold(event)

    def export(self, since: int, until: int, *runs: Used) -> None:
        tokens = Tokens(*[sum(each) for each in zip(*(run.tokens for run in runs), strict=True)])
        amounts = Amounts.of(tokens, cost=sum(run.cost for run in runs))
        self.fold(self.pool.grow(Place(GATEWAY, until, "mock", "m"), since, until, amounts))

    def span(self, run: Used) -> Detail:
        self._details += 1
        place = Place(Key("vm", run.agent), run.at, "mock", "m")
        detail = Detail(place, Amounts.of(run.tokens), Standing(f"span {self._details}"))
        self.fold(self.pool.explain(detail))
        return detail

    def rows(self) -> dict[str, Row]:
        rows = self.fleet.snapshot(View(window=Window.ALL), NOW).rows
        return {row.label: row for row in rows if any(row.tokens) or row.cost}


A = Used("a", NOW - 50_000, Tokens(100, 10, 50, 5), 700)
B = Used("b", NOW - 20_000, Tokens(200, 20, 0, 0), 300)


def test_what_no_span_explains_is_the_gateways_own() -> None:
    told = Told()
    told.export(NOW - 60_000, NOW, A, B)
    row = told.rows()["gateway"]
    assert (row.tokens, row.cost, row.basis) == (Tokens(300, 30, 50, 5), 1000, Basis.LOGGED)


def test_a_span_takes_its_tokens_and_their_money_from_the_gateway() -> None:
    told = Told()
    told.export(NOW - 60_000, NOW - 30_000, A)
    told.export(NOW - 30_000, NOW, B)
    told.span(B)
    rows = told.rows()
    assert (rows["b"].tokens, rows["b"].cost) == (B.tokens, 300)
    assert (rows["gateway"].tokens, rows["gateway"].cost) == (A.tokens, 700)


def test_a_span_that_comes_first_waits_for_its_metric() -> None:
    told = Told()
    told.span(A)
    assert told.rows()["a"].basis is Basis.UNKNOWN
    told.export(NOW - 60_000, NOW, A)
    rows = told.rows()
    assert rows.keys() == {"a"}
    assert (rows["a"].tokens, rows["a"].cost, rows["a"].basis) == (A.tokens, 700, Basis.LOGGED)


def test_spans_without_metrics_count_with_a_price_that_nobody_knows() -> None:
    told = Told()
    told.span(A)
    told.fold([PriceList("vm", {("mock", "m"): Price(1_000_000, 0, 0, 0)})])
    assert (told.rows()["a"].cost, told.rows()["a"].basis) == (100, Basis.PRICED)


def test_one_exports_money_is_split_by_weight_and_adds_up() -> None:
    told = Told()
    told.export(NOW - 60_000, NOW, A, B)
    for run in (A, B):
        told.span(run)
    rows = told.rows()
    assert rows["a"].cost + rows["b"].cost == 1000
    assert rows["a"].cost == 1000 * Amounts.of(A.tokens).weight // Amounts.of(Tokens(300, 30, 50, 5)).weight


def test_money_that_comes_after_its_tokens_goes_where_they_went() -> None:
    told = Told()
    place = Place(GATEWAY, NOW, "mock", "m")
    told.fold(told.pool.grow(place, NOW - 60_000, NOW, Amounts.of(A.tokens)))
    told.span(A)
    told.fold(told.pool.grow(place, NOW - 60_000, NOW, Amounts(cost=700)))
    rows = told.rows()
    assert rows.keys() == {"a"}
    assert rows["a"].cost == 700


def test_what_another_source_tells_is_taken_back_and_stays_away() -> None:
    told = Told()
    told.export(NOW - 60_000, NOW - 30_000, A, B)
    detail = told.span(A)
    detail.muted = True
    told.fold([*detail.tell(), *told.pool.mute()])
    assert told.rows() == {}
    told.export(NOW - 30_000, NOW, B)
    assert told.rows() == {}


def test_without_splitting_calls_and_money_are_amounts_like_tokens() -> None:
    told = Told(splits=False)
    place = Place(GATEWAY, NOW, "mock", "m")
    told.fold(told.pool.grow(place, NOW - 60_000, NOW, Amounts(100, 10, calls=3, cost=900), ((50, 3),)))
    told.fold(told.pool.explain(Detail(place, Amounts(60, 6, calls=2, cost=500))))
    row = told.rows()["gateway"]
    assert (row.tokens, row.counters.calls, row.cost) == (Tokens(40, 4), 1, 400)
    assert row.latency_p50 == 51


RUNS = st.lists(
    st.builds(
        Used,
        st.sampled_from("abc"),
        st.integers(NOW - 500_000, NOW),
        st.builds(Tokens, *[st.integers(0, 1000)] * 4).filter(any),
        st.integers(1, 100_000),
    ),
    min_size=1,
    max_size=12,
)


@given(runs=RUNS, chance=st.randoms(use_true_random=False), sampled=st.integers(1, 3))
def test_any_order_of_arrival_gives_the_same_sums(runs: list[Used], chance: random.Random, sampled: int) -> None:
    told = Told()
    spans = [run for number, run in enumerate(runs) if number % sampled == 0]
    exports: dict[int, list[Used]] = {}
    for run in runs:
        exports.setdefault((run.at // 60_000 + 1) * 60_000, []).append(run)
    deeds: list[Callable[[], object]] = [partial(told.span, run) for run in spans]
    deeds += [partial(told.export, until - 60_000, until, *part) for until, part in exports.items()]
    chance.shuffle(deeds)
    for deed in deeds:
        deed()
    rows = told.rows()
    assert sum(row.cost for row in rows.values()) == sum(run.cost for run in runs)
    assert _sum(row.tokens for row in rows.values()) == _sum(run.tokens for run in runs)
    for agent in "abc":
        own = _sum(run.tokens for run in spans if run.agent == agent)
        assert (rows[agent].tokens if agent in rows else Tokens()) == own


def _sum(tokens: Iterable[Tokens]) -> Tokens:
    found = list(tokens)
    return Tokens(*[sum(each) for each in zip(*found, strict=True)]) if found else Tokens()


def test_two_senders_that_are_called_alike_count_both() -> None:
    told = Told()
    told.export(NOW - 60_000, NOW, A)
    told.pool = Pool("pool", splits=True)  # as another source has it, or the same one that began anew
    told.export(NOW - 50_000, NOW - 10_000, B)
    assert told.rows()["gateway"].tokens == Tokens(300, 30, 50, 5)


def test_what_two_sources_hear_of_one_export_counts_once() -> None:
    told = Told()
    for _ in range(2):
        told.pool = Pool("pool", splits=True)
        told.export(NOW - 60_000, NOW - 30_000, A)
        told.export(NOW - 30_000, NOW, B)
    assert told.rows()["gateway"].tokens == Tokens(300, 30, 50, 5)
