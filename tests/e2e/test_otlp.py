"""Real OTLP senders beside a running clawtop: rows appear within a second of their export, and add up."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.clawtop_runs import CHECKOUT, Line, Live, Shown, environment, row
from tests.e2e.lab import free_port
from tests.e2e.waiting import eventually
from tests.otlp_messages import capture, truth

WITHIN = 1.0
"""Seconds from an export to a printed line that shows it."""


class Provider:
    """A mock model provider, and what it answered."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._log = folder / "provider.jsonl"
        script = Path(__file__).with_name("provider.py")
        command = [sys.executable, str(script), str(self.port), str(self._log)]
        self._process = subprocess.Popen(command, env=environment(folder) | {"CLAWTOP_E2E_MAXLOOP": "3"})
        eventually(self._answers, "the provider")

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/models", timeout=5).close()
        except OSError:
            return False
        return True

    def used(self, model: str) -> dict[str, int]:
        """What its answers of a model said they used, and how many there were."""
        answers = [json.loads(line) for line in self._log.read_text().splitlines()]
        usages = [each["usage"] for each in answers if each["ev"] == "resp" and each.get("model") == model]
        cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
        return {
            "calls": len(usages),
            "input": sum(usage["prompt_tokens"] for usage in usages) - cached,
            "output": sum(usage["completion_tokens"] for usage in usages),
            "cache_read": cached,
        }

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    running = Provider(tmp_path_factory.mktemp("provider"))
    yield running
    running.stop()


class Receiver:
    """`clawtop -b --json` that listens for OTLP."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.live = Live(folder / ".openclaw", source=f"otlp://127.0.0.1:{self.port}")
        self.live.until(lambda shown: shown["sources"][0]["state"] == "ok", "the receiver listens")

    @contextlib.contextmanager
    def gets(self, name: str, provider_port: int = 0) -> Iterator[Callable[[], float]]:
        """A sender; what is given lets it export once more and says when that was done, Unix seconds."""
        command = [sys.executable, "-m", "tests.e2e.otlp_senders", name, str(self.port), str(provider_port)]
        sender = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=environment(CHECKOUT),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with sender:
            assert sender.stdin is not None
            assert sender.stdout is not None
            into, told = sender.stdin, sender.stdout
            begun: list[float] = []

            def exported() -> float:
                if begun:
                    into.write("\n")
                    into.flush()
                begun.append(float(told.readline()))
                return begun[-1]

            yield exported
            into.close()
            assert sender.wait(timeout=60) == 0

    def first(self, agent: str, **figures: object) -> Line:
        """The first line, also of those before now, in which an agent has these figures."""

        def shows(shown: Shown) -> bool:
            found = row(shown, agent)
            return found is not None and all(_figure(found, name) == value for name, value in figures.items())

        self.live.until(shows, f"{agent} has {figures}")
        return next(line for line in self.live.lines if shows(line.shown))


def _figure(found: Shown, name: str) -> object:
    return found["tokens"][name] if name in found["tokens"] else found[name]


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    listening = Receiver(tmp_path_factory.mktemp("receiver"))
    with listening.live:
        yield listening


def told_in_time(line: Line, exported: float) -> None:
    late = line.at - exported
    print(f"\n{line.shown['sources'][0]['uri']}: shown {1000 * late:.0f} ms after its export")
    assert late < WITHIN


@pytest.mark.parametrize("name", ["cumulative", "delta"])
def test_metrics_of_the_sdk(receiver: Receiver, name: str) -> None:
    with receiver.gets(name) as exported:
        for number in (1, 2, 3):
            when = exported()
            line = receiver.first(f"{name}-app", input=100 * number, output=10 * number, calls=number)
            told_in_time(line, when)
    found = row(line.shown, f"{name}-app")
    assert found is not None
    assert (found["host"], found["cost_basis"]) == ("sender-1", "priced")
    assert found["latency_ms"]["p50"] == pytest.approx(2000, rel=0.3)


def test_spans_of_the_sdk_count_before_their_agent_ends_and_move_to_it_then(receiver: Receiver) -> None:
    with receiver.gets("spans") as exported:
        when = exported()
        line = receiver.first("spans-app", input=200, output=20, calls=2)
        told_in_time(line, when)
        before = row(line.shown, "spans-app")
        assert before is not None
        assert (before["state"], before["errors"], before["tool_calls"]) == ("running", 1, 1)
        when = exported()
        line = receiver.first("writer", input=200, output=20, calls=2, tool_calls=1, errors=1, retries=1)
        told_in_time(line, when)
    found, moved = row(line.shown, "writer"), row(line.shown, "spans-app")
    assert found is not None
    assert moved is not None
    assert (found["state"], found["runs"], found["host"]) == ("idle", 1, "sender-1")
    assert (moved["tokens"]["total"], moved["calls"], moved["state"]) == (0, 0, "idle")


def test_log_events_of_the_sdk(receiver: Receiver) -> None:
    with receiver.gets("logs") as exported:
        when = exported()
        told_in_time(receiver.first("logs-app", input=70, output=7, calls=1), when)


def test_the_openai_package_instrumented_by_opentelemetry(receiver: Receiver, provider: Provider) -> None:
    with receiver.gets("openai", provider.port) as exported:
        when = exported()
        line = receiver.first("openai-app", **provider.used("normal"))
        told_in_time(line, when)
    found = row(line.shown, "openai-app")
    assert found is not None
    assert (found["errors"], found["failed_turns"]) == (1, 1)
    assert found["latency_ms"]["p50"] > 0


def test_an_agent_of_pydantic_ai(receiver: Receiver, provider: Provider) -> None:
    with receiver.gets("pydantic", provider.port) as exported:
        when = exported()
        line = receiver.first("reader", **provider.used("toolloop"), tool_calls=3)
        told_in_time(line, when)
    found = row(line.shown, "reader")
    assert found is not None
    assert (found["runs"], found["sessions"], found["model"]) == (1, 1, "openai/toolloop")
    counted = {each["agent"]: each["model"] for each in line.shown["rows"] if each["tokens"]["total"]}
    of_it = [agent for agent, model in counted.items() if model == "openai/toolloop"]
    assert of_it == ["reader"], "neither the service nor anybody else counts the agent's calls too"


def test_the_capture_of_a_real_gateway_posted_as_it_was_sent(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    with receiver.live:
        for post in capture():
            request = urllib.request.Request(
                f"http://127.0.0.1:{receiver.port}{post.path}",
                data=iter([post.body[:999], post.body[999:]]),
                headers={"content-type": post.content_type, "transfer-encoding": "chunked"},
                method="POST",
            )
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - loopback
                assert (response.status, response.read()) == (200, b"")
        expected = truth()
        totals = expected["totals"]

        def shows(shown: Shown) -> bool:
            return bool(shown["totals"]["tokens"]["total"] == totals["total"])

        shown = receiver.live.until(shows, f"{totals}").shown
    assert round(shown["totals"]["cost_usd"] * 10**6) == totals["cost_micro"]
    used = {each["agent"]: each["tokens"]["input"] for each in shown["rows"] if each["tokens"]["total"]}
    assert used == expected["input_by_agent_from_spans"]
