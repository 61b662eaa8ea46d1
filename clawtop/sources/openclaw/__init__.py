"""An OpenClaw home: session files (2026.2 to 2026.7), databases (2026.8 and later), or both side by side."""

from clawtop.sources.openclaw.home import OpenClawSource, find_homes

__all__ = ["OpenClawSource", "find_homes"]
