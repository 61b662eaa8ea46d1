"""Runs as a gateway tells of them while they go on -> states, retries, fallbacks, failed turns, aborts.

Observed on 2026.9.6 (every attempt begins with a `model` phase and a failed one ends with `finishing` and an error)
and 2026.6.35 (no model phase: there the failed attempts are messages of the session, and are counted as such).
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from clawtop.formats.gateway_sessions import GatewayRoster, remember
from clawtop.formats.quantities import moment, text
from clawtop.formats.trajectory import HELD
from clawtop.formats.turns import Turns
from clawtop.model.events import Aborted, Attempt, Call, Event, Resolution, SessionState, State
from clawtop.model.keys import Key

Table = Mapping[str, Any]

Who = tuple[str, str | None]
"""An agent and the id of its session, None where nobody told it."""

_MOST_RUNS = 2000


@dataclass(slots=True)
class Run:
    """One run: what it does now, and its attempts. `native` runs tell of each attempt themselves.

    An empty `id` stands for whatever ran in that session.
    """

    id: str
    agent: str
    session: str | None
    native: bool = False
    going: bool = False
    over: bool = False
    detail: str | None = None
    provider: str = ""
    model: str = ""
    reason: str = ""
    stepped: bool = False
    tools: dict[str, str] = field(default_factory=dict)
    turns: Turns = field(default_factory=Turns)

    @property
    def who(self) -> Who:
        """Whose it is."""
        return self.agent, self.session

    @property
    def tool(self) -> str | None:
        """The tool that began last and still runs."""
        return next(reversed(self.tools.values()), None)


class GatewayRuns:
    """All runs of a gateway that were told of since the connection began."""

    def __init__(self, roster: GatewayRoster) -> None:
        self._roster = roster
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._going: dict[Who, dict[str, Run]] = {}
        self._told: OrderedDict[str, None] = OrderedDict()
        self._queued: set[Who] = set()
        self._ended: OrderedDict[Who, int] = OrderedDict()
        self._latest: OrderedDict[Who, int] = OrderedDict()

    def of_session(self, agent: str, session: str | None) -> list[Run]:
        """The runs of a session that go on."""
        return list(self._going.get((agent, session), {}).values())

    def find(self, payload: Table) -> Run | None:
        """The run that an event speaks of, where it is known."""
        return self._runs.get(text(payload.get("runId")) or "")

    def going(self, now: int) -> list[Event]:
        """The state of each run that goes on, as it was last told."""
        return [self._tell(run, now, State.RUNNING, run.detail, run.tool) for run in self._runs.values() if run.going]

    def knows(self, run: str | None) -> bool:
        """Whether this run told of all its failed attempts itself, up to its end or up to now."""
        found = self._runs.get(run or "")
        return run in self._told or (found is not None and found.native)

    def read(self, payload: Table, now: int) -> list[Event]:
        """The events of one `agent` or `session.tool` event."""
        data, name = payload.get("data"), text(payload.get("runId"))
        run = self._run(name, payload) if name is not None and isinstance(data, dict) else None
        if run is None or not isinstance(data, dict):
            return []
        at = moment(payload.get("ts")) or now
        match payload.get("stream"):
            case "lifecycle":
                return list(self._lifecycle(run, data, at))
            case "run_status" if data.get("phase") == "retrying":
                return self._say(run, _waits(data), at)
            case "tool":
                return self._tool(run, data, at)
        return []

    def hushed(self, payload: Table, now: int) -> list[Event]:
        """What the end of a chat says: on 2026.2 an aborted run has no other end."""
        run = self.find(payload)
        if run is None or not run.going or run.native or payload.get("state") not in ("aborted", "final"):
            return []
        return list(self._end(run, {"aborted": payload["state"] == "aborted"}, now))

    def learn_row(self, row: Table, who: Who, now: int) -> list[Event]:
        """What a session's row says of its runs: whether any is active, and how the last one ended."""
        agent, session = who
        active = row.get("hasActiveRun")
        if not isinstance(active, bool):
            return []
        at = moment(row.get("snapshotAt")) or moment(row.get("ts")) or now
        if at <= self._ended.get(who, 0):
            return []
        going = self.of_session(agent, session)
        if not active:
            return self._rest(row, who, going, at)
        if going or who in self._queued:
            return []
        self._queued.add(who)
        return [self._tell(Run("", *who), at, State.RUNNING)]

    def _rest(self, row: Table, who: Who, going: list[Run], at: int) -> list[Event]:
        """Nothing of the session runs: its last run ended, whether or not that was seen."""
        events: list[Event] = []
        for run in going:
            self._stops(run)
            run.over = True
            events += run.turns.settle()
        error = text(row.get("lastRunError"), 500)
        failed = row.get("status") in ("failed", "timeout") and not (error and f"{HELD}/" in error)
        ended = moment(row.get("endedAt")) or moment(row.get("updatedAt")) or at
        self._queued.discard(who)
        state = State.ERROR if failed else State.IDLE
        return [*events, self._tell(Run("", *who), ended, state, error if failed else None)]

    def lost(self, now: int) -> list[Event]:
        """The connection is gone: what the running sessions do is not known any more."""
        going = self._going.keys() | self._queued
        self._runs.clear()
        self._going.clear()
        self._queued.clear()
        return [self._tell(Run("", *who), now, State.UNKNOWN) for who in going]

    def _run(self, name: str, payload: Table) -> Run | None:
        run = self._runs.get(name)
        who = self._roster.who(payload)
        if run is None:
            if who is None:
                return None
            run = self._runs[name] = Run(name, *who)
            if len(self._runs) > _MOST_RUNS:
                self._stops(self._runs.popitem(last=False)[1])
        elif run.session is None and who is not None:
            going = run.going
            self._stops(run)
            run.session = who[1]
            if going:
                self._goes(run)
        return run

    def _goes(self, run: Run) -> None:
        run.going = True
        self._going.setdefault(run.who, {})[run.id] = run

    def _stops(self, run: Run) -> None:
        run.going = False
        of_session = self._going.get(run.who, {})
        of_session.pop(run.id, None)
        if not of_session:
            self._going.pop(run.who, None)

    def _lifecycle(self, run: Run, data: Table, at: int) -> Iterator[Event]:
        match data.get("phase"):
            case "start":
                run.over = False
                yield from self._begin(run, at)
            case "model" if text(data.get("provider")) is not None:
                yield from self._attempt(run, data, at)
            case "finishing":
                yield from self._finish(run, data, at)
            case "fallback_step" if data.get("fallbackStepFinalOutcome") == "next_fallback":
                run.stepped = True
                yield from self._say(run, _falls_back(data), at)
            case "end" | "error":
                yield from self._end(run, data, at)

    def _begin(self, run: Run, at: int) -> list[Event]:
        """It runs, or goes on after a wait."""
        self._goes(run)
        self._queued.discard(run.who)
        waited = run.detail is not None and run.detail.startswith(_WAITING)
        return self._say(run, "" if waited else run.detail, at)

    def _attempt(self, run: Run, data: Table, at: int) -> Iterator[Event]:
        run.provider, run.model = text(data.get("provider"), 100) or "", text(data.get("model"), 200) or "?"
        if not run.going and not run.over:
            yield from self._begin(run, at)
        if run.provider == HELD:
            return
        run.native = True
        key = self._key(run)
        yield Attempt(key, at, run.id, run.provider, run.model)
        resolved = run.turns.attempt(Call(key, at, f"{run.id}/{at}", run.provider, run.model))
        yield from resolved
        if any(each.how is Resolution.FALLBACK for each in resolved) and not run.stepped:
            # only runs that chat.send began tell of the step itself
            yield from self._say(run, f"fallback to {run.provider}/{run.model}: {run.reason}", at)

    def _finish(self, run: Run, data: Table, at: int) -> Iterator[Event]:
        error = text(data.get("error"), 500)
        if not run.native or error is None or data.get("aborted") is True or run.provider == HELD:
            return
        seen = data.get("errorObservation")
        run.reason = (text(seen.get("failoverReason"), 80) if isinstance(seen, dict) else None) or "failed"
        run.stepped = False
        told = f"{run.reason}: {error}"
        call = Call(self._key(run), at, f"{run.id}/{at}", run.provider, run.model, stop="error", error=told)
        yield call
        yield from run.turns.attempt(call)

    def _end(self, run: Run, data: Table, at: int) -> Iterator[Event]:
        aborted = data.get("aborted") is True
        if aborted:
            run.turns.aborted()
        if aborted and run.native:
            # 2026.6 tells of an abort by messages of the session
            yield Aborted(self._key(run), at, run.id)
        if run.native and aborted and data.get("executionSettled") is not True:
            yield from self._say(run, "stopping", at)
            return
        yield from run.turns.settle()
        said, run.detail = run.detail, None
        self._stops(run)
        run.over = True
        run.tools.clear()
        remember(self._ended, run.who, at)
        if run.native:
            remember(self._told, run.id, None)
        others = self.of_session(run.agent, run.session)
        if others:
            yield from self._say(others[-1], others[-1].detail, at)
            return
        error = text(data.get("error"), 500) if data.get("phase") == "error" and not aborted else None
        failed = error is not None and f"{HELD}/" not in error
        # an empty detail takes back the wait or the step that was shown
        detail = error if failed else ("" if said else None)
        yield self._tell(run, at, State.ERROR if failed else State.IDLE, detail)

    def _tool(self, run: Run, data: Table, at: int) -> list[Event]:
        call, name = text(data.get("toolCallId")), text(data.get("name"), 80)
        if call is None:
            return []
        before = run.tool
        if data.get("phase") == "start":
            run.tools[call] = name or "?"
        elif data.get("phase") == "result":
            run.tools.pop(call, None)
        return self._say(run, run.detail, at) if run.tool != before and run.going else []

    def _say(self, run: Run, detail: str | None, at: int) -> list[Event]:
        run.detail = detail or None
        if run.over:
            return []
        return [self._tell(run, at, State.RUNNING, detail, run.tool)]

    def _tell(
        self, run: Run, at: int, state: State, detail: str | None = None, tool: str | None = None
    ) -> SessionState:
        """A state that counts from `at` on, and never before what was told last: events may be older than answers."""
        at = max(at, self._latest.get(run.who, 0))
        remember(self._latest, run.who, at)
        return SessionState(self._key(run), at, state, detail, tool)

    def _key(self, run: Run) -> Key:
        return self._roster.key(run.agent, run.session, run.id or None)


_WAITING = "retry "


def _waits(data: Table) -> str:
    number, most, wait = (data.get(name) for name in ("retryAttempt", "maxRetries", "delayMs"))
    reason = text(data.get("reason"), 80) or "no reason given"
    seconds = f" in {wait / 1000:.1f} s" if isinstance(wait, int | float) and not isinstance(wait, bool) else ""
    count = f"{number} of {most}" if type(number) is int and type(most) is int else "?"
    return f"{_WAITING}{count}{seconds}: {reason}"


def _falls_back(data: Table) -> str:
    to = text(data.get("fallbackStepToModel"), 200) or "another model"
    reason = text(data.get("fallbackStepFromFailureReason"), 80) or "no reason given"
    why = text(data.get("fallbackStepFromFailureDetail"), 200) or ""
    if "cooldown" in why:
        origin = (text(data.get("fallbackStepFromModel"), 200) or "?").split("/")[0]
        return f"{origin} cools down ({reason}), fallback to {to}"
    return f"fallback to {to}: {reason}"
