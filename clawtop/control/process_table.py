"""The processes of this machine, as far as stopping them asks for: who they are, whose children, in which state.

A pid alone names no process, because it is given away again. What does is the pid and the process's birth.
"""

import os
import signal
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil

from clawtop.model.errors import ClawtopError
from clawtop.plain import printable

_SHOWN = 40
_INTERPRETERS = ("python", "node", "bun", "deno", "ruby", "perl", "php", "bash", "dash", "sh", "zsh", "fish")
_CODE = frozenset({"-c", "-e", "--eval", "-p", "--print"})
_MOST_LEADING = 6
_TICKS = os.sysconf("SC_CLK_TCK")
_MULTIPLEXERS = ("tmux: server", "screen")


class State(StrEnum):
    """What a process does. `runs` is also one that sleeps: it may go on at any moment."""

    RUNS = "runs"
    STOPPED = "is stopped"
    BUSY = "is in uninterruptible sleep"
    TRACED = "is held by a debugger"
    ENDED = "has ended"


_LETTERS = {
    "T": State.STOPPED,
    "t": State.TRACED,
    "D": State.BUSY,
    "Z": State.ENDED,
    "X": State.ENDED,
    "x": State.ENDED,
}
_STATES = {
    psutil.STATUS_STOPPED: State.STOPPED,
    psutil.STATUS_DISK_SLEEP: State.BUSY,
    psutil.STATUS_TRACING_STOP: State.TRACED,
    psutil.STATUS_ZOMBIE: State.ENDED,
    psutil.STATUS_DEAD: State.ENDED,
}


class Identity(NamedTuple):
    """One process, and none that has its pid later."""

    pid: int
    birth: str


class Line(NamedTuple):
    """One process of the table. `started` is Unix seconds, `birth` what tells it from any other with its pid."""

    parent: int
    started: float
    state: State
    birth: str


class NotAllowed(ClawtopError):
    """A process may not be signalled: it is another user's."""


class ProcessTable:
    """What the system knows of processes, and the only place from which a signal is sent."""

    def lines(self) -> dict[int, Line]:
        """Every process there is now, by its pid; those that have ended are left out."""
        booted = psutil.boot_time()
        found = ((pid, _line(pid, booted)) for pid in psutil.pids())
        return {pid: line for pid, line in found if line is not None and line.state is not State.ENDED}

    def identity(self, pid: int) -> Identity | None:
        """The process that has this pid now, None where there is none."""
        line = _line(pid)
        return None if line is None else Identity(pid, line.birth)

    def state(self, process: Identity) -> State:
        """What this process does; one that only has its pid counts for nothing."""
        line = _line(process.pid)
        return State.ENDED if line is None or line.birth != process.birth else line.state

    def send(self, process: Identity, number: signal.Signals) -> bool:
        """Signal this one process, never its group; False where it is gone. Raises NotAllowed."""
        try:
            found = psutil.Process(process.pid)
            if self.identity(process.pid) != process:
                return False
            # psutil looks again whether it is the one that was found a line before
            found.send_signal(number)
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            raise NotAllowed(f"process {process.pid} belongs to {owner(process.pid)}") from None
        return True

    def cpu(self, process: Identity) -> float:
        """Seconds of CPU time that it has used, all its threads together; 0 where that cannot be known."""
        try:
            times = psutil.Process(process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def own(self) -> frozenset[int]:
        """The pids that must never be stopped from here: this clawtop and all it runs under."""
        here = psutil.Process()
        return frozenset({here.pid, 1, *(process.pid for process in here.parents())})


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _line(pid: int, booted: float = 0.0) -> Line | None:
    """One process, None where there is none. What tells it from others is the same after the clock was set.

    On Linux that is the boot, and its start in clock ticks since then. There one read says all, of one and the same
    process, and in a tenth of the time; psutil says it elsewhere.
    """
    if not psutil.LINUX:
        return _portable_line(pid)
    fields = _stat(pid)
    if fields is None:
        return None
    state, ticks = _LETTERS.get(fields[0], State.RUNS), fields[19]
    return Line(int(fields[1]), booted + int(ticks) / _TICKS, state, f"{_boot()}:{ticks}")


def _stat(pid: int) -> list[str] | None:
    """/proc/<pid>/stat from its third field on; the second may hold spaces and brackets."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields if len(fields) > 19 else None


def _portable_line(pid: int) -> Line | None:
    try:
        process = psutil.Process(pid)
        started, state = process.create_time(), _STATES.get(process.status(), State.RUNS)
        return Line(process.ppid(), started, state, f"{started:.6f}")
    except psutil.ZombieProcess:
        return Line(0, 0.0, State.ENDED, "")
    except (psutil.Error, ValueError):
        return None


def owner(pid: int) -> str:
    """The user a process belongs to, as it is printed."""
    try:
        return printable(psutil.Process(pid).username(), _SHOWN)
    except psutil.Error:
        return "another user"


def command(pid: int) -> str:
    """The program, and the script where it runs one, as they are printed: no argument, for those may hold secrets."""
    try:
        process = psutil.Process(pid)
        name = process.name()
        arguments, folder = process.cmdline(), process.cwd()
    except psutil.NoSuchProcess:
        return "?"
    except psutil.AccessDenied:
        return printable(name, _SHOWN)
    return shown(arguments, folder) or printable(name, _SHOWN)


def shown(arguments: Sequence[str], folder: str) -> str:
    """A command line without what may be secret: the program's name, and its script's where that is really a file."""
    words = arguments[0].split() if arguments else []
    if not words:
        return ""
    program = words[0].rpartition("/")[2].lstrip("-")
    script = _script(arguments[1:_MOST_LEADING], folder) if program.startswith(_INTERPRETERS) else ""
    return printable(f"{program} {script}".strip(), _SHOWN)


def _script(arguments: Sequence[str], folder: str) -> str:
    for place, argument in enumerate(arguments):
        if argument in _CODE:
            return ""
        if argument == "-m" and "".join(arguments[place + 1 : place + 2]).replace(".", "").isidentifier():
            return f"-m {arguments[place + 1]}"
        if not argument.startswith("-") and _is_file(folder, argument):
            return argument.rpartition("/")[2]
    return ""


def _is_file(folder: str, name: str) -> bool:
    try:
        return Path(folder, name).is_file()
    except (OSError, ValueError):
        return False


def reviver(pid: int) -> str | None:
    """The terminal multiplexer that has started this process itself, None where none has.

    Observed on tmux 3.3a, read in the sources of GNU screen: what they have started in a window, they let go on at once
    whenever it is stopped. What a shell in the window has started they leave alone.
    """
    try:
        parent = psutil.Process(pid).parent()
        name = "" if parent is None else parent.name()
    except psutil.Error:
        return None
    return name.partition(":")[0] if name.lower().startswith(_MULTIPLEXERS) else None


def terminal_of_shell(pid: int) -> str | None:
    """The terminal that a shell with job control has lent to this process, None where none has.

    When such a process stops, its shell takes the terminal back, and only that shell's `fg` returns it.
    """
    try:
        process = psutil.Process(pid)
        terminal, parent = process.terminal(), process.ppid()
        if terminal is None or os.getsid(parent) != os.getsid(pid) or os.getpgid(parent) == os.getpgid(pid):
            return None
    except (psutil.Error, OSError):
        return None
    return str(terminal) if _in_front(pid) else None


def _in_front(pid: int) -> bool:
    """Whether its process group has the terminal, by field 8 of /proc/<pid>/stat. Elsewhere nobody tells: maybe."""
    if not psutil.LINUX:
        return True
    fields = _stat(pid)
    return fields is not None and int(fields[5]) == os.getpgid(pid)
