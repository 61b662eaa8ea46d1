"""Figures three lines high, for the one number that has to be seen first."""

_DIGITS = {
    "0": ("█▀█", "█ █", "▀▀▀"),
    "1": ("▀█ ", " █ ", "▀▀▀"),
    "2": ("▀▀█", "█▀▀", "▀▀▀"),
    "3": ("▀▀█", " ▀█", "▀▀▀"),
    "4": ("█ █", "▀▀█", "  ▀"),
    "5": ("█▀▀", "▀▀█", "▀▀▀"),
    "6": ("█▀▀", "█▀█", "▀▀▀"),
    "7": ("▀▀█", "  █", "  ▀"),
    "8": ("█▀█", "█▀█", "▀▀▀"),
    "9": ("█▀█", "▀▀█", "▀▀▀"),
    ".": (" ", " ", "▀"),
    "<": (" ▄▀", "▀▄ ", "  ▀"),
    "k": ("█ ▄", "█▀▄", "▀ ▀"),
    "M": ("█▄▄█", "█  █", "▀  ▀"),
    "?": ("▀▀█", " █▀", " ▀ "),
}

HEIGHT = 3


def big(number: str) -> tuple[str, str, str] | None:
    """The three lines of `number`, None where a character of it has no large form."""
    if any(char not in _DIGITS for char in number):
        return None
    rows = [" ".join(_DIGITS[char][row] for char in number) for row in range(HEIGHT)]
    return rows[0], rows[1], rows[2]
