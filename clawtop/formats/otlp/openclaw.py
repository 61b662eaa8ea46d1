"""OpenClaw's own signals. Observed on 2026.2.26; what later versions add is read from their documentation.

Metrics give the total and name no agent; a span `openclaw.model.usage`, one a run, names it. Of the kinds of tokens
only four are real: `prompt` is input and cache together, `total` the last call's alone. The prefix of the metrics'
names can be configured, the instrumentation's name and the attributes stay.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from clawtop.formats.otlp.lanes import UNSEEN_BY_LANES, Lanes
from clawtop.formats.otlp.pools import Detail
from clawtop.formats.otlp.records import Attributes, Metric, Point, Span
from clawtop.formats.otlp.senders import Sender, text, whole
from clawtop.formats.otlp.series import Growth
from clawtop.formats.otlp.spend import PoolKey, Spend
from clawtop.formats.otlp.standing import Amounts, Place, Standing
from clawtop.formats.otlp.traces import Fact, Traces
from clawtop.formats.session_keys import read_session_key
from clawtop.model.events import Attempt, Event, Increase
from clawtop.model.keys import Key

FAMILY = "openclaw"
_PREFIX = "openclaw."
_METRICS = (
    "tokens",
    "cost.usd",
    "model_call.duration_ms",
    "tool.execution.duration_ms",
    "run.attempt",
    "model.failover",
    "queue.lane.enqueue",
    "queue.lane.dequeue",
    "session.state",
)
_KINDS = ("input", "output", "cache_read", "cache_write")
_UNSEEN = frozenset({"failed_turns", "aborts", "compactions", "resets", "unmetered_runs"})
_UNSEEN_BY_SPANS = _UNSEEN | {"retries", "fallbacks"}
_MOST_SESSIONS = 20_000
_MOST_USES = 1_000


@dataclass(slots=True)
class _Session:
    """Which gateways told of it, and what."""

    processes: set[str] = field(default_factory=set)
    uses: deque[Detail] = field(default_factory=lambda: deque(maxlen=_MOST_USES))


class OpenClaw:
    """Reads what a gateway's diagnostics plugin sends."""

    def __init__(self, spend: Spend, traces: Traces) -> None:
        self._spend = spend
        self._traces = traces
        self._lanes = Lanes(spend)
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    # ---- metrics

    def metric(self, sender: Sender, scope: str, metric: Metric) -> tuple[bool, list[Event]]:
        """(whether it is one of OpenClaw's, its events)."""
        ours = scope == "openclaw" or metric.name.startswith(_PREFIX)
        short = _short(metric, ours=ours)
        if short is None:
            return ours, []
        events: list[Event] = []
        for point in metric.points:
            if short == "tokens" and text(point.attributes, "openclaw.token") not in _KINDS:
                continue
            growth = self._spend.grew(sender, scope, metric, point)
            if growth is not None:
                events += self._grown(sender, short, point, growth)
        return True, events

    def _grown(self, sender: Sender, short: str, point: Point, growth: Growth) -> list[Event]:
        match short:
            case "tokens" | "cost.usd" | "model_call.duration_ms" | "tool.execution.duration_ms":
                return self._spent(sender, short, point.attributes, growth)
            case "run.attempt" | "model.failover":
                return self._tried_again(sender, short, point, growth)
            case _:
                self._lanes.grew(sender, short, point.attributes, growth)
                return []

    def _spent(self, sender: Sender, short: str, attributes: Attributes, growth: Growth) -> list[Event]:
        agent, provider, model = _named(attributes, "agent"), *_model(attributes)
        pool = PoolKey(FAMILY, sender.process, agent or "", provider, model)
        key = self._spend.directory.key(sender, attributes, agent)
        failed = text(attributes, "openclaw.errorCategory") is not None
        match short:
            case "tokens":
                kind = text(attributes, "openclaw.token") or ""
                amounts = Amounts(**{kind: round(growth.value)})
            case "cost.usd":
                amounts = Amounts(cost=self._spend.money(sender, provider, model, growth.value))
            case "model_call.duration_ms":
                amounts = Amounts(errors=growth.times) if failed else Amounts(calls=growth.times)
            case _:
                amounts = Amounts(tool_calls=growth.times, tool_errors=growth.times if failed else 0)
        latencies = () if failed or not amounts.calls else growth.buckets
        self._spend.add(pool, key, growth, amounts, tuple((round(middle), count) for middle, count in latencies))
        newer = "openclaw.agent" in attributes or short not in ("tokens", "cost.usd")
        return self._spend.blind(key, _UNSEEN if newer else UNSEEN_BY_LANES)

    def _tried_again(self, sender: Sender, short: str, point: Point, growth: Growth) -> list[Event]:
        """Attempts above the first are retries, failovers are fallbacks; the lane may say whose."""
        attributes = point.attributes
        if short == "run.attempt" and (whole(attributes.get("openclaw.attempt")) or 0) < 2:
            return []
        lane = read_session_key((text(attributes, "openclaw.lane") or "").removeprefix("session:"))
        key = self._spend.known(self._spend.directory.key(sender, attributes, lane.agent))
        provider, model = _model(attributes)
        times = round(growth.value)
        retries, fallbacks = (times, 0) if short == "run.attempt" else (0, times)
        name = f"{sender.process} {short} {sorted(attributes.items())} {point.start} {point.time}"
        return [Increase(key, growth.at, name, provider, model, retries=retries, fallbacks=fallbacks)]

    def flush(self) -> list[Event]:
        """The states that a whole body's lanes tell of."""
        return self._lanes.flush()

    def settle(self) -> list[Event]:
        """What becomes of gateways that nothing came of for a while."""
        return self._lanes.settle()

    # ---- spans

    def span(self, sender: Sender, scope: str, span: Span) -> tuple[bool, list[Event]]:
        """(whether it is one of OpenClaw's, its events)."""
        if scope != "openclaw" and not span.name.startswith(_PREFIX):
            return False, []
        end = self._spend.at(span.end or span.start)
        failed = (span.message[:500] or text(span.attributes, "error.type") or "error") if span.failed else None
        if span.trace and span.id:
            self._traces.link(span.trace, span.id, span.parent, end, failed)
        if not self._spend.fresh(FAMILY, span.trace, span.id):
            return True, []
        self._spend.used += 1
        match _what(span):
            case "model.usage":
                return True, self._used(sender, span, end)
            case "model.call" | "tool.execution" as what:
                self._called(sender, span, what, end, failed)
            case "message.processed" | "session.stuck" as what:
                return True, self._state(sender, span, what, end, failed)
        return True, []

    def _used(self, sender: Sender, span: Span, end: int) -> list[Event]:
        attributes = span.attributes
        named = _named(attributes, "agent")
        key = self._key(sender, attributes)._replace(run=span.trace)
        provider, model = _model(attributes)
        counts = [whole(attributes.get(f"openclaw.tokens.{kind}")) or 0 for kind in _KINDS]
        detail = Detail(Place(key, end, provider, model), Amounts(*counts), Standing(f"usage {span.trace}:{span.id}"))
        if key.agent != sender.agent:
            self._traces.belongs(span.trace, key.agent)
        events = self._cover(sender.process, key.session, detail)
        events += self._spend.explain(PoolKey(FAMILY, sender.process, named or "", provider, model), detail)
        if not detail.muted:
            newer = "openclaw.agent" in attributes or "gen_ai.operation.name" in attributes
            events += self._spend.blind(key, _UNSEEN_BY_SPANS if newer else UNSEEN_BY_LANES)
            events.append(Attempt(key, end, f"{span.trace}:{span.id}/attempt", provider, model))
        self._lanes.know(sender, key)
        return events

    def _key(self, sender: Sender, attributes: Attributes) -> Key:
        session_key = text(attributes, "openclaw.sessionKey")
        said = read_session_key(session_key)
        key = self._spend.directory.key(sender, attributes, _named(attributes, "agent") or said.agent)
        return self._spend.known(key)._replace(
            session=text(attributes, "openclaw.sessionId") or session_key,
            user=key.user or said.peer,
            cron=said.cron,
            channel=text(attributes, "openclaw.channel"),
            session_key=session_key,
        )

    def _called(self, sender: Sender, span: Span, what: str, end: int, failed: str | None) -> None:
        """A call without its tokens, which the run's usage has, or a tool call: the trace says whose."""
        attributes = span.attributes
        provider, model = _model(attributes)
        tool = what == "tool.execution"
        wrong = int(failed is not None)
        amounts = Amounts(tool_calls=1, tool_errors=wrong) if tool else Amounts(calls=1 - wrong, errors=wrong)
        name = text(attributes, "gen_ai.tool.name", "openclaw.toolName") or "?"
        key = self._spend.directory.key(sender, attributes)
        self._traces.add(
            Fact(
                span.trace,
                span.id,
                span.parent,
                key,
                _named(attributes, "agent"),
                self._spend.at(span.start),
                end,
                amounts,
                provider,
                model,
                error=failed,
                tool=name if tool else None,
                attempt=False,
                unseen=_UNSEEN_BY_SPANS,
            )
        )
        pool = PoolKey(FAMILY, sender.process, "", *(("", "") if tool else (provider, model)))
        self._spend.later([(pool, Detail(Place(key, end, provider, model), amounts))])

    def _state(self, sender: Sender, span: Span, what: str, end: int, failed: str | None) -> list[Event]:
        key = self._key(sender, span.attributes)
        if key.session_key is None:
            return []
        if what == "message.processed":
            return self._lanes.ended(sender, key, end, failed)
        stuck = (whole(span.attributes.get("openclaw.ageMs")) or 0) // 1000
        return self._lanes.stuck(sender, key, end, f"stuck for {stuck} s")

    # ---- what other sources tell better

    def told_elsewhere(self, session: str) -> list[Event]:
        """Another source tells all of this session: take back what was told of it here.

        Whoever reads one session of a gateway reads them all, so its unexplained rest goes with it.
        """
        known = self._sessions.pop(session, None)
        events: list[Event] = []
        for detail in known.uses if known else ():
            detail.muted = True
            events += detail.tell()
        for process in known.processes if known else ():
            events += self._spend.mute(FAMILY, process)
        return events

    def _cover(self, process: str, session: str | None, detail: Detail) -> list[Event]:
        """Keep in mind what may have to be taken back, or have it muted at once."""
        if session is None:
            return []
        if session in self._spend.told:
            detail.muted = True
            return self._spend.mute(FAMILY, process)
        known = self._sessions.setdefault(session, _Session())
        known.processes.add(process)
        known.uses.append(detail)
        self._sessions.move_to_end(session)
        if len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return []


def _short(metric: Metric, *, ours: bool) -> str | None:
    """The name without its prefix, of those metrics that are used."""
    if metric.name.startswith(_PREFIX):
        short = metric.name.removeprefix(_PREFIX)
        return short if short in _METRICS else None
    if not ours and not any(key.startswith(_PREFIX) for point in metric.points[:1] for key in point.attributes):
        return None
    name = metric.name
    return next((short for short in _METRICS if name == short or name.endswith((f".{short}", f"_{short}"))), None)


def _what(span: Span) -> str:
    if span.name.startswith(_PREFIX):
        return span.name.removeprefix(_PREFIX)
    return "model.call" if text(span.attributes, "gen_ai.operation.name") is not None else ""


def _named(attributes: Attributes, name: str) -> str | None:
    """An attribute of OpenClaw's, which says `unknown` where it knows none."""
    value = text(attributes, _PREFIX + name)
    return None if value == "unknown" else value


def _model(attributes: Attributes) -> tuple[str, str]:
    return _named(attributes, "provider") or "", _named(attributes, "model") or ""
