"""Pause, abort and resume of agents by the user's own hooks."""

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace

from clawtop.control.elapsed import milliseconds_since
from clawtop.control.holds import Busy, HoldStore, NotRemoved, step_of
from clawtop.control.hook import HookCall, HookFailed, HookRule, run_hook
from clawtop.control.outcomes import Asker, failed, not_held
from clawtop.control.record import DamagedHold, HoldRecord
from clawtop.control.rules import rule_for
from clawtop.model.commands import About, Gap, Hold, HoldState, Means, Plan, Result, Step, Target

_VERBS = ("pause", "resume", "abort")


class HookControl:
    """Acts on agents by the hook rule that made their hold, else by the first one that matches them."""

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
            return self._no_way(verb, target, rule, asker)
        try:
            with self._store.lock(target):
                return await self._act(verb, rule, call, target, about, asker)
        except (Busy, OSError) as error:
            return failed(target, f"nothing was done: {error}")

    def _no_way(self, verb: str, target: Target, rule: HookRule | None, asker: Asker) -> Result:
        why = "no hook of the config matches it" if rule is None else f"the hook {rule.name} has no {verb}"
        detail = f"there is no way to {verb} it: {why}"
        hold = None
        if verb == "pause" and not self._store.stands(target):
            hold = Hold(target, HoldState.UNSUPPORTED, asker.at, asker.by, asker.reason, detail)
        return Result(target, verified=False, detail=detail, hold=hold)

    async def _act(
        self, verb: str, rule: HookRule, call: HookCall, target: Target, about: About, asker: Asker
    ) -> Result:
        """Raises OSError, as long as nothing was done."""
        known, damaged = self._known(target)
        if known is not None and known.hook is None and verb != "abort":
            return failed(target, f"it is held by {known.gateway or 'its processes'}: only that way it is let go on")
        if verb == "resume" and known is None and not damaged:
            return not_held(target)
        record = known or HoldRecord(target, asker.at, asker.by, os.getpid(), asker.reason, hook=rule.name)
        if verb == "pause":
            if damaged:
                record = replace(record, damaged=str(self._store.set_aside(target)))
            await asyncio.to_thread(self._store.write, record)
        result = await _result(verb, rule, call, record, about)
        if verb == "pause" or (verb == "resume" and known is not None and not result.verified):
            with contextlib.suppress(OSError):
                # the hold itself is written down; only how it went would not be known to a later clawtop
                await asyncio.to_thread(self._store.write, replace(record, steps=result.steps))
        if verb == "pause":
            return _held(result, record, HoldState.PAUSED if result.verified else HoldState.FAILED)
        if verb == "resume" and result.verified:
            return self._lifted(result, record, damaged=damaged)
        stands = verb == "resume" and (known is not None or damaged)
        return _held(result, record, HoldState.FAILED) if stands else result

    def _lifted(self, result: Result, record: HoldRecord, *, damaged: bool) -> Result:
        try:
            self._store.lift(record.target, damaged=damaged)
        except NotRemoved as error:
            left = replace(result, verified=False, verified_after=None, detail=f"{error}; {result.detail}")
            return _held(left, record, HoldState.FAILED)
        return replace(result, lifted=True)

    def _rule(self, target: Target, about: About) -> HookRule | None:
        record, _ = self._known(target)
        made_by = None if record is None else record.hook
        return rule_for(self._rules, target, about, lambda rule: rule.name == made_by)

    def _known(self, target: Target) -> tuple[HoldRecord | None, bool]:
        """(the hold that stands, whether there is one that cannot be read)."""
        try:
            return self._store.read(target), False
        except DamagedHold:
            return None, True


async def _result(verb: str, rule: HookRule, call: HookCall, record: HoldRecord, about: About) -> Result:
    """What the hook said; nothing of the hold."""
    began = time.monotonic()
    try:
        said, done = await run_hook(call, record.target, about, verb, record.reason), True
    except HookFailed as error:
        said, done = str(error), False
    took = milliseconds_since(began)
    detail = (f"the hook {rule.name} says it is done" + (f": {said}" if said else "")) if done else said
    step = Step(step_of(verb, rule.name), done, said, took)
    return Result(record.target, verified=done, detail=detail, steps=(step,), verified_after=took if done else None)


def _held(result: Result, record: HoldRecord, state: HoldState) -> Result:
    after = result.verified_after
    hold = Hold(record.target, state, record.since, record.by, record.reason, result.detail, after)
    return replace(result, hold=hold)
