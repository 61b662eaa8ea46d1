"""The gateway's own database: `state/openclaw.sqlite` (schema 18): audit log, claims, leases, tasks, cron jobs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from clawtop.formats.lines import json_value
from clawtop.formats.session_keys import read_session_key
from clawtop.model.errors import Unusable
from clawtop.model.events import Aborted, Event, Unmetered
from clawtop.model.keys import Key
from clawtop.sources.openclaw.sqlite import Database
from clawtop.sources.processes import is_alive, this_host

KNOWN_SCHEMA = 18
_AUDIT = ("sequence", "occurred_at", "action", "status", "agent_id", "session_key", "session_id", "run_id")
_INTERESTING = (
    """AND kind = 'agent_run' AND (status = 'cancelled' OR session_key LIKE '%:internal-session-effects:%')"""
)


@dataclass(slots=True)
class StateDatabase:
    """What the gateway knows of runs, beside the agents' own databases."""

    database: Database
    host: str
    cron_names: dict[str, str] = field(default_factory=dict)
    claims: dict[tuple[str, str], str | None] = field(default_factory=dict)
    """(agent, session) whose turn is claimed -> the tool that runs, where known."""
    alive: bool | None = None
    """Whether the gateway lives; None where its pid cannot be seen from this machine."""
    _audited: int = 0

    def look(self) -> None:
        """Read jobs, claims and the gateway's lease again."""
        for row in self.database.select("cron_jobs", ("job_id", "name")):
            if isinstance(row[0], bytes) and isinstance(row[1], bytes):
                self.cron_names[row[0].decode(errors="replace")] = row[1].decode(errors="replace")[:200]
        tools = self._tools()
        placed = self.database.select(
            "worker_session_placements",
            ("agent_id", "session_id", "turn_claim_run_id"),
            "WHERE turn_claim_run_id IS NOT NULL"
            if "turn_claim_run_id" in self.database.columns("worker_session_placements")
            else "WHERE 0",
        )
        self.claims = {(_text(row[0]), _text(row[1])): tools.get(_text(row[2])) for row in placed}

    def check_owner(self, now: int) -> None:
        """See whether the gateway that holds the lease lives: it renews it every 5 minutes, and may be killed."""
        # 2026.6.35 has this database, but notes its owner elsewhere.
        self.alive = False if self.database.columns("worker_session_placements") else None
        for row in self.database.select("state_leases", ("scope", "expires_at", "payload_json")):
            if _text(row[0]) == "gateway-owner":
                self.alive = _owner_alive(row[2], expires=row[1] if isinstance(row[1], int) else 0, now=now)

    def fresh(self, who: Mapping[str, Callable[[str, str | None], Key]]) -> list[Event]:
        """Aborted runs and unmetered ones since the last call. `who` gives each agent's keys."""
        events: list[Event] = []
        self.database.need("audit_events", "sequence", "kind", "status", "session_key")
        rows = self.database.select(
            "audit_events", _AUDIT, f"WHERE sequence > ? {_INTERESTING} ORDER BY sequence", (self._audited,)
        )
        for row in rows:
            sequence, at = row[0], row[1]
            if not isinstance(sequence, int) or not isinstance(at, int):
                continue
            self._audited = max(self._audited, sequence)
            agent, session_key, session, run = (_text(value) for value in row[4:8])
            if read_session_key(session_key).internal:
                events.append(Unmetered(Key(self.host, agent), at, run))
            if _text(row[2]) == "agent.run.finished" and _text(row[3]) == "cancelled":
                key = who[agent](session, run) if agent in who else Key(self.host, agent, session, run)
                events.append(Aborted(key, at, run))
        return events

    def _tools(self) -> dict[str, str]:
        if "status" not in self.database.columns("task_runs"):
            return {}
        running = self.database.select("task_runs", ("run_id", "last_tool_name"), "WHERE status = 'running'")
        return {_text(run): _text(tool)[:80] for run, tool in running if tool is not None}


def _owner_alive(payload: object, *, expires: int, now: int) -> bool | None:
    try:
        owner = json_value(payload if isinstance(payload, bytes) else b"{}").get("owner", {})
        pid, host, ticks = owner.get("pid"), owner.get("host"), owner.get("startedAt")
    except (Unusable, AttributeError):
        return None
    if host != this_host():
        return None if expires > now else False
    return is_alive(pid, start_ticks=ticks)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
