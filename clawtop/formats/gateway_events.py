"""What a gateway pushes and answers -> events. Observed on 2026.6.35 and 2026.9.6 (protocol 4).

Beside the same gateway's home (`companion`) it tells what the home tells a moment later: states, and calls under
the very identity of their rows. Alone it tells all that a gateway can know.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from clawtop.formats.gateway_messages import identity_of, read_message, run_of
from clawtop.formats.gateway_runs import GatewayRuns
from clawtop.formats.gateway_sessions import GatewayRoster, remember
from clawtop.formats.quantities import moment, text
from clawtop.formats.session_keys import read_session_key
from clawtop.formats.trajectory import HELD
from clawtop.model.errors import Unusable
from clawtop.model.events import (
    Aborted,
    Attempt,
    Call,
    Compaction,
    Event,
    Resolved,
    SessionState,
    State,
    ToolCall,
    ToolError,
    Unmetered,
)
from clawtop.model.keys import Key

Table = Mapping[str, Any]


class GatewayEvents:
    """One gateway as it tells of itself. Its methods take parsed payloads; what counts is returned.

    `skipped` counts messages that could not be used, by the reason; `unknown` says that somebody unheard of was
    named, so that the roster should be fetched again.
    """

    def __init__(self, host: str, *, companion: bool) -> None:
        self.roster = GatewayRoster(host)
        self.runs = GatewayRuns(self.roster)
        self.skipped: dict[str, int] = {}
        self.unknown = False
        self._companion = companion
        self._readers: Mapping[str, Callable[[Table, int], list[Event]]] = {
            "agent": self._running,
            "chat": self.runs.hushed,
            "session.tool": self._used_tool,
            "session.message": self._message,
            "sessions.changed": self._changed,
            "session.operation": self._operation,
            "cron": self._scheduled,
        }
        self._introduced: set[str] = set()
        self._asked: OrderedDict[tuple[str, str | None], None] = OrderedDict()

    def learn_agents(self, payload: Table) -> list[Event]:
        """Take in agents.list: every agent is there, whatever it has spent."""
        self.roster.learn_agents(payload)
        return self.introduce()

    def introduce(self) -> list[Event]:
        """An idle state for each agent that was not spoken of before."""
        new = self.roster.agents.keys() - self._introduced
        self._introduced |= new
        return [SessionState(Key(self.roster.host, agent), 0, State.IDLE) for agent in sorted(new)]

    def learn_sessions(self, rows: object, now: int) -> list[Event]:
        """Take in the rows of sessions.list: whose they are, and what they do."""
        told = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        # a fork's row may come before its parent's
        for row in told:
            self.roster.learn_session(row)
        events = [event for row in told for event in self._row(row, now)]
        return [*self.introduce(), *events]

    def read(self, name: str, payload: Table, now: int) -> list[Event]:
        """The events of one pushed event."""
        reader = self._readers.get(name)
        return reader(payload, now) if reader is not None else []

    def history(self, session_key: str, pages: Sequence[Table], now: int) -> list[Event]:
        """The events of a session's answers of chat.history, the page with the latest messages first."""
        who = self.roster.who({"sessionKey": session_key, "sessionId": pages[0].get("sessionId")})
        if who is None or who[1] is None:
            return []
        agent, session = who[0], who[1]
        self.roster.agent(agent).begin(session)
        events: list[Event] = []
        for page in reversed(pages):
            for message in page.get("messages") or ():
                if isinstance(message, dict):
                    events += self._entry(agent, session, message, now)
                    events += self._failed_tool(agent, session, message, now)
        return events + self.settle(agent, session)

    def settle(self, agent: str, session: str) -> list[Event]:
        """What the end of all activity of a session says of its last failed attempt."""
        if self._companion or self.runs.of_session(agent, session):
            return []
        settled = self.roster.agent(agent).transcript(session).settle()
        # a run that told of its attempts itself has told of the last one, too
        return [event for event in settled if not self.runs.knows(_run(event)) and not _held(event)]

    def audit(self, events: object) -> list[Event]:
        """The events of audit.activity.list: background runs whose spend no transcript shows, and cut off ones."""
        found: list[Event] = []
        for told in events if isinstance(events, list) else ():
            if not isinstance(told, dict) or told.get("kind") != "agent_run":
                continue
            agent, run = text(told.get("agentId"), 100), text(told.get("runId"))
            at, session_key = moment(told.get("occurredAt")), text(told.get("sessionKey"))
            if agent is None or run is None or at is None:
                continue
            if read_session_key(session_key).internal:
                found.append(Unmetered(Key(self.roster.host, agent), at, run))
            elif told.get("action") == "agent.run.finished" and told.get("status") == "cancelled":
                found.append(Aborted(self.roster.key(agent, text(told.get("sessionId")), run), at, run))
        return found

    def going(self, now: int) -> list[Event]:
        """The sessions that run at this moment, once more: a home may think that a run is over which only waits."""
        return self.runs.going(now)

    def lost(self, now: int) -> list[Event]:
        """The connection is gone."""
        return self.runs.lost(now)

    def _running(self, payload: Table, now: int) -> list[Event]:
        self._meet(payload)
        events = [event for event in self.runs.read(payload, now) if self._tells(event)]
        # 2026.6 names nothing but the run in some of its last words
        run = self.runs.find(payload)
        if run is not None and run.over and run.session is not None:
            events += self.settle(run.agent, run.session)
        return [*self.introduce(), *events]

    def _tells(self, event: Event) -> bool:
        """Beside a home only states and calls are told: the home's rows have other identities for all else."""
        return not self._companion or isinstance(event, SessionState)

    def _told_row(self, payload: Table, now: int) -> list[Event]:
        row = payload.get("session")
        if not isinstance(row, dict):
            # 2026.6 has the row's fields in the payload itself
            return self._row(payload, now)
        return self._row({**row, "lastRunError": payload.get("lastRunError")}, now)

    def _row(self, row: Table, now: int) -> list[Event]:
        self._meet(row)
        who = self.roster.learn_session(row)
        if who is None:
            return []
        return [*self.introduce(), *(event for event in self.runs.learn_row(row, who, now) if self._tells(event))]

    def _meet(self, payload: Table) -> None:
        """Have the roster fetched again where an agent or a session is heard of for the first time."""
        key = text(payload.get("sessionKey")) or text(payload.get("key"))
        agent = text(payload.get("agentId"), 100) or read_session_key(key).agent
        session = text(payload.get("sessionId")) or self.roster.session_of(key)
        if agent is None or (session is not None and agent in self.roster.agents):
            return
        # some sessions are in no list, and asking again would not help
        if (agent, key) not in self._asked:
            self.unknown = True
        remember(self._asked, (agent, key), None)

    def _message(self, payload: Table, now: int) -> list[Event]:
        told = self._told_row(payload, now)
        self._meet(payload)
        who = self.roster.who(payload)
        if who is None or who[1] is None:
            return told
        return [*told, *self._entry(who[0], who[1], payload, now)]

    def _entry(self, agent: str, session: str, payload: Table, now: int) -> list[Event]:
        read = read_message(payload, now)
        if read is None:
            return []
        raw, written = read
        run, identity = run_of(payload), identity_of(payload)
        if identity is not None and not self.roster.agent(agent).is_new(session, identity):
            return []
        try:
            events = self.roster.agent(agent).transcript(session).read(raw, written)
        except Unusable as reason:
            self.skipped[str(reason)] = self.skipped.get(str(reason), 0) + 1
            return []
        return [counted for event in events for counted in self._counted(event, agent, session, run)]

    def _counted(self, event: Event, agent: str, session: str, run: str | None) -> Iterator[Event]:
        """What of an entry's events this source tells, under the identities that it has live and from history."""
        if self._companion:
            if isinstance(event, ToolCall) or (isinstance(event, Call) and event.error is None and event.tokens.total):
                yield event
            return
        if isinstance(event, ToolError) or _held(event):
            return
        if isinstance(event, Call) and (event.tokens.total or event.error is not None):
            going = [each.id for each in self.runs.of_session(agent, session)]
            name = run or (going[0] if len(going) == 1 else None)
            if name is not None:
                yield Attempt(self.roster.key(agent, session, name), event.at, name, event.provider, event.model)
        yield event

    def _failed_tool(self, agent: str, session: str, payload: Table, now: int) -> list[Event]:
        """A tool's failed result, as chat.history has it; live it is told by session.tool, without an entry's id."""
        call = text(payload.get("toolCallId"))
        if self._companion or payload.get("role") != "toolResult" or payload.get("isError") is not True or not call:
            return []
        began = moment(payload.get("timestamp"))
        origin = self.roster.agent(agent).who.origin(session, began)
        key = self.roster.key(agent, origin, run_of(payload))
        return [ToolError(key, began or now, f"{origin}/{call}", text(payload.get("toolName"), 80) or "?")]

    def _used_tool(self, payload: Table, now: int) -> list[Event]:
        return [*self._running(payload, now), *self._tool_error(payload, now)]

    def _scheduled(self, payload: Table, _: int) -> list[Event]:
        self.roster.learn_jobs([payload.get("job")])
        return []

    def _tool_error(self, payload: Table, now: int) -> list[Event]:
        who, data = self.roster.who(payload), payload.get("data")
        if self._companion or who is None or who[1] is None or not isinstance(data, dict):
            return []
        call = text(data.get("toolCallId"))
        if data.get("phase") != "result" or data.get("isError") is not True or call is None:
            return []
        key = self.roster.key(who[0], who[1], text(payload.get("runId")))
        at = moment(payload.get("ts")) or now
        return [ToolError(key, at, f"{who[1]}/{call}", text(data.get("name"), 80) or "?")]

    def _changed(self, payload: Table, now: int) -> list[Event]:
        told = self._told_row(payload, now)
        who = self.roster.who(payload)
        # a session that is begun anew; beside a home its row tells that
        if self._companion or payload.get("reason") != "reset" or who is None or who[1] is None:
            return told
        at = moment(payload.get("ts")) or now
        return [*told, Compaction(self.roster.key(*who), at, f"reset {who[1]}", reset=True)]

    def _operation(self, payload: Table, now: int) -> list[Event]:
        who, number = self.roster.who(payload), text(payload.get("operationId"))
        ended = payload.get("phase") == "end" and payload.get("completed") is True
        if self._companion or payload.get("operation") != "compact" or not ended or who is None or number is None:
            return []
        return [Compaction(self.roster.key(*who), moment(payload.get("ts")) or now, number)]


def _held(event: Event) -> bool:
    """Whether it is a pause that refused this attempt: that is no error of the agent, and its model is none."""
    if not isinstance(event, Call | Resolved):
        return False
    return event.provider == HELD or (isinstance(event, Call) and f"{HELD}/" in (event.error or ""))


def _run(event: Event) -> str | None:
    return event.key.run if isinstance(event, Call | Resolved) else None
