from random import Random

from clawtop.fleet.ledger import Ledger, fingerprint


def test_an_id_is_new_once() -> None:
    ledger, marks = Ledger(), [fingerprint("call", str(number)) for number in range(5000)]
    assert all(ledger.add(mark) for mark in marks)
    assert not any(ledger.add(mark) for mark in reversed(marks))
    assert all(mark in ledger for mark in marks)
    assert fingerprint("call", "5000") not in ledger
    assert len(ledger) == 5000


def test_the_parts_of_a_fingerprint_are_kept_apart() -> None:
    assert fingerprint("a", "bc") != fingerprint("ab", "c")
    assert fingerprint("lone \ud800 surrogate") == fingerprint("lone \ud800 surrogate")


def test_fingerprints_are_the_same_in_every_process() -> None:
    assert fingerprint("call", "local", "coder", "c1") == 0xE347A753707516AA


def test_beyond_its_limit_it_forgets_what_it_saw_longest_ago() -> None:
    dice = Random(1)  # noqa: S311  # test data
    ledger, marks = Ledger(limit=1000), [dice.getrandbits(64) for _ in range(5000)]
    for mark in marks:
        ledger.add(mark)
        ledger.add(marks[0])
    assert len(ledger) <= 1000
    assert not any(ledger.add(mark) for mark in marks[-400:])
    assert not ledger.add(marks[0]), "seen all the time"
    assert ledger.add(marks[1])
