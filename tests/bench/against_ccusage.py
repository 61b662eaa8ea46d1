"""What clawtop and ccusage take for the same logs of Claude Code. Prints medians; judges ratios only.

    python -m tests.bench.against_ccusage [--megabytes 200] [--runs 5]

ccusage reads on all cores, clawtop on one. Exit code 1: a ratio is over its bound, or a total is wrong.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.bench.claude_logs import BUCKETS, Truth, whole, write
from tests.bench.run import BARE, Ratio, Spent, line, typical
from tests.e2e.clawtop_runs import command
from tests.e2e.lab import install_package

CCUSAGE = "20.0.24"


def check(printed: str, truth: Truth) -> None:
    """ValueError where clawtop's totals are not what was written: a fast wrong answer is worth nothing."""
    totals = json.loads(printed)["totals"]
    shown = [totals["calls"], *(totals["tokens"][bucket] for bucket in BUCKETS), round(totals["cost_usd"], 2)]
    written = [truth.counts["calls"], *(truth.counts[bucket] for bucket in BUCKETS), round(truth.cost, 2)]
    if shown != written:
        raise ValueError(f"clawtop says {shown}, written were {written}")


def told(name: str, spent: Spent) -> None:
    """Prints what a program took."""
    line(name, spent.wall, f"{spent.cpu:.2f} s CPU, {spent.memory:.0f} MB")


def measure(folder: Path, megabytes: float, runs: int) -> list[Ratio]:
    """Prints a line for each program and returns the ratios."""
    claude, nobody = folder / "claude", folder / "nobody"
    nobody.mkdir()
    truth = whole(write(claude, megabytes))
    program = install_package("ccusage", CCUSAGE, "src/cli.js").parent
    native = next(program.glob("@ccusage/ccusage-*/bin/ccusage*"))
    asked = ["env", f"CLAUDE_CONFIG_DIR={claude}", str(native), "claude", "daily", "--json", "--offline"]
    bare = typical(BARE, nobody, runs)
    theirs = typical(asked, nobody, runs)
    ours = typical(command(claude, "--once", "--json", source=f"claude:{claude}"), nobody, runs)
    check(ours.printed, truth)
    told("python -c pass", bare)
    told(f"ccusage {CCUSAGE}, its native program", theirs)
    told("clawtop --once --json", ours)
    return [
        Ratio("CPU of clawtop / of ccusage", ours.cpu / theirs.cpu, 5),
        Ratio("memory of clawtop / of ccusage", ours.memory / theirs.memory, 2),
    ]


def main() -> int:
    """Measures, prints, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ratios = measure(Path(name), asked.megabytes, asked.runs)
    for ratio in ratios:
        verdict = "ok" if ratio.value <= ratio.bound else "OVER"
        print(f"{ratio.name:42} {ratio.value:6.2f}  at most {ratio.bound:4.1f}  {verdict}")
    return int(any(ratio.value > ratio.bound for ratio in ratios))


if __name__ == "__main__":
    sys.exit(main())
