from collections.abc import Mapping
from dataclasses import replace

import pytest

from clawtop.model.keys import Key
from clawtop.model.selection import Scope, parse_filter
from clawtop.model.snapshot import (
    Basis,
    Counters,
    Grouping,
    Health,
    Incident,
    Rate,
    Row,
    Snapshot,
    SourceStatus,
    View,
)
from clawtop.tui.render import detail, empty, foot, keyboard, lists, order
from clawtop.tui.render.columns import layout
from clawtop.tui.render.glyphs import ASCII, UNICODE
from clawtop.tui.render.line import Line, Span, ends, fit, right, width, wrap
from tests.tui.fleet_feed import FleetFeed, row
from tests.unit.tui.spans import text

FLEET = FleetFeed(6)
SNAPSHOT = FLEET.snapshot


def words(lines: tuple[Line, ...]) -> str:
    return "\n".join(text(line) for line in lines)


def test_a_line_is_fitted_by_cells() -> None:
    line = fit((Span("世界"), Span("abc", "x")), 6, "…")
    assert text(line) == "世界a…"
    assert text(fit(line, 3)) == "世 "
    assert text(right(line, 7)) == " 世界a…"
    assert text(ends(line, (Span("end"),), 8, "…")) == "世界…end"
    assert text(ends(line, line, 6)) == text(line)


@pytest.mark.parametrize("cells", [5, 9, 40])
def test_wrapping_breaks_at_blanks_and_splits_what_is_too_long(cells: int) -> None:
    lines = wrap("no such directory 世界世界世界世界", cells)
    assert all(width((Span(line),)) <= cells for line in lines)
    assert "".join(lines).replace(" ", "") == "nosuchdirectory世界世界世界世界"


def test_rows_keep_their_places_and_new_ones_follow() -> None:
    a, b, c = row("a"), row("b"), row("c")
    assert order.arrange([b.group, a.group, ("gone",)], [c, a, b]) == (b, a, c)


def test_moving_the_cursor() -> None:
    assert order.moved(3, -5, 10) == 0
    assert order.moved(3, 50, 10) == 9
    assert order.moved(None, 1, 10, 4) == 4
    assert order.moved(None, 1, 2, 4) == 1
    assert order.moved(0, 1, 0) is None


def test_a_command_is_about_the_tagged_rows_else_about_the_cursor() -> None:
    rows = {each.group: each for each in (row("a"), row("b"))}
    a, b = rows.values()
    assert order.aimed(rows, a.group, []) == (a,)
    assert order.aimed(rows, a.group, [b.group]) == (b,)
    assert order.aimed(rows, a.group, [("gone",)]) == ()
    assert order.aimed(rows, a.group, [("gone",), b.group]) == (b,)
    assert order.aimed(rows, ("gone",), []) == ()
    assert order.aimed(rows, None, []) == ()


KEY = Key("local", "coder", "s1", "r1", project="api", user="ann", session_key="agent:coder:main", cron="nightly")
INCIDENT = Incident(0, KEY, "error", "openai/gpt", "429")


@pytest.mark.parametrize(
    ("grouping", "group"),
    [
        (Grouping.AGENT, ("local", "coder")),
        (Grouping.SESSION, ("local", "coder", "s1")),
        (Grouping.SESSION, ("local", "coder", "agent:coder:main")),
        (Grouping.RUN, ("local", "coder", "r1")),
        (Grouping.PROJECT, ("api",)),
        (Grouping.USER, ("ann",)),
        (Grouping.OWNER, ("",)),
        (Grouping.MODEL, ("openai", "gpt")),
        (Grouping.PROVIDER, ("openai",)),
        (Grouping.HOST, ("local",)),
        (Grouping.CRON, ("nightly",)),
    ],
)
def test_whose_incident_it_is(grouping: Grouping, group: tuple[str, ...]) -> None:
    assert detail.concerns(INCIDENT, replace(row(), group=group), grouping)
    other = (*group[:-1], "other")
    assert not detail.concerns(INCIDENT, replace(row(), group=other), grouping)


def page(one: Row, snapshot: Snapshot = SNAPSHOT, columns: int = 120) -> str:
    return words(detail.page(one, snapshot, {Grouping.SESSION: (row("s1"),) * 14}, columns, UNICODE))


def test_the_page_of_a_row_has_every_figure_by_its_name() -> None:
    one = row(blind=frozenset(["retries"]), hold_detail="aborted", detail="429 \x1b[0m", alerts=("loop",))
    said = page(one)
    for name in (
        "unpriced calls", "unmetered runs", "tokens/min", "cache read", "cache write", "context full", "latency p95",
        "tool errors", "fallbacks", "failed turns", "aborts", "compactions", "sessions, runs",
    ):  # fmt: skip
        assert name in said
    assert "$3.056962" in said
    assert "as the agents logged it" in said
    assert "862,995" in said
    assert "retries                    –"[:7] in said
    assert "429 \ufffd[0m" in said
    assert "and 2 more" in said


def test_a_page_without_a_price_says_so() -> None:
    counters, unknown = Counters(calls=2, unpriced_calls=2), Basis.UNKNOWN
    said = page(row(basis=unknown, counters=counters, rate_basis=unknown, rate_unpriced=2))
    assert "$?/h" in said
    assert "no price is known" in said
    assert " $12.34+?/h " in page(row(rate_unpriced=1))
    assert "$1.380000+?" in page(row(cost=1_380_000, counters=Counters(calls=2, unpriced_calls=1)))


def test_a_page_under_a_filter_has_its_share_of_the_whole_fleet() -> None:
    alone = replace(SNAPSHOT, total=row("total"), unfiltered=Rate(123.4))
    assert "10% of the fleet" in page(row(), alone)


def test_the_last_errors_of_a_row_are_its_own() -> None:
    mine = Incident(SNAPSHOT.at - 65_000, Key("local", "coder"), "error", "a/b", "429 rate limit")
    other = replace(mine, key=Key("local", "else"), text="not mine")
    said = page(row(), replace(SNAPSHOT, incidents=(mine, other)))
    assert "1m ago" in said
    assert "429 rate limit" in said
    assert "not mine" not in said
    assert "Last errors\n  none" in page(row(), replace(SNAPSHOT, incidents=(other,)))


@pytest.mark.parametrize("cells", [1, 10, 16, 17, 40, 80, 120, 200])
def test_a_page_fits_its_width(cells: int) -> None:
    lines = detail.page(row("n" * 300), SNAPSHOT, {Grouping.MODEL: (row(),)}, cells, ASCII)
    assert max(width(line) for line in lines) <= cells
    assert words(lines).isascii()


def test_projects_are_listed_with_their_spend_the_most_expensive_first() -> None:
    snapshot = FLEET.look(View(group_by=Grouping.PROJECT)).result()
    items = lists.projects(snapshot, UNICODE)
    assert items[0].value == lists.EVERYTHING
    costs = {each.label: each.cost for each in snapshot.rows}
    assert [item.value for item in items[1:]] == sorted(costs, key=lambda name: -costs[name])
    assert [item.value for item in lists.matching(items, "WEB")] == ["website"]


def test_every_grouping_and_every_sortable_column_is_listed() -> None:
    assert [item.value for item in lists.groupings()] == [each.value for each in Grouping]
    assert "usd_per_hour" in [item.value for item in lists.sorts(View(), UNICODE)]
    shown = words(tuple(item.line for item in lists.columns(View(), {"cost"})))
    assert shown.count("[ ]") == 1


KEYS = {"demo": "d", "filter": "/", "project": "p", "window": "w"}


def empty_page(snapshot: Snapshot, keys: Mapping[str, str] = KEYS, cells: int = 80, *, demo: bool = True) -> str:
    return words(empty.page(replace(snapshot, rows=()), cells, UNICODE, keys.get, demo=demo))


def test_a_machine_without_agents_says_what_was_looked_for() -> None:
    nothing = FleetFeed(
        0, [replace(source, entries=0, detail="no such directory") for source in FLEET.sources]
    ).snapshot
    said = empty_page(nothing)
    for word in ("openclaw:~/.openclaw", "no such directory", "clawtop -s openclaw:DIR", "-s events:PATH", "press d"):
        assert word in said
    for keys, demo in (({}, True), (KEYS, False)):
        assert "press" not in empty_page(nothing, keys, demo=demo)
    assert "no source at all" in empty_page(replace(nothing, sources=()))
    looked = words(empty.page(replace(nothing, sources=(), rows=()), 80, UNICODE, KEYS.get, ["codex:/home/me/.codex"]))
    assert "codex:/home/me/.codex   is not there" in looked
    assert "no source at all" not in looked


def test_a_receiver_that_waits_says_where_to_send() -> None:
    source = SourceStatus("otlp://127.0.0.1:4399", Health.OK, "listening on 127.0.0.1:4399, 0 requests")
    waiting = FleetFeed(0, [source]).snapshot
    said = empty_page(waiting)
    assert "Nothing was sent yet" in said
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4399" in said
    unnamed = replace(waiting, sources=(replace(source, uri="otlp://"),))
    assert "http://127.0.0.1:4318" in empty_page(unnamed)


def test_an_empty_table_says_why() -> None:
    filtered = replace(SNAPSHOT, view=View(filter=parse_filter("nobody")), hidden=6)
    assert "No row passes the filter nobody" in empty_page(filtered)
    assert "6 rows are hidden" in empty_page(filtered)
    assert "Nothing was spent on web" in empty_page(replace(SNAPSHOT, view=View(scope=Scope(projects=("web",)))))
    assert "Nothing happened in the last 1h" in empty_page(SNAPSHOT)
    assert empty.page(SNAPSHOT, 80, UNICODE, KEYS.get) == ()


def test_an_empty_table_names_the_keys_as_they_are_mapped() -> None:
    filtered = replace(SNAPSHOT, view=View(filter=parse_filter("nobody")), hidden=6)
    project = replace(SNAPSHOT, view=View(scope=Scope(projects=("a[[]b]c",))))
    other = {"filter": "F5", "window": "Y"}
    assert "Press F5 to change it." in empty_page(filtered, other)
    assert "Press p for another project, w to count further back." in empty_page(project)
    assert "Press Y to count further back." in empty_page(project, other)
    assert "Press" not in empty_page(project, {})
    assert "Nothing was spent on a[b]c" in empty_page(project)


def test_an_empty_page_fits_forty_columns_and_begins_with_the_demo() -> None:
    nothing = FleetFeed(0, [replace(each, entries=0, detail="no such directory") for each in FLEET.sources]).snapshot
    lines = empty_page(nothing, cells=40).splitlines()
    assert max(map(len, lines)) <= 40
    assert "press d" in lines[2]
    assert "Claude Code's folder; codex:DIR" in empty_page(nothing, cells=40)


def test_the_last_line_says_what_sorts_where_no_title_does() -> None:
    places = layout(80, Grouping.AGENT)
    assert foot.sorting(View(), places, UNICODE) == ()
    assert text(foot.sorting(View(sort="retries"), places, UNICODE)) == "by retry▼  "
    assert text(foot.sorting(View(sort="user", descending=False), places, ASCII)) == "by user^  "


def test_the_last_line_cuts_no_figure() -> None:
    state = (*foot.tagged(2, 0), *foot.status(View(), (0, 6), 12, 0, UNICODE))
    assert text(foot.foot((), state, 20)) == "2 tagged  1-6 of 12 "
    assert text(foot.foot((), state, 19)).split() == ["2", "tagged"]


def test_the_last_line_says_how_many_tags_are_hidden() -> None:
    assert foot.tagged(0, 0) == ()
    assert text(foot.tagged(3, 0)) == "3 tagged  "
    assert text(foot.tagged(3, 2)) == "3 tagged (2 hidden)  "


@pytest.mark.parametrize("name", ["*", "a[b]c", "[*]", "what?", "plain"])
def test_the_last_line_has_a_project_by_its_name(name: str) -> None:
    said = text(foot.status(View(scope=Scope(projects=(detail.exactly(name),))), (0, 1), 1, 0, UNICODE))
    assert said == f"project {name}  "


def test_a_project_called_like_a_glob_is_none_of_the_others() -> None:
    rows = tuple(replace(each, group=(name,), label=name) for name in ("*", "web") for each in (row(),))
    items = lists.projects(replace(SNAPSHOT, rows=rows), UNICODE)
    assert len({item.value for item in items}) == 3
    scopes = [Scope(projects=(item.value,)) for item in items[1:]]
    assert [[scope.holds(Key("", "", project=name)) for name in ("*", "web")] for scope in scopes] == [
        [True, False],
        [False, True],
    ]


@pytest.mark.parametrize("grouping", list(Grouping))
def test_no_two_lines_of_a_list_are_called_the_same(grouping: Grouping) -> None:
    view = View(group_by=grouping)
    for items in (lists.columns(view, ()), lists.sorts(view, UNICODE)):
        called = [text(item.line)[:18] for item in items]
        assert len(set(called)) == len(called)


def test_the_last_line_says_what_is_hidden_and_in_sight() -> None:
    view = View(filter=parse_filter("co\u202ede"), scope=Scope(projects=("web",)))
    said = text(foot.status(view, (10, 30), 500, 7, UNICODE))
    assert said == "project web  /co\ufffdde (7 hidden)  11-30 of 500 "
    line = foot.foot((("q", "quit"), ("w", "window")), foot.status(View(), (0, 9), 500, 0, UNICODE), 24)
    assert text(line) == " q quit      1-9 of 500 "


def test_help_has_a_heading_for_each_group() -> None:
    class Known:
        keys, about, group = ("a", "F1"), "does it", "Move"

    for columns in (80, 200):
        said = words(keyboard.page([Known(), Known()], columns, UNICODE))
        assert said.count("Move") == 1
        assert said.count("a F1") == 2
        assert "Signs" in said
