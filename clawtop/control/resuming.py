"""Undoing a hold on one gateway: exactly what was written down, compared with what stands there now."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from clawtop.control.config_hold import Roster, UnreadableConfig, is_held, stood_before, undo_patch
from clawtop.control.elapsed import milliseconds_since
from clawtop.control.gateway_calls import ConfigChanged, Operator, TooManyWrites
from clawtop.control.gateway_facts import Job, Session
from clawtop.control.holds import OpenHolds
from clawtop.control.pausing import Told
from clawtop.control.planning import Survey
from clawtop.control.record import ConfigBefore, CronBefore, SessionBefore
from clawtop.gateway.errors import Refused, TimedOut
from clawtop.model.commands import Conflict, HoldState, Step

_AT_ONCE = 8
_TRIES = 3
_LATE_SECONDS = 0.5
_LATE_LOOKS = 6
_LONGEST_WRITE = 60_000


@dataclass(slots=True)
class Resumed:
    """How far one agent's hold is undone. What is left to undo stays in its record."""

    steps: list[Step] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Resuming:
    """One resume of some agents of a gateway.

    With `force` what stood before the hold is put back whatever stands there now, with `keep` what somebody set
    meanwhile stays and is no conflict. `at` is when it was asked for, Unix ms.
    """

    def __init__(self, operator: Operator, holds: OpenHolds, *, force: bool, keep: bool, told: Told, at: int) -> None:
        self._operator = operator
        self._holds = holds
        self._force = force
        self._keep = keep
        self._told = told
        self._at = at
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self.results = {agent: Resumed() for agent in holds.records}

    def steps(self, agent: str) -> Sequence[Step]:
        """What was done for an agent so far."""
        return self.results[agent].steps if agent in self.results else ()

    async def run(self) -> dict[str, Resumed]:
        """Undo and verify; what is done is taken out of the records. Raises GatewayError where the gateway is gone."""
        survey = await self._operator.survey()
        # the sessions come first: as long as the agent's model is the hold's, none of theirs is taken for the default
        await asyncio.gather(*(self._give_models_back(agent, survey) for agent in self.results))
        await self._undo_config(survey)
        await asyncio.gather(*(self._switch_on(agent, survey.jobs) for agent in self.results))
        await self._verify()
        return self.results

    async def _give_models_back(self, agent: str, survey: Survey) -> None:
        listed = {session.key: session for session in survey.activity.sessions}
        record = self._holds.records[agent]
        left = await asyncio.gather(*(self._give_model_back(agent, before, listed) for before in record.sessions))
        await self._holds.write(
            replace(self._holds.records[agent], sessions=tuple(before for before in left if before is not None))
        )

    async def _give_model_back(
        self, agent: str, before: SessionBefore, listed: Mapping[str, Session]
    ) -> SessionBefore | None:
        """What is still to be undone of it, None for nothing."""
        result = self.results[agent]
        if before.key not in listed:
            result.notes.append(f"session {before.key} is gone")
            return None
        if not before.chosen:
            result.notes.append(f"{before.key} had fallen back to {before.model} by itself; the gateway will see")
            return None
        began = time.monotonic()
        async with self._limit:
            try:
                now = await self._operator.own_model_of(before.key)
                if now is not None and now.model == before.model:
                    return None
                if now is not None and not self._force:
                    return self._conflict(agent, f"the model of {before.key}", before.model, now.model, before)
                profile = f"@{before.profile}" if before.profile else ""
                await self._operator.set_model(before.key, before.model + profile, before.thinking)
            except (Refused, TimedOut) as error:
                result.problems.append(f"{before.key} does not take {before.model} back: {error}")
                return before
        result.steps.append(
            Step(f"model of {before.key} back to {before.model}", done=True, milliseconds=milliseconds_since(began))
        )
        return None

    def _conflict(
        self, agent: str, what: str, before: str, now: str, still: SessionBefore | None
    ) -> SessionBefore | None:
        if self._keep:
            self.results[agent].notes.append(f"{what} stays {now}")
            return None
        self.results[agent].conflicts.append(Conflict(what, before, now))
        return still

    async def _undo_config(self, survey: Survey) -> None:
        before = {agent: record.config for agent, record in self._holds.records.items() if record.config is not None}
        if not before:
            return
        if survey.roster is None:
            self._config_failed(before, survey.trouble)
            return
        began = time.monotonic()
        try:
            roster = await self._after_late_writes(survey.roster, before)
            await self._patch_config(roster, before)
        except (Refused, UnreadableConfig) as error:
            self._config_failed(before, str(error))
            return
        for agent in before:
            self.results[agent].steps.append(Step("config back", done=True, milliseconds=milliseconds_since(began)))

    async def _after_late_writes(self, roster: Roster, before: Mapping[str, ConfigBefore]) -> Roster:
        """The config once the hold's own write has come through, if it may still be under way.

        A clawtop that died while it paused may have left one that the gateway has not answered yet.
        """
        pending = {agent: at for agent in before if (at := self._holds.records[agent].writing) and before[agent].known}
        for _ in range(_LATE_LOOKS):
            if all(is_held((roster.entry(agent) or {}).get("model")) for agent in pending):
                break
            await asyncio.sleep(_LATE_SECONDS)
            roster = await self._operator.roster()
        for agent, began in pending.items():
            left = began + _LONGEST_WRITE - self._at
            if 0 < left <= _LONGEST_WRITE and not is_held((roster.entry(agent) or {}).get("model")):
                self.results[agent].problems.append(
                    "the pause that was cut off may still be writing the hold into the config, so the hold file stays: "
                    f"resume it once more in {-(-left // 1000)} s"
                )
        return roster

    def _config_failed(self, agents: Iterable[str], why: str) -> None:
        for agent in agents:
            self.results[agent].problems.append(f"its config could not be put back: {why}")

    async def _patch_config(self, roster: Roster, before: Mapping[str, ConfigBefore]) -> None:
        tries = _TRIES
        while True:
            undo = undo_patch(roster, before, force=self._force, keep=self._keep)
            try:
                if undo.patch is not None:
                    await self._operator.patch_config(undo.patch, roster.hash)
            except TooManyWrites as limit:
                for agent in before:
                    self._told(agent, HoldState.STOPPING, f"{limit}; its hold is lifted then")
                await asyncio.sleep(limit.seconds + 1)
            except (ConfigChanged, TimedOut) as error:
                tries -= 1
                if not tries:
                    raise UnreadableConfig(f"its config could not be changed: {error}") from None
            else:
                for agent, conflicts in undo.conflicts.items():
                    self.results[agent].conflicts.extend(conflicts)
                return
            roster = await self._operator.roster()

    async def _switch_on(self, agent: str, jobs: Sequence[Job]) -> None:
        listed = {job.id: job for job in jobs}
        record = self._holds.records[agent]
        left = await asyncio.gather(*(self._switch_job_on(agent, before, listed) for before in record.cron))
        await self._holds.write(
            replace(self._holds.records[agent], cron=tuple(before for before in left if before is not None))
        )

    async def _switch_job_on(self, agent: str, before: CronBefore, listed: Mapping[str, Job]) -> CronBefore | None:
        """What is still to be undone of it, None for nothing."""
        result, now = self.results[agent], listed.get(before.id)
        if now is None:
            result.notes.append(f"cron job {before.name} is gone")
            return None
        taken = before.model is not None and now.model != before.model
        if now.model is not None and taken and not self._force:
            # somebody gave it another model: that one stays
            taken = False
            if not self._keep:
                result.conflicts.append(Conflict(f"the model of cron job {before.name}", before.model or "", now.model))
        if now.enabled and not taken:
            return None
        began = time.monotonic()
        async with self._limit:
            try:
                await self._operator.switch_job(before.id, on=True, model=before.model, had_model=taken)
            except (Refused, TimedOut) as error:
                result.problems.append(f"cron job {before.name} could not be switched on: {error}")
                return before
        result.steps.append(Step(f"cron job {before.name} on", done=True, milliseconds=milliseconds_since(began)))
        return None

    async def _verify(self) -> None:
        survey = await self._operator.survey()
        jobs = {job.id: job for job in survey.jobs}
        for agent, record in list(self._holds.records.items()):
            result = self.results[agent]
            if record.config is not None and not result.conflicts and survey.roster is not None:
                self._compare(agent, record.config, survey.roster)
            settled = record.config is None or not (result.conflicts or result.problems)
            result.problems.extend(f"cron job {it.name} is off" for it in record.cron if it.id in jobs)
            await self._holds.write(replace(record, config=None if settled else record.config))

    def _compare(self, agent: str, before: ConfigBefore, roster: Roster) -> None:
        """Whether the config says of the agent what it said before."""
        now = stood_before(roster, agent)
        if not now.known:
            self.results[agent].problems.append("its config still holds it")
        elif before.known and now.model != before.model and not self._keep:
            self.results[agent].problems.append("its model in the config is not what it was")
        elif now.denied and not before.denied:
            self.results[agent].problems.append("its config still denies it a tool")
