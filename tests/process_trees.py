"""Real trees of small processes: they burn a little CPU, write a log, and live in sessions and groups of their own."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_PROGRAM = """
import json, os, signal, subprocess, sys, time
here, me = sys.argv[1], json.loads(sys.argv[2])

def note(what):
    with open(os.path.join(here, "notes"), "a") as notes:
        notes.write(f"{what} {me['name']} {os.getpid()}\\n")

def answer():
    # as Claude Code writes it once a message is complete
    if me["session"] is None:
        return "{}"
    usage = {"input_tokens": 900, "output_tokens": 400, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    message = {"id": f"msg_{os.getpid()}_{turn}", "role": "assistant", "model": "claude-sonnet-4-5-20250929"}
    message.update(usage=usage, content=[{"type": "text", "text": "so"}], stop_reason="end_turn")
    now = time.time()
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z"
    line = {"type": "assistant", "uuid": message["id"], "requestId": f"req_{turn}", "timestamp": at}
    return json.dumps({**line, "sessionId": me["session"], "cwd": os.getcwd(), "message": message})

def leave(number, frame):
    os._exit(0)

def end(number, frame):
    note("asked")
    if not me["deaf"]:
        os._exit(0)

signal.signal(signal.SIGUSR1, leave)
signal.signal(signal.SIGTERM, end)
note("began")
children = []
for child in me["children"]:
    apart = {"session": {"start_new_session": True}, "group": {"process_group": 0}, "same": {}}[child["apart"]]
    line = [sys.executable, "-S", "-E", __file__, here, json.dumps(child)]
    children.append(subprocess.Popen(line, **apart))
turn = 0
while True:
    for _ in range(4000):
        pass
    turn += 1
    if me["log"]:
        with open(me["log"], "a") as log:
            log.write(answer() + "\\n")
    if me["breeds"]:
        if os.fork() == 0:
            os.setsid()
            note("born")
            time.sleep(0.05)
            os._exit(0)
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break
    time.sleep(0.02 if me["session"] else 0.005)
"""


def one(name: str, *children: dict[str, Any], apart: str = "same", **traits: Any) -> dict[str, Any]:
    """A process: `apart` from its parent by session, group or not; `deaf` to SIGTERM; one that `breeds`.

    It may write a `log`, and pretend to be a `session` of Claude Code there.
    """
    plain = {"deaf": False, "breeds": False, "log": None, "session": None}
    return {"name": name, "children": list(children), "apart": apart, **plain, **traits}


def agent(**traits: Any) -> dict[str, Any]:
    """An agent that has a tool in a session of its own, which has a helper in a group of its own, and a plain child."""
    return one(
        "root",
        one("tool", one("helper", apart="group"), apart="session"),
        one("server", apart="group"),
        one("plain"),
        **traits,
    )


def eventually(holds: Callable[[], bool], what: str, timeout: float = 20) -> None:
    """Ask until it holds; TimeoutError names `what` was waited for."""
    until = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {timeout} s for {what}")
        time.sleep(0.005)


@dataclass(frozen=True)
class Kin:
    """A process of a tree, as its own note says."""

    name: str
    pid: int

    @property
    def state(self) -> str:
        """The letter of /proc/<pid>/stat, X where it is gone."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return "X"

    @property
    def cpu(self) -> int:
        """Clock ticks of CPU time."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self.state in "XZ"


class Family:
    """A tree that runs until the end of its `with`.

    `command` is what its root is started with, Python as a rule, None where somebody else starts it by `words`;
    `works_in` is its working directory, `folder` if None.
    """

    def __init__(
        self,
        folder: Path,
        root: dict[str, Any] | None = None,
        command: Sequence[str] | None = (sys.executable,),
        works_in: Path | None = None,
    ) -> None:
        self.folder = folder
        self._root = root or agent()
        folder.mkdir(parents=True, exist_ok=True)
        self.program = folder / "agent.py"
        self.program.write_text(_PROGRAM)
        self._notes = folder / "notes"
        self._started = None if command is None else self._start(command, works_in or folder)

    def _start(self, command: Sequence[str], works_in: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.words(*command), cwd=works_in, stdin=subprocess.DEVNULL)

    def words(self, *command: str | Path) -> list[str]:
        """The command line of its root."""
        return [*map(str, command), "-S", "-E", str(self.program), str(self.folder), json.dumps(self._root)]

    def line(self, *command: str | Path) -> str:
        """The same for a shell."""
        return shlex.join(self.words(*command))

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The root, where this has started it."""
        assert self._started is not None
        return self._started

    def __enter__(self) -> Self:
        names = _names(self._root)
        eventually(lambda: set(names) <= {kin.name for kin in self.kin("began")}, f"{names} to begin")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # the root first, which starts no more then
        for kin in (*self.kin("began"), *self.kin("born")):
            if not kin.is_gone and _is_of(kin.pid, self.program):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(kin.pid, signal.SIGKILL)
        if self._started is not None:
            self._started.wait(20)

    def kin(self, note: str = "began") -> list[Kin]:
        """Those that have noted this, in the order in which they did."""
        if not self._notes.exists():
            return []
        lines = [line.split() for line in self._notes.read_text().splitlines()]
        return [Kin(name, int(pid)) for said, name, pid in lines if said == note]

    def named(self, name: str) -> Kin:
        """The process of this name."""
        return next(kin for kin in self.kin() if kin.name == name)

    @property
    def root(self) -> Kin:
        """The topmost."""
        return self.named(self._root["name"])

    def states(self) -> dict[str, str]:
        """{name: the letter of its state}."""
        return {kin.name: kin.state for kin in self.kin()}

    def all_stopped(self) -> bool:
        """Whether everything of it that there is stands still."""
        return all(kin.state == "T" for kin in self.everybody())

    def everybody(self) -> list[Kin]:
        """Whatever of it has not ended, also what it has born meanwhile."""
        return [kin for kin in (*self.kin("began"), *self.kin("born")) if not kin.is_gone]

    def cpu(self) -> dict[str, int]:
        """{name: clock ticks of CPU time} of those that there are."""
        return {kin.name: kin.cpu for kin in self.kin() if not kin.is_gone}

    def burns(self, ticks: int = 2) -> None:
        """Wait until each of them has used CPU time from now on."""
        before = self.cpu()
        eventually(lambda: all(now >= before[name] + ticks for name, now in self.cpu().items()), "CPU time to be used")


def _names(root: dict[str, Any]) -> list[str]:
    return [root["name"], *(name for child in root["children"] for name in _names(child))]


def _is_of(pid: int, program: Path) -> bool:
    try:
        return str(program).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
