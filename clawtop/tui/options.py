"""What the command line tells the screen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from clawtop.model.snapshot import View
from clawtop.tui.keys import keymap
from clawtop.tui.render.columns import BY_ID, unknown

_COERCED = frozenset({"C.UTF-8", "C.utf8"})


class Colours(StrEnum):
    """What a terminal can show. `true` also serves 256 colours: each is rounded to the nearest of those."""

    NONE = "none"
    BASIC = "16"
    TRUE = "true"


@dataclass(frozen=True, slots=True)
class ScreenOptions:
    """How to show the fleet, and what of it first.

    Without `ascii` and `colours` the environment says what the terminal can show. `keys` maps the id of a key binding
    to other keys, e.g. {"filter": "slash,f3"}, on top of `preset` ("htop" or "vim"). `columns` are ids of the table's
    columns in their order; without any they go by priority and width. `notices` are lines that are shown at the start
    and stay readable on the sources' page; `origins` says where settings were said, e.g. {"keys": "/x/config.toml"}.
    `demo_offer` starts the demo source. `absent` are the sources that were
    looked for and are not there.
    """

    view: View = View()
    ascii: bool = False
    mouse: bool = False
    readonly: bool = False
    colours: Colours | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    preset: str = "htop"
    columns: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    demo_offer: Callable[[], None] | None = None
    absent: tuple[str, ...] = ()


def problems(options: ScreenOptions) -> tuple[str, ...]:
    """What of its keys and columns cannot be, each with where it was said."""
    wrong = [("keys", each) for each in keymap(options.preset, options.keys).problems]
    wrong += [("columns", f"{each!r} is no column; one of {', '.join(BY_ID)}") for each in unknown(options.columns)]
    return tuple(f"{options.origins.get(name, 'config')}: {name}: {what}" for name, what in wrong)


def colours(environ: Mapping[str, str]) -> Colours:
    """What the terminal that `environ` describes can show."""
    if environ.get("NO_COLOR"):
        return Colours.NONE
    term = environ.get("TERM", "").casefold()
    if environ.get("COLORTERM", "").casefold() in {"truecolor", "24bit"} or "256" in term or "direct" in term:
        return Colours.TRUE
    known = ("kitty", "alacritty", "ghostty", "wezterm", "foot", "iterm")
    return Colours.TRUE if any(name in term for name in known) else Colours.BASIC


def needs_ascii(environ: Mapping[str, str]) -> bool:
    """Whether that terminal's locale or font has only ASCII: a locale that is not UTF-8, or the Linux console."""
    kind, lang = environ.get("LC_CTYPE") or "", environ.get("LANG") or ""
    # Python itself puts this LC_CTYPE into its environment where the locale is C or does not exist (PEP 538). Without
    # a LANG that is the rule in a container, whose terminal can do more than its locale.
    coerced = kind in _COERCED and bool(lang)
    locale = environ.get("LC_ALL") or (lang if coerced else kind or lang)
    return environ.get("TERM") == "linux" or bool(locale and "utf" not in locale.casefold())
