"""Text from logs is hostile: what reaches a terminal is printable, and nothing else."""

import re

# C0 and C1 controls, DEL, zero-width and bidi characters, line and paragraph separators, tags, lone surrogates:
# what moves the cursor, hides, or reorders what stands beside it. Joiners inside emoji go with them.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
MARK = "\ufffd"
"""Stands where a character was taken out, so that a doctored name looks doctored."""


def printable(text: str, most: int = 300) -> str:
    """`text` with every character that a terminal would obey replaced by a mark, cut to `most` characters."""
    return _UNPRINTABLE.sub(MARK, text[:most])
