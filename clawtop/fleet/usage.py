"""From strands to what was counted since history begins, without windows and rows."""

from collections.abc import Iterable

from clawtop.fleet.cells import Agent, Cell, Strand
from clawtop.fleet.rows import Spend, basis_of, counters_of, tokens_of
from clawtop.fleet.tally import unpacked
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
