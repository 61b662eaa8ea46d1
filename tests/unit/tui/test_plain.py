import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from clawtop.plain import MARK
from clawtop.tui.render.plain import cut, middle, printable, tail

ANYTHING = st.text(st.characters(), max_size=80)
NASTY = st.text(
    st.sampled_from(
        "a界é\u0301\u200b\u202e\u2066\x1b\x9b\x07\n\ud800\ufeff\u00ad\U000e0041\ufe0f\u200d\U0001f3fd❤👩\u3000[]"
    ),
    max_size=40,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("coder", "coder"),
        ("\x1b[2J", f"{MARK}[2J"),
        ("[bold]x", "[bold]x"),
        ("a\u202eb", f"a{MARK}b"),
        ("a\u200bb", f"a{MARK}b"),
        ("half\ud83d", f"half{MARK}"),
        ("a\tb\nc", f"a{MARK}b{MARK}c"),
        ("a\u00a0b", "a b"),
        ("e\u0301t\u00e9", "e\u0301t\u00e9"),
        ("\u0301x", f"{MARK}x"),
        ("z\u0301\u0302\u0303\u0304", f"z\u0301\u0302{MARK}{MARK}"),
        ("\u3164", MARK),
        ("\u26a0\ufe0f stop", "\u26a0 stop"),
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\U0001f4bb"),
        ("\u2764\ufe0f\u200d\U0001f525", "\u2764\U0001f525"),
        ("\U0001f469\u200d", f"\U0001f469{MARK}"),
        ("a\ufe0fb", f"a{MARK}b"),
        ("deploy \U0001f44d\U0001f3fd", "deploy \U0001f44d"),
        ("\u261d\ufe0f\U0001f3ff up", "\u261d up"),
        ("\U0001f469\U0001f3fd\u200d\U0001f4bb", "\U0001f469\U0001f4bb"),
        ("\U0001f44d\U0001f3fd\U0001f3fd", f"\U0001f44d{MARK}"),
        ("\u754c\U0001f3fd", f"\u754c{MARK}"),
        ("\U0001f3fd", MARK),
        ("界", "界"),
    ],
)
def test_what_a_terminal_would_obey_becomes_a_mark(text: str, wanted: str) -> None:
    assert printable(text) == wanted


@given(ANYTHING | NASTY, st.none() | st.integers(0, 30), st.booleans())
def test_nothing_harmful_is_left_and_it_fits(text: str, width: int | None, ascii_only: bool) -> None:
    clean = printable(text, width, ascii_only=ascii_only)
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for char in clean)
    assert not any(0xFE00 <= ord(char) <= 0xFE0F for char in clean)
    assert width is None or cell_len(clean) <= width
    assert clean.isascii() or not ascii_only
    clean.encode()


def test_what_is_unknown_is_a_dash_in_ascii_too() -> None:
    assert printable("\u2013", ascii_only=True) == "-"
    assert printable("a\u2013\u00e9", ascii_only=True) == "a-?"


@given(NASTY)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@given(ANYTHING | NASTY, st.integers(1, 20))
def test_the_width_only_cuts(text: str, width: int) -> None:
    assert printable(text, width) == cut(printable(text), width, "…")


def test_wide_characters_are_cut_by_cells() -> None:
    assert cut("世界人", 6) == "世界人"
    assert cut("世界人", 5, "…") == "世界…"
    assert cut("世界人", 4, "…") == "世…"
    assert cut("世界人", 5) == "世界"
    assert cut("abc", 0) == ""
    assert tail("anthropic-claude", 7, "…") == "…claude"
    assert tail("世界人", 4, "…") == "…人"
    assert tail("abc", 3, "…") == "abc"
    assert middle("agent:coder:main:run-7", 10, "…") == "agent…un-7"
    assert middle("世界人世界人", 7, "…") == "世界…人"
    assert middle("abc", 3, "…") == "abc"


def test_a_long_hostile_name_costs_what_is_shown_of_it() -> None:
    assert printable("\u202e" * 300, 12) == MARK * 11 + "…"
