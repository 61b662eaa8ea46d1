"""What follows a failed attempt, one case for each sentence of the rule."""

from clawtop.formats.turns import Turns
from clawtop.model.events import Call, Resolution
from clawtop.model.keys import Key

KEY = Key("local", "main")


def call(name: str, model: str = "normal", *, failed: bool = False) -> Call:
    return Call(KEY, 1, name, "mock", model, error="429" if failed else None)


def test_the_next_attempt_on_the_same_model_is_a_retry() -> None:
    turns = Turns()
    assert turns.attempt(call("a", failed=True)) == []
    (resolved,) = turns.attempt(call("b"))
    assert (resolved.id, resolved.how, resolved.tentative) == ("a", Resolution.RETRY, False)
    assert not turns.open


def test_the_next_attempt_on_another_model_is_a_fallback_and_says_where_to() -> None:
    turns = Turns()
    turns.attempt(call("a", failed=True))
    (resolved,) = turns.attempt(call("b", "dear", failed=True))
    assert (resolved.how, resolved.to) == (Resolution.FALLBACK, "mock/dear")
    assert turns.open


def test_a_prompt_that_repeats_the_turn_goes_on_with_it() -> None:
    turns = Turns()
    turns.prompt("do it")
    turns.attempt(call("a", failed=True))
    assert turns.prompt("do it") == []
    assert turns.prompt("Continue where you left off. The model failed.") == []
    assert turns.open


def test_another_prompt_ends_a_failed_turn_for_good() -> None:
    turns = Turns()
    turns.prompt("do it")
    turns.attempt(call("a", failed=True))
    (resolved,) = turns.prompt("something else")
    assert (resolved.id, resolved.how, resolved.tentative) == ("a", Resolution.FAILED, False)
    assert not turns.open


def test_quiet_says_failed_only_tentatively() -> None:
    turns = Turns()
    turns.attempt(call("a", failed=True))
    (resolved,) = turns.settle()
    assert (resolved.how, resolved.tentative) == (Resolution.FAILED, True)
    (resolved,) = turns.attempt(call("b"))
    assert (resolved.how, resolved.tentative) == (Resolution.RETRY, False)


def test_an_abort_between_two_attempts_leaves_the_first_without_a_successor() -> None:
    turns = Turns()
    turns.attempt(call("a", failed=True))
    turns.aborted()
    assert turns.settle() == []
    assert turns.attempt(call("b")) == []
