"""What became of a command: in one line, as a page, and what to ask about where somebody changed something."""

from collections.abc import Iterable, Mapping, Sequence

from clawtop.model.commands import Abort, Command, Hold, HoldState, Outcome, Pause, Plan, Result, Resume, Target
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import EMPTY, Line, Span, fit, wrap
from clawtop.tui.render.plain import printable
from clawtop.tui.render.question import name
from clawtop.units import age, duration


def line(outcome: Outcome) -> str:
    """What happened, in one line; not made printable."""
    results, done = outcome.results, _done(outcome.command)
    if not results:
        return "nothing was done"
    wrong = [result for result in results if not result.verified]
    if len(results) == 1:
        return _one(results[0], done)
    if not wrong:
        return f"{len(results)} agents {done} within {duration(outcome.milliseconds)}"
    rest = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f"{len(results) - len(wrong)} of {len(results)} agents {done}; not {wrong[0].target.agent}{rest}"


def _one(result: Result, done: str) -> str:
    if not result.verified:
        return f"{result.target.agent} not {done}: {result.detail or 'nobody said why'}"
    took = "" if result.verified_after is None else f" within {duration(result.verified_after)}"
    return f"{result.target.agent} {done}{took}{f': {result.detail}' if result.detail else ''}"


def _done(command: Command) -> str:
    match command:
        case Pause():
            return "paused"
        case Resume():
            return "resumed"
        case Abort():
            return "aborted"


def failed(outcome: Outcome) -> tuple[Result, ...]:
    """The results that a person should read in full: what was not verified, other than for a conflict."""
    return tuple(result for result in outcome.results if not result.verified and not result.conflicts)


def conflicting(outcome: Outcome) -> tuple[Result, ...]:
    """The results in which something was changed while the hold stood."""
    return tuple(result for result in outcome.results if result.conflicts)


def page(outcome: Outcome, plans: Mapping[Target, Plan], width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Each failed result with its steps, and what would be harsher."""
    out: list[Line] = [EMPTY, *_wrapped(line(outcome), "headline", width, 2, glyphs)]
    for result in failed(outcome):
        out.extend((EMPTY, (Span(f"  {name(result.target, glyphs)}", "section"), _state(result))))
        out.extend(_wrapped(result.detail, "bad", width, 4, glyphs))
        for step in result.steps:
            sign, style = (glyphs.running, "running") if step.done else (glyphs.error, "bad")
            took = f" {duration(step.milliseconds)}" if step.milliseconds else ""
            what = printable(step.what, ascii_only=glyphs.ascii_only)
            out.append((Span(f"    {sign} ", style), Span(what, "value"), Span(took, "muted")))
            out.extend(_wrapped(step.detail, "muted", width, 6, glyphs))
        plan = plans.get(result.target)
        if plan is not None:
            out.extend(_escalations(plan, width, glyphs))
    return tuple(fit(each, width, glyphs.ellipsis) for each in out)


def _state(result: Result) -> Span:
    return Span("" if result.hold is None else f"  {result.hold.state.value}", "bad")


def _escalations(plan: Plan, width: int, glyphs: Glyphs) -> Iterable[Line]:
    if plan.escalations:
        yield EMPTY
        yield (Span("    What would be harsher. None of it was done.", "section"),)
    for each in plan.escalations:
        yield (Span("    "), Span(printable(each.call, ascii_only=glyphs.ascii_only), "value"))
        yield from _wrapped(f"stops {each.stops}", "muted", width, 6, glyphs)
        yield from _wrapped(f"destroys {each.destroys}", "warn", width, 6, glyphs)


def conflicts(results: Sequence[Result], width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """What was there before the hold and what is there now."""
    out: list[Line] = []
    for result in results:
        if out:
            out.append(EMPTY)
        out.append((Span(name(result.target, glyphs), "section"),))
        for each in result.conflicts:
            out.extend(_wrapped(each.what, "value", width, 2, glyphs))
            out.extend(_wrapped(f"before the hold: {each.before}", "muted", width, 4, glyphs))
            out.extend(_wrapped(f"now: {each.now}", "warn", width, 4, glyphs))
    return tuple(out)


STANDING = (HoldState.REQUESTED, HoldState.STOPPING, HoldState.PAUSED, HoldState.FAILED)
"""A hold in one of these states was made and not undone."""


def standing(holds: Mapping[Target, Hold]) -> tuple[Hold, ...]:
    """The holds that somebody will have to lift, the oldest first."""
    return tuple(sorted((hold for hold in holds.values() if hold.state in STANDING), key=lambda hold: hold.since))


def leaving(holds: Sequence[Hold], at: int, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Who stays held when clawtop is left, and how each is let go."""
    out: list[Line] = []
    for hold in holds:
        since = f"{hold.state.value} {age(at - hold.since)}"
        out.append((Span(name(hold.target, glyphs), "value"), Span(f"  {since}", "held")))
        out.extend(_wrapped(hold.undoing, "accent", width, 2, glyphs))
    return tuple(fit(each, width, glyphs.ellipsis) for each in out)


def _wrapped(said: str, style: str, width: int, indent: int, glyphs: Glyphs) -> Iterable[Line]:
    if said:
        clean = printable(said, ascii_only=glyphs.ascii_only)
        yield from ((Span(" " * indent + each, style),) for each in wrap(clean, max(10, width - indent)))
