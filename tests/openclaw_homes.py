"""Builders for small OpenClaw homes of both generations, as the gateways write them."""

import json
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zstandard

T0 = 1_795_345_500_000
"""Unix milliseconds at which the homes' stories begin."""
_LEAF, _ROW = 0x0D, b'"type":"message"'


def iso(at: int) -> str:
    """`at` as OpenClaw writes it."""

    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def header(session: str, at: int = T0, cwd: str = "/srv/ws-main", version: int = 3, **more: Any) -> dict[str, Any]:
    """A session's first entry."""
    return {"type": "session", "version": version, "id": session, "timestamp": iso(at), "cwd": cwd, **more}


def user(entry: str, at: int, words: str) -> dict[str, Any]:
    """A person's message."""
    message = {"role": "user", "content": [{"type": "text", "text": words}], "timestamp": at}
    return {"type": "message", "id": entry, "parentId": None, "timestamp": iso(at), "message": message}


def answer(
    entry: str,
    at: int,
    *,
    tokens: tuple[int, int, int, int] = (100, 10, 50, 0),
    cost: float = 0.001,
    model: str = "normal",
    provider: str = "mock",
    stop: str = "stop",
    error: str | None = None,
    run: str | None = None,
    tools: Iterable[str] = (),
    took: int = 500,
    **more: Any,
) -> dict[str, Any]:
    """An assistant message that was asked for at `at` and ended `took` ms later."""
    if error is not None:
        tokens, cost, stop = (0, 0, 0, 0), 0, "error"
        more["errorMessage"] = error
    message = {
        "role": "assistant",
        "content": [{"type": "toolCall", "id": tool, "name": "read", "arguments": {}} for tool in tools],
        "provider": provider,
        "model": model,
        "usage": {
            **dict(zip(("input", "output", "cacheRead", "cacheWrite"), tokens, strict=True)),
            "totalTokens": sum(tokens),
            "cost": {"total": cost},
        },
        "stopReason": stop,
        "timestamp": at,
        **({"__openclaw": {"runId": run}} if run else {}),
        **more,
    }
    return {"type": "message", "id": entry, "parentId": None, "timestamp": iso(at + took), "message": message}


def lines(entries: Iterable[dict[str, Any]]) -> bytes:
    """Entries as a session file holds them."""
    return b"".join(json.dumps(entry, separators=(",", ":")).encode() + b"\n" for entry in entries)


def session_file(home: Path, agent: str, session: str, entries: Iterable[dict[str, Any]], suffix: str = "") -> Path:
    """Write a session's file of the JSONL era."""
    path = home / "agents" / agent / "sessions" / f"{session}.jsonl{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lines(entries))
    return path


class AgentStore:
    """An agent's database of 2026.8 and later, in WAL mode, open for writing beside its reader."""

    def __init__(self, home: Path, agent: str, *, tables: bool = True, schema: int = 23) -> None:
        self.path = home / "agents" / agent / "agent" / "openclaw-agent.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute(f"PRAGMA user_version = {schema}")
        if tables:
            self.create_tables()

    def create_tables(self) -> None:
        """The part of schema 23 that a monitor reads."""
        self.connection.executescript("""
            CREATE TABLE transcript_events (session_id TEXT, seq INTEGER, event_json TEXT, created_at INTEGER,
                event_zstd BLOB, event_utf8_bytes INTEGER, navigation_json TEXT, PRIMARY KEY (session_id, seq));
            CREATE TABLE trajectory_runtime_events (session_id TEXT, seq INTEGER, run_id TEXT, event_json TEXT,
                created_at INTEGER, PRIMARY KEY (session_id, seq));
            CREATE TABLE session_windows (session_id TEXT PRIMARY KEY, session_key TEXT, status TEXT,
                updated_at INTEGER, parent_session_key TEXT, spawned_by TEXT);
            CREATE TABLE session_nodes (session_key TEXT PRIMARY KEY, current_session_id TEXT, entry_json TEXT,
                updated_at INTEGER, project_id TEXT, owner_actor_id TEXT, label TEXT, fork_source_session_id TEXT,
                parent_session_key TEXT);
            CREATE TABLE transcript_rewrite_watermarks (session_id TEXT PRIMARY KEY, generation TEXT,
                updated_at INTEGER);
        """)

    def add(self, session: str, seq: int, entry: dict[str, Any], *, packed: bool = False) -> None:
        """Commit one transcript row."""
        raw = json.dumps(entry, separators=(",", ":"))
        plain, zstd = (None, zstandard.ZstdCompressor().compress(raw.encode())) if packed else (raw, None)
        self.connection.execute(
            "INSERT INTO transcript_events VALUES (?, ?, ?, ?, ?, ?, NULL)",
            (session, seq, plain, _ended(entry), zstd, len(raw)),
        )

    def attempt(self, session: str, seq: int, run: str, at: int, *, model: str = "normal", stop: str = "stop") -> None:
        """Commit a model.completed row of a run's trajectory."""
        self.trace(session, seq, run, at, "model.completed", {"stopReason": stop}, model=model)

    def trace(
        self, session: str, seq: int, run: str, at: int, kind: str, data: dict[str, Any], *, model: str = "normal"
    ) -> None:
        """Commit any trajectory row."""
        event = {
            "type": kind,
            "ts": iso(at),
            "sourceSeq": seq,
            "sessionId": session,
            "runId": run,
            "provider": "mock",
            "modelId": model,
            "data": data,
        }
        row = (session, seq, run, json.dumps(event, separators=(",", ":")), at)
        self.connection.execute("INSERT INTO trajectory_runtime_events VALUES (?, ?, ?, ?, ?)", row)

    def window(self, session: str, key: str, status: str = "done", at: int = T0) -> None:
        """Say which key a session goes by and how it does."""
        row = (session, key, status, at, None, None)
        self.connection.execute("INSERT OR REPLACE INTO session_windows VALUES (?, ?, ?, ?, ?, ?)", row)

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    def spoil(self) -> None:
        """Let go of the file, and overwrite a page amidst the transcripts' rows."""
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.close()
        data = bytearray(self.path.read_bytes())
        size = int.from_bytes(data[16:18], "big")
        leaves = [page for page in range(size, len(data), size) if data[page] == _LEAF and _ROW in data[page:][:size]]
        page = leaves[len(leaves) // 2]
        data[page : page + size] = b"\xff" * size
        self.path.write_bytes(data)


def _ended(entry: dict[str, Any]) -> int:

    return round(datetime.fromisoformat(entry["timestamp"]).timestamp() * 1000)
