"""Pause, abort and resume against a pretended gateway: what is stopped, held, verified, and brought back."""

from pathlib import Path

import pytest

from clawtop.control.config_hold import HELD_MODEL, REVIEW_TOOL
from clawtop.model.commands import Abort, HoldState, Means, Pause, Resume, Target, WorkKind
from tests.fake_gateway import FakeGateway, Params, Refusal
from tests.unit.control.pretend import Pretend
from tests.unit.control.stage import CODER, MAIN, hold_of, on_disk, pause, resume, switch_to


def busy(form: str = "entries") -> Pretend:
    """A gateway whose coder does everything at once, while main works, too."""
    pretend = Pretend(form)
    pretend.add_session("agent:coder:main", active=True)
    pretend.add_session("agent:coder:own", model="mock2/dear", active=True)
    pretend.add_session("agent:main:subagent:1", active=True, parent="agent:coder:main")
    pretend.add_session("agent:main:subagent:2", active=True, parent="agent:main:subagent:1")
    pretend.add_session("agent:main:main", active=True)
    pretend.add_job("nightly", "coder")
    pretend.add_job("dear", "coder", model="mock2/dear")
    pretend.add_job("mains", "main")
    pretend.tasks["t1"] = {"taskId": "t1", "runtime": "cron", "status": "running", "agentId": "coder", "title": "dear"}
    pretend.tasks["t2"] = {"taskId": "t2", "runtime": "cli", "kind": "exec", "status": "running", "agentId": "coder"}
    pretend.audit = [
        {
            "kind": "agent_run",
            "action": "agent.run.started",
            "runId": "review:1",
            "agentId": "coder",
            "sessionKey": "agent:coder:internal-session-effects:review_1",
        }
    ]
    return pretend


@pytest.mark.parametrize("form", ["entries", "list"])
async def test_a_pause_stops_everything_of_the_agent_and_nothing_else(form: str, tmp_path: Path) -> None:
    pretend = busy(form)
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        result = await pause(switch)
        await switch.stop()

    assert result.verified, result.detail
    assert set(pretend.aborted) == {
        "agent:coder:main",
        "agent:coder:own",
        "agent:main:subagent:1",
        "agent:main:subagent:2",
        "review:1",
    }
    assert list(pretend.tasks) == ["t2"]
    assert [job for job, it in pretend.jobs.items() if it["enabled"]] == ["mains"]
    assert "model" not in pretend.jobs["dear"]["payload"]
    entry = pretend.entry("coder")
    assert entry is not None
    assert entry["model"] == {"primary": HELD_MODEL, "fallbacks": []}
    assert (entry.get("tools") == {"deny": [REVIEW_TOOL]}) is (form == "entries")
    assert pretend.sessions["agent:coder:own"]["modelOverrideSource"] is None
    hold = hold_of(result)
    assert (hold.state, hold.reason) == (HoldState.PAUSED, "too dear")
    assert hold.milliseconds == result.verified_after
    assert result.settled is not None
    assert switch.holds() == {CODER: hold}


@pytest.mark.parametrize("form", ["entries", "list"])
async def test_a_resume_brings_everything_back(form: str, tmp_path: Path) -> None:
    pretend = busy(form)
    before = pretend.state()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch)
        result = await resume(switch)
        await switch.stop()

    assert result.verified, result.detail
    assert pretend.state() == before
    assert switch.holds() == {}
    assert on_disk(tmp_path) == []


async def test_all_agents_of_a_gateway_are_held_by_one_write(tmp_path: Path) -> None:
    pretend = busy()
    before = pretend.state()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        paused = await switch.carry_out(Pause((CODER, MAIN)))
        writes = pretend.writes
        resumed = await switch.carry_out(Resume((MAIN, CODER)))
        await switch.stop()

    assert paused.verified
    assert [result.target for result in resumed.results] == [MAIN, CODER]
    assert resumed.verified
    assert (writes, pretend.writes) == (1, 2)
    assert pretend.state() == before


async def test_admin_rights_are_asked_for_only_to_act(tmp_path: Path) -> None:
    pretend = busy()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await switch.start()
        await switch.plan([CODER])
        asked = [params["scopes"] for params in gateway.asked("connect")]
        await switch.carry_out(Abort((CODER,)))
        acted = [params["scopes"] for params in gateway.asked("connect")][len(asked) :]
        await switch.stop()

    assert asked == [["operator.read"]]
    assert acted == [["operator.read", "operator.write", "operator.admin"]]


async def test_the_plan_names_what_will_be_touched(tmp_path: Path) -> None:
    pretend = busy()
    pretend.raw = '{ // my gateway\n "gateway": {"url": "http://x"} }'
    async with pretend.gateway() as gateway:
        (plan,) = await switch_to(gateway, tmp_path).plan([CODER])

    kinds = {(work.kind, work.session_key or work.run) for work in plan.running}
    assert kinds == {
        (WorkKind.TURN, "agent:coder:main"),
        (WorkKind.TURN, "agent:coder:own"),
        (WorkKind.SUBAGENT, "agent:main:subagent:1"),
        (WorkKind.SUBAGENT, "agent:main:subagent:2"),
        (WorkKind.CRON, None),
        (WorkKind.BACKGROUND, "review:1"),
        (WorkKind.COMMAND, None),
    }
    assert {job.name for job in plan.cron_jobs} == {"nightly", "dear"}
    assert [(own.session_key, own.model) for own in plan.own_models] == [("agent:coder:own", "mock2/dear")]
    assert plan.config_hold
    assert any("shell command" in gap.what for gap in plan.not_covered)
    assert any("comments" in warning for warning in plan.warnings)
    assert pretend.aborted == []


async def test_a_gateway_that_takes_up_its_config_later_is_waited_for(tmp_path: Path) -> None:
    pretend = busy()
    stale: list[object] = []

    def agents(params: Params) -> object:
        fresh = pretend.handlers()["agents.list"](params)
        if pretend.writes and len(stale) < 2:
            stale.append(fresh)
            return {"defaultId": "main", "agents": [{"id": name, "model": "mock/normal"} for name in ("main", "coder")]}
        return fresh

    async with pretend.gateway(agents_list=agents) as gateway:
        switch = switch_to(gateway, tmp_path)
        result = await pause(switch)
        await switch.stop()

    assert result.verified, result.detail
    assert len(stale) == 2


async def test_where_a_subagents_answer_is_handed_on_by_itself_the_plan_says_so(tmp_path: Path) -> None:
    handlers = busy().handlers()
    del handlers["audit.list"]
    async with FakeGateway(handlers) as gateway:
        (plan,) = await switch_to(gateway, tmp_path).plan([CODER])

    assert "a subagent's answer" in [gap.what for gap in plan.not_covered]


async def test_an_agent_that_nobody_has_is_not_made(tmp_path: Path) -> None:
    pretend = busy()
    before = pretend.state()
    typo = Target("local", "codr")
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        (plan,) = await switch.plan([typo])
        result = await pause(switch, typo)

    assert (plan.means, plan.problem) == (Means.NONE, "the gateway knows no agent codr; it has coder, main")
    assert not result.verified
    assert result.hold is None
    assert pretend.state() == before
    assert on_disk(tmp_path) == []


async def test_without_the_config_hold_the_config_stays(tmp_path: Path) -> None:
    pretend = busy()
    agents = pretend.state()["agents"]
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path, config_hold=False)
        (plan,) = await switch.plan([CODER])
        result = await pause(switch)
        held = pretend.state()
        back = await resume(switch)
        await switch.stop()

    assert result.verified
    assert "only as long as clawtop runs" in result.detail
    assert not plan.config_hold
    assert any("once clawtop has ended" in gap.what for gap in plan.not_covered)
    assert held["agents"] == agents
    assert back.verified


async def test_what_starts_again_is_stopped_again(tmp_path: Path) -> None:
    pretend = busy()
    pretend.restarts["agent:coder:main"] = 3
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        result = await pause(switch)
        await switch.stop()

    assert result.verified
    assert pretend.aborted.count("agent:coder:main") >= 4


async def test_an_abort_stops_the_runs_and_holds_nothing(tmp_path: Path) -> None:
    pretend = busy()
    before = pretend.state()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        result = (await switch.carry_out(Abort((CODER,)))).results[0]

    assert result.verified
    assert result.hold is None
    assert pretend.state() == before
    assert not any(row["hasActiveRun"] for key, row in pretend.sessions.items() if key != "agent:main:main")
    assert list(pretend.tasks) == ["t2"]


async def test_an_abort_ends_commands_only_when_asked_to(tmp_path: Path) -> None:
    pretend = busy()
    async with pretend.gateway() as gateway:
        await switch_to(gateway, tmp_path).carry_out(Abort((CODER,), commands=True))

    assert pretend.tasks == {}


async def test_jobs_that_the_gateway_keeps_itself_do_not_fail_a_pause(tmp_path: Path) -> None:
    pretend = busy()
    pretend.add_job("review", "coder")
    pretend.stubborn.add("review")
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        paused = await pause(switch)
        resumed = await resume(switch)
        await switch.stop()

    assert paused.verified
    assert [step.detail for step in paused.steps if step.what == "cron job review off"] != [""]
    assert resumed.verified


async def test_a_gateway_that_knows_fewer_parameters_is_spoken_to_in_its_words(tmp_path: Path) -> None:
    pretend = busy("list")
    pretend.unknown = {("sessions.abort", "clearQueued"), ("sessions.list", "activeOnly"), ("audit.list", "kind")}
    before = pretend.state()
    handlers = pretend.handlers()
    del handlers["audit.list"]
    async with pretend.gateway() as gateway:
        gateway.handlers = {"sessions.subscribe": lambda _: {}, **handlers}
        switch = switch_to(gateway, tmp_path)
        paused = await pause(switch)
        resumed = await resume(switch)
        await switch.stop()

    assert paused.verified, paused.detail
    assert resumed.verified
    assert pretend.state() == before


async def test_where_sessions_do_not_say_they_were_given_a_model_each_suspect_is_asked(tmp_path: Path) -> None:
    pretend = busy("list")
    pretend.add_session("agent:coder:fell-back")
    pretend.sessions["agent:coder:fell-back"]["modelProvider"] = "mock9"
    before = pretend.state()
    listing = pretend.handlers()["sessions.list"]

    def silent(params: dict[str, object]) -> object:
        answer = listing(params)
        assert isinstance(answer, dict)
        return {
            "sessions": [
                {name: value for name, value in row.items() if name != "modelOverrideSource"}
                for row in answer["sessions"]
            ]
        }

    async with pretend.gateway(sessions_list=silent) as gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch)
        cleared = pretend.sessions["agent:coder:own"]["modelOverrideSource"]
        resumed = await resume(switch)
        await switch.stop()

    assert cleared is None
    assert resumed.verified
    assert pretend.state() == before


async def test_an_old_gateway_is_stopped_as_far_as_it_goes(tmp_path: Path) -> None:
    pretend = busy("list")
    before = pretend.state()
    aborted: list[str] = []

    def abort_chat(params: dict[str, str]) -> object:
        aborted.append(params["sessionKey"])
        return {"aborted": params["sessionKey"] == "agent:coder:main"}

    async with pretend.gateway(chat_abort=abort_chat) as gateway:
        for name in ("sessions.abort", "tasks.list", "tasks.cancel", "audit.list", "sessions.subscribe"):
            del gateway.handlers[name]
        switch = switch_to(gateway, tmp_path)
        (plan,) = await switch.plan([CODER])
        paused = await pause(switch)
        jobs = [job for job, it in pretend.jobs.items() if it["enabled"]]
        abort = (await switch.carry_out(Abort((CODER,)))).results[0]
        resumed = await resume(switch)
        await switch.stop()

    assert {it.call.split()[0] for it in plan.escalations} == {"sessions.reset", "sessions.delete", "config.patch"}
    assert hold_of(paused).state is HoldState.UNSUPPORTED
    assert "chat run in agent:coder:main" in paused.detail
    assert jobs == ["mains"]
    assert not abort.verified
    assert set(aborted) == {"agent:coder:main", "agent:coder:own"}
    assert resumed.verified
    assert pretend.state() == before


async def test_a_token_that_may_not_act_changes_nothing(tmp_path: Path) -> None:
    pretend = busy()
    before = pretend.state()
    async with pretend.gateway() as gateway:
        gateway.granted = ["operator.read"]
        switch = switch_to(gateway, tmp_path)
        result = await pause(switch)

    assert not result.verified
    assert "operator.admin" in result.detail
    assert (pretend.state(), pretend.aborted) == (before, [])


async def test_a_config_that_cannot_be_written_is_a_pause_that_failed(tmp_path: Path) -> None:
    pretend = busy()

    def refuse(_: object) -> object:
        raise Refusal("UNAVAILABLE", "Error: Config write would flatten $include-owned config at agents")

    async with pretend.gateway(config_patch=refuse) as gateway:
        switch = switch_to(gateway, tmp_path)
        result = await pause(switch)
        await switch.stop()

    assert not result.verified
    assert "$include-owned" in result.detail
    assert hold_of(result).state is HoldState.FAILED
    assert not any(row["hasActiveRun"] for key, row in pretend.sessions.items() if key != "agent:main:main")
