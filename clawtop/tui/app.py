"""The live screen: a Textual app that pulls frozen snapshots whenever the engine says there is another."""

import contextvars
import os
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.screen import Screen

from clawtop.model.commands import Command, Hold, Outcome, Plan, Target
from clawtop.model.errors import ClawtopError, SourceError
from clawtop.model.snapshot import Snapshot, View
from clawtop.tui import keys
from clawtop.tui.ascii_filter import AsciiOnly
from clawtop.tui.feed import Feed
from clawtop.tui.options import Colours, ScreenOptions, colours, needs_ascii, problems
from clawtop.tui.render.columns import unknown as unknown_columns
from clawtop.tui.render.glyphs import ASCII, UNICODE
from clawtop.tui.render.outcome import standing
from clawtop.tui.render.plain import printable
from clawtop.tui.screens.acting import ActingScreen
from clawtop.tui.screens.fleet import FleetScreen
from clawtop.tui.screens.question import Leaving, Question
from clawtop.tui.screens.reader import HelpScreen, Reader
from clawtop.tui.screens.room import too_small
from clawtop.tui.themes import BASIC, OWN

_Told = TypeVar("_Told")
_ASCII_ONLY = AsciiOnly()
NOTICE_SECONDS = 12
"""How long what is told at the start stays on the screen."""

__all__ = ["ClawtopApp", "ScreenOptions", "run_screen"]


class ClawtopApp(App[int]):
    """Shows what a feed says; everything it asks of the feed returns at once."""

    CSS_PATH = Path(__file__).with_name("clawtop.tcss")
    TITLE = "clawtop"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = list(keys.APP)
    AUTO_FOCUS = None

    def __init__(self, feed: Feed, options: ScreenOptions = ScreenOptions()) -> None:  # noqa: B008
        depth = colours(os.environ) if options.colours is None else options.colours
        # Without colours, Textual drops them only from a theme of the terminal's own sixteen.
        super().__init__(ansi_color=True if depth is not Colours.TRUE else None)
        self._feed = feed
        self._options = options
        self._view = options.view
        self._glyphs = ASCII if options.ascii or needs_ascii(os.environ) else UNICODE
        self._loop_of_screen: AbstractEventLoop | None = None
        self._context_of_screen: contextvars.Context | None = None
        self._woken = False
        self._acting = 0
        self._hints: tuple[tuple[str, str], ...] | None = None
        self.animation_level = "none"
        for theme in (OWN, BASIC):
            self.register_theme(theme)
        self.theme = OWN.name if depth is Colours.TRUE else BASIC.name
        self.set_class(self._glyphs.ascii_only, "-ascii")
        self.set_keymap(keys.keymap(options.preset, options.keys).keys)
        self._notices = (*options.notices, *problems(options))
        unknown = unknown_columns(options.columns)
        columns = tuple(dict.fromkeys(each for each in options.columns if each not in unknown))
        self.fleet = (FleetScreen if options.readonly else ActingScreen)(self, self._glyphs, columns)

    @property
    def snapshot(self) -> Snapshot:
        """The feed's latest."""
        return self._feed.snapshot

    @property
    def view(self) -> View:
        """What was asked of the feed last."""
        return self._view

    @property
    def notices(self) -> Sequence[str]:
        """What the user was told at the start."""
        return self._notices

    @property
    def absent(self) -> Sequence[str]:
        """The sources that were looked for and are not there."""
        return self._options.absent

    @property
    def offers_demo(self) -> bool:
        """Whether a demo can be started."""
        return self._options.demo_offer is not None

    @property
    def hints(self) -> tuple[tuple[str, str], ...]:
        """The keys of the last line."""
        if self._hints is None:
            known = {each.name: each for each in self.commands() if each.keys}
            self._hints = tuple((known[name].keys[0], known[name].short) for name in keys.HINTS if name in known)
        return self._hints

    def hints_of(self, bindings: Iterable[Binding]) -> tuple[tuple[str, str], ...]:
        """The keys of the last line of a page with these bindings besides that to go back."""
        shown = (*(each for each in keys.PAGE if each.id == "page.back"), *bindings)
        by_name = {each.name: each for each in self.commands(shown)}
        found = (by_name[str(each.id)] for each in shown)
        return tuple((each.keys[0], each.short) for each in found if each.keys)

    def key_of(self, name: str) -> str | None:
        """The first key of a binding id."""
        return next((each.keys[0] for each in self.commands() if each.name == name and each.keys), None)

    def commands(self, bindings: Iterable[Binding] | None = None) -> tuple[keys.Command, ...]:
        """The commands of some bindings, else of all there are, with the keys they have now."""
        mapping = self._keymap
        if bindings is None:
            bindings = (*keys.FLEET, *(() if self._options.readonly else keys.ACT), *keys.APP)
        mapped = [
            binding.with_key(key.strip())
            for binding in bindings
            for key in mapping.get(str(binding.id), binding.key).split(",")
        ]
        return keys.commands(mapped, ascii_only=self._glyphs.ascii_only)

    def on_mount(self) -> None:
        """Open the main screen, and be woken from now on."""
        self._loop_of_screen = get_running_loop()
        self._context_of_screen = contextvars.copy_context()
        self.push_screen(self.fleet)
        self._feed.listen(self._published)
        if self._notices:
            first, *more = self._notices
            where = f"; {len(more)} more on the page of sources ({self.key_of('sources') or 'palette'})" if more else ""
            self.notify(self._shown(f"{first}{where}"), severity="warning", timeout=NOTICE_SECONDS, markup=False)

    def on_unmount(self) -> None:
        """Be left alone by the engine."""
        self._feed.listen(None)

    def _published(self) -> None:
        # Runs in the engine's thread: it must neither wait nor queue up more than one call.
        if not self._woken:
            self._woken = True
            self._in_screen(self._take)

    def _in_screen(self, callback: Callable[..., None], *args: object) -> None:
        if self._loop_of_screen is not None:
            with suppress(RuntimeError):  # the screen has just closed, and nobody is left to tell
                self._loop_of_screen.call_soon_threadsafe(callback, *args, context=self._context_of_screen)

    def _take(self) -> None:
        self._woken = False
        if self.is_running and self.fleet.is_mounted:
            snapshot = self._feed.snapshot
            self.fleet.take(snapshot)
            if isinstance(self.screen, Reader | Question):
                self.screen.take(snapshot)

    def show(self, view: View) -> None:
        """Ask the feed for snapshots of this view."""
        self._view = view
        self._feed.show(view)

    def look(self, view: View, answer: Callable[[Snapshot], None]) -> Future[Snapshot]:
        """Ask the feed for one snapshot of another view; `answer` gets it in the screen's thread."""
        future = self._feed.look(view)
        future.add_done_callback(lambda done: self._in_screen(self._answered, done, answer))
        return future

    def _answered(self, done: Future[Snapshot], answer: Callable[[Snapshot], None]) -> None:
        if done.cancelled() or not self.is_running:
            return
        error = done.exception()
        if error is None:
            answer(done.result())
        elif isinstance(error, ClawtopError):
            self.say(str(error), wrong=True)
        else:
            raise error

    def holds(self) -> Mapping[Target, Hold]:
        """The holds on agents as they stand now."""
        return self._feed.holds()

    def plan(self, targets: tuple[Target, ...], answer: Callable[[tuple[Plan, ...] | Exception], None]) -> None:
        """Ask what a pause would touch; `answer` gets it, or why nobody knows, in the screen's thread."""
        self._request(lambda: self._feed.plan(targets), answer)

    def submit(self, command: Command, answer: Callable[[Outcome | Exception], None]) -> None:
        """Have a command carried out; `answer` gets what became of it in the screen's thread."""

        def told(became: Outcome | Exception) -> None:
            self._acting -= 1
            answer(became)
            if isinstance(self.screen, Leaving):
                well = isinstance(became, Outcome) and became.verified
                self.screen.settle(standing(self._feed.holds()), self._acting, well=well)

        self._acting += 1
        self._request(lambda: self._feed.submit(command), told)

    def _request(self, ask: Callable[[], Future[_Told]], answer: Callable[[_Told | Exception], None]) -> None:
        try:
            future = ask()
        except ClawtopError as error:
            answer(error)
        else:
            future.add_done_callback(lambda done: self._in_screen(self._reached, done, answer))

    def _reached(self, done: Future[_Told], answer: Callable[[_Told | Exception], None]) -> None:
        if not self.is_running:
            return
        if done.cancelled():
            answer(SourceError("the engine has ended"))
            return
        error = done.exception()
        # Whatever went wrong there: with agents running, a message is worth more than a screen that has fallen over.
        if error is None:
            answer(done.result())
        elif isinstance(error, Exception):
            answer(error)
        else:
            raise error

    def say(self, words: str, *, wrong: bool = False) -> None:
        """Tell the user something for a few seconds."""
        self.notify(self._shown(words), severity="error" if wrong else "information", markup=False)

    def _shown(self, words: str) -> str:
        return printable(words, ascii_only=self._glyphs.ascii_only)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, and the one for terminals that have only ASCII."""
        filters = super().get_line_filters()
        return [*filters, _ASCII_ONLY] if self._glyphs.ascii_only else filters

    def start_demo(self) -> None:
        """Start the demo, where one is offered."""
        if self._options.demo_offer is not None:
            self._options.demo_offer()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette has what the keys do."""
        for command in self.commands():
            if command.name != "palette" and screen is self.fleet:
                keys_now = f"key {', '.join(command.keys)}" if command.keys else "no key"
                yield SystemCommand(f"{command.short}: {command.about}", keys_now, self._runner(command.action))

    def action_command_palette(self) -> None:
        """Find a command by its name; all there are belong to the table."""
        if self.screen is not self.fleet:
            self.say("commands are found by their names from the table: go back there first")
        elif not too_small(self.size):
            super().action_command_palette()

    def _runner(self, action: str) -> Callable[[], Any]:
        async def run() -> None:
            await self.run_action(action, default_namespace=self.fleet if self._is_of_fleet(action) else self)

        return run

    @staticmethod
    def _is_of_fleet(action: str) -> bool:
        return any(binding.action == action for binding in (*keys.FLEET, *keys.ACT))

    def action_keys(self) -> None:
        """Say what the keys do."""
        self.push_screen(HelpScreen(self, self._glyphs, self.commands()))

    def action_leave(self) -> None:
        """Quit; where agents are held, say so first."""
        held = () if self._options.readonly else standing(self._feed.holds())
        if not held and not self._acting:
            self.exit(0)
        elif not isinstance(self.screen, Leaving):
            self.push_screen(Leaving(self._glyphs, held, self._feed.snapshot.at, self._acting), self._leave)

    async def action_quit(self) -> None:
        """Textual's own key to quit does the same."""
        self.action_leave()

    def _leave(self, leave: bool | None) -> None:  # noqa: FBT001
        if leave:
            self.exit(0)

    def action_save_picture(self) -> None:
        """Save the screen as SVG here, or at home where this directory cannot be written."""
        for folder in (Path.cwd(), Path.home()):
            try:
                where = self.save_screenshot(path=str(folder))
            except OSError as error:
                problem = error
            else:
                self.say(f"saved {where}")
                return
        self.say(f"not saved: {problem}", wrong=True)


def run_screen(feed: Feed, options: ScreenOptions) -> int:
    """Show the feed until the user quits; returns the exit code.

    Keys that cannot be mapped and columns that do not exist are told on the screen and left out.
    """
    app = ClawtopApp(feed, options)
    app.run(mouse=options.mouse)
    return app.return_code or 0
