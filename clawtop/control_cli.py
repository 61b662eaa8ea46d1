"""`clawtop pause|resume|abort AGENT…` and `clawtop holds`: the kill switch from the shell."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from clawtop.control.gateway_calls import agents_at
from clawtop.control.switch import Switch
from clawtop.gateway.connection import GatewayAddress
from clawtop.gateway.errors import GatewayError
from clawtop.model.commands import (
    Abort,
    About,
    Command,
    Conflict,
    Hold,
    HoldState,
    Means,
    Outcome,
    Pause,
    Plan,
    Result,
    Resume,
    RunningProcess,
    Target,
    Work,
    WorkKind,
)
from clawtop.model.errors import FINE, TROUBLE, ClawtopError, UsageError
from clawtop.model.keys import HOST
from clawtop.plain import printable

_SCHEMA = "clawtop-control/1"
_DONE = {"pause": "paused", "resume": "resumed", "abort": "aborted"}
_SIGNALLED = {"pause": "stops", "abort": "ends, and kills after 5 s,"}
_GLOB = frozenset("*?[")
_KINDS = {
    WorkKind.TURN: "a turn",
    WorkKind.SUBAGENT: "a subagent",
    WorkKind.CRON: "a cron run",
    WorkKind.BACKGROUND: "a background run",
    WorkKind.COMMAND: "a shell command",
}


@dataclass(frozen=True, slots=True)
class Known:
    """An agent that was seen, the projects it worked for, and what a rule of the config may ask of it."""

    target: Target
    projects: frozenset[str] = frozenset()
    about: About = About()


@dataclass(frozen=True, slots=True)
class Seen:
    """All agents that were seen, and {source: why} of those that may have others, because they could not be read."""

    agents: Sequence[Known] = ()
    unread: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scene:
    """What the command line gives to these verbs.

    `switch` is called in the loop that it will belong to. `hosts` are those on which a plain name is looked for,
    `known` reads everything there is and says which agents it speaks of: it may take long. `gateways` are those that
    are asked for their agents, each with its host: one that has not worked yet is in no log.
    """

    switch: Callable[[], Switch]
    hosts: Sequence[str]
    known: Callable[[], Seen]
    gateways: Callable[[], Sequence[tuple[str, GatewayAddress]]] = tuple


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """The arguments of one of the verbs; sources, `--config` and `--token-file` are added by the caller."""
    parser.add_argument("--json", action="store_true", help="one object instead of text")
    if verb == "holds":
        return
    parser.add_argument("agents", nargs="*", metavar="AGENT", help="a name, a glob, or NAME@HOST")
    parser.add_argument("-p", "--project", action="append", default=[], metavar="GLOB", help="the agents of a project")
    parser.add_argument("--all", action="store_true", help="every agent there is")
    parser.add_argument("--reason", metavar="TEXT", help="why, for the hold and the audit log")
    parser.add_argument("-y", "--yes", action="store_true", help="don't ask; needed without a terminal")
    if verb == "resume":
        parser.add_argument("--force", action="store_true", help="put back what stood there, whoever changed it since")
        parser.add_argument("--keep", action="store_true", help="let what was changed since stand")
    if verb == "abort":
        parser.add_argument("--commands", action="store_true", help="end shell commands in the background, too")


def run(verb: str, options: argparse.Namespace, scene: Scene) -> int:
    """Carry a verb out; returns 0 where everything was verified, else 1. Raises UsageError and other ClawtopErrors."""
    if verb == "holds":
        return asyncio.run(_holds(options, scene))
    if not (options.agents or options.project or options.all):
        raise UsageError(f"{verb} whom? Name agents, or give --project or --all")
    for said in (*options.agents, *options.project, options.reason or ""):
        if not _can_be_written(said):
            raise UsageError(f"{printable(said)} is no UTF-8, so it cannot be written down; nothing was done")
    if not options.yes and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(f"{verb} asks before it acts, and there is no terminal to ask on: give --yes")
    if verb == "resume" and options.force and options.keep:
        raise UsageError("--force and --keep: one of them")
    return _act(verb, options, scene)


def _act(verb: str, options: argparse.Namespace, scene: Scene) -> int:
    with asyncio.Runner() as runner:
        switch = runner.run(_taken_over(scene))
        try:
            return _act_with(runner, switch, verb, options, scene)
        finally:
            runner.run(switch.stop())


async def _taken_over(scene: Scene) -> Switch:
    """A switch that knows the holds there are; whether they hold is not asked here, for that may take long."""
    switch = scene.switch()
    switch.take_over()
    return switch


def _act_with(runner: asyncio.Runner, switch: Switch, verb: str, options: argparse.Namespace, scene: Scene) -> int:
    """Questions are asked while the loop stands still: in the main thread, where Ctrl-C ends them at once."""
    picked = runner.run(_picked(switch, verb, options, scene))
    for source, why in picked.unread.items():
        _warn(f"{source} {why}")
    if not picked.targets and picked.unread:
        raise ClawtopError("no agent that could be seen fits what was asked for; nothing was done")
    plans = runner.run(switch.plan(picked.targets))
    targets = tuple(plan.target for plan in plans)
    if not options.yes and verb != "resume":
        _say("\n".join(line for plan in plans for line in _question(verb, plan)))
        if not _agreed(f"{verb} {_names(targets)}? [y/N] "):
            _say("nothing was done")
            return TROUBLE
    command = _command(verb, targets, options)
    outcome = _carried_out(runner, switch, command) if targets else Outcome(command, (), 0)
    conflicts = [conflict for result in outcome.results for conflict in result.conflicts]
    if conflicts and not options.yes and isinstance(command, Resume) and (choice := _choose(conflicts)):
        command = Resume(targets, options.reason, force=choice == "o", keep=choice == "n")
        outcome = _carried_out(runner, switch, command)
    if options.json:
        _say(json.dumps(_outcome(verb, outcome, picked.unread), ensure_ascii=True))
    else:
        _say("\n".join(line for result in outcome.results for line in _told(verb, result)) or "nothing is held")
    verified = (outcome.verified or not targets) and outcome.audited
    return FINE if verified and not picked.unread else TROUBLE


def _carried_out(runner: asyncio.Runner, switch: Switch, command: Command) -> Outcome:
    """The outcome. One that Ctrl-C cuts off is told, too, as far as it came."""
    try:
        return runner.run(switch.carry_out(command))
    except KeyboardInterrupt:
        holds = switch.holds()
        for target in command.targets:
            cut = "interrupted" if isinstance(command, Abort) else "interrupted; it is not held"
            _warn(f"{_name(target)}: {holds[target].detail if target in holds else cut}")
        raise


class _Picked(NamedTuple):
    """Who is meant, and {source: why} of those that may have others who are."""

    targets: Sequence[Target]
    unread: Mapping[str, str]


async def _picked(switch: Switch, verb: str, options: argparse.Namespace, scene: Scene) -> _Picked:
    """The agents that are meant. Raises UsageError for a name that nobody has, or that several have."""
    names = [name for name in options.agents if not _GLOB & set(name)]
    globs = len(names) < len(options.agents)
    held = [Known(target) for target in switch.holds()] if verb != "pause" else []
    # whom a resume may mean is on disk, but for the projects
    seen = Seen()
    if options.project or (verb != "resume" and (options.all or globs)):
        seen = await _seen(scene)
    every = [each for each in seen.agents if verb != "resume" or each.target in switch.holds()]
    targets = dict.fromkeys(each.target for each in (*every, *held) if _meant(each, options))
    for name in names:
        target = await _named(switch, verb, name, scene)
        _check_project(name, target, seen, options.project)
        targets[target] = None
    if not targets and not seen.unread and not (verb == "resume" and options.all):
        raise UsageError(f"no agent {'that is held' if verb == 'resume' else 'there is'} fits what was asked for")
    return _Picked(tuple(targets), seen.unread)


async def _seen(scene: Scene) -> Seen:
    """Whoever has worked, and whoever a gateway has beside them."""
    seen = await asyncio.to_thread(scene.known)
    agents, unread = {each.target: each for each in seen.agents}, dict(seen.unread)
    gateways = await asyncio.to_thread(scene.gateways)
    listed = await asyncio.gather(*(agents_at(address) for _, address in gateways), return_exceptions=True)
    for (host, address), found in zip(gateways, listed, strict=True):
        if isinstance(found, GatewayError):
            unread.setdefault(f"gateway:{address.url}", f"cannot be asked for its agents: {found}")
        elif isinstance(found, BaseException):
            raise found
        else:
            agents = {target: Known(target) for target in (Target(host, agent) for agent in found)} | agents
    unread |= {printable(it.agent): "has a name that is no UTF-8" for it in agents if not _can_be_written(it.agent)}
    return Seen([each for target, each in agents.items() if _can_be_written(target.agent)], unread)


def _can_be_written(text: str) -> bool:
    """Whether it is text: bytes of the command line or of a file's name need not be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _meant(each: Known, options: argparse.Namespace) -> bool:
    globs = [name for name in options.agents if _GLOB & set(name)]
    if options.project and not _worked_for(each.projects, options.project):
        return False
    named = any(fnmatchcase(each.target.agent, glob) for glob in globs)
    return bool(named or options.all or (options.project and not options.agents))


def _worked_for(projects: Iterable[str], globs: Sequence[str]) -> bool:
    return any(fnmatchcase(project, glob) for project in projects for glob in globs)


def _check_project(name: str, target: Target, seen: Seen, globs: Sequence[str]) -> None:
    projects = next((each.projects for each in seen.agents if each.target == target), frozenset[str]())
    if globs and not _worked_for(projects, globs):
        worked = (
            f"it has worked for {', '.join(sorted(projects))}" if projects else "it is known to have worked for none"
        )
        raise UsageError(printable(f"{name} has not worked for the project {' or '.join(globs)}: {worked}", 500))


async def _named(switch: Switch, verb: str, name: str, scene: Scene) -> Target:
    agent, at, host = name.rpartition("@")
    if at and (host in scene.hosts or Target(host, agent) in switch.holds()):
        return Target(host, agent)
    held = [target for target in switch.holds() if target.agent == name]
    # a hold is lifted even where nothing else knows the agent any more
    found, problems = (held, []) if held and verb == "resume" else await _reachable(switch, name, scene)
    if not found:
        seen = await asyncio.to_thread(scene.known)
        found = [it.target for it in seen.agents if name in (it.target.agent, f"{it.target.agent}@{it.target.host}")]
        problems += [f"{source} {why}" for source, why in seen.unread.items()]
    found = found or held
    if not found:
        raise UsageError(
            f"no agent {printable(name)}: {printable('; '.join(problems) or 'no source speaks of it', 500)}"
        )
    if len(found) > 1:
        hosts = ", ".join(f"{target.agent}@{target.host}" for target in found)
        raise UsageError(f"{printable(name)} is on several hosts; say which one: {printable(hosts)}")
    return found[0]


async def _reachable(switch: Switch, name: str, scene: Scene) -> tuple[list[Target], list[str]]:
    """(the agents of that name that can be stopped now, why others cannot)."""
    candidates = [Target(host, name) for host in scene.hosts]
    plans = await switch.plan(candidates) if candidates else []
    problems = [plan.problem for plan in plans if plan.problem]
    found = [plan.target for plan in plans if plan.problem is None]
    # a gateway that is down may have it; what comes of that is said when it is tried
    return found or [plan.target for plan in plans if plan.means is Means.GATEWAY], problems


def _command(verb: str, targets: tuple[Target, ...], options: argparse.Namespace) -> Command:
    match verb:
        case "pause":
            return Pause(targets, options.reason)
        case "resume":
            return Resume(targets, options.reason, force=options.force, keep=options.keep)
        case _:
            return Abort(targets, options.reason, commands=options.commands)


def _agreed(question: str) -> bool:
    return _answer(question) in ("y", "yes")


def _choose(conflicts: Sequence[Conflict]) -> str | None:
    """`o` for the old values, `n` for the new ones, None to leave it open."""
    for conflict in conflicts:
        _say(printable(f"{conflict.what} was {conflict.before} before the hold and is {conflict.now} now", 500))
    answer = _answer("put the (o)ld back, let the (n)ew stand, or leave it open? [o/n/N] ")
    return answer if answer in ("o", "n") else None


def _answer(question: str) -> str:
    """What a person answers, in small letters; nothing where the input ends."""
    try:
        return input(question).strip().lower()
    except EOFError:
        _say("")
        return ""
    except KeyboardInterrupt:
        _say("")
        raise


def _question(verb: str, plan: Plan) -> Sequence[str]:
    """What will be touched, as lines."""
    lines = [f"{verb} {_name(plan.target)}"]
    if plan.problem is not None and (verb == "pause" or plan.means is not Means.PROCESS):
        lines.append(f"  not possible: {plan.problem}")
    lines += [f"  stops {_work(work)}" for work in plan.running if work.kind is not WorkKind.COMMAND]
    lines += [f"  {_SIGNALLED[verb]} {_process(process)}" for process in plan.processes if verb in _SIGNALLED]
    if verb == "pause":
        lines += [f"  switches off cron job {job.name} ({job.schedule})" for job in plan.cron_jobs]
        lines += [f"  sets aside the model of {own.session_key}, {own.model}" for own in plan.own_models]
        lines += ["  changes the gateway's config so that no new run reaches a model"] if plan.config_hold else []
        lines += [f"  does not cover {gap.what}: {gap.why}" for gap in plan.not_covered]
        lines += [f"  {it.call}: {it.stops}; destroys {it.destroys}; not done" for it in plan.escalations]
    lines += [f"  mind: {warning}" for warning in plan.warnings]
    return [printable(line, 500) for line in lines]


def _process(process: RunningProcess) -> str:
    stopped = f"; {process.stopped} stopped already" if process.stopped else ""
    return f"process {process.pid} ({process.command}) since {_when(process.started)}; {process.following}{stopped}"


def _work(work: Work) -> str:
    where = work.session_key or work.run or "?"
    doing = f", {work.tool}" if work.tool else ""
    return f"{_KINDS[work.kind]} in {where} ({work.model or 'model unknown'}{doing})"


def _told(verb: str, result: Result) -> Sequence[str]:
    held = result.hold.state.value if result.hold is not None else ""
    state = _DONE[verb] if result.verified else f"NOT verified{f' ({held})' if held else ''}"
    times = [f"settled in {result.settled} ms"] if result.settled is not None else []
    times += [f"verified after {result.verified_after} ms"] if result.verified_after is not None else []
    if verb == "resume" and result.lifted and not result.verified:
        return [f"{_name(result.target)}: {printable(result.detail, 1000)}"]
    lines = [f"{_name(result.target)}: {state}: {result.detail}" + (f" ({', '.join(times)})" if times else "")]
    lines += [f"  {step.what}: {step.detail}" for step in result.steps if not step.done and step.detail]
    return [printable(line, 1000) for line in lines]


async def _holds(options: argparse.Namespace, scene: Scene) -> int:
    switch = scene.switch()
    try:
        await switch.start(keep=False)
        holds = switch.holds()
    finally:
        await switch.stop()
    if options.json:
        _say(json.dumps({"schema": _SCHEMA, "holds": [_hold(hold) for hold in holds.values()]}, ensure_ascii=True))
    elif not holds:
        _say("nothing is held")
    else:
        _say("\n".join(_line(hold) for hold in holds.values()))
    return FINE if all(hold.state is HoldState.PAUSED for hold in holds.values()) else TROUBLE


def _line(hold: Hold) -> str:
    said = f"{_name(hold.target)}: {hold.state.value} since {_when(hold.since)} by {hold.by}"
    said += f", because: {hold.reason}" if hold.reason else ""
    said = printable(said + (f" ({hold.detail})" if hold.detail else ""), 1000)
    return f"{said}\n  {printable(hold.undoing, 500)}" if hold.source else said


def _outcome(verb: str, outcome: Outcome, unread: Mapping[str, str]) -> Mapping[str, Any]:
    return {
        "schema": _SCHEMA,
        "command": verb,
        "verified": outcome.verified or not outcome.results,
        "audited": outcome.audited,
        "unread": unread,
        "milliseconds": outcome.milliseconds,
        "results": [_result(result) for result in outcome.results],
    }


def _result(result: Result) -> Mapping[str, Any]:
    return {
        "agent": result.target.agent,
        "host": result.target.host,
        "verified": result.verified,
        "detail": result.detail,
        "hold": None if result.hold is None else _hold(result.hold),
        "settled_ms": result.settled,
        "verified_ms": result.verified_after,
        "steps": [
            {"what": step.what, "done": step.done, "detail": step.detail, "ms": step.milliseconds}
            for step in result.steps
        ],
        "conflicts": [{"what": it.what, "before": it.before, "now": it.now} for it in result.conflicts],
    }


def _hold(hold: Hold) -> Mapping[str, Any]:
    return {
        "agent": hold.target.agent,
        "host": hold.target.host,
        "state": hold.state.value,
        "since": _when(hold.since),
        "by": hold.by,
        "reason": hold.reason,
        "detail": hold.detail,
        "verified_ms": hold.milliseconds,
    }


def _when(milliseconds: int) -> str:
    if not milliseconds:
        return "?"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _names(targets: Sequence[Target]) -> str:
    return ", ".join(_name(target) for target in targets)


def _name(target: Target) -> str:
    name = target.agent if target.host == HOST else f"{target.agent}@{target.host}"
    return printable(name)


def _warn(text: str) -> None:
    sys.stderr.write(f"clawtop: {printable(text, 500)}\n")


def _say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    sys.stdout.flush()
