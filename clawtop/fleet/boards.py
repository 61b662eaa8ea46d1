"""The boards that are kept up to date: that of the view that is published, and those of what is looked at beside it."""

from dataclasses import dataclass

from clawtop.fleet.board import Board
from clawtop.fleet.publish import Publisher, Table
from clawtop.fleet.store import Store
from clawtop.model.snapshot import View

_MOST_LOOKS = 5
"""More than the page of a row asks for."""
_LOOKED_AT_MS = 10_000
"""A board that nobody looked at for so long is dropped: each costs time with every event."""


@dataclass(slots=True)
class _Sight:
    """A board, what shows it, and when it was last asked for (Unix ms)."""

    board: Board
    publisher: Publisher
    asked: int


class Boards:
    """The boards over one store; `kept` are all of them."""

    def __init__(self, store: Store) -> None:
        self.kept: tuple[Board, ...] = ()
        self._store = store
        self._publisher = Publisher()
        self._main: Board | None = None
        self._looks: list[_Sight] = []

    def published(self, view: View, now: int, first: int) -> tuple[Board, Table]:
        """The board of the view that is published, and its table. Raises UsageError as `look` does."""
        board = self._main
        if board is None or not board.serves(view, now):
            board = self._main = self._made(view, now, first)
        else:
            board.advance(now, first)
        self._keep([look for look in self._looks if now - look.asked < _LOOKED_AT_MS])
        return board, self._publisher.table(board, view)

    def look(self, view: View, now: int, first: int) -> tuple[Board, Table]:
        """Another view beside it. Raises UsageError where the view's sort is no column."""
        if self._main is not None and self._publisher.shows(view) and self._main.serves(view, now):
            return self.published(view, now, first)
        look = next((look for look in self._looks if look.board.serves(view, now)), None)
        if look is None:
            look = _Sight(self._made(view, now, first), Publisher(), now)
        else:
            look.board.advance(now, first)
            look.asked = now
        self._keep([look, *(each for each in self._looks if each is not look)][:_MOST_LOOKS])
        return look.board, look.publisher.table(look.board, view)

    def advance(self, now: int, first: int) -> None:
        """Move on to `now` (Unix ms)."""
        for board in self.kept:
            board.advance(max(now, board.now), first)

    def clear(self) -> None:
        """Forget all: what was counted has been put elsewhere, or has another price."""
        self._main = None
        self._keep([])

    def _made(self, view: View, now: int, first: int) -> Board:
        board = Board(view, now, first)
        for strand in self._store.within(view.scope):
            board.adopt(strand)
        return board

    def _keep(self, looks: list[_Sight]) -> None:
        self._looks = looks
        main = () if self._main is None else (self._main,)
        self.kept = (*main, *(look.board for look in looks))
