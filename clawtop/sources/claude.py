"""Claude Code's folder: `projects`, the logs of its sessions, and `sessions`, which names the processes that run.

Since about 2.1 each running Claude Code keeps `sessions/<pid>.json` with pid, sessionId, cwd, startedAt and, lately,
status (busy or idle), and removes it at its end; one that was killed leaves it behind.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from clawtop.formats.attribution import ProjectRule
from clawtop.formats.claude_code import UNSEEN, ClaudeLog, ClaudeLogs
from clawtop.formats.claude_lines import place_of
from clawtop.formats.quantities import moment, text
from clawtop.formats.revisions import Revisions
from clawtop.model.events import State
from clawtop.model.keys import HOST
from clawtop.model.local import LocalWork
from clawtop.sources.log_source import LogSource
from clawtop.sources.logs import LogFile
from clawtop.sources.processes import is_alive

_LARGEST_RECORD = 64 * 1024
_MOST_RECORDS = 1000


@dataclass(frozen=True, slots=True)
class Owner:
    """A live process of Claude Code, as its own record names it; `started` is Unix milliseconds."""

    pid: int
    session: str
    cwd: str | None
    started: int | None
    busy: bool | None


def find_folders(environment: Mapping[str, str], home: Path) -> list[Path]:
    """Where Claude Code keeps its logs in this environment, whether or not they exist.

    `CLAUDE_CONFIG_DIR`, which may be a list with commas, else `~/.claude` and `$XDG_CONFIG_HOME/claude`.
    """
    named = [part.strip() for part in environment.get("CLAUDE_CONFIG_DIR", "").split(",")]
    if any(named):
        folders = [folder_of(Path(part).expanduser()) for part in named if part]
    else:
        config = environment.get("XDG_CONFIG_HOME")
        folders = [home / ".claude", (Path(config).expanduser() if config else home / ".config") / "claude"]
    return list(dict.fromkeys(folders))


def folder_of(path: Path) -> Path:
    """Claude Code's folder where `path` is that or its `projects`."""
    return path.parent if path.name == "projects" and not (path / "projects").is_dir() else path


class ClaudeSource(LogSource[ClaudeLog]):
    """All projects and subagents of one folder; `messages` are shared with the others, which may have the same ones."""

    def __init__(
        self, uri: str, folder: Path, *, projects: Sequence[ProjectRule] = (), messages: Revisions | None = None
    ) -> None:
        # Path.absolute would keep the .. that a watch does not report
        folder = folder_of(Path(os.path.abspath(folder)))  # noqa: PTH100
        self._logs = ClaudeLogs(
            HOST, projects, messages=messages
        )  # what was counted stays counted when the source begins again
        self._owners: dict[str, Owner] = {}
        self._registered = False
        super().__init__(uri, folder, [folder / "projects"], UNSEEN)

    def _open(self, path: Path, changed: int) -> ClaudeLog | None:
        if path.suffix != ".jsonl":
            return None
        place = place_of(path.relative_to(self._folder / "projects").as_posix())
        return ClaudeLog(self._logs, place, senior=-changed)

    def _ordered(self, files: list[LogFile[ClaudeLog]]) -> list[LogFile[ClaudeLog]]:
        return sorted(files, key=lambda file: file.changed, reverse=True)

    @property
    def _beside(self) -> Sequence[Path]:
        return [self._folder / "sessions"]

    def _look_around(self, now: int) -> Sequence[LogFile[ClaudeLog]]:
        """See which sessions have a live process."""
        before, self._owners = self._owners, self._living(now)
        news = {session for session in before | self._owners if before.get(session) != self._owners.get(session)}
        if not news:
            return ()
        return [file for file in self._tree.files if (file.log.parent or file.log.session) in news]

    def _living(self, now: int) -> dict[str, Owner]:
        (records,) = self._beside
        try:
            with os.scandir(records) as found:
                paths = [Path(entry.path) for entry in found if entry.name.endswith(".json")][:_MOST_RECORDS]
        except OSError:
            return {}
        self._registered = True
        owners = (_owner(path, now) for path in paths)
        return {owner.session: owner for owner in owners if owner is not None}

    def _state(self, file: LogFile[ClaudeLog]) -> State:
        log = file.log
        owner = self._owners.get(log.parent or log.session)
        at_rest = State.ERROR if log.failed else State.IDLE
        if owner is None:
            return at_rest if self._registered else State.UNKNOWN
        if owner.busy is None or (owner.busy and log.parent is not None):
            return State.UNKNOWN  # the process lives, and nothing says what it does
        return State.RUNNING if owner.busy else at_rest

    def _work(self, file: LogFile[ClaudeLog]) -> LocalWork:
        log = file.log
        owner = self._owners.get(log.parent or log.session)
        return LocalWork(
            agent=log.agent,
            cwd=log.cwd,
            session=log.session,
            log=file.path,
            pid=owner.pid if owner else None,
            started=owner.started if owner else None,
            last_at=log.last_at,
        )


def _owner(path: Path, now: int) -> Owner | None:
    """What a record says of a process that lives, None where it doesn't or the record says nothing."""
    try:
        with path.open("rb") as file:
            record: Any = orjson.loads(file.read(_LARGEST_RECORD))
    except (OSError, orjson.JSONDecodeError):
        return None
    session = text(record.get("sessionId"), 100) if isinstance(record, dict) else None
    if session is None:
        return None
    started = moment(record.get("startedAt"))
    pid = record.get("pid")
    if not is_alive(pid, not_after=started or now):
        return None
    busy = {"busy": True, "idle": False}.get(str(record.get("status")))
    return Owner(pid, session, text(record.get("cwd"), 4096), started, busy)
