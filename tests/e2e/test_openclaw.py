"""clawtop beside real gateways, one of each generation: what it says is held against a recount, and timed."""

import shutil
import statistics

import pytest

from tests.e2e.clawtop_runs import CHECKOUT, Live, Shown, command, environment, once, row, state
from tests.e2e.lab import Lab
from tests.e2e.recount import COUNTERS, commits, recount
from tests.e2e.tmux import Terminal
from tests.e2e.waiting import eventually

AGENTS = ("main", "researcher", "coder")
SAMPLES = 50
SLOWEST = 1000  # ms from commit to printed line, p95; the design wants 250 on an idle machine
UNSEEN = {"2026.9.6": frozenset[str](), "2026.6.35": frozenset({"unmetered_runs"})}
"""What the generation leaves no trace of, so that clawtop may say it does not know."""


def a_day_of_work(lab: Lab) -> None:
    """Turns that leave each kind of trace: retries, a fallback, failures, tools, an abort, a reset, forks."""
    falling_back = lab.turn("researcher", "research this")
    assert lab.turn("main", "hello").wait() == "ok"
    assert lab.turn("main", "DOTOOLS now").wait() == "ok"
    for name, wanted in (("mock-flaky429/flaky429", "ok"), ("mock-err401/err401", "error"), ("mock2/nocost", "ok")):
        key = f"agent:main:{name.rpartition('/')[2]}"
        lab.rpc.call("sessions.create", {"key": key, "agentId": "main"})
        lab.rpc.use_model(key, name)
        assert lab.turn("main", f"hello {name}", key).wait() == wanted
    loop(lab, calls=4)
    cut_off(lab, "agent:coder:main")
    assert lab.turn("main", "BIGOUT", "agent:main:reset").wait() == "ok"
    lab.rpc.reset("agent:main:reset")
    assert lab.turn("main", "hello after the reset", "agent:main:reset").wait() == "ok"
    if "sessions.fork" in lab.rpc.methods:
        fork = lab.rpc.fork("main", "agent:main:main")
        assert lab.turn("main", "hello in the fork", fork).wait() == "ok"
    assert lab.turn("main", "SPAWNFORK a subagent").wait() == "ok"
    assert falling_back.wait(200) == "ok"
    for _ in range(2):
        assert lab.turn("main", "BIGOUT", "agent:main:long").wait() == "ok"
    assert lab.rpc.compact("agent:main:long")
    lab.rest()


def loop(lab: Lab, calls: int) -> None:
    """Lets coder loop over its tool, until its model was asked `calls` times more."""
    before = len(lab.requests())
    lab.turn("coder", "TOOLLOOP over the notes")
    eventually(lambda: len(lab.requests()) >= before + calls, f"{calls} calls of coder")


def cut_off(lab: Lab, key: str) -> None:
    """Aborts what runs in a session, or is about to."""
    eventually(lambda: lab.rpc.abort(key), f"the run of {key} to be cut off", every=0.2)


def counted(lab: Lab, shown: Shown) -> dict[str, dict[str, int | None]]:
    """Each agent's counters, in the names of the recount; 0 for what the gateway leaves no trace of."""
    return {str(row["agent"]): counters(row, UNSEEN[lab.version]) for row in shown["rows"]}


def counters(row: Shown, unseen: frozenset[str]) -> dict[str, int | None]:
    """A row's counters, in the names of the recount."""
    flat = {**row, **row["tokens"], "cost_micro": round(row["cost_usd"] * 1e6)}
    return {name: 0 if flat[name] is None and name in unseen else flat[name] for name in COUNTERS}


def both(lab: Lab) -> tuple[Shown, dict[str, dict[str, int]]]:
    """What clawtop shows and what the recount says, of the same moment."""
    for _ in range(10):
        before = recount(lab.state_dir)
        shown = once(lab.state_dir)
        if recount(lab.state_dir) == before:
            return shown, before
    raise TimeoutError("the gateway never stood still")


@pytest.fixture(scope="module")
def worked(lab: Lab) -> Lab:
    """The gateway after a day of work."""
    a_day_of_work(lab)
    return lab


def test_totals_are_those_of_a_recount(worked: Lab) -> None:
    shown, known = both(worked)

    assert counted(worked, shown) == known
    main, researcher = known["main"], known["researcher"]
    assert main["failed_turns"] == 1
    assert main["compactions"] == 1
    assert main["unpriced_calls"] == 1
    assert known["coder"]["aborts"] == 1
    assert researcher["fallbacks"] == 1
    assert shown["totals"]["tokens"]["total"] == sum(agent["total"] for agent in known.values())
    assert {source["state"] for source in shown["sources"]} == {"ok"}


def test_an_agent_runs_as_long_as_its_turn(lab: Lab) -> None:
    with Live(lab.state_dir) as live:
        live.until(lambda shown: state(shown, "main") == "idle", "main rests")
        turn = lab.turn("main", "SLOWPLEASE", "agent:main:slow")
        live.until(lambda shown: state(shown, "main") == "running", "main runs")
        cut_off(lab, turn.session_key)
        live.until(lambda shown: state(shown, "main") == "idle", "main rests after the abort")


def test_an_agent_whose_last_run_failed_says_so(lab: Lab) -> None:
    key = "agent:researcher:refused"
    lab.rpc.call("sessions.create", {"key": key, "agentId": "researcher"})
    lab.rpc.use_model(key, "mock-err401/err401")
    assert lab.turn("researcher", "hello", key).wait() == "error"

    eventually(lambda: state(once(lab.state_dir), "researcher") == "error", "researcher to be in error", every=0.5)


def test_a_commit_is_soon_on_a_line(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    done = len(commits(lab.state_dir, "coder"))
    with Live(lab.state_dir) as live:
        live.until(lambda shown: row(shown, "coder") is not None or not done, "coder is there")
        loop(lab, calls=SAMPLES + 5)
        cut_off(lab, "agent:coder:main")
        lab.rest()
        known = commits(lab.state_dir, "coder")
        live.until(lambda shown: spent(shown) >= known[-1][1], "the last commit is there")
        lines = list(live.lines)

    delays = sorted(
        next(line.at for line in lines if spent(line.shown) >= total) * 1000 - at for at, total in known[done:]
    )
    assert len(delays) >= SAMPLES
    median, p95 = statistics.median(delays), statistics.quantiles(delays, n=20)[-1]
    with capsys.disabled():
        print(f"\n{lab.version}: commit -> line, {len(delays)} samples: median {median:.0f} ms, p95 {p95:.0f} ms")
    assert p95 < SLOWEST


def spent(shown: Shown) -> int:
    """Tokens of coder on a line."""
    found = row(shown, "coder")
    return 0 if found is None else int(found["tokens"]["total"])


@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux to show the screen in")
def test_the_screen_names_the_agents_and_q_leaves_it(worked: Lab) -> None:
    watched = command(worked.state_dir)
    with Terminal(watched, CHECKOUT, environment(worked.home), columns=80, lines=24) as terminal:
        screen = terminal.shows(*AGENTS)
        assert all(len(line) <= 80 for line in screen.splitlines())
        terminal.press("q")
        assert terminal.ends() == 0


def test_a_killed_gateway_leaves_nothing_running_and_its_restart_no_gap(lab: Lab) -> None:
    asked = len(lab.requests())
    with Live(lab.state_dir) as live:
        lab.turn("main", "SLOWPLEASE", "agent:main:killed")
        live.until(lambda shown: state(shown, "main") == "running", "main runs")
        eventually(lambda: len(lab.requests()) > asked, "the model to be asked")
        lab.kill9()
        live.until(lambda shown: state(shown, "main") != "running", "main does not run with its gateway dead")
    assert state(once(lab.state_dir), "main") != "running"

    lab.restart()
    if lab.version.startswith("2026.9"):
        eventually(lambda: "agent:main:killed" in lab.running(), "the turn to be taken up again", every=0.2)
        cut_off(lab, "agent:main:killed")
    assert lab.turn("main", "hello again").wait() == "ok"
    lab.rest()
    shown, known = both(lab)
    assert counted(lab, shown) == known
