"""The bytes that reach a real terminal."""

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SGR = re.compile(rb"\x1b\[([0-9;]*)m")
_PATIENCE = 30


def played(*arguments: str, **environ: str) -> bytes:
    """All that clawtop wrote on a terminal of 80x24, from its start until it was left with q."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LANG": "C.UTF-8", **environ}
    command = [sys.executable, "-m", "tests.tui.on_terminal", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=ROOT) as child:
        os.close(theirs)
        said = _until(ours, b"triage")
        os.write(ours, b"q")
        said += _until(ours, None)
        assert child.wait(_PATIENCE) == 0
    os.close(ours)
    return said


def _until(terminal: int, mark: bytes | None) -> bytes:
    said = b""
    while mark is None or mark not in said:
        ready, _, _ = select.select([terminal], [], [], _PATIENCE)
        assert ready, said[-2000:]
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            part = b""
        if not part:
            break
        said += part
    return said


def styles(said: bytes) -> set[bytes]:
    return set(_SGR.findall(said))


def test_true_colours_where_the_terminal_has_them() -> None:
    assert any(b"38;2;" in style for style in styles(played(TERM="xterm-256color", COLORTERM="truecolor")))


def test_256_colours_and_no_more() -> None:
    found = styles(played(TERM="xterm-256color"))
    assert any(b"38;5;" in style for style in found)
    assert not any(b"38;2;" in style or b"48;2;" in style for style in found)


def test_sixteen_colours_and_no_more() -> None:
    found = styles(played(TERM="xterm"))
    assert not any(b"8;2;" in style or b"8;5;" in style for style in found)
    assert any(b"91" in style for style in found)


@pytest.mark.parametrize("term", ["xterm-256color", "xterm"])
def test_no_color_means_none(term: str) -> None:
    found = styles(played(TERM=term, COLORTERM="truecolor", NO_COLOR="1"))
    numbers = {int(number) for style in found for number in style.split(b";") if number}
    assert numbers <= {0, 1, 7, 39, 49}


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (["--ascii"], {}),
        ([], {"LC_ALL": "C"}),
        ([], {"LC_ALL": "POSIX"}),
        ([], {"LANG": "C"}),
        ([], {"LANG": "en_US.ISO-8859-1"}),
        ([], {"TERM": "linux"}),
    ],
    ids=["--ascii", "C", "POSIX", "LANG", "Latin-1", "linux"],
)
def test_ascii_where_nothing_else_is_safe(arguments: list[str], environ: dict[str, str]) -> None:
    said = played(*arguments, **{"TERM": "xterm-256color", **environ})
    assert said.isascii()
    assert b"> * run" in re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", said)


def test_the_mouse_stays_the_terminals() -> None:
    said = played(TERM="xterm-256color")
    assert b"\x1b[?1000h" not in said
    assert b"\x1b[?1003h" not in said
