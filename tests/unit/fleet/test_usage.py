"""What was counted since history begins: every cell once, whatever the fleet does to stay within its limits."""

from hypothesis import given, settings

from clawtop.fleet.store import Limits
from clawtop.model.events import Blind, Event, Increase, SessionState, State, Tokens, ToolError
from clawtop.model.keys import Key
from clawtop.model.selection import Scope
from clawtop.model.snapshot import Grouping, Window
from tests.unit.fleet.made import CODER, HOUR, NOW, SECOND, call, failed, fleet, histories, shot

EVERYTHING = Scope()


def test_a_cell_is_one_project_user_and_model_of_an_agent() -> None:
    made = fleet(
        call("a", key=CODER._replace(user="ann")),
        call("b", ago=40 * 24 * HOUR, key=CODER._replace(user="ann", session="s2", run=None, task="t")),
        call("c", key=CODER._replace(user="bob")),
        failed("d", model="other"),
        ToolError(CODER, NOW, "e", "exec"),
    )
    cells = made.usage(EVERYTHING, NOW).cells
    found = {(cell.project, cell.user, cell.model): cell for cell in cells}
    assert found.keys() == {
        ("api", "ann", "mock/normal"),
        ("api", "bob", "mock/normal"),
        ("api", None, "mock/other"),
        ("api", None, None),
    }
    ann = found["api", "ann", "mock/normal"]
    assert (ann.tokens, ann.cost, ann.counters.calls, ann.priced) == (Tokens(200, 20), 2_000 * 10**6, 2, True)
    assert found["api", None, "mock/other"].counters.errors == 1
    assert found["api", None, None].counters.tool_errors == 1


def test_a_cell_without_any_price_says_so() -> None:
    (cell,) = fleet(call("a", cost=None), call("b", cost=None)).usage(EVERYTHING, NOW).cells
    assert (cell.priced, cell.cost, cell.counters.unpriced_calls) == (False, 0, 2)
    (cell,) = fleet(call("a", cost=None), call("b")).usage(EVERYTHING, NOW).cells
    assert (cell.priced, cell.cost, cell.counters.unpriced_calls) == (True, 1_000 * 10**6, 1)


def test_agents_come_with_their_state_and_what_is_not_seen_of_them() -> None:
    made = fleet(
        call("a"),
        Blind(CODER, frozenset({"retries"})),
        SessionState(Key("far", "main", "s"), NOW, State.RUNNING),
        SessionState(Key("far", "ops", "s"), NOW, State.ERROR),
    )
    agents = {(each.host, each.agent): (each.state, each.blind) for each in made.usage(EVERYTHING, NOW).agents}
    assert agents == {
        ("local", "coder"): (State.UNKNOWN, frozenset({"retries"})),
        ("far", "main"): (State.RUNNING, frozenset()),
        ("far", "ops"): (State.ERROR, frozenset()),
    }


def test_a_scope_leaves_out_cells_and_agents() -> None:
    made = fleet(call("a"), call("b", key=CODER._replace(project="web")), call("c", key=Key("local", "main")))
    usage = made.usage(Scope(projects=("api",)), NOW)
    assert [(cell.agent, cell.project) for cell in usage.cells] == [("coder", "api")]
    assert [each.agent for each in usage.agents] == ["coder"]


@settings(deadline=None)
@given(histories())
def test_the_cells_of_an_agent_add_up_to_its_row(history: list[Event]) -> None:
    made = fleet(*history)
    usage = made.usage(EVERYTHING, NOW)
    for row in shot(made, Window.ALL, Grouping.AGENT).rows:
        cells = [cell for cell in usage.cells if (cell.host, cell.agent) == row.group]
        assert (sum(cell.cost for cell in cells) + 500_000) // 1_000_000 == row.cost
        for name in ("calls", "errors", "retries", "fallbacks", "unpriced_calls", "resets", "unmetered_runs"):
            assert sum(getattr(cell.counters, name) for cell in cells) == getattr(row.counters, name)
        assert Tokens(*map(sum, zip(*(cell.tokens for cell in cells), strict=True))) == row.tokens


def test_what_the_fleet_folds_moves_within_its_agent_and_is_told() -> None:
    made = fleet(
        *(call(f"{number}", ago=number * SECOND, key=CODER._replace(project=f"p{number}")) for number in range(20)),
        limits=Limits(cells=10),
    )
    before = made.usage(EVERYTHING, NOW)
    made.prune(NOW)
    after = made.usage(EVERYTHING, NOW)
    assert after.folds == before.folds + 1
    assert len(after.cells) < len(before.cells)
    assert sum(cell.tokens.total for cell in after.cells) == sum(cell.tokens.total for cell in before.cells)
    assert {cell.project for cell in after.cells} - {cell.project for cell in before.cells} == {None}
    made.prune(NOW)
    assert made.usage(EVERYTHING, NOW).folds == after.folds


def test_an_increase_may_tell_of_calls_without_a_price() -> None:
    event = Increase(
        CODER, NOW, "i", "mock", "x", Tokens(9), 500, calls=3, resets=1, unmetered_runs=4, unpriced_calls=2
    )
    (cell,) = fleet(event).usage(EVERYTHING, NOW).cells
    assert (cell.counters.unpriced_calls, cell.cost, cell.priced) == (2, 500 * 10**6, True)
    assert (cell.counters.resets, cell.counters.unmetered_runs) == (1, 4)
