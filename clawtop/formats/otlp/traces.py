"""Spans that end before their parents: whose a call was is known when the agent's own span comes, at its end.

Until then a call counts under its sender's name, and moves on once its agent is known. Retries are repeated
attempts under the same parent. An agent's own usage counts only where none of its calls were seen.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from clawtop.formats.otlp.pools import Detail
from clawtop.formats.otlp.spend import PoolKey, Spend
from clawtop.formats.otlp.standing import Amounts, Place, Standing
from clawtop.model.events import (
    Attempt,
    Call,
    Event,
    Increase,
    Resolution,
    Resolved,
    SessionState,
    State,
    ToolCall,
    ToolError,
)
from clawtop.model.keys import Key

_MOST_TRACES = 5_000
_MOST_SPANS = 100_000
_MOST_GONE = 50_000
_MOST_OF_ONE = 2_000
_DEEPEST = 64
_IDLE_MS = 120_000
_FORGET_MS = 900_000
_INHERITED = ("session", "project", "user", "owner", "environment", "task")


@dataclass(eq=False, slots=True)
class Fact:
    """A call of a model or, with `tool`, of a tool, as one span tells it. Times are Unix milliseconds.

    `key` has the sender's agent, `own` the one that the span names itself. `cost` is micro-dollars.
    `exact` is start and end in nanoseconds, which tell what came first within a millisecond.
    `attempt` says that another call under the same parent may be its retry, `unseen` what cannot be known of its agent,
    `details` are what it explains of the metrics.
    """

    trace: str
    id: str
    parent: str
    key: Key
    own: str | None
    start: int
    end: int
    amounts: Amounts
    provider: str = ""
    model: str = ""
    cost: int | None = None
    stop: str | None = None
    error: str | None = None
    tool: str | None = None
    exact: tuple[int, int] = (0, 0)
    attempt: bool = True
    unseen: frozenset[str] = frozenset()
    details: list[tuple[PoolKey, Detail]] = field(default_factory=list)
    told: bool = False
    doubtful: bool = False
    resolved: bool = False

    @property
    def name(self) -> str:
        """Its identity."""
        return f"{self.trace}:{self.id}"


@dataclass(eq=False, slots=True)
class Run:
    """An agent's own span. `amounts` is what it says it used in all."""

    id: str
    key: Key
    own: str | None
    end: int
    amounts: Amounts
    provider: str
    model: str
    error: str | None
    standing: Standing


@dataclass(eq=False, slots=True)
class _Trace:
    """`parents` has every span seen, so that the way up can be gone; `agent` is whose the whole trace is.

    `attempts` are its calls by what is above them, `touched` where some came. A `crowded` one has forgotten some.
    """

    id: str
    parents: dict[str, str] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    facts: dict[str, Fact] = field(default_factory=dict)
    waiting: dict[str, Standing] = field(default_factory=dict)
    attempts: dict[str, list[Fact]] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    crowded: bool = False
    agent: str | None = None
    seen: int = 0
    ended: int = 0
    error: str | None = None
    running: dict[tuple[str, str], Key] = field(default_factory=dict)

    def upwards(self, span: str) -> Iterator[str]:
        """The ids of the spans above one, as far as they are known; "" after the topmost."""
        for _ in range(_DEEPEST):
            above = self.parents.get(span)
            if above is None:
                return
            yield above
            span = above


class Traces:
    """The traces seen last."""

    def __init__(self, spend: Spend) -> None:
        self._spend = spend
        self._traces: OrderedDict[str, _Trace] = OrderedDict()
        self._touched: dict[str, _Trace] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._overdue: list[Event] = []
        self._spans = 0

    def link(self, trace: str, span: str, parent: str, end: int, error: str | None = None) -> None:
        """A span of any kind: what stands between a call and its agent."""
        found = self._trace(trace)
        if span not in found.parents:
            found.parents[span] = parent
            self._spans += 1
            if len(found.parents) > _MOST_OF_ONE:
                del found.parents[next(iter(found.parents))]
                self._spans -= 1
        if not parent:
            found.ended, found.error = max(found.ended, end), error

    def add(self, fact: Fact) -> None:
        """A call. Of a trace that has too many the oldest is no longer set against others."""
        trace = self._trace(fact.trace)
        trace.facts[fact.id] = fact
        trace.waiting[fact.id] = Standing(f"span {fact.name}")
        if fact.attempt and fact.tool is None and fact.parent:
            trace.attempts.setdefault(fact.parent, []).append(fact)
            trace.touched.add(fact.parent)
        if len(trace.facts) > _MOST_OF_ONE:
            oldest = next(iter(trace.facts.values()))
            if oldest.id in trace.waiting:
                self._overdue += self._final(trace, oldest, _owner(trace, oldest)[0])
            trace.crowded = True
            del trace.facts[oldest.id]
            same = trace.attempts.get(oldest.parent)
            if same and same[0] is oldest:
                del same[0]

    def run(self, trace: str, run: Run) -> None:
        """An agent's own span."""
        found = self._trace(trace)
        if len(found.runs) < _MOST_OF_ONE:
            found.runs[run.id] = run

    def belongs(self, trace: str, agent: str) -> None:
        """The whole trace is this agent's."""
        self._trace(trace).agent = agent

    def _trace(self, name: str) -> _Trace:
        found = self._traces.get(name)
        if found is None:
            # of one that was forgotten the calls are told: what its agent says it used in all would be told again
            found = self._traces[name] = _Trace(name, crowded=name in self._gone)
        else:
            self._traces.move_to_end(name)
        found.seen = self._spend.now
        self._touched[name] = found
        return found

    def flush(self) -> Iterator[Event]:
        """The events of what came since the last flush."""
        touched, self._touched = self._touched, {}
        overdue, self._overdue = self._overdue, []
        yield from overdue
        for trace in touched.values():
            yield from self._tell(trace)
        while len(self._traces) > _MOST_TRACES or (self._spans > _MOST_SPANS and self._traces):
            yield from self._give_up(next(iter(self._traces.values())))

    def settle(self) -> list[Event]:
        """What becomes of traces that nothing came of for a while: nobody knows any more whether they go on."""
        events: list[Event] = []
        for trace in list(self._traces.values()):
            idle = self._spend.now - trace.seen
            if idle > _FORGET_MS:
                events += self._give_up(trace)
            elif idle > _IDLE_MS:
                events += _stopped(trace, State.UNKNOWN, trace.seen)
        return events

    # ---- telling

    def _tell(self, trace: _Trace) -> list[Event]:
        events: list[Event] = []
        for fact in [trace.facts[name] for name in trace.waiting]:
            agent, certain = _owner(trace, fact)
            if _told_by_another(trace, fact):
                events += self._drop(trace, fact)
            elif certain:
                events += self._final(trace, fact, agent)
            else:
                events += trace.waiting[fact.id].show(self._place(trace, fact, agent), _amounts(fact), priced=False)
            self._note_running(trace, fact, agent)
        events += self._usage(trace)
        events += _followed(trace)
        events += self._states(trace)
        return events

    def _place(self, trace: _Trace, fact: Fact, agent: str | None) -> Place:
        key = _inherited(trace, fact)._replace(agent=agent or fact.key.agent, session=None, run=None)
        key = self._spend.known(key)
        return Place(key, fact.end, fact.provider, fact.model)

    def _final(self, trace: _Trace, fact: Fact, agent: str | None) -> Iterable[Event]:
        yield from trace.waiting.pop(fact.id).show(None)
        key = _inherited(trace, fact)._replace(agent=agent or fact.key.agent, run=fact.trace)
        fact.key = key = self._spend.known(key)
        fact.told = True
        if fact.parent in trace.attempts:
            trace.touched.add(fact.parent)
        yield from self._spend.blind(key, fact.unseen)
        if fact.tool is not None:
            yield ToolCall(key, fact.end, fact.name, fact.provider, fact.model, fact.tool)
            if fact.error is not None:
                yield ToolError(key, fact.end, fact.name, fact.tool)
            return
        latency = max(0, fact.end - fact.start)
        if any(fact.amounts.tokens) or fact.error is not None:
            yield Call(
                key,
                fact.end,
                fact.name,
                fact.provider,
                fact.model,
                fact.amounts.tokens,
                fact.cost,
                latency,
                stop=fact.stop,
                error=fact.error,
            )
        else:
            yield Increase(key, fact.end, fact.name, fact.provider, fact.model, calls=1, latencies=((latency, 1),))
        yield Attempt(key, fact.end, f"{fact.name}/attempt", fact.provider, fact.model)
        if fact.error is not None and fact.attempt and not fact.parent:
            yield _outcome(fact, Resolution.FAILED, None, tentative=True)

    def _drop(self, trace: _Trace, fact: Fact) -> list[Event]:
        """Two libraries told the same call, one inside the other: the outer one counts, unless the inner one has."""
        del trace.facts[fact.id]
        self._spend.withdraw(fact.details)
        return trace.waiting.pop(fact.id).show(None)

    def _usage(self, trace: _Trace) -> Iterable[Event]:
        """What an agent's span says it used, where no call below it says so."""
        if trace.crowded or not any(any(run.amounts) or run.standing.shown for run in trace.runs.values()):
            return
        told: set[str] = set()
        for span in (*(fact.id for fact in trace.facts.values() if fact.tool is None), *_with_usage(trace)):
            told.update(trace.upwards(span))
        for run in trace.runs.values():
            if any(run.amounts) and run.id not in told:
                key = self._spend.known(run.key._replace(agent=run.own or run.key.agent, run=trace.id))
                yield from run.standing.show(Place(key, run.end, run.provider, run.model), run.amounts, priced=False)
            else:
                yield from run.standing.show(None)

    def _give_up(self, trace: _Trace) -> list[Event]:
        del self._traces[trace.id]
        self._spans -= len(trace.parents)
        if trace.facts:
            self._gone[trace.id] = None
            if len(self._gone) > _MOST_GONE:
                self._gone.popitem(last=False)
        events: list[Event] = []
        for fact in [trace.facts[name] for name in trace.waiting]:
            events += self._final(trace, fact, _owner(trace, fact)[0])
        return [*events, *_followed(trace), *_stopped(trace, State.UNKNOWN, trace.seen)]

    # ---- states

    def _note_running(self, trace: _Trace, fact: Fact, agent: str | None) -> None:
        key = self._spend.known(fact.key._replace(agent=agent or fact.key.agent))
        trace.running.setdefault((key.host, key.agent), Key(key.host, key.agent))

    def _states(self, trace: _Trace) -> list[Event]:
        """Whoever called under a span that has not ended runs; once the topmost has, nobody does."""
        if not trace.running:
            return []
        if not trace.ended:
            at = max(fact.end for fact in trace.facts.values())
            if self._spend.now - at > _IDLE_MS:
                return _stopped(trace, State.UNKNOWN, at)
            return [SessionState(key, at, State.RUNNING) for key in trace.running.values()]
        return _stopped(trace, State.ERROR if trace.error is not None else State.IDLE, trace.ended, trace.error)


def _stopped(trace: _Trace, state: State, at: int, detail: str | None = None) -> list[Event]:
    running, trace.running = trace.running, {}
    return [SessionState(key, at, state, detail) for key in running.values()]


def _owner(trace: _Trace, fact: Fact) -> tuple[str | None, bool]:
    """(whose a call was as far as is known, whether that is certain)."""
    if fact.own is not None:
        return fact.own, True
    for above in trace.upwards(fact.id):
        if not above:
            return trace.agent, True
        run = trace.runs.get(above)
        if run is not None and run.own is not None:
            return run.own, True
    return trace.agent, trace.agent is not None


def _inherited(trace: _Trace, fact: Fact) -> Key:
    """The key of a call; what its own span leaves open is as the runs above say, up to that whose agent it is."""
    key = fact.key
    if fact.own is not None:
        return key
    for above in trace.upwards(fact.id):
        run = trace.runs.get(above)
        if run is not None:
            missing = {name: getattr(run.key, name) for name in _INHERITED if getattr(key, name) is None}
            key = key._replace(**missing)
            if run.own is not None:
                break
    return key


def _with_usage(trace: _Trace) -> list[str]:
    return [run.id for run in trace.runs.values() if any(run.amounts)]


def _amounts(fact: Fact) -> Amounts:
    return fact.amounts._replace(cost=fact.cost or 0)


def _told_by_another(trace: _Trace, fact: Fact) -> bool:
    """Whether a call stands within another call of as many tokens, or around one that was told already."""
    tokens = fact.amounts.tokens
    if fact.tool is not None or not any(tokens):
        return False
    above = (trace.facts.get(span) for span in trace.upwards(fact.id))
    if any(each is not None and each.amounts.tokens == tokens for each in above):
        return True
    return any(each.told and each.amounts.tokens == tokens for each in trace.attempts.get(fact.id, ()))


def _followed(trace: _Trace) -> Iterator[Event]:
    """What became of failed attempts that were told: the next call under the same parent, if any."""
    touched, trace.touched = trace.touched, set()
    for parent in touched:
        attempts = sorted(trace.attempts[parent], key=lambda fact: fact.exact)
        starts = [fact.exact[0] for fact in attempts]
        for fact in attempts:
            if fact.told and fact.error is not None and not fact.resolved:
                start, end = fact.exact
                place = bisect_left(starts, max(end, start + 1))
                yield from _resolved(fact, attempts[place] if place < len(attempts) else None)


def _resolved(fact: Fact, following: Fact | None) -> Iterator[Event]:
    if following is None:
        if not fact.doubtful:
            fact.doubtful = True
            yield _outcome(fact, Resolution.FAILED, None, tentative=True)
        return
    fact.resolved = True
    same = (following.provider, following.model) == (fact.provider, fact.model)
    to = None if same else "/".join(filter(None, (following.provider, following.model)))
    yield _outcome(fact, Resolution.RETRY if same else Resolution.FALLBACK, to)


def _outcome(fact: Fact, how: Resolution, to: str | None, *, tentative: bool = False) -> Resolved:
    return Resolved(fact.key, fact.end, fact.name, fact.provider, fact.model, how, to, tentative)
