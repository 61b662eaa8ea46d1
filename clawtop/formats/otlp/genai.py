"""The GenAI semantic conventions, as any framework's spans, metrics and logs follow them: names old and new.

Calls are spans chat, text_completion, generate_content and embeddings; runs invoke_agent; tool calls execute_tool.
Beside the names of the conventions stand those of OpenLLMetry and OpenInference, which came before them.
"""

from collections import OrderedDict
from collections.abc import Mapping

from clawtop.formats.otlp.pools import Detail
from clawtop.formats.otlp.records import Attributes, Log, Metric, Point, Span
from clawtop.formats.otlp.senders import Sender, digest, dollars, text, whole
from clawtop.formats.otlp.series import Growth
from clawtop.formats.otlp.spend import PoolKey, Spend
from clawtop.formats.otlp.standing import NOTHING, Amounts, Place, Standing
from clawtop.formats.otlp.traces import Fact, Run, Traces
from clawtop.model.events import Tokens

FAMILY = "genai"
CALLS = frozenset({"chat", "text_completion", "generate_content", "embeddings", "completion", "embedding", "llm"})
RUNS = frozenset({"invoke_agent", "agent"})
TOOLS = frozenset({"execute_tool", "tool"})
UNSEEN = frozenset({"aborts", "compactions", "resets", "unmetered_runs"})
"""What no signal of the conventions tells."""
UNSEEN_BY_METRICS = UNSEEN | {"retries", "fallbacks", "failed_turns", "tool_calls", "tool_errors"}

_OPERATION = ("gen_ai.operation.name", "llm.request.type", "traceloop.span.kind", "openinference.span.kind")
_PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
_MODEL = ("gen_ai.request.model", "gen_ai.response.model", "llm.model_name")
_AGENT = ("gen_ai.agent.name", "gen_ai.agent.id", "agent.name")
_SESSION = ("gen_ai.conversation.id", "session.id")
_INPUT = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.usage.prompt_tokens",
    "llm.token_count.prompt",
)
_OUTPUT = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.usage.completion_tokens",
    "llm.token_count.completion",
)
_CACHE_READ = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.details.cache_read_tokens",
    "llm.token_count.prompt_details.cache_read",
)
_CACHE_WRITE = (
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.details.cache_write_tokens",
    "llm.token_count.prompt_details.cache_write",
)
_COST = ("gen_ai.usage.cost", "operation.cost", "llm.usage.cost", "llm.cost.total")
_PRICED_AS = {
    "aws.bedrock": "aws",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "vertex_ai": "google",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
    "xai": "x-ai",
}
_INPUTS = ("input", "prompt")
_OUTPUTS = ("output", "completion")
_OPERATION_DETAILS = "gen_ai.client.inference.operation.details"
_USAGE = "gen_ai.client.token.usage"
_DURATION = "gen_ai.client.operation.duration"
_MOST_POOLS = 4_000
_MOST_SCOPES = 16


def provider(attributes: Attributes) -> str:
    """The provider's name as price lists have it, "" where none is told."""
    name = (text(attributes, *_PROVIDER) or "").casefold()
    return _PRICED_AS.get(name, name)


def operation(attributes: Attributes, name: str) -> str:
    """What a span did: by its attributes, else by the first word of its name, which the conventions set."""
    told = text(attributes, *_OPERATION)
    if told is None:
        word = name.partition(" ")[0]
        told = word if word in CALLS | RUNS | TOOLS and any(key.startswith("gen_ai.") for key in attributes) else ""
    if not told and _first(attributes, _INPUT) is not None:
        return "chat"
    return told.casefold()


def usage(attributes: Attributes) -> Tokens:
    """The token buckets. Input tokens include cached ones, unless there are fewer of them than cached ones."""
    given, output = _first(attributes, _INPUT) or 0, _first(attributes, _OUTPUT) or 0
    read, write = _first(attributes, _CACHE_READ) or 0, _first(attributes, _CACHE_WRITE) or 0
    return Tokens(given - read - write if read + write <= given else given, output, read, write)


def _first(attributes: Attributes, names: tuple[str, ...]) -> int | None:
    return next((count for name in names if (count := whole(attributes.get(name))) is not None), None)


def _cost(attributes: Attributes) -> int | None:
    return next((cost for name in _COST if (cost := dollars(attributes.get(name))) is not None), None)


class GenAi:
    """Reads what follows the conventions, and passes over the rest."""

    def __init__(self, spend: Spend, traces: Traces) -> None:
        self._spend = spend
        self._traces = traces
        self._told: OrderedDict[PoolKey, dict[str, Amounts]] = OrderedDict()

    # ---- spans and logs

    def span(self, sender: Sender, span: Span) -> None:
        """A span of any kind: those between a call and its agent matter, too."""
        did = operation(span.attributes, span.name)
        error = _error(span)
        if not span.trace or not span.id:
            if did in CALLS | RUNS | TOOLS:
                self._spend.skipped["a span without ids"] += 1
            return
        end = self._spend.at(span.end or span.start)
        self._traces.link(span.trace, span.id, span.parent, end, error)
        if did in CALLS:
            self._spend.used += 1
            self._call(sender, span, (self._spend.at(span.start), end), error)
        elif did in RUNS:
            self._spend.used += 1
            self._run(sender, span, end, error)
        elif did in TOOLS:
            self._spend.used += 1
            self._tool(sender, span, (self._spend.at(span.start), end), error)

    def log(self, sender: Sender, log: Log) -> bool:
        """A log record, if it tells of a call; one that belongs to a span is that span's call."""
        if log.name != _OPERATION_DETAILS or operation(log.attributes, "") not in CALLS:
            return False
        self._spend.used += 1
        at = self._spend.at(log.time)
        error = text(log.attributes, "error.type")
        own = log.span or digest((log.time, *sorted(map(repr, log.attributes.items()))))
        trace = log.trace or f"logs:{own}"
        span = Span(trace, own, "", "", log.time, log.time, log.attributes, error is not None, error or "")
        if not log.span:
            self._traces.link(trace, own, "", at, error)
        self._call(sender, span, (at, at), error)
        return True

    def _call(self, sender: Sender, span: Span, when: tuple[int, int], error: str | None) -> None:
        if not self._spend.fresh(FAMILY, span.trace, span.id):
            return
        attributes = span.attributes
        tokens = usage(attributes)
        failed = error is not None and not any(tokens)
        reasons = attributes.get("gen_ai.response.finish_reasons")
        fact = Fact(
            span.trace,
            span.id,
            span.parent,
            self._spend.directory.key(sender, attributes)._replace(session=text(attributes, *_SESSION)),
            text(attributes, *_AGENT),
            *when,
            Amounts.of(tokens, calls=0 if failed else 1, errors=0 if error is None else 1),
            provider(attributes),
            text(attributes, *_MODEL) or "",
            _cost(attributes),
            stop=reasons[0] if isinstance(reasons, tuple) and reasons else None,
            error=error,
            exact=(span.start, span.end),
            unseen=UNSEEN,
        )
        fact.details = self._explained(sender, fact)
        self._traces.add(fact)
        self._spend.later(fact.details)

    def _explained(self, sender: Sender, fact: Fact) -> list[tuple[PoolKey, Detail]]:
        """The pools whose metrics tell of this call, too: the sender's, and its agent's where metrics name it."""
        amounts = fact.amounts
        told = Amounts(amounts.tokens.context, amounts.output, calls=amounts.calls, errors=amounts.errors)
        place = Place(fact.key, fact.end, fact.provider, fact.model)
        parts = {"", fact.own or ""}
        return [
            (PoolKey(FAMILY, sender.process, part, fact.provider, fact.model), Detail(place, told))
            for part in sorted(parts)
        ]

    def _run(self, sender: Sender, span: Span, end: int, error: str | None) -> None:
        if not self._spend.fresh(FAMILY, span.trace, span.id):
            return
        attributes = span.attributes
        key = self._spend.directory.key(sender, attributes)._replace(session=text(attributes, *_SESSION))
        own = text(attributes, *_AGENT) or span.name.removeprefix("invoke_agent").strip() or None
        run = Run(
            span.id,
            key,
            own,
            end,
            Amounts.of(usage(attributes)),
            provider(attributes),
            text(attributes, *_MODEL) or "",
            error,
            Standing(f"run {span.trace}:{span.id}"),
        )
        self._traces.run(span.trace, run)

    def _tool(self, sender: Sender, span: Span, when: tuple[int, int], error: str | None) -> None:
        if not self._spend.fresh(FAMILY, span.trace, span.id):
            return
        attributes = span.attributes
        named = text(attributes, "gen_ai.tool.name", "tool.name", "traceloop.entity.name")
        fact = Fact(
            span.trace,
            span.id,
            span.parent,
            self._spend.directory.key(sender, attributes)._replace(session=text(attributes, *_SESSION)),
            text(attributes, *_AGENT),
            *when,
            Amounts(tool_calls=1, tool_errors=0 if error is None else 1),
            error=error,
            tool=named or span.name.removeprefix("execute_tool").strip() or "?",
            unseen=UNSEEN,
        )
        self._traces.add(fact)

    # ---- metrics

    def metric(self, sender: Sender, scope: str, metric: Metric) -> bool:
        """A metric, if it is one of the conventions'."""
        if metric.name not in (_USAGE, _DURATION):
            return False
        for point in metric.points:
            did = (text(point.attributes, *_OPERATION) or "chat").casefold()
            if did in CALLS:
                self._point(sender, scope, metric, point)
        return True

    def _point(self, sender: Sender, scope: str, metric: Metric, point: Point) -> None:
        growth = self._spend.grew(sender, scope, metric, point)
        if growth is None:
            return
        attributes = point.attributes
        agent = text(attributes, *_AGENT)
        pool = PoolKey(FAMILY, sender.process, agent or "", provider(attributes), text(attributes, *_MODEL) or "")
        key = self._spend.directory.key(sender, attributes, agent)
        self._spend.metered(key, UNSEEN_BY_METRICS)
        latencies: tuple[tuple[int, int], ...] = ()
        if metric.name == _USAGE:
            amounts = _token_amounts(attributes, growth)
        elif "error.type" in attributes:
            amounts = Amounts(errors=growth.times)
        else:
            scale = 1 if metric.unit == "ms" else 1000
            amounts = Amounts(calls=growth.times)
            latencies = tuple((round(middle * scale), count) for middle, count in growth.buckets)
        amounts = self._first_told(pool, scope, amounts)
        if any(amounts):
            self._spend.add(pool, key, growth, amounts, latencies if amounts.calls else ())

    def _first_told(self, pool: PoolKey, scope: str, amounts: Amounts) -> Amounts:
        """What no other instrumentation of the same process has told before: two may watch the same calls."""
        told = self._told.setdefault(pool, {})
        self._told.move_to_end(pool)
        if len(self._told) > _MOST_POOLS:
            self._told.popitem(last=False)
        before = _largest(told)
        if scope in told or len(told) < _MOST_SCOPES:
            told[scope] = told.get(scope, NOTHING).plus(amounts)
        return _largest(told).minus(before)


def _largest(told: Mapping[str, Amounts]) -> Amounts:
    return Amounts(*map(max, zip(NOTHING, *told.values(), strict=True)))


def _token_amounts(attributes: Attributes, growth: Growth) -> Amounts:
    kind = text(attributes, "gen_ai.token.type")
    if kind in _INPUTS:
        return Amounts(input=round(growth.value))
    return Amounts(output=round(growth.value)) if kind in _OUTPUTS else Amounts()


def _error(span: Span) -> str | None:
    kind = text(span.attributes, "error.type")
    if not span.failed and kind is None:
        return None
    return span.message[:500] or kind or "error"
