"""What is asked of agents (pause, abort, resume), what that would touch, and what became of it. Pure data.

Times are Unix milliseconds, durations milliseconds.
"""

import shlex
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

_MOST_NAMES = 5


class Target(NamedTuple):
    """An agent of a host: what a command is aimed at."""

    host: str
    agent: str


@dataclass(frozen=True, slots=True)
class About:
    """What is known of an agent beside its name.

    `project` and `user` are those with most spend, `session` and `run` its latest, `sources` the URIs of those that
    told of it.
    """

    project: str | None = None
    user: str | None = None
    session: str | None = None
    run: str | None = None
    sources: tuple[str, ...] = ()


class HoldState(StrEnum):
    """What is known of a hold.

    `requested`: written down, or found on disk, and not verified; `stopping`: being carried out; `paused`: verified;
    `failed`: it does not hold, or not by all that was asked for; `unsupported`: there is no way to hold this agent.
    """

    REQUESTED = "requested"
    STOPPING = "stopping"
    PAUSED = "paused"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Hold:
    """The hold on an agent: since when, by whom (`user@host`), why, and how it stands.

    `milliseconds` is what the way from the request to its verification took, None before that. `detail` says what
    a person should know beside the state: why it failed, how often the agent had to be stopped again.
    """

    target: Target
    state: HoldState
    since: int
    by: str
    reason: str | None = None
    detail: str = ""
    milliseconds: int | None = None
    source: str | None = None

    @property
    def undoing(self) -> str:
        """The command that lifts it, as a shell takes it; `source` has to be named there, where it is known."""
        target = self.target
        name = target.agent if target.host == "local" else f"{target.agent}@{target.host}"
        return shlex.join(["clawtop", "resume", name, *(("-s", self.source) if self.source else ())])


class WorkKind(StrEnum):
    """What runs: a turn, a subagent's, a cron job's, a background run without a session, or a shell command."""

    TURN = "turn"
    SUBAGENT = "subagent"
    CRON = "cron"
    BACKGROUND = "background"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Work:
    """Something of a target that runs now. `agent` is the one it runs under, `parent` the session that asked for it."""

    kind: WorkKind
    agent: str
    session_key: str | None = None
    run: str | None = None
    model: str | None = None
    tool: str | None = None
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A process of this machine that runs a target, and the names of all that it has started.

    Names are programs and scripts, never arguments, which may hold secrets. `started` is Unix ms; `stopped` says how
    many of all these somebody has stopped already.
    """

    pid: int
    command: str
    started: int
    children: tuple[str, ...] = ()
    stopped: int = 0

    @property
    def following(self) -> str:
        """What it has started, in words: how many, and the names that most of them have."""
        names = Counter(self.children).most_common()
        said = [name if count == 1 else f"{count} {name}" for name, count in names[:_MOST_NAMES]]
        said += ["others"] if len(names) > _MOST_NAMES else []
        many = f"{len(self.children)} that it has started" if self.children else "it has started none"
        return f"{many}: {', '.join(said)}" if said else many


@dataclass(frozen=True, slots=True)
class CronJob:
    """A cron job that is on. `model` is its own one, None where it takes the agent's."""

    id: str
    name: str
    schedule: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class OwnModel:
    """A session that was given a model of its own, `provider/model`."""

    session_key: str
    model: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that a pause does not cover, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Escalation:
    """Something harsher that stops a run where an abort does not, and what it destroys. Never done unasked."""

    call: str
    stops: str
    destroys: str


class Means(StrEnum):
    """By which way a target is reached."""

    GATEWAY = "gateway"
    HOOK = "hook"
    PROCESS = "process"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pause of a target would do, as its question shows it before anything is done.

    `config_hold` says whether the gateway's config will be changed. `problem` says why nothing can be known or done;
    the other fields are empty then, but for the processes that can be ended and not paused. `held` is the hold that
    stands already.
    """

    target: Target
    means: Means
    running: tuple[Work, ...] = ()
    cron_jobs: tuple[CronJob, ...] = ()
    own_models: tuple[OwnModel, ...] = ()
    config_hold: bool = False
    not_covered: tuple[Gap, ...] = ()
    warnings: tuple[str, ...] = ()
    escalations: tuple[Escalation, ...] = ()
    problem: str | None = None
    held: Hold | None = None
    processes: tuple[RunningProcess, ...] = ()

    @property
    def pauses(self) -> bool:
        """Whether a pause has a way to it, as far as is known."""
        return self.means is not Means.NONE and not (self.means is Means.PROCESS and self.problem is not None)


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop what runs and let nothing start. `by` names a rule that asks in a person's stead."""

    targets: tuple[Target, ...]
    reason: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Undo a hold. What somebody changed meanwhile is left as it is and reported, and stays open.

    `force` puts back what stood there before the hold, `keep` lets the newer change stand and closes the hold.
    """

    targets: tuple[Target, ...]
    reason: str | None = None
    by: str | None = None
    force: bool = False
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Abort:
    """Stop what runs now; what comes next may start. `commands` also ends shell commands left in the background."""

    targets: tuple[Target, ...]
    reason: str | None = None
    by: str | None = None
    commands: bool = False


Command = Pause | Resume | Abort


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried: what, whether it was done, what was said about it, and how long it took."""

    what: str
    done: bool
    detail: str = ""
    milliseconds: int = 0


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something that somebody changed while the hold stood: what was there before the hold, and what is now."""

    what: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a command for one target.

    `settled` is how long it took until none of its runs was active for the first time, `verified_after` until all that
    was asked for was seen to hold; None where it was not. `detail` says in one line what a person should know.
    `hold` is how the hold stands now; where it is None, one that stood before is undone with `lifted`, by this command
    or by somebody else, and stands as it did without.
    """

    target: Target
    verified: bool
    detail: str
    hold: Hold | None = None
    steps: tuple[Step, ...] = ()
    settled: int | None = None
    verified_after: int | None = None
    conflicts: tuple[Conflict, ...] = ()
    lifted: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command: one result a target, in the order of the targets.

    `audited` is off where this could not be written to the audit log, which the results say, too.
    """

    command: Command
    results: tuple[Result, ...]
    milliseconds: int
    audited: bool = True

    @property
    def verified(self) -> bool:
        """Whether everything that was asked for was seen to be so, for every target."""
        return bool(self.results) and all(result.verified for result in self.results)
