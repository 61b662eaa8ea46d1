"""What the screen costs: `python -m tests.bench.screen [SECONDS]`, CPU, memory and bytes to the terminal by fleet size.

The fleet is the demo's, at 2 pictures a second on 200x50. A quiet machine says the truth; the figures of one run
can be compared with each other.
"""

import os
import pty
import select
import struct
import sys
import tempfile
import time
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

SIZES = (12, 500, 5000)
SETTLE_SECONDS = 8.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What one run of the screen took: seconds to the first bytes, percent of a core, MB, bytes a second."""

    first: float
    percent: float
    megabytes: float
    bytes_per_second: float


def measure(agents: int, seconds: float, state: Path) -> Cost:
    """Show that many agents for so long, after they have settled."""
    began = time.monotonic()
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "CLAWTOP_STATE_DIR": str(state)}
        command = [sys.executable, "-m", "clawtop", "-d", "0.5", "-s", f"demo:?agents={agents}"]
        os.execv(sys.executable, command)  # noqa: S606 - there is no shell to start it with
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    select.select([terminal], [], [], 30)
    first = time.monotonic() - began
    drain(terminal, SETTLE_SECONDS + agents / 500)
    before, start = cpu(child), time.monotonic()
    written = drain(terminal, seconds)
    took = time.monotonic() - start
    percent, megabytes = 100 * (cpu(child) - before) / took, resident(child)
    os.write(terminal, b"q")
    drain(terminal, 2.0)
    os.waitpid(child, 0)
    os.close(terminal)
    return Cost(first, percent, megabytes, written / took)


def drain(terminal: int, seconds: float) -> int:
    """Read what is drawn for so long; bytes."""
    end, count = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        ready, _, _ = select.select([terminal], [], [], left)
        try:
            count += len(os.read(terminal, 1 << 16)) if ready else 0
        except OSError:
            break
    return count


def cpu(process: int) -> float:
    """Seconds of CPU so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(process: int) -> float:
    """MB in memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def main() -> None:
    """Print a table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    print(f"{'agents':>7} {'first':>7} {'CPU':>6} {'memory':>9} {'terminal':>12}")
    with tempfile.TemporaryDirectory() as state:
        for agents in SIZES:
            cost = measure(agents, seconds, Path(state))
            print(
                f"{agents:>7} {cost.first:>5.2f} s {cost.percent:>4.1f} % {cost.megabytes:>6.0f} MB "
                f"{cost.bytes_per_second / 1000:>8.1f} kB/s",
                flush=True,
            )


if __name__ == "__main__":
    main()
