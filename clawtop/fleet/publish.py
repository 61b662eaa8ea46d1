"""From a board to the table that a view shows: what did not change since the last one is the same object."""

from collections.abc import Callable
from operator import attrgetter
from typing import NamedTuple

from clawtop.fleet.board import Board
from clawtop.fleet.order import sort_key
from clawtop.fleet.rows import part_of
from clawtop.fleet.slots import Slot
from clawtop.fleet.totals import Total, rate_of
from clawtop.model.selection import Filter
from clawtop.model.snapshot import Grouping, Rate, Row, View


class Table(NamedTuple):
    """Rows in order, what those sum to, how many the filter left out, and what all spend where there is one."""

    rows: tuple[Row, ...]
    total: Row
    hidden: int
    unfiltered: Rate | None = None


_Key = Callable[[Row], tuple[object, ...]]


class Publisher:
    """Keeps the rows of the last snapshot in order, and their total."""

    def __init__(self) -> None:
        self._board: Board | None = None
        self._shown_as: tuple[Filter, str, bool] | None = None
        self._total = Total()
        self._table = Table((), self._total.row([], Grouping.AGENT, None), 0)

    def shows(self, view: View) -> bool:
        """Whether its last table has the rows of this view, in this order, as far as their board has."""
        return self._shown_as == (view.filter, view.sort, view.descending)

    def table(self, board: Board, view: View) -> Table:
        """What a view shows of its board."""
        key = sort_key(view.sort, descending=view.descending)
        shown_as = (view.filter, view.sort, view.descending)
        touched = list(board.stale.values())
        board.stale.clear()
        stale = [slot for slot in touched if _make(slot, board)]
        if board is not self._board or shown_as != self._shown_as:
            self._board, self._shown_as = board, shown_as
            self._total = Total()
            stale = touched = list(board.slots.values())
            for slot in stale:
                slot.counted = None
        elif not touched:
            return self._table
        for slot in stale:
            self._recount(slot, view, key)
        self._table = self._arrange(board, view, touched)
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

    def _arrange(self, board: Board, view: View, touched: list[Slot]) -> Table:
        made = [slot for slot in board.slots.values() if slot.part and slot.part.row]
        shown = sorted((slot for slot in made if slot.counted), key=_order)
        rows = tuple([slot.counted.row for slot in shown if slot.counted and slot.counted.row])
        filtered = bool(view.filter.terms)
        if filtered:
            self._total.forget()
        for slot in shown if filtered else touched:
            self._total.see(slot)
        slots, everyone = (shown, None) if filtered else (list(board.slots.values()), board.agents)
        unfiltered = rate_of([slot.part for slot in board.slots.values() if slot.part]) if filtered else None
        return Table(rows, self._total.row(slots, view.group_by, everyone), len(made) - len(rows), unfiltered)


_order = attrgetter("order")


def _make(slot: Slot, board: Board) -> bool:
    """Make a slot's row anew; False where it came out as it was."""
    part = part_of(slot, board.view.group_by, board.newest)
    if part == slot.part:
        return False
    slot.part = part
    return True
