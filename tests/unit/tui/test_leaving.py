"""What is said of those that stay held when clawtop is left."""

from clawtop.model.commands import Hold, HoldState, Target
from clawtop.tui.render.glyphs import UNICODE
from clawtop.tui.render.outcome import leaving

HOST = "127.0.0.1:18999"


def test_the_command_that_lifts_a_hold_names_host_and_source_in_full() -> None:
    hold = Hold(Target(HOST, "coder"), HoldState.PAUSED, 1, "me", source=f"gateway:ws://{HOST}")
    lines = ["".join(span.text for span in line) for line in leaving([hold], 1000, 50, UNICODE)]

    assert " ".join(" ".join(lines[1:]).split()) == f"clawtop resume coder@{HOST} -s gateway:ws://{HOST}"
