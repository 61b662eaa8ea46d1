"""How long something took."""

import time


def milliseconds_since(began: float) -> int:
    """Whole milliseconds since this monotonic time."""
    return round((time.monotonic() - began) * 1000)
