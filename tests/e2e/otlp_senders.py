"""Programs that send OTLP as other people's do: the OpenTelemetry SDK's exporters, and real instrumented libraries.

    python -m tests.e2e.otlp_senders NAME OTLP_PORT [PROVIDER_PORT]

Each export is told on standard output: when it was done, in Unix seconds. A line on standard input lets it go on.
"""

import sys
import time
from collections.abc import Mapping

from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

MODEL = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
NEVER_MS = 3_600_000
SHOTS = 3


class Sdk:
    """The SDK's providers, which export when told to."""

    def __init__(self, port: int, service: str, temporality: AggregationTemporality, **resource: str) -> None:
        self._url = f"http://127.0.0.1:{port}/v1"
        attributes: Mapping[str, str] = {"service.name": service, "host.name": "sender-1", **resource}
        of = Resource.create(attributes)
        self.traces = TracerProvider(resource=of)
        spans = OTLPSpanExporter(f"{self._url}/traces", compression=Compression.Gzip)
        self.traces.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=NEVER_MS))
        metrics = OTLPMetricExporter(
            f"{self._url}/metrics", compression=Compression.Gzip, preferred_temporality={Histogram: temporality}
        )
        reader = PeriodicExportingMetricReader(metrics, export_interval_millis=NEVER_MS)
        self.metrics = MeterProvider([reader], resource=of)
        self.logs = LoggerProvider(resource=of)
        exporter = OTLPLogExporter(f"{self._url}/logs")
        self.logs.add_log_record_processor(BatchLogRecordProcessor(exporter, schedule_delay_millis=NEVER_MS))

    def export(self) -> None:
        """Send what there is, and say when that was done."""
        for provider in (self.traces, self.metrics, self.logs):
            if not provider.force_flush(10_000):
                raise SystemExit("an export was not taken")
        print(time.time(), flush=True)
        sys.stdin.readline()

    def close(self) -> None:
        """Let go of everything."""
        for provider in (self.traces, self.metrics, self.logs):
            provider.shutdown()


def told_by_metrics(port: int, temporality: AggregationTemporality) -> None:
    """Three exports of the conventions' metrics: each time a call of 100 and 10 tokens that takes 2 s."""
    name = "delta-app" if temporality is AggregationTemporality.DELTA else "cumulative-app"
    sdk = Sdk(port, name, temporality)
    meter = sdk.metrics.get_meter("mine")
    tokens = meter.create_histogram("gen_ai.client.token.usage", "{token}")
    took = meter.create_histogram("gen_ai.client.operation.duration", "s")
    for _ in range(SHOTS):
        tokens.record(100, {**MODEL, "gen_ai.token.type": "input"})
        tokens.record(10, {**MODEL, "gen_ai.token.type": "output"})
        took.record(2, MODEL)
        sdk.export()
    sdk.close()


def told_by_spans(port: int) -> None:
    """An agent's run, whose calls are exported before it ends: one call, a refused one, its retry, and a tool."""
    sdk = Sdk(port, "spans-app", AggregationTemporality.CUMULATIVE, **{"deployment.environment.name": "staging"})
    tracer = sdk.traces.get_tracer("mine")
    used = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10}
    writer = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "writer", "enduser.id": "ann"}
    with tracer.start_as_current_span("invoke_agent writer", attributes=writer):
        with tracer.start_as_current_span("chat gpt-4o", attributes={**MODEL, **used}):
            pass
        with tracer.start_as_current_span("chat gpt-4o", attributes={**MODEL, "error.type": "429"}):
            pass
        with tracer.start_as_current_span("chat gpt-4o", attributes={**MODEL, **used}):
            pass
        tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
        with tracer.start_as_current_span("execute_tool search", attributes=tool):
            pass
        sdk.export()
    sdk.export()
    sdk.close()


def told_by_logs(port: int) -> None:
    """One log event of a call that has no span."""
    sdk = Sdk(port, "logs-app", AggregationTemporality.CUMULATIVE)
    used = {"gen_ai.usage.input_tokens": 70, "gen_ai.usage.output_tokens": 7}
    record = LogRecord(
        timestamp=time.time_ns(),
        event_name="gen_ai.client.inference.operation.details",
        attributes={**MODEL, **used},
    )
    sdk.logs.get_logger("mine").emit(record)
    sdk.export()
    sdk.close()


def openai_client(port: int, provider_port: int) -> None:
    """The openai package, instrumented by OpenTelemetry's own library: an answer, a stream, a refusal."""
    from openai import OpenAI, RateLimitError  # noqa: PLC0415 - only who asks for it needs it
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor  # noqa: PLC0415

    sdk = Sdk(port, "openai-app", AggregationTemporality.CUMULATIVE)
    OpenAIInstrumentor().instrument(tracer_provider=sdk.traces, meter_provider=sdk.metrics, logger_provider=sdk.logs)
    client = OpenAI(base_url=f"http://127.0.0.1:{provider_port}/v1", api_key="none", max_retries=0)
    client.chat.completions.create(model="normal", messages=[{"role": "user", "content": "hello"}])
    stream = client.chat.completions.create(
        model="normal",
        messages=[{"role": "user", "content": "hello again"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    for _ in stream:
        pass
    try:
        client.chat.completions.create(model="err429", messages=[{"role": "user", "content": "no"}])
    except RateLimitError:
        sdk.export()
    client.close()
    sdk.close()


def pydantic_agent(port: int, provider_port: int) -> None:
    """An agent of pydantic-ai with a tool, which it calls until it is told to stop."""
    from pydantic_ai import Agent  # noqa: PLC0415
    from pydantic_ai.models.instrumented import InstrumentationSettings  # noqa: PLC0415
    from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415
    from pydantic_ai.providers.openai import OpenAIProvider  # noqa: PLC0415

    sdk = Sdk(port, "pydantic-app", AggregationTemporality.CUMULATIVE)
    Agent.instrument_all(InstrumentationSettings(tracer_provider=sdk.traces, meter_provider=sdk.metrics))
    provider = OpenAIProvider(base_url=f"http://127.0.0.1:{provider_port}/v1", api_key="none")
    agent = Agent(OpenAIChatModel("toolloop", provider=provider), name="reader")

    @agent.tool_plain
    def read(path: str) -> str:
        """Reads a file."""
        return f"what {path} says"

    agent.run_sync("read on")
    sdk.export()
    sdk.close()


def main(name: str, port: int, provider_port: int) -> None:
    """Send what `name` says."""
    match name:
        case "cumulative":
            told_by_metrics(port, AggregationTemporality.CUMULATIVE)
        case "delta":
            told_by_metrics(port, AggregationTemporality.DELTA)
        case "spans":
            told_by_spans(port)
        case "logs":
            told_by_logs(port)
        case "openai":
            openai_client(port, provider_port)
        case "pydantic":
            pydantic_agent(port, provider_port)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
