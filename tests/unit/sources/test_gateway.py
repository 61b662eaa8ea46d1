"""The gateway as a source, against a fake one: alone and beside a home, lost and found again."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from clawtop.gateway.connection import GatewayAddress
from clawtop.model.errors import SourceError
from clawtop.model.events import (
    Aborted,
    Attempt,
    Blind,
    Call,
    Price,
    PriceList,
    Resolved,
    SessionState,
    State,
    ToolError,
    Unmetered,
)
from clawtop.model.keys import Key
from clawtop.model.snapshot import Health
from clawtop.sources.gateway import GatewaySource
from tests import outlets
from tests.fake_gateway import PAIRING, TOKEN, WRONG_TOKEN, FakeGateway, Handler, Params, Refusal
from tests.outlets import Remembered

T0 = 1_795_356_000_000
NOW = T0 + 100_000
KEY, SESSION = "agent:main:main", "s-1"


def message(identity: str, at: int, run: str | None = "r-1", **fields: object) -> dict[str, Any]:
    usage = {"input": 10, "output": 5, "cacheRead": 1, "cacheWrite": 0, "cost": {"total": 0.25}}
    note = {"id": identity, "recordTimestampMs": at + 700} | ({"runId": run} if run else {})
    answer = {"role": "assistant", "provider": "acme", "model": "fine", "usage": usage, "stopReason": "stop"}
    return {**answer, "timestamp": at, "content": [], "__openclaw": note, **fields}


def row(key: str = KEY, session: str = SESSION, **fields: object) -> dict[str, Any]:
    agent = key.split(":")[1]
    idle = {"hasActiveRun": False, "status": "done", "endedAt": T0, "updatedAt": T0, "snapshotAt": NOW}
    return {"key": key, "sessionId": session, "agentId": agent, **idle, **fields}


def pushed(told: dict[str, Any], key: str = KEY, session: str = SESSION) -> dict[str, Any]:
    agent = key.split(":")[1]
    named = {"sessionKey": key, "sessionId": session, "agentId": agent}
    return {**named, "message": told, "messageId": told["__openclaw"]["id"]}


def lifecycle(phase: str, at: int, run: str = "r-1", **data: object) -> dict[str, Any]:
    named = {"runId": run, "sessionKey": KEY, "sessionId": SESSION, "agentId": "main", "stream": "lifecycle"}
    return {**named, "ts": at, "data": {"phase": phase, **data}}


class Story:
    """What a gateway has: its rows, histories and ledger, which a test may change."""

    def __init__(self) -> None:
        self.agents = [{"id": "main", "workspace": "/srv/shop"}]
        self.rows = [row()]
        self.messages: dict[str, list[dict[str, Any]]] = {KEY: [message("e1", T0)]}
        self.ledger: list[dict[str, Any]] = []
        self.models = [{"id": "fine", "contextWindow": 64_000, "cost": {"input": 3, "output": 15}}]

    def handlers(self) -> dict[str, Handler]:
        return {
            "agents.list": lambda _: {"agents": self.agents},
            "sessions.list": self._rows,
            "chat.history": self._history,
            "cron.list": lambda _: {"jobs": [{"id": "j-1", "name": "night job"}]},
            "config.get": lambda _: {"config": {"models": {"providers": {"acme": {"models": self.models}}}}},
            "audit.activity.list": self._audit,
        }

    def _rows(self, params: Params) -> object:
        start = params.get("offset", 0)
        page = self.rows[start : start + params["limit"]]
        more = start + len(page) < len(self.rows)
        return {"sessions": page, "hasMore": more, "nextOffset": start + len(page) if more else None}

    def _history(self, params: Params) -> object:
        messages = self.messages.get(params["sessionKey"], [])
        end = len(messages) - params.get("offset", 0)
        page = messages[max(0, end - params["limit"]) : end]
        more = end > params["limit"]
        session = next(each["sessionId"] for each in self.rows if each["key"] == params["sessionKey"])
        following = params.get("offset", 0) + len(page)
        return {"sessionId": session, "messages": page, "hasMore": more, **({"nextOffset": following} if more else {})}

    def _audit(self, params: Params) -> object:
        before = int(params.get("cursor", 10**9))
        page = [told for told in reversed(self.ledger) if told["sequence"] < before][: params["limit"]]
        more = bool(page) and page[-1]["sequence"] > 1
        return {"events": page, **({"nextCursor": str(page[-1]["sequence"])} if more else {})}


def source(fake: FakeGateway, *, companion: bool = False) -> GatewaySource:
    return GatewaySource(f"gateway:{fake.url}", fake.address, host="box", companion=companion)


def followed(gateway: GatewaySource) -> AbstractAsyncContextManager[Remembered]:
    """The source, running, once it has read what was there."""
    return outlets.followed(gateway, NOW)


async def once(gateway: GatewaySource) -> Remembered:
    return await outlets.once(gateway, NOW)


def of(kind: type[Any], outlet: Remembered) -> list[Any]:
    return [event for event in outlet.events if isinstance(event, kind)]


def has(kind: type[Any], count: int = 1) -> Callable[[Remembered], bool]:
    return lambda so_far: len(of(kind, so_far)) >= count


async def test_alone_it_tells_all_that_the_gateway_still_has() -> None:
    story = Story()
    failed = {"role": "toolResult", "toolCallId": "c1", "toolName": "exec", "isError": True, "timestamp": T0 + 2}
    story.messages[KEY] += [
        message("e2", T0 + 1, run="r-2"),
        {**failed, "__openclaw": {"id": "e3", "recordTimestampMs": T0 + 2}},
    ]
    internal = {"sessionKey": "agent:main:internal-session-effects:x", "status": "succeeded"}
    run = {"kind": "agent_run", "agentId": "main", "occurredAt": T0, "action": "agent.run.finished"}
    story.ledger = [
        {**run, "sequence": 1, "runId": "r-8", **internal},
        {**run, "sequence": 2, "runId": "r-9", "sessionKey": KEY, "sessionId": SESSION, "status": "cancelled"},
    ]
    async with FakeGateway(story.handlers()) as fake:
        outlet = await once(source(fake))
    first, second = of(Call, outlet)
    assert (first.id, first.cost, first.window, first.latency) == (f"e1@{T0}", 250_000, 64_000, 700)
    assert first.key == Key("box", "main", SESSION, "r-1", project="shop", session_key=KEY)
    assert second.key.run == "r-2"
    assert {attempt.id for attempt in of(Attempt, outlet)} == {"r-1", "r-2"}
    assert [error.tool for error in of(ToolError, outlet)] == ["exec"]
    assert of(PriceList, outlet) == [PriceList("box", {("acme", "fine"): Price(3_000_000, 15_000_000, 0, 0)})]
    assert [(event.id, type(event)) for event in outlet.events if isinstance(event, Unmetered | Aborted)] == [
        ("r-9", Aborted),
        ("r-8", Unmetered),
    ]
    assert not of(Blind, outlet)
    assert outlet.status is not None
    assert outlet.status.health is Health.OK
    assert "all since 2026-11-22" in outlet.status.detail
    assert "chat.history" in outlet.status.detail
    assert (outlet.status.entries, outlet.status.skips) == (3, 0)


async def test_beside_a_home_it_asks_for_no_history_and_tells_no_prices() -> None:
    async with FakeGateway(Story().handlers()) as fake, followed(source(fake, companion=True)) as outlet:
        assert not fake.asked("chat.history")
        assert not fake.asked("audit.activity.list")
        assert {type(event) for event in outlet.events} == {SessionState}
        assert outlet.status is not None
        assert outlet.status.detail == "OpenClaw 2026.9.6, protocol 4, live"


async def test_beside_a_home_a_single_look_says_only_that_the_gateway_can_be_spoken_to() -> None:
    async with FakeGateway(Story().handlers()) as fake:
        outlet = await once(source(fake, companion=True))
        assert [method for method, _ in fake.calls] == ["connect"]
    assert outlet.events == []
    assert outlet.status is not None
    assert (outlet.status.health, outlet.status.detail) == (Health.OK, "OpenClaw 2026.9.6, protocol 4, live")


async def test_what_a_gateway_of_2026_6_cannot_tell_is_said() -> None:
    story = Story()
    handlers = story.handlers()
    del handlers["audit.activity.list"], handlers["config.get"]
    handlers["cron.list"] = lambda _: (_ for _ in ()).throw(Refusal("INVALID_REQUEST", "missing scope"))
    async with FakeGateway(handlers, version="2026.6.35") as fake:
        outlet = await once(source(fake))
    assert of(Blind, outlet) == [Blind(Key("box", "main"), frozenset({"unmetered_runs"}))]
    assert len(of(Call, outlet)) == 1


async def test_what_a_gateway_of_2026_2_cannot_tell_is_said() -> None:
    fake = FakeGateway(Story().handlers(), protocol=3, version="dev")
    del fake.handlers["sessions.subscribe"]
    async with fake, followed(source(fake)) as outlet:
        assert not fake.asked("chat.history")
        assert not fake.asked("sessions.subscribe")
        (blind,) = of(Blind, outlet)
        assert blind.fields >= {"calls", "errors", "retries", "cost", "sessions", "runs"}
        assert outlet.status is not None
        assert outlet.status.detail.startswith("OpenClaw dev, protocol 3, only who runs")
        bare = {"runId": "r-1", "stream": "lifecycle", "sessionKey": KEY, "data": {"phase": "start"}}
        await fake.push("agent", bare)
        await outlet.until(lambda so_far: of(SessionState, so_far)[-1].state is State.RUNNING)
        await fake.push("chat", {"runId": "r-1", "sessionKey": KEY, "state": "aborted"})
        await outlet.until(lambda so_far: of(SessionState, so_far)[-1].state is State.IDLE)


async def test_it_is_told_what_happens_from_then_on() -> None:
    async with FakeGateway(Story().handlers()) as fake, followed(source(fake)) as outlet:
        assert fake.asked("sessions.subscribe") == [{}]
        await fake.push("agent", lifecycle("start", NOW))
        await fake.push("agent", lifecycle("model", NOW + 1, provider="acme", model="fine"))
        await fake.push("agent", lifecycle("finishing", NOW + 2, error="429"))
        await fake.push("agent", lifecycle("model", NOW + 3, provider="acme", model="fine"))
        await fake.push("session.message", pushed(message("e2", NOW + 3)))
        await fake.push("agent", lifecycle("end", NOW + 9, executionSettled=True))
        await outlet.until(lambda so_far: len(of(Call, so_far)) == 3 and of(SessionState, so_far)[-1].at == NOW + 9)
        assert [resolved.how.value for resolved in of(Resolved, outlet)] == ["retry"]
        assert of(SessionState, outlet)[-1].state is State.IDLE


async def test_beside_a_home_only_calls_and_states_are_told_and_running_ones_again() -> None:
    async with FakeGateway(Story().handlers()) as fake, followed(source(fake, companion=True)) as outlet:
        await fake.push("agent", lifecycle("start", NOW))
        await fake.push("agent", lifecycle("model", NOW + 1, provider="acme", model="fine"))
        await fake.push("agent", lifecycle("finishing", NOW + 2, error="429"))
        await fake.push("session.message", pushed(message("e2", NOW + 3)))
        await outlet.until(has(Call))
        assert {type(event) for event in outlet.events} == {SessionState, Call}
        known = len(outlet.events)
        await outlet.until(lambda so_far: len(so_far.events) > known)
        again = outlet.events[-1]
        assert isinstance(again, SessionState)
        assert (again.state, again.key.run, again.at) == (State.RUNNING, "r-1", NOW)


async def test_a_lost_connection_is_said_and_the_gap_is_filled() -> None:
    story = Story()
    async with FakeGateway(story.handlers()) as fake:
        gateway = source(fake)
        outlet = Remembered(lambda: NOW)
        running = asyncio.create_task(gateway.run(outlet, follow=True))
        await outlet.until(lambda so_far: so_far.status is not None and so_far.status.health is Health.OK)
        await fake.push("agent", lifecycle("start", NOW - 50))
        await outlet.until(lambda so_far: of(SessionState, so_far)[-1].state is State.RUNNING)
        await fake.die()
        with pytest.raises(SourceError, match=f"the connection to {fake.url} ended"):
            await running
        assert of(SessionState, outlet)[-1].state is State.UNKNOWN

        with pytest.raises(SourceError, match="nothing listens"):
            await gateway.run(outlet, follow=True)

        story.messages[KEY] += [message("e2", T0 + 5), message("e3", T0 + 9)]
        story.rows = [row(updatedAt=T0 + 20, endedAt=T0 + 20)]
        await fake.listen()
        async with followed(gateway) as again:
            assert {call.id for call in of(Call, again)} == {f"e1@{T0}", f"e2@{T0 + 5}", f"e3@{T0 + 9}"}
            assert len(fake.asked("sessions.subscribe")) == 2
            last = of(SessionState, again)[-1]
            assert (last.state, last.at) == (State.IDLE, NOW)


async def test_a_gateway_that_says_goodbye_is_quoted() -> None:
    async with FakeGateway(Story().handlers()) as fake:
        outlet = Remembered(lambda: NOW)
        running = asyncio.create_task(source(fake).run(outlet, follow=True))
        await outlet.until(lambda so_far: so_far.status is not None and so_far.status.health is Health.OK)
        await fake.push("shutdown", {"reason": "gateway stopping"})
        await fake.push("session.message", pushed(message("e2", NOW)))
        await outlet.until(has(Call, 2))
        await fake.die()
        with pytest.raises(SourceError, match="it said 'gateway stopping'"):
            await running


async def test_what_is_unchanged_is_not_read_again_and_a_changed_history_only_at_its_end() -> None:
    story = Story()
    story.messages[KEY] = [message(f"e{n}", T0 + n) for n in range(2500)]
    story.rows = [row(updatedAt=T0 + 2300)]
    async with FakeGateway(story.handlers()) as fake:
        gateway = source(fake)
        assert len(of(Call, await once(gateway))) == 2500
        assert [params.get("offset") for params in fake.asked("chat.history")] == [None, 1000, 2000]
        assert not of(Call, await once(gateway))
        assert len(fake.asked("chat.history")) == 3
        story.rows = [row(updatedAt=T0 + 4000)]
        story.messages[KEY].append(message("e9999", T0 + 3500))
        assert len(of(Call, await once(gateway))) == 1000
        assert len(fake.asked("chat.history")) == 4


async def test_lists_are_read_page_by_page() -> None:
    story = Story()
    story.rows = [row(f"agent:main:{n}", f"s-{n}") for n in range(450)]
    run = {"kind": "agent_run", "agentId": "main", "occurredAt": T0, "action": "agent.run.finished"}
    internal = {"sessionKey": "agent:main:internal-session-effects:x"}
    story.ledger = [{**run, "sequence": n, "runId": f"r-{n}", **internal} for n in range(1, 1201)]
    async with FakeGateway(story.handlers()) as fake:
        gateway = source(fake)
        outlet = await once(gateway)
        assert [params.get("offset") for params in fake.asked("sessions.list")] == [None, 200, 400]
        assert len({state.key.session for state in of(SessionState, outlet)}) == 451
        assert len(of(Unmetered, outlet)) == 1200
        story.ledger.append({**run, "sequence": 1201, "runId": "r-1201", **internal})
        assert [event.id for event in of(Unmetered, await once(gateway))] == ["r-1201"]


async def test_somebody_new_is_looked_up() -> None:
    story = Story()
    async with FakeGateway(story.handlers()) as fake, followed(source(fake)) as outlet:
        story.agents.append({"id": "new", "workspace": "/srv/attic"})
        story.rows.append(row("agent:new:main", "s-7", updatedAt=NOW))
        story.messages["agent:new:main"] = [message("e7", NOW - 9)]
        start = {**lifecycle("start", NOW, run="r-7"), "sessionKey": "agent:new:main", "agentId": "new"}
        await fake.push("agent", start)
        await outlet.until(lambda so_far: any(call.key.agent == "new" for call in of(Call, so_far)))
        assert of(Call, outlet)[-1].key.project == "attic"


async def test_events_that_were_missed_are_fetched() -> None:
    story = Story()
    async with FakeGateway(story.handlers()) as fake, followed(source(fake)) as outlet:
        story.messages[KEY].append(message("e2", NOW))
        story.rows = [row(updatedAt=NOW)]
        await fake.push("clawtop.gap", {"missed": 3})
        await outlet.until(lambda so_far: any(call.id == f"e2@{NOW}" for call in of(Call, so_far)))


async def test_garbage_is_skipped_and_counted() -> None:
    async with FakeGateway(Story().handlers()) as fake, followed(source(fake)) as outlet:
        await fake.send("not JSON")
        await fake.push("session.message", {"message": 5})
        await fake.push("agent", {"runId": {}, "data": []})
        await fake.push("session.message", pushed(message("e2", NOW, usage={"input": -1})))
        await fake.push("session.message", pushed(message("e3", NOW)))
        await outlet.until(has(Call, 2))
        await outlet.until(lambda so_far: so_far.status is not None and so_far.status.skips == 2)


@pytest.mark.parametrize(("refuses", "words"), [(WRONG_TOKEN, "--token-file"), (PAIRING, "paired device")])
async def test_a_refusal_says_what_to_do(refuses: Exception, words: str) -> None:
    async with FakeGateway(refuses=refuses) as fake:
        for companion in (False, True):
            with pytest.raises(SourceError, match=words) as caught:
                await once(source(fake, companion=companion))
            assert TOKEN not in str(caught.value)


async def test_a_gateway_that_lets_nobody_list_its_sessions_is_down() -> None:
    async with FakeGateway() as fake:
        with pytest.raises(SourceError, match=r"sessions.list: unknown method"):
            await once(source(fake))


async def test_beside_a_home_a_gateway_that_does_not_run_is_no_fault_of_a_single_look() -> None:
    async with FakeGateway() as fake:
        pass
    gateway = source(fake, companion=True)
    outlet = await once(gateway)
    assert outlet.status is not None
    assert (outlet.status.health, outlet.events) == (Health.OK, [])
    assert "nothing listens" in outlet.status.detail
    with pytest.raises(SourceError, match="nothing listens"):
        await gateway.run(outlet, follow=True)
    with pytest.raises(SourceError, match="nothing listens"):
        await once(source(fake))


async def test_warnings_stand_in_the_status_and_no_token_anywhere() -> None:
    async with FakeGateway(Story().handlers()) as fake:
        gateway = GatewaySource("gateway:x", fake.address, host="box", companion=True, warnings=["chmod it"])
        outlet = await once(gateway)
        assert all(status.detail.endswith("live; chmod it") for status in outlet.statuses)
        assert gateway.uri == "gateway:x"
        assert TOKEN not in repr(outlet.statuses) + repr(outlet.events)


async def test_a_gateway_that_is_slow_to_answer_is_waited_for() -> None:
    story = Story()
    release = asyncio.Event()

    async def slowly(params: Params) -> object:
        await release.wait()
        return story._history(params)

    handlers: dict[str, Handler] = {**story.handlers(), "chat.history": slowly}
    async with FakeGateway(handlers) as fake:
        outlet = Remembered(lambda: NOW)
        running = asyncio.create_task(source(fake).run(outlet, follow=False))
        await fake.until(lambda: bool(fake.asked("chat.history")))
        assert outlet.status is not None
        assert outlet.status.health is Health.READING
        release.set()
        await running
        assert len(of(Call, outlet)) == 1


async def test_two_gateways_are_two_hosts() -> None:
    async with FakeGateway(Story().handlers()) as fake:
        far = GatewaySource("gateway:far", GatewayAddress(fake.url, TOKEN), host="far", companion=False)
        assert {event.key.host for event in of(Call, await once(far))} == {"far"}
