"""The signs that the screen is drawn with: one set for UTF-8 terminals, one in plain ASCII."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of signs, each one cell wide.

    `levels` are eight heights from low to full; `eighths` eight widths, the last one full.
    """

    ascii_only: bool
    levels: str
    eighths: str
    running: str
    idle: str
    error: str
    unknown: str
    held: str
    cursor: str
    tag: str
    descending: str
    ascending: str
    unseen: str
    ellipsis: str
    warning: str
    moves: str


UNICODE = Glyphs(
    ascii_only=False,
    levels="▁▂▃▄▅▆▇█",
    eighths="▏▎▍▌▋▊▉█",
    running="●",
    idle="○",
    error="✗",
    unknown="◌",
    held="‖",
    cursor="▌",
    tag="◆",
    descending="▼",
    ascending="▲",
    unseen="–",
    ellipsis="…",
    warning="▲",
    moves="↑↓",
)

ASCII = Glyphs(
    ascii_only=True,
    levels="._-~=+*#",
    eighths="------=#",
    running="*",
    idle="o",
    error="x",
    unknown="?",
    held="=",
    cursor=">",
    tag="+",
    descending="v",
    ascending="^",
    unseen="-",
    ellipsis="~",
    warning="!",
    moves="up/down",
)
