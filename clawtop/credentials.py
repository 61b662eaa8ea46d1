"""What lets a program in: read where it is kept, and kept off every screen."""

import re
from pathlib import Path

from clawtop.model.errors import UsageError

_LARGEST = 4096
_USERINFO = re.compile(r"(?<=://)[^/?#]*@")


def read_token(path: Path) -> str:
    """The one word in a file. Raises UsageError, without the word, where there is none or more than one."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"--token-file {path} cannot be read: {error.strerror}") from None
    token = raw.decode("utf-8", "replace").strip()
    if not token or len(raw) > _LARGEST or not token.isprintable() or len(token.split()) != 1:
        raise UsageError(f"--token-file {path} holds no token: it is one word and nothing else")
    return token


def without_credentials(uri: str) -> str:
    """The URI without user and password."""
    return _USERINFO.sub("", uri)
