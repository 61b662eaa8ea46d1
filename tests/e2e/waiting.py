"""Waiting for what other processes do, never for time to pass."""

import time
from collections.abc import Callable


def eventually(holds: Callable[[], bool], what: str, timeout: float = 240, every: float = 0.05) -> float:
    """Asks until `holds` says yes and returns the seconds that took; TimeoutError names `what` was waited for."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > timeout:
            raise TimeoutError(f"waited {timeout} s for {what}")
        time.sleep(every)
    return time.monotonic() - began
