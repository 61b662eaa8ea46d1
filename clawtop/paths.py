"""Paths as people write them, and where clawtop keeps what is its own."""

from collections.abc import Mapping
from pathlib import Path

from clawtop.model.errors import UsageError


def expanded(text: str) -> Path:
    """The path with `~` and `~name` filled in. Raises UsageError where nobody is called that."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{text}: there is no home directory for {text.partition('/')[0]}") from None


def state_folder(environment: Mapping[str, str]) -> Path:
    """Where clawtop keeps what outlives it: `CLAWTOP_STATE_DIR`, else the system's place for a user's state."""
    named = environment.get("CLAWTOP_STATE_DIR")
    if named:
        return expanded(named)
    from platformdirs import user_state_path  # noqa: PLC0415 - --version and --help stay instant

    return user_state_path("clawtop", appauthor=False)
