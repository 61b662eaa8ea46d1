"""Codex's folder: the rollouts of its threads, those in use and those put away."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from clawtop.formats.attribution import ProjectRule
from clawtop.formats.codex import UNSEEN, CodexLog, CodexLogs
from clawtop.model.events import State
from clawtop.model.keys import HOST
from clawtop.model.local import LocalWork
from clawtop.sources.log_source import LogSource
from clawtop.sources.logs import PACKED, LogFile

_ROOTS = ("sessions", "archived_sessions")


def find_folder(environment: Mapping[str, str], home: Path) -> Path:
    """Where Codex keeps its rollouts in this environment, whether or not it exists: `CODEX_HOME`, else `~/.codex`."""
    named = environment.get("CODEX_HOME")
    return Path(named).expanduser() if named else home / ".codex"


class CodexSource(LogSource[CodexLog]):
    """All threads of one folder."""

    def __init__(self, uri: str, folder: Path, *, projects: Sequence[ProjectRule] = ()) -> None:
        # Path.absolute would keep the .. that a watch does not report
        folder = Path(os.path.abspath(folder))  # noqa: PTH100
        self._logs = CodexLogs(HOST, projects)
        super().__init__(uri, folder, [folder / name for name in _ROOTS], UNSEEN)

    def _open(self, path: Path, changed: int) -> CodexLog | None:
        del changed
        name = path.name.removesuffix(PACKED)
        if not (name.startswith("rollout-") and name.endswith(".jsonl")):
            return None
        if path.name != name and path.with_name(name).exists():
            return None  # it is being packed or unpacked, and the plain one is whole
        return CodexLog(self._logs, name.removesuffix(".jsonl"))

    def _ordered(self, files: list[LogFile[CodexLog]]) -> list[LogFile[CodexLog]]:
        """Oldest first, by the time in their names: a fork comes after what it was forked from."""
        return sorted(files, key=lambda file: file.path.name)

    def _state(self, file: LogFile[CodexLog]) -> State:
        return file.log.state

    def _work(self, file: LogFile[CodexLog]) -> LocalWork:
        log = file.log
        return LocalWork(log.agent, log.cwd, log.session, file.path, last_at=log.last_at)
