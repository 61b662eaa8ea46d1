"""Processes by pid and birth: no signal reaches one that only has the pid, and no argument is ever shown."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from clawtop.control.process_table import (
    Identity,
    NotAllowed,
    ProcessTable,
    State,
    command,
    reviver,
    shown,
    terminal_of_shell,
)
from tests.process_trees import Family, eventually, one


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    """One process."""
    with Family(tmp_path / "family", one("root")) as family:
        yield family


@pytest.fixture(params=[True, False], ids=["linux", "elsewhere"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the table asks Linux itself, or psutil alone as on other systems."""
    monkeypatch.setattr(psutil, "LINUX", bool(request.param) and psutil.LINUX)
    return bool(request.param)


def test_a_signal_reaches_the_process_that_was_meant(family: Family, system: bool) -> None:
    table = ProcessTable()
    it = table.identity(family.root.pid)
    assert it is not None

    assert table.state(it) is State.RUNS
    assert table.send(it, signal.SIGSTOP)
    eventually(lambda: table.state(it) is State.STOPPED, "it to stop")
    assert family.root.state == "T"
    assert table.lines()[it.pid].state is State.STOPPED


def test_a_pid_that_was_given_away_again_is_never_hit(family: Family, system: bool) -> None:
    table = ProcessTable()
    it = table.identity(family.root.pid)
    assert it is not None
    earlier = Identity(it.pid, it.birth + "0")

    assert table.state(earlier) is State.ENDED
    assert not table.send(earlier, signal.SIGKILL)
    assert table.state(it) is State.RUNS


def test_one_that_has_ended_is_gone(family: Family, system: bool) -> None:
    table = ProcessTable()
    it = table.identity(family.root.pid)
    assert it is not None
    os.kill(it.pid, signal.SIGKILL)

    line = table.lines().get(os.getpid())
    assert line is not None
    assert line.parent == os.getppid()
    assert abs(line.started - psutil.Process().create_time()) < 1.5
    # nobody has waited for it yet, so that its pid is still there
    eventually(lambda: table.state(it) is State.ENDED, "it to end")
    assert it.pid not in table.lines()
    family.process.wait(10)
    assert table.identity(it.pid) is None
    assert table.state(it) is State.ENDED
    assert not table.send(it, signal.SIGSTOP)
    assert table.cpu(it) == 0


def test_another_users_process_is_told_of(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(process: psutil.Process, number: int) -> None:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "send_signal", refused)
    it = ProcessTable().identity(family.root.pid)
    assert it is not None

    with pytest.raises(NotAllowed, match=f"process {it.pid} belongs to "):
        ProcessTable().send(it, signal.SIGSTOP)


def test_clawtop_and_all_it_runs_under_are_its_own() -> None:
    own = ProcessTable().own()

    assert {os.getpid(), os.getppid(), 1} <= own
    assert {process.pid for process in psutil.Process().parents()} <= own


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["/usr/bin/node", "cli.js", "--key", "hush"], "node cli.js"),
        (["node", "--import", "x", "/srv/app/cli.js"], "node cli.js"),
        (["node", "--token=hush", "hush"], "node"),
        (["python3.12", "-m", "bots.billing", "--key", "hush"], "python3.12 -m bots.billing"),
        (["python3", "-m"], "python3"),
        (["python3", "-c", "key = 'hush'"], "python3"),
        (["bash", "-c", "curl -H 'Authorization: hush'"], "bash"),
        (["-bash"], "bash"),
        (["/opt/bot", "hush"], "bot"),
        (["bot: key hush"], "bot:"),
        (["node", "hush\0hush"], "node"),
        (["evil\x1b[2J\u202e", "hush"], "evil\ufffd[2J\ufffd"),
        (["x" * 500], "x" * 40),
        ([], ""),
        (["", "hush"], ""),
    ],
)
def test_a_command_is_named_without_what_may_be_secret(arguments: list[str], told: str, tmp_path: Path) -> None:
    for name in ("cli.js", "secret.txt"):
        (tmp_path / name).touch()
    arguments = [each.replace("/srv/app", str(tmp_path)) for each in arguments]

    assert shown(arguments, str(tmp_path)) == told


def test_a_running_one_is_named(family: Family) -> None:
    assert command(family.root.pid).endswith(" agent.py")
    assert str(family.folder) not in command(family.root.pid)
    assert command(2**22 + 1) == "?"


def test_without_a_terminal_nobody_has_lent_one(family: Family) -> None:
    assert terminal_of_shell(family.root.pid) is None
    assert reviver(family.root.pid) is None
