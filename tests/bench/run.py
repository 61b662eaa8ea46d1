"""What clawtop takes on a large history: start, full read, first paint. Prints a table; judges ratios only.

    python -m tests.bench.run [--megabytes 202] [--agents 20] [--runs 5] [--homes FOLDER]

Homes are made anew unless FOLDER holds them. Exit code 1: a ratio is over its bound, or a total is wrong.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from clawtop.units import money
from tests.bench.homes import WRITERS, Truth
from tests.e2e.clawtop_runs import CHECKOUT, command, environment
from tests.e2e.tmux import Terminal
from tests.e2e.waiting import eventually

BARE = [sys.executable, "-c", "pass"]
VERSION = [sys.executable, "-m", "clawtop", "--version"]


@dataclass(frozen=True)
class Spent:
    """What one run of a program took: seconds, seconds of CPU, megabytes at the most, and what it printed."""

    wall: float
    cpu: float
    memory: float
    printed: str


@dataclass(frozen=True)
class Ratio:
    """A measured ratio and what it may be at most."""

    name: str
    value: float
    bound: float


def spend(program: Sequence[str], home: Path) -> Spent:
    """Runs a program to its end; CalledProcessError where it fails."""
    began = time.perf_counter()
    with subprocess.Popen(
        program, cwd=CHECKOUT, env=environment(home), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, program, printed)
    taken = time.perf_counter() - began
    return Spent(taken, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, printed)


def typical(program: Sequence[str], home: Path, runs: int) -> Spent:
    """The run of median length, after one that warms the disk's cache."""
    spend(program, home)
    several = sorted((spend(program, home) for _ in range(runs)), key=lambda spent: spent.wall)
    return several[runs // 2]


def check(printed: str, truth: Truth) -> None:
    """ValueError where clawtop's totals are not what was written: a fast wrong answer is worth nothing."""
    totals = json.loads(printed)["totals"]
    shown = (totals["sessions"], totals["calls"], totals["tokens"]["total"], round(totals["cost_usd"] * 1e6))
    written = (truth.sessions, truth.calls, truth.tokens, truth.cost_micro)
    if shown != written:
        raise ValueError(f"clawtop says {shown}, written were {written}")


def paint(home: Path, wanted: str, env_home: Path) -> tuple[float, float]:
    """Seconds until something is on the screen, and until `wanted` is."""
    began = time.perf_counter()
    with Terminal(command(home), CHECKOUT, environment(env_home), columns=120, lines=40) as terminal:

        def seconds(holds: Callable[[str], bool], what: str) -> float:
            eventually(lambda: holds(terminal.screen()), what, timeout=120, every=0.005)
            return time.perf_counter() - began

        first = seconds(lambda screen: bool(screen.strip()), "the first paint")
        whole = seconds(lambda screen: wanted in screen, wanted)
        terminal.press("q")
        terminal.ends()
    return first, whole


def typical_paint(home: Path, wanted: str, env_home: Path, runs: int) -> tuple[float, float]:
    """(median seconds to the first paint, median seconds to `wanted`)."""
    first, whole = zip(*(paint(home, wanted, env_home) for _ in range(runs)), strict=True)
    return statistics.median(first), statistics.median(whole)


def prepare(folder: Path, kind: str, megabytes: float, agents: int) -> Truth:
    """What is in the home of that kind, which is written where it does not exist."""
    home, note = folder / kind, folder / f"{kind}.json"
    if not note.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(asdict(WRITERS[kind](home, megabytes, agents))))
    return Truth(**json.loads(note.read_text()))


def measure(folder: Path, megabytes: float, agents: int, runs: int) -> list[Ratio]:
    """Prints a line for each figure and returns the ratios."""
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        nobody = Path(name)
        bare, version = typical(BARE, nobody, 10), typical(VERSION, nobody, 10)
        line("python -c pass", bare.wall)
        line("clawtop --version", version.wall)
        ratios.append(Ratio("--version / python -c pass", version.wall / bare.wall, 8))
        empty = folder / "empty"
        (empty / "agents").mkdir(parents=True, exist_ok=True)
        start, _ = typical_paint(empty, " in all", nobody, runs)
        line("first paint, no history", start)
        for kind in WRITERS:
            truth = prepare(folder, kind, megabytes, agents)
            home = folder / kind
            once = typical(command(home, "--once", "--json"), nobody, runs)
            check(once.printed, truth)
            floor = typical([sys.executable, "-m", "tests.bench.floor", str(home)], nobody, runs)
            first, whole = typical_paint(home, f"{money(truth.cost_micro)} in all", nobody, runs)
            speed = truth.text / 1e6 / once.wall
            line(f"{kind}: --once --json", once.wall, f"{speed:.0f} MB/s, {once.cpu:.2f} s CPU, {once.memory:.0f} MB")
            line(f"{kind}: the least a reader can do", floor.wall, f"{truth.text / 1e6 / floor.wall:.0f} MB/s")
            line(f"{kind}: first paint", first)
            line(f"{kind}: complete on the screen", whole)
            ratios.append(Ratio(f"{kind}: --once / the least", once.wall / floor.wall, 6))
            ratios.append(Ratio(f"{kind}: first paint / without history", first / start, 1.5))
            ratios.append(Ratio(f"{kind}: complete on the screen / --once", whole / once.wall, 2.5))
    return ratios


def line(name: str, seconds: float, more: str = "") -> None:
    """Prints one figure."""
    print(f"{name:36} {seconds:8.3f} s  {more}", flush=True)


def main() -> int:
    """Measures, prints, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=202)
    parser.add_argument("--agents", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--homes", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ratios = measure(asked.homes or Path(name), asked.megabytes, asked.agents, asked.runs)
    print()
    for ratio in ratios:
        verdict = "ok" if ratio.value <= ratio.bound else "OVER"
        print(f"{ratio.name:42} {ratio.value:6.2f}  at most {ratio.bound:4.1f}  {verdict}")
    return int(any(ratio.value > ratio.bound for ratio in ratios))


if __name__ == "__main__":
    sys.exit(main())
