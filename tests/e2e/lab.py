"""A real OpenClaw gateway on loopback, with three agents and a model provider that answers for nothing.

`main` answers at once, `researcher` meets 429s and falls back, `coder` loops over a tool. Each model that fails is a
provider of its own: the gateway lets all models of a provider cool down together.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.e2e.gateway_rpc import Gateway, Run
from tests.e2e.provider import ERRORS, FLAKY
from tests.e2e.waiting import eventually

TOKEN = "e2e-dummy-token"
FIRST_WITH_ENTRIES = (2026, 7)  # before it, the config lists its agents
PRICES = ("input", "output", "cacheRead", "cacheWrite")  # dollars per million tokens

Config = dict[str, Any]


class LabError(Exception):
    """The gateway could not be installed or did not come up; the message holds the end of its output."""


def install(version: str) -> Path:
    """The folder of openclaw@version, installed by npm the first time, outside the checkout."""
    return install_package("openclaw", version, "openclaw.mjs")


def install_package(name: str, version: str, proof: str) -> Path:
    """The folder of the npm package name@version, installed the first time, outside the checkout.

    `proof` is a file of the package. LabError where npm fails.
    """
    root = Path(os.environ.get("CLAWTOP_E2E_CACHE") or Path.home() / ".cache" / "clawtop-e2e")
    folder = root / f"{name}-{version}"
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{name}-{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "node_modules" / name / proof).exists():
            fresh = Path(tempfile.mkdtemp(prefix=f"{name}-{version}-", dir=root))
            npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(fresh), f"{name}@{version}"]
            done = subprocess.run(
                npm, env=with_node(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            if done.returncode:
                shutil.rmtree(fresh)
                raise LabError(f"npm could not install {name}@{version}:\n{done.stderr[-2000:]}")
            shutil.rmtree(folder, ignore_errors=True)
            fresh.rename(folder)
    return folder / "node_modules" / name


def with_node() -> dict[str, str]:
    """The environment with the interpreter's own Node and npm first on PATH."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def model(name: str, prices: tuple[float, ...] = (3, 15, 0.3, 3.75)) -> Config:
    """A model of the config; without prices its calls have none."""
    about = {"id": name, "name": f"Mock {name}", "reasoning": False, "input": ["text"]}
    cost = {"cost": dict(zip(PRICES, prices, strict=True))} if prices else {}
    return {**about, "contextWindow": 200_000, "maxTokens": 4096, **cost}


class Lab:
    """A gateway and its provider in a folder of their own; `with Lab("2026.9.6") as lab:` starts and ends both."""

    def __init__(self, version: str, researcher: str = "mock-err429/err429") -> None:
        self.version = version
        self.root = Path(tempfile.mkdtemp(prefix=f"clawtop-e2e-{version}-"))
        self.home = self.root / "home"
        self.state_dir = self.home / ".openclaw"
        self.config_path = self.state_dir / "openclaw.json"
        self.token = TOKEN
        self.requests_log = self.root / "provider.jsonl"
        self.port = free_port()
        self.gateway_url = f"ws://127.0.0.1:{self.port}"
        self._researcher = researcher
        self._provider: subprocess.Popen[bytes] | None = None
        self._gateway: subprocess.Popen[bytes] | None = None
        self._rpc: Gateway | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def rpc(self) -> Gateway:
        """A connection that may read, write and administer."""
        if self._rpc is None:
            self._rpc = Gateway(self.gateway_url, self.token)
        return self._rpc

    def start(self) -> None:
        """Installs what is missing, writes the config, starts provider and gateway and waits until both serve."""
        self._openclaw = install(self.version) / "openclaw.mjs"
        for folder in (self.state_dir, self.root / "tmp", *(self.workspace(agent) for agent in self.models())):
            folder.mkdir(parents=True)
        for agent in self.models():
            (self.workspace(agent) / "notes.txt").write_text("The same few words each time.\n" * 4)
        provider_port = free_port()
        self.config_path.write_text(json.dumps(self.config(provider_port), indent=1))
        self.requests_log.touch()
        script = Path(__file__).with_name("provider.py")
        self._provider = self._spawn(
            "provider", [sys.executable, str(script), str(provider_port), str(self.requests_log)]
        )
        self._wait_for(f"http://127.0.0.1:{provider_port}/v1/models", b"normal", self._provider, "provider")
        self.start_gateway()

    def start_gateway(self) -> None:
        """Starts the gateway alone and waits until it is ready."""
        self._gateway = self._spawn("gateway", ["node", str(self._openclaw), "gateway", "run"])
        self._wait_for(f"http://127.0.0.1:{self.port}/readyz", b'"ready":true', self._gateway, "gateway")

    def stop(self) -> None:
        """Ends both, politely first, and throws the folder away."""
        self._hang_up()
        running = [process for process in (self._gateway, self._provider) if process is not None]
        for process in running:
            signal_group(process, signal.SIGTERM)
        for process in running:
            end_group(process, patience=10)
        self._gateway = self._provider = None
        shutil.rmtree(self.root, ignore_errors=True)

    def kill9(self) -> None:
        """Kills the gateway and its children without a word, as a crash would."""
        if self._gateway is not None:
            signal_group(self._gateway, signal.SIGKILL)
            self._gateway.wait(timeout=20)
        self._hang_up()

    def restart(self) -> None:
        """Starts the gateway again on the same state, ending the one that runs."""
        self._hang_up()
        if self._gateway is not None and self._gateway.poll() is None:
            signal_group(self._gateway, signal.SIGTERM)
            end_group(self._gateway, patience=20)
        self.start_gateway()

    def turn(self, agent: str, message: str, key: str | None = None) -> Run:
        """Begins a turn of an agent and does not wait for its end."""
        return self.rpc.agent(agent, message, key)

    def running(self) -> set[str]:
        """The keys of the sessions that have a run."""
        sessions = self.rpc.call("sessions.list", {}).get("sessions", [])
        return {session["key"] for session in sessions if session.get("hasActiveRun")}

    def rest(self) -> None:
        """Waits until no session of any agent has a run; TimeoutError where one goes on."""
        eventually(lambda: not self.running(), "all runs to end", every=0.2)

    def cli(self, *args: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs the openclaw command line against this gateway."""
        return subprocess.run(
            ["node", str(self._openclaw), *args],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def requests(self) -> list[Config]:
        """The provider's log of what has reached a model so far, oldest first."""
        lines = [json.loads(line) for line in self.requests_log.read_text().splitlines()]
        return [line for line in lines if line["ev"] == "req"]

    def environment(self) -> dict[str, str]:
        """What the gateway and everything beside it find in their environment."""
        return {
            **with_node(),
            "HOME": str(self.home),
            "OPENCLAW_HOME": str(self.home),
            "OPENCLAW_STATE_DIR": str(self.state_dir),
            "OPENCLAW_CONFIG_PATH": str(self.config_path),
            "OPENCLAW_GATEWAY_TOKEN": self.token,
            "OPENCLAW_DISABLE_BONJOUR": "1",
            "TMPDIR": str(self.root / "tmp"),
        }

    def models(self) -> dict[str, str]:
        """Each agent's own model, `provider/model`."""
        return {"main": "mock/normal", "researcher": self._researcher, "coder": "mock/toolloop"}

    def workspace(self, agent: str) -> Path:
        """Where an agent works."""
        return self.root / f"ws-{agent}"

    def config(self, provider_port: int) -> Config:
        """The gateway's config, in the words of its generation."""
        mock = [model("normal"), model("slow"), model("toolloop")]
        dear = (5, 25, 0.5, 6.25)
        mock2 = [model("normal", (1, 4, 0.1, 1)), model("nocost", ())]
        api = {"baseUrl": f"http://127.0.0.1:{provider_port}/v1", "apiKey": "sk-mock", "api": "openai-completions"}
        return {
            "gateway": {
                "mode": "local",
                "port": self.port,
                "bind": "loopback",
                "auth": {"mode": "token", "token": self.token},
                "controlUi": {"enabled": False},
            },
            "logging": {"file": str(self.root / "openclaw.log"), "level": "info"},
            "discovery": {"mdns": {"mode": "off"}},
            "update": {"checkOnStart": False},
            "models": {
                "mode": "replace",
                "providers": {
                    "mock": {**api, "models": mock},
                    "mock2": {**api, "models": mock2},
                    **{f"mock-{name}": {**api, "models": [model(name, dear)]} for name in (*FLAKY, *ERRORS)},
                },
            },
            "agents": self._agents(),
        }

    def _agents(self) -> Config:
        fallbacks = {"fallbacks": ["mock2/normal"]}
        defaults = {
            "model": {"primary": "mock/normal", **fallbacks},
            "heartbeat": {"every": "0m"},
            "skipBootstrap": True,
        }
        agents = {
            name: {"workspace": str(self.workspace(name)), "model": {"primary": primary, **fallbacks}}
            for name, primary in self.models().items()
        }
        year, month = (int(part) for part in self.version.split(".")[:2])
        if (year, month) < FIRST_WITH_ENTRIES:
            listed = [{"id": name, "default": name == "main", **agent} for name, agent in agents.items()]
            return {"defaults": defaults, "list": listed}
        return {
            "defaults": {**defaults, "systemAgent": {"agentId": "main"}},
            "ownership": "explicit",
            "entries": agents,
        }

    def _hang_up(self) -> None:
        if self._rpc is not None:
            self._rpc.close()
            self._rpc = None

    def _spawn(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.root / f"{name}.out").open("ab") as out:
            return subprocess.Popen(
                command,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _wait_for(self, url: str, sign: bytes, process: subprocess.Popen[bytes], name: str) -> None:
        def serves() -> bool:
            if process.poll() is not None:
                raise LabError(f"the {name} ended with {process.returncode}:\n{self._output(name)}")
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 (our own loopback)
                    return sign in answer.read()
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                return False

        try:
            eventually(serves, f"the {name} to serve", timeout=120)
        except TimeoutError as error:
            raise LabError(f"{error}:\n{self._output(name)}") from None

    def _output(self, name: str) -> str:
        return (self.root / f"{name}.out").read_text(errors="replace")[-2000:]


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Sends a signal to a process and the children it keeps in its group."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def end_group(process: subprocess.Popen[bytes], patience: float) -> None:
    """Waits `patience` seconds for a process that was asked to end, then kills its group."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=patience)
    signal_group(process, signal.SIGKILL)
    process.wait(timeout=20)
