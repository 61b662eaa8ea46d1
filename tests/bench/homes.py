"""OpenClaw homes of any size, made up but shaped like real ones: the same seed gives the same bytes.

    python -m tests.bench.homes jsonl|sqlite FOLDER [--megabytes 202] [--agents 20] [--seed 1]

A turn is a question, then rounds of one answer that asks for six tools, their results and a note of the gateway: one
line in eight carries usage and a line has 2.5 kB, most of it tool output. The SQLite home has the tables and columns
that a monitor reads, and compresses its long rows as OpenClaw 2026.9 does.
"""

import argparse
import json
import random
import sqlite3
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zstandard

Entry = dict[str, Any]

BEGAN = 1_793_000_000_000  # Unix ms
SESSION_BYTES = 1_000_000
TOOLS_PER_ANSWER = 6
ROUNDS_PER_TURN = 4
COMPRESSED_FROM = 1024  # bytes of a row's text
MODELS = (("anthropic", "claude-sonnet-4-5", (3, 15, 0.3, 3.75)), ("openai", "gpt-5.1", (1.25, 10, 0.125, 0)))

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA user_version = 23;
CREATE TABLE transcript_events (
  session_id TEXT, seq INTEGER, event_json TEXT, created_at INTEGER, event_zstd BLOB, event_utf8_bytes INTEGER,
  navigation_json TEXT, PRIMARY KEY (session_id, seq));
CREATE TABLE trajectory_runtime_events (
  session_id TEXT, seq INTEGER, run_id TEXT, event_json TEXT, created_at INTEGER, PRIMARY KEY (session_id, seq));
CREATE TABLE session_windows (
  session_id TEXT PRIMARY KEY, session_key TEXT, created_at INTEGER, updated_at INTEGER, started_at INTEGER,
  ended_at INTEGER, status TEXT, channel TEXT, model_provider TEXT, model TEXT, parent_session_key TEXT,
  spawned_by TEXT, display_name TEXT);
CREATE TABLE session_nodes (
  session_key TEXT PRIMARY KEY, current_session_id TEXT, entry_json TEXT, updated_at INTEGER, status TEXT,
  created_at INTEGER, owner_actor_id TEXT, project_id TEXT, parent_session_key TEXT, spawned_by TEXT,
  fork_source_session_key TEXT, fork_source_session_id TEXT, fork_source_entry_id TEXT, label TEXT,
  display_name TEXT);
CREATE TABLE transcript_rewrite_watermarks (session_id TEXT PRIMARY KEY, generation TEXT, updated_at INTEGER);
"""


@dataclass(frozen=True)
class Truth:
    """What is in a home: `text` is the bytes of its entries' text, `cost_micro` micro-dollars."""

    agents: int
    sessions: int
    calls: int
    tokens: int
    cost_micro: int
    text: int


@dataclass(frozen=True)
class Session:
    """One session's entries, oldest first, the same as lines, and the model of its calls."""

    agent: str
    id: str
    key: str
    provider: str
    model: str
    entries: list[Entry]
    lines: list[bytes]


class Maker:
    """Makes sessions out of one stream of random numbers."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 (no secret, the same homes again)
        words = [
            "".join(self._random.choices("abcdefghijklmnopqrstuvwxyz_/.", k=n)) for n in range(2, 12) for _ in "12345"
        ]
        lines = (" ".join(self._random.choices(words, k=10)) for _ in range(20_000))
        self._text = "\n".join(lines)
        self._now = BEGAN

    def session(self, agent: str, number: int) -> Session:
        """A session of about SESSION_BYTES."""
        provider, model, prices = MODELS[number % len(MODELS)]
        sid = self._uuid()
        entries: list[Entry] = [
            {"type": "session", "version": 4, "id": sid, "timestamp": self._tick(), "cwd": f"/srv/{agent}/repo"},
            self._entry("model_change", provider=provider, modelId=model),
        ]
        size, context = 0, 8_000
        while size < SESSION_BYTES:
            entries.append(self._message({"role": "user", "content": self._blocks(200)}))
            run = self._uuid()
            for _ in range(ROUNDS_PER_TURN):
                context = 8_000 if context > 150_000 else context + self._random.randrange(500, 4_000)
                size += 8 * 2_500
                entries += self._round(run, provider, model, prices, context)
        key = f"agent:{agent}:main" if number == 0 else f"agent:{agent}:dashboard:{sid}"
        return Session(agent, sid, key, provider, model, entries, [line_of(entry) for entry in entries])

    def _round(self, run: str, provider: str, model: str, prices: tuple[float, ...], context: int) -> Iterator[Entry]:
        calls = [f"call_{self._random.getrandbits(64):016x}" for _ in range(TOOLS_PER_ANSWER)]
        fresh, output = self._random.randrange(200, 4_000), self._random.randrange(50, 1_500)
        buckets = (fresh, output, context, fresh if prices[3] else 0)
        costs = [tokens * price / 1e6 for tokens, price in zip(buckets, prices, strict=True)]
        names = ("input", "output", "cacheRead", "cacheWrite")
        usage = {
            **dict(zip(names, buckets, strict=True)),
            "totalTokens": sum(buckets),
            "cost": {**dict(zip(names, costs, strict=True)), "total": sum(costs)},
        }
        asked = [
            {"type": "toolCall", "id": call, "name": "exec", "arguments": {"command": self._cut(60)}} for call in calls
        ]
        yield self._message(
            {
                "role": "assistant",
                "content": [*self._blocks(300), *asked],
                "api": "messages",
                "provider": provider,
                "model": model,
                "usage": usage,
                "stopReason": "toolUse",
                "responseId": f"msg_{self._random.getrandbits(64):016x}",
                "__openclaw": {"runId": run},
            }
        )
        for call in calls:
            text = self._blocks(self._random.randrange(1_000, 4_000))
            result = {"toolCallId": call, "toolName": "exec", "content": text, "details": {"exitCode": 0}}
            yield self._message({"role": "toolResult", **result, "isError": False})
        yield self._entry("custom", customType="context-note", data={"text": self._cut(1_500)})

    def _message(self, message: Entry) -> Entry:
        started = self._now
        self._now += self._random.randrange(200, 3_000)
        return self._entry("message", message={**message, "timestamp": started})

    def _entry(self, kind: str, **more: object) -> Entry:
        return {"type": kind, "id": f"{self._random.getrandbits(64):016x}", "timestamp": self._tick(), **more}

    def _tick(self) -> str:
        self._now += 10
        return datetime.fromtimestamp(self._now / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _blocks(self, length: int) -> list[Entry]:
        return [{"type": "text", "text": self._cut(length)}]

    def _cut(self, length: int) -> str:
        start = self._random.randrange(len(self._text) - length)
        return self._text[start : start + length]

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))


def line_of(entry: Entry) -> bytes:
    """The entry as it stands in a file."""
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def unix_ms(entry: Entry) -> int:
    """When the entry was written."""
    return round(datetime.fromisoformat(entry["timestamp"]).timestamp() * 1000)


def sessions_of(megabytes: float, agents: int, seed: int) -> Iterator[Session]:
    """Sessions of all agents in turn, until their lines have that many millions of bytes."""
    maker, written, number = Maker(seed), 0, 0
    while written < megabytes * 1e6:
        session = maker.session(f"agent-{number % agents:03}", number // agents)
        written += sum(map(len, session.lines))
        number += 1
        yield session


class Sums:
    """Adds up what is written."""

    def __init__(self) -> None:
        self.agents: set[str] = set()
        self.sessions = self.calls = self.tokens = self.cost_micro = self.text = 0

    def add(self, session: Session) -> None:
        """One session more."""
        self.agents.add(session.agent)
        self.sessions += 1
        self.text += sum(map(len, session.lines))
        for entry in session.entries:
            usage = entry.get("message", {}).get("usage")
            if usage:
                self.calls += 1
                self.tokens += usage["totalTokens"]
                self.cost_micro += round(usage["cost"]["total"] * 1e6)

    def truth(self) -> Truth:
        """All of it."""
        return Truth(len(self.agents), self.sessions, self.calls, self.tokens, self.cost_micro, self.text)


def write_jsonl(home: Path, megabytes: float = 202, agents: int = 20, seed: int = 1) -> Truth:
    """Writes a home of the JSONL era and returns what is in it."""
    sums, keys = Sums(), dict[str, Entry]()
    for session in sessions_of(megabytes, agents, seed):
        folder = home / "agents" / session.agent / "sessions"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{session.id}.jsonl").write_bytes(b"".join(session.lines))
        keys.setdefault(session.agent, {})[session.key] = {
            "sessionId": session.id,
            "updatedAt": unix_ms(session.entries[-1]),
            "status": "done",
            "modelProvider": session.provider,
            "model": session.model,
        }
        sums.add(session)
    for agent, sessions in keys.items():
        (home / "agents" / agent / "sessions" / "sessions.json").write_text(json.dumps(sessions))
    return sums.truth()


def write_sqlite(home: Path, megabytes: float = 202, agents: int = 20, seed: int = 1) -> Truth:
    """Writes a home as 2026.9 keeps it and returns what is in it."""
    sums, databases = Sums(), dict[str, sqlite3.Connection]()
    press = zstandard.ZstdCompressor(level=3)
    for session in sessions_of(megabytes, agents, seed):
        if session.agent not in databases:
            folder = home / "agents" / session.agent / "agent"
            folder.mkdir(parents=True, exist_ok=True)
            databases[session.agent] = sqlite3.connect(folder / "openclaw-agent.sqlite")
            databases[session.agent].executescript(SCHEMA)
        insert(databases[session.agent], session, press)
        sums.add(session)
    for database in databases.values():
        database.close()
    return sums.truth()


def insert(database: sqlite3.Connection, session: Session, press: zstandard.ZstdCompressor) -> None:
    """Inserts one session."""
    rows = []
    for seq, (entry, line) in enumerate(zip(session.entries, session.lines, strict=True)):
        raw = line[:-1]
        frame = press.compress(raw) if len(raw) > COMPRESSED_FROM else None
        rows.append((session.id, seq, None if frame else raw.decode(), unix_ms(entry), frame, len(raw)))
    with database:
        database.executemany("INSERT INTO transcript_events VALUES (?, ?, ?, ?, ?, ?, NULL)", rows)
        database.executemany("INSERT INTO trajectory_runtime_events VALUES (?, ?, ?, ?, ?)", attempts(session))
        began, ended = unix_ms(session.entries[0]), unix_ms(session.entries[-1])
        database.execute(
            "INSERT INTO session_windows (session_id, session_key, created_at, updated_at, started_at, ended_at,"
            " status, model_provider, model) VALUES (?, ?, ?, ?, ?, ?, 'done', ?, ?)",
            (session.id, session.key, began, ended, began, ended, session.provider, session.model),
        )
        database.execute(
            "INSERT INTO session_nodes (session_key, current_session_id, entry_json, updated_at, status, created_at)"
            " VALUES (?, ?, ?, ?, 'done', ?)",
            (session.key, session.id, json.dumps({"contextTokens": 200_000}), ended, began),
        )


def attempts(session: Session) -> Iterator[tuple[str, int, str, str, int]]:
    """One finished attempt a run, as rows."""
    runs = {
        entry["message"]["__openclaw"]["runId"]: entry
        for entry in session.entries
        if "usage" in entry.get("message", {})
    }
    for seq, (run, last) in enumerate(runs.items()):
        event = {
            "type": "model.completed",
            "ts": last["timestamp"],
            "sessionId": session.id,
            "sessionKey": session.key,
            "runId": run,
            "provider": session.provider,
            "modelId": session.model,
            "data": {"aborted": False, "stopReason": "stop", "usage": last["message"]["usage"]},
        }
        yield session.id, seq, run, json.dumps(event), unix_ms(last)


WRITERS = {"jsonl": write_jsonl, "sqlite": write_sqlite}


def main() -> None:
    """Writes one home and prints what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=WRITERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=202)
    parser.add_argument("--agents", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began = time.perf_counter()
    print(WRITERS[asked.kind](asked.folder, asked.megabytes, asked.agents, asked.seed))
    print(f"in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
