"""The captured homes give truth.json exactly, through the source, the fleet and the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from clawtop.model.snapshot import Grouping, Health
from clawtop.report import as_object
from clawtop.sources.openclaw import OpenClawSource
from tests.counted import LATER, seen
from tests.outlets import Remembered

HOMES = ["openclaw-2026.9.6", "openclaw-2026.2.6-3", "openclaw-2026.2.26", "openclaw-2026.6.35", "openclaw-migrated"]


async def read(folder: Path) -> Remembered:
    outlet = Remembered(lambda: LATER)
    await OpenClawSource(f"openclaw:{folder}", folder).run(outlet, follow=False)
    return outlet


@pytest.mark.parametrize("name", HOMES)
async def test_every_counter_is_exact(name: str, homes: Path, truth: Mapping[str, Any]) -> None:
    outlet = await read(homes / name)
    assert outlet.status is not None
    assert (outlet.status.health, dict(outlet.status.skipped)) == (Health.OK, {})
    rows = {row["agent"]: row for row in as_object(seen(outlet.events))["rows"]}
    assert rows.keys() == truth[name].keys()
    for agent, exact in truth[name].items():
        row = {**rows[agent], **rows[agent]["tokens"], "cost_micro": round((rows[agent]["cost_usd"] or 0) * 1e6)}
        assert {name: row[name] for name in exact if name != "models"} == {
            k: v for k, v in exact.items() if k != "models"
        }


@pytest.mark.parametrize("name", HOMES)
async def test_calls_by_model_are_exact(name: str, homes: Path, truth: Mapping[str, Any]) -> None:
    outlet = await read(homes / name)
    calls: dict[str, int] = {}
    for exact in truth[name].values():
        for model, count in exact["models"].items():
            calls[model] = calls.get(model, 0) + count
    rows = {row.label: row.counters.calls for row in seen(outlet.events, Grouping.MODEL).rows}
    assert {model: count for model, count in rows.items() if count} == calls


@pytest.mark.parametrize("name", HOMES)
@pytest.mark.parametrize("by", [Grouping.PROJECT, Grouping.PROVIDER, Grouping.HOST, Grouping.CRON, Grouping.USER])
async def test_every_grouping_sums_to_the_same(name: str, by: Grouping, homes: Path) -> None:
    outlet = await read(homes / name)
    snapshot, by_agent = seen(outlet.events, by), seen(outlet.events)
    assert snapshot.total.counters == by_agent.total.counters
    assert sum(row.cost for row in snapshot.rows) == by_agent.total.cost
    assert sum(row.tokens.total for row in snapshot.rows) == by_agent.total.tokens.total


async def test_a_second_reading_changes_nothing(homes: Path) -> None:
    outlet = await read(homes / "openclaw-migrated")
    once = seen(outlet.events)
    again = seen([*outlet.events, *(await read(homes / "openclaw-migrated")).events])
    assert again.rows == once.rows


async def test_cron_jobs_are_named(homes: Path) -> None:
    outlet = await read(homes / "openclaw-2026.2.26")
    assert "lab job" in {row.label for row in seen(outlet.events, Grouping.CRON).rows}


async def test_runs_that_no_transcript_shows_are_not_hidden(homes: Path) -> None:
    outlet = await read(homes / "openclaw-2026.9.6")
    assert seen(outlet.events).total.counters.unmetered_runs == 5
