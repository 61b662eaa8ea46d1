"""pause, resume, abort and holds from the shell: who is meant, what is asked, what is printed, the exit code."""

import argparse
import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread, current_thread, main_thread

import pytest

from clawtop.control.holds import HoldStore
from clawtop.control.switch import Switch, Ways
from clawtop.control_cli import Known, Scene, Seen, _question, add_arguments, run
from clawtop.gateway.connection import GatewayAddress
from clawtop.model.commands import Means, Plan, RunningProcess, Target
from clawtop.model.errors import UsageError
from tests.fake_gateway import FakeGateway, Params
from tests.unit.control.pretend import Pretend


@contextmanager
def served(pretend: Pretend) -> Iterator[FakeGateway]:
    """The gateway in a thread of its own, because the command line has its own loop."""
    gateway = pretend.gateway()
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(gateway.listen(), loop).result(10)
    try:
        yield gateway
    finally:
        asyncio.run_coroutine_threadsafe(gateway.die(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class Shell:
    """Runs verbs as cli.py would."""

    def __init__(self, gateway: FakeGateway, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.known: list[Known] = []
        self.unread: dict[str, str] = {}
        self.others: list[tuple[str, GatewayAddress]] = []
        self.asked_for_all = 0
        self.gateway = gateway
        self.errors = ""
        self._address = gateway.address
        self._folder = folder
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str]:
        """(the exit code, what was printed)."""
        verb, *rest = words
        parser = argparse.ArgumentParser()
        add_arguments(parser, verb)
        reached = {"local": self._address, **dict(self.others)}
        ways = Ways(lambda target: reached.get(target.host))
        gateways = list(reached.items())
        scene = Scene(lambda: Switch(self._folder, ways), tuple(reached), self._all, lambda: gateways)
        code = run(verb, parser.parse_args(rest), scene)
        said = self._capsys.readouterr()
        self.errors = said.err
        return code, said.out

    def _all(self) -> Seen:
        self.asked_for_all += 1
        return Seen(self.known, self.unread)


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions are asked."""
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)


@pytest.fixture
def pretend() -> Pretend:
    """A gateway whose coder runs."""
    pretend = Pretend()
    pretend.add_session("agent:coder:main", active=True)
    pretend.add_job("nightly", "coder")
    return pretend


@pytest.fixture
def shell(pretend: Pretend, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """A shell beside that gateway."""
    with served(pretend) as gateway:
        yield Shell(gateway, tmp_path, capsys)


def test_an_agent_is_paused_shown_and_resumed(shell: Shell, pretend: Pretend) -> None:
    before = pretend.state()

    code, said = shell("pause", "coder", "--yes", "--reason", "too dear")
    assert code == 0
    assert said.startswith("coder: paused: 1 run stopped, 1 cron job off, config held (settled in ")

    code, said = shell("holds")
    assert code == 0
    assert said.startswith("coder: paused since ")
    assert "because: too dear" in said

    code, said = shell("resume", "coder", "--yes")
    assert (code, said) == (0, "coder: resumed: as it was before\n")
    assert pretend.state() == before
    assert shell("holds") == (0, "nothing is held\n")
    assert shell.asked_for_all == 0


def test_without_a_terminal_nothing_happens_unless_yes_is_said(shell: Shell, pretend: Pretend) -> None:
    for verb in ("pause", "resume", "abort"):
        with pytest.raises(UsageError, match="give --yes"):
            shell(verb, "coder")

    assert pretend.aborted == []


def test_on_a_terminal_the_question_says_what_is_touched(
    shell: Shell, pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["", "n", "y"])
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return next(answers)

    monkeypatch.setattr("builtins.input", answer)
    on_a_terminal(monkeypatch)

    refused = [shell("pause", "coder"), shell("pause", "coder")]
    aborted = list(pretend.aborted)
    code, said = shell("pause", "coder")

    assert asked == ["pause coder? [y/N] "] * 3
    assert [code for code, _ in refused] == [1, 1]
    assert aborted == []
    assert "stops a turn in agent:coder:main (mock/normal)" in refused[0][1]
    assert "switches off cron job nightly (every 6s)" in refused[0][1]
    assert "does not cover a run that names its own model" in refused[0][1]
    assert refused[0][1].endswith("nothing was done\n")
    assert (code, pretend.aborted) == (0, ["agent:coder:main"])
    assert said.splitlines()[-1].startswith("coder: paused: ")


@pytest.mark.parametrize("verb", ["pause", "abort"])
def test_an_end_of_the_input_is_no(shell: Shell, pretend: Pretend, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    def end(_: str) -> str:
        raise EOFError

    on_a_terminal(monkeypatch)
    monkeypatch.setattr("builtins.input", end)
    code, said = shell(verb, "coder")

    assert code == 1
    assert said.endswith("\nnothing was done\n")
    assert pretend.aborted == []


def test_an_interrupt_while_it_asks_ends_at_once_and_does_nothing(
    shell: Shell, pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_in: list[Thread] = []

    def interrupted(_: str) -> str:
        asked_in.append(current_thread())
        raise KeyboardInterrupt

    on_a_terminal(monkeypatch)
    monkeypatch.setattr("builtins.input", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shell("pause", "coder")

    # elsewhere it would wait for Enter: an interrupt reaches the main thread only
    assert asked_in == [main_thread()]
    assert pretend.aborted == []


def test_acting_does_not_wait_for_what_still_ends_in_other_held_agents(shell: Shell, pretend: Pretend) -> None:
    pretend.add_session("agent:main:main", active=True)
    shell("pause", "coder", "--yes")
    # the gateway is still closing the run that it refuses a model
    pretend.sessions["agent:coder:main"]["hasActiveRun"] = True
    began = time.monotonic()
    code, said = shell("abort", "main", "--yes")
    took = time.monotonic() - began

    assert (code, pretend.aborted[-1]) == (0, "agent:main:main")
    assert said.startswith("main: aborted")
    assert took < 10


def test_holds_waits_for_what_still_ends(shell: Shell, pretend: Pretend) -> None:
    shell("pause", "coder", "--yes")
    pretend.tasks["t1"] = {"taskId": "t1", "agentId": "coder", "runtime": "cron", "status": "running", "title": "often"}
    listing = shell.gateway.handlers["tasks.list"]

    def ends(params: Params) -> object:
        answer = listing(params)
        pretend.tasks.clear()
        return answer

    shell.gateway.handlers["tasks.list"] = ends
    code, said = shell("holds")

    assert (code, said.split(" since ")[0]) == (0, "coder: paused")


def test_json_says_the_same(shell: Shell) -> None:
    code, said = shell("pause", "coder", "--yes", "--json")
    outcome = json.loads(said)
    _, listed = shell("holds", "--json")

    assert code == 0
    assert (outcome["schema"], outcome["command"], outcome["verified"]) == ("clawtop-control/1", "pause", True)
    (result,) = outcome["results"]
    assert (result["agent"], result["hold"]["state"], result["conflicts"]) == ("coder", "paused", [])
    assert result["settled_ms"] <= result["verified_ms"]
    assert {step["what"] for step in result["steps"]} >= {"run in agent:coder:main", "cron job nightly off"}
    (hold,) = json.loads(listed)["holds"]
    assert (hold["agent"], hold["state"]) == ("coder", "paused")


def test_an_abort_says_what_it_stopped(shell: Shell, pretend: Pretend) -> None:
    code, said = shell("abort", "coder", "--yes")

    assert code == 0
    assert said.startswith("coder: aborted: 1 run stopped (settled in ")
    assert shell("holds")[1] == "nothing is held\n"
    assert pretend.jobs["nightly"]["enabled"]


def test_what_is_not_verified_is_one(pretend: Pretend, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(pretend) as gateway:
        del gateway.handlers["config.patch"]
        code, said = Shell(gateway, tmp_path, capsys)("pause", "coder", "--yes")

    assert code == 1
    assert said.startswith("coder: NOT verified (failed): its config is not held")


def test_a_gateway_that_is_down_fails_and_is_no_unknown_agent(
    pretend: Pretend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(pretend) as gateway:
        pass
    code, said = Shell(gateway, tmp_path, capsys)("pause", "coder", "--yes")

    assert code == 1
    assert "NOT verified" in said


@pytest.mark.parametrize(
    ("words", "aborted"),
    [
        (["--all"], {"coder", "main"}),
        (["c*"], {"coder"}),
        (["--project", "api"], {"main"}),
        (["--project", "w*", "--project", "api"], {"coder", "main"}),
        (["*", "--project", "web"], {"coder"}),
        (["main", "coder@local"], {"coder", "main"}),
    ],
)
def test_agents_are_picked_by_name_glob_project_or_all(
    shell: Shell, pretend: Pretend, words: list[str], aborted: set[str]
) -> None:
    pretend.add_session("agent:main:main", active=True)
    shell.known = [
        Known(Target("local", "coder"), frozenset({"web"})),
        Known(Target("local", "main"), frozenset({"api", "docs"})),
    ]

    code, _ = shell("abort", "--yes", *words)

    assert code == 0
    assert {key.split(":")[1] for key in pretend.aborted} == aborted


@pytest.mark.parametrize("words", [["codr"], ["x*"], ["--project", "nothing"]])
def test_a_name_that_nobody_has_is_a_mistake(shell: Shell, pretend: Pretend, words: list[str]) -> None:
    with pytest.raises(UsageError, match="no agent"):
        shell("abort", "--yes", *words)

    assert pretend.aborted == []


def test_all_are_all_that_a_gateway_has_and_not_only_those_that_have_worked(shell: Shell, pretend: Pretend) -> None:
    shell.known = [Known(Target("local", "coder"), frozenset({"web"}))]

    code, said = shell("pause", "--all", "--yes")

    assert code == 0
    assert sorted(line.partition(":")[0] for line in said.splitlines()) == ["coder", "main"]
    assert {job for job, it in pretend.jobs.items() if it["enabled"]} == set()


@pytest.mark.parametrize("verb", ["pause", "abort"])
def test_a_source_that_is_down_is_named_and_the_rest_is_done(shell: Shell, pretend: Pretend, verb: str) -> None:
    shell.unread = {"claude:/srv/a": "was not read to its end within 1 s"}
    shell.others = [("far", GatewayAddress("ws://127.0.0.1:1", None))]

    code, said = shell(verb, "--all", "--yes", "--json")

    assert code == 1
    assert shell.errors.splitlines()[0] == "clawtop: claude:/srv/a was not read to its end within 1 s"
    assert "clawtop: gateway:ws://127.0.0.1:1 cannot be asked for its agents: nothing listens" in shell.errors
    assert json.loads(said)["unread"].keys() == {"claude:/srv/a", "gateway:ws://127.0.0.1:1"}
    assert {result["agent"] for result in json.loads(said)["results"]} == {"coder", "main"}
    assert "agent:coder:main" in pretend.aborted


def test_who_is_held_is_resumed_by_all_though_nothing_else_knows_it(shell: Shell, pretend: Pretend) -> None:
    before = pretend.state()
    assert shell("resume", "--all", "--yes") == (0, "nothing is held\n")
    shell("pause", "coder", "--yes")

    code, said = shell("resume", "--all", "--yes")

    assert (code, said) == (0, "coder: resumed: as it was before\n")
    assert pretend.state() == before
    with pytest.raises(UsageError, match="no agent that is held fits"):
        shell("resume", "c*", "--yes")


def test_a_name_and_a_project_must_both_fit(shell: Shell, pretend: Pretend) -> None:
    shell.known = [Known(Target("local", "coder"), frozenset({"web"}))]
    with pytest.raises(UsageError, match="coder has not worked for the project nosuch: it has worked for web"):
        shell("pause", "coder", "--project", "nosuch", "--yes")
    assert pretend.aborted == []

    assert shell("pause", "coder", "--project", "w*", "--yes")[0] == 0


def test_of_an_agent_on_two_gateways_nobody_picks_one_silently(shell: Shell, pretend: Pretend) -> None:
    with served(pretend) as gateway:
        shell.others = [("far", gateway.address)]
        with pytest.raises(UsageError, match="say which one: coder@local, coder@far"):
            shell("pause", "coder", "--yes")
        shell("pause", "coder@far", "--yes")
        for verb in ("pause", "abort"):
            with pytest.raises(UsageError, match="say which one"):
                shell(verb, "coder", "--yes")
        code, said = shell("resume", "coder", "--yes")

        assert (code, said) == (0, "coder@far: resumed: as it was before\n")
        shell("pause", "coder@far", "coder@local", "--yes")
        with pytest.raises(UsageError, match="say which one"):
            shell("resume", "coder", "--yes")
        shell.others = []
        _, said = shell("resume", "coder@far", "--yes")
        assert said.startswith("coder@far: ")


@pytest.mark.parametrize("words", [["coder", "--reason", "caf\udce9"], ["caf\udce9"], ["coder", "-p", "caf\udce9"]])
def test_what_is_no_text_is_a_mistake(shell: Shell, pretend: Pretend, words: list[str]) -> None:
    with pytest.raises(UsageError, match="caf\ufffd is no UTF-8"):
        shell("pause", "--yes", *words)
    assert pretend.aborted == []


def test_an_agent_whose_name_is_no_text_is_named_and_the_rest_is_done(shell: Shell, pretend: Pretend) -> None:
    shell.known = [Known(Target("local", "caf\udce9"))]
    code, _ = shell("abort", "--all", "--yes")

    assert code == 1
    assert shell.errors == "clawtop: caf\ufffd has a name that is no UTF-8\n"
    assert pretend.aborted == ["agent:coder:main"]


def test_an_outcome_that_is_not_in_the_audit_log_is_said_and_is_one(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("clawtop.control.audit.Audit.outcome", full)
    code, said = shell("pause", "coder", "--yes")

    assert code == 1
    assert said.startswith("coder: paused: ")
    assert "; the outcome could not be written to the audit log (No space left on device)" in said
    assert shell("holds")[0] == 0


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as a terminal has it: what runs in the background of a script ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_in_the_middle_says_what_is_left_and_how_to_go_on(
    pretend: Pretend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = pretend.state()
    with served(pretend) as gateway:
        write = gateway.handlers["config.patch"]

        def interrupting(params: Params) -> object:
            os.kill(os.getpid(), signal.SIGINT)
            return write(params)

        gateway.handlers["config.patch"] = interrupting
        shell = Shell(gateway, tmp_path, capsys)
        with pytest.raises(KeyboardInterrupt):
            shell("pause", "coder", "--yes")
        told = capsys.readouterr().err
        gateway.handlers["config.patch"] = write
        code, _ = shell("resume", "coder", "--yes")

    assert told == "clawtop: coder: interrupted; the hold stands in part: pause it once more, or resume it\n"
    assert code == 0
    pretend.sessions["agent:coder:main"]["hasActiveRun"] = True
    assert pretend.state() == before


def test_naming_nobody_is_a_mistake(shell: Shell) -> None:
    with pytest.raises(UsageError, match="whom"):
        shell("pause", "--yes")
    with pytest.raises(UsageError, match="one of them"):
        shell("resume", "coder", "--yes", "--force", "--keep")


@pytest.mark.parametrize(("answer", "model"), [("o", "mock/normal"), ("n", "mock/cheap")])
def test_a_conflict_is_asked_about(
    shell: Shell, pretend: Pretend, monkeypatch: pytest.MonkeyPatch, answer: str, model: str
) -> None:
    shell("pause", "coder", "--yes")
    entry = pretend.entry("coder")
    assert entry is not None
    entry["model"] = "mock/cheap"
    monkeypatch.setattr("builtins.input", lambda _: answer)
    on_a_terminal(monkeypatch)

    code, said = shell("resume", "coder")

    assert code == 0
    assert "was mock/normal before the hold and is mock/cheap now" in said
    now = pretend.entry("coder")
    assert now is not None
    assert (now["model"]["primary"] if isinstance(now["model"], dict) else now["model"]) == model


def test_a_damaged_hold_shows_and_counts(shell: Shell, tmp_path: Path) -> None:
    shell("pause", "coder", "--yes")
    HoldStore(tmp_path / "holds").path(Target("local", "coder")).write_text("{")

    code, said = shell("holds")

    assert code == 1
    assert said.startswith("coder: failed since ? by ?")


def test_hostile_names_reach_no_terminal(shell: Shell, pretend: Pretend) -> None:
    pretend.sessions.clear()
    pretend.add_session("agent:coder:\x1b[2J\u202eevil", active=True)

    _, said = shell("abort", "coder", "--yes", "--json")
    _, text = shell("pause", "coder", "--yes")

    assert "\x1b" not in said + text
    assert "\u202e" not in said + text


def test_processes_are_named_before_they_are_stopped_or_ended() -> None:
    process = RunningProcess(4711, "node cli.js", 1_795_363_200_000, ("bash",), stopped=1)
    plan = Plan(Target("local", "claude:api"), Means.PROCESS, processes=(process,), problem="tmux lets it go on")
    said = "process 4711 (node cli.js) since 2026-11-22T16:00:00Z; 1 that it has started: bash; 1 stopped already"

    assert _question("pause", plan) == ["pause claude:api", "  not possible: tmux lets it go on", f"  stops {said}"]
    assert _question("abort", plan) == ["abort claude:api", f"  ends, and kills after 5 s, {said}"]
