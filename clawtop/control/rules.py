"""Which rule of the config acts on an agent."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

from clawtop.model.commands import About, Target


class Rule(Protocol):
    """What picks agents: `agent` is a glob on the name, `matches` also looks at what else is known of the agent."""

    @property
    def agent(self) -> str:
        """The glob on the name."""

    def matches(self, target: Target, about: About) -> bool:
        """Whether this rule is for that agent, as far as it is known now."""


R = TypeVar("R", bound=Rule)


def rule_for(rules: Sequence[R], target: Target, about: About, made: Callable[[R], bool]) -> R | None:
    """The rule that `made` the hold on this target, else the first one that matches it; None where there is neither.

    What is known of an agent changes while it is held, such as the project that it spends most on.
    """
    makers = (rule for rule in rules if made(rule) and fnmatchcase(target.agent, rule.agent))
    return next(makers, None) or next((rule for rule in rules if rule.matches(target, about)), None)
