"""A fleet that stands still on a real terminal, for a test that reads the bytes: `python -m tests.tui.on_terminal`."""

import sys

from clawtop.tui.app import run_screen
from clawtop.tui.options import ScreenOptions
from tests.tui.fleet_feed import FleetFeed

if __name__ == "__main__":
    sys.exit(run_screen(FleetFeed(), ScreenOptions(ascii="--ascii" in sys.argv)))
