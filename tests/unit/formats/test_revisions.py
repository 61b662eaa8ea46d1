"""Records of calls, in any order, from any file, of more calls than are remembered."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from clawtop.formats.revisions import Revision, Revisions
from clawtop.model.events import Call, Event, Increase, Tokens
from clawtop.model.keys import Key
from tests.claude_lines import T0
from tests.counted import seen, total


def record(output: int = 5, at: int = 0, senior: int = 0, original: bool = True, **fields: object) -> Revision:
    tokens = Tokens(1, output)
    key = Key("local", str(fields.get("agent", "a")), str(fields.get("session", "s")))
    cost = fields.get("cost")
    logged = cost if isinstance(cost, int) else None
    return Revision(original, T0 + at, tokens.total, senior, tokens, 0, logged, key, "anthropic", "claude-haiku-4-5")


def told(revisions: Revisions, *records: tuple[str, Revision]) -> list[Event]:
    for call, revision in records:
        revisions.note(call, revision)
    return revisions.settle()


def test_records_that_come_together_give_one_call() -> None:
    (call,) = told(Revisions(), ("m", record(5)), ("m", record(9, at=1)), ("m", record(7)))
    assert isinstance(call, Call)
    assert (call.at, call.tokens.output) == (T0 + 1, 9)


def test_what_is_counted_is_taken_back_where_it_was_counted() -> None:
    revisions = Revisions()
    told(revisions, ("m", record(5)))
    assert told(revisions, ("m", record(5, at=700))) == []
    back, again = told(revisions, ("m", record(9, at=900)))
    assert isinstance(back, Increase)
    assert isinstance(again, Increase)
    assert (back.at, back.tokens.output, back.calls) == (T0, -5, -1)
    assert (again.at, again.tokens.output, again.calls) == (T0 + 900, 9, 1)


def test_a_call_moves_to_the_agent_and_the_session_it_was_made_in() -> None:
    revisions = Revisions()
    events = told(revisions, ("m", record(senior=-2, agent="b", session="copy")))
    events += told(revisions, ("m", record(senior=-1, agent="a", session="first")))
    assert {row.label: row.counters.calls for row in seen(events).rows} == {"a": 1, "b": 0}


def test_a_logged_cost_is_taken_back_as_it_was_logged() -> None:
    revisions = Revisions()
    events = told(revisions, ("m", record(cost=100))) + told(revisions, ("m", record(9, at=1, cost=250)))
    assert total(events).cost == 250
    events += told(revisions, ("m", record(12, at=2)))
    assert (total(events).cost, total(events).counters.unpriced_calls) == (12 * 5 + 1, 0)


def test_what_was_forgotten_is_not_counted_again() -> None:
    revisions = Revisions(remembered=2)
    events = told(revisions, *((f"m{number}", record()) for number in range(9)))
    events += told(revisions, ("m0", record()), ("m1", record()))
    assert total(events).counters.calls == 9


def test_at_least_as_many_as_asked_for_are_remembered() -> None:
    revisions = Revisions(remembered=4)
    events = told(revisions, *((f"m{number}", record()) for number in range(7)))
    events += told(revisions, *((f"m{number}", record(9, at=1)) for number in range(3, 7)))
    assert total(events).tokens.output == 3 * 5 + 4 * 9


records = st.builds(
    record,
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(-2, 0),
    st.booleans(),
    agent=st.sampled_from("ab"),
    session=st.sampled_from("st"),
    cost=st.none() | st.integers(0, 3),
)


@given(st.lists(records, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_any_order_and_any_batches_end_in_the_same(known: list[Revision], dice: Random) -> None:
    def counted(shuffled: list[Revision], size: int) -> object:
        revisions, events = Revisions(), []
        for start in range(0, len(shuffled), size):
            events += told(revisions, *(("m", each) for each in shuffled[start : start + size]))
        rows = [(row.group, row.tokens, row.cost, row.basis, row.counters) for row in seen(events).rows]
        return [row for row in sorted(rows) if row[-1].calls]

    shuffled = known.copy()
    dice.shuffle(shuffled)
    assert counted(shuffled, 1) == counted(known, len(known)) == counted(shuffled, 2)
