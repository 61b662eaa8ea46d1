"""What is said about a command's result for one agent. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clawtop.control.holding import NOT_KEPT
from clawtop.control.pausing import Paused
from clawtop.control.record import HoldRecord
from clawtop.control.resuming import Resumed
from clawtop.control.stopping import Progress
from clawtop.model.commands import Abort, Command, Hold, HoldState, Outcome, Pause, Result, Step, Target


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, why, and when (Unix ms)."""

    by: str
    reason: str | None
    at: int


def paused(one: Paused, took: int, *, config_hold: bool, kept: bool) -> Result:
    """A pause that was carried out: it holds, or what is wrong with it. `kept`: clawtop goes on watching it."""
    record = one.record
    problems = [*one.problems, *([] if config_hold or kept else [NOT_KEPT])]
    done = ", ".join(_counted(one, config_hold=config_hold)) or "nothing ran"
    detail = "; ".join(problems) or done
    if kept and not config_hold:
        detail += "; it holds only as long as clawtop runs (control.config_hold is off)"
    state = HoldState.FAILED if problems else HoldState.PAUSED
    verified = not problems
    return Result(
        target=record.target,
        verified=verified,
        detail=detail,
        hold=Hold(record.target, state, record.since, record.by, record.reason, detail, took if verified else None),
        steps=one.steps,
        settled=one.settled,
        verified_after=took if verified else None,
    )


def failed(target: Target, why: str, steps: Sequence[Step] = (), asker: Asker | None = None) -> Result:
    """A command that could not be carried out, or only in part. With `asker` a hold of theirs may stand in part."""
    done = [step.what for step in steps if step.done]
    detail = why + (f"; done before: {', '.join(done)}" if done else "")
    hold = None if asker is None else Hold(target, HoldState.FAILED, asker.at, asker.by, asker.reason, detail)
    return Result(target, verified=False, detail=detail, hold=hold, steps=tuple(steps))


def lifted_elsewhere(target: Target) -> Result:
    """A hold that this clawtop knew and that is no more."""
    return Result(target, verified=True, detail="lifted by somebody else", lifted=True)


def not_held(target: Target, unasked: str = "") -> Result:
    """A resume where there is no hold, or no hold file and a gateway that could not be asked, with the reason."""
    detail = f"it is not held, as far as it has no hold file: {unasked}" if unasked else "it is not held"
    return Result(target, verified=False, detail=detail, lifted=True)


def interrupted(command: Command, target: Target, known: Hold | None, *, stands: bool) -> Result:
    """A command that was not carried out to its end. `known` is the hold as it was told of last."""
    if isinstance(command, Abort):
        return Result(target, verified=False, detail="interrupted; what ran may still run")
    if isinstance(command, Pause):
        left = "the hold stands in part: pause it once more, or resume it" if stands else "it is not held"
    else:
        left = "it is let go in part: resume it once more" if stands else "it is not held any more"
    detail = f"interrupted; {left}"
    hold = replace(known, state=HoldState.FAILED, detail=detail) if stands and known is not None else None
    return Result(target, verified=False, detail=detail, hold=hold, lifted=not stands)


def unaudited(outcome: Outcome, error: OSError) -> Outcome:
    """What became of a command, where the audit log did not take that."""
    why = f"the outcome could not be written to the audit log ({error.strerror or error})"
    told = tuple(replace(result, detail=f"{result.detail}; {why}") for result in outcome.results)
    return replace(outcome, results=told, audited=False)


def unsupported(target: Target, steps: Sequence[Step], record: HoldRecord | None) -> Result:
    """A command on a gateway that aborts only runs begun by chat.send."""
    done = ", ".join(step.what for step in steps) or "nothing of it was begun by chat.send"
    detail = f"this gateway (protocol 3) cannot stop runs begun by `agent`; stopped: {done}"
    hold = None
    if record is not None:
        hold = Hold(target, HoldState.UNSUPPORTED, record.since, record.by, record.reason, detail)
    return Result(target, verified=False, detail=detail, hold=hold, steps=tuple(steps))


def aborted(target: Target, progress: Progress, took: int, *, quiet: bool) -> Result:
    """An abort."""
    left = ", ".join(sorted(item.label for item in progress.active))
    if quiet:
        detail = f"{_many(progress.stopped, 'run')} stopped" if progress.stopped else "nothing ran"
    else:
        detail = f"still active: {left or 'unknown'}"
    return Result(
        target=target,
        verified=quiet,
        detail=detail,
        steps=tuple(progress.steps.values()),
        settled=progress.settled,
        verified_after=took if quiet else None,
    )


def lost(record: HoldRecord, damage: str | None) -> str | None:
    """Why it is not known what stood before this hold, and what of it; None where all is known.

    `damage` is what is wrong with its file.
    """
    unknown = record.config is not None and not record.config.known
    why = damage
    if why is None and record.damaged is not None:
        why = f"an earlier hold file of it could not be read and lies in {record.damaged}"
    if why is None and unknown:
        why = "it was held before without a hold file"
    model = "which model it had, " if unknown else ""
    lacking = f"{model}which cron jobs were on and which sessions had models of their own is not known"
    return None if why is None else f"{why}; {lacking}"


def resumed(target: Target, one: Resumed, record: HoldRecord, unknown: str | None) -> Result:
    """A resume: everything is back, or what is in the way. `unknown` says what cannot be known to be back."""
    said = [f"{it.what} was {it.before} and is {it.now} now" for it in one.conflicts]
    if said:
        said.append("say whether the old value comes back (--force) or the new one stays (--keep)")
    said += one.problems
    verified = not said
    if verified:
        back = "as it was before" if unknown is None else "let go, as far as it is known what stood before"
        said.append(back if one.steps else "there was nothing to undo")
    if unknown is not None:
        said.append(unknown)
    detail = "; ".join((*said, *one.notes))
    hold = None if verified else Hold(target, HoldState.FAILED, record.since, record.by, record.reason, detail)
    return Result(
        target=target,
        verified=verified,
        detail=detail,
        hold=hold,
        steps=tuple(one.steps),
        conflicts=tuple(one.conflicts),
        lifted=verified,
    )


def _counted(one: Paused, *, config_hold: bool) -> Sequence[str]:
    jobs = sum(step.done for step in one.steps if step.what.startswith("cron job "))
    told = [f"{_many(one.stopped, 'run')} stopped"] if one.stopped else []
    told += [f"{_many(jobs, 'cron job')} off"] if jobs else []
    told += ["config held"] if config_hold else []
    models = len(one.record.sessions)
    return [*told, f"{_many(models, 'session model')} set aside"] if models else told


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
