"""Paths as people write them, and where clawtop keeps what is its own."""

import os
from collections.abc import Mapping
from pathlib import Path

from clawtop.model.errors import UsageError


def expanded(text: str) -> Path:
    """The path with `~` and `~name` filled in. Raises UsageError where nobody is called that."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{text}: there is no home directory for {text.partition('/')[0]}") from None


def is_folder(path: Path) -> bool:
    """Whether there is a folder; False also where one may not look."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises there before Python 3.14


def spelled(name: str) -> str:
    r"""The name of a file as text that can be written anywhere: bytes that are no UTF-8 become `\xff`."""
    return os.fsencode(name).decode(errors="backslashreplace")


def state_folder(environment: Mapping[str, str]) -> Path:
    """Where clawtop keeps what outlives it: `CLAWTOP_STATE_DIR`, else the system's place for a user's state."""
    named = environment.get("CLAWTOP_STATE_DIR")
    if named:
        return expanded(named)
    from platformdirs import user_state_path  # noqa: PLC0415 - --version and --help stay instant

    return user_state_path("clawtop", appauthor=False)
