"""What lines say, for tests."""

from collections.abc import Iterable

from clawtop.tui.render.line import Span


def text(line: Iterable[Span]) -> str:
    """What the line says, without its styles."""
    return "".join(span.text for span in line)
