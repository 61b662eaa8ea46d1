"""Counts an OpenClaw home straight from its databases and files: the second opinion clawtop's totals are held against.

Deliberately plain: everything is read anew, kept in memory, and nothing is shared with the package.
"""

import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import zstandard

COUNTERS = (
    "calls",
    "errors",
    "retries",
    "fallbacks",
    "failed_turns",
    "aborts",
    "tool_calls",
    "tool_errors",
    "compactions",
    "sessions",
    "unmetered_runs",
    "input",
    "output",
    "cache_read",
    "cache_write",
    "total",
    "cost_micro",
    "unpriced_calls",
)
BUCKETS = {"input": "input", "output": "output", "cacheRead": "cache_read", "cacheWrite": "cache_write"}
CONTINUED = "Continue where you left off"

Entry = dict[str, Any]


@dataclass
class Session:
    """What one session left behind, each entry once, in the order it was written."""

    entries: list[Entry] = field(default_factory=list)
    attempts: dict[str, list[Entry]] = field(default_factory=dict)  # by run


def recount(home: Path) -> dict[str, dict[str, int]]:
    """The counters of every agent of the home, money in micro-dollars."""
    agents = sorted(folder.name for folder in (home / "agents").iterdir() if folder.is_dir())
    return {agent: count_agent(home, agent) for agent in agents}


def commits(home: Path, agent: str) -> list[tuple[int, int]]:
    """(Unix ms, tokens so far) of each answer of an agent that has never forked a session, oldest first."""
    folder = home / "agents" / agent
    answers = [(at, entry) for _, entry, at in database_entries(folder / "agent" / "openclaw-agent.sqlite")]
    answers += [(unix_ms(entry["timestamp"]), entry) for _, entry in file_entries(folder / "sessions")]
    spent = sorted((at, sum(usage_of(entry).values())) for at, entry in answers)
    times = [at for at, tokens in spent if tokens]
    return list(zip(times, accumulate(tokens for _, tokens in spent if tokens), strict=True))


def unix_ms(iso: str) -> int:
    """Unix milliseconds of an ISO 8601 time."""
    return round(datetime.fromisoformat(iso).timestamp() * 1000)


def count_agent(home: Path, agent: str) -> dict[str, int]:
    """One agent's counters."""
    sessions = read_sessions(home, agent)
    sums: Counter[str] = Counter()
    tools: set[str] = set()
    for session in sessions.values():
        answers = [entry for entry in session.entries if is_answer(entry)]
        sums["sessions"] += any(sum(usage_of(entry).values()) for entry in answers)
        for entry in answers:
            count_answer(entry, sums, tools)
        sums["compactions"] += sum(entry["type"] == "compaction" for entry in session.entries)
        results = [entry["message"] for entry in session.entries if role(entry) == "toolResult"]
        sums["tool_errors"] += sum(bool(message.get("isError")) for message in results)
        count_failures(session, sums)
    audited = audit(home, agent)
    sums["tool_calls"] = len(tools)
    sums["total"] = sum(sums[name] for name in BUCKETS.values())
    sums["aborts"] = count_aborts(sessions, audited)
    sums["unmetered_runs"] = len({run for _, _, key, run in audited if ":internal-session-effects:" in (key or "")})
    return {name: sums[name] for name in COUNTERS}


def read_sessions(home: Path, agent: str) -> dict[str, Session]:
    """All sessions of an agent by their id; an entry that a fork or a migration repeats stays where it was first."""
    sessions: dict[str, Session] = {}
    seen: set[tuple[str, Any]] = set()
    database = home / "agents" / agent / "agent" / "openclaw-agent.sqlite"
    written = [(sid, entry) for sid, entry, _ in database_entries(database)]
    written += file_entries(home / "agents" / agent / "sessions")
    for sid, entry in written:
        identity = (entry.get("id", ""), (entry.get("message") or {}).get("timestamp") or entry.get("timestamp"))
        session = sessions.setdefault(sid, Session())
        if identity not in seen:
            seen.add(identity)
            session.entries.append(entry)
    for sid, run, event in database_attempts(database):
        sessions.setdefault(sid, Session()).attempts.setdefault(run, []).append(event)
    return sessions


def database_entries(database: Path) -> Iterator[tuple[str, Entry, int]]:
    """(session id, entry, commit time in Unix ms) of every transcript row, compressed ones too.

    The sessions stand in the order they began, so that a fork comes after its parent.
    """
    query = (
        "SELECT session_id, event_json, event_zstd, created_at FROM transcript_events JOIN"
        " (SELECT session_id, min(rowid) AS began FROM transcript_events GROUP BY session_id) USING (session_id)"
        " ORDER BY began, seq"
    )
    for session, text, frame, created in select(database, "transcript_events", query):
        raw = zstandard.ZstdDecompressor().decompressobj().decompress(frame) if text is None else text
        yield session, json.loads(raw), created


def database_attempts(database: Path) -> Iterator[tuple[str, str, Entry]]:
    """(session id, run id, event) of every finished attempt."""
    query = "SELECT session_id, run_id, event_json FROM trajectory_runtime_events ORDER BY session_id, seq"
    for session, run, text in select(database, "trajectory_runtime_events", query):
        event = json.loads(text)
        if event["type"] == "model.completed":
            yield session, run, event


def audit(home: Path, agent: str) -> list[tuple[Any, ...]]:
    """(action, status, session key, run id) of the agent's audited events."""
    query = "SELECT action, status, session_key, run_id FROM audit_events WHERE agent_id = ?"
    return list(select(home / "state" / "openclaw.sqlite", "audit_events", query, (agent,)))


def select(database: Path, table: str, query: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
    """The rows of a query, none where the file or the table is not there."""
    if not database.exists():
        return []
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        return connection.execute(query, values).fetchall() if known else []
    finally:
        connection.close()


def file_entries(folder: Path) -> Iterator[tuple[str, Entry]]:
    """(session id, entry) of every session file, renamed ones too, a fork after its parent."""
    transcripts: list[tuple[str, list[Entry]]] = []
    for path in folder.glob("*.jsonl*"):
        session, _, rest = path.name.partition(".jsonl")
        entries = [] if session.endswith(".trajectory") or rest == ".lock" else read_lines(path)
        if entries:
            transcripts.append((session, entries))
    # A fork repeats its parent's entries with their own times; only its header says when it was made.
    for session, entries in sorted(transcripts, key=lambda transcript: transcript[1][0].get("timestamp", "")):
        yield from ((session, entry) for entry in entries)


def read_lines(path: Path) -> list[Entry]:
    """The finished lines of a file."""
    lines = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines if line.strip()]


def role(entry: Entry) -> str | None:
    """Whose message it is, None where it is none."""
    return entry["message"].get("role") if entry["type"] == "message" else None


def is_injected(message: Entry) -> bool:
    """Whether the gateway wrote it in the model's place."""
    return message.get("model") == "gateway-injected" or message.get("stopReason") == "injected"


def is_answer(entry: Entry) -> bool:
    """Whether a model wrote it, or failed to."""
    return role(entry) == "assistant" and not is_injected(entry["message"])


def usage_of(entry: Entry) -> dict[str, int]:
    """The token buckets of an entry."""
    usage = (entry.get("message") or {}).get("usage") or {}
    return {ours: usage.get(theirs) or 0 for theirs, ours in BUCKETS.items()}


def count_answer(entry: Entry, sums: Counter[str], tools: set[str]) -> None:
    """Adds one answer: its tokens and money, and the tools it asks for."""
    usage = usage_of(entry)
    if sum(usage.values()):
        dollars = (entry["message"]["usage"].get("cost") or {}).get("total") or 0
        sums["calls"] += 1
        sums.update(usage)
        sums["cost_micro"] += round(dollars * 1e6)
        sums["unpriced_calls"] += not dollars
    blocks = entry["message"].get("content")
    for block in blocks if isinstance(blocks, list) else []:
        if block.get("type") == "toolCall":
            tools.add(block["id"])


def count_failures(session: Session, sums: Counter[str]) -> None:
    """Adds the session's failed attempts and what followed each: from its trajectory, else from its entries."""
    if session.attempts:
        for attempts in session.attempts.values():
            count_failed_attempts(attempts, sums)
    else:
        count_failed_entries(session.entries, sums)


def count_failed_attempts(attempts: list[Entry], sums: Counter[str]) -> None:
    """The attempts of one run."""
    for position, attempt in enumerate(attempts):
        if attempt["data"].get("stopReason") == "error":
            following = attempts[position + 1 : position + 2]
            sums["errors"] += 1
            sums[resolution(attempt, following[0] if following else None, "modelId")] += 1


def count_failed_entries(entries: list[Entry], sums: Counter[str]) -> None:
    """The error lines of one transcript; a turn goes on when it is put to a model again in the same words."""
    failed: Entry | None = None
    asked = ""
    for entry in entries:
        if role(entry) == "user":
            text = text_of(entry["message"])
            if failed is not None and text != asked and not text.startswith(CONTINUED):
                sums["failed_turns"] += 1
                failed = None
            asked = asked if text.startswith(CONTINUED) else text
        elif is_answer(entry):
            if failed is not None:
                sums[resolution(failed, entry["message"], "model")] += 1
                failed = None
            if entry["message"].get("stopReason") == "error":
                sums["errors"] += 1
                failed = entry["message"]
    sums["failed_turns"] += failed is not None


def resolution(failed: Entry, following: Entry | None, model: str) -> str:
    """Which counter the failed attempt belongs to by what came next."""
    if following is None:
        return "failed_turns"
    same = (failed["provider"], failed[model]) == (following["provider"], following[model])
    return "retries" if same else "fallbacks"


def text_of(message: Entry) -> str:
    """A message's words."""
    content = message.get("content")
    blocks = content if isinstance(content, list) else [{"text": content}]
    return " ".join(block.get("text") or "" for block in blocks)


def count_aborts(sessions: dict[str, Session], audited: list[tuple[Any, ...]]) -> int:
    """Distinct runs that were cut off; where no run is named, the larger of the two ways a transcript says so."""
    runs = {run for action, status, _, run in audited if (action, status) == ("agent.run.finished", "cancelled")}
    unnamed = 0
    for session in sessions.values():
        injected = [entry["message"] for entry in session.entries if role(entry) == "assistant"]
        notes = [message["openclawAbort"] for message in injected if message.get("openclawAbort")]
        if session.attempts or audited:
            runs |= {note["runId"] for note in notes if note.get("runId")}
            runs |= {run for run, tries in session.attempts.items() if any(e["data"].get("aborted") for e in tries)}
        else:
            aborted = sum(is_answer(e) and e["message"].get("stopReason") == "aborted" for e in session.entries)
            unnamed += max(aborted, len(notes))
    return len(runs) + unnamed


if __name__ == "__main__":
    print(json.dumps(recount(Path(sys.argv[1])), indent=1))
