import pytest

from clawtop.tui import keys
from clawtop.tui.options import Colours, colours, needs_ascii


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"TERM": "xterm-256color"}, Colours.TRUE),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, Colours.TRUE),
        ({"TERM": "xterm-kitty"}, Colours.TRUE),
        ({"TERM": "xterm"}, Colours.BASIC),
        ({"TERM": "linux"}, Colours.BASIC),
        ({}, Colours.BASIC),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, Colours.NONE),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, Colours.TRUE),
    ],
)
def test_what_colours_a_terminal_has(environ: dict[str, str], wanted: Colours) -> None:
    assert colours(environ) is wanted


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"LANG": "en_GB.UTF-8"}, False),
        ({"LANG": "en_GB.utf8"}, False),
        ({}, False),
        ({"LC_ALL": "C", "LANG": "en_GB.UTF-8"}, True),
        ({"LANG": "de_DE.ISO-8859-1"}, True),
        ({"LANG": "C.UTF-8", "TERM": "linux"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "POSIX", "LC_CTYPE": "C.utf8"}, True),
        ({"LANG": "en_US.ISO-8859-1", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "en_GB.UTF-8", "LC_CTYPE": "C.UTF-8"}, False),
        ({"LC_CTYPE": "C.UTF-8"}, False),
        ({"LANG": "", "LC_CTYPE": "C.UTF-8"}, False),
        ({"LANG": "C", "LC_CTYPE": "en_GB.UTF-8"}, False),
        ({"LANG": "C", "LC_ALL": "C.UTF-8", "LC_CTYPE": "C.UTF-8"}, False),
    ],
)
def test_where_only_ascii_is_safe(environ: dict[str, str], wanted: bool) -> None:
    assert needs_ascii(environ) is wanted


def test_every_binding_can_be_remapped_and_says_what_it_does() -> None:
    bindings = (*keys.FLEET, *keys.ACT, *keys.APP, *keys.PAGE)
    assert len({binding.id for binding in bindings}) == len(bindings)
    assert all(binding.id and binding.tooltip and binding.group for binding in bindings)


def test_the_keys_of_vim_move() -> None:
    mapping = keys.keymap("vim", {"quit": "Q"}).keys
    assert (mapping["pause"], mapping["cursor.down"], mapping["cursor.up"], mapping["quit"]) == (
        "P,f9",
        "down,j",
        "up,k",
        "Q",
    )
    assert keys.keymap("htop", {}) == keys.Keymap({})


@pytest.mark.parametrize(
    ("preset", "asked", "words"),
    [
        ("emacs", {}, "no preset 'emacs'; one of htop, vim"),
        ("htop", {"filtre": "x"}, "'filtre' is no command; one of"),
        ("htop", {"quit": "g"}, "'g' would mean both 'group' and 'quit', so 'quit' keeps its own keys"),
        ("htop", {"filter": "f5", "quit": "f5"}, "so 'quit' keeps its own keys"),
        ("htop", {"group": "/"}, "'slash' would mean both"),
        ("htop", {"page.up": "k"}, "'k' would mean both 'page.up' and 'pause'"),
        ("vim", {"page.back": "j"}, "'j' would mean both"),
        ("htop", {"sort": "sl4sh"}, "sort: 'sl4sh' is no key; e.g. x"),
        ("htop", {"sort": "Ctrl+G"}, "sort: 'Ctrl+G' is no key"),
        ("htop", {"sort": ","}, "sort: '' is no key"),
    ],
)
def test_wrong_keys_are_left_out_with_a_reason(preset: str, asked: dict[str, str], words: str) -> None:
    found = keys.keymap(preset, {"demo": "D", **asked})
    (said,) = found.problems
    assert words in said
    assert found.keys["demo"] == "D"
    assert not set(list(asked)[-1:]) & found.keys.keys() - keys.PRESETS.get(preset, {}).keys()


@pytest.mark.parametrize(
    "key", ["v", "V", ";", "ctrl+g", "f5", "alt+left", "comma", "minus", "at", "right_parenthesis", "plus", "é"]
)
def test_keys_that_a_terminal_can_send(key: str) -> None:
    assert keys.keymap("htop", {"demo": key}).problems == ()


def test_keys_can_change_places_and_a_command_can_have_none() -> None:
    found = keys.keymap("htop", {"group": "w", "window": "g", "pause": "", "abort": " "})
    assert found == keys.Keymap({"group": "w", "window": "g", "pause": keys.NO_KEY, "abort": keys.NO_KEY})


def test_no_key_is_bound_twice_and_those_of_later_pages_are_free() -> None:
    for preset in keys.PRESETS:
        assert not keys.keymap(preset, {}).problems
    taken = {key for binding in (*keys.FLEET, *keys.ACT, *keys.APP) for key in binding.key.split(",")}
    assert not taken & {"t", "a", "e", "b", "m"}


def test_keys_are_written_as_on_a_keyboard() -> None:
    written = {
        "slash": "/", "f1": "F1", "question_mark": "?", "ctrl+p": "^p", "W": "W", "pageup": "PgUp", "escape": "Esc",
        "up": "↑",
    }  # fmt: skip
    assert {key: keys.shown(key, ascii_only=False) for key in written} == written
    assert keys.shown("up", ascii_only=True) == "Up"
