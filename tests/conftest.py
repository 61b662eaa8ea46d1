"""What many tests need: the captured OpenClaw homes, and an outlet that remembers."""

import json
import logging
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the captured homes: openclaw-2026.9.6, -2026.2.6-3, -2026.2.26, -2026.6.35, -migrated."""
    folder = tmp_path_factory.mktemp("homes")
    with tarfile.open(FIXTURES / "openclaw-homes.tar.xz") as captured:
        # Before Python 3.11.4 there are no filters; these archives are the project's own.
        captured.extraction_filter = getattr(tarfile, "data_filter", None)
        captured.extractall(folder)  # noqa: S202
    return folder


@pytest.fixture(scope="session")
def truth() -> Mapping[str, Any]:
    """The exact totals of each captured home, by agent."""
    found: dict[str, Any] = json.loads((FIXTURES / "truth.json").read_text())
    return found


@pytest.fixture(autouse=True)
def _own_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command line that a test ran leaves its log file to no other test."""
    log = logging.getLogger("clawtop")
    opened: list[logging.Handler] = []
    monkeypatch.setattr(log, "handlers", opened)
    monkeypatch.setattr(log, "propagate", True)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    yield
    for handler in opened:
        handler.close()


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes what belongs to the person who runs it."""
    monkeypatch.setenv("CLAWTOP_STATE_DIR", str(tmp_path / "clawtop-state"))
    places = ("OPENCLAW_STATE_DIR", "OPENCLAW_HOME", "OPENCLAW_CONFIG_PATH", "CLAUDE_CONFIG_DIR", "CODEX_HOME")
    for name in (*places, "XDG_CONFIG_HOME", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
