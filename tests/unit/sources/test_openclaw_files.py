"""What happens to session files on the wire: FORMATS section 3, one test for each trap."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import zstandard

from clawtop.formats.attribution import Attribution
from clawtop.formats.transcript import AgentTranscripts
from clawtop.model.events import Event, SessionState, State
from clawtop.model.snapshot import Counters
from clawtop.sources import processes
from clawtop.sources.openclaw.files import SessionFiles
from clawtop.sources.progress import Progress
from tests.counted import seen, total
from tests.openclaw_homes import T0, answer, header, iso, lines, session_file, user
from tests.steps import steps

STORY = [header("s1"), user("u1", T0, "go"), answer("e1", T0), answer("e2", T0 + 1000)]


class Reader:
    """An agent's files, swept by hand."""

    def __init__(self, home: Path) -> None:
        self.progress = Progress("openclaw:x")
        who = Attribution("local", "main", cron_name=lambda _: None, windows={})
        self.files = SessionFiles(home / "agents" / "main" / "sessions", AgentTranscripts(who), self.progress)
        self.events: list[Event] = []
        self.now = T0 + 3_000_000_000

    def sweep(self) -> Counters:
        """Look at everything once and say what was counted so far."""
        self.files.look()
        for inode in self.files.grown(self.now, thorough=True):
            for batch in self.files.read(inode):
                self.events += batch
        self.events += self.files.settle(self.now)
        return total(self.events).counters

    def states(self) -> list[State]:
        return [event.state for event in self.events if isinstance(event, SessionState)]


def this_process(at: int) -> dict[str, Any]:
    """What a gateway that this process is writes into a lock."""
    return {"pid": os.getpid(), "createdAt": iso(at), "starttime": processes._start_ticks(os.getpid())}


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def test_appended_lines(reader: Reader, tmp_path: Path) -> None:
    path = session_file(tmp_path, "main", "s1", STORY)
    assert reader.sweep().calls == 2
    with path.open("ab") as file:
        file.write(lines([answer("e3", T0 + 2000)]))
    assert reader.sweep().calls == 3


def test_a_torn_line_is_not_there_yet(reader: Reader, tmp_path: Path) -> None:
    path = session_file(tmp_path, "main", "s1", STORY)
    big = lines([answer("e3", T0 + 2000, note="x" * 100_000)])
    for end in (8192, 65536):
        path.write_bytes(lines(STORY) + big[:end])
        assert reader.sweep().calls == 2
    path.write_bytes(lines(STORY) + big)
    assert reader.sweep().calls == 3
    assert not reader.progress.skipped


def test_a_first_turn_has_a_lock_and_no_file(reader: Reader, tmp_path: Path) -> None:
    folder = session_file(tmp_path, "main", "s0", STORY).parent
    lock = folder / "s1.jsonl.lock"
    lock.write_text(json.dumps(this_process(reader.now)))
    reader.sweep()
    assert {event.key.session: event.state for event in reader.events if isinstance(event, SessionState)} == {
        "s0": State.IDLE,
        "s1": State.RUNNING,
    }
    lock.unlink()
    reader.now += 60_000
    reader.sweep()
    assert [e for e in reader.events if isinstance(e, SessionState) and e.key.session == "s1"][-1].state is State.IDLE


def test_a_lock_that_a_killed_gateway_left_behind_says_nothing(reader: Reader, tmp_path: Path) -> None:
    folder = session_file(tmp_path, "main", "s1", STORY).parent
    for owner in (
        {"pid": 2**22 + 1, "createdAt": iso(T0)},
        {"pid": os.getpid(), "createdAt": iso(T0 - 10**12)},
        {"pid": "x"},
        7,
    ):
        (folder / "s1.jsonl.lock").write_text(json.dumps(owner))
        reader.sweep()
    assert State.RUNNING not in reader.states()


def test_a_lock_that_is_let_go_for_a_moment_is_the_same_run(reader: Reader, tmp_path: Path) -> None:
    folder = session_file(tmp_path, "main", "s1", STORY).parent
    lock = folder / "s1.jsonl.lock"
    for _ in range(3):
        lock.write_text(json.dumps(this_process(reader.now)))
        reader.sweep()
        lock.unlink()
        reader.now += 200
        reader.sweep()
    assert reader.states() == [State.RUNNING]


@pytest.mark.parametrize("suffix", [".reset", ".deleted", ".bak"])
def test_a_file_renamed_away_still_counts_once(reader: Reader, tmp_path: Path, suffix: str) -> None:
    path = session_file(tmp_path, "main", "s1", STORY)
    reader.sweep()
    with path.open("ab") as file:
        file.write(lines([answer("e3", T0 + 2000)]))
    path.rename(f"{path}{suffix}.2026-11-22T11-25-31.961Z")
    assert reader.sweep().calls == 3
    session_file(tmp_path, "main", "s1", [header("s1", T0 + 5000), answer("e4", T0 + 6000)])
    assert reader.sweep().calls == 4
    assert Reader(tmp_path).sweep().calls == 4


def test_archived_copies_hold_the_same_entries(reader: Reader, tmp_path: Path) -> None:
    session_file(tmp_path, "main", "s1", STORY)
    session_file(tmp_path, "main", "s1", STORY[:3], ".bak.2026-11-22T11-26-02.946Z")
    assert reader.sweep().calls == 2


def test_rewritten_in_place_with_the_same_entries(reader: Reader, tmp_path: Path) -> None:
    path = session_file(tmp_path, "main", "s1", STORY)
    reader.sweep()
    fresh = path.with_name("s1.tmp")
    fresh.write_bytes(lines([STORY[0], *STORY[2:], answer("e3", T0 + 2000)]))
    fresh.rename(path)
    assert reader.sweep().calls == 3


def test_truncated_to_nothing_and_written_again(reader: Reader, tmp_path: Path) -> None:
    path = session_file(tmp_path, "main", "s1", STORY)
    reader.sweep()
    os.truncate(path, 0)
    assert reader.sweep().calls == 2
    with path.open("ab") as file:
        file.write(lines([header("s1", T0 + 5000), answer("e9", T0 + 6000)]))
    assert reader.sweep().calls == 3


def test_two_headers_and_a_header_of_another_session(reader: Reader, tmp_path: Path) -> None:
    session_file(
        tmp_path, "main", "s1", [header("other"), answer("e1", T0), header("s1", T0 + 1), answer("e2", T0 + 2)]
    )
    reader.sweep()
    row = total(reader.events)
    assert (row.counters.calls, row.sessions) == (2, 1)


def test_timestamps_that_run_backwards_and_branches(reader: Reader, tmp_path: Path) -> None:
    branch = [answer("e1", T0 + 5), answer("e2", T0), {**answer("e3", T0 + 1), "parentId": "e1"}]
    session_file(tmp_path, "main", "s1", [header("s1"), *branch])
    assert reader.sweep().calls == 3


def test_a_tool_call_that_kill_left_without_result(reader: Reader, tmp_path: Path) -> None:
    session_file(tmp_path, "main", "s1", [*STORY, answer("e3", T0 + 2000, stop="toolUse", tools=("t1",))])
    assert reader.sweep() == Counters(calls=3, tool_calls=1)


def test_an_index_says_the_key_and_is_replaced_all_the_time(reader: Reader, tmp_path: Path) -> None:
    path = session_file(tmp_path, "main", "s1", STORY)
    index = path.with_name("sessions.json")
    index.write_text(json.dumps({"agent:main:telegram:direct:ann": {"sessionId": "s1", "contextTokens": 1000}}))
    reader.sweep()
    (row,) = seen(reader.events).rows
    assert row.user == "ann"
    assert row.context_pct == pytest.approx(15.0)
    for broken in (b"{", b"[]", b"\xff", b'{"agent:main:x": 5}'):
        fresh = path.with_name("sessions.json.tmp")
        fresh.write_bytes(broken)
        fresh.rename(index)
        assert reader.sweep().calls == 2


def test_bad_lines_are_counted_and_the_rest_goes_on(reader: Reader, tmp_path: Path) -> None:
    path = session_file(tmp_path, "main", "s1", STORY)
    bad = answer("e5", T0)
    bad["message"]["usage"]["input"] = -5
    with path.open("ab") as file:
        file.write(b"\x00\x00\nnot json\n[1]\n\xff\xfe\n" + lines([bad, answer("e3", T0 + 2000)]))
    assert reader.sweep().calls == 3
    assert dict(reader.progress.skipped) == {
        "not JSON": 3,
        "no JSON object": 1,
        "a token count is negative, fractional or huge": 1,
    }


def test_a_line_of_forty_megabytes_is_dropped_and_counted(reader: Reader, tmp_path: Path) -> None:
    path = session_file(tmp_path, "main", "s1", STORY)
    with path.open("ab") as file:
        for _ in range(40):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + lines([answer("e3", T0 + 2000)]))
    assert reader.sweep().calls == 3
    assert dict(reader.progress.skipped) == {"a line over 16 MiB": 1}


def test_an_agent_that_failed_last_is_in_error(reader: Reader, tmp_path: Path) -> None:
    session_file(tmp_path, "main", "s1", [*STORY, answer("e3", T0 + 2000, error="500")])
    assert reader.sweep() == Counters(calls=2, errors=1, failed_turns=1)
    assert reader.states() == [State.ERROR]


def test_what_cannot_be_listed_or_read_is_said(reader: Reader, tmp_path: Path) -> None:
    path = session_file(tmp_path, "main", "s1", STORY)
    path.with_name("s2.jsonl").mkdir()
    assert reader.sweep().calls == 2
    assert "no file" in reader.progress.notes["s2.jsonl"]


@pytest.mark.parametrize(("model", "how"), [("normal", "retries"), ("other", "fallbacks")])
def test_a_turn_that_a_reset_cuts_in_two_files_is_one_turn(
    reader: Reader, tmp_path: Path, model: str, how: str
) -> None:
    asked = user("u1", T0, "do it")
    session_file(
        tmp_path, "main", "s1", [header("s1"), asked, answer("e1", T0, error="429")], ".reset.2026-11-22T11-25"
    )
    second = [header("s1", T0 + 5000), user("u2", T0 + 6000, "do it"), answer("e2", T0 + 6000, model=model)]
    session_file(tmp_path, "main", "s1", second)
    assert reader.sweep() == Counters(calls=1, errors=1, **{how: 1})


def test_another_turn_in_the_next_file_is_another_turn(reader: Reader, tmp_path: Path) -> None:
    first = [header("s1"), user("u1", T0, "do it"), answer("e1", T0, error="429")]
    session_file(tmp_path, "main", "s1", first, ".reset.2026-11-22T11-25")
    session_file(
        tmp_path, "main", "s1", [header("s1", T0 + 5000), user("u2", T0 + 6000, "more"), answer("e2", T0 + 6000)]
    )
    assert reader.sweep() == Counters(calls=1, errors=1, failed_turns=1)


def test_a_deleted_session_of_2026_9_is_packed_and_still_counts(reader: Reader, tmp_path: Path) -> None:
    path = session_file(tmp_path, "main", "s1", [], ".deleted.2026-11-22T14-07-36.364Z.b34888d8.zst")
    path.write_bytes(zstandard.ZstdCompressor().compress(lines(STORY)))
    path.with_name("s2.jsonl.deleted.2026-11-22T14-07-36.365Z.0.zst").write_bytes(b"no zstd")
    assert reader.sweep().calls == 2
    assert reader.sweep().calls == 2
    assert dict(reader.progress.skipped) == {"a bad zstd frame": 1}


def test_many_idle_sessions_whose_last_attempt_failed_are_little_work(tmp_path: Path) -> None:
    def work(count: int) -> int:
        home = tmp_path / str(count)
        for number in range(count):
            story = [header(f"s{number}"), user("u", T0, "go"), answer(f"e{number}", T0, error="429")]
            session_file(home, "main", f"s{number}", story)
        reader = Reader(home)
        assert reader.sweep().failed_turns == count
        return steps(lambda: reader.files.settle(reader.now))

    assert work(200) < 5 * work(50)


def test_a_lock_that_names_another_programs_process_is_in_doubt(reader: Reader, tmp_path: Path) -> None:
    path = session_file(tmp_path, "main", "s1", [*STORY, answer("e3", T0 + 2000, error="500")])
    lock = path.with_name("s1.jsonl.lock")
    lock.write_text(json.dumps({"pid": os.getpid(), "createdAt": iso(reader.now)}))
    assert reader.sweep().failed_turns == 1
    reader.sweep()
    assert reader.states() == [State.UNKNOWN]
    lock.unlink()
    reader.now += 60_000
    reader.sweep()
    assert reader.states() == [State.UNKNOWN, State.IDLE, State.ERROR]


@pytest.mark.parametrize("called", ["node", "openclaw-gateway"])
def test_a_lock_of_a_gateway_that_notes_no_start_is_believed(reader: Reader, tmp_path: Path, called: str) -> None:
    lock = session_file(tmp_path, "main", "s1", STORY).with_name("s1.jsonl.lock")
    with subprocess.Popen([called, "-c", "input()"], executable=sys.executable, stdin=subprocess.PIPE) as gateway:
        lock.write_text(json.dumps({"pid": gateway.pid, "createdAt": iso(round(time.time() * 1000))}))
        reader.sweep()
        gateway.communicate(b"\n")
    assert reader.states() == [State.RUNNING]
