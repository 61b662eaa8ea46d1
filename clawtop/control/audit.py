"""audit.jsonl: one line for each request, outcome and undo. Lines are only ever added, and hold no token."""

import errno
import fcntl
import getpass
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import orjson

from clawtop.model.commands import Outcome, Result, Target


def this_person() -> str:
    """`user@host` of who runs this clawtop."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        # a container may run under a number that nobody has
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class Audit:
    """The log of one state directory. Several clawtops may add to it at the same time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def request(
        self, at: int, by: str, command: str, targets: tuple[Target, ...], reason: str | None, **more: object
    ) -> None:
        """A command was asked for, before anything is done. Raises OSError where that cannot be written."""
        for target in targets:
            self._add({"at": at, "event": "request", "command": command, **_whom(target, by, reason), **more})

    def outcome(self, at: int, by: str, outcome: Outcome) -> None:
        """What became of a command, for each of its targets. Raises OSError where that cannot be written."""
        command = type(outcome.command).__name__.lower()
        for result in outcome.results:
            whom = _whom(result.target, by, outcome.command.reason)
            self._add({"at": at, "event": "outcome", "command": command, **whom, **_told(result)})

    def note(self, at: int, by: str, target: Target, event: str, detail: str) -> None:
        """Something that happened under a hold, such as a run that was stopped again."""
        self._add({"at": at, "event": event, **_whom(target, by, None), "detail": detail})

    def _add(self, line: Mapping[str, object]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            # another clawtop may be in the middle of its line; the lock goes with the handle
            fcntl.flock(handle, fcntl.LOCK_EX)
            words = (b"\n" if _ends_cut(handle) else b"") + orjson.dumps(line) + b"\n"
            written = os.write(handle, words)
        finally:
            os.close(handle)
        if written < len(words):
            raise OSError(errno.ENOSPC, "there was room for a part of the line only", str(self._path))


def _ends_cut(handle: int) -> bool:
    """Whether the last line found no room, so that the next one would continue it."""
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"


def _whom(target: Target, by: str, reason: str | None) -> dict[str, object]:
    return {"host": target.host, "agent": target.agent, "by": by, "reason": reason}


def _told(result: Result) -> dict[str, object]:
    return {
        "verified": result.verified,
        "detail": result.detail,
        "settled_ms": result.settled,
        "verified_ms": result.verified_after,
        "changed": [
            {"what": step.what, "done": step.done, "detail": step.detail, "ms": step.milliseconds}
            for step in result.steps
        ],
        "conflicts": [{"what": it.what, "before": it.before, "now": it.now} for it in result.conflicts],
    }
