"""Which processes are an agent's: known for certain, or nobody's."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from clawtop.control.process_rule import ProcessRule
from clawtop.control.process_search import (
    PRODUCTS,
    find,
    find_again,
    is_of,
    logs_of,
    search_of,
)
from clawtop.control.process_table import ProcessTable
from clawtop.control.record import Search
from clawtop.model.commands import About, Target
from clawtop.model.local import LocalWork
from tests.process_trees import Family, eventually, one

AGENT = "claude:api"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that is called claude."""
    path = tmp_path / "bin" / "claude"
    path.parent.mkdir()
    path.symlink_to(sys.executable)
    return path


@pytest.fixture
def family(tmp_path: Path, program: Path) -> Iterator[Family]:
    """One that runs in its folder."""
    with Family(tmp_path / "api", one("root", one("child")), command=(str(program),)) as family:
        yield family


def work(folder: Path, **more: object) -> LocalWork:
    """A session in this folder, whose log was written an hour from now."""
    log = folder / "session.jsonl"
    known = {"agent": AGENT, "cwd": str(folder), "log": log, "last_at": now() + 3_600_000}
    return LocalWork(session="s1", **{**known, **more})  # type: ignore[arg-type]


def now() -> int:
    """Unix ms."""
    return time.time_ns() // 1_000_000


def began(pid: int) -> int:
    """When a process began, in Unix ms."""
    return round(psutil.Process(pid).create_time() * 1000)


def found(agent: str, *works: LocalWork) -> list[int]:
    """The pids that are known for certain."""
    return [root.pid for root in find(ProcessTable(), agent, works).roots]


def doubt(agent: str, *works: LocalWork) -> str:
    """Why none is."""
    answer = find(ProcessTable(), agent, works)
    assert answer.roots == ()
    assert answer.doubt is not None
    return answer.doubt


def test_the_process_that_its_own_records_name(family: Family) -> None:
    pid = family.root.pid

    assert found("local-bot", work(family.folder, pid=pid, started=began(pid) + 500)) == [pid]
    assert found(AGENT, work(family.folder, pid=pid, started=None, last_at=0)) == [pid]


def test_a_pid_that_was_given_away_again_is_not_it(family: Family) -> None:
    pid = family.root.pid
    earlier = work(family.folder, pid=pid, started=began(pid) - 60_000)

    assert "no record names" in doubt("local-bot", earlier)


def test_a_pid_in_another_folder_is_not_it(family: Family, tmp_path: Path) -> None:
    pid = family.root.pid

    assert doubt("local-bot", work(tmp_path, pid=pid, started=began(pid)))
    assert doubt("local-bot", work(family.folder, agent="local-bot", pid=pid))
    assert doubt("local-bot", work(family.folder, cwd=None, pid=pid, started=began(pid)))
    assert doubt("local-bot", work(family.folder, pid=2**22 + 1, started=now()))


def test_the_only_one_of_the_product_in_the_folder(family: Family, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(family.folder)

    # the child is the same program, but of the same tree
    assert found(AGENT, work(family.folder)) == [family.root.pid]
    assert found(AGENT, work(link)) == [family.root.pid]


def test_another_folder_or_product_is_not_it(family: Family, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()

    assert "no process of Claude Code works in" in doubt(AGENT, work(other))
    assert "no process of Codex works in" in doubt("codex:api", work(family.folder))
    assert "name no folder" in doubt(AGENT, work(family.folder, cwd=None))
    assert doubt(AGENT)


def test_one_that_began_after_the_last_line_may_be_another_session(family: Family) -> None:
    before = work(family.folder, last_at=began(family.root.pid) - 1000)

    assert f"process {family.root.pid} (claude" in doubt(AGENT, before)
    assert "may be another session" in doubt(AGENT, before)
    before.log.write_text("{}\n")
    assert found(AGENT, before) == [family.root.pid], "the log was written while it was there"
    os.utime(before.log, (0, 0))
    assert doubt(AGENT, before)


def test_one_that_holds_the_log_open_is_it(tmp_path: Path, program: Path) -> None:
    log = tmp_path / "api" / "session.jsonl"
    said = f"import signal; log = open({str(log)!r}, 'a'); open({str(tmp_path / 'up')!r}, 'w'); signal.pause()"
    log.parent.mkdir()
    process = subprocess.Popen([program, "-S", "-c", said], cwd=log.parent)
    try:
        eventually((tmp_path / "up").exists, "the log to be open")
        os.utime(log, (0, 0))
        assert found(AGENT, work(log.parent, last_at=0)) == [process.pid]
    finally:
        process.kill()
        process.wait()


def test_two_terminals_in_one_folder_are_both_the_agents(family: Family, tmp_path: Path, program: Path) -> None:
    with Family(tmp_path / "second", one("second"), (str(program),), family.folder) as second:
        pids = {family.root.pid, second.process.pid}
        assert set(found(AGENT, work(family.folder))) == pids
        named = work(family.folder, pid=family.root.pid, started=began(family.root.pid), last_at=0)
        assert set(found(AGENT, named)) == pids


def test_another_users_process_is_told_of(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(process: psutil.Process) -> str:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "cwd", hidden)
    monkeypatch.setattr("os.geteuid", lambda: 12345)

    assert "which its records name, belongs to " in doubt(AGENT, work(family.folder, pid=family.root.pid))


@pytest.mark.parametrize(
    ("product", "arguments", "program", "fits"),
    [
        ("claude", ["claude", "--resume"], "/usr/bin/node", True),
        ("claude", ["claude"], "/home/kim/.local/share/claude/versions/2.0.14", True),
        ("claude", ["/x/bin/claude.exe"], "/x/@anthropic-ai/claude-code/bin/claude.exe", True),
        ("claude", ["node", "/usr/lib/node_modules/@anthropic-ai/claude-code/cli.js"], "/usr/bin/node", True),
        ("claude", ["node", "-r", "x", "--no-warnings", "/x/@anthropic-ai/claude-code/cli.js"], "/usr/bin/node", True),
        ("claude", ["bun", "/x/@anthropic-ai/claude-code/cli.js", "-p", "fix it"], "/usr/bin/bun", True),
        ("claude", ["node", "server.js", "/@anthropic-ai/claude-code/cli.js"], "/usr/bin/node", False),
        ("claude", ["node", "dev.js", "--provider", "claude"], "/usr/bin/node", False),
        ("claude", ["node", "dev.js", "packages/claude"], "/usr/bin/node", False),
        ("claude", ["node", "bin/claude"], "/usr/bin/node", False),
        ("claude", ["bun", "run", "claude"], "/usr/bin/bun", False),
        ("claude", ["node", "-e", "1", "/x/@anthropic-ai/claude-code/cli.js"], "/usr/bin/node", False),
        ("claude", ["node", "-r", "/x/@anthropic-ai/claude-code/cli.js"], "/usr/bin/node", False),
        ("claude", ["vim", "/usr/lib/node_modules/@anthropic-ai/claude-code/cli.js"], "/usr/bin/vim", False),
        ("claude", ["bash", "-c", "claude"], "/usr/bin/bash", False),
        ("claude", ["codex"], "/usr/bin/codex", False),
        ("claude", [], "", False),
        ("codex", ["codex", "exec"], "/usr/local/bin/codex", True),
        ("codex", ["node", "/x/@openai/codex/bin/codex.js"], "/usr/bin/node", True),
        ("codex", ["./run"], "/x/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/run", True),
        ("codex", ["node", "/x/codex-helper.js"], "/usr/bin/node", False),
    ],
)
def test_a_product_is_told_by_program_or_script(product: str, arguments: list[str], program: str, fits: bool) -> None:
    assert is_of(PRODUCTS[product], arguments, program, "/srv/api") is fits


def test_a_script_is_followed_to_where_it_lies(tmp_path: Path) -> None:
    package = tmp_path / "node_modules" / "@anthropic-ai" / "claude-code"
    package.mkdir(parents=True)
    (package / "cli.js").touch()
    (tmp_path / "claude").symlink_to(package / "cli.js")

    assert is_of(PRODUCTS["claude"], ["node", "claude"], "/usr/bin/node", str(tmp_path))
    assert is_of(PRODUCTS["claude"], ["node", "cli.js"], "/usr/bin/node", str(package))
    assert not is_of(PRODUCTS["claude"], ["node", "claude"], "/usr/bin/node", str(tmp_path / "elsewhere"))


def test_a_new_one_is_found_again_without_any_log(family: Family) -> None:
    search = search_of(AGENT, [work(family.folder)])

    assert search == Search("claude", (str(family.folder),))
    assert [root.pid for root in find_again(ProcessTable(), search).roots] == [family.root.pid]
    assert find_again(ProcessTable(), search_of("local-bot", [work(family.folder)])).roots == ()


def test_the_latest_logs_are_watched_and_none_that_cannot_be_written_down(tmp_path: Path) -> None:
    works = [work(tmp_path, log=tmp_path / f"{at}", last_at=at) for at in range(80)]

    assert logs_of(works) == tuple(str(tmp_path / f"{at}") for at in range(79, 29, -1))
    assert logs_of([work(tmp_path, log=Path("/x/\udcff"))]) == ()
    assert search_of(AGENT, [work(tmp_path, cwd="/x/\udcff")]).folders == ()


def of_pidfile(path: Path) -> tuple[list[int], str]:
    """(the pids, the doubt) of a rule with this pid file."""
    answer = find_again(ProcessTable(), ProcessRule("bot", pidfile=str(path)).search)
    return [root.pid for root in answer.roots], answer.doubt or ""


def test_a_pid_file_names_it(family: Family, tmp_path: Path) -> None:
    path = tmp_path / "bot.pid"
    path.write_text(f"{family.root.pid}\n")

    assert of_pidfile(path) == ([family.root.pid], "")


def test_a_stale_or_broken_pid_file_names_nobody(family: Family, tmp_path: Path) -> None:
    path = tmp_path / "bot.pid"
    assert "cannot be read: No such file" in of_pidfile(path)[1]
    for said in ("", "bot", "\x00"):
        path.write_text(said)
        assert "holds no pid" in of_pidfile(path)[1]
    for pid in (-1, 0, 1, 2**22 + 1, 2**40, "9" * 500):
        path.write_text(f"{pid}")
        assert "has ended" in of_pidfile(path)[1]
    path.write_text(f"{family.root.pid}")
    os.utime(path, (0, 0))
    assert "is younger than its pid file" in of_pidfile(path)[1]


def test_a_pid_file_with_another_users_process_names_nobody(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bot.pid"
    path.write_text(f"{family.root.pid}")
    monkeypatch.setattr("os.geteuid", lambda: 12345)

    pids, why = of_pidfile(path)

    assert pids == []
    assert "not to you" in why


def test_a_command_line_names_it_whole_and_never_clawtop(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    def pids(glob: str) -> list[int]:
        return [root.pid for root in find_again(ProcessTable(), ProcessRule("bot", command=glob).search).roots]

    assert pids(f"*{family.program} *") == [family.root.pid]
    assert pids(f"{family.program}") == []
    assert pids("*no such program*") == []
    assert os.getpid() not in pids("*")
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    assert pids(f"*{family.program} *") == []
    why = find_again(ProcessTable(), Search(command=f"*{family.program} *")).doubt
    assert why is not None
    assert "belongs to another user" in why


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        (ProcessRule("bot-*"), True),
        (ProcessRule("bot-*", project="api"), True),
        (ProcessRule("bot-*", project="web"), False),
        (ProcessRule("coder"), False),
        (ProcessRule("*", host="ci"), False),
    ],
)
def test_a_rule_is_for_agents_of_this_machine_unless_it_says_otherwise(rule: ProcessRule, fits: bool) -> None:
    assert rule.matches(Target("local", "bot-1"), About(project="api")) is fits
