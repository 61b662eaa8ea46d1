"""What a pause would touch, from what a gateway said when the question was opened. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clawtop.control.config_hold import Roster
from clawtop.control.gateway_facts import Activity, Job, Session, Task, family
from clawtop.formats.session_keys import read_session_key
from clawtop.model.commands import CronJob, Escalation, Gap, Hold, Means, OwnModel, Plan, Target, Work, WorkKind

_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|(//|/\*)')
_OWN_MODELS = ("heartbeat", "compaction", "subagents")

ESCALATIONS = (
    Escalation(
        call="sessions.reset {key}",
        stops="cuts off a run begun by `agent` within 0.1 s",
        destroys="the session's context: it begins anew under the same key",
    ),
    Escalation(
        call="sessions.delete {key}",
        stops="ends the run and the session",
        destroys="the session with its history",
    ),
    Escalation(
        call="config.patch of the agent's model",
        stops="no new run of the agent reaches a model",
        destroys="this gateway restarts itself after it: runs of all its agents are cut off",
    ),
)
"""What stops an `agent` run on gateways of protocol 3, which abort only runs begun by chat.send."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a gateway says of all its agents at one moment. `models` are what it runs each of them on, None if unsaid.

    `roster` is None where the config cannot be held, `trouble` says why. `raw` is the config file's text. `aborts` is
    whether the gateway can abort any run and says which are active; `announces` whether it hands a subagent's answer
    to its parent by a run of its own (observed on 2026.6.35). `default` is the agent of jobs that name none.
    """

    activity: Activity
    jobs: tuple[Job, ...]
    models: Mapping[str, str | None]
    roster: Roster | None
    raw: str = ""
    trouble: str = ""
    aborts: bool = True
    announces: bool = False
    default: str | None = None

    def sessions_of(self, agent: str) -> frozenset[str]:
        """The keys of an agent's sessions and of what they have spawned."""
        return family(agent, self.activity.sessions)

    def candidates(self, agent: str) -> list[Session]:
        """The agent's sessions that have a model of their own, or may have one where the gateway doesn't say.

        Subagents are given one when they are spawned, so an ended one is left alone: nobody but its agent wakes it.
        """
        return [
            session
            for session in self.activity.sessions
            if session.agent == agent
            and (session.active or not read_session_key(session.key).subagent)
            and (session.own or (session.own is None and session.model not in (None, self.models.get(agent))))
        ]

    def stranger(self, agent: str) -> str | None:
        """Why nothing can be done to this agent: the gateway has no such one; None where it has."""
        if agent in self.models:
            return None
        return f"the gateway knows no agent {agent}; it has {', '.join(sorted(self.models)) or 'none'}"

    def jobs_of(self, agent: str) -> list[Job]:
        """The agent's cron jobs that are on."""
        return [job for job in self.jobs if job.agent == agent and job.enabled]


def plan_for(target: Target, survey: Survey, held: Hold | None, *, config_hold: bool) -> Plan:
    """The plan that the question shows."""
    agent = target.agent
    stranger = survey.stranger(agent)
    if stranger is not None:
        return Plan(target, Means.NONE, problem=stranger, held=held)
    known = survey.sessions_of(agent)
    running = (*_working(survey, known), *_unseated(agent, survey, known))
    return Plan(
        target=target,
        means=Means.GATEWAY,
        running=tuple(running),
        cron_jobs=tuple(CronJob(job.id, job.name, job.schedule, job.model) for job in survey.jobs_of(agent)),
        own_models=tuple(OwnModel(session.key, session.model or "?") for session in survey.candidates(agent)),
        config_hold=config_hold and survey.aborts and survey.roster is not None,
        not_covered=tuple(_gaps(agent, survey, running, config_hold=config_hold)),
        warnings=tuple(_warnings(survey, config_hold=config_hold)),
        escalations=() if survey.aborts else ESCALATIONS,
        held=held,
    )


def _working(survey: Survey, known: frozenset[str]) -> Iterable[Work]:
    tasks = {task.session: task for task in survey.activity.tasks if task.session and not task.command}
    for session in survey.activity.sessions:
        if session.active and session.key in known:
            task = tasks.get(session.key)
            yield Work(
                kind=_kind(session.key),
                agent=session.agent,
                session_key=session.key,
                run=task.run if task else None,
                model=session.model,
                tool=task.tool if task else None,
                parent=session.parent,
            )


def _unseated(agent: str, survey: Survey, known: frozenset[str]) -> Iterable[Work]:
    """What runs without an active session: cron runs that begin, shell commands, reviews."""
    active = {session.key for session in survey.activity.sessions if session.active}
    for task in survey.activity.tasks:
        if task.agent != agent and task.session not in known:
            continue
        if task.command:
            yield Work(WorkKind.COMMAND, agent, task.session, task.run, tool=task.title or None)
        elif task.runtime == "cron" and task.session not in active:
            yield Work(WorkKind.CRON, agent, task.session, task.run, tool=_title(task))
    for run, owner in survey.activity.background.items():
        if owner == agent:
            yield Work(WorkKind.BACKGROUND, agent, run=run)


def _title(task: Task) -> str | None:
    return task.tool or task.title or None


def _kind(key: str) -> WorkKind:
    about = read_session_key(key)
    if about.subagent:
        return WorkKind.SUBAGENT
    return WorkKind.CRON if about.cron else WorkKind.TURN


def _gaps(agent: str, survey: Survey, running: Iterable[Work], *, config_hold: bool) -> Iterable[Gap]:
    if not survey.aborts:
        yield Gap("runs begun by `agent`", "this gateway (protocol 3) aborts only runs begun by chat.send")
        yield Gap("what starts afterwards", "this gateway restarts itself after a config change, so its config stays")
        return
    for work in running:
        if work.kind is WorkKind.COMMAND:
            why = "it is a process and not a run: it goes on (an abort with commands ends it)"
            yield Gap(f"shell command {work.tool or work.run or '?'}", why)
    if survey.announces and any(work.kind is WorkKind.SUBAGENT for work in running):
        why = "the gateway may hand it to its parent on the parent's old model; a running clawtop aborts that"
        yield Gap("a subagent's answer", why)
    if not config_hold:
        yield Gap("what starts once clawtop has ended", "control.config_hold is off: only clawtop itself aborts it")
    elif survey.roster is None:
        yield Gap("what starts once clawtop has ended", f"the config cannot be held: {survey.trouble}")
    else:
        yield Gap("a run that names its own model", "it passes the config; clawtop aborts it as long as it runs")
        for place in _models_in_config(agent, survey.roster):
            yield Gap(f"runs on the model of {place}", "it passes the config; clawtop aborts it as long as it runs")


def _models_in_config(agent: str, roster: Roster) -> Iterable[str]:
    entry, defaults = roster.entry(agent) or {}, _table(roster.agents.get("defaults"))
    for name in _OWN_MODELS:
        if "model" in _table(entry.get(name)):
            yield f"{agent}'s {name}"
        elif "model" in _table(defaults.get(name)):
            yield f"agents.defaults.{name}"


def _warnings(survey: Survey, *, config_hold: bool) -> Iterable[str]:
    if not survey.aborts:
        yield "this gateway does not say what runs: nothing can be verified"
        return
    if not config_hold or survey.roster is None:
        return
    if any(found[1] for found in _COMMENT.finditer(survey.raw)):
        yield "the gateway writes its config file anew: comments in the file that holds the agents are lost"
    if survey.roster.included:
        yield "the agents stand in an included file: ${…} in this agent's model comes back as its value"


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
