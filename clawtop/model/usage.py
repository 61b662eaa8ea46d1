"""What was counted since history begins, cell by cell: what other monitoring is handed."""

from dataclasses import dataclass

from clawtop.model.events import State, Tokens
from clawtop.model.snapshot import Counters, SourceStatus


@dataclass(frozen=True, slots=True)
class CellUsage:
    """What one agent counted for one project, user and model (`provider/model`); None is not known.

    `cost` is millionths of a micro-dollar, of the calls whose price is known; `priced` is off where no call has one.
    What is `provisional` may yet prove to be another's.
    """

    host: str
    agent: str
    project: str | None
    user: str | None
    model: str | None
    tokens: Tokens
    cost: int
    priced: bool
    counters: Counters
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class AgentUsage:
    """How one agent does, and the names of Row and Counters fields that its sources cannot see."""

    host: str
    agent: str
    state: State
    blind: frozenset[str]


@dataclass(frozen=True, slots=True)
class Usage:
    """All cells and agents of a scope at one moment (Unix ms).

    `folds` grows whenever the fleet, to stay within its limits, has added idle cells to those of the same agent and
    model without project and user: those counts moved, nobody spent anything.
    """

    at: int
    cells: tuple[CellUsage, ...]
    agents: tuple[AgentUsage, ...]
    sources: tuple[SourceStatus, ...] = ()
    folds: int = 0
