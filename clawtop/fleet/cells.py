"""Whose it was: agents with their sessions' states, cells, and the strands that make up a cell."""

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from clawtop.fleet.ledger import fingerprint
from clawtop.fleet.series import Series
from clawtop.model.commands import Hold
from clawtop.model.events import Price, SessionState, State
from clawtop.model.keys import Key

NEVER = -1
"""Before any moment, an unknown one (0) included."""


class CellKey(NamedTuple):
    """The smallest thing that is counted apart."""

    host: str
    agent: str
    project: str | None
    user: str | None
    owner: str | None
    environment: str | None
    task: str | None
    cron: str | None
    provider: str
    model: str

    @property
    def full_model(self) -> str | None:
        """`provider/model`, the one that is known of both, or None."""
        return "/".join(filter(None, (self.provider, self.model))) or None

    @property
    def as_key(self) -> Key:
        """Who this cell's spend belongs to, as far as the cell tells."""
        return Key(
            self.host,
            self.agent,
            project=self.project,
            user=self.user,
            owner=self.owner,
            environment=self.environment,
            task=self.task,
            cron=self.cron,
        )


class Agent:
    """One agent: what its sessions do, what its sources cannot see, and our hold on it.

    `detail` is the last error's (at, text); `running` its running sessions (None: the agent as a whole); `strands`
    are all that it has.
    """

    __slots__ = ("_finished", "blind", "detail", "hold", "host", "name", "running", "states", "strands")

    def __init__(self, host: str, name: str) -> None:
        self.host = host
        self.name = name
        self.states: dict[str | None, SessionState] = {}
        self.running: dict[str | None, SessionState] = {}
        self.detail: tuple[int, str] | None = None
        self.blind: frozenset[str] = frozenset()
        self.hold: Hold | None = None
        self.strands: dict[Strand, None] = {}
        self._finished: State | None = None

    def note(self, event: SessionState) -> None:
        """Take a session's state, unless a later one is known."""
        session = event.key.session
        if event.detail is not None:
            self.detail = max(self.detail or (NEVER, ""), (event.at, event.detail))
        known = self.states.get(session)
        if known is not None and known.at > event.at:
            return
        self.states[session] = event
        self._finished = None
        if event.state is State.RUNNING:
            self.running[session] = event
        else:
            self.running.pop(session, None)

    @property
    def finished(self) -> State:
        """What the most recent session that does not run left behind."""
        if self._finished is None:
            ended = [each for each in self.states.values() if each.state in (State.IDLE, State.ERROR)]
            latest = max(ended, key=lambda each: each.at, default=None)
            self._finished = State.UNKNOWN if latest is None else latest.state
        return self._finished

    def forget_states(self, keep: int) -> None:
        """Keep only the `keep` most recent of the states that are not running."""
        ended = sorted(self.states.keys() - self.running.keys(), key=lambda session: self.states[session].at)
        for session in ended[: max(0, len(ended) - keep)]:
            del self.states[session]


class Session:
    """One session of one agent: its name for people, and the context window its calls last had."""

    __slots__ = ("agent", "key", "mark", "name", "window")

    def __init__(self, agent: Agent, key: str) -> None:
        self.agent = agent
        self.key = key
        self.name: str | None = None
        self.mark = fingerprint(agent.host, agent.name, key)
        self.window: tuple[int, int] = (NEVER, 0)

    def call_it(self, name: str) -> None:
        """A session reached under several keys goes by the shortest."""
        if self.name is None or (len(name), name) < (len(self.name), self.name):
            self.name = name


Moment = tuple[int, int]
"""When an attempt was, and the hash of its id, which makes the latest the same one in whatever order they arrive."""
NO_MOMENT: Moment = (NEVER, 0)


class Strand:
    """What one run of one session spent in one cell: the unit of storage.

    `called` and `tried` are when it last had a call and an attempt (Unix ms, 0 unknown, NEVER); `latest` is
    its latest attempt, `spoke` its latest call, of which `context` says how many tokens stood before the model
    and how many would have fitted (None: not logged).
    """

    __slots__ = (
        "called",
        "cell",
        "context",
        "first",
        "into",
        "last",
        "latest",
        "past",
        "run",
        "run_mark",
        "series",
        "session",
        "spoke",
        "tried",
    )

    def __init__(self, cell: "Cell", session: Session | None, run: str | None) -> None:
        self.cell = cell
        self.session = session
        self.run = run
        agent = cell.agent
        self.run_mark = fingerprint(agent.host, agent.name, run) if run else None
        self.series = Series()
        self.first = 0
        self.last = 0
        self.called = NEVER
        self.tried = NEVER
        self.latest = NO_MOMENT
        self.spoke = NO_MOMENT
        self.context: tuple[int, int | None] = (0, None)
        self.past: Past | None = None
        self.into: Strand | None = None

    def touch(self, at: int) -> None:
        """Note that something happened at that moment."""
        self.last = max(self.last, at)
        if at and (not self.first or at < self.first):
            self.first = at

    @property
    def sessions(self) -> Iterator[tuple[int, int]]:
        """Its sessions with a call, as (mark, last call)."""
        if self.session is not None and self.called != NEVER:
            yield self.session.mark, self.called
        if self.past is not None:
            yield from self.past.sessions

    @property
    def runs(self) -> Iterator[tuple[int, int]]:
        """Its runs with an attempt, as (mark, last attempt)."""
        if self.run_mark is not None and self.tried != NEVER:
            yield self.run_mark, self.tried
        if self.past is not None:
            yield from self.past.runs

    def absorb(self, other: "Strand") -> None:
        """Take all that another strand of the same agent has; its session and run stay countable."""
        self.series.absorb(other.series)
        self.touch(other.first)
        self.touch(other.last)
        self.latest = max(self.latest, other.latest)
        if other.spoke > self.spoke:
            self.spoke, self.context = other.spoke, other.context
        mine = self.session.mark if self.session else None
        past = self.past = self.past or Past()
        for mark, at in other.sessions:
            if mark == mine:
                self.called = max(self.called, at)
            else:
                past.add_session(mark, at)
        for mark, at in other.runs:
            past.add_run(mark, at)
        other.into = self


class Past:
    """Sessions and runs that have no strand of their own any more, in 16 bytes each."""

    __slots__ = ("_runs", "_sessions")

    def __init__(self) -> None:
        self._sessions = (array("Q"), array("q"))
        self._runs = (array("Q"), array("q"))

    def add_session(self, mark: int, at: int) -> None:
        """Remember a session with a call at that moment; the same session may come again."""
        _append(self._sessions, mark, at)

    def add_run(self, mark: int, at: int) -> None:
        """Remember a run with an attempt at that moment."""
        _append(self._runs, mark, at)

    @property
    def sessions(self) -> Iterator[tuple[int, int]]:
        """(mark, last call)."""
        return zip(*self._sessions, strict=True)

    @property
    def runs(self) -> Iterator[tuple[int, int]]:
        """(mark, last attempt)."""
        return zip(*self._runs, strict=True)


def _append(columns: "tuple[array[int], array[int]]", mark: int, at: int) -> None:
    columns[0].append(mark)
    columns[1].append(at)


class Cell:
    """What has one CellKey, what its host's config says a million tokens cost, and whether some of it may move away."""

    __slots__ = ("agent", "key", "price", "provisional")

    def __init__(self, key: CellKey, agent: Agent, price: Price | None) -> None:
        self.key = key
        self.agent = agent
        self.price = price
        self.provisional = False
