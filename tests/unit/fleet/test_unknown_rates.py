"""What is spent now without a price is unknown: never 0, never cheap, and never told by what lies longer back."""

import csv
import io
import json
from typing import Any

import pytest

from clawtop.fleet.fleet import Fleet
from clawtop.model.events import Blind, Call, SessionState, State
from clawtop.model.keys import Key
from clawtop.model.selection import Scope, parse_filter
from clawtop.model.snapshot import Basis, Grouping, Rate, Row, Snapshot, Window
from clawtop.report import to_csv, to_json, to_text

from .made import CODER, HOUR, MINUTE, NOW, call, fleet, shot

SWITCHED = CODER._replace(agent="switched", session="s2", run="r2")
TIDY = CODER._replace(agent="tidy", session="s3", run="r3")
FREE = CODER._replace(agent="free", session="s4", run="r4")


def unpriced(name: str, ago: int, key: Key = CODER) -> Call:
    return call(name, ago, key, model="secret", cost=None)


def burning() -> Fleet:
    """Prices known and unknown, now and before: of `switched` all now are unknown, of `tidy` none."""
    return fleet(
        call("a", 2 * HOUR, SWITCHED, cost=500_000),
        *(unpriced(f"b{n}", 10_000 + n * 30_000, SWITCHED) for n in range(6)),
        unpriced("c", 50 * MINUTE, TIDY),
        *(call(f"d{n}", 10_000 + n * 30_000, TIDY, cost=100_000) for n in range(6)),
        call("e", key=FREE, cost=0),
    )


def rows(made: Fleet, window: Window = Window.H1, **view: Any) -> dict[str, Row]:
    return {row.label: row for row in shot(made, window, **view).rows}


def rate(row: Row) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in Rate._fields)


@pytest.mark.parametrize("window", Window)
def test_a_rate_is_known_or_not_by_the_calls_of_its_own_minutes(window: Window) -> None:
    found = rows(burning(), window)
    assert rate(found["switched"]) == (0, 6, Basis.UNKNOWN)
    assert rate(found["tidy"]) == (pytest.approx(7.2), 0, Basis.LOGGED)
    assert rate(found["free"]) == (0, 0, Basis.LOGGED)
    assert (found["switched"].known_rate, found["free"].known_rate) == (None, 0)


def test_a_rate_is_known_again_once_the_calls_without_a_price_are_over() -> None:
    made = fleet(unpriced("a", MINUTE))
    assert shot(made).total.known_rate is None
    later = made.snapshot(shot(made).view, NOW + 5 * MINUTE)
    assert rate(later.rows[0]) == rate(later.total) == (0, 0, Basis.LOGGED)


@pytest.mark.parametrize("grouping", Grouping)
def test_a_sum_is_partly_unknown_where_one_of_its_calls_is(grouping: Grouping) -> None:
    made = burning()
    total = shot(made, group_by=grouping).total
    assert rate(total) == (pytest.approx(7.2), 6, Basis.LOGGED)
    assert total.known_rate == pytest.approx(7.2)
    made.fold(unpriced("late", 0, TIDY))
    assert shot(made, group_by=grouping).total.rate_unpriced == 7


@pytest.mark.parametrize("grouping", Grouping)
def test_a_filter_does_not_change_what_the_fleet_spends(grouping: Grouping) -> None:
    made = burning()
    whole = shot(made, group_by=grouping)
    assert (whole.unfiltered, whole.fleet) == (None, whole.total)
    for text in ("tidy", "nobody", "calls>0"):
        found = shot(made, group_by=grouping, filter=parse_filter(text))
        assert found.fleet == Rate(*rate(whole.total))
    made.fold(call("more", 0, cost=1_000_000))
    assert shot(made, group_by=grouping, filter=parse_filter("nobody")).fleet.usd_per_hour == pytest.approx(19.2)
    within = shot(made, group_by=grouping, filter=parse_filter("x"), scope=Scope(agents=("coder",)))
    assert within.fleet.usd_per_hour == 12


def test_what_burns_without_a_price_stands_above_what_burns_nothing() -> None:
    made = burning()
    made.fold(call("busy", 0, CODER, cost=3_000_000))
    made.fold(unpriced("one", 0, CODER._replace(agent="little")))
    for window in Window:
        assert [row.label for row in shot(made, window).rows] == ["coder", "tidy", "switched", "little", "free"]
        upwards = shot(made, window, descending=False).rows
        assert [row.label for row in upwards] == ["free", "little", "switched", "tidy", "coder"]
    by_errors = [row.label for row in shot(made, sort="errors").rows]
    assert by_errors == ["coder", "tidy", "switched", "little", "free"], "among equals, too"


def test_a_rate_that_no_source_sees_comes_last() -> None:
    state = SessionState(CODER._replace(agent="remote"), NOW, State.RUNNING)
    made = burning()
    for event in (state, Blind(state.key, frozenset({"cost", "usd_per_hour"}))):
        made.fold(event)
    assert [row.label for row in shot(made).rows][-1] == "remote"
    assert rows(made)["remote"].known_rate is None


def passing(made: Fleet, text: str, window: Window = Window.H1) -> set[str]:
    return set(rows(made, window, filter=parse_filter(text)))


def test_what_is_not_known_passes_no_comparison() -> None:
    made = burning()
    assert passing(made, "cost<1") == {"free"}
    assert passing(made, "cost<9", Window.H24) == {"free"}, "of tidy and switched some is not known"
    assert passing(made, "cost>=0") == {"free", "tidy"}
    assert passing(made, "cost>0.4", Window.H24) == {"switched", "tidy"}, "the known part is that much"
    assert passing(made, "cost=0.6") == set()
    assert passing(made, "$/h<1") == passing(made, "usd_per_hour=0") == {"free"}
    assert passing(made, "$/h>1") == {"tidy"}
    assert passing(made, "$/h<9") == {"free", "tidy"}


def printed(snapshot: Snapshot) -> tuple[dict[str, Any], dict[str, Any], str]:
    reported = {
        row["agent"]: {**row["rates"], "unpriced": row["rate_unpriced_calls"]}
        for row in json.loads(to_json(snapshot))["rows"]
    }
    table = {row["agent"]: row["rates_usd_per_hour"] for row in csv.DictReader(io.StringIO(to_csv(snapshot)))}
    return reported, table, to_text(snapshot)


def test_reports_do_not_take_an_unknown_rate_for_0() -> None:
    made = burning()
    reported, table, text = printed(shot(made, Window.H24))
    assert reported["switched"] == {"tokens_per_min": 132.0, "usd_per_hour": None, "unpriced": 6}
    assert reported["tidy"] == {"tokens_per_min": 132.0, "usd_per_hour": 7.2, "unpriced": 0}
    assert table == {"switched": "", "tidy": "7.2", "free": "0.0"}
    assert "$7.20+?/h" in text.splitlines()[0]
    figures = {line.split()[0]: line.split()[2:4] for line in text.splitlines()[2:]}
    assert figures == {
        "AGENT": ["$/H", "COST"],
        "tidy": ["7.20", "$0.60+?"],
        "switched": ["?", "$0.50+?"],
        "free": ["0.00", "$0.00"],
    }
    made.fold(unpriced("late", 0, TIDY))
    assert "7.20+?  " in printed(shot(made))[2]
    alone = shot(made, filter=parse_filter("switched"))
    assert json.loads(to_json(alone))["totals"]["rates"]["usd_per_hour"] is None
    assert "$?/h" in to_text(alone)


def test_rates_that_no_source_sees_are_null() -> None:
    blind = Blind(CODER, frozenset({"tokens", "tokens_per_min", "cost", "usd_per_hour"}))
    snapshot = shot(fleet(SessionState(CODER, NOW, State.RUNNING), blind))
    (row,) = json.loads(to_json(snapshot))["rows"]
    assert row["rates"] == {"tokens_per_min": None, "usd_per_hour": None}
    assert to_text(snapshot).splitlines()[-1].split()[2:5] == ["–", "–", "–"]
