"""The main screen and the page of a row where one may act: pause, resume, abort."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from clawtop.model.commands import Command, Outcome, Plan, Target
from clawtop.model.selection import Scope
from clawtop.model.snapshot import Grouping, Row, Snapshot
from clawtop.tui import keys
from clawtop.tui.render import aim, outcome
from clawtop.tui.render.question import Act, Asked
from clawtop.tui.screens.fleet import FleetScreen
from clawtop.tui.screens.question import Conflicts, Question
from clawtop.tui.screens.reader import DetailScreen, OutcomeScreen


class ActingDetail(DetailScreen):
    """The page of a row with the keys that do something to its agents; `act` asks as the table would."""

    BINDINGS: ClassVar[list[BindingType]] = list(keys.ON_ROW)
    EXTRA: ClassVar[tuple[Binding, ...]] = keys.ON_ROW

    def __init__(self, act: Callable[[Act, Sequence[Row]], None], *arguments: Any) -> None:
        super().__init__(*arguments)
        self._act = act

    def action_pause(self) -> None:
        """Ask whether to pause what the page is about."""
        self._act(Act.PAUSE, (self.row,))

    def action_resume(self) -> None:
        """Ask whether to let it go on."""
        self._act(Act.RESUME, (self.row,))

    def action_abort(self) -> None:
        """Ask whether to end what runs now."""
        self._act(Act.ABORT, (self.row,))


class ActingScreen(FleetScreen):
    """The table with the keys that do something to agents; each asks first."""

    BINDINGS: ClassVar[list[BindingType]] = list(keys.ACT)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._waiting: list[tuple[Screen[Any], bool]] = []

    def action_pause(self) -> None:
        """Ask whether to pause what is selected or tagged."""
        self._ask(Act.PAUSE, self.table.aimed)

    def action_pause_all(self) -> None:
        """Ask whether to pause all that pass the filter."""
        self._ask(Act.PAUSE, self.table.rows, whole_filter=True)

    def action_resume(self) -> None:
        """Ask whether to let go on what is selected or tagged."""
        self._ask(Act.RESUME, self.table.aimed)

    def action_abort(self) -> None:
        """Ask whether to end what runs now."""
        self._ask(Act.ABORT, self.table.aimed)

    def _detail_of(self, row: Row) -> DetailScreen:
        return ActingDetail(self._ask, self._desk, self._glyphs, row, self._snapshot)

    def _ask(self, act: Act, rows: Sequence[Row], *, whole_filter: bool = False) -> None:
        view = self._snapshot.view
        if not rows and self.table.tagged:
            self._desk.say(_all_hidden(len(self.table.tagged), self._desk.key_of("tag.none")), wrong=True)
            return
        aimed = aim.aim(rows, view, self._desk.key_of("group"))
        if aimed.refusal is not None:
            self._desk.say(aimed.refusal, wrong=True)
            return
        holds = dict(self._desk.holds())
        what = aim.named(rows, view.group_by)
        asked = Asked(act, what, self._snapshot.at, holds=holds, whole_filter=whole_filter)
        if aimed.view is None:
            targets = aimed.targets if act is not Act.RESUME else tuple(each for each in aimed.targets if each in holds)
            if not targets:
                self._desk.say(_nothing_held(aimed.targets), wrong=True)
                return
            known = aim.by_target(self._snapshot) if view.group_by is Grouping.AGENT and view.scope == Scope() else {}
            asked = replace(asked, targets=targets, rows={each: known[each] for each in targets if each in known})
        question = Question(self._desk, self._glyphs, asked)
        self.app.push_screen(question, partial(self._decided, question))
        if aimed.view is not None:

            def found(snapshot: Snapshot) -> None:
                question.aim(aim.found(snapshot, rows, view.group_by))

            self._desk.look(aimed.view, found)

    def _decided(self, question: Question, command: Command | None) -> None:
        if command is not None:
            self._submit(command, question.plans)

    def _submit(self, command: Command, plans: dict[Target, Plan]) -> None:
        self._desk.submit(command, partial(self._told, plans))

    def _told(self, plans: dict[Target, Plan], told: Outcome | Exception) -> None:
        if isinstance(told, Exception):
            self._desk.say(f"it is not known what became of it: {str(told) or type(told).__name__}", wrong=True)
            return
        self._desk.say(outcome.line(told), wrong=not told.verified)
        conflicting = outcome.conflicting(told)
        if outcome.failed(told):
            self._open(OutcomeScreen(self._desk, self._glyphs, told, plans), asks=False)
        if conflicting:
            self._open(Conflicts(self._glyphs, conflicting), asks=True)

    def _open(self, screen: Screen[Any], *, asks: bool) -> None:
        self._waiting.append((screen, asks))
        self._open_next()

    def _open_next(self) -> None:
        """Open what waits, but over nothing: a key that was meant for something else must not answer a question."""
        seen = self.app.screen is self or isinstance(self.app.screen, ActingDetail)
        if self._waiting and seen and not self.filter_line.is_open:
            screen, asks = self._waiting.pop(0)
            self.app.push_screen(screen, self._settle if asks else None)

    def _settle(self, command: Command | None) -> None:
        if command is not None:
            self._submit(command, {})

    def take(self, snapshot: Snapshot) -> None:
        """Show another snapshot, and what has waited until the table was seen again."""
        super().take(snapshot)
        self._open_next()


def _all_hidden(count: int, key: str | None) -> str:
    what = "the tagged row is" if count == 1 else f"all {count} tagged rows are"
    return f"{what} hidden: show them again, or take all tags away{f' ({key})' if key else ''}"


def _nothing_held(targets: Sequence[Target]) -> str:
    return f"{targets[0].agent} is not held" if len(targets) == 1 else "none of these agents is held"
