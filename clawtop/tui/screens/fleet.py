"""The main screen: what the fleet burns, and a row for each agent."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from clawtop.model.selection import Filter, everything
from clawtop.model.snapshot import Grouping, Row, Snapshot, View, Window
from clawtop.tui import keys
from clawtop.tui.desk import Desk
from clawtop.tui.render import empty, foot, header, lists
from clawtop.tui.render.columns import BY_ID, COLUMNS, Column, next_sort
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Span
from clawtop.tui.render.outcome import standing
from clawtop.tui.screens.picker import Picker, Toggles
from clawtop.tui.screens.reader import DetailScreen, SourcesScreen
from clawtop.tui.screens.room import TooSmall, mark
from clawtop.tui.widgets.filter_line import FilterLine
from clawtop.tui.widgets.page import Page
from clawtop.tui.widgets.painted import Lines
from clawtop.tui.widgets.table import FleetTable, TableHead

_WINDOWS = tuple(Window)


class FleetScreen(Screen[None]):
    """Shows the latest snapshot, and asks the desk for other views."""

    BINDINGS: ClassVar[list[BindingType]] = list(keys.FLEET)
    AUTO_FOCUS = None

    def __init__(self, desk: Desk, glyphs: Glyphs, columns: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._desk = desk
        self._glyphs = glyphs
        self._snapshot = desk.snapshot
        self._frozen = False
        self._before: Filter = everything
        self._header = Lines(id="header")
        self._head = TableHead(glyphs)
        self.table = FleetTable(glyphs, columns)
        self._empty = Page(id="empty")
        self.filter_line = FilterLine(glyphs)
        self._foot = Lines(id="foot")

    def compose(self) -> ComposeResult:
        """Header, titles, table, last line."""
        yield self._header
        yield self._head
        yield self.table
        yield self._empty
        yield self.filter_line
        yield self._foot
        yield TooSmall()

    def on_mount(self) -> None:
        """Show what there is already."""
        self.take(self._desk.snapshot)

    @property
    def snapshot(self) -> Snapshot:
        """What is on the screen."""
        return self._snapshot

    @property
    def view(self) -> View:
        """What was asked for last."""
        return self._desk.view

    def take(self, snapshot: Snapshot) -> None:
        """Show another snapshot, unless the display is frozen and it is of the same view."""
        if self._frozen and snapshot.view == self._snapshot.view:
            return
        self._snapshot = snapshot
        still = self.app.screen is not self
        self.table.take(snapshot, still=still)
        self._paint()

    def on_resize(self) -> None:
        """Fit everything into the new size."""
        mark(self)
        self._header.styles.height = header.height(*self.app.size)
        self._paint()

    def _paint(self) -> None:
        snapshot, width = self._snapshot, self.app.size.width
        lines = header.height(*self.app.size)
        held = len(standing(self._desk.holds()))
        badges = (*(("FROZEN",) if self._frozen else ()), *((f"{held} HELD",) if held else ()))
        self._header.show(header.header(snapshot, width, lines, self._glyphs, badges))
        self._head.titles(self.table.places, snapshot)
        desk = self._desk
        nothing = empty.page(snapshot, width - 1, self._glyphs, desk.key_of, desk.absent, demo=desk.offers_demo)
        self.set_class(bool(nothing), "-empty")
        self._empty.show(nothing)
        self._paint_foot()

    def _paint_foot(self) -> None:
        snapshot = self._snapshot
        state = foot.status(snapshot.view, self.table.in_sight, len(snapshot.rows), snapshot.hidden, self._glyphs)
        marks = list(foot.tagged(len(self.table.tagged), self.table.unseen_tags))
        marks.extend(foot.sorting(snapshot.view, self.table.places, self._glyphs))
        if self.table.follow:
            marks.append(Span("following  ", "accent"))
        row, number = self.table.selected, self.table.strayed
        if row is not None and number is not None:
            marks.extend(foot.away(row.label, number, self._glyphs))
        self._foot.show((foot.foot(self._hints(), (*marks, *state), self.app.size.width),))

    def _hints(self) -> Sequence[tuple[str, str]]:
        if self.filter_line.is_open:
            return (("Enter", "keep"), ("Esc", "take back"))
        key = self._desk.key_of("demo") if self._can_start_demo else None
        return ((key, "demo"), *self._desk.hints) if key else self._desk.hints

    @property
    def _can_start_demo(self) -> bool:
        return self._desk.offers_demo and empty.nothing_found(self._snapshot)

    def on_fleet_table_moved(self) -> None:
        """The titles stand above their cells, and the last line says which rows are in sight."""
        self._head.titles(self.table.places, self._snapshot)
        self._paint_foot()

    def on_table_head_picked(self, event: TableHead.Picked) -> None:
        """Sort by the clicked title; once more turns it round."""
        self._sort(BY_ID[event.column])

    def _show(self, view: View) -> None:
        self._desk.show(view)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """The demo is offered only where nothing was found."""
        if action == "demo":
            return self._can_start_demo
        return True

    def action_move(self, step: int) -> None:
        """Move the cursor; without any row, scroll what says why."""
        if self._empty.lines:
            self._empty.scroll_by(step)
        else:
            self.table.move(step)

    def action_page(self, step: int) -> None:
        """Move the cursor by a screen."""
        if self._empty.lines:
            self._empty.scroll_by(step * max(1, self._empty.size.height - 1))
        else:
            self.table.page(step)

    def action_home(self) -> None:
        """Go to the first row."""
        self.action_move(-len(self.table.rows or self._empty.lines))

    def action_end(self) -> None:
        """Go to the last row."""
        self.action_move(len(self.table.rows or self._empty.lines))

    def action_tag(self) -> None:
        """Tag the row under the cursor."""
        self.table.tag()

    def action_untag(self) -> None:
        """Take all tags away."""
        self.table.untag()

    def action_follow(self) -> None:
        """Keep the selected row in sight, or no longer."""
        self.table.follow = not self.table.follow
        self.table.keep()
        self.table.reveal()
        self._paint_foot()

    def action_freeze(self) -> None:
        """Stop the display, or let it go on."""
        self._frozen = not self._frozen
        if self._frozen:
            self._paint()
        else:
            self.take(self._desk.snapshot)

    def action_filter(self) -> None:
        """Type a filter; while one does, what to go back to stays."""
        if self.filter_line.is_open:
            return
        self._before = self.view.filter
        self.filter_line.open(self.view.filter.text)
        self._paint_foot()

    def on_filter_line_changed(self, event: FilterLine.Changed) -> None:
        """Filter while one types."""
        self._show(replace(self.view, filter=event.found))

    def on_filter_line_closed(self, event: FilterLine.Closed) -> None:
        """Keep the filter, or go back to the one before."""
        if not event.kept:
            self._show(replace(self.view, filter=self._before))
        self._paint_foot()

    def action_detail(self) -> None:
        """Open the page of the row under the cursor."""
        row = self.table.selected
        if row is not None:
            self.app.push_screen(self._detail_of(row))

    def _detail_of(self, row: Row) -> DetailScreen:
        return DetailScreen(self._desk, self._glyphs, row, self._snapshot)

    def action_sources(self) -> None:
        """Say where the figures come from."""
        self.app.push_screen(SourcesScreen(self._desk, self._glyphs))

    def action_projects(self) -> None:
        """Choose a project from those there are, with what each spends."""
        view = self.view
        scope = replace(view.scope, projects=())
        self._desk.look(View(view.window, Grouping.PROJECT, scope=scope, sort="cost"), self._offer_projects)

    def _offer_projects(self, snapshot: Snapshot) -> None:
        if self.app.screen is not self:
            return
        names = self.view.scope.projects
        items = lists.projects(snapshot, self._glyphs)
        current = next((item.value for item in items if names == (item.value,)), lists.EVERYTHING)
        title = f"project    {lists.spend_title(snapshot.view)}"
        self.app.push_screen(Picker(title, items, self._glyphs, current), self._choose_project)

    def _choose_project(self, glob: str | None) -> None:
        if glob is not None:
            projects = () if glob == lists.EVERYTHING else (glob,)
            self._show(replace(self.view, scope=replace(self.view.scope, projects=projects)))

    def action_group(self) -> None:
        """Choose what a row stands for."""
        current = self.view.group_by.value
        self.app.push_screen(Picker("group by", lists.groupings(), self._glyphs, current), self._choose_grouping)

    def _choose_grouping(self, name: str | None) -> None:
        if name is not None:
            self._show(replace(self.view, group_by=Grouping(name)))

    def action_sort(self) -> None:
        """Choose the column that sorts."""
        current = next((column.id for column in COLUMNS if column.sort == self.view.sort), None)
        items = lists.sorts(self.view, self._glyphs)
        self.app.push_screen(Picker("sort by", items, self._glyphs, current), self._choose_sort)

    def _choose_sort(self, name: str | None) -> None:
        if name is not None:
            self._sort(BY_ID[name])

    def _sort(self, column: Column) -> None:
        if column.sort == self.view.sort:
            self.action_invert()
        elif column.sort is not None:
            self._show(replace(self.view, sort=column.sort, descending=not column.ascending))

    def action_columns(self) -> None:
        """Choose the columns."""
        self.app.push_screen(Toggles("columns", self._toggle_column, self._glyphs))

    def _toggle_column(self, name: str | None) -> Sequence[lists.Item]:
        if name is not None:
            self.table.toggle(name)
            self._paint()
        return lists.columns(self.view, self.table.left_out)

    def action_window(self, step: int) -> None:
        """Count over another window."""
        at = _WINDOWS.index(self.view.window)
        self._show(replace(self.view, window=_WINDOWS[(at + step) % len(_WINDOWS)]))

    def action_sort_by(self, step: int) -> None:
        """Sort by the column beside the one that sorts now."""
        column = next_sort(self.table.places, self.view.sort, step)
        if column is not None and column.sort != self.view.sort:
            self._sort(column)

    def action_invert(self) -> None:
        """Sort the other way round."""
        self._show(replace(self.view, descending=not self.view.descending))

    def action_demo(self) -> None:
        """Start the demo."""
        self._desk.start_demo()
