"""The line in which a filter is typed."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from clawtop.model.errors import UsageError
from clawtop.model.selection import Filter, parse_filter
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Span, wrap
from clawtop.tui.render.plain import cut, printable
from clawtop.tui.widgets.painted import Lines


class FilterLine(Vertical):
    """Says what filter it holds while one types; a wrong expression is explained and changes nothing."""

    class Changed(Message):
        """Another filter that is right."""

        def __init__(self, found: Filter) -> None:
            super().__init__()
            self.found = found

    class Closed(Message):
        """Typing has ended; what was there before is wanted back where `kept` is False."""

        def __init__(self, *, kept: bool) -> None:
            super().__init__()
            self.kept = kept

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(id="filter")
        self._glyphs = glyphs
        self._wrong = ""
        self._message = Lines(id="filter-error")
        self._input = Input(
            placeholder="name  project:api  retries>0  cost>=5  !state:idle",
            id="filter-text",
            compact=True,
            select_on_focus=False,
        )
        self._input.cursor_blink = False

    def compose(self) -> ComposeResult:
        """The message above the input."""
        yield self._message
        yield self._input

    def open(self, text: str) -> None:
        """Let the user type, from `text` on."""
        self._input.value = text
        self._input.cursor_position = len(text)
        self.add_class("-open")
        self._say("")
        self._input.focus()

    @property
    def is_open(self) -> bool:
        """Whether one can type."""
        return self.has_class("-open")

    def close(self, *, kept: bool) -> None:
        """End typing."""
        self.remove_class("-open")
        self.screen.set_focus(None)
        self.post_message(self.Closed(kept=kept))

    def _say(self, words: str) -> None:
        """Say what is wrong, in as many lines as leave most of the terminal to the table."""
        self._wrong = words
        self._message.set_class(bool(words), "-wrong")
        width, most = self.app.size.width, max(1, self.app.size.height // 3)
        lines = wrap(printable(words, ascii_only=self._glyphs.ascii_only), width - 2)
        if len(lines) > most:
            last = cut(" ".join(lines[most - 1 :]), width - 2, self._glyphs.ellipsis)
            lines = (*lines[: most - 1], last)
        self._message.styles.height = len(lines)
        self._message.show([(Span(f" {line}", "bad"),) for line in lines])

    def on_resize(self) -> None:
        """Break the lines anew."""
        self._say(self._wrong)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Check what is there now."""
        event.stop()
        if not self.is_open:
            return
        try:
            found = parse_filter(event.value)
        except UsageError as error:
            self._say(str(error).removeprefix("filter: "))
            return
        self._say("")
        self.post_message(self.Changed(found))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter; a wrong one is none, so it stays to be mended."""
        event.stop()
        if not self._wrong:
            self.close(kept=True)

    def key_escape(self) -> None:
        """Take back what was typed."""
        self.close(kept=False)
