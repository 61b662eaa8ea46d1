"""A seeded simulation of a fleet: the same seed and start give the same events, however time is cut into steps.

No clock and no I/O: time is an argument, in Unix milliseconds.
"""

import heapq
from collections.abc import Callable, Generator, Iterator
from random import Random

from clawtop.model.events import (
    Aborted,
    Attempt,
    Call,
    Compaction,
    Declared,
    Event,
    Outcome,
    PriceList,
    Resolution,
    Resolved,
    SessionState,
    State,
    Tokens,
    ToolCall,
    ToolError,
    Unmetered,
)
from clawtop.model.keys import Key
from clawtop.sources.demo_cast import MODELS, ROLES, RUNAWAY, Model, Role

HOST = "demo"

_HOUR = 3_600_000
_DAY = 24 * _HOUR
_AGENTS_OF_A_DAY = 20  # larger fleets get less than a day of history, so that it is there at once
_CACHE_LIFETIME = 300_000
_FULL = 160_000  # tokens at which a session is compacted, in models with room for them
_RATE_LIMITED = "429 rate_limit_error: this request would exceed your organization's tokens per minute"
_OVERLOADED = "529 overloaded_error: Overloaded"

_Moment = tuple[float, list[Event]]
"""A simulated time and what happens then."""

_Work = Generator[_Moment, None, float]
"""Returns the time at which it is done."""


class DemoFleet:
    """Agents at work: first `history`, then `step` as time goes by.

    After the start simulated time runs `speed` times as fast as the clock, whose time the events carry.
    """

    def __init__(self, seed: int = 7, *, agents: int = len(ROLES), speed: float = 1.0) -> None:
        self._seed = seed
        self._agents = agents
        self._speed = speed
        self._start = 0
        self._due: list[tuple[float, int, list[Event], Iterator[_Moment]]] = []

    def history(self, now: int) -> Iterator[Event]:
        """Prices, the 24 hours before `now` (less in a large fleet) in order, then what each agent does now."""
        self._start = now
        begin = now - min(_DAY, _DAY * _AGENTS_OF_A_DAY // self._agents)
        sessions: dict[str, str] = {}
        states: dict[str, SessionState] = {}
        self._due = []
        for index in range(self._agents):
            agent = _Agent(self._seed, index, now, self._stamp, sessions)
            states[agent.name] = SessionState(Key(HOST, agent.name), now, State.IDLE)
            life = agent.life(begin)
            at, events = next(life)
            heapq.heappush(self._due, (at, index, events, life))
        yield PriceList(
            HOST,
            {(model.provider, model.name): model.price for model in MODELS if model.price is not None},
            frozenset(states),
        )
        for event in self._until(now):
            if isinstance(event, SessionState):
                states[event.key.agent] = event
            else:
                yield event
        yield from states.values()

    def step(self, until: int) -> list[Event]:
        """What happened since the last step, in order, up to `until`."""
        return list(self._until(self._start + (until - self._start) * self._speed))

    def _until(self, moment: float) -> Iterator[Event]:
        due = self._due
        while due[0][0] <= moment:
            _, index, events, life = due[0]
            yield from events
            at, following = next(life)
            heapq.heapreplace(due, (at, index, following, life))

    def _stamp(self, moment: float) -> int:
        late = moment - self._start
        return int(moment if late <= 0 else self._start + late / self._speed)


class _Agent:
    """One agent's life, in simulated time."""

    def __init__(
        self, seed: int, index: int, start: int, stamp: Callable[[float], int], sessions: dict[str, str]
    ) -> None:
        number, place = divmod(index, len(ROLES))
        self._role: Role = ROLES[place]
        self._suffix = f"-{number + 1}" if number else ""
        self.name = self._role.name + self._suffix
        self._random = Random(f"{seed}/{index}")  # noqa: S311
        self._start = start
        self._trouble = start + Random(seed).uniform(60_000, 90_000) if index == ROLES.index(RUNAWAY) else None  # noqa: S311
        self._stamp = stamp
        self._sessions = sessions
        self._failing = self._role.failing
        self._count = 0
        self._context = self._fresh = 0
        self._cached_at, self._cached_by = 0.0, self._role.model
        self._begin_session()

    def life(self, begin: float) -> Iterator[_Moment]:
        """All that happens from `begin` on; the runaway's ends in a loop, no life ever ends."""
        at = begin + self._random.uniform(0, self._role.pace.pause * 1000)
        while self._trouble is None or at < self._trouble:
            at = yield from self._run(at)
            at += self._random.expovariate(1 / self._role.pace.pause) * 1000 / self._activity(at)
            if self._trouble is not None and at > self._trouble:
                at = self._trouble
        yield from self._spin(at)

    def _activity(self, at: float) -> float:
        """A working day before the start, a quiet night before that."""
        hours = (self._start - at) / _HOUR
        return 0.15 if 9 < hours < 18 else 1.0

    # ---- a run

    def _run(self, at: float) -> _Work:
        role, random = self._role, self._random
        if random.random() < 0.2:
            if random.random() < 0.3:
                yield at, [Compaction(self._key(None), self._stamp(at), self._id(), reset=True)]
            self._begin_session()
        key = self._key(f"{random.getrandbits(48):012x}")
        stamp = self._stamp(at)
        begun: list[Event] = [SessionState(key, stamp, State.RUNNING)]
        if role.budget is not None:
            begun.append(Declared(key, stamp, self._id(), budget=role.budget, max_retries=3, expected=role.task))
        yield at, begun
        calls = max(1, round(random.gauss(role.pace.calls, role.pace.calls / 3)))
        for left in range(calls - 1, -1, -1):
            if self._trouble is not None and at >= self._trouble:
                break
            at, answered = yield from self._call(at, key, tools=min(left, 1 + (random.random() < 0.15)))
            if not answered:
                yield at, [SessionState(key, self._stamp(at), State.ERROR, detail=_RATE_LIMITED)]
                return at
            if random.random() < 0.002:
                yield (
                    at,
                    [
                        Aborted(key, self._stamp(at), str(key.run)),
                        SessionState(key, self._stamp(at), State.IDLE),
                    ],
                )
                return at
        yield at, self._ended(at, key)
        return at

    def _ended(self, at: float, key: Key) -> list[Event]:
        stamp = self._stamp(at)
        ended: list[Event] = [SessionState(key, stamp, State.IDLE)]
        if self._role.budget is not None:
            status = self._random.choices(("accepted", "rejected", "abandoned"), (8, 2, 1))[0]
            ended.append(Outcome(key, stamp, self._id(), status))
        if self._random.random() < self._role.unmetered:
            ended.append(Unmetered(key, stamp, f"{key.run}-review"))
        return ended

    # ---- a call, with the attempts before it and the tools after it

    def _call(self, at: float, key: Key, *, tools: int) -> Generator[_Moment, None, tuple[float, bool]]:
        random = self._random
        if self._context > min(_FULL, 0.8 * self._role.model.window):
            yield at, [Compaction(key, self._stamp(at), self._id())]
            self._context, self._fresh = self._context // 4, self._context // 4
        at, model, events = yield from self._attempts(at, key)
        if model is None:
            return at, False
        latency = self._role.pace.latency * random.lognormvariate(0, 0.35)
        at += latency
        call = self._answer(at, key, model, round(latency))
        events += [call, Attempt(key, call.at, f"{call.id}/attempt", call.provider, call.model)]
        names = [random.choice(self._role.tools) for _ in range(tools)]
        for index, name in enumerate(names):
            events.append(ToolCall(key, call.at, f"{call.id}/tool/{index}", call.provider, call.model, name))
        if names:
            events.append(SessionState(key, call.at, State.RUNNING, tool=names[0]))
        yield at, events
        for index, name in enumerate(names):
            at += 400 + random.expovariate(1 / 2500)
            if random.random() < 0.05:
                yield at, [ToolError(key, self._stamp(at), f"{call.id}/tool/{index}/error", name)]
        return at, True

    def _attempts(self, at: float, key: Key) -> Generator[_Moment, None, tuple[float, Model | None, list[Event]]]:
        """Those that fail before the one that answers: when that begins, on which model, and what it makes of them.

        The model is None where the turn fails.
        """
        random, model = self._random, self._role.model
        events: list[Event] = []
        while random.random() < self._failing:
            at += random.uniform(250, 1400)
            error = _RATE_LIMITED if random.random() < 0.8 else _OVERLOADED
            call = Call(key, self._stamp(at), self._id(), model.provider, model.name, error=error, stop="error")
            yield at, [*events, call, Attempt(key, call.at, f"{call.id}/attempt", call.provider, call.model)]
            fate = random.random()
            if fate < 0.06:
                yield at, [_resolved(call, Resolution.FAILED)]
                return at, None, []
            if fate < 0.25 and model is self._role.model:
                model = self._role.fallback
                events = [_resolved(call, Resolution.FALLBACK, f"{model.provider}/{model.name}")]
            else:
                events = [_resolved(call, Resolution.RETRY)]
            at += random.uniform(900, 6000)
        return at, model, events

    def _answer(self, at: float, key: Key, model: Model, latency: int, *, forgets: float = 0.0) -> Call:
        """An answer to the context as it is now, which then grows; `forgets` is the share that misses the cache."""
        random, pace = self._random, self._role.pace
        warm = at - self._cached_at < _CACHE_LIFETIME and self._cached_by is model
        cached = int((self._context - self._fresh) * (1 - forgets)) if warm else 0
        fresh, output = self._context - cached, max(12, round(pace.output * random.lognormvariate(-0.18, 0.6)))
        tokens = (
            Tokens(random.randint(3, 30), output, cached, fresh)
            if model.writes_cache
            else Tokens(fresh, output, cached)
        )
        self._cached_at, self._cached_by = at, model
        self._fresh = output + round(pace.growth * random.lognormvariate(-0.12, 0.5))
        self._context += self._fresh
        return Call(
            key,
            self._stamp(at),
            self._id(),
            model.provider,
            model.name,
            tokens,
            cost=_cost(model, tokens),
            latency=latency,
            window=model.window,
            stop="stop",
        )

    # ---- the runaway

    def _spin(self, at: float) -> Iterator[_Moment]:
        """One run that calls the same failing tool for ever, and reads all of what it printed each time."""
        random = self._random
        self._begin_session()
        self._failing = 0.03
        key = self._key(f"{random.getrandbits(48):012x}")
        yield at, [SessionState(key, self._stamp(at), State.RUNNING)]
        while True:
            if self._context > _FULL:
                yield at, [Compaction(key, self._stamp(at), self._id())]
                self._context, self._fresh = self._context // 3, self._context // 3
            at, model, events = yield from self._attempts(at, key)
            if model is None:
                continue
            latency = random.uniform(1600, 3000)
            at += latency
            call = self._answer(at, key, model, round(latency), forgets=0.13)
            self._grow(random.randint(3500, 6000))
            yield (
                at,
                [
                    *events,
                    call,
                    Attempt(key, call.at, f"{call.id}/attempt", call.provider, call.model),
                    ToolCall(key, call.at, f"{call.id}/tool/0", call.provider, call.model, "bash"),
                    SessionState(key, call.at, State.RUNNING, tool="bash"),
                ],
            )
            at += random.uniform(300, 900)
            if random.random() < 0.6:
                yield at, [ToolError(key, self._stamp(at), f"{call.id}/tool/0/error", "bash")]

    # ---- what an agent remembers

    def _begin_session(self) -> None:
        role, random = self._role, self._random
        self._session = f"{random.getrandbits(64):016x}"
        self._sessions[self.name] = self._session
        self._parent = self._sessions.get(role.spawned_by + self._suffix) if role.spawned_by else None
        self._project = role.projects[0] if random.random() < 0.75 else random.choice(role.projects)
        self._user = random.choice(role.users)
        self._context = round(role.pace.prompt * random.uniform(0.85, 1.2))
        self._fresh = self._context
        self._cached_at = 0.0

    def _grow(self, tokens: int) -> None:
        self._context += tokens
        self._fresh += tokens

    def _key(self, run: str | None) -> Key:
        role = self._role
        return Key(
            HOST,
            self.name,
            self._session,
            run,
            self._project,
            self._user,
            role.users[0],
            role.environment,
            role.task,
            role.cron,
            role.channel,
            self._parent,
        )

    def _id(self) -> str:
        self._count += 1
        return f"{self._session}/{self._count}"


def _resolved(call: Call, how: Resolution, to: str | None = None) -> Resolved:
    return Resolved(call.key, call.at, call.id, call.provider, call.model, how, to)


def _cost(model: Model, tokens: Tokens) -> int | None:
    if model.price is None:
        return None
    return sum(count * price for count, price in zip(tokens, model.price, strict=True)) // 1_000_000
