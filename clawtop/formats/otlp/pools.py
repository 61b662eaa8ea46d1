"""One spend in two signals: metrics give the total, spans and logs say whose it was, the rest is nobody's.

A pool holds what belongs together: one process, provider and model. What its metrics told is kept as lots, one an
export; what spans told as details. A detail takes from lots what it explains; what no lot has yet, it takes from
the next ones. So the sums are the larger of both signals, whichever came first.

Money that only the metrics know (OpenClaw's) goes with the tokens it came with. Where several agents' runs of one
model end between two exports, the split is by weighed tokens: the sum is exact, each share is an estimate.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from clawtop.formats.otlp.senders import digest
from clawtop.formats.otlp.standing import NOTHING, Amounts, Latencies, Place, Standing
from clawtop.model.events import Event

_MOST_LOTS = 16
_MOST_DETAILS = 64


@dataclass(eq=False, slots=True)
class Detail:
    """What a span or a log told of a spend that metrics tell, too. `left` is what no metric has told so far.

    With `standing` the pool tells it, once it knows what it cost; without, somebody else has told it already.
    """

    place: Place
    amounts: Amounts
    standing: Standing | None = None
    left: Amounts = NOTHING
    shares: "list[_Share]" = field(default_factory=list)
    muted: bool = False
    explained: bool = False
    void: bool = False

    def tell(self) -> list[Event]:
        """The events after which it stands with its cost."""
        if self.standing is None:
            return []
        if self.muted:
            return self.standing.show(None)
        cost = sum(share.cost for share in self.shares)
        return self.standing.show(self.place, self.amounts._replace(cost=cost), priced=False)


@dataclass(eq=False, slots=True)
class _Share:
    detail: Detail
    weight: int
    cost: int = 0


@dataclass(eq=False, slots=True)
class _Lot:
    """What one export told: `left` is what no detail explains, `cost` all the money that came with it."""

    place: Place
    since: int
    until: int
    standing: Standing
    left: Amounts = NOTHING
    cost: int = 0
    latencies: Latencies = ()
    shares: list[_Share] = field(default_factory=list)

    def holds(self, at: int) -> bool:
        return self.since <= at <= self.until


class Pool:
    """The metrics and details of one process, provider and model. `name` is its identity.

    With `splits` its details know no cost of their own.
    """

    def __init__(self, name: str, *, splits: bool) -> None:
        self._name = name
        self._splits = splits
        self._lots: deque[_Lot] = deque()
        self._details: OrderedDict[int, Detail] = OrderedDict()
        self._owed = NOTHING
        self._repeated = NOTHING
        self._muted = False

    def grow(self, place: Place, since: int, until: int, amounts: Amounts, latencies: Latencies = ()) -> list[Event]:
        """An export told that so much was used between two moments."""
        lot = self._lot(place, since, until)
        if self._splits:
            lot.cost += amounts.cost
            amounts = amounts._replace(cost=0)
        explained = self._owed.common(amounts)
        self._owed, amounts = self._owed.minus(explained), amounts.minus(explained)
        touched = [share.detail for share in lot.shares]
        for detail in self._waiting(lot):
            taken = detail.left.common(amounts)
            if any(taken):
                amounts = amounts.minus(taken)
                touched.append(self._match(lot, detail, taken))
        lot.left = lot.left.plus(amounts)
        lot.latencies = latencies if amounts.calls and not lot.shares else ()
        return self._tell([lot], touched)

    def explain(self, detail: Detail) -> list[Event]:
        """A span or log told whose something was."""
        if detail.void:
            return []
        repeated = self._repeated.common(detail.amounts)
        self._repeated = self._repeated.minus(repeated)
        detail.explained, detail.left = True, detail.amounts.minus(repeated)
        touched = [detail]
        lots = []
        for lot in sorted(self._lots, key=lambda lot: (not lot.holds(detail.place.at), lot.until)):
            taken = lot.left.common(detail.left)
            if any(taken):
                lot.left = lot.left.minus(taken)
                self._match(lot, detail, taken)
                lots.append(lot)
                touched += [share.detail for share in lot.shares]
        if any(detail.left):
            self._keep(detail)
        return self._tell(lots, touched)

    def withdraw(self, detail: Detail) -> None:
        """A detail without shares said again what another says, too: what it explained is the other's to explain."""
        detail.void = True
        if detail.explained:
            self._details.pop(id(detail), None)
            self._repeated = self._repeated.plus(detail.amounts.minus(detail.left))

    def mute(self) -> list[Event]:
        """Tell no more of what no detail explains: somebody else tells it better."""
        self._muted = True
        return self._tell(self._lots, [])

    def _lot(self, place: Place, since: int, until: int) -> _Lot:
        for lot in self._lots:
            if lot.until == until and lot.place == place:
                return lot
        # by what it says and by no running number, which others begin at 1, too, and which one begins at again
        name = digest((self._name, since, until, *place.key, place.at))
        lot = _Lot(place, since, until, Standing(f"{self._name}/{name}"))
        self._lots.append(lot)
        if len(self._lots) > _MOST_LOTS:
            self._lots.popleft()
        return lot

    def _waiting(self, lot: _Lot) -> list[Detail]:
        waiting = [detail for detail in self._details.values() if any(detail.left)]
        return sorted(waiting, key=lambda detail: (not lot.holds(detail.place.at), detail.place.at))

    def _match(self, lot: _Lot, detail: Detail, taken: Amounts) -> Detail:
        detail.left = detail.left.minus(taken)
        if not any(detail.left):
            self._details.pop(id(detail), None)
        if self._splits:
            share = _Share(detail, taken.weight)
            lot.shares.append(share)
            detail.shares.append(share)
        return detail

    def _keep(self, detail: Detail) -> None:
        self._details[id(detail)] = detail
        if len(self._details) > _MOST_DETAILS:
            _, oldest = self._details.popitem(last=False)
            self._owed = self._owed.plus(oldest.left)

    def _tell(self, lots: Iterable[_Lot], details: Iterable[Detail]) -> list[Event]:
        events: list[Event] = []
        for lot in lots:
            rest = _split(lot)
            place = None if self._muted else lot.place
            events += lot.standing.show(
                place, lot.left._replace(cost=lot.left.cost + rest), priced=False, latencies=lot.latencies
            )
            lot.latencies = ()  # they cannot be taken back, so they are told once
        for detail in dict.fromkeys(details):
            events += detail.tell()
        return events


def _split(lot: _Lot) -> int:
    """Give each share of a lot its cost; what is left for what no detail explains."""
    whole = lot.left.weight + sum(share.weight for share in lot.shares)
    given = seen = 0
    for share in lot.shares:
        seen += share.weight
        upto = lot.cost * seen // whole if whole else 0
        share.cost, given = upto - given, upto
    return lot.cost - given
