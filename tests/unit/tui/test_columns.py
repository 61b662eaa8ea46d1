from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawtop.fleet.order import SORTS
from clawtop.model.events import State, Tokens
from clawtop.model.snapshot import Basis, Counters, Grouping, Rate, Row, Snapshot, View, Window
from clawtop.tui.render import cells
from clawtop.tui.render.cells import Look, look
from clawtop.tui.render.columns import (
    BY_ID,
    COLUMNS,
    GUTTER,
    Layout,
    body,
    column_at,
    head,
    layout,
    next_sort,
    title,
    unknown,
)
from clawtop.tui.render.glyphs import ASCII, UNICODE
from clawtop.tui.render.line import Line, width
from tests.tui.fleet_feed import START, row
from tests.unit.tui.spans import text

ALONE = {"host"}
"""What is hidden as long as all rows come from one host."""
NARROW = layout(40, Grouping.AGENT)


def at(one: Row, hourly: float = 100.0) -> Look:
    return look(one, row("total", usd_per_hour=hourly), START, UNICODE)


def ids(places: Layout) -> list[str]:
    return [place.column.id for place in places]


def cell(name: str, one: Row, hourly: float = 100.0, cells_wide: int | None = None) -> Line:
    column = BY_ID[name]
    return column.draw(at(one, hourly), cells_wide or column.width, UNICODE)


def said(name: str, one: Row, cells_wide: int | None = None) -> str:
    return text(cell(name, one, cells_wide=cells_wide)).strip()


@given(st.integers(40, 400), st.sampled_from(Grouping), st.sets(st.sampled_from(list(BY_ID))))
def test_a_line_never_runs_over_the_edge(room: int, grouping: Grouping, hidden: set[str]) -> None:
    places = layout(room, grouping, hidden)
    assert GUTTER + sum(place.width + 1 for place in places) <= room or not places
    assert not hidden & set(ids(places))
    wide = sum(place.width + 1 for place in places) - 1
    assert width(body(at(row()), places, UNICODE)) <= max(wide, 0)
    assert width(head(places, View(group_by=grouping), UNICODE)) == GUTTER + max(wide, 0)


def test_money_is_there_at_any_width_and_everything_at_a_large_one() -> None:
    assert ids(NARROW) == ["state", "name", "usd_per_hour", "cost"]
    assert ids(layout(400, Grouping.AGENT)) == [column.id for column in COLUMNS if column.id not in {"agents", "agent"}]
    assert set(ids(layout(80, Grouping.AGENT, ALONE))) >= {
        "share",
        "tokens_per_min",
        "trend",
        "errors",
        "context",
        "last_at",
    }


@pytest.mark.parametrize(
    ("room", "more"),
    [
        (60, "share tokens_per_min errors"),
        (80, "trend last_at context"),
        (100, "model"),
        (120, "retries fallbacks"),
        (160, "project calls cache output"),
        (200, "input tool_calls latency sessions"),
    ],
)
def test_the_most_important_columns_come_first(room: int, more: str) -> None:
    wanted = {60: 40, 80: 60, 100: 80, 120: 100, 160: 120, 200: 160}
    before = set(ids(layout(wanted[room], Grouping.AGENT, ALONE)))
    assert set(ids(layout(room, Grouping.AGENT, ALONE))) - before == set(more.split())


def test_of_several_hosts_each_row_says_its_own_on_a_narrow_terminal_too() -> None:
    assert "host" in ids(layout(80, Grouping.AGENT))
    assert "host" not in ids(layout(400, Grouping.HOST))
    assert said("host", row(host="build-7")) == "build-7"
    both = Snapshot(0, View(), (), row(agents=2, host=""), ())
    assert both.several_hosts
    assert not replace(both, total=row(agents=2)).several_hosts
    assert not replace(both, total=row(agents=0, host="")).several_hosts


def test_chosen_columns_keep_their_order_and_the_first_have_room_first() -> None:
    assert ids(layout(200, Grouping.AGENT, chosen=("cost", "name", "calls"))) == ["cost", "name", "calls"]
    assert ids(layout(40, Grouping.AGENT, chosen=("cost", "model", "user", "name"))) == ["cost", "model", "user"]
    assert ids(layout(200, Grouping.MODEL, {"cost"}, ("cost", "model", "name"))) == ["name"]
    assert unknown(("cost", "colour")) == ("colour",)


def test_columns_that_say_nothing_for_a_grouping_are_left_out() -> None:
    assert "agents" in ids(layout(200, Grouping.PROJECT))
    assert "project" not in ids(layout(400, Grouping.PROJECT))
    assert "model" not in ids(layout(400, Grouping.MODEL))
    assert "agent" in ids(layout(80, Grouping.RUN))
    assert "agents" not in ids(layout(400, Grouping.RUN))


def test_titles_name_the_window_the_grouping_and_what_sorts() -> None:
    view = View(window=Window.H24, group_by=Grouping.PROJECT)
    assert title(BY_ID["cost"], view) == "$ 24h"
    assert title(BY_ID["name"], view) == "project"
    assert "$/h▼" in text(head(NARROW, view, UNICODE))
    assert "$/hv" in text(head(NARROW, view, ASCII))
    assert "$ 24h▲" in text(head(NARROW, replace(view, sort="cost", descending=False), UNICODE))


def test_titles_end_where_their_figures_end() -> None:
    places = layout(120, Grouping.AGENT)
    titles, figures = text(head(places, View(), UNICODE)), "  " + text(body(at(row()), places, UNICODE))
    assert titles.index("$/h▼") + 4 == figures.index("12.34") + 5
    assert titles.index("$ 1h") + 4 == figures.index("3.06") + 4
    assert titles.index("tok/m") + 5 == figures.index("18.2k") + 5
    assert titles.index("err ") + 3 == figures.rindex(" 2 ") + 2


def test_whatever_sorts_is_known_to_the_fleet() -> None:
    assert {column.sort for column in COLUMNS if column.sort is not None} <= SORTS


def test_the_column_under_the_mouse() -> None:
    assert column_at(NARROW, 0) is None
    assert column_at(NARROW, GUTTER) is BY_ID["state"]
    assert column_at(NARROW, 39) is None


def test_the_next_column_that_sorts() -> None:
    right = next_sort(NARROW, "usd_per_hour", 1)
    assert right is BY_ID["cost"]
    assert next_sort(NARROW, "cost", 1) is None
    assert next_sort(NARROW, "usd_per_hour", -1) is BY_ID["name"]
    assert [next_sort(NARROW, "calls", step) for step in (-1, 1)] == [BY_ID["cost"], None]
    assert next_sort(NARROW[1:], "state", 1) is BY_ID["name"]
    assert next_sort((), "cost", 1) is None


UNPRICED = Counters(calls=5, unpriced_calls=5)


@pytest.mark.parametrize(
    ("name", "one", "wanted"),
    [
        ("cost", row(cost=1_380_000), "1.38"),
        ("cost", row(cost=1_380_000, counters=Counters(calls=9, unpriced_calls=2)), "1.38+?"),
        ("cost", row(cost=0, basis=Basis.UNKNOWN, counters=UNPRICED), "?"),
        ("cost", row(cost=0, basis=Basis.UNKNOWN, counters=Counters()), "0.00"),
        ("cost", row(blind=frozenset(["cost"])), "–"),
        ("usd_per_hour", row(rate_basis=Basis.UNKNOWN, rate_unpriced=5), "?"),
        ("usd_per_hour", row(rate_unpriced=5), "12.34+?"),
        ("usd_per_hour", row(rate_unpriced=5, usd_per_hour=123.45), "123+?"),
        ("usd_per_hour", row(basis=Basis.UNKNOWN, counters=UNPRICED, usd_per_hour=0.0, calls_per_min=0.0), "0.00"),
        ("usd_per_hour", row(usd_per_hour=0.001), "<0.01"),
        ("retries", row(counters=Counters(retries=3)), "3"),
        ("retries", row(blind=frozenset(["retries"])), "–"),
        ("context", row(context_pct=None), "–"),
        ("context", row(context_pct=47.6), "48%"),
        ("latency", row(latency_p95=None), "–"),
        ("cache", row(tokens=Tokens(25, 9, 75, 0)), "75%"),
        ("cache", row(tokens=Tokens()), "–"),
        ("last_at", row(last_at=START - 200_000), "3m"),
        ("last_at", row(last_at=None), "–"),
        ("agents", row(agents=1200, agents_running=7), "7/1.20k"),
        ("user", row(user=None), "–"),
        ("user", row(user="ann"), "ann"),
        ("project", row(project="infrastructure", projects=3), "infras… +2"[-10:]),
        ("model", row(model="anthropic/claude-sonnet-4-5"), "…e-sonnet-4-5"),
        ("model", row(model=None), "–"),
        ("name", row("agent:coder:main", group=("h", "a", "s")), "agent:…:main"),
        ("agent", row("agent:coder:main", group=("h", "coder", "s")), "coder"),
        ("name", row("\x1b[2Jme"), "\ufffd[2Jme"),
        ("state", row(state=State.ERROR), "✗ err"),
        ("state", row(hold="paused"), "‖ held"),
        ("state", row(hold="thinking"), "‖ hold"),
    ],
)
def test_what_a_cell_says(name: str, one: Row, wanted: str) -> None:
    assert said(name, one) == wanted


def test_a_wide_state_says_the_word() -> None:
    assert said("state", row(), 10) == "● running"
    assert said("state", row(hold="stopping"), 10) == "‖ stopping"
    assert said("state", row(hold="requested"), 10) == "‖ asked"
    assert said("state", row(hold="paused", hold_detail="412 ms; loop"), 14) == "‖ paused 412ms"
    assert said("state", row(hold="paused", hold_detail="412 ms"), 10) == "‖ paused"
    assert said("state", row(hold="failed"), 6) == "✗ fail"
    assert said("state", row(hold="unsupported"), 13) == "✗ unsupported"
    assert cell("name", row(hold="paused"))[0].style == "held"
    assert said("model", row(), 30) == "anthropic/claude-opus-4-5"
    assert said("model", row(model="claude-opus-4-5-20251101"), 17) == "claude-opus-4-5"
    assert said("model", row(model="claude-opus-4-5-20251101"), 24) == "claude-opus-4-5-20251101"


def named(one: Row, cells_wide: int, grouping: Grouping, chosen: tuple[str, ...] = ("name",)) -> str:
    places = [place for place in layout(cells_wide + 3, grouping, chosen=chosen) if place.column.id == "name"]
    return text(body(at(one), tuple(place._replace(width=cells_wide) for place in places), UNICODE)).strip()


def test_a_model_s_row_is_shortened_like_a_model() -> None:
    def model(label: str, cells_wide: int = 18) -> str:
        return named(row(label, group=tuple(label.rsplit("/", 1)), agent=None), cells_wide, Grouping.MODEL)

    assert model("anthropic/claude-sonnet-4-5-20250929") == "claude-sonnet-4-5"
    assert model("anthropic/claude-opus-4-5", 25) == "anthropic/claude-opus-4-5"
    assert model("anthropic/claude-opus-4-5", 12) == "…de-opus-4-5"
    assert ids(layout(40, Grouping.MODEL)) == ["state", "name", "usd_per_hour", "cost"]
    (name,) = [place for place in layout(80, Grouping.MODEL) if place.column.id == "name"]
    assert (name.width >= len("claude-sonnet-4-5"), title(name.column, View(group_by=Grouping.MODEL))) == (
        True,
        "model",
    )


def test_a_session_s_name_does_not_repeat_the_agent_beside_it() -> None:
    one = row("agent:coder:cron:nightly", group=("local", "coder", "s"), agent="coder")
    assert named(one, 20, Grouping.SESSION) == "agent:code…n:nightly"
    assert named(one, 20, Grouping.SESSION, ("name", "agent")) == "agent:code…n:nightly", "no room for the agent"
    wide = layout(80, Grouping.SESSION)
    assert "  cron:nightly " in f"  {text(body(at(one), wide[1:], UNICODE))}"
    alone = layout(40, Grouping.SESSION, ("agent",), of_one_agent=True)
    assert text(body(at(one), alone, UNICODE)).split()[2] == "cron:nightly"
    assert "agent:coder:" in text(body(at(replace(one, label="agent:coder:")), alone, UNICODE))


def test_heat_is_the_share_of_the_fleet_and_never_colour_alone() -> None:
    shares = {2.0: "", 4.0: "mild", 12.0: "warm", 40.0: "hot"}
    for hourly, style in shares.items():
        one = row(usd_per_hour=hourly)
        assert cell("usd_per_hour", one)[0].style == (style or "value")
        bar = text(cell("share", one))
        assert bool(bar.strip()) == bool(style)
    assert text(cell("share", row(usd_per_hour=50.0))).strip() == "██▌"


def test_an_alert_stands_behind_the_name() -> None:
    assert text(cell("name", row("a-very-long-agent-name", alerts=("loop",)))) == "a-very-lo… ▲"


def test_looks_differ_only_when_the_line_would() -> None:
    one = row(usd_per_hour=10.0)
    assert at(one, 100.0) == at(one, 100.5)
    assert at(one, 100.0) != at(one, 200.0)
    assert cells.look(one, row(usd_per_hour=100.0), START + 100, UNICODE) == at(one)


def test_a_filter_makes_nothing_hotter() -> None:
    one = row(usd_per_hour=1.6)
    alone = Snapshot(START, View(), (one,), row("total", usd_per_hour=1.6), (), unfiltered=Rate(100.0))
    assert look(one, alone.fleet, START, UNICODE).share == at(one).share < 2


def test_nothing_is_hot_where_nothing_is_spent() -> None:
    assert at(row(usd_per_hour=0.0), 0.0).share == 0
