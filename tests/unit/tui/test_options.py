import pytest

from clawtop.model.errors import UsageError
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
    ],
)
def test_where_only_ascii_is_safe(environ: dict[str, str], wanted: bool) -> None:
    assert needs_ascii(environ) is wanted


def test_every_binding_can_be_remapped_and_says_what_it_does() -> None:
    bindings = (*keys.FLEET, *keys.ACT, *keys.APP, *keys.PAGE)
    assert len({binding.id for binding in bindings}) == len(bindings)
    assert all(binding.id and binding.tooltip and binding.group for binding in bindings)


def test_the_keys_of_vim_move() -> None:
    mapping = keys.keymap("vim", {"quit": "Q"})
    assert (mapping["pause"], mapping["cursor.down"], mapping["cursor.up"], mapping["quit"]) == (
        "P,f9",
        "down,j",
        "up,k",
        "Q",
    )
    assert keys.keymap("htop", {}) == {}


@pytest.mark.parametrize(
    ("preset", "mapping", "words"),
    [
        ("emacs", {}, "no preset 'emacs'; one of htop, vim"),
        ("htop", {"filtre": "x"}, "'filtre' is no command; one of"),
        ("htop", {"quit": "g"}, "'g' would mean both 'group' and 'quit'"),
        ("vim", {"page.back": "j"}, "'j' would mean both"),
    ],
)
def test_wrong_keys_are_refused_with_a_reason(preset: str, mapping: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match="keys: ") as caught:
        keys.keymap(preset, mapping)
    assert words in str(caught.value)


def test_no_key_is_bound_twice_and_those_of_later_pages_are_free() -> None:
    for preset in keys.PRESETS:
        keys.keymap(preset, {})
    taken = {key for binding in (*keys.FLEET, *keys.ACT, *keys.APP) for key in binding.key.split(",")}
    assert not taken & {"t", "a", "e", "b", "m"}


def test_keys_are_written_as_on_a_keyboard() -> None:
    written = {
        "slash": "/", "f1": "F1", "question_mark": "?", "ctrl+p": "^p", "W": "W", "pageup": "PgUp", "escape": "Esc",
        "up": "↑",
    }  # fmt: skip
    assert {key: keys.shown(key, ascii_only=False) for key in written} == written
    assert keys.shown("up", ascii_only=True) == "Up"
