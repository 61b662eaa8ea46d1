"""Whose an OpenClaw session's events are."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase

from clawtop.formats.session_keys import read_session_key
from clawtop.model.keys import Key

_LONGEST_ANCESTRY = 50
_MOST_SESSIONS = 100_000


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What is known of a session; None is "not said". `created` is Unix milliseconds, `window` tokens.

    `source` is the session it was forked from: its older entries are copies of that one's.
    """

    session_key: str | None = None
    cwd: str | None = None
    project: str | None = None
    owner: str | None = None
    label: str | None = None
    parent: str | None = None
    source: str | None = None
    created: int | None = None
    window: int | None = None


@dataclass(frozen=True, slots=True)
class ProjectRule:
    """Sessions whose working directory, session key and agent match these globs belong to a project."""

    name: str
    path: str = "*"
    session: str = "*"
    agent: str = "*"

    def covers(self, cwd: str | None, session_key: str | None, agent: str) -> bool:
        """Whether the rule speaks of such a session."""
        return (
            fnmatchcase(cwd or "", self.path)
            and fnmatchcase(session_key or "", self.session)
            and fnmatchcase(agent, self.agent)
        )


class Attribution:
    """The sessions of one agent and whom their events belong to; those longest not spoken of are forgotten."""

    def __init__(
        self,
        host: str,
        agent: str,
        *,
        cron_name: Callable[[str], str | None],
        windows: Mapping[tuple[str, str], int],
        projects: Sequence[ProjectRule] = (),
    ) -> None:
        self.host = host
        self.agent = agent
        self._cron_name = cron_name
        self._windows = windows
        self._projects = projects
        self._facts: OrderedDict[str, SessionFacts] = OrderedDict()
        self._keys: OrderedDict[str, Key] = OrderedDict()

    def learn(self, session: str, facts: SessionFacts) -> None:
        """Add what `facts` says to what is known; None leaves it as it was."""
        known = self._facts.get(session)
        if known is None:
            self._facts[session] = facts
            self._keys.pop(session, None)
            if len(self._facts) > _MOST_SESSIONS:
                self._facts.popitem(last=False)
            return
        news = {f.name: value for f in fields(facts) if (value := getattr(facts, f.name)) is not None}
        updated = replace(known, **news)
        if updated != known:
            self._facts[session] = updated
            self._keys.pop(session, None)

    def facts(self, session: str) -> SessionFacts:
        """What is known of a session, nothing for an unknown one."""
        return self._facts.get(session, _NOTHING)

    def window(self, session: str, provider: str, model: str) -> int | None:
        """The context window in tokens: the config's for that model, else what the session itself says."""
        return self._windows.get((provider, model)) or self.facts(session).window

    def origin(self, session: str, began: int | None) -> str:
        """The session in which an entry was first written: a fork's older entries are its source's."""
        for _ in range(_LONGEST_ANCESTRY):
            facts = self.facts(session)
            if began is None or facts.created is None or facts.source is None or began >= facts.created:
                break
            session = facts.source
        return session

    def key(self, session: str, run: str | None = None) -> Key:
        """The full key of a session's events, or of one run in it."""
        key = self._keys.get(session)
        if key is None:
            key = self._keys[session] = self._build(session)
            if len(self._keys) > _MOST_SESSIONS:
                self._keys.popitem(last=False)
        self._keys.move_to_end(session)
        if session in self._facts:
            self._facts.move_to_end(session)
        return key if run is None else key._replace(run=run)

    def _build(self, session: str) -> Key:
        facts = self.facts(session)
        named = read_session_key(facts.session_key)
        return Key(
            host=self.host,
            agent=self.agent,
            session=session,
            project=facts.project or project_of(self._projects, facts.cwd, facts.session_key, self.agent),
            user=named.peer,
            owner=facts.owner,
            task=facts.label,
            cron=(self._cron_name(named.cron) or named.cron) if named.cron else None,
            channel=named.channel,
            parent=facts.parent,
            session_key=facts.session_key,
        )


_NOTHING = SessionFacts()


def project_of(rules: Sequence[ProjectRule], cwd: str | None, session_key: str | None, agent: str) -> str | None:
    """The project of the first rule that covers a session, else the last part of its working directory."""
    ruled = next((rule.name for rule in rules if rule.covers(cwd, session_key, agent)), None)
    return ruled or last_part(cwd)


def last_part(path: str | None) -> str | None:
    """The name of the folder that a path leads to, None where it has none."""
    return (path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or None) if path else None
