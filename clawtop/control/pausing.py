"""Carrying out a pause on one gateway: everything side by side, written down first, and verified at the end."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from clawtop.control.config_hold import HELD_MODEL, Patch, Roster, UnreadableConfig, hold_patch, stood_before
from clawtop.control.elapsed import milliseconds_since
from clawtop.control.endings import Endings
from clawtop.control.gateway_calls import ConfigChanged, Operator, TooManyWrites
from clawtop.control.gateway_facts import Job, Session
from clawtop.control.holding import KEPT_ON, given, jobs_on, loose, runs_held, switching_off
from clawtop.control.holds import OpenHolds
from clawtop.control.planning import Survey
from clawtop.control.record import CronBefore, HoldRecord, SessionBefore
from clawtop.control.stopping import Stopping
from clawtop.formats.session_keys import read_session_key
from clawtop.gateway.errors import Refused, TimedOut
from clawtop.model.commands import HoldState, Step

_AT_ONCE = 8
_TRIES = 3
_QUIET_SECONDS = 20.0
_PASSES = 2
_RELOAD_SECONDS = 20.0
_LOOK_SECONDS = 0.25
_HEAD_START_SECONDS = 1.0
_LAST_WRITE_SECONDS = 15.0
CONFIG_HELD = f"config: model {HELD_MODEL}"
"""The step that says that the config write was answered."""

Told = Callable[[str, HoldState, str], None]
"""Takes news of an agent's hold while it is being carried out."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Paused:
    """How a pause of one agent came out: what is wrong with it, nothing where it holds."""

    record: HoldRecord
    problems: tuple[str, ...]
    settled: int | None
    stopped: int
    steps: tuple[Step, ...]


class Pausing:
    """One pause of some agents of a gateway. What the survey knew is in the holds, on disk, already."""

    def __init__(
        self,
        operator: Operator,
        survey: Survey,
        holds: OpenHolds,
        *,
        config_hold: bool,
        told: Told,
    ) -> None:
        self._operator = operator
        self._survey = survey
        self._holds = holds
        self._config_hold = config_hold
        self._told = told
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._unwilling: set[str] = set()
        self._doubts: dict[str, list[str]] = {agent: [] for agent in holds.records}
        self._config_trouble = "" if survey.roster is not None else survey.trouble
        self._steps: dict[str, list[Step]] = {agent: [] for agent in holds.records}
        self.stopping = Stopping(operator, list(holds.records), survey.activity.sessions)
        self._endings = Endings(lambda key: any(self._is_of(agent, key) for agent in holds.records))

    async def run(self) -> dict[str, Paused]:
        """Stop, hold and verify. Raises GatewayError where the gateway is gone; `all_steps` say how far it came."""
        # asked for first, or the gateway tells of what is cut off before anybody listens
        subscribed = asyncio.create_task(self._operator.subscribe())
        self.stopping.strike(self._survey.activity)
        return await beside(self._hold_and_verify(), self._watch(subscribed))

    async def _watch(self, subscribed: Awaitable[None]) -> None:
        await subscribed
        await beside(self.stopping.run(), self._endings.listen(self._operator.gateway.events()))

    async def _hold_and_verify(self) -> dict[str, Paused]:
        # a gateway does one thing at a time, and a config write takes it long: what costs money goes first
        await self.stopping.first_answers(_HEAD_START_SECONDS)
        await together(
            self._hold_config(),
            self._switch_all_off(),
            *(self._clear_models(agent, self._survey.candidates(agent)) for agent in self._holds.records),
        )
        quiet = await self.stopping.quiet(time.monotonic() + _QUIET_SECONDS)
        for agent in self._holds.records:
            if any(self._is_of(agent, key) for key in self._endings.closing):
                self._told(agent, HoldState.STOPPING, "cut off and held; its gateway still closes the run")
        unfinished, closed = await self._endings.closed(), time.monotonic()
        problems = await self._verify()
        late = self._endings.called_since(closed)
        for agent, found in problems.items():
            found += [
                f"the run in {key} was cut off and has not ended" for key in unfinished if self._is_of(agent, key)
            ]
            found += [f"a model answered in {key} after that was stopped" for key in late if self._is_of(agent, key)]
        if not quiet:
            for agent, progress in self.stopping.progress.items():
                problems[agent] += [f"{item.label} is still active" for item in progress.active]
        return {agent: self._paused(agent, problems[agent]) for agent in self._holds.records}

    def _is_of(self, agent: str, key: str) -> bool:
        return key in self.stopping.progress[agent].known or read_session_key(key).agent == agent

    def _paused(self, agent: str, problems: Sequence[str]) -> Paused:
        progress = self.stopping.progress[agent]
        record = self._holds.records[agent]
        # what could not be switched off needs no switching on
        record = replace(record, cron=tuple(job for job in record.cron if job.id not in self._unwilling))
        return Paused(record, tuple(problems), progress.settled, progress.stopped, self.all_steps(agent))

    def all_steps(self, agent: str) -> tuple[Step, ...]:
        """What was done for an agent so far."""
        return (*self.stopping.progress[agent].steps.values(), *self._steps[agent])

    async def _hold_config(self) -> None:
        if not self._config_hold or self._survey.roster is None:
            return
        began = time.monotonic()
        try:
            await self._patch_config(self._survey.roster)
        except (Refused, UnreadableConfig) as error:
            self._config_trouble = str(error)
        milliseconds = milliseconds_since(began)
        for agent in self._holds.records:
            done = not self._config_trouble
            self._steps[agent].append(Step(CONFIG_HELD, done, self._config_trouble, milliseconds))

    async def _patch_config(self, roster: Roster) -> None:
        tries = _TRIES
        while True:
            patch = hold_patch(roster, list(self._holds.records))
            if patch is None:
                return
            await self._note_write()
            try:
                await _to_the_end(self._write_config(patch, roster))
            except TooManyWrites as limit:
                await self._wait_for_writes(limit)
            except (ConfigChanged, TimedOut) as error:
                tries -= 1
                if not tries:
                    raise UnreadableConfig(f"its config could not be changed: {error}") from None
            else:
                return
            roster = await self._operator.roster()
            await self._note_config(roster)

    async def _note_write(self) -> None:
        """Write down that the config may be written from now on, whether or not somebody is left to see that."""
        for record in list(self._holds.records.values()):
            await self._holds.write(replace(record, writing=time.time_ns() // 1_000_000))

    async def _write_config(self, patch: Patch, roster: Roster) -> None:
        """Raises what the gateway answers; without an answer the write stays noted."""
        try:
            await self._operator.patch_config(patch, roster.hash)
        except (Refused, ConfigChanged, TooManyWrites):
            self._forget_write()
            raise
        self._forget_write()

    def _forget_write(self) -> None:
        for agent, record in self._holds.records.items():
            self._holds.records[agent] = replace(record, writing=None)

    async def _wait_for_writes(self, limit: TooManyWrites) -> None:
        for agent in self._holds.records:
            self._told(agent, HoldState.STOPPING, f"{limit}; what starts meanwhile is aborted")
        await asyncio.sleep(limit.seconds + 1)

    async def _note_config(self, roster: Roster) -> None:
        """The config was changed after it was read: what stands there now is what a resume has to bring back."""
        for agent, record in self._holds.records.items():
            fresh = stood_before(roster, agent)
            if fresh.known:
                await self._holds.write(replace(record, config=fresh))

    async def _switch_all_off(self) -> None:
        """Switch off the jobs that are on now: a person may have switched one off since the question was opened."""
        with contextlib.suppress(Refused, TimedOut):
            self._survey = replace(self._survey, jobs=tuple(await self._operator.jobs(self._survey.default)))
        for agent in self._holds.records:
            await self._note_jobs(agent, self._survey.jobs_of(agent))
        await together(*(self._switch_off(agent, self._survey.jobs_of(agent)) for agent in self._holds.records))

    async def _switch_off(self, agent: str, jobs: Iterable[Job]) -> None:
        await asyncio.gather(*(self._switch_job_off(agent, job) for job in jobs if job.id not in self._unwilling))

    async def _switch_job_off(self, agent: str, job: Job) -> None:
        began = time.monotonic()
        async with self._limit:
            try:
                await self._operator.switch_job(job.id, on=False, had_model=job.model is not None)
                detail = ""
            except Refused as error:
                # the gateway keeps jobs of its own that nobody can switch off
                self._unwilling.add(job.id)
                held = self._config_hold and not self._config_trouble
                what = "the held config refuses its runs" if held else "clawtop aborts its runs while it runs"
                detail = f"{KEPT_ON} ({error.message}); {what}"
            except TimedOut as error:
                detail = str(error)
        self._steps[agent].append(Step(switching_off(job.name), not detail, detail, milliseconds_since(began)))

    async def _clear_models(self, agent: str, sessions: Sequence[Session]) -> None:
        """Look up each session's own model, write all of them down, then take them away."""
        found = await asyncio.gather(*(self._look_up(agent, session.key) for session in sessions))
        given = [session for session in found if session is not None]
        noted = {session.key for session in self._holds.records[agent].sessions}
        fresh = tuple(session for session in given if session.key not in noted)
        if fresh:
            record = self._holds.records[agent]
            await self._holds.write(replace(record, sessions=(*record.sessions, *fresh)))
        await asyncio.gather(*(self._clear_model(agent, session) for session in given))

    async def _look_up(self, agent: str, key: str) -> SessionBefore | None:
        async with self._limit:
            try:
                return await self._operator.own_model_of(key)
            except (Refused, TimedOut) as error:
                self._doubts[agent].append(f"whether {key} has a model of its own is not known: {error}")
                return None

    async def _clear_model(self, agent: str, session: SessionBefore) -> None:
        began = time.monotonic()
        async with self._limit:
            try:
                left = await self._operator.set_model(session.key, None)
                detail = "" if left is None else f"it still has {left.model}"
            except (Refused, TimedOut) as error:
                detail = str(error)
        self._steps[agent].append(
            Step(f"model of {session.key} cleared", not detail, detail, milliseconds_since(began))
        )

    async def _verify(self) -> dict[str, list[str]]:
        """What does not hold yet, by agent. What came up since the plan was made is held in further passes."""
        passes, until = 0, time.monotonic() + _RELOAD_SECONDS
        while True:
            doubts = {agent: list(found) for agent, found in self._doubts.items()}
            survey = await self._operator.survey()
            late = {
                agent: (jobs_on(agent, survey, self._unwilling), given(agent, survey)) for agent in self._holds.records
            }
            if passes < _PASSES and any(jobs or sessions for jobs, sessions in late.values()):
                passes += 1
                for agent, (jobs, sessions) in late.items():
                    await self._note_jobs(agent, jobs)
                    await self._switch_off(agent, jobs)
                    await self._clear_models(agent, sessions)
            elif time.monotonic() < until and any(self._reloads(agent, survey) for agent in self._holds.records):
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return {agent: [*self._problems(agent, survey), *doubts[agent]] for agent in self._holds.records}

    def _reloads(self, agent: str, survey: Survey) -> bool:
        """Whether the gateway has written its config and not taken it up yet, for which it waits while it is busy."""
        return self._config_hold and not self._config_trouble and not runs_held(agent, survey)

    def _problems(self, agent: str, survey: Survey) -> Iterable[str]:
        if self._config_hold and self._config_trouble:
            yield f"its config is not held: {self._config_trouble}"
        elif self._reloads(agent, survey):
            yield f"the gateway still runs it on {survey.models.get(agent) or 'another model'}"
        held = self._config_hold and not self._config_trouble
        yield from loose(agent, survey, self._unwilling, config=held)

    async def _note_jobs(self, agent: str, jobs: Sequence[Job]) -> None:
        record = self._holds.records[agent]
        fresh = record.with_jobs(noted(jobs))
        if fresh != record:
            await self._holds.write(fresh)


def noted(jobs: Iterable[Job]) -> Iterable[CronBefore]:
    """Jobs that are on, as a hold writes them down."""
    return (CronBefore(job.id, job.name, job.model) for job in jobs)


async def _to_the_end(write: Coroutine[Any, Any, None]) -> None:
    """Wait for a config write even when cancelled: the gateway would do it all the same, maybe after a resume."""
    writing = asyncio.ensure_future(write)
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing}, timeout=_LAST_WRITE_SECONDS)
        raise


async def together(*jobs: Awaitable[T]) -> list[T]:
    """What `asyncio.gather` returns or raises, but not before each of the jobs has ended, cancelled or not."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await asyncio.gather(*tasks, return_exceptions=True)


async def beside(work: Awaitable[T], watch: Awaitable[None]) -> T:
    """The result of `work`, with `watch` running until then; raises what either of them raises."""
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(watch)
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            # a watch that ends before the work has failed
            await watching
        return await working
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
