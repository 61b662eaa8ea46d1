"""Whether the process that a lock or a lease names is still that process."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import psutil

_SLACK_SECONDS = 5.0


def this_host() -> str:
    """This machine's name, as OpenClaw writes it into a lease."""
    return socket.gethostname()


def is_alive(pid: object, *, start_ticks: object = None, not_after: int | None = None) -> bool:
    """Whether process `pid` exists and is the one meant.

    `start_ticks` is its start in clock ticks since boot where that was noted down (Linux), `not_after` a moment
    in Unix milliseconds by which it must have been running. A pid that was given to another process is not alive.
    """
    if isinstance(pid, bool) or not isinstance(pid, int) or not 0 < pid < 2**31 or not psutil.pid_exists(pid):
        return False
    if isinstance(start_ticks, int) and (ticks := _start_ticks(pid)) is not None:
        return ticks == start_ticks
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return not_after is None or process.create_time() <= not_after / 1000 + _SLACK_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def runs(pid: int, programs: Sequence[str]) -> bool:
    """Whether process `pid` is called by the name of one of these programs; False where that cannot be seen."""
    try:
        process = psutil.Process(pid)
        names = [process.name(), *(os.path.basename(word) for word in process.cmdline()[:1])]  # noqa: PTH119
    except psutil.Error:
        return False
    return any(name.startswith(program) for name in names for program in programs)


def _start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat; the command in field 2 may hold spaces and brackets."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
