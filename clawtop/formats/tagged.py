"""Tagged events: JSON lines that a wrapper around any provider writes, one object a call, a run or a judgement.

What followed a failed attempt is told by the stream of records: the next one of the same run (else trace, else
session) of the same agent. Where `attempt` is above 1 or `fallback_from` is set and no failed record went before,
because the wrapper writes none, the retry or fallback is counted once all the same and no error is made up for
it: only then are there more of them than errors.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from clawtop.formats.tagged_fields import (
    Fields,
    aborted,
    count,
    decoded,
    dollars,
    failure,
    milliseconds,
    moment,
    text,
    tokens,
    tools,
)
from clawtop.model.errors import Unusable
from clawtop.model.events import (
    Aborted,
    Attempt,
    Blind,
    Call,
    Declared,
    Event,
    Outcome,
    Resolution,
    Resolved,
    Tokens,
    ToolCall,
)
from clawtop.model.keys import HOST, UNTAGGED, Key

_T = TypeVar("_T")
_K = TypeVar("_K")
_JUDGEMENTS = frozenset({"accepted", "rejected", "abandoned"})
_AGENTS_OF_A_RUN = 64
_UNSEEN = frozenset({"tool_errors", "compactions", "resets", "unmetered_runs"})


@dataclass(slots=True)
class _Run:
    """What is known of a run; `held` is its declaration while it is not known whose run it is."""

    declared: Key | None = None
    latest: Key | None = None
    held: Declared | None = None
    agents: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Record:
    """A call's record, checked; `attempted` is off where it only says that a run was cut off."""

    call: Call
    thread: str | None
    attempt: int | None
    fallback_from: str | None
    attempted: bool
    aborted: bool

    @property
    def follows(self) -> bool:
        """Whether it says itself that an attempt went before it."""
        return (self.attempt or 1) > 1 or self.fallback_from is not None


@dataclass(slots=True)
class _Turn:
    """The failed attempt that nothing has followed yet, and what the last fallback seen with its error came from."""

    failed: _Record | None = None
    fell_from: str | None = None


class TaggedReader:
    """Lines -> events, with a bounded memory of the runs seen last.

    `skipped` counts by reason what could not be used: a record without a sound time, usage or cost is left out
    whole; a side figure that cannot be right (latency_ms, attempt, tool_calls, budget_usd) is left out alone.
    """

    def __init__(self, host: str = HOST, *, remembered: int = 10_000) -> None:
        self.skipped: Counter[str] = Counter()
        self._host = host
        self._remembered = remembered
        self._agents: OrderedDict[str, None] = OrderedDict()
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._turns: OrderedDict[tuple[str, str | None], _Turn] = OrderedDict()
        self._threads: OrderedDict[tuple[str, str], str | None] = OrderedDict()
        self._unsettled: dict[tuple[str, str], Call] = {}

    def read(self, line: bytes, place: str) -> list[Event]:
        """The events of one line. `place` is its identity where it has no event_id: the same whenever it is read."""
        try:
            record = decoded(line)
            name = text(record, "event_id") or place
            match record.get("event"):
                case "run":
                    return list(self._declared(record, name))
                case "outcome":
                    return list(self._judged(record, name))
                case _:
                    return list(self._called(record, name))
        except Unusable as reason:
            self.skipped[str(reason)] += 1
            return []

    def settle(self) -> list[Event]:
        """For the end of what is there: the failed attempts that nothing has followed so far, as tentative FAILED.

        Each is told once; what follows it later takes its place.
        """
        events: list[Event] = [_resolved(call, Resolution.FAILED, tentative=True) for call in self._unsettled.values()]
        self._unsettled.clear()
        return events

    def _key(self, record: Fields) -> Key:
        return Key(
            host=self._host,
            agent=text(record, "agent_id") or UNTAGGED,
            session=text(record, "session_id") or text(record, "trace_id"),
            run=text(record, "run_id"),
            project=text(record, "project_id"),
            user=text(record, "user_id"),
            owner=text(record, "owner"),
            environment=text(record, "environment"),
            task=text(record, "task"),
        )

    def _side(self, field_of: Callable[[Fields, str], _T], record: Fields, name: str) -> _T | None:
        try:
            return field_of(record, name)
        except Unusable as reason:
            self.skipped[str(reason)] += 1
            return None

    # ---- runs: declared, used, judged

    def _declared(self, record: Fields, name: str) -> Iterator[Event]:
        key, at = self._key(record), moment(record)
        if key.run is None:
            raise Unusable("no run_id")
        declared = Declared(
            key,
            at,
            name,
            budget=self._side(dollars, record, "budget_usd"),
            max_retries=self._side(count, record, "max_retries"),
            route=text(record, "route"),
            stop_rule=text(record, "stop_rule"),
            expected=text(record, "expected"),
        )
        run, forgotten = self._run(key.run)
        yield from forgotten
        run.declared = key
        if key.agent == UNTAGGED and run.latest is None:
            run.held = declared
        else:
            yield replace(declared, key=_filled(key, run.latest))

    def _judged(self, record: Fields, name: str) -> Iterator[Event]:
        key, at, status = self._key(record), moment(record), text(record, "status")
        if key.run is None:
            raise Unusable("no run_id")
        if status not in _JUDGEMENTS:
            raise Unusable("unknown outcome")
        run = self._runs.get(key.run, _Run())
        for agent in sorted(run.agents):
            yield from self._give_up(agent, key.run)
        yield Outcome(_filled(key, run.latest or run.declared), at, name, status, text(record, "note"))

    def _run(self, name: str) -> tuple[_Run, list[Event]]:
        """The run, now the latest one, and the declaration of the one forgotten for it, if nobody ever used it."""
        run = self._runs.pop(name, None) or _Run()
        forgotten = _put(self._runs, name, run, self._remembered)
        return run, [] if forgotten is None or forgotten.held is None else [forgotten.held]

    def _used(self, key: Key) -> Iterator[Event]:
        if key.run is None:
            return
        run, forgotten = self._run(key.run)
        yield from forgotten
        run.latest = key
        if len(run.agents) < _AGENTS_OF_A_RUN:
            run.agents.add(key.agent)
        if run.held is not None:
            yield replace(run.held, key=_filled(run.held.key, key))
            run.held = None

    # ---- calls

    def _called(self, record: Fields, name: str) -> Iterator[Event]:
        checked = self._checked(record, name)
        call, key = checked.call, checked.call.key
        if key.agent not in self._agents:
            _put(self._agents, key.agent, None, self._remembered)
            yield Blind(Key(self._host, key.agent), _UNSEEN)
        yield from self._used(key)
        yield from self._followed(checked)
        if checked.attempted:
            yield call
            if key.run is not None:
                yield Attempt(key, call.at, f"{name}/attempt", call.provider, call.model)
        if checked.aborted:
            yield Aborted(key, call.at, key.run or name)
        for index, tool in enumerate(self._side(tools, record, "tool_calls") or ()):
            yield ToolCall(key, call.at, f"{name}/tool/{index}", call.provider, call.model, tool)

    def _checked(self, record: Fields, name: str) -> _Record:
        key, model = self._key(record), text(record, "model")
        cut = aborted(record)
        error = None if cut else failure(record)
        used = record.get("usage") is not None
        if not used and record.get("event") not in (None, "call"):
            raise Unusable("unknown event")
        # a failed attempt has no usage, but other people's log lines have errors too: those name no model
        if not used and not (model if error is not None else cut and (model or key.run)):
            raise Unusable("no usage")
        known = self._runs.get(key.run) if key.run is not None else None
        call = Call(
            _filled(key, known.declared if known else None),
            moment(record),
            name,
            text(record, "provider") or "",
            model or "?",
            tokens(record) if used else Tokens(),
            cost=dollars(record, "cost_usd"),
            latency=self._side(milliseconds, record, "latency_ms"),
            stop="aborted" if cut else None,
            error=error,
        )
        return _Record(
            call,
            key.run or text(record, "trace_id") or key.session,
            self._side(count, record, "attempt"),
            text(record, "fallback_from"),
            attempted=used or error is not None,
            aborted=cut,
        )

    # ---- what followed a failed attempt

    def _followed(self, record: _Record) -> Iterator[Event]:
        turn, forgotten = self._turn(record)
        yield from self._closed(forgotten)
        yield from self._left_behind(record, turn)
        failed = turn.failed
        if failed is not None and failed.call.id == record.call.id:
            return
        how: Resolution | None = None
        if failed is not None:
            how = _how(failed, record)
            self._unsettled.pop((failed.call.key.agent, failed.call.id), None)
            yield _resolved(failed.call, how, to=record.call)
        elif record.follows:
            yield from _unseen(record, turn)
        if record.fallback_from is None:
            turn.fell_from = None
        elif how is Resolution.FALLBACK:
            turn.fell_from = record.fallback_from
        turn.failed = record if record.call.error is not None else None
        if turn.failed is not None:
            self._unsettled[record.call.key.agent, record.call.id] = record.call

    def _turn(self, record: _Record) -> tuple[_Turn, _Turn | None]:
        place = (record.call.key.agent, record.thread)
        turn = self._turns.pop(place, None) or _Turn()
        return turn, _put(self._turns, place, turn, self._remembered)

    def _left_behind(self, record: _Record, turn: _Turn) -> Iterator[Event]:
        """Another run of this agent's session begins, so what failed in the last one is not tried again."""
        key = record.call.key
        if key.session is None:
            return
        place = (key.agent, key.session)
        last = self._threads.pop(place, record.thread)
        _put(self._threads, place, record.thread, self._remembered)
        other = self._turns.get((key.agent, last)) if last != record.thread else None
        if other is None:
            return
        if key.run is None and record.follows and turn.failed is None:
            # a wrapper that gives each request a trace of its own: the session holds the turn together
            turn.failed, other.failed = other.failed, None
        else:
            yield from self._closed(other)

    def _give_up(self, agent: str, thread: str) -> Iterator[Event]:
        yield from self._closed(self._turns.get((agent, thread)))

    def _closed(self, turn: _Turn | None) -> Iterator[Event]:
        if turn is None or turn.failed is None:
            return
        call, turn.failed = turn.failed.call, None
        self._unsettled.pop((call.key.agent, call.id), None)
        yield _resolved(call, Resolution.FAILED)


def _how(failed: _Record, record: _Record) -> Resolution:
    """What `record` makes of the attempt that failed before it in the same thread."""
    if not record.attempted or (record.thread is None and not record.follows):
        return Resolution.FAILED
    if not _same_model(failed.call, record.call):
        return Resolution.FALLBACK
    if record.fallback_from not in (None, failed.fallback_from):
        return Resolution.FALLBACK
    # a first attempt on the same model begins another turn
    return Resolution.FAILED if record.attempt == 1 else Resolution.RETRY


def _same_model(one: Call, other: Call) -> bool:
    return one.model == other.model and (one.provider == other.provider or not one.provider or not other.provider)


def _unseen(record: _Record, turn: _Turn) -> Iterator[Event]:
    """A retry or fallback whose failed attempt is not in the data.

    A run that shows its errors and goes on naming `fallback_from` in later turns has not fallen back again.
    """
    call, origin = record.call, record.fallback_from
    before = f"{call.id}/before"
    if origin is not None and origin != turn.fell_from:
        provider, slash, model = origin.partition("/")
        provider, model = (provider, model) if slash else (call.provider, origin)
        yield Resolved(call.key, call.at, before, provider, model, Resolution.FALLBACK, to=_name(call))
    elif (record.attempt or 1) > 1:
        yield Resolved(call.key, call.at, before, call.provider, call.model, Resolution.RETRY)


def _resolved(call: Call, how: Resolution, *, to: Call | None = None, tentative: bool = False) -> Resolved:
    target = _name(to) if to is not None and how is Resolution.FALLBACK else None
    return Resolved(call.key, call.at, call.id, call.provider, call.model, how, target, tentative)


def _name(call: Call) -> str:
    return f"{call.provider}/{call.model}" if call.provider else call.model


def _filled(key: Key, other: Key | None) -> Key:
    """The key, with what it does not say taken from another of the same run."""
    if other is None:
        return key
    filled = Key._make(theirs if mine is None else mine for mine, theirs in zip(key, other, strict=True))
    return filled if key.agent != UNTAGGED else filled._replace(agent=other.agent)


def _put(table: OrderedDict[_K, _T], key: _K, value: _T, most: int) -> _T | None:
    """Make it the newest; what fell out at the other end."""
    table[key] = value
    return table.popitem(last=False)[1] if len(table) > most else None
