"""All that is known, by whose it is: agents, sessions, cells and strands, kept within limits."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from clawtop.fleet.cells import Agent, Cell, CellKey, Session, Strand
from clawtop.fleet.prices import PriceBook
from clawtop.model.keys import Key
from clawtop.model.selection import Scope
from clawtop.model.snapshot import OF_ONE_AGENT


class Limits(NamedTuple):
    """How many of each are kept apart. Beyond it what is idle longest is added to what it is part of."""

    cells: int = 20_000
    sessions: int = 20_000
    runs: int = 5_000


_KEEP_OF_LIMIT = 0.9
"""Folding goes a little below the limit, so that it is seldom needed."""

_Path = tuple[str | None, ...]
_RUN = (Key._fields.index("run"),)
_SESSION = (Key._fields.index("session"), *_RUN)
_ATTRIBUTED = (
    tuple(map(Key._fields.index, ("task", "cron"))),
    tuple(map(Key._fields.index, ("project", "user", "owner", "environment", "task", "cron"))),
)
"""What cells are told apart by that is folded first, and last."""


class Store:
    """The strands of the whole fleet and the ways to them."""

    def __init__(self, prices: PriceBook, limits: Limits) -> None:
        self._prices = prices
        self._limits = limits
        self._strands: dict[_Path, Strand] = {}
        self._cells: dict[CellKey, Cell] = {}
        self._agents: dict[tuple[str, str], Agent] = {}
        self._sessions: dict[tuple[str, str, str], Session] = {}
        self._runs = 0

    def __iter__(self) -> Iterator[Strand]:
        return iter(self._strands.values())

    def within(self, scope: Scope) -> Iterable[Strand]:
        """The strands of the agents that a scope names, and of each all: also those that are not in the scope."""
        if scope.row is not None and scope.row[0] in OF_ONE_AGENT:
            one = self.known(*scope.row[1][:2])
            return [] if one is None else list(one.strands)
        if not scope.agents:
            return iter(self)
        named = Scope(agents=scope.agents)
        agents = [agent for agent in self._agents.values() if named.holds(Key(agent.host, agent.name))]
        return [strand for agent in agents for strand in agent.strands]

    def known(self, host: str, name: str) -> Agent | None:
        """An agent, if it was ever seen."""
        return self._agents.get((host, name))

    def agent(self, key: Key) -> Agent:
        """The agent of a key."""
        name = (key.host, key.agent)
        agent = self._agents.get(name)
        if agent is None:
            agent = self._agents[name] = Agent(*name)
        return agent

    def strand(self, key: Key, provider: str = "", model: str = "") -> Strand:
        """The strand that a model's activity under a key belongs to."""
        path: _Path = (*key[:10], provider, model)
        strand = self._strands.get(path)
        if strand is None:
            strand = self._strands[path] = self._new(key, provider, model)
        if key.session_key is not None and strand.session is not None and strand.session.name != key.session_key:
            strand.session.call_it(key.session_key)
        return strand

    def standing(self, key: Key, provider: str, model: str, at: int, tally: int) -> Strand:
        """The strand in which that stands which a tally takes back, though what was there may have been folded.

        Where it stands nowhere, the strand of the key.
        """
        for without in ((), _RUN, _SESSION):
            for attributed in ((), *_ATTRIBUTED):
                strand = self._strands.get(_coarser((*key[:10], provider, model), (*without, *attributed)))
                if strand is not None and strand.series.has(at, tally):
                    return strand
        return self.strand(key, provider, model)

    def _new(self, key: Key, provider: str, model: str) -> Strand:
        cell = self._cell(
            CellKey(
                key.host,
                key.agent,
                key.project,
                key.user,
                key.owner,
                key.environment,
                key.task,
                key.cron,
                provider,
                model,
            )
        )
        if key.run:
            self._runs += 1
        strand = Strand(cell, self._session(key), key.run)
        cell.agent.strands[strand] = None
        return strand

    def _session(self, key: Key) -> Session | None:
        if key.session is None:
            return None
        name = (key.host, key.agent, key.session)
        session = self._sessions.get(name)
        if session is None:
            session = self._sessions[name] = Session(self.agent(key), key.session)
        return session

    def _cell(self, name: CellKey) -> Cell:
        cell = self._cells.get(name)
        if cell is None:
            price = self._prices.declared(name.host, name.agent, name.provider, name.model)
            cell = self._cells[name] = Cell(name, self.agent(name.as_key), price)
        return cell

    def reprice(self, host: str) -> None:
        """Look the prices of a host's cells up again."""
        for name, cell in self._cells.items():
            if name.host == host:
                cell.price = self._prices.declared(host, name.agent, name.provider, name.model)

    def roll(self, now: int) -> None:
        """Make buckets coarser that are too old for theirs; `now` in seconds."""
        for strand in self._strands.values():
            strand.series.roll(now)

    def fold_idle(self) -> bool:
        """Add what is idle longest to what it is part of where there is too much; False where there is not."""
        folded = False
        if self._runs > self._limits.runs:
            folded = self._fold(self._idle_runs(), _RUN)
            self._runs = sum(strand.run is not None for strand in self)
        if len(self._sessions) > self._limits.sessions:
            idle = self._idle_sessions()
            folded = self._fold(idle, _SESSION) or folded
            kept = {strand.session for strand in self}
            self._sessions = {name: session for name, session in self._sessions.items() if session in kept}
            for agent in self._agents.values():
                agent.forget_states(self._limits.sessions // max(1, len(self._agents)) + 1)
        for attributed in _ATTRIBUTED:
            while len(self._cells) > self._limits.cells and self._fold_cells(attributed):
                folded = True
        return folded

    def _idle_runs(self) -> set[Strand]:
        runs = [strand for strand in self if strand.run is not None]
        return _idlest(runs, lambda strand: (strand.cell.agent, strand.run), self._limits.runs)

    def _idle_sessions(self) -> set[Strand]:
        within = [strand for strand in self if strand.session is not None]
        idle = _idlest(within, lambda strand: strand.session, self._limits.sessions)
        return {each for each in idle if each.session is None or each.session.key not in each.cell.agent.running}

    def _fold_cells(self, attributed: tuple[int, ...]) -> bool:
        """Add the cells that are idle longest to those without these attributions; False where all have none."""
        able = [strand for path, strand in self._strands.items() if _coarser(path, attributed) != path]
        spare = self._limits.cells - (len(self._cells) - len({strand.cell for strand in able}))
        folded = self._fold(_idlest(able, lambda strand: strand.cell, max(0, spare)), attributed)
        kept = {strand.cell for strand in self}
        self._cells = {name: cell for name, cell in self._cells.items() if cell in kept}
        return folded

    def _fold(self, strands: set[Strand], without: tuple[int, ...]) -> bool:
        for path, strand in [each for each in self._strands.items() if each[1] in strands]:
            del self._strands[path], strand.cell.agent.strands[strand]
            *who, provider, model = _coarser(path, without)
            whole = self.strand(Key(*who), provider or "", model or "")  # type: ignore[arg-type]
            whole.absorb(strand)
        return bool(strands)


def _coarser(path: _Path, without: tuple[int, ...]) -> _Path:
    return tuple(None if place in without else value for place, value in enumerate(path))


def _idlest(strands: Iterable[Strand], name: Callable[[Strand], object], limit: int) -> set[Strand]:
    """All strands of the names that were idle longest, so many that fewer names than the limit are left."""
    named: dict[object, list[Strand]] = {}
    for strand in strands:
        named.setdefault(name(strand), []).append(strand)
    excess = len(named) - int(limit * _KEEP_OF_LIMIT)
    if len(named) <= limit:
        return set()
    oldest = sorted(named.values(), key=lambda group: max(strand.last for strand in group))
    return {strand for group in oldest[:excess] for strand in group}
