"""A gateway's own words about its agents, sessions, jobs and prices -> whose an event is.

Observed on 2026.6.35 and 2026.9.6: agents.list, sessions.list (the same rows stand in sessions.changed), cron.list,
config.get.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from clawtop.formats.attribution import Attribution, SessionFacts
from clawtop.formats.openclaw_config import read_config
from clawtop.formats.quantities import moment, text, tokens
from clawtop.formats.session_keys import read_session_key
from clawtop.formats.transcript import AgentTranscripts, Transcript
from clawtop.model.errors import Unusable
from clawtop.model.events import PriceList
from clawtop.model.keys import Key

Table = Mapping[str, Any]

_K = TypeVar("_K")
_V = TypeVar("_V")

_MOST_TRANSCRIPTS = 2000
_MOST_SESSIONS = 100_000
_MOST_REMEMBERED = 20_000
_RECENT = 200


class GatewayAgent:
    """One agent of a gateway, and the transcripts of its sessions as far as they were told."""

    def __init__(self, who: Attribution) -> None:
        self.who = who
        self.workspace: str | None = None
        self._transcripts = AgentTranscripts(who)
        self._streams: OrderedDict[str, Transcript] = OrderedDict()
        self._recent: dict[str, deque[str]] = {}

    def transcript(self, session: str) -> Transcript:
        """The stream of a session's messages; those of the longest silent sessions are forgotten."""
        stream = self._streams.get(session)
        if stream is None:
            stream = self.begin(session)
        self._streams.move_to_end(session)
        return stream

    def begin(self, session: str) -> Transcript:
        """The stream of a session whose messages are told from an earlier one on."""
        stream = self._streams[session] = Transcript(self._transcripts, session)
        self._recent[session] = deque(maxlen=_RECENT)
        if len(self._streams) > _MOST_TRANSCRIPTS:
            self._recent.pop(self._streams.popitem(last=False)[0])
        return stream

    def is_new(self, session: str, identity: str) -> bool:
        """Whether a message was not told a moment ago: what is pushed while a history is read stands in both."""
        self.transcript(session)
        recent = self._recent[session]
        if identity in recent:
            return False
        recent.append(identity)
        return True


class GatewayRoster:
    """The agents and sessions of one gateway."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.agents: dict[str, GatewayAgent] = {}
        self._sessions: OrderedDict[str, str] = OrderedDict()
        self._cron_names: dict[str, str] = {}
        self._windows: dict[tuple[str, str], int] = {}

    def agent(self, name: str) -> GatewayAgent:
        """What is known of an agent, which is new where nobody spoke of it so far."""
        agent = self.agents.get(name)
        if agent is None:
            who = Attribution(self.host, name, cron_name=self._cron_names.get, windows=self._windows)
            agent = self.agents[name] = GatewayAgent(who)
        return agent

    def learn_agents(self, payload: Table) -> None:
        """Take in agents.list: names and workspaces, which are where their sessions work."""
        for told in _tables(payload.get("agents")):
            name = text(told.get("id"), 100)
            if name is not None:
                self.agent(name).workspace = text(told.get("workspace"), 4096)

    def learn_jobs(self, jobs: object) -> None:
        """Take in the jobs of cron.list, or the one of a cron event."""
        for job in _tables(jobs):
            number, name = text(job.get("id")), text(job.get("name"), 200)
            if number is not None and name is not None:
                self._cron_names[number] = name

    def learn_config(self, payload: Table) -> PriceList:
        """Take in config.get: windows of models, and the prices, which are returned."""
        config = read_config(payload.get("config"))
        self._windows.update(config.windows)
        return PriceList(self.host, config.prices)

    def learn_session(self, row: Table) -> tuple[str, str] | None:
        """Take in a session's row: (its agent, its id), None for a row that names none."""
        key, session = text(row.get("key")) or text(row.get("sessionKey")), text(row.get("sessionId"))
        agent = text(row.get("agentId"), 100) or read_session_key(key).agent
        if session is None or agent is None:
            return None
        if key is not None:
            remember(self._sessions, key, session, _MOST_SESSIONS)
        self._learn(self.agent(agent), session, key, row)
        return agent, session

    def _learn(self, agent: GatewayAgent, session: str, key: str | None, row: Table) -> None:
        parent = text(row.get("parentSessionKey")) or text(row.get("spawnedBy"))
        owner = row.get("owner")
        try:
            window = tokens(row.get("contextTokens")) or None
        except Unusable:
            window = None
        facts = SessionFacts(
            session_key=key,
            cwd=agent.workspace,
            project=text(row.get("projectId")),
            owner=text(owner.get("id")) if isinstance(owner, dict) else None,
            label=text(row.get("label")),
            parent=parent,
            source=self._sessions.get(parent or "") if row.get("forkedFromParent") is True else None,
            created=moment(row.get("createdAt")),
            window=window,
        )
        agent.who.learn(session, facts)

    def session_of(self, key: str | None) -> str | None:
        """The id of the session that goes by this key now."""
        return self._sessions.get(key or "")

    def who(self, payload: Table) -> tuple[str, str | None] | None:
        """(agent, session id) that an event speaks of; the id is None where nobody told it yet."""
        key = text(payload.get("sessionKey"))
        agent = text(payload.get("agentId"), 100) or read_session_key(key).agent
        if agent is None:
            return None
        session = text(payload.get("sessionId")) or self._sessions.get(key or "")
        if session is not None and key is not None and self._sessions.get(key) != session:
            remember(self._sessions, key, session, _MOST_SESSIONS)
            facts = SessionFacts(session_key=key, cwd=self.agent(agent).workspace)
            self.agent(agent).who.learn(session, facts)
        return agent, session

    def key(self, agent: str, session: str | None, run: str | None = None) -> Key:
        """The key of what a run of a session does."""
        if session is None:
            return Key(self.host, agent, run=run)
        return self.agent(agent).who.key(session, run)


def remember(known: OrderedDict[_K, _V], key: _K, value: _V, most: int = _MOST_REMEMBERED) -> None:
    """Keep this as what came last, and of more than `most` forget what came first."""
    known[key] = value
    known.move_to_end(key)
    if len(known) > most:
        known.popitem(last=False)


def _tables(value: object) -> Iterable[Table]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()
