"""What goes wrong while an agent is paused or resumed: the truth is told, nothing is lost, a later resume restores."""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clawtop.control import gateway_calls
from clawtop.control.holds import HoldStore
from clawtop.gateway.connection import GatewayAddress
from clawtop.model.commands import HoldState, Pause
from tests.fake_gateway import PAIRING, Death, FakeGateway, Params, Refusal, Silence
from tests.unit.control.pretend import Pretend
from tests.unit.control.stage import CODER, on_disk, pause, resume, switch_to

CHECKOUT = Path(__file__).parents[3]
SECRET = "hush-hush-token"


def working() -> Pretend:
    """A gateway whose coder runs, has a cron job, and a session with a model of its own."""
    pretend = Pretend()
    pretend.add_session("agent:coder:main", active=True)
    pretend.add_session("agent:coder:own", model="mock2/dear")
    pretend.add_job("nightly", "coder", model="mock2/dear")
    return pretend


def written(folder: Path) -> str:
    """Everything that lies in the state directory."""
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is given up after a moment."""
    monkeypatch.setattr(gateway_calls, "_SECONDS", 0.7)


async def test_a_wrong_token_stops_nothing_and_is_told_nowhere(tmp_path: Path) -> None:
    async with working().gateway() as gateway:
        switch = switch_to(GatewayAddress(gateway.url, SECRET), tmp_path)
        (plan,) = await switch.plan([CODER])
        result = await pause(switch)
        await switch.stop()

    assert not result.verified
    assert result.hold is None
    assert "does not take this token" in result.detail
    assert SECRET not in f"{plan}{result}{switch.holds()}{written(tmp_path)}"
    assert on_disk(tmp_path) == []


async def test_the_right_token_is_told_nowhere_either(tmp_path: Path) -> None:
    pretend = working()
    gateway = FakeGateway(pretend.handlers(), token=SECRET)

    def loud(_: Params) -> object:
        raise Refusal("UNAVAILABLE", f"cannot write for {SECRET}")

    gateway.handlers["config.patch"] = loud
    async with gateway:
        switch = switch_to(gateway, tmp_path)
        result = await pause(switch)
        await switch.stop()

    assert "cannot write for [token]" in result.detail
    assert SECRET not in f"{result}{switch.holds()}{written(tmp_path)}"


async def test_a_gateway_that_wants_pairing_is_told_apart(tmp_path: Path) -> None:
    gateway = working().gateway()
    gateway.refuses = PAIRING
    async with gateway:
        result = await pause(switch_to(gateway, tmp_path))

    assert "paired device" in result.detail


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\xff garbage \n", b""])
async def test_another_listener_is_no_gateway(tmp_path: Path, greeting: bytes) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read(100)
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        result = await pause(switch_to(GatewayAddress(f"ws://127.0.0.1:{port}", "t"), tmp_path))

    assert not result.verified
    assert str(port) in result.detail
    assert on_disk(tmp_path) == []


async def test_nobody_listens(tmp_path: Path) -> None:
    result = await pause(switch_to(GatewayAddress("ws://127.0.0.1:1", "t"), tmp_path))

    assert (result.verified, result.hold) == (False, None)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("method", ["sessions.list", "config.get", "cron.list"])
async def test_a_gateway_that_answers_nothing_is_given_up(tmp_path: Path, method: str) -> None:
    def silent(_: Params) -> object:
        raise Silence

    pretend = working()
    before = pretend.state()
    gateway = pretend.gateway()
    gateway.handlers[method] = silent
    async with gateway:
        result = await pause(switch_to(gateway, tmp_path))

    assert not result.verified
    assert f"did not answer {method}" in result.detail
    assert pretend.state() == before


@pytest.mark.usefixtures("impatient")
async def test_an_abort_that_is_never_answered_is_judged_by_what_runs(tmp_path: Path) -> None:
    pretend = working()
    abort = pretend.handlers()["sessions.abort"]

    def deaf(params: Params) -> object:
        abort(params)
        raise Silence

    async with pretend.gateway(sessions_abort=deaf) as gateway:
        switch = switch_to(gateway, tmp_path)
        result = await pause(switch)
        await switch.stop()

    assert result.verified, result.detail


@pytest.mark.parametrize("garbage", [None, 7, [], "x", {}, {"sessions": 7}, {"sessions": [7, {"key": 7}]}])
@pytest.mark.parametrize("method", ["sessions.list", "tasks.list", "audit.list", "cron.list"])
async def test_garbage_is_survived(tmp_path: Path, method: str, garbage: object) -> None:
    pretend = working()
    gateway = pretend.gateway()
    gateway.handlers[method] = lambda _: garbage
    async with gateway:
        switch = switch_to(gateway, tmp_path)
        result = await pause(switch)
        await resume(switch)
        await switch.stop()

    assert result.detail


async def test_a_config_that_cannot_be_understood_is_not_held(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway(config_get=lambda _: {"parsed": 7, "resolved": [], "valid": False}) as gateway:
        switch = switch_to(gateway, tmp_path)
        result = await pause(switch)
        await switch.stop()

    assert "not valid" in result.detail
    assert pretend.writes == 0
    assert not pretend.sessions["agent:coder:main"]["hasActiveRun"]


async def test_frames_of_thirty_megabytes_are_taken(tmp_path: Path) -> None:
    pretend = working()
    before = pretend.state()
    listing = pretend.handlers()["sessions.list"]

    def fat(params: Params) -> object:
        answer = listing(params)
        assert isinstance(answer, dict)
        return {**answer, "pad": "x" * 30_000_000} if "activeOnly" not in params else answer

    async with pretend.gateway(sessions_list=fat) as gateway:
        switch = switch_to(gateway, tmp_path)
        paused, resumed = await pause(switch), await resume(switch)
        await switch.stop()

    assert paused.verified
    assert resumed.verified
    assert pretend.state() == before


async def test_a_busy_gateway_that_refuses_now_and_then_is_asked_again(tmp_path: Path) -> None:
    pretend = working()
    refusals = iter([True, False] * 2)

    def busy(_: Params) -> object:
        if next(refusals, False):
            raise Refusal("UNAVAILABLE", "Error: Queued task event identity was replaced before admission")
        return {"tasks": []}

    async with pretend.gateway(tasks_list=busy) as gateway:
        switch = switch_to(gateway, tmp_path)
        result = await pause(switch)
        await switch.stop()

    assert result.verified


async def test_a_config_changed_between_reading_and_writing_is_read_again(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await switch.plan([CODER])
        # somebody gives the agent another model while the question is open
        entry = pretend.entry("coder")
        assert entry is not None
        entry["model"] = "mock/cheap"
        pretend.touch()
        before = pretend.state()
        paused = (await switch.carry_out(Pause((CODER,)))).results[0]
        resumed = await resume(switch)
        await switch.stop()

    assert paused.verified
    assert len(gateway.asked("config.patch")) == 3
    assert resumed.verified
    assert pretend.state() == before


async def test_a_config_that_changes_all_the_time_is_given_up(tmp_path: Path) -> None:
    pretend = working()
    write = pretend.handlers()["config.patch"]

    def too_late(params: Params) -> object:
        pretend.touch()
        return write(params)

    async with pretend.gateway(config_patch=too_late) as gateway:
        switch = switch_to(gateway, tmp_path)
        result = await pause(switch)
        await switch.stop()

    assert not result.verified
    assert "somebody else writes it all the time" in result.detail
    assert on_disk(tmp_path) == [CODER]


async def test_a_gateway_that_takes_no_more_writes_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend = working()
    write = pretend.handlers()["config.patch"]
    limits = iter(["rate limit exceeded for config.patch; retry after 35s"])
    waited: list[float] = []
    sleep = asyncio.sleep

    async def no_sleep(seconds: float) -> None:
        waited.append(seconds)
        await sleep(0)

    def limited(params: Params) -> object:
        if limit := next(limits, None):
            raise Refusal("UNAVAILABLE", limit)
        return write(params)

    said: list[str] = []
    async with pretend.gateway(config_patch=limited) as gateway:
        switch = switch_to(gateway, tmp_path, on_change=lambda: said.append(str(switch.holds().get(CODER))))
        await switch.plan([CODER])
        monkeypatch.setattr("clawtop.control.pausing.asyncio.sleep", no_sleep)
        result = (await switch.carry_out(Pause((CODER,)))).results[0]
        await switch.stop()

    assert result.verified
    assert 36 in waited
    assert any("takes no config change for 35 s" in hold and "STOPPING" in hold for hold in said)


async def test_a_gateway_that_dies_between_abort_and_hold_is_paused_when_it_is_back(tmp_path: Path) -> None:
    pretend = working()
    before = pretend.state()
    gateway = pretend.gateway()
    write = gateway.handlers["config.patch"]

    def die(_: Params) -> object:
        raise Death

    gateway.handlers["config.patch"] = die
    async with gateway:
        changed = asyncio.Event()
        switch = switch_to(gateway, tmp_path, on_change=changed.set)
        result = await pause(switch)
        told = switch.holds()[CODER]
        await gateway.die()
        gateway.handlers["config.patch"] = write
        # a gateway that starts takes up what it ran
        pretend.sessions["agent:coder:main"]["hasActiveRun"] = True
        await until(changed, lambda: "not watched" in switch.holds()[CODER].detail)
        await gateway.listen()
        await until(changed, lambda: switch.holds()[CODER].state is HoldState.PAUSED)
        resumed = await resume(switch)
        await switch.stop()

    assert not result.verified
    assert told.state is HoldState.FAILED
    assert "run in agent:coder:main" in told.detail
    assert resumed.verified
    assert pretend.state() == before


async def test_a_write_that_comes_through_after_all_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawtop.control.resuming._LATE_SECONDS", 0.01)
    pretend = working()
    before = pretend.state()
    gateway = pretend.gateway()
    write, read = gateway.handlers["config.patch"], gateway.handlers["config.get"]
    late: list[Params] = []

    def die(params: Params) -> object:
        late.append(params)
        raise Death

    def read_and_then_write(params: Params) -> object:
        answer = read(params)
        if late and len(gateway.asked("config.get")) > 3:
            write(late.pop())
        return answer

    gateway.handlers |= {"config.patch": die, "config.get": read_and_then_write}
    async with gateway:
        switch = switch_to(gateway, tmp_path)
        paused = await pause(switch)
        await switch.stop()
        gateway.handlers["config.patch"] = write
        resumed = await resume(switch_to(gateway, tmp_path))

    assert not paused.verified
    assert late == []
    assert resumed.verified, resumed.detail
    assert pretend.state() == before


async def test_a_write_that_may_still_come_keeps_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawtop.control.resuming._LATE_SECONDS", 0.01)
    pretend = working()
    before = pretend.state()
    gateway = pretend.gateway()
    write = gateway.handlers["config.patch"]
    late: list[Params] = []

    def die(params: Params) -> object:
        late.append(params)
        raise Death

    gateway.handlers["config.patch"] = die
    async with gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch)
        await switch.stop()
        gateway.handlers["config.patch"] = write
        later = switch_to(gateway, tmp_path)
        early, kept = await resume(later), on_disk(tmp_path)
        write(late.pop())
        done = await resume(later)
        await later.stop()

    assert not early.verified
    assert (
        "may still be writing the hold into the config, so the hold file stays: resume it once more in" in early.detail
    )
    assert kept == [CODER]
    assert done.verified, done.detail
    assert pretend.state() == before
    assert on_disk(tmp_path) == []


async def test_a_write_that_never_comes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawtop.control.resuming._LATE_SECONDS", 0.01)
    pretend = working()
    before = pretend.state()
    gateway = pretend.gateway()
    write = gateway.handlers["config.patch"]

    def die(_: Params) -> object:
        raise Death

    gateway.handlers["config.patch"] = die
    async with gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch)
        await switch.stop()
        gateway.handlers["config.patch"] = write
        monkeypatch.setattr("clawtop.control.resuming._LONGEST_WRITE", 0)
        resumed = await resume(switch_to(gateway, tmp_path))

    assert resumed.verified, resumed.detail
    assert pretend.state() == before


async def until(changed: asyncio.Event, holds: Callable[[], bool]) -> None:
    """Wait for a change after which this holds."""
    async with asyncio.timeout(20):
        while not holds():
            changed.clear()
            await changed.wait()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema": "clawtop/hold/1", "cron": '])
async def test_a_damaged_hold_file_is_said_and_undone_as_far_as_it_can_be_known(tmp_path: Path, content: bytes) -> None:
    pretend = working()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, tmp_path)
        await pause(switch)
        await switch.stop()
        path = HoldStore(tmp_path / "holds").path(CODER)
        path.write_bytes(content)

        later = switch_to(gateway, tmp_path)
        await later.start(keep=False)
        told = later.holds()[CODER]
        asked = await resume(later)
        kept = path.read_bytes()
        forced = await resume(later, force=True)

    assert told.state is HoldState.FAILED
    assert "cannot be read" in told.detail
    assert not asked.verified
    assert "nobody knows what" in asked.detail
    assert kept == content
    assert forced.verified, forced.detail
    assert "which cron jobs were on" in forced.detail
    entry = pretend.entry("coder")
    assert entry is not None
    assert "model" not in entry
    (aside,) = path.parent.glob("*.damaged-*")
    assert aside.read_bytes() == content


async def test_a_lost_hold_file_is_not_replaced_by_the_holds_own_values(tmp_path: Path) -> None:
    pretend = working()
    async with pretend.gateway() as gateway:
        first = switch_to(gateway, tmp_path)
        await pause(first)
        await first.stop()
        HoldStore(tmp_path / "holds").remove(CODER)
        second = switch_to(gateway, tmp_path)
        paused, resumed = await pause(second), await resume(second)
        await second.stop()

    assert paused.verified
    assert not resumed.verified
    assert resumed.conflicts[0].before.startswith("nobody knows")


async def test_a_second_clawtop_sees_the_first_ones_hold(tmp_path: Path) -> None:
    pretend = working()
    before = pretend.state()
    async with pretend.gateway() as gateway:
        first, second = switch_to(gateway, tmp_path), switch_to(gateway, tmp_path)
        await pause(first)
        await second.start(keep=False)
        (plan,) = await second.plan([CODER])
        again = await pause(second)
        resumed = await resume(second)
        await first.stop()
        await second.stop()

    assert plan.held is not None
    assert plan.held.state is HoldState.PAUSED
    assert again.verified
    assert resumed.verified
    assert pretend.state() == before


async def test_two_clawtops_at_the_same_moment_take_turns(tmp_path: Path) -> None:
    pretend = working()
    before = pretend.state()
    async with pretend.gateway() as gateway:
        first, second = switch_to(gateway, tmp_path), switch_to(gateway, tmp_path)
        results = await asyncio.gather(pause(first), pause(second))
        resumed = await resume(second)
        await first.stop()
        await second.stop()

    assert all(result.verified for result in results)
    assert resumed.verified
    assert pretend.state() == before


async def test_a_clawtop_that_is_kept_waiting_for_too_long_says_by_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clawtop.control.gateway._LOCK_SECONDS", 0.1)
    pretend = working()
    before = pretend.state()
    async with pretend.gateway() as gateway:
        with HoldStore(tmp_path / "holds").lock(CODER):
            result = await pause(switch_to(gateway, tmp_path))

    assert not result.verified
    assert f"pid {os.getpid()}" in result.detail
    assert pretend.state() == before


async def test_a_hold_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    pretend = working()
    before = pretend.state()
    folder = tmp_path / "state"
    folder.mkdir()
    async with pretend.gateway() as gateway:
        switch = switch_to(gateway, folder)
        await switch.plan([CODER])
        (folder / "holds").write_text("in the way")
        result = (await switch.carry_out(Pause((CODER,)))).results[0]

    assert not result.verified
    assert (pretend.state(), pretend.aborted) == (before, [])


async def test_without_an_audit_log_nothing_is_done(tmp_path: Path) -> None:
    pretend = working()
    before = pretend.state()
    (tmp_path / "audit.jsonl").mkdir()
    async with pretend.gateway() as gateway:
        result = await pause(switch_to(gateway, tmp_path))

    assert "audit log cannot be written" in result.detail
    assert (pretend.state(), pretend.aborted) == (before, [])


@pytest.mark.parametrize("method", ["config.patch", "cron.update", "sessions.patch", "sessions.abort"])
async def test_a_clawtop_killed_in_the_middle_of_a_pause_loses_nothing(tmp_path: Path, method: str) -> None:
    pretend = working()
    before = pretend.state()
    async with pretend.gateway() as gateway:
        await killed_at(gateway, method, tmp_path, PAUSING)
        switch = switch_to(gateway, tmp_path)
        resumed = await resume(switch)
        await switch.stop()

    assert resumed.verified, resumed.detail
    assert pretend.state() == before
    assert on_disk(tmp_path) == []


@pytest.mark.parametrize("method", ["config.patch", "cron.update", "sessions.patch"])
async def test_a_clawtop_killed_in_the_middle_of_a_resume_loses_nothing(tmp_path: Path, method: str) -> None:
    pretend = working()
    before = pretend.state()
    async with pretend.gateway() as gateway:
        first = switch_to(gateway, tmp_path)
        await pause(first)
        await first.stop()
        await killed_at(gateway, method, tmp_path, RESUMING)
        switch = switch_to(gateway, tmp_path)
        resumed = await resume(switch)
        await switch.stop()

    assert resumed.verified, resumed.detail
    assert pretend.state() == before


PAUSING, RESUMING = "Pause", "Resume"
PROGRAM = """
import asyncio, sys
from pathlib import Path
from clawtop.control.switch import Switch, Ways
from clawtop.gateway.connection import GatewayAddress
from clawtop.model.commands import Pause, Resume, Target

url, token, folder, verb = sys.argv[1:]
switch = Switch(Path(folder), Ways(lambda _: GatewayAddress(url, token)))
command = {"Pause": Pause, "Resume": Resume}[verb]
asyncio.run(switch.carry_out(command((Target("local", "coder"),))))
"""


async def killed_at(gateway: FakeGateway, method: str, folder: Path, verb: str) -> None:
    """Let another clawtop begin, and kill it when it has asked for this, which the gateway does all the same."""
    do = gateway.handlers[method]
    process: asyncio.subprocess.Process | None = None

    async def kill_and_do(params: Params) -> object:
        assert process is not None
        gateway.handlers[method] = do
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        answer = do(params)
        return await answer if isinstance(answer, Awaitable) else answer

    gateway.handlers[method] = kill_and_do
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, gateway.url, gateway.token, str(folder), verb, cwd=CHECKOUT
    )
    assert await asyncio.wait_for(process.wait(), 30) == -signal.SIGKILL
    assert on_disk(folder) == [CODER]


async def test_what_is_written_down_is_private(tmp_path: Path) -> None:
    async with working().gateway() as gateway:
        switch = switch_to(gateway, tmp_path / "state")
        await pause(switch)
        await switch.stop()

    files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
