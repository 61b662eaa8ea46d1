"""Reports: the JSON of the design, CSV, plain text; nothing unprintable reaches a terminal."""

import csv
import io
import json
from dataclasses import replace

from clawtop.model.events import Blind, Call, Event, SessionState, State, Tokens
from clawtop.model.keys import Key
from clawtop.model.snapshot import Grouping, Health, SourceStatus
from clawtop.report import to_csv, to_json, to_text
from tests.counted import LATER, seen

HOSTILE = "\x1b[2J\u202e[bold]\x7f\x9b"


def call(agent: str, cost: int | None = 250_000, name: str = "e1") -> Call:
    key = Key("local", agent, "s1", "r1", project="api", user="ann")
    return Call(key, LATER - 60_000, name, "mock", "normal", Tokens(100, 20, 3, 4), cost, 700, 1000)


def test_the_object_has_every_field_of_the_design() -> None:
    found = json.loads(to_json(seen([call("coder"), SessionState(Key("local", "coder", "s1"), LATER, State.RUNNING)])))
    assert {key: found[key] for key in ("schema", "at", "window", "group_by")} == {
        "schema": "clawtop/1",
        "at": "2026-11-22T12:05:00.000Z",
        "window": "all",
        "group_by": "agent",
    }
    (row,) = found["rows"]
    expected = {
        "agent": "coder", "host": "local", "project": "api", "projects": 1, "user": "ann", "state": "running",
        "hold": None, "hold_detail": None, "model": "mock/normal", "calls": 1, "errors": 0, "retries": 0,
        "fallbacks": 0, "failed_turns": 0, "aborts": 0, "tool_calls": 0, "tool_errors": 0, "compactions": 0,
        "unmetered_runs": 0, "sessions": 1, "runs": 1, "cost_usd": 0.25, "cost_basis": "logged", "unpriced_calls": 0,
        "tokens": {"input": 100, "output": 20, "cache_read": 3, "cache_write": 4, "total": 127},
        "rates": {"tokens_per_min": 25.4, "usd_per_hour": 3.0}, "context_pct": 10.7, "alerts": [],
        "last_at": "2026-11-22T12:04:00.000Z",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["latency_ms"].keys() == {"p50", "p95"}
    assert found["totals"]["calls"] == 1
    assert found["totals"]["blind"] == []


def test_a_session_says_whose_it_is() -> None:
    sessions = seen([call("coder")], by=Grouping.SESSION)
    (row,) = json.loads(to_json(sessions))["rows"]
    assert (row["session"], row["agent"]) == ("s1", "coder")
    assert "SESSION  AGENT" in to_text(sessions)
    for some in (sessions, seen([], by=Grouping.SESSION)):
        assert to_csv(some).startswith("session,agent,host,")


def test_of_several_hosts_each_row_says_its_own() -> None:
    far = replace(call("coder"), key=Key("build-7", "coder"))
    assert "HOST" not in to_text(seen([call("coder"), call("main")]))
    assert "build-7" in to_text(seen([call("coder"), far]))


def test_what_a_source_cannot_know_is_null_and_listed() -> None:
    events: list[Event] = [call("coder"), call("other"), Blind(Key("local", "coder"), frozenset({"retries"}))]
    found = json.loads(to_json(seen(events)))
    assert {row["agent"]: row["retries"] for row in found["rows"]} == {"coder": None, "other": 0}
    assert found["totals"]["retries"] is None
    assert found["totals"]["blind"] == ["retries"]
    assert "–" in to_text(seen(events))


def test_tokens_and_money_that_no_source_sees_are_null() -> None:
    state = SessionState(Key("local", "coder"), LATER, State.RUNNING)
    blind = Blind(Key("local", "coder"), frozenset({"tokens", "cost"}))
    (row,) = json.loads(to_json(seen([state, blind])))["rows"]
    assert (row["tokens"]["total"], row["cost_usd"]) == (None, None)
    (row,) = json.loads(to_json(seen([call("coder"), blind])))["rows"]
    assert (row["tokens"]["total"], row["cost_usd"]) == (127, 0.25)


def test_an_unknown_price_is_not_zero() -> None:
    (row,) = json.loads(to_json(seen([call("coder", None)])))["rows"]
    assert (row["cost_usd"], row["cost_basis"], row["unpriced_calls"]) == (None, "unknown", 1)
    assert " ? " in to_text(seen([call("coder", None)]))
    partly = seen([call("coder"), call("coder", None, "e2")])
    (row,) = json.loads(to_json(partly))["rows"]
    assert (row["cost_usd"], row["unpriced_calls"]) == (0.25, 1)
    assert "$0.25+?" in to_text(partly)


def test_hostile_names_stay_exact_in_json_and_harmless_everywhere() -> None:
    snapshot = seen([call(HOSTILE)])
    text = to_json(snapshot)
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["rows"][0]["agent"] == HOSTILE
    for printed in (to_text(snapshot), to_csv(snapshot)):
        assert all(line.isprintable() for line in printed.splitlines())


def test_csv_has_the_same_rows() -> None:
    (row,) = csv.DictReader(io.StringIO(to_csv(seen([call("coder")]))))
    assert (row["agent"], row["tokens_total"], row["cost_usd"], row["rates_usd_per_hour"]) == (
        "coder",
        "127",
        "0.25",
        "3.0",
    )
    assert to_csv(seen([])).startswith("agent,host,project")


def test_text_says_how_each_source_does() -> None:
    from dataclasses import replace  # noqa: PLC0415

    down = SourceStatus("openclaw:/x", Health.DOWN, "gone\x1b[2J", since=LATER - 60_000)
    torn = SourceStatus("events:/y", Health.OK, "", 5, {"not JSON": 3})
    text = to_text(replace(seen([call("coder")]), sources=(down, torn)))
    assert "down since 12:04:00  openclaw:/x  gone" in text
    assert "skipped 3: 3 not JSON" in text
