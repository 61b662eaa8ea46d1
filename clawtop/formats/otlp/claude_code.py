"""Claude Code's own telemetry, as its documentation describes it.

The metrics claude_code.token.usage and cost.usage tell what the log events api_request tell call by call: the same
spend, counted once. api_error stands for a request that was given up after `attempt` attempts.
"""

from collections import OrderedDict
from collections.abc import Iterable

from clawtop.formats.otlp.pools import Detail
from clawtop.formats.otlp.records import Attributes, Log, Metric, Point
from clawtop.formats.otlp.senders import Sender, digest, dollars, text, whole
from clawtop.formats.otlp.spend import PoolKey, Spend
from clawtop.formats.otlp.standing import Amounts, Place, Standing
from clawtop.model.events import (
    Attempt,
    Call,
    Event,
    Increase,
    Resolution,
    Resolved,
    Tokens,
    ToolCall,
    ToolError,
)
from clawtop.model.keys import Key

FAMILY = "claude"
OF_FILES = "claude:"
"""What the agents' names begin with that Claude Code's own files tell of."""
_PREFIX = "claude_code."
_SCOPE = "com.anthropic.claude_code"
_PROVIDER = "anthropic"
_TOKENS, _COST = "claude_code.token.usage", "claude_code.cost.usage"
_KINDS = {"input": "input", "output": "output", "cacheRead": "cache_read", "cacheCreation": "cache_write"}
_EVENTS = ("api_request", "api_error", "tool_result")
_UNSEEN = frozenset({"fallbacks", "aborts", "compactions", "resets", "unmetered_runs"})
_UNSEEN_BY_METRICS = _UNSEEN | {"calls", "errors", "retries", "failed_turns", "tool_calls", "tool_errors"}
_MOST_SESSIONS = 20_000
_MOST_CALLS = 5_000


class ClaudeCode:
    """Reads what Claude Code sends."""

    def __init__(self, spend: Spend) -> None:
        self._spend = spend
        self._calls: OrderedDict[str, OrderedDict[str, Standing]] = OrderedDict()
        self._metered: OrderedDict[str, set[PoolKey]] = OrderedDict()
        self._bare: set[str] = set()
        self._logging: set[str] = set()
        self._homes = False

    @property
    def indistinct(self) -> bool:
        """Whether neither metrics of this machine name a session nor logs, and sessions' own files are read, too."""
        return self._homes and not self._bare <= self._logging

    # ---- metrics

    def metric(self, sender: Sender, scope: str, metric: Metric) -> bool:
        """A metric, if it is Claude Code's."""
        if metric.name in (_TOKENS, _COST):
            for point in metric.points:
                self._point(sender, scope, metric, point)
        return metric.name.startswith(_PREFIX)

    def _point(self, sender: Sender, scope: str, metric: Metric, point: Point) -> None:
        attributes = point.attributes
        kind = _KINDS.get(text(attributes, "type") or "") if metric.name == _TOKENS else "cost"
        growth = None if kind is None else self._spend.grew(sender, scope, metric, point)
        if growth is None or kind is None:
            return
        session = text(attributes, "session.id")
        amounts = Amounts(**{kind: round(growth.value * 1_000_000) if kind == "cost" else round(growth.value)})
        pool = PoolKey(FAMILY, sender.process, session or "", _PROVIDER, text(attributes, "model") or "")
        key = self._key(sender, attributes)
        if session is None and sender.host == self._spend.directory.host and len(self._bare) < _MOST_SESSIONS:
            self._bare.add(sender.process)
        if session is not None:
            self._metered.setdefault(session, set()).add(pool)
            if len(self._metered) > _MOST_SESSIONS:
                self._metered.popitem(last=False)
            if session in self._spend.told:
                self._spend.pool(pool).mute()
        self._spend.metered(key, _UNSEEN_BY_METRICS)
        self._spend.add(pool, key, growth, amounts)

    def _key(self, sender: Sender, attributes: Attributes) -> Key:
        key = self._spend.known(self._spend.directory.key(sender, attributes))
        return key._replace(session=text(attributes, "session.id"))

    # ---- logs

    def log(self, sender: Sender, scope: str, log: Log) -> tuple[bool, list[Event]]:
        """(whether a log record is one of Claude Code's, its events)."""
        ours = log.name.startswith(_PREFIX) or scope.startswith(_SCOPE)
        name = log.name.removeprefix(_PREFIX)
        if not ours or name not in _EVENTS:
            return ours, []
        attributes = log.attributes
        own = text(attributes, "request_id", "tool_use_id") or digest(
            (sender.process, log.time, *sorted(map(repr, attributes.items())))
        )
        if not self._spend.fresh(FAMILY, name, own):
            return True, []
        self._spend.used += 1
        key = self._key(sender, attributes)._replace(run=text(attributes, "prompt.id"))
        at = self._spend.at(log.time)
        if name == "api_request" and len(self._logging) < _MOST_SESSIONS:
            self._logging.add(sender.process)
        if key.session in self._spend.told:
            if name == "api_request":
                self._explain(sender, ("",), *_used(key, at, attributes))
            return True, []
        events = self._spend.blind(key, _UNSEEN)
        match name:
            case "api_request":
                events += self._called(sender, key, at, own, attributes)
            case "api_error":
                events += _given_up(key, at, own, attributes)
            case _:
                events += _used_tool(key, at, own, attributes)
        return True, events

    def _called(self, sender: Sender, key: Key, at: int, own: str, attributes: Attributes) -> list[Event]:
        place, told = _used(key, at, attributes)
        model, tokens, cost = place.model, told.tokens, dollars(attributes.get("cost_usd"))
        latency = whole(attributes.get("duration_ms"))
        self._explain(sender, sorted({key.session or "", ""}), place, told)
        attempt = Attempt(key, at, f"{own}/attempt", _PROVIDER, model)
        if key.host == self._spend.directory.host and key.session is not None:
            standing = self._standing(key.session, own)
            latencies = () if latency is None else ((latency, 1),)
            amounts = told._replace(calls=1)
            return [*standing.show(place, amounts, priced=cost is not None, latencies=latencies), attempt]
        return [Call(key, at, own, _PROVIDER, model, tokens, cost, latency), attempt]

    def _explain(self, sender: Sender, parts: Iterable[str], place: Place, told: Amounts) -> None:
        """Say whose it was that metrics tell, too: of the session, or of none where they are set up to leave it out."""
        for part in parts:
            self._spend.later([(PoolKey(FAMILY, sender.process, part, _PROVIDER, place.model), Detail(place, told))])

    def _standing(self, session: str, own: str) -> Standing:
        """What can be taken back, as the session's own file may be read on this machine, too."""
        calls = self._calls.setdefault(session, OrderedDict())
        self._calls.move_to_end(session)
        standing = calls[own] = Standing(f"request {own}")
        if len(calls) > _MOST_CALLS:
            calls.popitem(last=False)
        if len(self._calls) > _MOST_SESSIONS:
            self._calls.popitem(last=False)
        return standing

    # ---- what other sources tell better

    def told_elsewhere(self, agent: str, session: str) -> list[Event]:
        """Another source tells all of this session of an agent: take back what was told of it here."""
        self._homes |= agent.startswith(OF_FILES)
        events: list[Event] = []
        for standing in self._calls.pop(session, {}).values():
            events += standing.show(None)
        for pool in self._metered.pop(session, ()):
            events += self._spend.pool(pool).mute()
        return events


def _used(key: Key, at: int, attributes: Attributes) -> tuple[Place, Amounts]:
    """(whose and when, how much) of an api_request."""
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
    tokens = Tokens(*[whole(attributes.get(name)) or 0 for name in names])
    place = Place(key, at, _PROVIDER, text(attributes, "model") or "")
    return place, Amounts.of(tokens, cost=dollars(attributes.get("cost_usd")) or 0)


def _given_up(key: Key, at: int, own: str, attributes: Attributes) -> list[Event]:
    """A request that failed for good; the attempts before the last one were retried."""
    model = text(attributes, "model") or ""
    status = text(attributes, "status_code")
    words = text(attributes, "error") or "error"
    error = words if status in (None, "undefined") or words.startswith(str(status)) else f"{status} {words}"
    before = min((whole(attributes.get("attempt")) or 1) - 1, 100)
    events: list[Event] = [
        Call(key, at, own, _PROVIDER, model, error=error),
        Resolved(key, at, own, _PROVIDER, model, Resolution.FAILED),
        Attempt(key, at, f"{own}/attempt", _PROVIDER, model),
    ]
    if before > 0:
        events.append(Increase(key, at, f"{own}/before", _PROVIDER, model, errors=before, retries=before))
    return events


def _used_tool(key: Key, at: int, own: str, attributes: Attributes) -> list[Event]:
    tool = text(attributes, "tool_name") or "?"
    events: list[Event] = [ToolCall(key, at, own, _PROVIDER, text(attributes, "model") or "", tool)]
    if attributes.get("success") in (False, "false"):
        events.append(ToolError(key, at, own, tool))
    return events
