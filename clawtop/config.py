"""Defaults, config.toml, environment and flags -> one frozen Settings that knows where each value came from.

A value that cannot be used costs nobody their screen: it is left at what stood there before, and `problems` says
file, key and what was expected.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from clawtop.control.hook import HookCall, HookCommand, HookRequest, HookRule
from clawtop.control.process_rule import ProcessRule
from clawtop.credentials import without_credentials
from clawtop.fleet.order import SORTS
from clawtop.formats.attribution import ProjectRule
from clawtop.formats.otlp.senders import AttributeMap
from clawtop.model.errors import UsageError
from clawtop.model.selection import parse_filter
from clawtop.model.snapshot import Grouping, Window
from clawtop.paths import expanded

_LARGEST = 1024 * 1024
SHORTEST_DELAY = 0.1
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What clawtop goes by. `delay` is seconds; `origins` says where each value came from."""

    sources: tuple[str, ...] = ()
    window: str = "1h"
    group_by: str = "agent"
    sort: str = "usd_per_hour"
    delay: float = 1.0
    filter: str = ""
    columns: tuple[str, ...] = ()
    theme: str = "auto"
    ascii: bool = False
    mouse: bool = False
    readonly: bool = False
    preset: str = "htop"
    keys: Mapping[str, str] = field(default_factory=dict)
    projects: tuple[ProjectRule, ...] = ()
    attributes: AttributeMap = AttributeMap()
    config_hold: bool = True
    hooks: tuple[HookRule, ...] = ()
    processes: tuple[ProcessRule, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Option:
    """One setting: where it stands in the file, what it may be, and what it is for."""

    name: str
    key: str
    expected: str
    read: Callable[[object], Any]
    about: str


class _NotExpectedError(ValueError):
    """A value that is not what was expected."""


def _one_of(*allowed: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise _NotExpectedError
        return value

    return read


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _NotExpectedError
    return value


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
        raise _NotExpectedError
    return tuple(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _NotExpectedError
    return value


def _filter(value: object) -> str:
    parse_filter(_text(value))
    return _text(value)


def _delay(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not SHORTEST_DELAY <= value <= 3600:
        raise _NotExpectedError
    return float(value)


def _column(value: object) -> str:
    if not isinstance(value, str) or value.removeprefix("-") not in SORTS:
        raise _NotExpectedError
    return value


def _rules(value: object) -> tuple[ProjectRule, ...]:
    if not isinstance(value, list):
        raise _NotExpectedError
    return tuple(_rule(each) for each in value)


def _rule(value: object) -> ProjectRule:
    known = {"name", "path", "session", "agent"}
    if not isinstance(value, dict) or not value.get("name") or not value.keys() <= known:
        raise _NotExpectedError
    if not all(isinstance(each, str) for each in value.values()):
        raise _NotExpectedError
    return ProjectRule(**value)


def _attribute_map(value: object) -> AttributeMap:
    if not isinstance(value, dict) or not value.keys() <= {field.name for field in fields(AttributeMap)}:
        raise _NotExpectedError
    return AttributeMap(**{name: _words(names) for name, names in value.items()})


def _hooks(value: object) -> tuple[HookRule, ...]:
    if not isinstance(value, list):
        raise _NotExpectedError
    return tuple(_hook(each, place) for place, each in enumerate(value, 1))


def _hook(value: object, place: int) -> HookRule:
    globs, verbs = ("name", "agent", "project", "source"), ("pause", "resume", "abort")
    if not isinstance(value, dict) or not value.keys() <= {*globs, *verbs, "timeout"}:
        raise _NotExpectedError
    timeout = _seconds(value.get("timeout", 10))
    calls = {verb: _call(value[verb], timeout) for verb in verbs if verb in value}
    if not calls:
        raise _NotExpectedError
    name = _text(value.get("name", f"hook {place}"))
    agent, project, source = (_text(value.get(each, "*")) for each in globs[1:])
    return HookRule(name, agent, project, source, calls.get("pause"), calls.get("resume"), calls.get("abort"))


def _process_rules(value: object) -> tuple[ProcessRule, ...]:
    if not isinstance(value, list):
        raise _NotExpectedError
    return tuple(_process_rule(each) for each in value)


def _process_rule(value: object) -> ProcessRule:
    """Exactly one of pidfile and command; a glob that fits every command would stop whatever there is."""
    known = {"agent", "project", "host", "pidfile", "command"}
    if not isinstance(value, dict) or not value.get("agent") or not value.keys() <= known:
        raise _NotExpectedError
    if not all(isinstance(each, str) for each in value.values()):
        raise _NotExpectedError
    pidfile, command = value.get("pidfile"), value.get("command")
    if bool(pidfile) is bool(command) or (command is not None and not command.strip("*? ")):
        raise _NotExpectedError
    return ProcessRule(**value)


def _call(value: object, timeout: float) -> HookCall:
    """A list is a command and its arguments, a table an HTTP request."""
    if isinstance(value, list):
        words = _words(value)
        if not words:
            raise _NotExpectedError
        return HookCommand(words, timeout)
    if not isinstance(value, dict) or not value.keys() <= {"url", "method", "headers"}:
        raise _NotExpectedError
    url, headers = _text(value.get("url")), value.get("headers", {})
    if not url.startswith(("http://", "https://")) or not isinstance(headers, dict):
        raise _NotExpectedError
    headers = {name: _text(variable) for name, variable in headers.items()}
    return HookRequest(url, _text(value.get("method", "POST")), headers, timeout)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 600:
        raise _NotExpectedError
    return float(value)


_WINDOWS = tuple(window.value for window in Window)
_GROUPINGS = tuple(grouping.value for grouping in Grouping)
_SORTS = f"one of {', '.join(sorted(SORTS))}, with a minus to turn it round"

_OPTIONS = (
    _Option("sources", "sources", "a list of source URIs", _words, "what to read, instead of looking for it"),
    _Option("window", "window", f"one of {', '.join(_WINDOWS)}", _one_of(*_WINDOWS), "how far back a row counts"),
    _Option("group_by", "group_by", f"one of {', '.join(_GROUPINGS)}", _one_of(*_GROUPINGS), "what a row stands for"),
    _Option("sort", "sort", _SORTS, _column, "the column that sorts; a minus turns it round"),
    _Option("delay", "delay", f"seconds from {SHORTEST_DELAY} to 3600", _delay, "the least time between two pictures"),
    _Option("filter", "filter", "a filter expression", _filter, "only rows that pass, as after /"),
    _Option("columns", "columns", "a list of column ids", _words, "the table's columns; empty: by priority and width"),
    _Option("theme", "theme", "auto, 256, 16 or none", _one_of("auto", "256", "16", "none"), "colours of the terminal"),
    _Option("ascii", "ascii", "true or false", _flag, "no character outside ASCII"),
    _Option("mouse", "mouse", "true or false", _flag, "take the mouse from the terminal"),
    _Option("readonly", "readonly", "true or false", _flag, "no key and no command that acts on an agent"),
)
_TABLES = {"keys", "project", "control", "attributes"}
_BY_KEY = {option.key: option for option in _OPTIONS}


def config_path(environment: Mapping[str, str], named: str | None = None) -> Path:
    """Where the config file is, or would be: `--config`, else `CLAWTOP_CONFIG`, else the user's config directory."""
    asked = named or environment.get("CLAWTOP_CONFIG")
    if asked:
        return expanded(asked)
    from platformdirs import user_config_path  # noqa: PLC0415 - not needed where the path is named

    return user_config_path("clawtop", appauthor=False) / "config.toml"


def load(
    environment: Mapping[str, str], flags: Mapping[str, object], *, named: str | None = None, required: bool = True
) -> Settings:
    """The effective settings; `flags` are those that were given on the command line.

    Raises UsageError where a flag is wrong, or a config file that was named and is `required` cannot be read at all.
    """
    path = config_path(environment, named)
    draft = _Draft()
    draft.take_table(_parsed(path, required=required and named is not None, draft=draft), str(path))
    draft.take_environment(environment)
    draft.take_flags(flags)
    return Settings(**draft.values, origins=draft.origins, problems=tuple(draft.problems))


class _Draft:
    """Settings on their way, later layers over earlier ones."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.problems: list[str] = []

    def take_table(self, table: Mapping[str, Any], path: str) -> None:
        """What the file says."""
        for key, value in table.items():
            option = _BY_KEY.get(key)
            if option is not None:
                self._take(option, value, f"{path}: {key}", path)
            elif key == "keys":
                self._take_keys(value, path)
            elif key == "project":
                rules = _Option("projects", "project", _RULE, _rules, "")
                self._take(rules, value, f"{path}: [[project]]", path)
            elif key == "control":
                self._take_control(value, path)
            elif key == "attributes":
                self._take(_ATTRIBUTES, value, f"{path}: [attributes]", path)
            else:
                known = ", ".join(sorted({*_BY_KEY, *_TABLES}))
                self.problems.append(f"{path}: {key} is no setting; one of {known}")

    def take_environment(self, environment: Mapping[str, str]) -> None:
        """`CLAWTOP_WINDOW` and the like; lists are separated by commas."""
        for option in _OPTIONS:
            name = f"CLAWTOP_{option.key.upper()}"
            if environment.get(name):
                self._take(option, _from_text(option, environment[name]), f"environment: {name}", f"${name}")

    def take_flags(self, flags: Mapping[str, object]) -> None:
        """The command line's word is the last, and must be right: raises UsageError."""
        for option in _OPTIONS:
            if option.name in flags:
                try:
                    self.values[option.name] = option.read(flags[option.name])
                except _NotExpectedError:
                    flag = f"--{option.key.replace('_', '-')}"
                    raise UsageError(f"{flag} {flags[option.name]} is not {option.expected}") from None
                self.origins[option.name] = "command line"

    def _take(self, option: _Option, value: object, where: str, origin: str) -> None:
        try:
            self.values[option.name] = option.read(value)
            self.origins[option.name] = origin
        except _NotExpectedError:
            self.problems.append(f"{where} is {str(value)[:60]!r}, expected {option.expected}")
        except UsageError as error:
            self.problems.append(f"{where}: {error}")

    def _take_control(self, value: object, path: str) -> None:
        control = value if isinstance(value, dict) else {}
        options = {
            "config_hold": _Option("config_hold", "config_hold", "true or false", _flag, ""),
            "hook": _Option("hooks", "hook", _HOOK, _hooks, ""),
            "process": _Option("processes", "process", _PROCESS, _process_rules, ""),
        }
        for name, each in control.items():
            if name in options:
                self._take(options[name], each, f"{path}: control.{name}", path)
        if control.keys() - options.keys() or not isinstance(value, dict):
            self.problems.append(f"{path}: [control] knows only {', '.join(options)}")

    def _take_keys(self, value: object, path: str) -> None:
        if not isinstance(value, dict) or not all(isinstance(keys, str) for keys in value.values()):
            self.problems.append(f'{path}: [keys] expected a table of command = "key,key"')
            return
        keys = dict(value)
        if "preset" in keys:
            preset = _Option("preset", "preset", "htop or vim", _one_of("htop", "vim"), "")
            self._take(preset, keys.pop("preset"), f"{path}: keys.preset", path)
        self.values["keys"] = keys
        self.origins["keys"] = path


_HOOK = (
    "tables with pause, resume or abort (an argument list, or {url = ...}) "
    "and any of name, agent, project, source, timeout"
)
_PROCESS = (
    "tables with agent and either pidfile or command (a glob on the whole command line), "
    'and any of project, host, e.g. agent = "billing-bot", pidfile = "/run/user/1000/billing.pid"'
)
_RULE = 'tables with name and any of path, session, agent (globs), e.g. name = "billing", path = "/srv/billing*"'


_ATTRIBUTES = _Option(
    "attributes",
    "attributes",
    'lists of attribute names by project, user, owner, environment or task, e.g. project = ["tenant.id"]',
    _attribute_map,
    "",
)


def _from_text(option: _Option, text: str) -> object:
    if option.read is _words:
        return [word for word in text.split(",") if word]
    if option.read is _flag:
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(text.lower(), text)
    if option.read is _delay:
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _parsed(path: Path, *, required: bool, draft: _Draft) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.loads(file.read(_LARGEST).decode())
    except FileNotFoundError:
        if required:
            raise UsageError(f"--config {path} does not exist; `clawtop config --write` makes one") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        if required:
            raise UsageError(f"--config {path} cannot be read: {error}") from error
        draft.problems.append(f"{path} cannot be read: {error}")
        return {}


def effective(settings: Settings, path: Path) -> str:
    """The settings as TOML, each with where its value came from."""
    lines = [f"# {path}{'' if path.exists() else ' (does not exist; `clawtop config --write` makes it)'}", ""]
    for option in _OPTIONS:
        origin = settings.origins.get(option.name, "default")
        value = getattr(settings, option.name)
        shown = tuple(map(without_credentials, value)) if option.name == "sources" else value
        lines.append(f"{option.key} = {_toml(shown)}  # {origin}")
    lines += ["", "[keys]", f"preset = {_toml(settings.preset)}  # {settings.origins.get('preset', 'default')}"]
    lines += [
        f"{_toml(name)} = {_toml(keys)}  # {settings.origins.get('keys')}" for name, keys in settings.keys.items()
    ]
    for rule in settings.projects:
        lines += ["", f"[[project]]  # {settings.origins.get('projects')}", f"name = {_toml(rule.name)}"]
        lines += [f"{part} = {_toml(getattr(rule, part))}" for part in ("path", "session", "agent")]
    lines += ["", f"[attributes]  # {settings.origins.get('attributes', 'default')}"]
    lines += [f"{each.name} = {_toml(getattr(settings.attributes, each.name))}" for each in fields(AttributeMap)]
    origin = settings.origins.get("config_hold", "default")
    lines += ["", "[control]", f"config_hold = {_toml(settings.config_hold)}  # {origin}"]
    lines += [f"# hook {hook.name}: agent {hook.agent}, project {hook.project}" for hook in settings.hooks]
    lines += [f"# process of agent {rule.agent}, project {rule.project}" for rule in settings.processes]
    lines += [f"# problem: {problem}" for problem in settings.problems]
    return "\n".join(lines) + "\n"


def commented_default() -> str:
    """A config file that changes nothing, with every setting explained."""
    plain = Settings()
    lines = ["# clawtop's settings; every line is the default. `clawtop config` shows what is in force.", ""]
    for option in _OPTIONS:
        lines += [f"# {option.about} ({option.expected})", f"# {option.key} = {_toml(getattr(plain, option.name))}", ""]
    lines += [
        "# Keys by the id of a command, as `?` lists them; the preset vim moves with j and k.",
        "# [keys]",
        '# preset = "htop"',
        '# filter = "slash,f3"',
        "",
        "# Which project a session belongs to where neither a tag nor the gateway says so; the first that fits.",
        "# [[project]]",
        '# name = "billing"',
        '# path = "/srv/billing*"',
        "",
        "# Which attributes of what OTLP senders tell say whose a call was: the first that is there.",
        "# [attributes]",
        *(f"# {each.name} = {_toml(each.default)}" for each in fields(AttributeMap)),
        "",
        "# How agents are stopped. Without config_hold no gateway's config is touched, and a pause holds only while",
        "# clawtop runs. A hook stops agents that no gateway runs: the first that fits; exit code 0 means done.",
        "# [control]",
        "# config_hold = true",
        "# [[control.hook]]",
        '# name = "billing bots"',
        '# agent = "billing-*"',
        '# pause = ["systemctl", "--user", "stop", "billing"]',
        '# resume = ["systemctl", "--user", "start", "billing"]',
        "# timeout = 10",
        "# Which process of yours runs an agent, where nothing else says so: it is stopped with all that it started.",
        "# [[control.process]]",
        '# agent = "billing-*"',
        '# pidfile = "/run/user/1000/billing.pid"',
        "# or, instead of pidfile, a glob on the whole command line:",
        '# command = "python* */billing/bot.py*"',
    ]
    return "\n".join(lines) + "\n"


def write_default(path: Path) -> None:
    """Write the commented default. Raises UsageError where something stands there or it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(commented_default())
    except FileExistsError:
        raise UsageError(f"{path} exists already; edit it, or move it away first") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04X}" for c in escaped) + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
