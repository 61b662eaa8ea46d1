"""Agents that are processes of this machine, paused by the screen's own keys and from the shell.

A tree that pretends to be Claude Code burns CPU, writes a session log, and has children in sessions and process groups
of their own. What counts is what the system says of it: state T, CPU time, the log's size.
"""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clawtop_runs import CHECKOUT, environment
from tests.e2e.tmux import Terminal
from tests.e2e.waiting import eventually
from tests.process_trees import Family, agent, one

SLOWEST_VERIFIED = 2000
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux to show the screen in")


@dataclass(frozen=True)
class Home:
    """A person's home with Claude Code in it, as clawtop would find it."""

    folder: Path

    @property
    def work(self) -> Path:
        """The folder that the agent works in."""
        return self.folder / "src" / "api"

    @property
    def program(self) -> Path:
        """A program that is called claude."""
        return self.folder / "bin" / "claude"

    @property
    def log(self) -> Path:
        """The log of its session."""
        slug = re.sub(r"[^a-zA-Z0-9]", "-", str(self.work))
        return self.folder / ".claude" / "projects" / slug / "s1.jsonl"

    @property
    def env(self) -> dict[str, str]:
        """In which clawtop keeps everything in this home."""
        return {**environment(self.folder), "CLAWTOP_STATE_DIR": str(self.folder / "state")}

    def root(self, **traits: Any) -> dict[str, Any]:
        """The agent's tree."""
        return agent(log=str(self.log), session="s1", **traits)

    def family(self, **traits: Any) -> Family:
        """The agent, at work."""
        return Family(self.folder / "tree", self.root(**traits), (str(self.program),), self.work)

    def clawtop(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What `clawtop` with these words prints and returns."""
        return subprocess.run(
            [sys.executable, "-m", "clawtop", *words],
            cwd=CHECKOUT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def told(self, *words: str) -> dict[str, Any]:
        """The one result of a verb for the agent; it must be verified."""
        done = self.clawtop(*words, "claude:api", "--yes", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        (result,) = json.loads(done.stdout)["results"]
        found: dict[str, Any] = result
        return found

    def screen(self, *words: str) -> Terminal:
        """The live screen."""
        command = [sys.executable, "-m", "clawtop", "-w", "all", *words]
        return Terminal(command, CHECKOUT, self.env, columns=80, lines=24)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home in which nothing runs yet."""
    home = Home(tmp_path / "home")
    for folder in (home.work, home.program.parent, home.log.parent):
        folder.mkdir(parents=True)
    home.program.symlink_to(sys.executable)
    return home


def stands_still(home: Home, family: Family) -> None:
    """All of it is in state T, and nothing moves while clawtop looks at it once."""
    assert {kin.state for kin in family.everybody()} == {"T"}
    before = family.cpu(), home.log.stat().st_size, len(family.kin("born"))
    holds = home.clawtop("holds")
    assert holds.returncode == 0, holds.stdout
    assert (family.cpu(), home.log.stat().st_size, len(family.kin("born"))) == before
    assert {kin.state for kin in family.everybody()} == {"T"}


def works(home: Home, family: Family) -> None:
    """All of it burns CPU, and the log grows."""
    size = home.log.stat().st_size
    family.burns()
    eventually(lambda: home.log.stat().st_size > size, "the log to grow", timeout=20)


@pytest.mark.parametrize("breeds", [False, True])
def test_the_shells_verbs_stop_the_whole_tree_and_let_it_go_on(home: Home, breeds: bool) -> None:
    with home.family(breeds=breeds) as family:
        works(home, family)
        assert len({os.getpgid(kin.pid) for kin in family.kin()}) == 4

        result = home.told("pause", "--reason", "too dear")

        assert result["hold"]["state"] == "paused"
        assert result["settled_ms"] <= result["verified_ms"] < SLOWEST_VERIFIED
        stands_still(home, family)
        said = home.clawtop("holds").stdout
        assert "claude:api: paused since" in said
        assert "because: too dear" in said

        home.told("resume")
        works(home, family)
        assert home.clawtop("holds").stdout == "nothing is held\n"

        home.told("pause")
        assert home.told("abort")["detail"].endswith("the hold stays")
        eventually(lambda: not family.everybody(), "all to end", timeout=20)
        assert "ended meanwhile" in home.told("resume")["detail"]


def test_what_goes_on_under_a_hold_is_said(home: Home) -> None:
    with home.family() as family:
        home.told("pause")
        os.kill(family.root.pid, signal.SIGCONT)

        holds = home.clawtop("holds")

        assert holds.returncode == 1
        assert f"it does not hold: process {family.root.pid} (claude) goes on" in holds.stdout
        assert "1 process went on already" in home.told("resume")["detail"]


@needs_tmux
def test_k_and_y_stop_the_selected_agent_and_r_lets_it_go_on(home: Home) -> None:
    with home.family() as family, home.screen() as terminal:
        terminal.shows("claude:api")
        terminal.press("Home")
        terminal.press("k")
        terminal.shows(
            "Pause claude:api?", "Its processes stop where they stand", f"process     {family.root.pid} claude"
        )
        terminal.press("Enter")
        assert "Pause claude:api?" in terminal.screen()
        assert not family.all_stopped()
        terminal.press("y")
        terminal.shows("held", "claude:api paused within")
        stands_still(home, family)

        # somebody lets it go on, and somebody starts another one: both are stopped again
        os.kill(family.root.pid, signal.SIGCONT)
        eventually(lambda: family.root.state == "T", "it to be stopped again", timeout=20)
        with Family(home.folder / "second", one("second"), (str(home.program),), home.work) as second:
            eventually(lambda: second.named("second").state == "T", "the new one to be stopped", timeout=20)
            terminal.press("Enter")
            terminal.shows("stopped again 2×")
            terminal.press("Escape")
            terminal.shows("tok/m")
        stands_still(home, family)

        terminal.press("r")
        terminal.shows("Let claude:api go on?")
        terminal.press("y")
        terminal.shows("resumed")
        works(home, family)

        terminal.press("x")
        terminal.shows("End the processes of claude:api?", "y yes")
        terminal.press("y")
        terminal.shows("aborted")
        eventually(lambda: not family.everybody(), "all to end", timeout=20)
        terminal.press("q")
        assert terminal.ends() == 0


@needs_tmux
def test_who_only_looks_has_no_key_for_it(home: Home) -> None:
    with home.family() as family, home.screen("--readonly") as terminal:
        terminal.shows("claude:api")
        terminal.press("k", "y")
        terminal.press("?")
        terminal.shows("help")
        assert not family.all_stopped()
        assert "pause" not in terminal.screen()


@needs_tmux
def test_in_front_of_a_shell_it_comes_back_by_fg(home: Home) -> None:
    tree = home.folder / "tree"
    with Terminal(["bash", "--norc", "-i"], home.work, home.env, columns=80, lines=24) as shell:
        family = Family(tree, home.root(), works_in=home.work, command=None)
        shell.press(family.line(home.program), "Enter")
        with family:
            works(home, family)
            assert home.told("pause")["hold"]["state"] == "paused"
            shell.shows("Stopped")
            stands_still(home, family)
            assert "type fg in /dev/pts/" in home.told("resume")["detail"]
            works(home, family)
            shell.press("fg", "Enter")
            eventually(lambda: in_front(family.root.pid), "it to have the terminal", timeout=20)


def in_front(pid: int) -> bool:
    """Whether a process has its terminal."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[5]) == os.getpgid(pid)


@needs_tmux
def test_what_tmux_itself_has_started_is_not_said_to_be_paused(home: Home) -> None:
    family = Family(home.folder / "tree", home.root(), works_in=home.work, command=None)
    started = ["exec", *family.words(home.program)]
    # the terminal goes first: without the one process in it, its tmux ends by itself
    terminal = Terminal(started, home.work, home.env, columns=80, lines=24)
    with family, terminal:
        works(home, family)

        done = home.clawtop("pause", "claude:api", "--yes")

        assert done.returncode == 1
        assert "NOT verified (unsupported): tmux has started process" in done.stdout
        assert "T" not in family.states().values()


def test_twenty_pauses_are_quick(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    settled: list[int] = []
    verified: list[int] = []
    samples = int(os.environ.get("CLAWTOP_E2E_SAMPLES", "20"))
    with home.family(breeds=True) as family:
        for _ in range(samples):
            result = home.told("pause")
            settled.append(result["settled_ms"])
            verified.append(result["verified_ms"])
            assert family.all_stopped()
            home.told("resume")

    def told(times: list[int]) -> str:
        return f"median {statistics.median(times):.0f} ms, p95 {statistics.quantiles(times, n=20)[-1]:.0f} ms"

    with capsys.disabled():
        print(f"\nprocesses: {samples} pauses: settled {told(settled)}; verified {told(verified)}")
    assert statistics.median(verified) < SLOWEST_VERIFIED
