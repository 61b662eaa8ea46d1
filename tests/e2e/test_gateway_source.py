"""A real gateway as a source, with operator.read alone: held against the provider's log and against a recount."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from clawtop.engine import Engine
from clawtop.gateway.addresses import find_address
from clawtop.gateway.connection import GatewayAddress, connect
from clawtop.model.snapshot import Health, Row, View, Window
from clawtop.sources import Source
from clawtop.sources.gateway import SCOPES, GatewaySource
from clawtop.sources.openclaw import OpenClawSource
from tests.e2e.conftest import VERSIONS
from tests.e2e.lab import Lab
from tests.e2e.recount import recount
from tests.e2e.waiting import eventually

COUNTED = (
    "calls",
    "errors",
    "retries",
    "fallbacks",
    "failed_turns",
    "aborts",
    "tool_calls",
    "tool_errors",
    "compactions",
    "unmetered_runs",
)
SLOWEST_EVENT = 1000  # ms from a row's commit to its event, median, on a machine that does other things too

Figures = dict[str, dict[str, int]]


def address_of(lab: Lab) -> GatewayAddress:
    """The gateway as clawtop finds it beside its home."""
    address, _ = find_address(lab.state_dir, None, {})
    assert address is not None
    assert (address.url, address.token) == (lab.gateway_url, lab.token)
    return address


def alone(lab: Lab) -> list[Source]:
    """The gateway and no files."""
    return [GatewaySource("gateway:far", address_of(lab), host="far", companion=False)]


def beside(lab: Lab) -> list[Source]:
    """The home and its gateway."""
    return [
        OpenClawSource(f"openclaw:{lab.state_dir}", lab.state_dir),
        GatewaySource("gateway:near", address_of(lab), host="local", companion=True),
    ]


@contextlib.contextmanager
def watching(sources: Sequence[Source]) -> Iterator[Engine]:
    """An engine that has read what there was."""
    engine = Engine(sources, View(window=Window.ALL), delay=0.1)
    engine.start()
    try:
        assert engine.caught_up(90)
        yield engine
    finally:
        engine.stop()


def row(engine: Engine, agent: str) -> Row:
    """An agent's row as it stands now."""
    return next(row for row in engine.snapshot.rows if row.label == agent)


def figures(engine: Engine) -> Figures:
    """Each agent's counters, tokens and micro-dollars, without those its sources cannot see."""
    return {
        row.label: {
            **{name: getattr(row.counters, name) for name in COUNTED if name not in row.blind},
            "total": row.tokens.total,
            "cost_micro": row.cost,
        }
        for row in engine.snapshot.rows
    }


def recounted(lab: Lab, like: Figures) -> Figures:
    """The same of the home's own databases and files, where an agent that did nothing may have no folder yet."""
    counted = recount(lab.state_dir)
    nothing = dict.fromkeys(COUNTED, 0) | {"total": 0, "cost_micro": 0}
    return {
        agent: {name: counted.get(agent, nothing)[name] for name in like.get(agent, {})} for agent in like | counted
    }


def agree(lab: Lab, engine: Engine, patience: float = 60) -> None:
    """Waits until what is shown is what a recount says, and names the difference otherwise."""
    try:
        eventually(lambda: figures(engine) == recounted(lab, figures(engine)), "the same figures", patience)
    except TimeoutError:
        shown = figures(engine)
        assert shown == recounted(lab, shown)


@dataclass
class Seen:
    """The researcher's counters as they were seen, and how many requests had reached its model by then."""

    refused: int
    errors: int
    retries: int
    detail: str | None


def refused(lab: Lab) -> int:
    """How many requests of the researcher the provider refused so far."""
    return sum(request["model"] == "err429" for request in lab.requests())


@pytest.fixture(scope="module", params=VERSIONS)
def refusing(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A gateway whose researcher meets nothing but 429s, which it waits for before it falls back."""
    with Lab(str(request.param), researcher="mock-err429/err429") as lab:
        yield lab


def test_retries_and_the_fallback_are_seen_while_they_go_on(refusing: Lab) -> None:
    lab, seen, lags = refusing, list[Seen](), list[float]()
    with watching(alone(lab)) as engine:
        run = lab.turn("researcher", "research this")
        known, since = 0, time.monotonic()
        until = time.monotonic() + 400
        while row(engine, "researcher").counters.fallbacks == 0:
            assert time.monotonic() < until
            asked, counters = refused(lab), row(engine, "researcher").counters
            if asked > known:
                known, since = asked, time.monotonic()
            if counters.errors == known and len(lags) < known:
                lags.append(time.monotonic() - since)
            seen.append(Seen(asked, counters.errors, counters.retries, row(engine, "researcher").detail))
            time.sleep(0.02)
        assert run.wait(120) == "ok"
        agree(lab, engine)
        counters = row(engine, "researcher").counters
    attempts = counters.errors
    assert (counters.retries, counters.fallbacks, counters.failed_turns) == (attempts - 1, 1, 0)
    # each refusal was shown before the next one came, not at the end of the run
    assert {each.errors for each in seen} >= set(range(attempts))
    if lab.version != VERSIONS[0]:
        # before 2026.8 the provider's library asks three times where the gateway counts one attempt
        assert refused(lab) >= attempts
        return
    assert refused(lab) == attempts == 10
    assert max(each.refused - each.errors for each in seen) <= 1
    waits = {each.detail.split(" in ")[0] for each in seen if each.detail}
    assert waits >= {f"retry {n} of 9" for n in range(1, 10)}
    print(f"\n{lab.version}: {attempts} refusals, each shown after a median of {statistics.median(lags):.2f} s")


def work(lab: Lab) -> None:
    """Turns of every kind: tools, a loop cut off, retries and a fallback, a failed turn, a reset, an unpriced model."""
    falling_back = lab.turn("researcher", "research this")
    assert lab.turn("main", "DOTOOLS now").wait() == "ok"
    key = "agent:main:refused"
    lab.rpc.call("sessions.create", {"key": key, "agentId": "main"})
    lab.rpc.use_model(key, "mock-err401/err401")
    assert lab.turn("main", "hello", key).wait() == "error"
    before = len(lab.requests())
    lab.turn("coder", "TOOLLOOP over the notes")
    eventually(lambda: len(lab.requests()) >= before + 4, "four calls of coder")
    eventually(lambda: lab.rpc.abort("agent:coder:main"), "coder to be cut off", every=0.2)
    assert lab.turn("main", "BIGOUT", "agent:main:again").wait() == "ok"
    lab.rpc.reset("agent:main:again")
    assert lab.turn("main", "hello after the reset", "agent:main:again").wait() == "ok"
    assert falling_back.wait(200) == "ok"
    lab.rest()


def test_alone_and_beside_its_home_it_counts_what_a_recount_counts(lab: Lab) -> None:
    with watching(alone(lab)) as far, watching(beside(lab)) as near:
        work(lab)
        agree(lab, near)
        agree(lab, far)
        # 2026.9 reviews a long turn half a minute after it, which is a run, too
        eventually(
            lambda: {row.state.value for row in far.snapshot.rows} <= {"idle", "error"}, "all runs to be over", 120
        )
        assert [source.health for source in near.snapshot.sources] == [Health.OK, Health.OK]
        assert all(not source.skips for source in (*far.snapshot.sources, *near.snapshot.sources))


def test_a_gateway_that_was_killed_is_found_again_and_nothing_is_missed(lab: Lab) -> None:
    with watching(alone(lab)) as far, watching(beside(lab)) as near:
        # what was before a reset, a gateway does not tell any more
        unseen = row(near, "main").counters.calls - row(far, "main").counters.calls
        before = row(far, "main").counters.calls
        lab.kill9()
        eventually(lambda: far.snapshot.sources[0].health is Health.DOWN, "the gateway to be down")
        down = far.snapshot.sources[0]
        assert lab.gateway_url in down.detail
        assert down.since > 0
        lab.restart()
        assert lab.turn("main", "hello again").wait() == "ok"
        lab.rest()
        eventually(lambda: far.snapshot.sources[0].health is Health.OK, "the gateway to be up", 60)
        agree(lab, near)
        told = row(near, "main").counters.calls - unseen
        assert told > before
        eventually(lambda: row(far, "main").counters.calls == told, "the gap to be filled")


def test_an_event_follows_its_row(lab: Lab) -> None:
    """The time from a row's commit to its event, both on this machine's clock."""
    if lab.version != VERSIONS[0]:
        pytest.skip("2026.6 does not say when it wrote a message")

    async def measure() -> list[float]:
        lags: list[float] = []
        async with connect(address_of(lab), scopes=SCOPES) as gateway:
            await gateway.call("sessions.subscribe", {})
            turns = [lab.turn("main", "DOTOOLS", f"agent:main:lag{number}") for number in range(3)]
            async with asyncio.timeout(120):
                async for event in gateway.events():
                    message = event.payload.get("message") or {}
                    if event.event == "session.message" and message.get("role") == "assistant":
                        lags.append(time.time() * 1000 - message["__openclaw"]["recordTimestampMs"])
                    if len(lags) == 4 * len(turns):
                        break
        return lags

    lags = sorted(asyncio.run(measure()))
    print(f"\n{lab.version}: {len(lags)} events, median {statistics.median(lags):.0f} ms, last {lags[-1]:.0f} ms")
    assert statistics.median(lags) < SLOWEST_EVENT
