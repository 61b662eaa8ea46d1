"""Every key binding of the screen, in one place: the help page, the footer and the palette are made from these."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from textual.binding import Binding
from textual.keys import KEY_TO_UNICODE_NAME, REPLACED_KEYS, Keys, format_key

MOVE = Binding.Group("Move")
CHOOSE = Binding.Group("What is shown")
MARK = Binding.Group("Mark and hold still")
ON_AGENTS = Binding.Group("Act on agents")
MORE = Binding.Group("Pages")
GROUPS = (MOVE, CHOOSE, MARK, ON_AGENTS, MORE)
"""The headings of the help page, in their order."""

HINTS = ("help", "pause", "detail", "filter", "project", "group", "sort", "window", "quit")
"""What the last line says first."""


def _key(keys: str, action: str, short: str, tooltip: str, name: str, group: Binding.Group) -> Binding:
    return Binding(keys, action, short, tooltip=tooltip, id=name, group=group, show=False)


FLEET: tuple[Binding, ...] = (
    _key("enter", "detail", "detail", "Open this row: its sessions, runs and errors", "detail", MORE),
    _key("up", "move(-1)", "up", "Go up", "cursor.up", MOVE),
    _key("down", "move(1)", "down", "Go down", "cursor.down", MOVE),
    _key("pageup", "page(-1)", "page up", "Go up one screen", "cursor.page_up", MOVE),
    _key("pagedown", "page(1)", "page down", "Go down one screen", "cursor.page_down", MOVE),
    _key("home", "home", "first", "Go to the first row", "cursor.first", MOVE),
    _key("end", "end", "last", "Go to the last row", "cursor.last", MOVE),
    _key("slash,f3,f4,backslash", "filter", "filter", "Show only rows that pass a filter", "filter", CHOOSE),
    _key("p", "projects", "project", "Choose one project, or all of them", "project", CHOOSE),
    _key("g", "group", "group", "Choose what a row stands for", "group", CHOOSE),
    _key("s,f6", "sort", "sort", "Choose the column that sorts", "sort", CHOOSE),
    _key("w", "window(1)", "window", "Count further back", "window", CHOOSE),
    _key("W", "window(-1)", "shorter window", "Count less far back", "window.shorter", CHOOSE),
    _key("less_than_sign", "sort_by(-1)", "sort left", "Sort by the column to the left", "sort.left", CHOOSE),
    _key("greater_than_sign", "sort_by(1)", "sort right", "Sort by the column to the right", "sort.right", CHOOSE),
    _key("I", "invert", "invert", "Sort the other way round", "sort.invert", CHOOSE),
    _key("c", "columns", "columns", "Choose the columns", "columns", CHOOSE),
    _key("space", "tag", "tag", "Tag this row, or take its tag away", "tag", MARK),
    _key("U", "untag", "untag", "Take all tags away", "tag.none", MARK),
    _key("F", "follow", "follow", "Keep the selected row in sight", "follow", MARK),
    _key("Z", "freeze", "freeze", "Stop the display, not the counting", "freeze", MARK),
    _key("o", "sources", "sources", "Where the figures come from", "sources", MORE),
    _key("d", "demo", "demo", "Start the demo, where nothing was found", "demo", MORE),
)

ACT: tuple[Binding, ...] = (
    _key("k,f9", "pause", "pause", "Pause this agent, or the tagged ones; asks first", "pause", ON_AGENTS),
    _key("K", "pause_all", "pause all", "Pause all that pass the filter; asks first", "pause.all", ON_AGENTS),
    _key("r", "resume", "resume", "Lift the hold; asks first", "resume", ON_AGENTS),
    _key("x", "abort", "abort", "End what runs now, and only that; asks first", "abort", ON_AGENTS),
)
"""These exist only where the screen may act."""

ON_ROW = tuple(binding for binding in ACT if binding.id != "pause.all")
"""Those of them that the page of one row has as well."""

APP: tuple[Binding, ...] = (
    _key("question_mark,f1,h", "keys", "help", "What the keys do: this page", "help", MORE),
    _key("ctrl+p", "command_palette", "palette", "Find a command by its name", "palette", MORE),
    _key("S", "save_picture", "screenshot", "Save what is on the screen as an SVG file", "screenshot", MORE),
    _key("q,f10", "leave", "quit", "Leave clawtop", "quit", MORE),
)

PAGE: tuple[Binding, ...] = (
    _key("escape,q,backspace", "back", "back", "Go back", "page.back", MORE),
    _key("up", "scroll(-1)", "up", "Scroll up", "page.up", MOVE),
    _key("down", "scroll(1)", "down", "Scroll down", "page.down", MOVE),
    _key("pageup", "scroll_page(-1)", "page up", "Scroll up one screen", "page.page_up", MOVE),
    _key("pagedown,space", "scroll_page(1)", "page down", "Scroll down one screen", "page.page_down", MOVE),
    _key("home", "scroll_to_end(-1)", "top", "Scroll to the top", "page.top", MOVE),
    _key("end", "scroll_to_end(1)", "bottom", "Scroll to the bottom", "page.bottom", MOVE),
)

PLAIN = "htop"
"""The preset of those who named none."""

PRESETS: Mapping[str, Mapping[str, str]] = {
    "htop": {},
    "vim": {
        "cursor.up": "up,k",
        "pause": "P,f9",
        "cursor.down": "down,j",
        "cursor.page_up": "pageup,ctrl+u",
        "cursor.page_down": "pagedown,ctrl+d",
        "page.up": "up,k",
        "page.down": "down,j",
        "page.page_up": "pageup,ctrl+u",
        "page.page_down": "pagedown,space,ctrl+d",
    },
}


NO_KEY = "no_key"
"""What no terminal sends: a command that was given no key is mapped to it."""


class Keymap(NamedTuple):
    """The keys of each remapped binding id, and what of what was asked for cannot be."""

    keys: dict[str, str]
    problems: tuple[str, ...] = ()


def keymap(preset: str, keys: Mapping[str, str]) -> Keymap:
    """What `keys` asks for on top of a preset; "" takes a command's keys away.

    Left out, with a problem each: a preset or an id that does not exist, a key that no terminal sends, and of two
    that ask for one key the later.
    """
    problems: list[str] = []
    if preset not in PRESETS:
        problems.append(f"no preset {preset!r}; one of {', '.join(PRESETS)}")
    asked: dict[str, str] = {}
    for name, pressed in keys.items():
        problem = _problem(name, pressed)
        if problem is None:
            asked[name] = _as_told(pressed) if pressed.strip() else NO_KEY
        else:
            problems.append(problem)
    before = PRESETS.get(preset, {})
    while (clash := _clash({**before, **asked})) is not None:
        key, *names = clash
        wrong = next(name for name in reversed(asked) if name in names)
        del asked[wrong]
        problems.append(f"{key!r} would mean both {names[0]!r} and {names[1]!r}, so {wrong!r} keeps its own keys")
    return Keymap({**before, **asked}, tuple(problems))


def _problem(name: str, pressed: str) -> str | None:
    known = {str(binding.id) for binding in (*FLEET, *ACT, *APP, *PAGE)}
    if name not in known:
        return f"{name!r} is no command; one of {', '.join(sorted(known))}"
    for key in pressed.split(",") if pressed.strip() else ():
        if not _is_key(key.strip()):
            return f"{name}: {key.strip()!r} is no key; e.g. x, X, ctrl+g, f5, slash, comma"
    return None


_MODIFIERS = frozenset({"ctrl", "alt", "shift", "super", "hyper", "meta"})
_NAMED = frozenset(key.value.rpartition("+")[2] for key in Keys)


def _is_key(key: str) -> bool:
    """Whether Textual may tell of such a key."""
    *modifiers, last = key.split("+")
    if not _MODIFIERS.issuperset(modifiers):
        return False
    if len(last) == 1:
        return last.isprintable()
    return last in _NAMED or (last.islower() and _is_character(last))


def _as_told(pressed: str) -> str:
    """Keys as Textual calls them: `/` is slash."""
    return ",".join(binding.key for binding in Binding.make_bindings([Binding(pressed, "")]))


def _is_character(name: str) -> bool:
    try:
        unicodedata.lookup(KEY_TO_UNICODE_NAME.get(name, name.replace("_", " ")))
    except KeyError:
        return name in REPLACED_KEYS
    return True


def _clash(mapping: Mapping[str, str]) -> tuple[str, str, str] | None:
    """A key and two commands that would both take it."""
    for context in ((*FLEET, *ACT, *APP), (*PAGE, *ON_ROW)):
        taken: dict[str, str] = {}
        for binding in context:
            name = str(binding.id)
            for key in mapping.get(name, binding.key).split(","):
                other = taken.setdefault(key.strip(), name)
                if other != name and key != NO_KEY:
                    return key.strip(), other, name
    return None


class Command(NamedTuple):
    """A binding as people read it."""

    name: str
    keys: tuple[str, ...]
    short: str
    about: str
    group: str
    action: str


_PLAIN_NAMES = {"up": "Up", "down": "Down", "left": "Left", "right": "Right", "enter": "Enter", "escape": "Esc"}
_NAMES = {"pageup": "PgUp", "pagedown": "PgDn", "space": "Space", "home": "Home", "end": "End", "backspace": "Bksp"}


def shown(key: str, *, ascii_only: bool) -> str:
    """A key as it stands on a keyboard."""
    *modifiers, last = key.split("+")
    if last in _NAMES:
        word = _NAMES[last]
    elif last in _PLAIN_NAMES:
        word = _PLAIN_NAMES[last] if ascii_only or last in {"enter", "escape"} else format_key(last)
    else:
        word = last.upper() if last.startswith("f") and last[1:].isdigit() else format_key(last)
    return "".join(f"{'^' if modifier == 'ctrl' else modifier + '+'}" for modifier in modifiers) + word


def commands(bindings: Sequence[Binding], *, ascii_only: bool) -> tuple[Command, ...]:
    """The bindings (as they are mapped now), one command for each id, by heading."""
    keys: dict[str, list[str]] = {}
    first: dict[str, Binding] = {}
    for binding in bindings:
        if binding.id is None or not binding.tooltip:
            continue
        first.setdefault(binding.id, binding)
        pressed = keys.setdefault(binding.id, [])
        if binding.key != NO_KEY:
            pressed.append(shown(binding.key, ascii_only=ascii_only))
    found = (
        Command(
            name,
            tuple(dict.fromkeys(keys[name])),
            binding.description,
            binding.tooltip,
            binding.group.description if binding.group else "",
            binding.action,
        )
        for name, binding in first.items()
    )
    order = [group.description for group in GROUPS]
    return tuple(sorted(found, key=lambda command: order.index(command.group)))
