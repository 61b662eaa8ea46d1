"""What series of a Prometheus mean."""

import pytest

from clawtop.formats.prometheus_names import COST, LATENCY, START, STATE, Family, Meaning, is_known, meaning_of

HERE = {"job": "agents", "instance": "m1:9464"}


def meaning(name: str, **labels: str) -> Meaning:
    found = meaning_of({"__name__": name, **HERE, **labels}, "prom:9090")
    assert found is not None
    assert is_known(name)
    return found


def nothing(name: str, **labels: str) -> bool:
    return meaning_of({"__name__": name, **HERE, **labels}, "prom:9090") is None


def test_what_clawtop_hands_out() -> None:
    labels = {"host": "local", "agent": "coder", "project": "api", "user": "ann", "model": "openrouter/qwen/qwen3"}
    found = meaning("clawtop_tokens_total", kind="cache_read", **labels)
    assert (found.family, found.counts) == (Family.CLAWTOP, ("cache_read",))
    assert found.key[:5] == ("m1:9464", "coder", None, None, "api")
    assert (found.key.user, found.provider, found.model) == ("ann", "openrouter", "qwen/qwen3")
    assert (found.full_model, found.machine) == ("openrouter/qwen/qwen3", "m1")
    counts = {
        "clawtop_cost_usd_total": COST,
        "clawtop_unpriced_calls_total": "unpriced_calls",
        "clawtop_calls_total": "calls",
        "clawtop_context_resets_total": "resets",
        "clawtop_unmetered_runs_total": "unmetered_runs",
        "clawtop_start_time_seconds": START,
        "clawtop_agent_state": STATE,
    }
    assert {name: meaning(name, **labels).counts[0] for name in counts} == counts
    assert nothing("clawtop_tokens_total", kind="prompt")
    assert meaning("clawtop_source_up", source="openclaw:/x").about == "openclaw:/x"
    assert meaning("clawtop_agent_state", state="idle", agent="a").about == "idle"
    assert nothing("clawtop_series_folded")


def test_a_name_is_taken_as_it_is() -> None:
    found = meaning("clawtop_calls_total", host="local", agent="unknown", project="none", model="bare")
    assert (found.key.agent, found.key.project, found.provider, found.model) == ("unknown", "none", "", "bare")
    assert meaning("clawtop_calls_total").key.agent == "(untagged)"


def test_the_host_is_where_the_counter_was_fetched() -> None:
    assert meaning("clawtop_calls_total", agent="a", host="local").key.host == "m1:9464"
    assert meaning("clawtop_calls_total", agent="a").key.host == "m1:9464"
    assert meaning("clawtop_calls_total", agent="a", host="gw:18789").key.host == "gw:18789 via m1:9464"
    assert meaning("openclaw_tokens_total", openclaw_token="input", host_name="m7").key.host == "m7"
    assert meaning("openclaw_tokens_total", openclaw_token="input", instance="").key.host == "agents"
    assert meaning("openclaw_tokens_total", openclaw_token="input", instance="", job="").key.host == "prom:9090"


@pytest.mark.parametrize(
    "name", ["openclaw_tokens_total", "openclaw_tokens", "openclaw_tokens_token_total", "openclaw_tokens_tokens_total"]
)
def test_openclaw_as_a_collector_names_it(name: str) -> None:
    labels = {"openclaw_channel": "webchat", "openclaw_provider": "mock", "openclaw_model": "toolloop"}
    found = meaning(name, openclaw_token="cache_write", **labels)
    assert (found.family, found.counts) == (Family.OPENCLAW, ("cache_write",))
    assert (found.key.agent, found.provider, found.model) == ("agents", "mock", "toolloop")
    assert meaning(name, openclaw_token="input", openclaw_agent="main", **labels).key.agent == "main"
    for twice in ("prompt", "total"):
        assert nothing(name, openclaw_token=twice, **labels)


@pytest.mark.parametrize("name", ["openclaw_cost_usd_total", "openclaw_cost_usd_USD_total", "openclaw_cost_usd"])
def test_openclaws_money(name: str) -> None:
    assert meaning(name, openclaw_model="x").counts == (COST,)


def test_openclaw_as_its_plugin_serves_it() -> None:
    found = meaning("openclaw_model_tokens_total", agent="main", model="gpt-5", provider="openai", token_type="output")
    assert (found.key.agent, found.provider, found.model, found.counts) == ("main", "openai", "gpt-5", ("output",))
    assert meaning("openclaw_model_cost_usd_total", agent="unknown").key.agent == "agents"
    called = {"model": "gpt-5", "provider": "openai"}
    assert meaning("openclaw_model_call_total", error_category="none", **called).counts == ("calls",)
    assert meaning("openclaw_model_call_total", error_category="rate_limit", **called).counts == ("errors",)
    assert meaning("openclaw_tool_execution_total", outcome="completed").counts == ("tool_calls",)
    assert meaning("openclaw_tool_execution_total", outcome="error").counts == ("tool_calls", "tool_errors")
    fell = meaning("openclaw_model_failover_total", from_provider="a", from_model="b", to_provider="c", to_model="d")
    assert (fell.counts, fell.full_model) == (("fallbacks",), "a/b")
    assert nothing("openclaw_gen_ai_client_token_usage_sum", token_type="input")
    assert nothing("openclaw_run_duration_ms_bucket", le="5")


def test_how_long_a_call_took_is_in_milliseconds() -> None:
    seconds = meaning("openclaw_model_call_duration_seconds_bucket", le="2.5", model="x")
    assert (seconds.counts, seconds.bound) == ((LATENCY,), 2500)
    assert meaning("openclaw_model_call_duration_ms_milliseconds_bucket", le="250").bound == 250
    assert meaning("gen_ai_client_operation_duration_seconds_bucket", le="+Inf").bound == float("inf")
    for nonsense in ("", "wide", "NaN"):
        assert nothing("gen_ai_client_operation_duration_seconds_bucket", le=nonsense)


@pytest.mark.parametrize("name", ["gen_ai_client_token_usage_sum", "gen_ai_client_token_usage_token_sum"])
def test_genai_conventions(name: str) -> None:
    labels = {"gen_ai_request_model": "gpt-5", "gen_ai_provider_name": "openai", "gen_ai_operation_name": "chat"}
    found = meaning(name, gen_ai_token_type="input", **labels)
    assert (found.family, found.counts, found.full_model) == (Family.GENAI, ("input",), "openai/gpt-5")
    assert found.key.agent == "agents"
    named = meaning(name, gen_ai_token_type="output", gen_ai_agent_name="planner", enduser_id="ann", **labels)
    assert (named.key.agent, named.key.user, named.counts) == ("planner", "ann", ("output",))
    old = {"gen_ai_system": "az.ai", "gen_ai_response_model": "gpt-4o", "service_name": "shop"}
    assert meaning(name, gen_ai_token_type="input", **old).full_model == "az.ai/gpt-4o"
    assert meaning(name, gen_ai_token_type="input", **old).key.agent == "shop"


def test_genai_operations() -> None:
    name = "gen_ai_client_operation_duration_seconds_count"
    assert meaning(name, gen_ai_operation_name="chat").counts == ("calls",)
    assert meaning(name, gen_ai_operation_name="chat", error_type="timeout").counts == ("errors",)
    assert meaning(name, gen_ai_operation_name="execute_tool").counts == ("tool_calls",)
    assert meaning(name, gen_ai_operation_name="execute_tool", error_type="x").counts == ("tool_calls", "tool_errors")
    assert nothing(name, gen_ai_operation_name="invoke_agent")
    assert nothing("gen_ai_client_token_usage_sum", gen_ai_operation_name="invoke_agent", gen_ai_token_type="input")


@pytest.mark.parametrize(
    "name", ["", "up", "clawtop_", "openclaw_tokens_bucket", "node_cpu_seconds_total", "clawtop_calls_total\n"]
)
def test_what_means_nothing(name: str) -> None:
    assert not is_known(name)
    assert nothing(name, agent="x", kind="input")
