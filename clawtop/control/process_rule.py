"""`[[control.process]]` of the config: which processes run an agent, where nothing else says so."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from clawtop.control.record import Search
from clawtop.model.commands import About, Target
from clawtop.model.keys import HOST


@dataclass(frozen=True, slots=True)
class ProcessRule:
    """One `[[control.process]]`: globs that pick the agents, and which processes of this user run them.

    `pidfile` is the path of a file with a pid, `command` a glob on the whole command line, its words joined by spaces.
    """

    agent: str
    project: str = "*"
    host: str = HOST
    pidfile: str | None = None
    command: str | None = None

    def matches(self, target: Target, about: About) -> bool:
        """Whether this rule is for that agent."""
        return (
            fnmatchcase(target.agent, self.agent)
            and fnmatchcase(target.host, self.host)
            and fnmatchcase(about.project or "", self.project)
        )

    @property
    def search(self) -> Search:
        """By what a hold finds its processes again."""
        return Search(pidfile=self.pidfile, command=self.command)
