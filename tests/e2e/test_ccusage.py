"""The same logs read by clawtop and by ccusage, which 120,000 people a month count with.

Where the two differ, the difference is one of those at the end of this file, each shown by the smallest log that has
it, with what ccusage 20.0.24 makes of it.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import claude_lines, codex_lines
from tests.bench.claude_logs import BUCKETS, whole, write
from tests.e2e.clawtop_runs import CHECKOUT, command, environment
from tests.e2e.lab import install_package, with_node

CCUSAGE = "20.0.24"
NAMES = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheCreationTokens")
A_CENT = 0.01

Counted = tuple[dict[str, int], float]


@pytest.fixture(scope="session")
def ccusage() -> Path:
    """The installed program."""
    return install_package("ccusage", CCUSAGE, "src/cli.js") / "src" / "cli.js"


def asked(ccusage: Path, agent: str, place: str, folder: Path) -> dict[str, Any]:
    """What `ccusage AGENT daily` prints of a folder that the variable `place` names."""
    variables = {**environment(folder.parent), "PATH": with_node()["PATH"], place: str(folder)}
    return printed(["node", str(ccusage), agent, "daily", "--json", "--offline"], variables)


def read(folder: Path, kind: str, *options: str) -> dict[str, Any]:
    """What clawtop prints of a folder."""
    return printed(command(folder, "--once", "--json", *options, source=f"{kind}:{folder}"), environment(folder.parent))


def printed(program: list[str], variables: Mapping[str, str]) -> dict[str, Any]:
    """The object that a program prints; CalledProcessError where it fails."""
    done = subprocess.run(program, cwd=CHECKOUT, env=variables, capture_output=True, text=True, timeout=120, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def theirs(ccusage: Path, folder: Path) -> Counted:
    """Tokens by bucket, and dollars, as ccusage counts Claude Code's logs."""
    totals = asked(ccusage, "claude", "CLAUDE_CONFIG_DIR", folder)["totals"]
    return dict(zip(BUCKETS, (totals[name] for name in NAMES), strict=True)), totals["totalCost"]


def ours(folder: Path, kind: str = "claude") -> Counted:
    """Tokens by bucket, and dollars, as clawtop counts a folder."""
    return figures(read(folder, kind)["totals"])


def figures(row: Mapping[str, Any]) -> Counted:
    """The same of one row."""
    return {bucket: row["tokens"][bucket] for bucket in BUCKETS}, row["cost_usd"]


def logged(folder: Path, *lines: claude_lines.Line) -> Path:
    """A folder with one log of these lines."""
    path = folder / "claude" / "projects" / claude_lines.SLUG / "s1.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(claude_lines.text(*lines))
    return folder / "claude"


def test_the_same_tokens_to_the_token_and_the_same_cost_to_the_cent(ccusage: Path, tmp_path: Path) -> None:
    folder = tmp_path / "claude"
    truth = whole(write(folder, megabytes=20, seed=20))
    (tokens, cost), (their_tokens, their_cost) = ours(folder), theirs(ccusage, folder)
    assert tokens == their_tokens == {bucket: truth.counts[bucket] for bucket in BUCKETS}
    assert cost == pytest.approx(their_cost, abs=A_CENT / 2)
    assert cost == pytest.approx(truth.cost, abs=A_CENT / 2)


def test_the_same_by_model(ccusage: Path, tmp_path: Path) -> None:
    folder = tmp_path / "claude"
    write(folder, megabytes=4, seed=4)
    found: dict[str, Counted] = {}
    for day in asked(ccusage, "claude", "CLAUDE_CONFIG_DIR", folder)["daily"]:
        for part in day["modelBreakdowns"]:
            tokens, cost = found.get(part["modelName"], (dict.fromkeys(BUCKETS, 0), 0.0))
            summed = {bucket: tokens[bucket] + part[name] for bucket, name in zip(BUCKETS, NAMES, strict=True)}
            found[part["modelName"]] = summed, cost + part["cost"]
    rows = read(folder, "claude", "-g", "model")["rows"]
    shown = {row["model"].removeprefix("anthropic/"): figures(row) for row in rows if row["calls"]}
    assert shown.keys() == found.keys()
    for model, (tokens, cost) in found.items():
        assert shown[model][0] == tokens
        assert shown[model][1] == pytest.approx(cost, abs=A_CENT / 2)


def test_a_fork_of_codex_counts_what_is_its_own_in_both(ccusage: Path, tmp_path: Path) -> None:
    first, second = codex_lines.usage(1000, 200, 50), codex_lines.usage(2500, 1400, 90)
    story = [
        codex_lines.meta(),
        codex_lines.context(),
        codex_lines.count(first, first, 10),
        codex_lines.count(second, codex_lines.usage(1500, 1200, 40), 20),
    ]
    copies = [{**line, "timestamp": "2026-12-01T00:00:00.000Z"} for line in story]
    own = codex_lines.count(codex_lines.usage(4000, 2500, 100), codex_lines.usage(1500, 1100, 10), 10**9)
    day = tmp_path / "codex" / "sessions" / "2026" / "11" / "22"
    day.mkdir(parents=True)
    (day / "rollout-2026-11-22T12-00-00-s1.jsonl").write_bytes(codex_lines.text(*story))
    fork = codex_lines.text(codex_lines.meta("s2", forked_from_id="s1"), *copies, own)
    (day / "rollout-2026-11-22T13-00-00-s2.jsonl").write_bytes(fork)
    totals = asked(ccusage, "codex", "CODEX_HOME", tmp_path / "codex")["totals"]
    tokens, cost = ours(tmp_path / "codex", "codex")
    assert [tokens[bucket] for bucket in BUCKETS] == [totals[name] for name in NAMES]
    assert cost == pytest.approx(totals["costUSD"], abs=1e-6)


# ---- where they differ


def test_ccusage_drops_a_message_with_a_null_that_is_not_the_messages_own(ccusage: Path, tmp_path: Path) -> None:
    """`has_unsupported_null_field` looks for "id":null anywhere in a line, a tool's input included."""
    line = claude_lines.answer(tools=["t1"])
    line["message"]["content"][-1]["input"] = {"id": None}
    folder = logged(tmp_path, line)
    assert theirs(ccusage, folder)[0] == dict.fromkeys(BUCKETS, 0)
    assert ours(folder)[0] == {"input": 10, "output": 50, "cache_read": 1000, "cache_write": 200}


def test_ccusage_drops_cache_writes_whose_lifetimes_are_not_told(ccusage: Path, tmp_path: Path) -> None:
    """`cache_creation_token_count` takes the sum of the lifetimes wherever there is one, though it is 0."""
    untold = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
    folder = logged(tmp_path, claude_lines.answer(usage=claude_lines.usage(cache_creation=untold)))
    assert theirs(ccusage, folder)[0]["cache_write"] == 0
    assert ours(folder)[0]["cache_write"] == 200


def test_ccusage_takes_the_largest_line_of_a_message_and_clawtop_the_last(ccusage: Path, tmp_path: Path) -> None:
    larger, last = claude_lines.usage(90), claude_lines.usage(50)
    folder = logged(tmp_path, claude_lines.answer(usage=larger), claude_lines.answer(ms=5, usage=last))
    assert theirs(ccusage, folder)[0]["output"] == 90
    assert ours(folder)[0]["output"] == 50


def test_ccusage_prices_a_long_context_bucket_by_bucket(ccusage: Path, tmp_path: Path) -> None:
    """Above 200,000 tokens of input, cached ones included, all of a request costs more; ccusage asks that of each
    bucket alone, and then only of its part above."""
    usage = {"input_tokens": 100_000, "cache_read_input_tokens": 200_000, "output_tokens": 0}
    folder = logged(tmp_path, claude_lines.answer(usage=usage))
    assert theirs(ccusage, folder)[1] == pytest.approx(0.1 * 3 + 0.2 * 0.3)
    assert ours(folder)[1] == pytest.approx(0.1 * 6 + 0.2 * 0.6)


def test_a_fast_answer_has_a_price_for_ccusage_that_no_price_list_of_clawtop_knows(
    ccusage: Path, tmp_path: Path
) -> None:
    fast = claude_lines.usage(speed="fast")
    folder = logged(tmp_path, claude_lines.answer(model="claude-opus-4-6", usage=fast))
    assert theirs(ccusage, folder)[1] > 0
    assert read(folder, "claude")["totals"]["unpriced_calls"] == 1
