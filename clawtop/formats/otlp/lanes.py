"""Which agents of a gateway run, by the lanes that its metrics name: `session:agent:<id>:<rest>`.

A gateway's own counters say how many runs go on (processing less idle); the lanes that took work last, and those
where more waits, are taken for theirs. Observed on OpenClaw 2026.2.26.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from clawtop.formats.otlp.records import Attributes
from clawtop.formats.otlp.senders import Sender, text
from clawtop.formats.otlp.series import Growth
from clawtop.formats.otlp.spend import Spend
from clawtop.formats.session_keys import read_session_key
from clawtop.model.events import Event, SessionState, State
from clawtop.model.keys import Key

_SILENT_MS = 180_000
_MOST_LANES = 2_000
_MOST_GATEWAYS = 200
_SESSION = "session:"
UNSEEN_BY_LANES = frozenset(
    {
        "calls",
        "errors",
        "retries",
        "fallbacks",
        "failed_turns",
        "aborts",
        "tool_calls",
        "tool_errors",
        "compactions",
        "resets",
        "unmetered_runs",
    }
)
"""Lanes tell who works, and neither what was called nor what became of it."""


@dataclass(slots=True, eq=False)
class _Lane:
    """`waiting` is what was enqueued and not yet taken, `taken` when something last was that has not ended since.

    `told` is the key under which it was said to run, None while it was not.
    """

    key: Key
    waiting: int = 0
    taken: int = 0
    ended: int = 0
    told: Key | None = None


@dataclass(slots=True)
class _Gateway:
    key: Key
    lanes: OrderedDict[str, _Lane] = field(default_factory=OrderedDict)
    busy: int | None = None
    runs: bool | None = None
    at: int = 0


class Lanes:
    """The lanes of all gateways; a session goes by its key until a span has told its id."""

    def __init__(self, spend: Spend) -> None:
        self._spend = spend
        self._gateways: OrderedDict[str, _Gateway] = OrderedDict()
        self._sessions: OrderedDict[tuple[str, str], Key] = OrderedDict()
        self._touched: set[str] = set()

    def know(self, sender: Sender, key: Key) -> None:
        """A session's full key."""
        if key.session_key is not None:
            self._sessions[sender.host, key.session_key] = key._replace(run=None)
            self._touched.add(sender.process)
            if len(self._sessions) > _MOST_LANES * 10:
                self._sessions.popitem(last=False)

    def ended(self, sender: Sender, key: Key, at: int, detail: str | None) -> list[Event]:
        """A session's turn is over, with an error or without."""
        gateway = self._gateway(sender)
        lane = self._lane(gateway, key)
        lane.ended, at = max(lane.ended, at), max(at, gateway.at)
        lane.taken, state = 0, State.IDLE if detail is None else State.ERROR
        told, lane.told = lane.told, None
        known = self._known(lane)
        events: list[Event] = [] if told in (None, known) else [SessionState(told or known, at, State.IDLE)]
        return [*events, SessionState(known, at, state, detail)]

    def stuck(self, sender: Sender, key: Key, at: int, detail: str) -> list[Event]:
        """A session's turn goes on for longer than is usual."""
        gateway = self._gateway(sender)
        lane, at = self._lane(gateway, key), max(at, gateway.at)
        if self._spend.now - at > _SILENT_MS:
            return []
        lane.taken, lane.told = max(lane.taken, at), self._known(lane)
        return [SessionState(lane.told, at, State.RUNNING, detail)]

    def grew(self, sender: Sender, short: str, attributes: Attributes, growth: Growth) -> None:
        """A counter of lanes or of session states grew."""
        gateway = self._gateway(sender)
        gateway.at = max(gateway.at, growth.until)
        self._touched.add(sender.process)
        if short == "session.state":
            change = {"processing": 1, "idle": -1}.get(text(attributes, "openclaw.state") or "", 0)
            gateway.busy = (gateway.busy or 0) + change * round(growth.value)
            return
        name = (text(attributes, "openclaw.lane") or "").removeprefix(_SESSION)
        said = read_session_key(name)
        if said.agent is None:
            return
        lane = self._lane(gateway, Key(sender.host, said.agent, cron=said.cron, session_key=name))
        if short == "queue.lane.enqueue":
            lane.waiting += round(growth.value)
        else:
            lane.waiting -= round(growth.value)
            # when within the export it was taken is not known: a turn that ended in it is taken for that one
            lane.taken = growth.until if lane.ended < growth.since else 0

    def _lane(self, gateway: _Gateway, key: Key) -> _Lane:
        name = key.session_key or ""
        lane = gateway.lanes.get(name)
        if lane is None:
            known = self._spend.known(Key(key.host, key.agent))
            self._spend.metered(known, UNSEEN_BY_LANES)
            lane = gateway.lanes[name] = _Lane(known._replace(session=name, cron=key.cron, session_key=name))
            if len(gateway.lanes) > _MOST_LANES:
                gateway.lanes.popitem(last=False)
        return lane

    def _known(self, lane: _Lane) -> Key:
        """The lane's key, with the session's id once that is known."""
        return self._sessions.get((lane.key.host, lane.key.session_key or ""), lane.key)

    def _gateway(self, sender: Sender) -> _Gateway:
        found = self._gateways.get(sender.process)
        if found is None:
            found = self._gateways[sender.process] = _Gateway(Key(sender.host, sender.agent))
            if len(self._gateways) > _MOST_GATEWAYS:
                self._gateways.popitem(last=False)
        return found

    def flush(self) -> list[Event]:
        """The states that changed with what came since the last flush."""
        touched, self._touched = self._touched, set()
        events: list[Event] = []
        for process in touched & self._gateways.keys():
            gateway = self._gateways[process]
            if self._spend.now - gateway.at > _SILENT_MS:
                continue  # history: what ran then is not what runs now
            events += self._own_state(gateway)
            running = _running(gateway)
            for lane in gateway.lanes.values():
                wanted = self._known(lane) if lane in running else None
                if wanted != lane.told:
                    events += _changed(lane.told, wanted, gateway.at)
                    lane.told = wanted
        return events

    def settle(self) -> list[Event]:
        """A gateway that fell silent: nobody knows what its lanes do."""
        events: list[Event] = []
        for gateway in self._gateways.values():
            if self._spend.now - gateway.at > _SILENT_MS:
                for lane in gateway.lanes.values():
                    if lane.told is not None:
                        events.append(SessionState(lane.told, gateway.at, State.UNKNOWN))
                        lane.told = None
                if gateway.runs:
                    gateway.runs = None
                    events.append(SessionState(gateway.key, gateway.at, State.UNKNOWN))
        return events

    def _own_state(self, gateway: _Gateway) -> list[Event]:
        if gateway.busy is None or gateway.runs is (gateway.busy > 0):
            return []
        gateway.runs = gateway.busy > 0
        return [SessionState(gateway.key, gateway.at, State.RUNNING if gateway.runs else State.IDLE)]


def _changed(before: Key | None, after: Key | None, at: int) -> list[Event]:
    events: list[Event] = []
    if before is not None:
        events.append(SessionState(before, at, State.IDLE))
    if after is not None:
        events.append(SessionState(after, at, State.RUNNING))
    return events


def _running(gateway: _Gateway) -> set[_Lane]:
    open_ = [lane for lane in gateway.lanes.values() if lane.waiting > 0 or lane.taken > 0]
    if gateway.busy is None:
        return {lane for lane in open_ if lane.waiting > 0 or lane.taken == gateway.at}
    open_.sort(key=lambda lane: (lane.waiting > 0, lane.taken), reverse=True)
    return set(open_[: max(gateway.busy, 0)])
