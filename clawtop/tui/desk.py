"""What screens share: the view that was asked for, the feed behind it, and how the keys are called."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol

from textual.binding import Binding

from clawtop.model.commands import Command, Hold, Outcome, Plan, Target
from clawtop.model.snapshot import Snapshot, View


class Desk(Protocol):
    """What the app does for its screens."""

    @property
    def snapshot(self) -> Snapshot:
        """The latest one."""

    @property
    def view(self) -> View:
        """What was asked for last."""

    @property
    def notices(self) -> Sequence[str]:
        """What the user was told at the start."""

    @property
    def offers_demo(self) -> bool:
        """Whether a demo can be started."""

    @property
    def absent(self) -> Sequence[str]:
        """The sources that were looked for and are not there."""

    @property
    def hints(self) -> tuple[tuple[str, str], ...]:
        """The keys of the last line, each with its meaning."""

    def hints_of(self, bindings: Iterable[Binding]) -> tuple[tuple[str, str], ...]:
        """The same for a page to read that has these bindings besides that to go back."""

    def key_of(self, name: str) -> str | None:
        """The key of a binding id as people read it, None where it has none."""

    def show(self, view: View) -> None:
        """Ask for snapshots of this view."""

    def say(self, words: str, *, wrong: bool = False) -> None:
        """Tell the user something for a few seconds."""

    def holds(self) -> Mapping[Target, Hold]:
        """The holds on agents as they stand now."""

    def plan(self, targets: tuple[Target, ...], answer: Callable[[tuple[Plan, ...] | Exception], None]) -> None:
        """Ask what a pause would touch; `answer` gets it, or why nobody knows, in the screen's thread."""

    def submit(self, command: Command, answer: Callable[[Outcome | Exception], None]) -> None:
        """Have a command carried out; `answer` gets what became of it in the screen's thread."""

    def look(self, view: View, answer: Callable[[Snapshot], None]) -> Future[Snapshot]:
        """Ask for one snapshot of another view; `answer` gets it in the screen's thread."""

    def start_demo(self) -> None:
        """Start the demo."""
