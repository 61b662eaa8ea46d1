"""Who may import whom: the contracts of pyproject.toml, and what a module really loads when it is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PURE = ("clawtop.model", "clawtop.formats", "clawtop.fleet", "clawtop.units", "clawtop.tui.render")


def loaded_by(*modules: str) -> set[str]:
    """What a new interpreter has loaded after importing the modules and had not before."""
    program = f"import sys; before = set(sys.modules); import {', '.join(modules)}; print(*set(sys.modules) - before)"
    return set(run(sys.executable, "-c", program).split())


def run(*command: str) -> str:
    """What a command prints; AssertionError with its words where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def modules_of(name: str) -> list[str]:
    """The full names of all modules of a package, or of the one module."""
    path = CHECKOUT.joinpath(*name.split("."))
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    return [".".join(file.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__") for file in files]


def test_the_contracts_hold() -> None:
    lint_imports = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"

    assert "0 broken" in run(sys.executable, "-c", lint_imports)


@pytest.mark.parametrize("module", ["clawtop.engine", "clawtop.report", "clawtop.cli"])
def test_no_screen_is_loaded_where_none_is_shown(module: str) -> None:
    loaded = loaded_by(module)

    assert module in loaded
    assert not {"textual", "rich", "clawtop.tui"} & loaded


def test_the_command_line_starts_without_anything_of_weight() -> None:
    assert not {"asyncio", "clawtop.engine", "orjson", "psutil", "sqlite3", "watchfiles"} & loaded_by("clawtop.cli")


@pytest.mark.parametrize("package", PURE)
def test_the_core_loads_no_io(package: str) -> None:
    modules = modules_of(package)
    loaded = loaded_by(*modules)

    assert set(modules) <= loaded
    assert not {"asyncio", "socket", "sqlite3", "subprocess", "textual", "threading"} & loaded
