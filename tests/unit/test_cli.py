"""The command line, run in the test's own process on small homes."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clawtop import __version__, discovery
from clawtop.cli import main
from clawtop.control.holds import HoldStore
from clawtop.control.record import HoldRecord
from clawtop.model.commands import Target
from clawtop.sources import Outlet
from tests import claude_lines, codex_lines
from tests.openclaw_homes import T0, answer, header, session_file

BOT = {
    "agent_id": "bot",
    "project_id": "api",
    "user_id": "ann",
    "session_id": "s1",
    "run_id": "r1",
    "model": "m",
    "usage": {"prompt_tokens": 500},
    "timestamp": "2026-11-22T12:00:00Z",
}
"""A usage event."""


@pytest.fixture
def home(tmp_path: Path) -> str:
    """A home with two agents, as a source URI."""
    session_file(tmp_path / "oc", "main", "s1", [header("s1"), answer("e1", T0), answer("e2", T0 + 1)])
    session_file(tmp_path / "oc", "coder", "s2", [header("s2", cwd="/srv/api"), answer("e3", T0, cost=5)])
    return f"openclaw:{tmp_path / 'oc'}"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"clawtop {__version__}\n"


def test_once_json(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--once", "--json", "-w", "all", "-s", home]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["agent"] for row in found["rows"]] == ["coder", "main"]
    assert found["totals"]["cost_usd"] == pytest.approx(5.002)
    assert found["sources"][0]["state"] == "ok"


def test_a_source_that_is_named_twice_is_read_once(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    far = "prometheus:http://127.0.0.1:1"
    assert main(["--once", "--json", "-s", home, "-s", home, "-s", far, "-s", f"{far}/"]) == 1
    assert [source["uri"] for source in json.loads(capsys.readouterr().out)["sources"]] == [home, far]


@pytest.mark.parametrize(
    ("more", "agents"),
    [
        (["-a", "ma*"], ["main"]),
        (["-p", "api"], ["coder"]),
        (["-f", "cost>1"], ["coder"]),
        (["-f", "!coder"], ["main"]),
        (["--sort", "name"], ["coder", "main"]),
        (["--sort=-name"], ["main", "coder"]),
        (["--sort", "calls"], ["main", "coder"]),
        (["--sort=-cost"], ["main", "coder"]),
        (["--sort=-$"], ["main", "coder"]),
    ],
)
def test_filters_and_order(home: str, more: list[str], agents: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--once", "--json", "-w", "all", "-s", home, *more]) == 0
    assert [row["agent"] for row in json.loads(capsys.readouterr().out)["rows"]] == agents


def test_batch_prints_an_object_for_each_iteration(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-b", "--json", "-n", "3", "-d", "0.1", "-w", "all", "-s", home]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [found["totals"]["calls"] for found in objects] == [3, 3, 3]


def test_text_and_csv(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--once", "-w", "all", "-s", home]) == 0
    assert "coder" in capsys.readouterr().out
    assert main(["--csv", "-w", "all", "-s", home]) == 0
    assert capsys.readouterr().out.count("\n") == 3


def test_a_named_source_that_is_down_is_exit_code_1_and_the_object_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--once", "--json", "-s", f"openclaw:{tmp_path / 'nowhere'}"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["sources"][0]["state"] == "down"
    assert "does not exist" in err


def test_nothing_found_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--once", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == []


def test_discovery_finds_what_the_environment_names(
    home: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENCLAW_STATE_DIR", home.removeprefix("openclaw:"))
    assert main(["--once", "--json", "-w", "all"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2


def test_discovery_finds_claude_code_and_codex_where_they_are(
    home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENCLAW_STATE_DIR", home.removeprefix("openclaw:"))
    for path, data in (
        (".claude/projects/-srv-api/s1.jsonl", claude_lines.text(claude_lines.answer())),
        ("own/codex/sessions/2026/11/22/rollout-1.jsonl", codex_lines.text(codex_lines.meta(), codex_lines.USED)),
    ):
        (tmp_path / "home" / path).parent.mkdir(parents=True)
        (tmp_path / "home" / path).write_bytes(data)
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "home" / "own" / "codex"))
    assert main(["--once", "--json", "-w", "all"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["agent"] for row in found["rows"]} == {"main", "coder", "claude:api", "codex:web"}
    assert [source["uri"].partition(":")[0] for source in found["sources"]] == ["openclaw", "claude", "codex"]


def test_what_was_looked_for_and_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "home" / ".config" / "claude").mkdir(parents=True)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert f"claude:{tmp_path / 'home' / '.claude'}: not there" in out
    assert f"codex:{tmp_path / 'home' / '.codex'}: not there" in out
    assert f"openclaw:{tmp_path / 'home' / '.openclaw'}: not there" in out
    assert f"claude:{tmp_path / 'home' / '.config' / 'claude'}: ok" in out


def test_where_there_is_nothing_openclaw_is_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert f"openclaw:{tmp_path / 'home' / '.openclaw'}: DOWN" in out
    assert f"claude:{tmp_path / 'home' / '.claude'}: not there" in out


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["-s", "openclaw"], "no kind"),
        (["-s", "nonsense:x"], "no known kind"),
        (["-s", "openclaw:"], "needs a path"),
        (["-f", "cost>x"], "needs a number"),
        (["-f", "nothing:x"], "no field"),
        (["--sort", "beauty"], "--sort beauty is not"),
        (["-d", "0"], "--delay 0.0 is not seconds"),
        (["--iterations=-1"], "less than 0"),
        (["-w", "2h"], "--window 2h is not one of"),
        (["-g", "mood"], "--group-by mood is not one of"),
        (["--config", "/nowhere/x.toml"], "does not exist"),
        (["--config", "~nobody-is-called-that/x.toml"], "no home directory for ~nobody-is-called-that"),
        (["--once", "-s", "events:~nobody-is-called-that/x"], "no home directory"),
        (["--json", "--csv"], "one of them"),
        (["--timeout=-1"], "no time"),
        ([], "needs a terminal"),
    ],
)
def test_what_cannot_be_understood_is_one_line_and_exit_code_2(
    arguments: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert what in err
    assert err.count("\n") == 1


class Endless:
    """A source that never gets through what is there."""

    uri = "endless:"

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        await asyncio.Event().wait()


def test_a_timeout_is_exit_code_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "open_source", lambda _, **__: Endless())
    assert main(["--once", "--json", "--timeout", "0.01", "-s", "endless:"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["schema"] == "clawtop/1"
    assert "--timeout" in err


class Fatal:
    """A source that takes the engine down with it."""

    uri = "fatal:"

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        raise SystemExit


@pytest.mark.parametrize("way", [["--once"], ["-b", "-d", "0.1"]])
def test_an_engine_that_has_ended_is_one_line_and_exit_code_1(
    way: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "discover", lambda *_, **__: [Fatal()])
    assert main([*way, "--json", "--timeout", "60"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["sources"][-1]["state"] == "down"
    assert "clawtop itself is down: reading has ended" in err
    assert err.count("\n") == 1


def test_doctor_says_what_was_found(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "-s", home]) == 0
    out = capsys.readouterr().out
    assert f"{home}: ok" in out
    assert "2 agents, 3 calls" in out
    assert "pausing: no gateway" in out
    assert "their processes" not in out
    assert main(["doctor"]) == 0
    assert "Nothing was found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["pause", "--yes"], "whom"),
        (["pause", "main"], "give --yes"),
        (["resume", "main", "--yes", "--force", "--keep"], "one of them"),
        (["pause", "main", "--yes", "-s", "nonsense:x"], "no known kind"),
    ],
)
def test_acting_needs_a_target_and_a_yes(arguments: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert what in capsys.readouterr().err


def test_what_cannot_be_reached_is_not_paused(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pause", "main", "--yes", "-s", home]) in {1, 2}
    assert "main" in "".join(capsys.readouterr())


def test_all_names_the_sources_that_are_down(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["abort", "--all", "--yes", "-s", home, "-s", "gateway:ws://127.0.0.1:1"]) == 1
    assert "clawtop: gateway:ws://127.0.0.1:1 is down: nothing listens" in capsys.readouterr().err
    assert main(["pause", "--all", "--yes", "-s", "gateway:ws://127.0.0.1:1"]) == 1
    assert "no agent that could be seen fits" in capsys.readouterr().err


def test_nothing_is_held_at_first(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["holds", "-s", home]) == 0
    assert "nothing is held" in capsys.readouterr().out


def test_doctor_says_what_is_stopped_by_its_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "-s", f"claude:{tmp_path}"]) == 0
    assert "; Claude Code and Codex by stopping their processes" in capsys.readouterr().out


HOOK = """
[[control.hook]]
agent = "bot"
project = "api"
source = "events:*"
pause = {command}
"""


@pytest.fixture
def bot(tmp_path: Path) -> str:
    """An events file with one agent that worked most for project api, as a source URI."""
    events = tmp_path / "events.jsonl"
    before = {**BOT, "project_id": "aaa", "user_id": "bob", "usage": {"prompt_tokens": 1}, "timestamp": 1_700_000_000}
    events.write_text("".join(json.dumps(each) + "\n" for each in (before, BOT)))
    return f"events:{events}"


def test_batch_says_that_not_everything_was_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "open_source", lambda _, **__: Endless())
    assert main(["-b", "-n", "1", "--json", "--timeout", "0.01", "-s", "endless:"]) == 1
    assert "--timeout" in capsys.readouterr().err


def test_a_log_that_cannot_be_written_ends_nothing(home: str, tmp_path: Path) -> None:
    (tmp_path / "clawtop-state" / "clawtop.log").mkdir(parents=True)
    assert main(["--once", "-w", "all", "-s", home]) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written_is_one_line(home: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "clawtop", "--once", "-s", home], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"clawtop: the output: No space left on device\n")


@pytest.mark.parametrize("arguments", [["--once"], ["doctor"], ["--format", "prometheus"]])
def test_a_name_that_the_locale_cannot_write_ends_nothing(arguments: list[str], tmp_path: Path) -> None:
    events = tmp_path / "日本.jsonl"
    events.write_text(json.dumps({**BOT, "agent_id": "日本 bot"}) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "clawtop", *arguments, "-s", f"events:{events}"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert ("日本 bot".encode() if "prometheus" in arguments else b"??") in done.stdout


def test_a_hook_is_chosen_by_source_and_project_and_told_of_the_agent(
    bot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = tmp_path / "said"
    names = ("AGENT", "PROJECT", "USER", "SESSION", "RUN", "SOURCE")
    script = f"printf '%s ' {' '.join(f'$CLAWTOP_{name}' for name in names)} > {said}"
    config = tmp_path / "config.toml"
    config.write_text(HOOK.format(command='["true"]').replace("events:*", "claude:*"))
    assert main(["pause", "bot", "--yes", "-s", bot, "--config", str(config)]) == 1
    config.write_text(HOOK.format(command=json.dumps(["sh", "-c", script])))
    assert main(["pause", "bot", "--yes", "-s", bot, "--config", str(config)]) == 0, capsys.readouterr()
    assert said.read_text().split() == ["bot", "api", "ann", "s1", "r1", bot]


def test_a_report_tells_of_holds_as_they_were_written_down(
    bot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = HoldStore(tmp_path / "clawtop-state" / "holds")
    written.write(HoldRecord(Target("local", "bot"), since=1, by="me@here", pid=1, reason="dear"))
    assert main(["--once", "--json", "-w", "all", "-s", bot]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["hold"] == "requested"
    assert "not verified" in row["hold_detail"]
    assert row["hold_detail"].endswith("dear")
    assert main(["--once", "-w", "all", "-s", bot, "-f", "hold:requested"]) == 0
    assert "held?" in capsys.readouterr().out
