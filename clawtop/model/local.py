"""Work of an agent on this machine: which folder, which log, and which process where that is known. Pure data."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalWork:
    """A session that an agent of this machine works on, as its own files tell.

    `cwd` is the folder it works in, None where nothing says it; `log` the file that grows while it works.
    `pid` is only set where the agent's own records name the process, never guessed; `started` is when that process
    began, in Unix milliseconds, as those records tell: check it before a signal, as pids are used again.
    `last_at` is the last activity the log tells, in Unix milliseconds, 0 for none.
    """

    agent: str
    cwd: str | None
    session: str
    log: Path
    pid: int | None = None
    started: int | None = None
    last_at: int = 0
