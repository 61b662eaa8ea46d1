"""The question before anything is done to an agent, and the two that may follow from it."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input

from clawtop.model.commands import Abort, Command, Hold, Pause, Plan, Result, Resume, Target
from clawtop.model.snapshot import Grouping, Snapshot, View
from clawtop.tui.desk import Desk
from clawtop.tui.render import aim, outcome, question
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import EMPTY, Line, Span, wrap
from clawtop.tui.render.order import RESORT_MS
from clawtop.tui.render.question import Act, Asked
from clawtop.tui.screens.box import Box


class Question(Box[Command | None]):
    """Asks whether to carry a command out. Only `y` says yes; whom it is about never changes once it is known."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm"),
        Binding("escape,n", "cancel"),
        Binding("tab,shift+tab", "reason"),
        Binding("c", "commands"),
    ]

    def __init__(self, desk: Desk, glyphs: Glyphs, asked: Asked) -> None:
        super().__init__(glyphs)
        self._desk = desk
        self._asked = asked
        self._answered = False
        self._look: Future[Snapshot] | None = None
        self._looked_at = asked.at
        self._reason = Input(placeholder="reason (optional)", id="box-reason", compact=True, select_on_focus=False)
        self._reason.cursor_blink = False

    @property
    def plans(self) -> dict[Target, Plan]:
        """What is known of what would be touched."""
        return dict(self._asked.plans or {})

    def more(self) -> Sequence[Widget]:
        """Why it is done."""
        return (self._reason,)

    def on_mount(self) -> None:
        """Ask what it would touch; Textual lets the box write what is known."""
        self._inquire()

    def aim(self, targets: tuple[Target, ...]) -> None:
        """Take these agents, now that they are known; only the first word counts."""
        if self._asked.targets is None:
            if self._asked.act is Act.RESUME:
                targets = tuple(target for target in targets if target in self._asked.holds)
            self._asked = replace(self._asked, targets=targets)
            if self.is_mounted:
                self._inquire()
                self.write()

    def _inquire(self) -> None:
        targets = self._asked.targets
        if targets and self._asked.act is not Act.RESUME:
            self._sum_up()
            self._desk.plan(targets, self._planned)

    def _sum_up(self) -> None:
        self._look = self._desk.look(View(self._desk.view.window, Grouping.AGENT), self._spend)

    def _spend(self, snapshot: Snapshot) -> None:
        targets = frozenset(self._asked.targets or ())
        rows = {target: row for target, row in aim.by_target(snapshot).items() if target in targets}
        self._tell(replace(self._asked, rows=rows))

    def _planned(self, plans: tuple[Plan, ...] | Exception) -> None:
        if isinstance(plans, Exception):
            self._tell(replace(self._asked, problem=str(plans) or type(plans).__name__))
        else:
            self._tell(replace(self._asked, plans={plan.target: plan for plan in plans}))

    def _tell(self, asked: Asked) -> None:
        self._asked = asked
        answered = asked.plans is not None or bool(asked.problem)
        self._reason.display = asked.can or not answered
        if self.is_mounted:
            self.write()

    def take(self, snapshot: Snapshot) -> None:
        """Keep up with what they spend; nothing else of the question moves."""
        done = self._look is not None and self._look.done()
        if done and snapshot.at - self._looked_at >= RESORT_MS:
            self._looked_at = snapshot.at
            self._sum_up()

    def head(self, width: int, *, roomy: bool) -> Sequence[Line]:
        """Whom it is about, and the spend that stops."""
        return question.head(self._asked, width, self._glyphs, roomy=roomy)

    def body(self, width: int) -> Sequence[Line]:
        """What it touches and what it does not."""
        return question.body(self._asked, width, self._glyphs)

    def keys(self) -> Sequence[tuple[str, str]]:
        """What can be pressed."""
        return question.keys(self._asked, typing=self._reason.has_focus)

    def action_confirm(self) -> None:
        """Do it, once."""
        targets = self._asked.targets
        if self._answered or not targets or not self._asked.can:
            return
        self._answered = True
        reason = self._reason.value.strip() or None
        match self._asked.act:
            case Act.PAUSE:
                self.dismiss(Pause(targets, reason))
            case Act.RESUME:
                self.dismiss(Resume(targets, reason))
            case Act.ABORT:
                self.dismiss(Abort(targets, reason, commands=self._asked.commands))

    def action_cancel(self) -> None:
        """Leave the reason, else leave everything as it is."""
        if self._reason.has_focus:
            self.action_reason()
        elif not self._answered:
            self._answered = True
            self.dismiss(None)

    def action_reason(self) -> None:
        """Type a reason, or end that."""
        self.set_focus(None if self._reason.has_focus else self._reason)

    def on_descendant_focus(self) -> None:
        """Say which keys there are while one types."""
        self.write()

    def on_descendant_blur(self) -> None:
        """Say which keys there are now."""
        self.write()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter keeps the reason and does nothing else."""
        event.stop()
        self.set_focus(None)

    def action_commands(self) -> None:
        """End what runs in the background, too, or leave it alone."""
        if self._asked.act is Act.ABORT and self._asked.background:
            self._tell(replace(self._asked, commands=not self._asked.commands))


class Conflicts(Box[Command | None]):
    """Asks what is to stand where somebody changed something while an agent was held."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "put_back"),
        Binding("e", "keep"),
        Binding("escape,n", "leave"),
    ]

    def __init__(self, glyphs: Glyphs, results: Sequence[Result]) -> None:
        super().__init__(glyphs)
        self._results = tuple(results)
        self._targets = tuple(result.target for result in results)
        self._answered = False

    def head(self, width: int, *, roomy: bool) -> Sequence[Line]:  # noqa: ARG002
        """What happened."""
        words = "Somebody changed this while it was held. It is as they left it, and the hold still stands."
        return ((Span("What is to stand?", "headline"),), *((Span(each),) for each in wrap(words, width)), EMPTY)

    def body(self, width: int) -> Sequence[Line]:
        """What was there and what is there now."""
        return outcome.conflicts(self._results, width, self._glyphs)

    def keys(self) -> Sequence[tuple[str, str]]:
        """What can be pressed."""
        return (("f", "put back what stood before"), ("e", "keep what is there now"), ("Esc", "leave it held"))

    def action_put_back(self) -> None:
        """What stood before the hold."""
        self._answer(Resume(self._targets, force=True))

    def action_keep(self) -> None:
        """What is there now."""
        self._answer(Resume(self._targets, keep=True))

    def action_leave(self) -> None:
        """Neither: the hold stays."""
        self._answer(None)

    def _answer(self, command: Command | None) -> None:
        if not self._answered:
            self._answered = True
            self.dismiss(command)


class Leaving(Box[bool]):
    """Says who stays held before clawtop is left; True leaves.

    As long as commands are under way it waits for them, and leaves by itself once all have come to a good end.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,y,f10", "answer(True)"),
        Binding("escape,n", "answer(False)"),
    ]

    def __init__(self, glyphs: Glyphs, holds: Sequence[Hold], at: int, acting: int = 0) -> None:
        super().__init__(glyphs)
        self._holds = tuple(holds)
        self._at = at
        self._acting = acting
        self._answered = False

    def head(self, width: int, *, roomy: bool) -> Sequence[Line]:  # noqa: ARG002
        """How many, or what is waited for."""
        if self._acting:
            words, more = self._waiting()
        else:
            count = len(self._holds)
            words = "One agent stays held" if count == 1 else f"{count} agents stay held"
            more = "Leaving clawtop lifts no hold. From any shell:"
        return ((Span(words, "headline"),), *((Span(each),) for each in wrap(more, width)), EMPTY)

    def body(self, width: int) -> Sequence[Line]:
        """Who, and how to let each go."""
        return outcome.leaving(self._holds, self._at, width, self._glyphs)

    def keys(self) -> Sequence[tuple[str, str]]:
        """What can be pressed."""
        return (("q", "leave now" if self._acting else "leave"), ("Esc", "stay"))

    def settle(self, holds: Sequence[Hold], acting: int, *, well: bool) -> None:
        """A command has ended, `well` or not, and so many are still under way."""
        self._holds, waited, self._acting = tuple(holds), self._acting, acting
        if waited and (not well or not acting):
            self.action_answer(leave=well)
        else:
            self.write()

    def _waiting(self) -> tuple[str, str]:
        one = self._acting == 1
        words = "A command is still under way" if one else f"{self._acting} commands are still under way"
        ends, it = ("it has ended", "it stops") if one else ("they have ended", "they stop")
        more = f"clawtop leaves once {ends}. Left now, {it} half-way."
        return words, more + (" These hold on, until from any shell:" if self._holds else "")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """It does nothing to any agent, so one can leave a terminal that is too small for it."""
        return True

    def action_answer(self, leave: bool) -> None:  # noqa: FBT001
        """Leave, or stay."""
        if not self._answered:
            self._answered = True
            self.dismiss(leave)
