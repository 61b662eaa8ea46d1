"""Money, tokens, durations and ages as short text whose width and decimals do not jump while figures change.

Nothing here is padded: each function says how wide its answer gets at most, and whoever makes columns right-aligns.
"""

_STEPS = ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"))
_AGES = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def si(number: float) -> str:
    """`number` in at most 5 characters: 0, 999, 1.23k, 12.3k, 123k, 1.23M, >999T; a negative one takes one more."""
    if number < 0:
        return "-" + si(-number)
    if number < 999.5:
        return str(round(number))
    for unit, suffix in _STEPS:
        scaled = number / unit
        if scaled < 999.5:
            digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:.{digits}f}{suffix}"
    return ">999T"


def dollars(amount: float) -> str:
    """Dollars without their sign in at most 7 characters: 0.00, <0.01, 12.34, 9999.99, 12.3k."""
    if amount < 0:
        return "-" + dollars(-amount)
    if 0 < amount < 0.005:
        return "<0.01"
    return f"{amount:.2f}" if amount < 9999.995 else si(amount)


def money(micros: int) -> str:
    """Micro-dollars as `dollars` prints them."""
    return dollars(micros / 1e6)


def exact_money(micros: int) -> str:
    """Micro-dollars with their sign and all six decimals: $1,234.567890."""
    return f"{'-' if micros < 0 else ''}${abs(micros) / 1e6:,.6f}"


def known_part(amount: float | None, *, partly: bool) -> str:
    """Dollars without their sign as far as they are known: 12.34, 12.34+? where `partly`, ? where nothing is."""
    if amount is None:
        return "?"
    return f"{dollars(amount)}{'+?' if partly else ''}"


def duration(ms: float) -> str:
    """Milliseconds in at most 5 characters: 850ms, 1.2s, 59s, 3m05, 2h10, 12d."""
    if ms < 999.5:
        return f"{ms:.0f}ms"
    seconds = ms / 1000
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    if seconds < 59.5:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}"
    hours, rest = divmod(minutes, 60)
    return f"{hours}h{rest:02}" if hours < 24 else age(ms)


def age(ms: float) -> str:
    """How long ago, in at most 4 characters: 0s, 59s, 3m, 23h, 99d, 12y; what lies ahead is 0s."""
    seconds = max(0, int(ms // 1000))
    if seconds >= 1000 * 86400:
        return f"{min(seconds // (365 * 86400), 999)}y"
    for unit, suffix in _AGES:
        if seconds >= unit:
            return f"{seconds // unit}{suffix}"
    return "0s"


def percent(share: float) -> str:
    """A number of hundredths in at most 4 characters: 0%, 7%, 100%, 999%."""
    return f"{min(round(share), 999)}%"


def size(count: int) -> str:
    """Bytes in at most 7 characters: 0 B, 999 B, 1.23 kB, 12.3 MB."""
    short = si(count)
    return f"{short[:-1]} {short[-1]}B" if short[-1].isalpha() else f"{short} B"
