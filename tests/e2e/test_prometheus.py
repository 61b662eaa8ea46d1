"""A real Prometheus between two clawtops: one hands out what the agents of a gateway did, the other reads it back."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import pytest

from tests.e2e.clawtop_runs import CHECKOUT, Live, Shown, environment, once, row, state
from tests.e2e.lab import Lab, free_port
from tests.e2e.waiting import eventually

TOLD = (
    "tokens", "cost_usd", "unpriced_calls", "calls", "errors", "retries", "fallbacks", "failed_turns", "aborts",
    "tool_calls", "tool_errors", "compactions", "unmetered_runs", "state",
)  # fmt: skip
"""What an agent's row has to be the same in."""
CONFIG = """
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: clawtop
    authorization: {credentials: %s}
    static_configs: [{targets: ["127.0.0.1:%d"]}]
"""
TOKEN = "e2e-export-token"


class Served:
    """A program that serves HTTP on loopback until it is told to end."""

    def __init__(self, command: list[str], home: Path, url: str) -> None:
        self.url = url
        self._errors = (home / f"{Path(command[0]).name}.err").open("w+")
        own = {"CLAWTOP_EXPORT_TOKEN": TOKEN, "CLAWTOP_STATE_DIR": str(home / "clawtop")}
        self.process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env={**environment(home), **own},
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
        )

    def __enter__(self) -> Self:
        eventually(lambda: self.fetch() is not None, f"{self.url} to answer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self._errors.close()

    def fetch(self) -> str | None:
        """What it answers, None where it does not."""
        if self.process.poll() is not None:
            self._errors.seek(0)
            raise AssertionError(f"it ended with {self.process.returncode}: {self._errors.read()[-2000:]}")
        try:
            answer = httpx.get(self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5, trust_env=False)
        except httpx.HTTPError:
            return None
        return answer.text if answer.is_success else None


@pytest.fixture(scope="module")
def program() -> str:
    """Debian's Prometheus: .ci/run sees to it, elsewhere it may be missing."""
    found = shutil.which("prometheus")
    if found is None and os.environ.get("CI") != "true":
        pytest.skip("there is no prometheus: apt-get install prometheus, or run .ci/run")
    assert found is not None, "there is no prometheus"
    return found


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A gateway whose agents have met everything that is counted."""
    with Lab("2026.9.6", researcher="mock-quota429/quota429") as lab:
        falling_back = lab.turn("researcher", "research this")
        assert lab.turn("main", "DOTOOLS now").wait() == "ok"
        for name, wanted in (("mock-flaky429/flaky429", "ok"), ("mock-err401/err401", "error"), ("mock2/nocost", "ok")):
            key = f"agent:main:{name.rpartition('/')[2]}"
            lab.rpc.call("sessions.create", {"key": key, "agentId": "main"})
            lab.rpc.use_model(key, name)
            assert lab.turn("main", f"hello {name}", key).wait() == wanted
        asked = len(lab.requests())
        lab.turn("coder", "TOOLLOOP over the notes")
        eventually(lambda: len(lab.requests()) >= asked + 4, "some calls of coder")
        eventually(lambda: lab.rpc.abort("agent:coder:main"), "coder to be cut off", every=0.2)
        assert falling_back.wait(200) == "ok"
        lab.rest()
        yield lab


@pytest.fixture(scope="module")
def export(lab: Lab) -> Iterator[Served]:
    """clawtop, handing out what the gateway's agents did."""
    port = free_port()
    command = ["export", "--listen", f"127.0.0.1:{port}", "-s", f"openclaw:{lab.state_dir}"]
    with Served([sys.executable, "-m", "clawtop", *command], lab.root, f"http://127.0.0.1:{port}/metrics") as served:
        yield served


@pytest.fixture(scope="module")
def prometheus(program: str, lab: Lab, export: Served) -> Iterator[str]:
    """A Prometheus that fetches it each second, as a source URI."""
    port, folder = free_port(), lab.root / "prometheus"
    folder.mkdir()
    exported = int(export.url.rsplit(":", 1)[1].partition("/")[0])
    (folder / "prometheus.yml").write_text(CONFIG % (TOKEN, exported))
    options = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with Served([program, *options], lab.root, f"http://127.0.0.1:{port}/-/ready"):
        uri = f"prometheus:http://127.0.0.1:{port}"
        eventually(lambda: bool(once(lab.state_dir, uri)["rows"]), "the first scrape", every=0.5)
        yield uri


def told(shown: Shown) -> dict[str, dict[str, object]]:
    """What each agent's row says of what is told."""
    return {str(found["agent"]): {name: found[name] for name in TOLD} for found in shown["rows"]}


def test_what_is_handed_out_is_sound(export: Served) -> None:
    text = export.fetch()
    assert text is not None
    assert 'clawtop_retries_total{agent="main"' in text
    checker = shutil.which("promtool")
    if checker is None:
        pytest.skip("there is no promtool")
    done = subprocess.run([checker, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_read_back_is_the_same(lab: Lab, prometheus: str) -> None:
    direct = once(lab.state_dir)
    back = once(lab.state_dir, prometheus)
    assert told(back) == told(direct)
    assert {found["agent"]: found["errors"] > 0 for found in direct["rows"]} == {
        "main": True, "researcher": True, "coder": False,
    }  # fmt: skip
    main, researcher, coder = (row(direct, agent) for agent in ("main", "researcher", "coder"))
    assert main and researcher and coder  # noqa: PT018
    assert (main["retries"] > 0, main["unpriced_calls"], researcher["fallbacks"], coder["aborts"]) == (True, 1, 1, 1)
    assert {source["uri"] for source in back["sources"]} == {prometheus}


def test_a_call_is_soon_in_a_row(lab: Lab, prometheus: str, capsys: pytest.CaptureFixture[str]) -> None:
    def calls(shown: Shown) -> int:
        found = row(shown, "main")
        return 0 if found is None else int(found["calls"])

    with Live(lab.state_dir, source=prometheus) as live:
        known = calls(live.until(lambda shown: calls(shown) > 0, "main is there").shown)
        seconds = []
        for number in range(5):
            assert lab.turn("main", "hello again").wait() == "ok"
            ended = time.time()
            line = live.until(lambda shown, least=known + number: calls(shown) > least, "the call is there")  # type: ignore[misc]
            seconds.append(line.at - ended)
    with capsys.disabled():
        print(f"\ncall -> row by way of a Prometheus: {', '.join(f'{each:.1f}' for each in seconds)} s")
    assert told(once(lab.state_dir, prometheus)) == told(once(lab.state_dir))


def test_who_is_no_longer_told_of_is_unknown(lab: Lab, prometheus: str, export: Served) -> None:
    with Live(lab.state_dir, source=prometheus) as live:
        live.until(lambda shown: state(shown, "coder") == "idle", "coder rests")
        export.process.send_signal(signal.SIGTERM)
        assert export.process.wait(timeout=30) == 0
        live.until(lambda shown: state(shown, "coder") == "unknown", "nobody knows of coder")
    assert told(once(lab.state_dir, prometheus)).keys() == {"main", "researcher", "coder"}
