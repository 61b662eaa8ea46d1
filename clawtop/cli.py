"""The command line. Imports the screen only when it shows one."""

import argparse
import io
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from clawtop import arguments
from clawtop.model.errors import FINE, TROUBLE, USAGE, ClawtopError, UsageError
from clawtop.paths import expanded, state_folder

if TYPE_CHECKING:
    from clawtop import control_cli
    from clawtop.config import Settings
    from clawtop.engine import Engine
    from clawtop.model.snapshot import Snapshot, View
    from clawtop.sources import Source
    from clawtop.tui.options import ScreenOptions

_LAST_LOOK_SECONDS = 5.0
_SETTINGS = ("window", "group_by", "sort", "delay", "filter", "ascii", "mouse", "readonly")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line asks for, checked, over what the config says."""

    sources: Sequence["Source"]
    named: bool
    view: "View"
    settings: "Settings"
    options: argparse.Namespace


def main(words: Sequence[str] | None = None) -> int:
    """Run clawtop; returns its exit code: 0 fine, 1 a source is down or something went wrong, 2 usage."""
    _write_any_name(sys.stdout)
    given = list(sys.argv[1:] if words is None else words)
    verb = given[0] if given and given[0] in arguments.VERBS else None
    options = arguments.of_verb(verb).parse_args(given[1:]) if verb else arguments.of_clawtop().parse_args(given)
    try:
        _log_to_file()
        return _act(verb, options) if verb else _run(_ask(options))
    except UsageError as error:
        print(f"clawtop: {error}", file=sys.stderr)
        return USAGE
    except ClawtopError as error:
        print(f"clawtop: {error}", file=sys.stderr)
        return TROUBLE
    except BrokenPipeError:  # the reader (head, less) has seen enough
        _write_no_more()
        return FINE
    except OSError as error:
        _write_no_more()
        print(f"clawtop: {error.filename or 'the output'}: {error.strerror or error}", file=sys.stderr)
        return TROUBLE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _write_no_more() -> None:
    """Nothing may be flushed at exit into what cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_any_name(stream: object) -> None:
    """A name that the locale has no letters for is printed as `?`, and ends nothing."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")


def _act(verb: str, options: argparse.Namespace) -> int:
    from clawtop import config, control_cli, export  # noqa: PLC0415
    from clawtop.control.switch import Switch  # noqa: PLC0415
    from clawtop.model.commands import About, Target  # noqa: PLC0415
    from clawtop.model.local import LocalWork  # noqa: PLC0415
    from clawtop.reach import Reach  # noqa: PLC0415

    settings = config.load(os.environ, {}, named=options.config)
    sources, _, problems = _sources(options, settings)
    _tell((*settings.problems, *problems))
    if verb == "export":
        return export.run(options, sources)
    reach = Reach(sources, os.environ, _token_file(options))

    @cache
    def known() -> control_cli.Seen:
        return _known(sources, options)

    asks_more = settings.hooks or any(rule.project != "*" for rule in settings.processes)
    seen = {agent.target: agent.about for agent in known().agents} if asks_more and verb != "holds" else {}

    def about(target: Target) -> About:
        return seen.get(target, About())

    def works_of(target: Target) -> Sequence[LocalWork]:
        if reach.is_local(target):
            known()  # only a source that was read can tell
        return reach.works_of(target)

    def switch() -> Switch:
        ways = reach.ways(
            about, settings.hooks, settings.processes, config_hold=settings.config_hold, works_of=works_of
        )
        return Switch(state_folder(os.environ), ways, readonly=settings.readonly, stays=False)

    return control_cli.run(verb, options, control_cli.Scene(switch, reach.hosts, known, reach.gateways))


def _known(sources: Sequence["Source"], options: argparse.Namespace) -> "control_cli.Seen":
    """Every agent that the sources speak of, with the projects that matter to what was asked for."""
    from clawtop.control_cli import Known, Seen  # noqa: PLC0415
    from clawtop.engine import Engine  # noqa: PLC0415
    from clawtop.model.commands import Target  # noqa: PLC0415
    from clawtop.model.selection import Scope  # noqa: PLC0415
    from clawtop.model.snapshot import Health, View, Window  # noqa: PLC0415

    engine = Engine(sources, View(window=Window.ALL), follow=False)
    engine.start()
    engine.caught_up(options.timeout)
    projects: dict[Target, set[str]] = {}
    unread: dict[str, str] = {}
    for glob in (None, *getattr(options, "project", [])):
        view = View(window=Window.ALL, scope=Scope(projects=(glob,) if glob else ()))
        snapshot = engine.look(view).result()
        for row in snapshot.rows:
            spent = projects.setdefault(Target(*row.group), set())
            if row.project and row.counters.calls:
                spent.add(row.project)
        unread |= {it.uri: f"is down: {it.detail}" for it in snapshot.sources if it.health is Health.DOWN}
        late = [it.uri for it in snapshot.sources if it.health is Health.READING]
        unread |= dict.fromkeys(late, f"was not read to its end within {options.timeout:g} s (--timeout)")
    engine.stop()
    return Seen([Known(it, frozenset(names), engine.about(it)) for it, names in projects.items()], unread)


def _token_file(options: argparse.Namespace) -> Path | None:
    return expanded(options.token_file) if options.token_file else None


def _sources(options: argparse.Namespace, settings: "Settings") -> tuple[Sequence["Source"], bool, tuple[str, ...]]:
    """What to read, whether it was named by the command line or else by the config, and what of that was wrong.

    Where nothing was named it is what is found. Raises UsageError for a wrong word on the command line.
    """
    from clawtop.discovery import check_token_file, discover, open_source  # noqa: PLC0415
    from clawtop.formats.revisions import Revisions  # noqa: PLC0415

    token = _token_file(options)
    uris = options.source or settings.sources
    check_token_file(uris, os.environ, token)
    open_one = partial(
        open_source,
        projects=settings.projects,
        environment=os.environ,
        token_file=token,
        attributes=settings.attributes,
        messages=Revisions(),
    )
    named: Sequence[Source] = []
    problems: list[str] = []
    for uri in uris:
        try:
            source = open_one(uri)
            if source.uri not in {each.uri for each in named}:  # one place is read once, however often it is named
                named = [*named, source]
        except UsageError as error:
            if options.source:
                raise
            problems.append(f"{settings.origins['sources']}: sources: {error}")
    if {"openclaw", "gateway"} <= {uri.partition(":")[0] for uri in uris}:
        from clawtop.reach import paired  # noqa: PLC0415

        named = paired(named, os.environ, token)
    found = named or discover(os.environ, Path.home(), projects=settings.projects)
    return found, bool(named), tuple(problems)


def _ask(options: argparse.Namespace) -> _Asked:
    from clawtop import config  # noqa: PLC0415 - --version and --help stay instant
    from clawtop.discovery import open_source  # noqa: PLC0415

    flags = {name: getattr(options, name) for name in _SETTINGS if hasattr(options, name)}
    settings = config.load(os.environ, flags, named=options.config, required=not options.write)
    _check(options)
    view = _view(options, settings)
    if options.command == "demo":
        return _Asked([open_source("demo:")], named=True, view=view, settings=settings, options=options)
    sources, named, problems = _sources(options, settings)
    settings = replace(settings, problems=(*settings.problems, *problems))
    return _Asked(sources, named, view, settings, options)


def _check(options: argparse.Namespace) -> None:
    if not 0 <= options.timeout <= 86400:
        raise UsageError(f"--timeout {options.timeout} is no time between 0 and 86400 seconds")
    if options.iterations < 0:
        raise UsageError(f"-n {options.iterations} is less than 0")
    options.json, options.csv = options.json or options.format == "json", options.csv or options.format == "csv"
    if options.json + options.csv + (options.format in ("text", "prometheus")) > 1:
        raise UsageError("--json, --csv, --format: one of them at a time")
    if options.format == "prometheus":
        _check_counters(options)


def _check_counters(options: argparse.Namespace) -> None:
    """Counters never go down, so that nothing can be asked of them by which rows come and go."""
    if options.batch:
        raise UsageError("--format prometheus is printed once; `clawtop export` serves it again and again")
    if any(hasattr(options, name) for name in ("window", "group_by", "filter", "sort")):
        raise UsageError(
            "--format prometheus counts since the beginning, by agent, project, user, model and host: "
            "it takes -p, -a and -u, and none of -w, -g, -f and --sort"
        )


def _view(options: argparse.Namespace, settings: "Settings") -> "View":
    from clawtop.model.selection import ALIASES, TEXTS, Scope, parse_filter  # noqa: PLC0415
    from clawtop.model.snapshot import Grouping, View, Window  # noqa: PLC0415

    column = settings.sort.removeprefix("-")
    column = ALIASES.get(column, column)
    return View(
        window=Window(settings.window),
        group_by=Grouping(settings.group_by),
        filter=parse_filter(settings.filter),
        scope=Scope(tuple(options.project), tuple(options.agent), tuple(options.user)),
        sort=column,
        descending=(column not in TEXTS) is not settings.sort.startswith("-"),
    )


def _run(asked: _Asked) -> int:
    options = asked.options
    if options.command == "config":
        return _config(asked)
    if not _wants_screen(options):
        _tell(asked.settings.problems)
    if options.command == "doctor":
        return _doctor(asked)
    if options.once or ((options.json or options.csv or options.format) and not options.batch):
        return _once(asked)
    if options.batch:
        return _batch(asked)
    return _screen(asked)


def _wants_screen(options: argparse.Namespace) -> bool:
    return options.command != "doctor" and not (
        options.once or options.json or options.csv or options.format or options.batch
    )


def _config(asked: _Asked) -> int:
    from clawtop import config  # noqa: PLC0415
    from clawtop.tui.options import problems  # noqa: PLC0415

    path = config.config_path(os.environ, asked.options.config)
    if asked.options.write:
        config.write_default(path)
        print(f"wrote {path}")
        return FINE
    settings = asked.settings
    settings = replace(settings, problems=(*settings.problems, *problems(_screen_settings(asked))))
    print(config.effective(settings, path), end="")
    return TROUBLE if settings.problems else FINE


def _tell(problems: Sequence[str]) -> None:
    from clawtop.plain import printable  # noqa: PLC0415

    for problem in problems:
        print(f"clawtop: {printable(problem, 500)}", file=sys.stderr)


def _engine(asked: _Asked, *, follow: bool) -> "Engine":
    from clawtop.control.holds import HoldStore, standing  # noqa: PLC0415
    from clawtop.engine import Engine  # noqa: PLC0415

    written = HoldStore(state_folder(os.environ) / "holds")
    return Engine(asked.sources, asked.view, delay=asked.settings.delay, follow=follow, holds=lambda: standing(written))


def _once(asked: _Asked) -> int:
    engine = _engine(asked, follow=False)
    engine.start()
    snapshot, finished = _read(engine, asked.view, asked.options.timeout)
    counters = _counters(asked, engine) if asked.options.format == "prometheus" else None
    engine.stop()
    if counters is None:
        _print(asked, snapshot)
    else:
        print(counters, end="")
    return _ended(asked, snapshot, finished=finished)


def _read(engine: "Engine", view: "View", timeout: float) -> tuple["Snapshot", bool]:
    """What there was within `timeout` seconds, and whether that is all."""
    if engine.caught_up(timeout):
        return engine.snapshot, True
    try:
        return engine.look(view).result(_LAST_LOOK_SECONDS), False
    except TimeoutError:  # it hangs in what one of its sources does
        return engine.snapshot, False


def _ended(asked: _Asked, snapshot: "Snapshot", *, finished: bool) -> int:
    if not finished:
        print(f"clawtop: not everything was read within {asked.options.timeout:g} s (--timeout)", file=sys.stderr)
    return max(_health(asked, snapshot), FINE if finished else TROUBLE)


def _counters(asked: _Asked, engine: "Engine") -> str:
    from clawtop import exposition  # noqa: PLC0415

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # as the format has it, whatever the locale
    return exposition.once(engine.usage(asked.view.scope).result())


def _batch(asked: _Asked) -> int:
    engine = _engine(asked, follow=True)
    engine.start()
    finished = engine.caught_up(asked.options.timeout)
    shown = 0
    try:
        while True:
            _print(asked, engine.snapshot)
            shown += 1
            if shown == asked.options.iterations or engine.ended:
                return _ended(asked, engine.snapshot, finished=finished)
            time.sleep(asked.settings.delay)
    finally:
        engine.stop()


def _print(asked: _Asked, snapshot: "Snapshot") -> None:
    from clawtop import report  # noqa: PLC0415

    if asked.options.json:
        print(report.to_json(snapshot), flush=True)
        return
    text = report.to_csv(snapshot) if asked.options.csv else report.to_text(snapshot)
    if asked.settings.ascii or not _speaks_utf8():
        text = text.replace("–", "-").encode("ascii", "replace").decode()
    print(text, end="" if asked.options.csv or asked.options.once else "\n", flush=True)


def _speaks_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _health(asked: _Asked, snapshot: "Snapshot") -> int:
    from clawtop.engine import ITSELF  # noqa: PLC0415
    from clawtop.model.snapshot import Health  # noqa: PLC0415
    from clawtop.plain import printable  # noqa: PLC0415

    down = [source for source in snapshot.sources if source.health is Health.DOWN]
    for source in down:
        print(f"clawtop: {printable(source.uri)} is down: {printable(source.detail, 500)}", file=sys.stderr)
    return TROUBLE if down and (asked.named or any(source.uri == ITSELF for source in down)) else FINE


def _doctor(asked: _Asked) -> int:
    from clawtop import doctor  # noqa: PLC0415
    from clawtop.engine import Engine  # noqa: PLC0415
    from clawtop.model.snapshot import Window  # noqa: PLC0415
    from clawtop.reach import Reach  # noqa: PLC0415

    companions = Reach(asked.sources, os.environ, _token_file(asked.options)).companions()
    # what can be read is the question, however long ago it happened
    view = asked.view if hasattr(asked.options, "window") else replace(asked.view, window=Window.ALL)
    engine = Engine([*asked.sources, *companions], view, follow=False)
    engine.start()
    snapshot, finished = _read(engine, view, asked.options.timeout)
    engine.stop()
    print(doctor.examine(snapshot, named=asked.named, absent=_absent(asked)), end="")
    return _ended(asked, snapshot, finished=finished)


def _screen(asked: _Asked) -> int:
    if not sys.stdout.isatty() or not sys.stdin.isatty():
        raise UsageError("the screen needs a terminal; use --once or -b without one, with --json for a program")
    if os.environ.get("TERM", "dumb") == "dumb":
        raise UsageError("this terminal is TERM=dumb and cannot show a screen; use -b or --once")
    from clawtop.tui.app import run_screen  # noqa: PLC0415

    engine = _live_engine(asked)
    engine.start()
    try:
        return run_screen(engine, _screen_options(asked, engine))
    finally:
        if engine.acting:
            print("clawtop: a command is still being carried out; waiting some seconds for it", file=sys.stderr)
        engine.stop()


def _live_engine(asked: _Asked) -> "Engine":
    """An engine that can also stop agents, and that reads beside each home what its gateway says live."""
    from clawtop.control.switch import Switch  # noqa: PLC0415
    from clawtop.engine import Engine  # noqa: PLC0415
    from clawtop.model.commands import About, Target  # noqa: PLC0415
    from clawtop.reach import Reach  # noqa: PLC0415

    settings = asked.settings
    reach = Reach(asked.sources, os.environ, _token_file(asked.options))

    def about(target: Target) -> About:
        return engine.about(target)

    def switch(on_change: Callable[[], None]) -> Switch:
        ways = reach.ways(about, settings.hooks, settings.processes, config_hold=settings.config_hold)
        return Switch(state_folder(os.environ), ways, readonly=settings.readonly, on_change=on_change)

    sources = [*asked.sources, *reach.companions()]
    engine = Engine(sources, asked.view, delay=settings.delay, switch=switch, for_screen=True)
    return engine


def _screen_options(asked: _Asked, engine: "Engine") -> "ScreenOptions":
    from clawtop.discovery import open_source  # noqa: PLC0415

    return replace(_screen_settings(asked), demo_offer=lambda: engine.add(open_source("demo:")), absent=_absent(asked))


def _screen_settings(asked: _Asked) -> "ScreenOptions":
    from clawtop.tui.options import Colours, ScreenOptions  # noqa: PLC0415

    settings = asked.settings
    depths = {"256": Colours.TRUE, "16": Colours.BASIC, "none": Colours.NONE}
    return ScreenOptions(
        view=asked.view,
        ascii=settings.ascii,
        mouse=settings.mouse,
        readonly=settings.readonly,
        colours=depths.get(settings.theme),
        keys=settings.keys,
        preset=settings.preset,
        columns=settings.columns,
        notices=settings.problems,
        origins=settings.origins,
    )


def _absent(asked: _Asked) -> tuple[str, ...]:
    """What was looked for and is not there, where nothing was named."""
    from clawtop.discovery import absent  # noqa: PLC0415

    return () if asked.named else tuple(absent(os.environ, Path.home()))


def _log_to_file() -> None:
    """What goes wrong inside is written to a file of the state directory: the terminal belongs to the screen."""
    folder = state_folder(os.environ)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handler: logging.Handler = logging.FileHandler(folder / "clawtop.log", encoding="utf-8", errors="replace")
    except OSError:
        handler = logging.NullHandler()
    logging.raiseExceptions = False  # a log on a full disk must not write over the screen
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger("clawtop").addHandler(handler)
    logging.getLogger("clawtop").propagate = False
