"""The audit log: a line for each request and each outcome, private, only ever longer."""

import json
import os
import threading
from pathlib import Path

import pytest

from clawtop.control.audit import Audit, this_person
from clawtop.model.commands import Conflict, Outcome, Pause, Result, Step, Target

CODER, MAIN = Target("local", "coder"), Target("local", "main")


def lines(path: Path) -> list[dict[str, object]]:
    """What the log says."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_request_and_its_outcome_are_one_line_a_target(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.jsonl"
    audit = Audit(path)
    command = Pause((CODER, MAIN), "too dear")
    step = Step("run in agent:coder:main", done=True, milliseconds=90)
    done = Result(CODER, True, "1 run stopped", steps=(step,), settled=90, verified_after=800)
    failed = Result(MAIN, False, "gone", conflicts=(Conflict("the model", "a", "b"),))

    audit.request(5, "me@here", "pause", command.targets, command.reason)
    audit.outcome(9, "me@here", Outcome(command, (done, failed), 900))

    first, second, third, fourth = lines(path)
    assert first == {
        "at": 5,
        "event": "request",
        "command": "pause",
        "host": "local",
        "agent": "coder",
        "by": "me@here",
        "reason": "too dear",
    }
    assert second["agent"] == "main"
    assert (third["verified"], third["settled_ms"], third["verified_ms"]) == (True, 90, 800)
    assert third["changed"] == [{"what": "run in agent:coder:main", "done": True, "detail": "", "ms": 90}]
    assert (fourth["verified"], fourth["conflicts"]) == (False, [{"what": "the model", "before": "a", "now": "b"}])
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_logged_is_never_changed(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    Audit(path).request(1, "me", "abort", (CODER,), None)
    before = path.read_bytes()

    Audit(path).note(2, "me", CODER, "stopped-again", "run in x")

    assert path.read_bytes().startswith(before)
    assert lines(path)[1]["event"] == "stopped-again"


def test_lines_of_many_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    def write(number: int) -> None:
        for _ in range(20):
            Audit(path).note(number, "me", CODER, "stopped-again", "x" * 2000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(lines(path)) == 80


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()

    with pytest.raises(OSError, match=r"audit\.jsonl"):
        Audit(tmp_path / "audit.jsonl").request(1, "me", "pause", (CODER,), None)


def test_a_line_that_finds_no_room_is_an_error_and_the_next_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "audit.jsonl", os.write
    Audit(path).note(1, "me", CODER, "stopped-again", "run in x")
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda handle, words: write(handle, words[:40]))
        with pytest.raises(OSError, match="a part of the line only"):
            Audit(path).note(2, "me", CODER, "stopped-again", "run in y")
    Audit(path).note(3, "me", CODER, "stopped-again", "run in z")

    first, cut, third = path.read_text().splitlines()
    assert (json.loads(first)["at"], len(cut), json.loads(third)["at"]) == (1, 40, 3)


def test_a_person_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError("no user name")

    monkeypatch.setattr("clawtop.control.audit.getpass.getuser", nobody)

    assert this_person().split("@")[0].isdigit()
