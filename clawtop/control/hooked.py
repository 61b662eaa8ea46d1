"""Pause, abort and resume of agents by the user's own hooks."""

import asyncio
import os
import time
from collections.abc import Sequence

from clawtop.control.holds import Busy, HoldStore
from clawtop.control.hook import HookCall, HookFailed, HookRule, run_hook
from clawtop.control.outcomes import Asker, failed
from clawtop.control.record import DamagedHold, HoldRecord
from clawtop.model.commands import About, Gap, Hold, HoldState, Means, Plan, Result, Step, Target

_VERBS = ("pause", "resume", "abort")


class HookControl:
    """Acts on agents by the first hook rule that matches them."""

    def __init__(self, store: HoldStore, rules: Sequence[HookRule]) -> None:
        self._store = store
        self._rules = rules

    def has_rule(self, target: Target, about: About) -> bool:
        """Whether the config has a hook for this target."""
        return self._rule(target, about) is not None

    def plan(self, target: Target, about: About, held: Hold | None) -> Plan:
        """What a pause would do."""
        rule = self._rule(target, about)
        if rule is None:
            problem = "no gateway runs it and no [[control.hook]] of the config matches it: clawtop has no hand on it"
            return Plan(target, Means.NONE, problem=problem, held=held)
        if rule.pause is None:
            return Plan(target, Means.NONE, problem=f"the hook {rule.name} has no pause", held=held)
        missing = [Gap(verb, f"the hook {rule.name} has none") for verb in _VERBS if rule.call(verb) is None]
        unseen = Gap("a look at what runs", f"what counts is that the hook {rule.name} says it is done")
        return Plan(target, Means.HOOK, not_covered=(*missing, unseen), held=held)

    async def carry_out(self, verb: str, target: Target, about: About, asker: Asker) -> Result:
        """Run the hook for pause, resume or abort."""
        rule = self._rule(target, about)
        call = None if rule is None else rule.call(verb)
        if rule is None or call is None:
            why = "no hook of the config matches it" if rule is None else f"the hook {rule.name} has no {verb}"
            detail = f"there is no way to {verb} it: {why}"
            hold = Hold(target, HoldState.UNSUPPORTED, asker.at, asker.by, asker.reason, detail)
            return Result(target, verified=False, detail=detail, hold=hold if verb == "pause" else None)
        try:
            with self._store.lock(target):
                record = self._known(target) or HoldRecord(
                    target, asker.at, asker.by, os.getpid(), asker.reason, hook=rule.name
                )
                if verb == "pause":
                    await asyncio.to_thread(self._store.write, record)
                return await self._run(verb, call, record, about)
        except (Busy, OSError) as error:
            return failed(target, f"nothing was done: {error}")

    async def _run(self, verb: str, call: HookCall, record: HoldRecord, about: About) -> Result:
        target, began = record.target, time.monotonic()
        try:
            said, done = await run_hook(call, target, about, verb, record.reason), True
        except HookFailed as error:
            said, done = str(error), False
        took = round((time.monotonic() - began) * 1000)
        detail = (f"the hook {record.hook} says it is done" + (f": {said}" if said else "")) if done else said
        hold: Hold | None = None
        if verb == "resume" and done:
            self._store.remove(target)
        elif verb != "abort":
            state = HoldState.PAUSED if done else HoldState.FAILED
            hold = Hold(target, state, record.since, record.by, record.reason, detail, took if done else None)
        step = Step(f"{verb} by hook {record.hook}", done, said, took)
        return Result(
            target, verified=done, detail=detail, hold=hold, steps=(step,), verified_after=took if done else None
        )

    def _rule(self, target: Target, about: About) -> HookRule | None:
        return next((rule for rule in self._rules if rule.matches(target, about)), None)

    def _known(self, target: Target) -> HoldRecord | None:
        try:
            return self._store.read(target)
        except DamagedHold:
            self._store.set_aside(target)
            return None
