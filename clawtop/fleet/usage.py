"""From strands to what was counted and is known since history begins, without windows and rows."""

from collections.abc import Iterable, Mapping

from clawtop.fleet.cells import Agent, Cell, Strand
from clawtop.fleet.rows import Shares, Spend, basis_of, counters_of, tokens_of
from clawtop.fleet.tally import unpacked
from clawtop.model.commands import About, Target
from clawtop.model.events import State
from clawtop.model.selection import Scope
from clawtop.model.snapshot import Basis
from clawtop.model.usage import AgentUsage, CellUsage

_Name = tuple[str, str, str | None, str | None, str | None]


def usage_of(strands: Iterable[Strand], scope: Scope) -> tuple[tuple[CellUsage, ...], tuple[AgentUsage, ...]]:
    """The cells and the agents of a scope."""
    tallies: dict[Cell, int] = {}
    for strand in strands:
        tallies[strand.cell] = tallies.get(strand.cell, 0) + strand.series.total
    sums: dict[_Name, Spend] = {}
    agents: dict[Agent, None] = {}
    for cell, tally in tallies.items():
        key = cell.key
        if not scope.holds(key.as_key):
            continue
        agents[cell.agent] = None
        name = (key.host, key.agent, key.project, key.user, key.full_model)
        spend = sums.get(name)
        if spend is None:
            spend = sums[name] = Spend()
        spend.add(cell, tally)
    return tuple(_cell(name, spend) for name, spend in sums.items()), tuple(map(_agent, agents))


def abouts_of(strands: Iterable[Strand]) -> dict[Target, About]:
    """What is known of each agent."""
    tallies: dict[Agent, dict[Cell, int]] = {}
    latest: dict[Agent, Strand] = {}
    for strand in strands:
        agent = strand.cell.agent
        cells = tallies.setdefault(agent, {})
        cells[strand.cell] = cells.get(strand.cell, 0) + strand.series.total
        known = latest.setdefault(agent, strand)
        if (strand.session is not None, strand.latest) > (known.session is not None, known.latest):
            latest[agent] = strand
    return {Target(agent.host, agent.name): _about(cells, latest[agent]) for agent, cells in tallies.items()}


def _about(cells: Mapping[Cell, int], latest: Strand) -> About:
    projects, users, spend = Shares(), Shares(), Spend()
    for cell, tally in cells.items():
        cost, tokens = spend.add(cell, tally)
        projects.add(cell.key.project, cost, tokens)
        users.add(cell.key.user, cost, tokens)
    session = None if latest.session is None else latest.session.key
    return About(projects.largest, users.largest, session, latest.run)


def _cell(name: _Name, spend: Spend) -> CellUsage:
    counters = unpacked(spend.tally)
    return CellUsage(
        *name,
        tokens=tokens_of(counters),
        cost=spend.cost,
        priced=basis_of(counters, spend.priced_calls, spend.unpriced) is not Basis.UNKNOWN,
        counters=counters_of(counters, spend.unpriced),
    )


def _agent(agent: Agent) -> AgentUsage:
    return AgentUsage(agent.host, agent.name, State.RUNNING if agent.running else agent.finished, agent.blind)
