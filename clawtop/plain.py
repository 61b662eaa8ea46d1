"""Text that others wrote, made safe for a terminal: no control, bidi, invisible or half character is left."""

import unicodedata
from functools import lru_cache

MARK = "\ufffd"
"""What stands for a character that may not reach the terminal, so that a doctored name looks doctored."""

_INVISIBLE = frozenset([0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0]).union(
    range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)
)
_UNSHOWABLE = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])


@lru_cache(8192)
def shown(char: str) -> str:
    """What to print for one character: itself, a plain space, or "" where it must not be printed."""
    category = unicodedata.category(char)
    if category in _UNSHOWABLE or ord(char) in _INVISIBLE:
        return ""
    return " " if category == "Zs" else char


def printable(text: str, most: int = 300) -> str:
    """The first `most` characters of `text`, with a mark for each that must not be printed.

    It counts characters, not cells: for lines that nothing stands beside. The screen has its own.
    """
    part = text[:most]
    if part.isascii() and part.isprintable():
        return part
    return "".join(shown(char) or MARK for char in part)
