"""Text that others wrote, made safe for a terminal: no control, bidi, invisible or half character is left."""

import re
from functools import lru_cache

from rich.cells import cell_len, get_character_cell_size

from clawtop.plain import MARK, shown

_MARKS_EACH = 2
_GLUE_EACH = 4
_EMOJI = "[\u2190-\u2bff\U0001f000-\U0001faff]"
_TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
_EMOJI_GLUE = re.compile(
    f"(?<={_EMOJI})(?:\ufe0f\u200d?|\u200d)(?={_EMOJI})|(?<={_EMOJI})\ufe0f"
    "|(?<=[\u2190-\u2bff\U0001f000-\U0001f3fa\U0001f400-\U0001faff\ufe0f])[\U0001f3fb-\U0001f3ff]"
)


@lru_cache(8192)
def printable(text: str, width: int | None = None, *, ascii_only: bool = False) -> str:
    """`text` in at most `width` cells, with a visible mark for each character that must not be printed.

    Those are controls, bidi and format characters, anything invisible, private, unassigned or half a surrogate
    pair, combining marks beyond two on a letter or with nothing before them, and skin tones on no emoji. What only
    joins or colours emoji is left out without a mark: terminals disagree how wide the result is. What does not fit
    ends in `…` (`~` with `ascii_only`, which also marks everything outside ASCII; but – for the unknown becomes -).
    """
    if text.isascii() and text.isprintable():
        clean = text
    else:
        # A long hostile text costs what is shown of it, not what there is: each shown cell has at most
        # 1 + _GLUE_EACH + _MARKS_EACH characters, and one more cell tells that something is missing.
        part = text if width is None else text[: (width + 1) * (1 + _GLUE_EACH + _MARKS_EACH)]
        clean = _cleaned(_EMOJI_GLUE.sub("", part), ascii_only=ascii_only)
    return clean if width is None else cut(clean, width, "~" if ascii_only else "…")


def _cleaned(text: str, *, ascii_only: bool) -> str:
    mark = "?" if ascii_only else MARK
    out: list[str] = []
    marks = _MARKS_EACH
    for char in text:
        seen = "-" if ascii_only and char == "\u2013" else shown(char)
        if not seen or seen in _TONES or (ascii_only and not seen.isascii()):
            out.append(mark)
            marks = 0
        elif get_character_cell_size(seen):
            out.append(seen)
            marks = 0
        elif not out or marks >= _MARKS_EACH:
            out.append(mark)
        else:
            out.append(seen)
            marks += 1
    return "".join(out)


def cut(text: str, width: int, ellipsis: str = "") -> str:
    """`text` in at most `width` cells, its end replaced by `ellipsis` (one cell at most) where it is longer."""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    left = width - len(ellipsis)
    for index, char in enumerate(text):
        left -= get_character_cell_size(char)
        if left < 0:
            return text[:index] + ellipsis
    return text


def tail(text: str, width: int, ellipsis: str) -> str:
    """The end of `text` in at most `width` cells, led by `ellipsis` where it is longer."""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    left = width - 1
    for index in range(len(text) - 1, -1, -1):
        left -= get_character_cell_size(text[index])
        if left < 0:
            return ellipsis + text[index + 1 :].lstrip()
    return text


def middle(text: str, width: int, ellipsis: str) -> str:
    """Both ends of `text` in at most `width` cells, with `ellipsis` for what is missing between them."""
    if cell_len(text) <= width or width < 3:
        return cut(text, width, ellipsis)
    end = tail(text, width // 2, ellipsis)
    return cut(text, width - cell_len(end)) + end
