"""A terminal of a given size with a program in it, kept by a tmux server of its own."""

import re
import shlex
import subprocess
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.waiting import eventually


class Terminal:
    """Runs one command in a terminal until it is closed."""

    def __init__(self, command: list[str], folder: Path, env: dict[str, str], columns: int, lines: int) -> None:
        self._socket = f"clawtop-e2e-{uuid.uuid4().hex[:8]}"
        self._env = {**env, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        size = ["-x", str(columns), "-y", str(lines), "-c", str(folder)]
        # tmux 3.3 sometimes misses how its program ended, so a shell says it.
        told = f"{shlex.join(command)}; echo ended with $?; exec sleep 600"
        self._tmux("-f", "/dev/null", "-u", "new-session", "-d", *size, told)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tmux("kill-server")

    def screen(self) -> str:
        """What is to be seen now."""
        return self._tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        """Types keys, in tmux's names for them."""
        self._tmux("send-keys", *keys)

    def shows(self, *texts: str, timeout: float = 120) -> str:
        """The screen once all texts are on it; TimeoutError with the screen where they don't come."""
        try:
            eventually(lambda: all(text in self.screen() for text in texts), f"{texts}", timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error} on:\n{self.screen()}") from None
        return self.screen()

    def ends(self, timeout: float = 30) -> int:
        """The program's exit status once it has ended."""
        found = re.search(r"ended with (\d+)", self.shows("ended with", timeout=timeout))
        assert found is not None
        return int(found[1])

    def _tmux(self, *args: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._socket, *args],
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"tmux {args[0]}: {done.stderr.strip()}")
        return done.stdout
