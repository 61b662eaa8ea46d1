"""The question before a command is carried out: whom it is about, what it touches, and what it leaves out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from clawtop.model.commands import Hold, Means, Plan, RunningProcess, Target, Work, WorkKind
from clawtop.model.snapshot import Row
from clawtop.tui.render.cells import burn
from clawtop.tui.render.digits import big
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import EMPTY, Line, Span, fit, wrap
from clawtop.tui.render.plain import printable
from clawtop.units import age, dollars

_LABEL = 14
_NAME = 40


class Act(StrEnum):
    """What is asked for."""

    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as far as its answer is known.

    `what` names the rows that were pointed at. `targets` is None while their agents are looked up, `plans` while
    nobody has said what would be touched; `problem` is why nobody can. `rows` say what the agents spend, `at` is
    Unix ms. `commands`: shell commands in the background are ended, too.
    """

    act: Act
    what: str
    at: int
    targets: tuple[Target, ...] | None = None
    plans: Mapping[Target, Plan] | None = None
    problem: str | None = None
    rows: Mapping[Target, Row] = field(default_factory=dict)
    holds: Mapping[Target, Hold] = field(default_factory=dict)
    whole_filter: bool = False
    commands: bool = False

    @property
    def can(self) -> bool:
        """Whether there is anything that could be done."""
        # what ends a process has to have named it before
        named = self.act is not Act.ABORT or self.plans is not None or self.problem is not None
        return named and bool(self.reached)

    @property
    def reached(self) -> tuple[Target, ...]:
        """The agents that can be reached, as far as is known."""
        plans = {} if self.plans is None or self.act is Act.RESUME else self.plans
        known = ((target, plans.get(target)) for target in self.targets or ())
        return tuple(target for target, plan in known if plan is None or self._reaches(plan))

    def _reaches(self, plan: Plan) -> bool:
        return plan.pauses if self.act is Act.PAUSE else plan.means is not Means.NONE

    @property
    def local(self) -> bool:
        """Whether all that can be reached are processes of this machine."""
        means = [plan.means for plan in (self.plans or {}).values() if plan.means is not Means.NONE]
        return bool(means) and all(each is Means.PROCESS for each in means)

    @property
    def background(self) -> int:
        """How many shell commands run in the background, as far as is known."""
        plans = () if self.plans is None else self.plans.values()
        return sum(work.kind is WorkKind.COMMAND for plan in plans for work in plan.running)


def name(target: Target, glyphs: Glyphs, width: int = _NAME) -> str:
    """An agent's name as it is printed."""
    return printable(target.agent or "(none)", width, ascii_only=glyphs.ascii_only)


def title(asked: Asked, width: int, glyphs: Glyphs) -> str:
    """The question itself in at most `width` cells."""
    if asked.targets is None or not asked.targets:
        who = printable(asked.what, ascii_only=glyphs.ascii_only)
    elif len(asked.targets) == 1:
        who = name(asked.targets[0], glyphs, width - 24)
    elif asked.whole_filter:
        who = f"all {len(asked.targets)} agents that pass the filter"
    else:
        who = f"{len(asked.targets)} agents"
    words = {
        Act.PAUSE: f"Pause {who}?",
        Act.RESUME: f"Let {who} go on?",
        Act.ABORT: f"End the processes of {who}?" if asked.local else f"Abort what runs now of {who}?",
    }[asked.act]
    return printable(words, width, ascii_only=glyphs.ascii_only)


def head(asked: Asked, width: int, glyphs: Glyphs, *, roomy: bool) -> tuple[Line, ...]:
    """The question, and the money it is about: in large figures where there is room for them."""
    out: list[Line] = [(Span(title(asked, width, glyphs), "headline"),)]
    air = (EMPTY,) if roomy else ()
    if asked.act is not Act.RESUME:
        out.extend((*air, *_rate(asked, glyphs, roomy=roomy)))
    return (*out, *air)


def _rate(asked: Asked, glyphs: Glyphs, *, roomy: bool) -> tuple[Line, ...]:
    counted = asked.reached or asked.targets or ()
    rows = [asked.rows[target] for target in counted if target in asked.rows]
    if not rows:
        return ((Span(f"their spend per hour is being summed up{glyphs.ellipsis}", "muted"),),)
    unknown = any(row.rate_unpriced for row in rows)
    known = sum(row.usd_per_hour for row in rows)
    number = "?" if unknown and known <= 0 else dollars(known)
    more = "+?" if unknown and known > 0 else ""
    words = "spent now" if asked.act is Act.ABORT else "stops" if asked.can else "cannot be stopped from here"
    figures = big(number) if roomy and not glyphs.ascii_only else None
    if figures is None:
        return ((Span(f" ${number}{more}/h ", "burn"), Span(f"  {words}", "value")),)
    sides = (" $ per hour", f" {words}", " + unknown" if more else "")
    return tuple(
        (Span(figure, "hot" if known > 0 else "muted"), Span(f"  {side}", "value"))
        for figure, side in zip(figures, sides, strict=True)
    )


def body(asked: Asked, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Everything else, to scroll through."""
    if asked.targets is None:
        return ((Span(f"looking for {printable(asked.what, width - 16, ascii_only=glyphs.ascii_only)}", "muted"),),)
    if not asked.targets:
        none = "none of its agents is held" if asked.act is Act.RESUME else "no agent of it was seen"
        return ((Span(none, "warn"),),)
    out: list[Line] = list(_promise(asked, width))
    if asked.problem is not None:
        out.extend(_wrapped("unknown", f"what it touches cannot be said: {asked.problem}", "bad", width, glyphs))
    for target in asked.targets:
        out.extend((EMPTY, *_agent(asked, target, width, glyphs)))
    return tuple(fit(line, width, glyphs.ellipsis) for line in out)


_PROMISES = {
    Act.PAUSE: "What runs is ended, and nothing starts until somebody lets it.",
    Act.RESUME: "Cron jobs, config and sessions' own models are put back as they stood, stopped processes go on. What"
    " somebody changed meanwhile is asked about first.",
    Act.ABORT: "Only what runs now ends. What comes next starts as ever; k pauses.",
}


_OF_PROCESSES = {
    Act.PAUSE: "Its processes stop where they stand, and stay so until somebody lets them go on.",
    Act.ABORT: "Its processes are asked to end and, after 5 s, killed. There is no way back; k pauses. What they have"
    " asked a model is still answered and billed.",
}


def _promise(asked: Asked, width: int) -> Iterable[Line]:
    if not asked.can and (asked.plans is not None or asked.problem is not None):
        yield (Span("Nothing can be done from here.", "bad"),)
        return
    promises = [] if asked.local else [_PROMISES[asked.act]]
    if any(plan.means is Means.PROCESS for plan in (asked.plans or {}).values()):
        promises.append(_OF_PROCESSES[asked.act])
    yield from ((Span(line, "plain"),) for promise in promises for line in wrap(promise, width))
    if len(asked.reached) < len(asked.targets or ()):
        yield (Span(f"Only {len(asked.reached)} of them can be reached.", "warn"),)
    if asked.plans is not None and asked.act is not Act.RESUME:
        yield (Span(_sum(asked.plans.values(), asked.act), "value"),)


def _sum(plans: Iterable[Plan], act: Act) -> str:
    known = tuple(plans)
    processes = [process for plan in known for process in plan.processes]
    if processes and all(plan.means in (Means.PROCESS, Means.NONE) for plan in known):
        return _counted(processes)
    kinds = [work.kind for plan in known for work in plan.running]
    subagents = sum(kind is WorkKind.SUBAGENT for kind in kinds)
    counts = [(len(kinds) - subagents, "running", "running"), (subagents, "subagent", "subagents")]
    if act is Act.PAUSE:
        counts.append((sum(len(plan.cron_jobs) for plan in known), "cron job", "cron jobs"))
        counts.append((sum(len(plan.own_models) for plan in known), "own model", "own models"))
    said = ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in counts)
    return f"{said}, {_counted(processes)}" if processes else said


def _counted(processes: Sequence[RunningProcess]) -> str:
    count = sum(1 + len(process.children) for process in processes)
    return f"{count} process{'' if count == 1 else 'es'}"


def _agent(asked: Asked, target: Target, width: int, glyphs: Glyphs) -> Iterable[Line]:
    plan = None if asked.plans is None else asked.plans.get(target)
    hold = asked.holds.get(target) or (None if plan is None else plan.held)
    row = asked.rows.get(target)
    rate = "" if row is None or asked.act is Act.RESUME else _rate_of(row)
    host = printable(target.host, 24, ascii_only=glyphs.ascii_only)
    yield (Span(name(target, glyphs), "section"), Span(f"  on {host}", "faint"), Span(f"  {rate}", "value"))
    if hold is not None:
        yield from _held(hold, asked.at, width, glyphs)
    if asked.act is Act.RESUME:
        return
    if plan is None:
        if asked.problem is None:
            told = "nothing is known of it" if asked.plans is not None else f"asking what runs{glyphs.ellipsis}"
            yield _fact("", told, "muted", glyphs)
        return
    if plan.problem is not None and (asked.act is Act.PAUSE or plan.means is not Means.PROCESS):
        yield from _wrapped("problem", plan.problem, "bad", width, glyphs)
    if plan.means is Means.PROCESS:
        yield from _signalled(plan, asked, width, glyphs)
    else:
        yield from _touched(plan, asked, glyphs)
    # what a pause of processes leaves out is nothing to those that end or cannot be paused
    paused = plan.means is not Means.PROCESS or (asked.act is Act.PAUSE and plan.pauses)
    for gap in plan.not_covered if paused else ():
        yield from _wrapped("not covered", f"{gap.what}: {gap.why}", "warn", width, glyphs)
    for warning in plan.warnings:
        yield from _wrapped(glyphs.warning, warning, "warn", width, glyphs)


def _rate_of(row: Row) -> str:
    return f"${''.join(burn(row))}/h"


def _held(hold: Hold, at: int, width: int, glyphs: Glyphs) -> Iterable[Line]:
    said = "; ".join(filter(None, (f"{age(at - hold.since)} ago by {hold.by}", hold.reason, hold.detail)))
    yield from _wrapped(hold.state.value, said, "held", width, glyphs)


_MEANS = {Means.GATEWAY: "its gateway", Means.HOOK: "a hook of the config"}
_SIGNALS = {Act.PAUSE: "SIGSTOP to each process by itself, parents first", Act.ABORT: "SIGTERM, then SIGKILL"}


def _signalled(plan: Plan, asked: Asked, width: int, glyphs: Glyphs) -> Iterable[Line]:
    for process in plan.processes:
        yield from _wrapped("process", _process(process, asked.at), "value", width, glyphs)
    if not plan.processes:
        yield _fact("", "all its processes have ended", "muted", glyphs)
    elif asked.act in _SIGNALS and (plan.pauses or asked.act is not Act.PAUSE):
        yield _fact("by", _SIGNALS[asked.act], "muted", glyphs)


def _touched(plan: Plan, asked: Asked, glyphs: Glyphs) -> Iterable[Line]:
    for work in plan.running:
        yield _work(work, plan.target, asked, glyphs)
    if not plan.running and plan.problem is None:
        looked = plan.means is not Means.HOOK
        yield _fact("", "nothing runs now" if looked else "what runs is not known: nobody has looked", "muted", glyphs)
    if asked.act is Act.PAUSE:
        for job in plan.cron_jobs:
            yield _fact("cron job", "  ".join(filter(None, (job.name, job.schedule, job.model))), "plain", glyphs)
        for own in plan.own_models:
            yield _fact("own model", f"{own.session_key}  {own.model}", "plain", glyphs)
        if plan.config_hold:
            yield _fact("config", "will be held: its models are changed until it goes on", "plain", glyphs)
        elif plan.means is Means.GATEWAY:
            yield _fact("config", "is left alone, so what starts is ended again while clawtop runs", "warn", glyphs)
    if plan.means in _MEANS:
        yield _fact("by", _MEANS[plan.means], "muted", glyphs)


def _process(process: RunningProcess, at: int) -> str:
    stopped = f"; {process.stopped} stopped already" if process.stopped else ""
    old = age(max(0, at - process.started))
    return f"{process.pid} {process.command}, {old} old; {process.following}{stopped}"


def _work(work: Work, target: Target, asked: Asked, glyphs: Glyphs) -> Line:
    under = f"under {work.agent}" if work.agent != target.agent else ""
    words = "  ".join(filter(None, (work.session_key or work.run, work.model, work.tool, under)))
    spared = work.kind is WorkKind.COMMAND and asked.act is Act.ABORT and not asked.commands
    return _fact(work.kind.value, f"{words}  (goes on)" if spared else words, "faint" if spared else "value", glyphs)


def _fact(word: str, said: str, style: str, glyphs: Glyphs) -> Line:
    label = printable(word, _LABEL - 1, ascii_only=glyphs.ascii_only)
    return (*fit((Span(f"  {label}", "muted"),), _LABEL), Span(printable(said, ascii_only=glyphs.ascii_only), style))


def _wrapped(word: str, said: str, style: str, width: int, glyphs: Glyphs) -> Iterable[Line]:
    clean = printable(said, ascii_only=glyphs.ascii_only)
    for index, line in enumerate(wrap(clean, max(10, width - _LABEL))):
        yield (*fit((Span("" if index else f"  {word}", style),), _LABEL), Span(line, style))


def keys(asked: Asked, *, typing: bool) -> Sequence[tuple[str, str]]:
    """What can be pressed."""
    if typing:
        return (("Enter", "keep the reason"), ("Esc", "back"))
    out = [("y", "yes, do it")] if asked.can else []
    out.append(("Esc", "leave it"))
    if asked.can:
        out.append(("Tab", "reason"))
    if asked.act is Act.ABORT and asked.background:
        out.append(("c", "spare commands" if asked.commands else f"end {asked.background} shell commands, too"))
    return out
