from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawtop.model.snapshot import Basis, Counters, Health, Rate, Snapshot, SourceStatus, View
from clawtop.tui.render.glyphs import ASCII, UNICODE
from clawtop.tui.render.header import COMPACT, TALL, header, height, rate, source_spans
from clawtop.tui.render.line import width
from clawtop.tui.render.origins import page
from tests.tui.fleet_feed import GATEWAY, OK_SOURCE, FleetFeed, row
from tests.unit.tui.spans import text

SNAPSHOT = FleetFeed(12).snapshot
READING = SourceStatus("claude:~/.claude", Health.READING, bytes=50_000_000, expected=200_000_000)
DOWN = SourceStatus("gateway:ws://x", Health.DOWN, "refused \x1b[31m")


def said(snapshot: Snapshot, columns: int = 80, lines: int = COMPACT) -> str:
    return "\n".join(text(line) for line in header(snapshot, columns, lines, UNICODE))


@given(st.integers(40, 400), st.sampled_from([COMPACT, TALL]), st.booleans(), st.booleans())
def test_it_fills_its_lines_exactly(columns: int, lines: int, plain: bool, reading: bool) -> None:
    snapshot = replace(SNAPSHOT, sources=(READING, DOWN)) if reading else SNAPSHOT
    drawn = header(snapshot, columns, lines, ASCII if plain else UNICODE, ("FROZEN",))
    assert len(drawn) == (TALL if lines == TALL and columns >= 96 else COMPACT)
    assert {width(line) for line in drawn if line} == {columns}
    assert not plain or all(text(line).isascii() for line in drawn)


def test_two_lines_on_a_small_terminal_and_large_figures_on_a_large_one() -> None:
    assert (height(80, 24), height(120, 40), height(80, 60)) == (COMPACT, TALL, COMPACT)


def test_the_first_thing_is_what_the_fleet_burns() -> None:
    first = text(header(SNAPSHOT, 80, COMPACT, UNICODE)[0])
    assert first.startswith(f"  ${SNAPSHOT.total.usd_per_hour:.2f}+?/h ")


@pytest.mark.parametrize("size", [(80, COMPACT), (120, TALL), (200, TALL)])
def test_everything_that_matters_is_said(size: tuple[int, int]) -> None:
    words = said(SNAPSHOT, *size)
    total = SNAPSHOT.total
    assert f"{total.agents_running}/{total.agents} running" in words
    assert f"{total.calls_per_min:.1f} calls" in words
    assert "in 1h" in words
    assert "15m" in words
    assert "err" in words
    assert "skipped" in words


@pytest.mark.parametrize("size", [(80, COMPACT), (120, TALL)])
def test_what_no_source_has_seen_is_not_zero(size: tuple[int, int]) -> None:
    total = replace(SNAPSHOT.total, counters=Counters(), calls_per_min=0.0, blind=frozenset({"calls", "errors"}))
    words = said(replace(SNAPSHOT, total=total), *size)
    assert "– calls" in words
    assert "– err" in words


def test_an_unknown_price_is_unknown() -> None:
    counters = Counters(calls=3, unpriced_calls=3)
    total = replace(SNAPSHOT.total, basis=Basis.UNKNOWN, counters=counters, rate_basis=Basis.UNKNOWN, rate_unpriced=3)
    assert "$?/h" in said(replace(SNAPSHOT, total=total))
    assert "$? in 1h" in said(replace(SNAPSHOT, total=total))


@pytest.mark.parametrize("size", [(80, COMPACT), (120, TALL)])
def test_what_no_source_sees_of_the_spend_is_not_0(size: tuple[int, int]) -> None:
    unseen = frozenset({"cost", "usd_per_hour"})
    total = replace(SNAPSHOT.total, blind=unseen, cost=0, usd_per_hour=0.0, rate_unpriced=0, counters=Counters())
    words = said(replace(SNAPSHOT, total=total), *size)
    assert "$? in 1h" in words
    assert "0.00" not in words
    assert "$?/h" in words or size != (80, COMPACT)


def test_old_calls_without_a_price_leave_no_doubt_about_what_is_spent_now() -> None:
    counters = Counters(calls=9, unpriced_calls=3)
    total = replace(SNAPSHOT.total, usd_per_hour=0.0, cost=1_380_000, counters=counters, rate_unpriced=0)
    for basis in (Basis.MIXED, Basis.UNKNOWN):
        assert " $0.00/h " in said(replace(SNAPSHOT, total=replace(total, basis=basis)))
    assert "$1.38+? in 1h" in said(replace(SNAPSHOT, total=total))
    assert " $0.00+?/h " in said(replace(SNAPSHOT, total=replace(total, rate_unpriced=1)))


@pytest.mark.parametrize("size", [(80, COMPACT), (120, COMPACT), (120, TALL), (200, TALL)])
def test_a_filter_s_figures_stand_beside_those_of_the_fleet(size: tuple[int, int]) -> None:
    assert " of $" not in said(SNAPSHOT, *size)
    assert "fleet" not in said(SNAPSHOT, *size)
    found = replace(SNAPSHOT, unfiltered=Rate(9999.95, 2), total=row(usd_per_hour=0.0, rate_unpriced=1))
    for plain in (UNICODE, ASCII):
        words = "\n".join(text(line) for line in header(found, *size, plain))
        assert " of $9999.95+?" in words
        assert "fleet 15m" in words, "the chart is that of the fleet"
    assert " of $?" in said(replace(found, unfiltered=Rate(0, 2, Basis.UNKNOWN)), *size)


def test_a_demo_says_so() -> None:
    demo = replace(SNAPSHOT, sources=(replace(OK_SOURCE, demo=True),))
    assert " DEMO " in said(demo)
    assert " DEMO " in said(demo, 120, TALL)
    assert " DEMO " in said(demo, 40)
    assert "DEMO" not in said(SNAPSHOT)


def test_reading_shows_how_far() -> None:
    words = said(replace(SNAPSHOT, sources=(READING, OK_SOURCE)))
    assert "reading" in words
    assert " 25%" in words
    assert "50.0 MB of 200 MB" in words
    unknown = said(replace(SNAPSHOT, sources=(replace(READING, expected=0),)))
    assert "50.0 MB read" in unknown


def test_the_chart_shows_tokens_where_no_money_is_known() -> None:
    words = said(replace(SNAPSHOT, recent_cost=(0,) * 180, recent_tokens=(100,) * 180), 120, TALL)
    assert "peak 1.20k tok/m" in words


def test_a_call_every_minute_is_a_steady_rate() -> None:
    steady = tuple(1_000_000 if number % 12 == 0 else 0 for number in range(180))
    words = said(replace(SNAPSHOT, recent_cost=steady), 120, TALL)
    assert "peak $60.00/h" in words


def test_trouble_with_sources_is_told_first() -> None:
    assert "1 of 2 sources down" in said(replace(SNAPSHOT, sources=(OK_SOURCE, DOWN)))
    assert "2 sources" in said(replace(SNAPSHOT, sources=(OK_SOURCE, OK_SOURCE)))
    tall = said(replace(SNAPSHOT, sources=(OK_SOURCE, DOWN)), 160, TALL)
    assert tall.index("gateway:ws://x") < tall.index("openclaw:")
    assert "refused \ufffd[31m" in tall


def test_a_source_that_is_down_is_told_in_forty_columns() -> None:
    assert "1 of 2 sources down" in said(replace(SNAPSHOT, sources=(OK_SOURCE, DOWN)), 40)
    assert "err" in said(replace(SNAPSHOT, sources=(OK_SOURCE, OK_SOURCE)), 40)


def test_skipped_entries_have_reasons() -> None:
    source = replace(GATEWAY, skipped={"torn line": 2, "unknown frame": 12})
    assert "14 skipped: 12 unknown frame, 2 torn line" in text(source_spans(source, UNICODE))


def test_the_sources_page_says_all_of_it() -> None:
    snapshot = replace(SNAPSHOT, sources=(replace(GATEWAY, demo=True, since=SNAPSHOT.at - 60_000), DOWN, READING))
    words = "\n".join(text(line) for line in page(snapshot, 80, UNICODE))
    assert "up to date for 1m, 4,211 entries\n" in words
    assert "3 skipped unknown frame" in words
    assert "made up" in words
    assert "refused \ufffd[31m" in words
    assert "50.0 MB of 200 MB" in words
    assert "Not all sources can see: fallbacks, retries" in words
    told = "\n".join(text(line) for line in page(snapshot, 40, UNICODE, ("config.toml: \x1b " + "word " * 9,)))
    assert told.startswith("\n  ▲ config.toml: \ufffd word word word word\n    word")
    nothing = replace(SNAPSHOT, sources=(), rows=(), view=View())
    assert "No source at all" in "\n".join(text(line) for line in page(nothing, 80, UNICODE))


def test_small_rates_have_a_decimal() -> None:
    assert (rate(0), rate(0.44), rate(31.16), rate(184.2)) == ("0", "0.4", "31.2", "184")
