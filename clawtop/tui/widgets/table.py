"""The fleet table: a line for each row, drawn only where something changed."""

from dataclasses import replace
from typing import NamedTuple

from textual.events import Click
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from clawtop.model.snapshot import Row, Snapshot, View
from clawtop.tui.render.cells import Look, look
from clawtop.tui.render.columns import BY_ID, Layout, body, column_at, head, layout
from clawtop.tui.render.glyphs import Glyphs
from clawtop.tui.render.line import Span
from clawtop.tui.render.order import RESORT_MS, Group, aimed, arrange, moved
from clawtop.tui.widgets.painted import Lines, Painted


class _Drawn(NamedTuple):
    look: Look
    cursor: bool
    tagged: bool


def _without_order(view: View) -> View:
    return replace(view, sort="", descending=False)


class TableHead(Lines):
    """The titles above the table."""

    class Picked(Message):
        """A title was clicked."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(id="table-head")
        self._glyphs = glyphs
        self._places: Layout = ()

    def titles(self, places: Layout, snapshot: Snapshot) -> None:
        """Show the titles of these columns."""
        self._places = places
        self.show((head(places, snapshot.view, self._glyphs),))

    def on_click(self, event: Click) -> None:
        """Sort by the column under the mouse."""
        column = column_at(self._places, event.x)
        if column is not None and column.sort is not None:
            self.post_message(self.Picked(column.id))


class FleetTable(Painted, ScrollView, can_focus=False):
    """The rows of the latest snapshot, in an order that changes at most every RESORT_MS.

    The cursor and the tags belong to rows by their group. Where the cursor's row has left, the cursor is on no
    row until it is moved or the row comes back. Where another view has no such row, the cursor is lent to the
    first one there, until it is moved or a view has its own row again.
    """

    class Moved(Message):
        """The cursor is on another row, or the rows in sight are others."""

    def __init__(self, glyphs: Glyphs, columns: tuple[str, ...] = ()) -> None:
        super().__init__(id="table")
        self._glyphs = glyphs
        self._snapshot: Snapshot | None = None
        self._sorted_at: int | None = None
        self._rows: tuple[Row, ...] = ()
        self._at: dict[Group, int] = {}
        self._last = 0
        self._strips: dict[Group, tuple[_Drawn, Strip]] = {}
        self._shown: dict[int, _Drawn] = {}
        self._touched = False
        self._filling = False
        self._waits_to_reveal = False
        self.cursor: Group | None = None
        self._own: Group | None = None
        self.tagged: set[Group] = set()
        self.chosen = columns
        self.hidden: frozenset[str] = frozenset()
        self.places: Layout = ()
        self.follow = False

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows in their order on the screen."""
        return self._rows

    @property
    def selected(self) -> Row | None:
        """The row under the cursor."""
        return None if self.cursor is None or self.cursor not in self._at else self._rows[self._at[self.cursor]]

    @property
    def aimed(self) -> tuple[Row, ...]:
        """The rows that a command is about: the tagged ones that are there; without any tag that of the cursor."""
        return aimed({row.group: row for row in self._rows}, self.cursor, sorted(self.tagged))

    @property
    def unseen_tags(self) -> int:
        """How many tags belong to rows that are not there."""
        return sum(group not in self._at for group in self.tagged)

    @property
    def strayed(self) -> int | None:
        """The number of the cursor's row where that is out of sight."""
        at = None if self.cursor is None else self._at.get(self.cursor)
        top, behind = self.in_sight
        return None if at is None or top <= at < behind else at

    @property
    def in_sight(self) -> tuple[int, int]:
        """The numbers of the first row on the screen and of the one behind the last."""
        top = self.scroll_offset.y
        return top, min(top + self.size.height, len(self._rows))

    def take(self, snapshot: Snapshot, *, still: bool) -> None:
        """Show another snapshot; `still` keeps every row in its place."""
        before = self._snapshot
        self._snapshot = snapshot
        other = before is None or before.view != snapshot.view
        same_rows = before is not None and _without_order(before.view) == _without_order(snapshot.view)
        due = self._sorted_at is None or snapshot.at - self._sorted_at >= RESORT_MS or snapshot.at < self._sorted_at
        self._filling = self._filling or (before is not None and not before.rows)
        sorts = other or (due and not still)
        if sorts:
            self._sorted_at = snapshot.at
            self._rows = snapshot.rows
        else:
            self._rows = arrange((row.group for row in self._rows), snapshot.rows)
        at = self._at.get(self.cursor) if self.cursor is not None else None
        self._last = self._last if at is None else at
        self._at = {row.group: number for number, row in enumerate(self._rows)}
        self._rest(snapshot, other=other, same_rows=same_rows)
        self._filling = self._filling and not (sorts and self._rows and not snapshot.reading)
        if before is None or before.view.group_by is not snapshot.view.group_by:
            self.tagged.clear()
        for group in self._strips.keys() - self._at.keys():
            del self._strips[group]
        self._resize(snapshot)
        if self.follow or other:
            self.reveal()
        self._draw()

    def _rest(self, snapshot: Snapshot, *, other: bool, same_rows: bool) -> None:
        """Put a cursor that nobody has moved yet, or that a new view has no row for, on the first row.

        A table that was empty has no order yet: the cursor waits for the first one that is made of all its rows. A
        lent cursor goes home only with a view that was asked for: never between a look at the screen and a key.
        """
        untouched = not self._touched and (snapshot.reading or self._filling)
        if self._rows and (self.cursor is None or untouched):
            self.cursor = self._own = self._rows[0].group
        elif not same_rows and self._own in self._at:
            self.cursor = self._own
        elif self._rows and other and self.cursor not in self._at:
            self.cursor = self._rows[0].group

    def _resize(self, snapshot: Snapshot) -> None:
        hidden = self.hidden if snapshot.several_hosts else {*self.hidden, "host"}
        places = layout(self.app.size.width, snapshot.view.group_by, hidden, self.chosen)
        if places != self.places:
            self.places = places
            self._forget()
        size = Size(self.size.width, len(self._rows))
        if size != self.virtual_size:
            self.virtual_size = size
            self.refresh()

    def _forget(self) -> None:
        self._strips.clear()
        self._shown.clear()
        self.refresh()

    def on_resize(self) -> None:
        """Choose columns for the new width."""
        if self._snapshot is not None:
            self._resize(self._snapshot)
            self._draw()
            self.post_message(self.Moved())

    def toggle(self, column: str) -> None:
        """Leave this column out, or take it in again; behind those that were chosen, if it was none of them."""
        if self.chosen and column not in self.chosen:
            self.chosen = (*self.chosen, column)
        else:
            self.hidden ^= {column}
        self.on_resize()

    @property
    def left_out(self) -> frozenset[str]:
        """The ids of the columns that are not wanted."""
        return self.hidden | (BY_ID.keys() - set(self.chosen) if self.chosen else frozenset())

    def notify_style_update(self) -> None:
        """Draw everything again in the new colours."""
        super().notify_style_update()
        self._strips.clear()
        self._shown.clear()

    def _drawn(self, number: int, snapshot: Snapshot) -> _Drawn:
        row = self._rows[number]
        at = look(row, snapshot.fleet, snapshot.at, self._glyphs)
        return _Drawn(at, row.group == self.cursor, row.group in self.tagged)

    def _draw(self) -> None:
        """Ask for the lines in sight that would look different now."""
        snapshot = self._snapshot
        if snapshot is None:
            return
        top = self.scroll_offset.y
        for y in range(self.size.height):
            drawn = self._drawn(top + y, snapshot) if top + y < len(self._rows) else None
            if self._shown.get(y) != drawn:
                self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """The strip of one line in sight."""
        snapshot = self._snapshot
        number = self.scroll_offset.y + y
        if snapshot is None or number >= len(self._rows):
            self._shown.pop(y, None)
            return Strip.blank(self.size.width, self.style_of(""))
        drawn = self._drawn(number, snapshot)
        self._shown[y] = drawn
        group = drawn.look.row.group
        known = self._strips.get(group)
        if known is not None and known[0] == drawn:
            return known[1]
        strip = self._strip(drawn)
        self._strips[group] = (drawn, strip)
        return strip

    def _strip(self, drawn: _Drawn) -> Strip:
        style = {
            (False, False): "",
            (True, False): "row-cursor",
            (False, True): "row-tagged",
            (True, True): "row-cursor-tagged",
        }[drawn.cursor, drawn.tagged]
        gutter = (
            Span(self._glyphs.cursor if drawn.cursor else " ", "accent"),
            Span(self._glyphs.tag if drawn.tagged else " ", "accent"),
        )
        line = (*gutter, *body(drawn.look, self.places, self._glyphs))
        return self.paint(line, style)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Draw what came into sight."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._shown.clear()
            self.post_message(self.Moved())

    def put(self, number: int | None) -> None:
        """Put the cursor on the row with this number."""
        self._touched = True
        if number is None:
            return
        self.cursor = self._rows[number].group
        self.keep()
        self._last = number
        self.reveal()
        self._draw()
        self.post_message(self.Moved())

    def keep(self) -> None:
        """Let the cursor belong to the row it is on, even if it was lent."""
        self._own = self.cursor

    def move(self, step: int) -> None:
        """Move the cursor by so many rows."""
        at = None if self.cursor is None else self._at.get(self.cursor)
        self.put(moved(at, step, len(self._rows), self._last))

    def page(self, step: int) -> None:
        """Move the cursor by so many screens."""
        self.move(step * max(1, self.size.height - 1))

    def reveal(self) -> None:
        """Scroll so that the cursor is in sight, as soon as the table is."""
        at = None if self.cursor is None else self._at.get(self.cursor)
        self._waits_to_reveal = not self.size.height
        if at is None or not self.size.height:
            return
        top = self.scroll_offset.y
        if not top <= at < top + self.size.height:
            target = at if at < top else at - self.size.height + 1
            # Rows that have just come make the table scroll only from its next layout on: that need not be waited for.
            self.scroll_to(y=target, animate=False, immediate=True, force=True)

    def on_show(self) -> None:
        """Make up for what could not be done without a size."""
        if self._waits_to_reveal:
            self.reveal()
            self.post_message(self.Moved())

    def tag(self) -> None:
        """Tag the row under the cursor, or take its tag away, and go on to the next."""
        if self.selected is not None and self.cursor is not None:
            self.tagged ^= {self.cursor}
            self.move(1)

    def untag(self) -> None:
        """Take all tags away."""
        self.tagged.clear()
        self._draw()
        self.post_message(self.Moved())

    def on_click(self, event: Click) -> None:
        """Put the cursor on the row under the mouse."""
        number = self.scroll_offset.y + event.y
        if number < len(self._rows):
            self.put(number)
