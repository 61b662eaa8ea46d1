"""What is said about a command's result for an agent whose processes were signalled. Pure."""

from collections.abc import Sequence

from clawtop.control.outcomes import Asker
from clawtop.control.process_tree import Going, Halt, label
from clawtop.control.record import HoldRecord, ProcessBefore
from clawtop.model.commands import Conflict, Hold, HoldState, Result, Step, Target


def unsupported(target: Target, why: str, asker: Asker, *, held: bool = False) -> Result:
    """A pause for which there is no way. `held`: an older hold stands on the target."""
    state = HoldState.FAILED if held else HoldState.UNSUPPORTED
    return Result(target, verified=False, detail=why, hold=Hold(target, state, asker.at, asker.by, asker.reason, why))


def paused(record: HoldRecord, members: Sequence[ProcessBefore], halt: Halt, took: int) -> Result:
    """A pause that was carried out: everything stands still, or what does not."""
    before = sum(bool(each.stopped) for each in members)
    stands = "stands still" if len(members) == 1 else "stand still"
    said = f"{many(len(members))} {stands}" if members else "all its processes have ended"
    said += f", {before} of them stopped before" if before else ""
    problems = "; ".join(halt.problems)
    detail = f"it does not hold: {problems}" if problems else said
    state = HoldState.FAILED if problems else HoldState.PAUSED
    verified = None if problems else took
    return Result(
        target=record.target,
        verified=not problems,
        detail=detail,
        hold=Hold(record.target, state, record.since, record.by, record.reason, detail, verified),
        steps=tuple(halt.steps.values()),
        settled=halt.settled,
        verified_after=verified,
    )


def asked(record: HoldRecord, doubtful: Sequence[ProcessBefore], damage: str | None) -> Result:
    """A resume that has to know first which processes it may let go on."""
    conflicts = tuple(Conflict(label(each), "not known whether stopped", "stopped") for each in doubtful)
    said = "which of its processes had been stopped before the hold is not known: say whether all go on (--force) or "
    said += "stay as they are (--keep)"
    detail = said if damage is None else f"{damage}; {said}"
    hold = Hold(record.target, HoldState.FAILED, record.since, record.by, record.reason, detail)
    return Result(record.target, verified=False, detail=detail, hold=hold, conflicts=conflicts)


def resumed(
    record: HoldRecord,
    going: Going,
    spared: Sequence[str],
    again: Sequence[ProcessBefore],
    damage: str | None,
    remains: str | None,
) -> Result:
    """A resume that was carried out. `spared` are the agents whose holds keep some, `again` those that stopped anew.

    `remains` says that and why the hold file is still there, though it holds nothing any more.
    """
    left = [each for each in record.tree.processes if each.stopped] if record.tree is not None else []
    terminals = list(dict.fromkeys(each.terminal for each in going.sent if each.terminal))
    said = [f"{many(len(going.sent) - len(again))} {'goes' if len(going.sent) == 1 else 'go'} on"]
    said += [f"{label(each)} stopped at once, for it has no terminal any more" for each in again]
    said += [f"type fg in {terminal} to have it in front again" for terminal in terminals]
    said += [f"{many(len(going.running))} went on already"] if going.running else []
    said += [f"{many(len(going.ended))} ended meanwhile"] if going.ended else []
    said += [f"{many(len(left))} that had been stopped before left so"] if left else []
    said += [f"{many(len(going.spared))} held still with {', '.join(spared)}"] if going.spared else []
    said += [*going.problems, *([damage] if damage is not None else [])]
    detail = "; ".join(said if remains is None else [remains, *said])
    hold = None
    if going.problems or remains is not None:
        hold = Hold(record.target, HoldState.FAILED, record.since, record.by, record.reason, detail)
    verified = not (going.problems or again or going.spared or remains is not None)
    steps = tuple(going.steps)
    return Result(record.target, verified=verified, detail=detail, hold=hold, steps=steps, lifted=hold is None)


def aborted(
    target: Target, there: int, left: Sequence[ProcessBefore], steps: Sequence[Step], took: int, *, held: bool
) -> Result:
    """An abort of a tree of which `there` processes were found."""
    killed = sum(step.done and step.what.endswith(" killed") for step in steps)
    said = [f"{many(there - len(left))} ended" if there else "no process of it was left"]
    said += [f"{killed} of them killed, having ignored that they were asked to end"] if killed else []
    said += [f"still there: {', '.join(label(each) for each in left)}"] if left else []
    said += [step.detail for step in steps if not step.done]
    said += ["the hold stays"] if held else []
    ended = None if left else took
    return Result(
        target, verified=not left, detail="; ".join(said), steps=tuple(steps), settled=ended, verified_after=ended
    )


def many(count: int) -> str:
    """So many processes, in words."""
    return f"{count} process{'' if count == 1 else 'es'}"
