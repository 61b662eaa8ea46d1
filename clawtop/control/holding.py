"""What is not held of a held agent, by what its gateway says: one measure for a pause and for each later look. Pure."""

from collections.abc import Collection, Iterable

from clawtop.control.config_hold import HELD_MODEL, is_held
from clawtop.control.gateway_facts import Job, Session
from clawtop.control.planning import Survey
from clawtop.model.commands import Step

KEPT_ON = "the gateway keeps it on"
"""How the detail of a step begins where the gateway lets nobody switch off one of its own jobs."""
NOT_KEPT = "nothing holds it unless clawtop runs (control.config_hold is off)"


def runs_held(agent: str, survey: Survey) -> bool:
    """Whether the gateway runs the agent on the hold's model."""
    if survey.models.get(agent) is not None:
        return survey.models[agent] == HELD_MODEL
    entry = survey.roster.entry(agent) if survey.roster is not None else None
    return is_held((entry or {}).get("model"))


def loose(agent: str, survey: Survey, unwilling: Collection[str], *, config: bool) -> Iterable[str]:
    """What may reach a model all the same. `config`: it is held in the config, so that only own models pass.

    `unwilling` are the ids of jobs that their gateway keeps on.
    """
    jobs = [job for job in jobs_on(agent, survey, unwilling) if job.model or not config]
    yield from (f"cron job {job.name} is on" for job in jobs)
    yield from (f"{session.key} has a model of its own" for session in given(agent, survey))


def jobs_on(agent: str, survey: Survey, unwilling: Collection[str]) -> list[Job]:
    """The agent's cron jobs that are on and can be switched off."""
    return [job for job in survey.jobs_of(agent) if job.id not in unwilling]


def given(agent: str, survey: Survey) -> list[Session]:
    """The agent's sessions that have a model of their own for sure."""
    return [session for session in survey.candidates(agent) if session.own]


def switching_off(name: str) -> str:
    """What the step is called that switches a cron job off."""
    return f"cron job {name} off"


def kept_on(steps: Iterable[Step], survey: Survey, agent: str) -> frozenset[str]:
    """The ids of the agent's jobs of which these steps say that their gateway keeps them on."""
    refused = {step.what for step in steps if not step.done and step.detail.startswith(KEPT_ON)}
    return frozenset(job.id for job in survey.jobs_of(agent) if switching_off(job.name) in refused)
