"""The collector's file exporter: JSON lines, a file or a folder, read and followed."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from clawtop.fleet.fleet import Fleet
from clawtop.model.errors import SourceError
from clawtop.model.events import Blind, Call, Tokens
from clawtop.model.snapshot import Health, Row, View, Window
from clawtop.sources.otlp_file import OtlpFileSource
from tests.otlp_messages import NOW, REQUESTS, Table, capture, histogram, in_json, metrics, span, traces, truth
from tests.otlp_messages import seen as metered
from tests.unit.sources.collecting import CollectingOutlet


def total(outlet: CollectingOutlet) -> Row:
    fleet = Fleet()
    for event in outlet.events:
        fleet.fold(event)
    return fleet.snapshot(View(window=Window.ALL), NOW).total


def chat(number: int) -> Table:
    return traces(
        span(
            "chat m",
            (number, number, 0),
            gen_ai__operation__name="chat",
            gen_ai__request__model="m",
            gen_ai__usage__input_tokens=100,
            gen_ai__usage__output_tokens=number,
        )
    )


def append(path: Path, *bodies: Table) -> None:
    with path.open("ab") as file:
        file.writelines(in_json(body) + b"\n" for body in bodies)


def seen(outlet: CollectingOutlet) -> list[int]:
    return [call.tokens.output for call in outlet.of(Call)]


async def once(path: Path) -> CollectingOutlet:
    outlet = CollectingOutlet(NOW)
    await OtlpFileSource(f"otlp-file:{path}", path).run(outlet, follow=False)
    return outlet


@contextlib.asynccontextmanager
async def following(source: OtlpFileSource, outlet: CollectingOutlet) -> AsyncIterator[None]:
    task = asyncio.create_task(source.run(outlet, follow=True))
    try:
        await outlet.until(lambda: bool(outlet.statuses) and outlet.statuses[-1].health is Health.OK)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def as_the_collector_writes(value: Any) -> Any:
    """Protobuf's own JSON with ids in hex."""
    if isinstance(value, dict):
        return {
            key: base64.b64decode(each).hex()
            if key in ("traceId", "spanId", "parentSpanId")
            else as_the_collector_writes(each)
            for key, each in value.items()
        }
    return [as_the_collector_writes(each) for each in value] if isinstance(value, list) else value


async def test_the_capture_written_by_a_collector_gives_its_totals(tmp_path: Path) -> None:
    log = tmp_path / "otel.json"
    with log.open("w") as file:
        for post in capture():
            message = REQUESTS[post.signal]()
            message.ParseFromString(post.body)
            file.write(json.dumps(as_the_collector_writes(MessageToDict(message))) + "\n")
    outlet = await once(log)
    expected = truth()["totals"]
    row = total(outlet)
    assert (*row.tokens, row.cost) == tuple(
        expected[kind] for kind in ("input", "output", "cache_read", "cache_write", "cost_micro")
    )
    assert outlet.of(Blind)
    status = outlet.statuses[-1]
    assert (status.health, status.bytes, status.skipped) == (Health.OK, log.stat().st_size, {})
    assert status.entries == len(list(capture()))


async def test_a_folder_is_read_and_what_is_no_export_is_counted(tmp_path: Path) -> None:
    append(tmp_path / "a.jsonl", chat(1))
    append(tmp_path / "b.json", chat(2), {"other": []})
    with (tmp_path / "b.json").open("a") as file:
        file.write("<html>\n")
    outlet = await once(tmp_path)
    assert sorted(seen(outlet)) == [1, 2]
    status = outlet.statuses[-1]
    assert status.skipped == {"not JSON": 1, "neither metrics nor traces nor logs": 1}
    assert status.detail == "2 files"


async def test_an_appended_line_wakes_the_source(tmp_path: Path) -> None:
    log = tmp_path / "otel.json"
    append(log, chat(1))
    outlet = CollectingOutlet(NOW)
    async with following(OtlpFileSource("otlp-file:x", log), outlet):
        append(log, chat(2))
        await outlet.until(lambda: seen(outlet) == [1, 2])


async def test_a_file_that_is_rewritten_counts_what_it_repeats_once(tmp_path: Path) -> None:
    log = tmp_path / "otel.json"
    append(log, chat(1), chat(2))
    outlet = CollectingOutlet(NOW)
    async with following(OtlpFileSource("otlp-file:x", log), outlet):
        log.write_bytes(b"")
        append(log, chat(1), chat(3))
        await outlet.until(lambda: 3 in seen(outlet))
    assert seen(outlet) == [1, 2, 3]


async def test_a_file_that_was_gone_and_came_back_goes_on_counting(tmp_path: Path) -> None:
    """Its counters count since their sender began, also those in the new file."""

    def so_far(tokens: int, seconds: int) -> Table:
        when, began = NOW - seconds * 1000, NOW - 100_000
        told = metered(tokens, 1, when, began, gen_ai__token__type="input", gen_ai__request__model="m")
        return metrics(histogram("gen_ai.client.token.usage", told), resource={"service.name": "fleet"})

    log = tmp_path / "otel.json"
    append(log, so_far(1000, 50), so_far(2000, 45))
    source, outlet = OtlpFileSource("otlp-file:x", log), CollectingOutlet(NOW)
    await source.run(outlet, follow=False)
    assert total(outlet).tokens == Tokens(2000)
    log.unlink()
    with pytest.raises(SourceError):
        await source.run(outlet, follow=False)
    append(log, so_far(3000, 40), so_far(4500, 30))
    await source.run(outlet, follow=False)
    assert total(outlet).tokens == Tokens(4500)
    await source.run(outlet, follow=False)
    assert total(outlet).tokens == Tokens(4500)


async def test_a_session_that_is_read_elsewhere_stays_away_also_after_a_restart(tmp_path: Path) -> None:
    usage: Table = {"openclaw__tokens__input": 100, "openclaw__model": "m", "openclaw__sessionId": "session-1"}
    log = tmp_path / "otel.json"
    append(log, traces(span("openclaw.model.usage", **usage), scope="openclaw"))
    source, outlet = OtlpFileSource("otlp-file:x", log), CollectingOutlet(NOW)
    async with following(source, outlet):
        assert total(outlet).tokens == Tokens(100)
        source.told_elsewhere("local", "coder", "session-1")
        await outlet.until(lambda: total(outlet).tokens == Tokens())
    async with following(source, outlet):
        assert total(outlet).tokens == Tokens()


async def test_a_path_that_does_not_exist_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.json does not exist; .* OTLP/JSON with -s otlp-file:PATH"):
        await once(tmp_path / "nothing.json")
