"""From a board to the table that a view shows: what did not change since the last one is the same object."""

from collections.abc import Callable
from typing import NamedTuple

from clawtop.fleet.board import Board
from clawtop.fleet.order import sort_key
from clawtop.fleet.rows import part_of
from clawtop.fleet.slots import Slot
from clawtop.fleet.totals import Total
from clawtop.model.selection import Filter
from clawtop.model.snapshot import Grouping, Row, View


class Table(NamedTuple):
    """Rows in order, what those sum to, and how many the filter left out."""

    rows: tuple[Row, ...]
    total: Row
    hidden: int


_Key = Callable[[Row], tuple[object, ...]]


class Publisher:
    """Keeps the rows of the last snapshot in order, and their total."""

    def __init__(self) -> None:
        self._board: Board | None = None
        self._shown_as: tuple[Filter, str, bool] | None = None
        self._total = Total()
        self._table = Table((), self._total.row([], Grouping.AGENT, None), 0)

    def table(self, board: Board, view: View) -> Table:
        """What a view shows of its board."""
        key = sort_key(view.sort, descending=view.descending)
        shown_as = (view.filter, view.sort, view.descending)
        untouched = not board.stale
        stale = [slot for slot in board.stale.values() if _make(slot, board)]
        board.stale.clear()
        if board is not self._board or shown_as != self._shown_as:
            self._board, self._shown_as = board, shown_as
            self._total = Total()
            stale = list(board.slots.values())
            for slot in stale:
                slot.counted = None
        elif untouched:
            return self._table
        for slot in stale:
            self._recount(slot, view, key)
        self._table = self._arrange(board, view)
        return self._table

    def _recount(self, slot: Slot, view: View, key: _Key) -> None:
        if slot.counted is not None:
            self._total.remove(slot.counted)
        part = slot.part
        if part is not None and part.row is not None and view.filter(part.row):
            slot.counted = part
            slot.order = key(part.row)
        else:  # what has no row can still have had something in the minutes that rates are taken over
            slot.counted = None if view.filter.terms or (part is not None and part.row is not None) else part
        if slot.counted is not None:
            self._total.add(slot.counted)

    def _arrange(self, board: Board, view: View) -> Table:
        slots = [slot for slot in board.slots.values() if slot.counted is not None]
        shown = sorted((slot for slot in slots if slot.counted and slot.counted.row), key=lambda slot: slot.order)
        rows = tuple(slot.counted.row for slot in shown if slot.counted and slot.counted.row)
        made = sum(slot.part is not None and slot.part.row is not None for slot in board.slots.values())
        everyone = None if view.filter.terms else board.agents
        return Table(rows, self._total.row(slots, view.group_by, everyone), made - len(rows))


def _make(slot: Slot, board: Board) -> bool:
    """Make a slot's row anew; False where it came out as it was."""
    part = part_of(slot, board.view.group_by, board.newest)
    if part == slot.part:
        return False
    slot.part = part
    return True
