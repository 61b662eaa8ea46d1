"""clawtop as its user runs it: a process of its own, once or live."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHECKOUT = Path(__file__).parents[2]
_PLACES = ("XDG_", "OPENCLAW_", "CLAUDE_", "CODEX_")

Shown = dict[str, Any]


def command(state_dir: Path, *options: str, source: str | None = None) -> list[str]:
    """The command line that watches one OpenClaw home, or another source, over all of its time."""
    return [sys.executable, "-m", "clawtop", "-w", "all", "-s", source or f"openclaw:{state_dir}", *options]


def environment(home: Path) -> dict[str, str]:
    """An environment in which clawtop finds and leaves nothing of the person who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_PLACES)}
    return {**kept, "HOME": str(home)}


def once(state_dir: Path, source: str | None = None) -> Shown:
    """The object that `--once --json` prints; CalledProcessError where it fails."""
    done = subprocess.run(
        command(state_dir, "--once", "--json", source=source),
        cwd=CHECKOUT,
        env=environment(state_dir.parent),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    shown: Shown = json.loads(done.stdout)
    return shown


def row(shown: Shown, agent: str) -> Shown | None:
    """An agent's row, None where it has none."""
    return next((row for row in shown["rows"] if row["agent"] == agent), None)


def state(shown: Shown, agent: str) -> str | None:
    """An agent's state, None where it has no row."""
    found = row(shown, agent)
    return None if found is None else str(found["state"])


@dataclass(frozen=True)
class Line:
    """One printed object and when it arrived, Unix seconds."""

    at: float
    shown: Shown


class Live:
    """`clawtop -b --json` on a home, or another source, its lines gathered as they come."""

    def __init__(self, state_dir: Path, delay: float = 0.2, source: str | None = None) -> None:
        self.lines: list[Line] = []
        self._arrived = threading.Condition()
        self._process = subprocess.Popen(
            command(state_dir, "-b", "--json", "-d", str(delay), source=source),
            cwd=CHECKOUT,
            env=environment(state_dir.parent),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        self._reader.join(timeout=20)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def until(self, holds: Callable[[Shown], bool], what: str, timeout: float = 120) -> Line:
        """The first line from now on that `holds` says yes to; TimeoutError names `what` was waited for."""
        began, seen = time.monotonic(), max(len(self.lines) - 1, 0)
        with self._arrived:
            while True:
                for line in self.lines[seen:]:
                    if holds(line.shown):
                        return line
                seen = len(self.lines)
                left = timeout - (time.monotonic() - began)
                if left <= 0 or self._process.poll() is not None:
                    last = self.lines[-1].shown if self.lines else None
                    raise TimeoutError(f"no line within {timeout} s where {what}; the last one: {last}")
                self._arrived.wait(min(left, 1))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            line = Line(time.time(), json.loads(text))
            with self._arrived:
                self.lines.append(line)
                self._arrived.notify_all()
