"""What the series of a Prometheus mean: whose they are and what they count.

- `clawtop_*`: what `clawtop export` hands out, by host, agent, project, user and model.
- `openclaw_*`: OpenClaw's own. Its OTLP metrics as a collector names them (2026.2.26, labels `openclaw_model`, … and
  no agent; units and `_total` may stand behind the name), and what its plugin diagnostics-prometheus serves (labels
  `agent`, `model`, …; calls, tools and failovers without an agent). Of the tokens only input, output, cache_read and
  cache_write are tokens: `prompt` and `total` say the same again.
- `gen_ai_*`: the metrics of the GenAI semantic conventions, `gen_ai_client_token_usage` and
  `gen_ai_client_operation_duration`, both histograms.
"""

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from clawtop.model.keys import HOST, UNTAGGED, Key

KINDS = ("input", "output", "cache_read", "cache_write")
"""The kinds of tokens, as the labels call them and as Tokens does."""
COST, LATENCY, STATE, START, SOURCE = "cost", "latency", "state", "start", "source"
ASIDE = frozenset({STATE, START, SOURCE})
"""What is no counter."""

Labels = Mapping[str, str]
Target = tuple[str, str]


class Family(StrEnum):
    """Who makes a metric."""

    CLAWTOP = "clawtop"
    OPENCLAW = "openclaw"
    GENAI = "gen_ai"


class Meaning(NamedTuple):
    """What one series counts: `counts` are KINDS, COST (dollars), LATENCY, fields of an Increase, or one ASIDE.

    `target` is (job, instance). `bound` is the upper bound of a latency's bucket in milliseconds. `about` is the state
    that the agent is in where the value is 1, or the source that clawtop reads.
    """

    family: Family
    target: Target
    key: Key
    provider: str
    model: str
    counts: tuple[str, ...]
    bound: float = 0.0
    about: str = ""

    @property
    def full_model(self) -> str:
        """`provider/model`, as far as it is known."""
        return "/".join(filter(None, (self.provider, self.model)))

    @property
    def machine(self) -> str:
        """The host part of the target's instance."""
        return self.target[1].rpartition(":")[0] or self.target[1]


_CLAWTOP = {
    "clawtop_cost_usd_total": COST,
    "clawtop_context_resets_total": "resets",
    "clawtop_agent_state": STATE,
    "clawtop_start_time_seconds": START,
    "clawtop_source_up": SOURCE,
    **{
        f"clawtop_{name}_total": name
        for name in (
            "unpriced_calls",
            "calls",
            "errors",
            "retries",
            "fallbacks",
            "failed_turns",
            "tool_calls",
            "tool_errors",
            "aborts",
            "compactions",
            "unmetered_runs",
        )
    },
}
_ABOVE_CALLS = ("invoke_agent", "create_agent", "invoke_workflow")
"""Operations that add up what the calls below them have told."""
_NOTHING = ("", "unknown", "none")
_LONGEST_MS = 10**12

_Counted = Callable[[Labels], tuple[str, ...]]


def _tokens(*names: str) -> _Counted:
    def counted(labels: Labels) -> tuple[str, ...]:
        kind = _first(labels, *names)
        return (kind,) if kind in KINDS else ()

    return counted


def _called(error: str) -> _Counted:
    return lambda labels: ("errors",) if labels.get(error, "") not in _NOTHING else ("calls",)


def _tool(labels: Labels) -> tuple[str, ...]:
    return ("tool_calls", "tool_errors") if labels.get("outcome") == "error" else ("tool_calls",)


def _operation(labels: Labels) -> tuple[str, ...]:
    operation = labels.get("gen_ai_operation_name", "")
    failed = bool(labels.get("error_type"))
    if operation == "execute_tool":
        return ("tool_calls", "tool_errors") if failed else ("tool_calls",)
    return () if operation in _ABOVE_CALLS else ("errors",) if failed else ("calls",)


def _unless_above(counted: _Counted) -> _Counted:
    return lambda labels: () if labels.get("gen_ai_operation_name") in _ABOVE_CALLS else counted(labels)


def _latency(labels: Labels) -> tuple[str, ...]:
    return () if labels.get("gen_ai_operation_name") == "execute_tool" else (LATENCY,)


_PATTERNS: tuple[tuple[Family, re.Pattern[str], _Counted], ...] = tuple(
    (family, re.compile(pattern), counted)
    for family, pattern, counted in (
        (Family.CLAWTOP, "clawtop_tokens_total", _tokens("kind")),
        (Family.CLAWTOP, "|".join(_CLAWTOP), lambda labels: (_CLAWTOP[labels["__name__"]],)),
        (
            Family.OPENCLAW,
            "openclaw_(?:model_)?tokens(?:_tokens?)?(?:_total)?",
            _tokens("openclaw_token", "token_type", "openclaw_token_type"),
        ),
        (Family.OPENCLAW, "openclaw_(?:model_)?cost_usd(?:_usd|_USD|_dollars?)?(?:_total)?", lambda _: (COST,)),
        (Family.OPENCLAW, "openclaw_model_call_total", _called("error_category")),
        (
            Family.OPENCLAW,
            "openclaw_model_call_duration_ms(?:_milliseconds)?_count",
            _called("openclaw_errorCategory"),
        ),
        (Family.OPENCLAW, "openclaw_model_call_duration_(?:seconds|ms|ms_milliseconds)_bucket", lambda _: (LATENCY,)),
        (Family.OPENCLAW, "openclaw_model_failover(?:_total)?", lambda _: ("fallbacks",)),
        (Family.OPENCLAW, "openclaw_tool_execution_total", _tool),
        (Family.GENAI, "gen_ai_client_token_usage(?:_tokens?)?_sum", _unless_above(_tokens("gen_ai_token_type"))),
        (Family.GENAI, "gen_ai_client_operation_duration(?:_seconds|_s)?_count", _operation),
        (Family.GENAI, "gen_ai_client_operation_duration(?:_seconds|_s)?_bucket", _unless_above(_latency)),
    )
)


@lru_cache(512)
def _rule(name: str) -> tuple[Family, _Counted] | None:
    return next(((family, counted) for family, pattern, counted in _PATTERNS if pattern.fullmatch(name)), None)


def counts_for(name: str) -> Family | None:
    """Whose counters have that name, None where they are none."""
    rule = _rule(name)
    return None if rule is None or _CLAWTOP.get(name) in ASIDE else rule[0]


def is_known(name: str) -> bool:
    """Whether series of that name mean something."""
    return _rule(name) is not None


def meaning_of(labels: Labels, server: str) -> Meaning | None:
    """What a series means, None where it means nothing; `server` is the Prometheus that has it."""
    name = labels.get("__name__", "")
    rule = _rule(name)
    if rule is None:
        return None
    family, counted = rule
    counts = counted(labels)
    bound = _bound(name, labels) if counts == (LATENCY,) else 0.0
    if not counts or math.isnan(bound):
        return None
    target = labels.get("job", ""), labels.get("instance", "")
    instance = target[1] or target[0] or server
    whose = _of_clawtop(labels, instance) if family is Family.CLAWTOP else _of_others(family, labels, instance)
    return Meaning(family, target, *whose, counts, bound, labels.get("source") or labels.get("state", ""))


def _bound(name: str, labels: Labels) -> float:
    try:
        bound = float(labels.get("le", "")) * (1 if "_ms_" in name else 1000)
    except ValueError:
        return math.nan
    return bound if 0 <= bound <= _LONGEST_MS or bound == math.inf else math.nan


def _of_clawtop(labels: Labels, instance: str) -> tuple[Key, str, str]:
    host = labels.get("host", "")
    provider, slash, model = labels.get("model", "").partition("/")
    key = Key(
        # many machines call themselves local, and the same gateway may be told of by several
        instance if host in ("", HOST) else f"{host} via {instance}",
        labels.get("agent") or UNTAGGED,
        project=labels.get("project") or None,
        user=labels.get("user") or None,
    )
    return (key, provider, model) if slash else (key, "", provider)


def _of_others(family: Family, labels: Labels, instance: str) -> tuple[Key, str, str]:
    agent, provider, model = (_first(labels, *names) for names in _NAMED[family])
    key = Key(
        _first(labels, "host", "host_name", "hostname") or instance,
        agent or _first(labels, "service_name", "job") or instance,
        project=_first(labels, "project", "project_id", "openclaw_project"),
        user=_first(labels, "user", "user_id", "enduser_id"),
        owner=_first(labels, "owner"),
        environment=_first(labels, "environment", "deployment_environment_name", "deployment_environment"),
    )
    return key, provider or "", model or ""


_NAMED = {
    Family.OPENCLAW: (
        ("openclaw_agent", "openclaw_agentId", "openclaw_agent_id", "agent", "agent_id"),
        ("openclaw_provider", "provider", "openclaw_from_provider", "from_provider"),
        ("openclaw_model", "model", "openclaw_from_model", "from_model"),
    ),
    Family.GENAI: (
        ("gen_ai_agent_name", "gen_ai_agent_id", "agent_name", "agent"),
        ("gen_ai_provider_name", "gen_ai_system"),
        ("gen_ai_request_model", "gen_ai_response_model"),
    ),
}
"""The labels that may name agent, provider and model, the best one first."""


def _first(labels: Labels, *names: str) -> str | None:
    return next((labels[name] for name in names if labels.get(name, "") not in _NOTHING), None)
