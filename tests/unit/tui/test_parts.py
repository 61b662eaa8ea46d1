"""What the page of a row says it is made of: with any grouping just that row's, and as many as the row counts."""

import re

import pytest

from clawtop.fleet.fleet import Fleet
from clawtop.model.events import Aborted, Attempt, Event, ToolError
from clawtop.model.keys import Key
from clawtop.model.selection import Scope
from clawtop.model.snapshot import Grouping, Row, View, Window
from clawtop.tui.render import detail
from clawtop.tui.render.glyphs import UNICODE
from tests.unit.fleet.made import CODER, HOUR, NOW, SECOND, call, fleet, shot
from tests.unit.tui.spans import text

HERE = Key(
    "local", "coder", "s1", "r1", project="api", user="ann", owner="team", environment="prod", task="t1",
    cron="nightly", session_key="agent:coder:main",
)  # fmt: skip
THERE = Key(
    "far", "coder", "s1", "r1", project="web", user="bob", owner="else", environment="test", task="t2",
    cron="weekly", session_key="agent:coder:main",
)  # fmt: skip
PARTS = [Grouping.AGENT, Grouping.MODEL, Grouping.SESSION, Grouping.RUN]


def made() -> Fleet:
    events: list[Event] = []
    for key, provider in ((HERE, "acme"), (THERE, "else")):
        second = key._replace(session="s2", run="r2", session_key="agent:coder:cron:x")
        events += [
            call(f"{key.host} a", key=key, provider=provider, model=f"{provider}-1"),
            call(f"{key.host} b", 9 * SECOND, second, provider=provider, model=f"{provider}-1"),
            Attempt(key, NOW, f"{key.host} c", provider, f"{provider}-1"),
        ]
    return fleet(*events)


def made_of(one: Fleet, row: Row, view: View) -> dict[Grouping, tuple[Row, ...]]:
    return {by: one.look(part, NOW).rows for by, part in detail.parts(row, view).items()}


@pytest.mark.parametrize("by", Grouping)
def test_every_row_is_made_of_its_own_agents_models_sessions_and_runs(by: Grouping) -> None:
    one, view = made(), View(group_by=by)
    rows = one.snapshot(view, NOW).rows
    assert len({row.host for row in rows}) == 2
    for row in rows:
        found = made_of(one, row, view)
        assert set(found) >= set(PARTS) - {by} - ({Grouping.AGENT} if row.agent else set())
        for part in found.values():
            assert {each.host for each in part} == {row.host}
            assert sum(each.cost for each in part) == row.cost
        if Grouping.SESSION in found:
            assert len(found[Grouping.SESSION]) == row.sessions
        if Grouping.RUN in found:
            assert len(found[Grouping.RUN]) == row.runs


@pytest.mark.parametrize("by", Grouping)
def test_parts_keep_up_with_what_their_row_does(by: Grouping) -> None:
    one, view = made(), View(group_by=by)
    rows = [row for row in one.snapshot(view, NOW).rows if row.host == "local"]
    row = next(row for row in rows if row.group[-1] not in {"s2", "r2"})
    before = made_of(one, row, view)
    for key, provider in ((HERE, "acme"), (THERE, "else")):
        one.fold(call(f"{key.host} new", 0, key, provider=provider, model=f"{provider}-1", cost=7_000))
    after = made_of(one, row, view)
    assert {part: sum(each.cost for each in rows) for part, rows in after.items()} == {
        part: sum(each.cost for each in rows) + 7_000 for part, rows in before.items()
    }


def test_a_scope_and_a_window_hold_on_the_page_too() -> None:
    odd = HERE._replace(agent="co*der[1]?", project="x")
    one = fleet(
        call("a", key=odd),
        call("b", key=odd._replace(agent="coxder1x")),
        call("c", key=odd._replace(project="y", session="s3")),
        call("d", 2 * HOUR, odd._replace(session="s4")),
    )
    view = View(Window.H24, scope=Scope(projects=("x",)))
    (row,) = [row for row in one.snapshot(view, NOW).rows if row.agent == odd.agent]
    assert {each.group[-1] for each in made_of(one, row, view)[Grouping.SESSION]} == {"s1", "s4"}
    recent = View(scope=Scope(projects=("x",)))
    (row,) = [row for row in one.snapshot(recent, NOW).rows if row.agent == odd.agent]
    assert {each.group[-1] for each in made_of(one, row, recent)[Grouping.SESSION]} == {"s1"}


def said(one: Fleet, view: View, cells: int = 120) -> str:
    snapshot = one.snapshot(view, NOW)
    row = snapshot.rows[0]
    lines = detail.page(row, snapshot, made_of(one, row, view), cells, UNICODE)
    return "\n".join(text(line).rstrip() for line in lines)


def titles(page: str) -> list[str]:
    return re.findall(r"^  (?:Agents|Models|Sessions|Runs) .*$", page, re.MULTILINE)


def test_a_page_counts_what_the_row_counts_and_names_the_rest() -> None:
    key = CODER._replace(session="s9", run="r9")
    one = fleet(
        call("a", key=CODER),
        Aborted(key, NOW, "b"),
        Aborted(key._replace(session="s8"), NOW, "c"),
        ToolError(CODER._replace(session=None, run=None), NOW, "d", "exec"),
    )
    row = shot(one).rows[0]
    assert (row.sessions, row.runs) == (1, 1)
    page = said(one, View())
    assert titles(page) == [
        "  Models 1  +1 without a call",
        "  Sessions 1  +3 without a call",
        "  Runs 1  +2 without an attempt",
    ]
    for name in ("(no model)", "(no session)", "(no run)"):
        assert name in page


def test_runs_that_no_source_names_are_no_part() -> None:
    page = said(fleet(call("a", key=CODER._replace(run=None))), View())
    assert [title.split()[0] for title in titles(page)] == ["Models", "Sessions"]


def test_sessions_of_several_agents_say_whose_they_are() -> None:
    one = made()
    page = said(one, View(group_by=Grouping.PROJECT))
    assert re.search(r" main +coder ", page)
    assert re.search(r"session +agent ", page)
    of_one = said(one, View())
    assert not re.search(r"session +agent ", of_one)
    assert "agent:coder:" not in of_one
    assert "cron:x" in of_one
