"""From strands to what was counted and is known since history begins, without windows and rows."""

from collections.abc import Iterable

from clawtop.fleet.cells import Agent, Cell, Strand
from clawtop.fleet.rows import Shares, Spend, basis_of, counters_of, tokens_of
from clawtop.fleet.tally import unpacked
from clawtop.model.commands import About
from clawtop.model.events import State
from clawtop.model.selection import Scope
from clawtop.model.snapshot import Basis
from clawtop.model.usage import AgentUsage, CellUsage

_Name = tuple[str, str, str | None, str | None, str | None]


def usage_of(strands: Iterable[Strand], scope: Scope) -> tuple[tuple[CellUsage, ...], tuple[AgentUsage, ...]]:
    """The cells and the agents of a scope."""
    sums: dict[_Name, Spend] = {}
    provisional: set[_Name] = set()
    agents: dict[Agent, None] = {}
    for cell, tally in _tallies(strands).items():
        key = cell.key
        if not scope.holds(key.as_key):
            continue
        agents[cell.agent] = None
        name = (key.host, key.agent, key.project, key.user, key.full_model)
        spend = sums.get(name)
        if spend is None:
            spend = sums[name] = Spend()
        spend.add(cell, tally)
        if cell.provisional:
            provisional.add(name)
    cells = (_cell(name, spend, provisional=name in provisional) for name, spend in sums.items())
    return tuple(cells), tuple(map(_agent, agents))


def about_of(agent: Agent) -> About:
    """What is known of an agent."""
    if not agent.strands:
        return About()
    projects, users, spend = Shares(), Shares(), Spend()
    for cell, tally in _tallies(agent.strands).items():
        cost, tokens = spend.add(cell, tally)
        projects.add(cell.key.project, cost, tokens)
        users.add(cell.key.user, cost, tokens)
    latest = max(agent.strands, key=lambda strand: (strand.session is not None, strand.latest))
    session = None if latest.session is None else latest.session.key
    return About(projects.largest, users.largest, session, latest.run)


def _tallies(strands: Iterable[Strand]) -> dict[Cell, int]:
    tallies: dict[Cell, int] = {}
    for strand in strands:
        tallies[strand.cell] = tallies.get(strand.cell, 0) + strand.series.total
    return tallies


def _cell(name: _Name, spend: Spend, *, provisional: bool) -> CellUsage:
    counters = unpacked(spend.tally)
    return CellUsage(
        *name,
        tokens=tokens_of(counters),
        cost=spend.cost,
        priced=basis_of(counters, spend.priced_calls, spend.unpriced) is not Basis.UNKNOWN,
        counters=counters_of(counters, spend.unpriced),
        provisional=provisional,
    )


def _agent(agent: Agent) -> AgentUsage:
    return AgentUsage(agent.host, agent.name, State.RUNNING if agent.running else agent.finished, agent.blind)
