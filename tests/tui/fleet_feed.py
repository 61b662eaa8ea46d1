"""A feed with a made-up fleet whose figures change with each tick, the same way every time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from random import Random

from clawtop.model.commands import Command, Hold, Outcome, Plan, Target
from clawtop.model.events import State, Tokens
from clawtop.model.keys import Key
from clawtop.model.snapshot import (
    Basis,
    Counters,
    Grouping,
    Health,
    Incident,
    Rate,
    Row,
    Snapshot,
    SourceStatus,
    View,
)

START = 1_795_000_000_000
_NAMES = ("coder", "researcher", "reviewer", "planner", "scraper", "triage", "release-notes", "support", "qa", "ops")
_MODELS = (
    "anthropic/claude-opus-4-5",
    "anthropic/claude-sonnet-4-5",
    "openai/gpt-5.2-codex",
    "google/gemini-3-flash",
    "ollama/qwen3-coder:30b",
)
_PROJECTS = ("api-gateway", "website", "billing", "mobile-app", "docs", "infra")

OK_SOURCE = SourceStatus("openclaw:~/.openclaw", Health.OK, entries=128_412, bytes=202_000_000, expected=202_000_000)
GATEWAY = SourceStatus("gateway:ws://127.0.0.1:18789", Health.OK, entries=4_211, skipped={"unknown frame": 3})


def row(name: str = "coder", **changes: object) -> Row:
    """A row in which everything is known."""
    known = Row(
        group=("local", name),
        label=name,
        host="local",
        project="api-gateway",
        projects=1,
        user=None,
        state=State.RUNNING,
        model=_MODELS[0],
        counters=Counters(calls=182, errors=2, retries=1, fallbacks=1, tool_calls=179),
        tokens=Tokens(862_995, 5_312, 1_294_314, 0),
        cost=3_056_962,
        basis=Basis.LOGGED,
        sessions=6,
        runs=9,
        tokens_per_min=18_200.0,
        usd_per_hour=12.34,
        calls_per_min=4.2,
        context_pct=48.0,
        latency_p50=900,
        latency_p95=4_200,
        first_at=START - 3_000_000,
        last_at=START - 2_000,
        spark=(0, 3, 5, 9, 4, 2, 7, 8),
        agent=name,
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def _agent(number: int) -> Row:
    dice = Random(number)  # noqa: S311
    name = f"{_NAMES[number % len(_NAMES)]}{'' if number < len(_NAMES) else f'-{number // len(_NAMES) + 1}'}"
    heavy = 60 / (1 + number) ** 1.1
    running = dice.random() < 0.4 or number < 3
    free = _MODELS[number % 5].startswith("ollama")
    spend = heavy * (0.7 + dice.random() * 0.6) if running else 0.0
    calls = int(400 * heavy / 60 + dice.random() * 40)
    errors = int(dice.random() * 9) if dice.random() < 0.2 else 0
    return row(
        name,
        state=State.RUNNING if running else State.ERROR if number % 17 == 5 else State.IDLE,
        model=_MODELS[number % 5],
        project=_PROJECTS[number % 6],
        projects=1 + (number % 7 == 0),
        counters=Counters(
            calls, errors, errors // 2, errors // 3, 0, 0, calls * 2, errors, unpriced_calls=calls * free
        ),
        tokens=Tokens(int(9e5 * heavy / 60), int(2e4 * heavy / 60), int(8e6 * heavy / 60), int(1e5 * heavy / 60)),
        cost=0 if free else int(spend * 8e5 + dice.random() * 4e6),
        basis=Basis.UNKNOWN if free else Basis.LOGGED,
        usd_per_hour=0.0 if free else spend,
        tokens_per_min=spend * 4_000,
        calls_per_min=spend / 2,
        context_pct=dice.random() * 95,
        latency_p95=int(800 + dice.random() * 20_000),
        last_at=START - (int(dice.random() * 8_000) if running else int(dice.random() * 9e6)),
        spark=tuple(int(dice.random() ** 2 * spend * 3000) for _ in range(60))
        if running
        else (0,) * 59 + (number % 2,),
        rate_unpriced=int(free and running),
        rate_basis=Basis.UNKNOWN if free and running else Basis.LOGGED,
        blind=frozenset(["retries", "fallbacks"]) if number % 9 == 4 else frozenset(),
    )


def total(rows: Iterable[Row]) -> Row:
    """The sum of rows, as far as the screen shows it."""
    known = tuple(rows)
    counted = [row.counters for row in known]
    return row(
        "total",
        counters=Counters(
            calls=sum(each.calls for each in counted),
            errors=sum(each.errors for each in counted),
            unpriced_calls=sum(each.unpriced_calls for each in counted),
        ),
        cost=sum(each.cost for each in known),
        basis=Basis.MIXED,
        usd_per_hour=sum(each.usd_per_hour for each in known),
        tokens_per_min=sum(each.tokens_per_min for each in known),
        calls_per_min=sum(each.calls_per_min for each in known),
        rate_unpriced=sum(each.rate_unpriced for each in known),
        agent=None,
        agents=len(known),
        agents_running=sum(each.state is State.RUNNING for each in known),
        kinds_per_min=Tokens(
            *(int(sum(each.tokens_per_min for each in known) * part) for part in (0.08, 0.02, 0.85, 0.05))
        ),
    )


def _sort_key(name: str) -> Callable[[Row], float | str]:
    if name in {"name", "host", "project", "model", "state", "user"}:
        return lambda each: str(each.label if name == "name" else getattr(each, name) or "")
    if name in {"input", "output"}:
        return lambda each: float(getattr(each.tokens, name))
    if hasattr(Counters(), name):
        return lambda each: float(getattr(each.counters, name))
    field = {"context": "context_pct", "latency": "latency_p95", "cache_share": "tokens_per_min"}.get(name, name)
    return lambda each: float(getattr(each, field) or 0)


class FleetFeed:
    """A Feed without an engine: a snapshot is made when asked for or with `tick`."""

    def __init__(
        self,
        count: int = 47,
        sources: Sequence[SourceStatus] = (OK_SOURCE, GATEWAY),
        view: View = View(),  # noqa: B008
        step: int = 1000,
    ) -> None:
        self.agents = [_agent(number) for number in range(count)]
        self._bases = {each.group: each for each in self.agents}
        self.sources = tuple(sources)
        self.step = step
        self.at = START
        self.seq = 0
        self.incidents: tuple[Incident, ...] | None = None
        self._refusal: Exception | None = None
        self.planned: list[tuple[Target, ...]] = []
        self.submitted: list[Command] = []
        self.plans: Future[tuple[Plan, ...]] = Future()
        self.outcome: Future[Outcome] = Future()
        self.held: dict[Target, Hold] = {}
        self.views: list[View] = []
        self.looked: list[View] = []
        self._dice = Random(7)  # noqa: S311
        self._curve = [int(2e4 * (1 + (number % 40) / 20)) for number in range(180)]
        self._view = view
        self._callback: Callable[[], None] | None = None
        self._snapshot = self._make(view)

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    @property
    def listener(self) -> Callable[[], None] | None:
        return self._callback

    def show(self, view: View) -> None:
        self._view = view
        self.views.append(view)
        self.publish()

    def look(self, view: View) -> Future[Snapshot]:
        self.looked.append(view)
        future: Future[Snapshot] = Future()
        if self._refusal is None:
            future.set_result(self._make(view))
        else:
            future.set_exception(self._refusal)
        return future

    def plan(self, targets: tuple[Target, ...]) -> Future[tuple[Plan, ...]]:
        self.planned.append(targets)
        return self.plans

    def submit(self, command: Command) -> Future[Outcome]:
        self.submitted.append(command)
        self.outcome = Future()
        return self.outcome

    def holds(self) -> Mapping[Target, Hold]:
        return self.held

    def refuse(self, error: Exception) -> None:
        """Answer every look with this error."""
        self._refusal = error

    def listen(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback

    def publish(self) -> None:
        """Publish a snapshot of what there is."""
        self.seq += 1
        self._snapshot = self._make(self._view)
        if self._callback is not None:
            self._callback()

    def tick(self) -> None:
        """Let every running agent spend something, and publish."""
        self.at += self.step
        for number, each in enumerate(self.agents):
            if each.state is State.RUNNING:
                self.agents[number] = self._spend(each)
        self._curve = [*self._curve[1:], int(2e4 * (1 + self._dice.random() * 3))]
        self.publish()

    def ticks(self, count: int) -> None:
        """Tick so many times."""
        for _ in range(count):
            self.tick()

    def shuffle(self, dice: Random) -> None:
        """Give every agent another rate, so that all change places, and publish."""
        self.at += self.step
        self.agents = [replace(each, usd_per_hour=1 + dice.random() * 99, basis=Basis.LOGGED) for each in self.agents]
        self.publish()

    def spend(self, name: str) -> None:
        """Let one agent make a call that costs nothing, and publish."""
        self.agents = [self._called(each) if each.label == name else each for each in self.agents]
        self.publish()

    @staticmethod
    def _called(each: Row) -> Row:
        return replace(each, counters=replace(each.counters, errors=each.counters.errors + 1))

    def _spend(self, each: Row) -> Row:
        base = self._bases[each.group]
        factor = 0.6 + self._dice.random() * 0.8
        fresh = int(each.usd_per_hour / 3600 * 1e6)
        return replace(
            each,
            cost=each.cost + fresh,
            usd_per_hour=base.usd_per_hour * factor,
            tokens_per_min=base.tokens_per_min * factor,
            counters=replace(each.counters, calls=each.counters.calls + 1),
            last_at=self.at - int(self._dice.random() * 3000),
            spark=(*each.spark[1:], int(self._dice.random() ** 2 * 9000)),
        )

    def _make(self, view: View) -> Snapshot:
        everyone = [each for each in self.agents if self._in_scope(each, view)]
        grouped = _grouped(everyone, view.group_by)
        rows = sorted(
            (each for each in grouped if view.filter(each)), key=_sort_key(view.sort), reverse=view.descending
        )
        whole = total(everyone)
        filtered = bool(view.filter.terms)
        return Snapshot(
            at=self.at,
            view=view,
            rows=tuple(rows),
            total=total(rows) if filtered else whole,
            unfiltered=Rate(whole.usd_per_hour, whole.rate_unpriced) if filtered else None,
            sources=self.sources,
            hidden=len(grouped) - len(rows),
            recent_cost=tuple(self._curve) if everyone else (),
            recent_tokens=tuple(self._curve) if everyone else (),
            incidents=self._errors(everyone) if self.incidents is None else self.incidents,
        )

    def _errors(self, everyone: Sequence[Row]) -> tuple[Incident, ...]:
        return tuple(
            Incident(self.at - 1000 * n, Key(each.host, each.label), "error", each.model, f"429 rate limit ({n})")
            for n, each in enumerate(everyone[:9])
            if each.counters.errors
        )

    @staticmethod
    def _in_scope(each: Row, view: View) -> bool:
        of = view.scope.row
        if of is not None and of[0] is Grouping.AGENT and of[1] != each.group:
            return False
        if of is not None and of[0] in {Grouping.PROJECT, Grouping.USER} and of[1] != (getattr(each, of[0]) or "",):
            return False
        return view.scope.holds(Key(each.host, each.label, project=each.project, user=each.user))


def _grouped(rows: Sequence[Row], by: Grouping) -> list[Row]:
    if by is Grouping.AGENT:
        return list(rows)
    if by in {Grouping.SESSION, Grouping.RUN}:
        return [
            replace(
                each,
                label=f"agent:{each.label}:{by.value}-{n}",
                group=(*each.group, by.value, str(n)),
                cost=each.cost // n,
                sessions=1,
                runs=1,
            )
            for each in rows
            for n in (1, 2, 3)
        ]
    parts: dict[str, list[Row]] = {}
    for each in rows:
        parts.setdefault(str(getattr(each, by.value, None) or "(none)"), []).append(each)
    return [replace(total(some), group=(name,), label=name, host="local") for name, some in parts.items()]
