"""Which processes of this machine are an agent's. What is not known for certain is nobody's."""

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import psutil

from clawtop.control.process_table import Identity, ProcessTable, command, owner
from clawtop.control.record import LogBefore, Search
from clawtop.model.local import LocalWork
from clawtop.plain import printable

_SLACK_MS = 2_000
_MOST_LOGS = 50
_MOST_PIDFILE = 64
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Product:
    """How a product's processes are told: by the program's name, a script that Node runs, or where the program lies."""

    name: str
    program: str
    scripts: str
    places: tuple[str, ...]


PRODUCTS = {
    "claude": Product(
        "Claude Code", "claude", "/@anthropic-ai/claude-code/", ("/claude/versions/", "/@anthropic-ai/claude-code")
    ),
    "codex": Product("Codex", "codex", "/@openai/codex/", ("/@openai/codex",)),
}
"""By what an agent's name begins with. Observed on Claude Code 2.1.330 and Codex of npm: `claude` runs the program
`@anthropic-ai/claude-code/bin/claude.exe`, `codex` is a script of Node that runs `@openai/codex-linux-x64/…/codex`."""
_RUNTIMES = ("node", "bun", "deno")
_SUBCOMMANDS = frozenset({"run", "x"})
_WITH_A_VALUE = frozenset(
    {"-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions", "--env-file", "--cwd"}
)
_NO_SCRIPT = frozenset({"-e", "--eval", "-p", "--print", "-pe", "--test", "-c", "--check"})


@dataclass(frozen=True, slots=True)
class Found:
    """The processes of an agent; none, and why, where they are not known for certain."""

    roots: tuple[Identity, ...] = ()
    doubt: str | None = None


@dataclass(frozen=True, slots=True)
class _Process:
    """A process and what it was started as."""

    identity: Identity
    parent: int
    started: int
    arguments: tuple[str, ...] = ()
    program: str = ""
    folder: str | None = field(default=None, compare=False)


def search_of(agent: str, works: Sequence[LocalWork]) -> Search:
    """By what the processes of these works are found again."""
    product = agent.partition(":")[0]
    folders = dict.fromkeys(work.cwd for work in works if work.cwd and _can_be_written(work.cwd))
    return Search(product if product in PRODUCTS else None, tuple(folders))


def logs_of(works: Sequence[LocalWork]) -> tuple[str, ...]:
    """The logs that grow while these works do, the latest first; not all that there ever were."""
    latest = sorted(works, key=lambda work: -work.last_at)[:_MOST_LOGS]
    return tuple(dict.fromkeys(str(work.log) for work in latest if _can_be_written(str(work.log))))


def logs_now(paths: Iterable[str]) -> list[LogBefore]:
    """How these logs stand; those that are not there are left out."""
    found: list[LogBefore] = []
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            state = Path(path).stat()
            found.append(LogBefore(path, state.st_size, state.st_mtime_ns))
    return found


def _can_be_written(path: str) -> bool:
    """A name that is no text cannot stand in a hold file."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def find(table: ProcessTable, agent: str, works: Sequence[LocalWork]) -> Found:
    """The processes that do an agent's work, by its own records or by product, folder and log."""
    named = [process for work in works if (process := _recorded(table, work)) is not None]
    search = search_of(agent, works)
    alike = _alike(table, search)
    roots = {process.identity: process for process in (*named, *alike)}
    if not roots:
        return Found(doubt=_of_others(table, works) or _nothing(search, works))
    if not named and not any(_is_at_work(process, works) for process in alike):
        one = alike[0].identity.pid
        return Found(
            doubt=f"process {one} ({command(one)}) works in its folder, but began after the last line of its log: "
            "it may be another session"
        )
    return Found(_tops(table, roots))


def find_again(table: ProcessTable, search: Search) -> Found:
    """The processes that a rule or an earlier `find` speaks of, as they are now."""
    if search.pidfile is not None:
        return _of_pidfile(table, Path(search.pidfile).expanduser())
    if search.command is not None:
        return _of_command(table, search.command)
    return Found(_tops(table, {process.identity: process for process in _alike(table, search)}))


def _of_others(table: ProcessTable, works: Sequence[LocalWork]) -> str | None:
    for pid in (work.pid for work in works if work.pid is not None):
        process = _look_at(table, pid)
        if process is not None and process.folder is None and not _is_ours(pid):
            return f"process {pid}, which its records name, belongs to {owner(pid)}"
    return None


def _nothing(search: Search, works: Sequence[LocalWork]) -> str:
    if search.product is None:
        return "no record names the process that runs it"
    name = PRODUCTS[search.product].name
    if not any(work.cwd for work in works):
        return f"its logs name no folder, so which process of {name} runs it is not known"
    folders = ", ".join(printable(folder, _SHOWN) for folder in search.folders[:3])
    return f"no process of {name} works in {folders or 'its folder'} now"


def _recorded(table: ProcessTable, work: LocalWork) -> _Process | None:
    """The process that the agent's own records name, if it is still that one: its start and its folder fit."""
    if work.pid is None or work.cwd is None:
        return None
    process = _look_at(table, work.pid)
    if process is None or not _is_in(process, {os.path.realpath(work.cwd)}):
        return None
    if work.started is None:
        product = PRODUCTS.get(work.agent.partition(":")[0])
        return process if product is not None and _is_of(process, product) else None
    # whoever got the pid later began after that
    return process if process.started <= work.started + _SLACK_MS else None


def _alike(table: ProcessTable, search: Search) -> list[_Process]:
    """The processes of the product that work in one of the folders."""
    product = PRODUCTS.get(search.product or "")
    if product is None or not search.folders:
        return []
    folders = {os.path.realpath(folder) for folder in search.folders}

    def may_be(arguments: Sequence[str]) -> bool:
        return product.program in arguments[0] or product.program in (_script(arguments) or "")

    return [each for each in _started_as(table, may_be) if _is_of(each, product) and _is_in(each, folders)]


def is_of(product: Product, arguments: Sequence[str], program: str, folder: str | None) -> bool:
    """Whether a process with this command line, of the program at this path, is the product's.

    A script counts only where it lies in the product's package, by its own path (from `folder`, where the process
    works) or as a link: a script or an option of somebody else may well be called claude.
    """
    words = arguments[0].split() if arguments else []
    names = {_name(words[0]) if words else "", _name(program)}
    if product.program in names or any(place in program for place in product.places):
        return True
    if not any(name.startswith(_RUNTIMES) for name in names):
        return False
    script = _script(arguments)
    return script is not None and product.scripts in os.path.realpath(Path(folder or "/") / script)


def _script(arguments: Sequence[str]) -> str | None:
    """The script that a runtime was given, None where it was given none."""
    words = iter(arguments[1:])
    for word in words:
        if word.partition("=")[0] in _NO_SCRIPT:
            return None
        if word in _WITH_A_VALUE:
            next(words, None)
        elif not word.startswith("-") and word not in _SUBCOMMANDS:
            return word
    return None


def _is_of(process: _Process, product: Product) -> bool:
    return is_of(product, process.arguments, process.program, process.folder)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _is_in(process: _Process, folders: Iterable[str]) -> bool:
    return process.folder is not None and process.folder in folders


def _is_at_work(process: _Process, works: Sequence[LocalWork]) -> bool:
    """Whether it writes one of the logs: it holds one open, or was there when the last line was written."""
    here = [work for work in works if work.cwd is not None and os.path.realpath(work.cwd) == process.folder]
    if any(process.started <= _last(work) for work in here):
        return True
    logs = {os.path.realpath(work.log) for work in here}
    try:
        return any(file.path in logs for file in psutil.Process(process.identity.pid).open_files())
    except psutil.Error:
        return False


def _last(work: LocalWork) -> int:
    try:
        return max(work.last_at, work.log.stat().st_mtime_ns // 1_000_000)
    except OSError:
        return work.last_at


def _of_pidfile(table: ProcessTable, path: Path) -> Found:
    try:
        with path.open("rb") as file:
            said = file.read(_MOST_PIDFILE)
            written = os.fstat(file.fileno()).st_mtime_ns // 1_000_000
        pid = int(said)
    except OSError as error:
        return Found(doubt=f"its pid file {path} cannot be read: {error.strerror}")
    except ValueError:
        return Found(doubt=f"its pid file {path} holds no pid")
    process = _look_at(table, pid) if 1 < pid < 2**31 else None
    if process is None:
        return Found(doubt=f"its pid file {path} names process {pid}, which has ended")
    if process.started > written + _SLACK_MS:
        return Found(doubt=f"process {pid} ({command(pid)}) is younger than its pid file {path}, so it is another one")
    if not _is_ours(pid):
        return Found(doubt=f"process {pid} of the pid file {path} belongs to {owner(pid)}, not to you")
    return Found((process.identity,))


def _of_command(table: ProcessTable, glob: str) -> Found:
    here = os.getpid()
    fitting = [
        each
        for each in _started_as(table, lambda arguments: fnmatchcase(" ".join(arguments), glob))
        if each.identity.pid != here
    ]
    mine = {each.identity: each for each in fitting if _is_ours(each.identity.pid)}
    if not mine:
        others = f" of yours (process {fitting[0].identity.pid} belongs to another user)" if fitting else ""
        return Found(doubt=f"no process{others} fits the command of its [[control.process]]")
    return Found(_tops(table, mine))


def _is_ours(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).uids().effective == os.geteuid())
    except psutil.Error:
        return False


def _started_as(table: ProcessTable, fits: Callable[[Sequence[str]], bool]) -> Iterable[_Process]:
    """The processes whose command line fits; the rest is not looked at more closely."""
    for pid in psutil.pids():
        try:
            arguments = psutil.Process(pid).cmdline()
        except psutil.Error:
            continue
        if arguments and fits(arguments) and (found := _look_at(table, pid)) is not None:
            yield found


def _look_at(table: ProcessTable, pid: int) -> _Process | None:
    """What this process is; what may not be looked at is left empty. None where it has ended."""
    identity = table.identity(pid)
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            parent, started = process.ppid(), round(process.create_time() * 1000)
            arguments = tuple(_may(process.cmdline) or ())
            program, folder = _may(process.exe), _may(process.cwd)
    except psutil.NoSuchProcess:
        return None
    # it was the same one all the time
    if identity is None or table.identity(pid) != identity:
        return None
    return _Process(identity, parent, started, arguments, program or "", folder)


def _may(ask: Any) -> Any:
    try:
        return ask()
    except psutil.AccessDenied:
        return None


def _tops(table: ProcessTable, found: dict[Identity, _Process]) -> tuple[Identity, ...]:
    """Those that none of the others has started, directly or not."""
    if len(found) < 2:
        return tuple(found)
    lines = table.lines()
    pids = {identity.pid for identity in found}

    def is_below(pid: int) -> bool:
        seen: set[int] = set()
        while (line := lines.get(pid)) is not None and pid not in seen:
            seen.add(pid)
            pid = line.parent
            if pid in pids:
                return True
        return False

    return tuple(identity for identity in found if not is_below(identity.pid))
