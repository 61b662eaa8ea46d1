"""What a filter finds: words in names of any grouping, and numbers under the names that columns have."""

import pytest

from clawtop.model.errors import UsageError
from clawtop.model.selection import parse_filter
from clawtop.model.snapshot import Counters, Grouping, Row
from clawtop.tui.render.columns import COLUMNS
from tests.tui.fleet_feed import row
from tests.unit.fleet.made import CODER, call, fleet, shot

REVIEWER = CODER._replace(
    agent="reviewer", session="9f3c", run="7b21", project="checkout", user="ann", owner="team", task="t-17",
    cron="nightly", environment="prod", session_key="agent:reviewer:main",
)  # fmt: skip
NAMES = {
    Grouping.AGENT: "reviewer",
    Grouping.PROJECT: "checkout",
    Grouping.USER: "ann",
    Grouping.OWNER: "team",
    Grouping.MODEL: "swift",
    Grouping.PROVIDER: "acme",
    Grouping.SESSION: "agent:reviewer:main",
    Grouping.RUN: "7b21",
    Grouping.TASK: "t-17",
    Grouping.CRON: "nightly",
    Grouping.HOST: "far",
    Grouping.ENVIRONMENT: "prod",
}
MADE = fleet(call("a"), call("b", key=REVIEWER._replace(host="far"), provider="acme", model="swift"))


def found(text: str, by: Grouping) -> list[str]:
    return [row.label for row in shot(MADE, group_by=by, filter=parse_filter(text)).rows]


def passes(text: str, one: Row) -> bool:
    return parse_filter(text)(one)


@pytest.mark.parametrize("by", Grouping)
def test_a_word_finds_rows_by_what_they_are_called(by: Grouping) -> None:
    (name,) = found(NAMES[by], by)
    assert NAMES[by] in name
    assert found(f"name:{NAMES[by]}", by) == [name]
    assert found(f"!{NAMES[by]}", by) == [row.label for row in shot(MADE, group_by=by).rows if row.label != name]


@pytest.mark.parametrize("by", [Grouping.AGENT, Grouping.SESSION, Grouping.RUN])
def test_an_agent_s_sessions_and_runs_are_found_by_its_name(by: Grouping) -> None:
    for text in ("reviewer", "agent:reviewer", "agent=review*"):
        assert found(text, by) == found(NAMES[by], by)
    assert found("agent:nobody", by) == []


def test_a_session_is_found_by_its_whole_name() -> None:
    for text in ("agent:reviewer:main", "agent:reviewer:m*", "name:agent:reviewer:main"):
        assert found(text, Grouping.SESSION) == ["agent:reviewer:main"]


def test_what_is_no_agent_is_not_found_as_one() -> None:
    assert found("agent:checkout", Grouping.PROJECT) == []
    assert found("agent:swift", Grouping.MODEL) == []


def test_a_number_has_the_name_of_its_column_too() -> None:
    one = row(counters=Counters(calls=9, errors=2, retries=3, fallbacks=4, tool_calls=5), context_pct=60.0)
    for text in ("err=2", "retry=3", "fallb=4", "tools=5", "calls=9", "ctx>50", "tok/m>5", "p95>4000", "sess=6"):
        assert passes(text, one)
        assert not passes(f"!{text}", one)
    for text in ("$>3", "$/h>12", "in>800000", "out<6000", "cache>59", "cache<61", "agents=1"):
        assert passes(text, one)


@pytest.mark.parametrize("column", [column for column in COLUMNS if column.sort and not column.left], ids=str)
def test_every_column_of_figures_can_be_filtered_by_its_title(column: object) -> None:
    title = column.title  # type: ignore[attr-defined]
    if title != "age":  # which needs a clock
        assert parse_filter(f"{title}>5").terms


def test_nobody_is_told_to_look_for_a_state_among_the_names() -> None:
    with pytest.raises(UsageError, match=r"e\.g\. !state:idle"):
        parse_filter("!")
    assert not passes("!state:running", row())
    with pytest.raises(UsageError, match=r"one of .*errors.*, or as columns say .*err"):
        parse_filter("mistakes>5")


def test_what_no_source_sees_passes_no_comparison() -> None:
    unseen = row(
        blind=frozenset({"tokens", "tokens_per_min", "cost", "errors", "sessions"}), cost=0, tokens_per_min=0.0,
        counters=Counters(), sessions=0,
    )  # fmt: skip
    for text in ("tok/m<5", "cost<5", "err<5", "sess<5"):
        assert not passes(text, unseen)
    assert not passes("cost<5", row(blind=frozenset({"cost"}))), "some of its agents' cost is seen, and not all"
    assert passes("cost>3", row(blind=frozenset({"cost"})))
