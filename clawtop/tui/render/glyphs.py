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
    track: str
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
    dot: str
    rule: str
    warning: str
    enter: str
    moves: str


UNICODE = Glyphs(
    ascii_only=False,
    levels="▁▂▃▄▅▆▇█",
    eighths="▏▎▍▌▋▊▉█",
    track="─",
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
    dot="·",
    rule="─",
    warning="▲",
    enter="⏎",
    moves="↑↓",
)

ASCII = Glyphs(
    ascii_only=True,
    levels="._-~=+*#",
    eighths="------=#",
    track="-",
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
    dot=".",
    rule="-",
    warning="!",
    enter="Enter",
    moves="up/down",
)
