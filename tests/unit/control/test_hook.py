"""Hooks: the user's own command or request, its words, its time limit."""

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clawtop.control.holds import HoldStore
from clawtop.control.hook import HookCommand, HookFailed, HookRequest, HookRule, run_hook
from clawtop.control.hooked import HookControl
from clawtop.control.outcomes import Asker
from clawtop.model.commands import About, HoldState, Means, Target

BOT = Target("ci", "bot-1")
ABOUT = About(project="api", sources=("events:/var/log/bot",), user="kim")
ME = Asker("me@here", "too dear", 5)


def python(program: str, timeout: float = 20.0) -> HookCommand:
    """A command that runs this program."""
    return HookCommand((sys.executable, "-c", program), timeout)


async def test_a_command_gets_the_agents_fields_and_its_exit_code_counts() -> None:
    program = "import os; print(*(os.environ['CLAWTOP_' + n] for n in 'ACTION AGENT HOST PROJECT REASON USER'.split()))"

    said = await run_hook(python(program), BOT, ABOUT, "pause", "too dear")

    assert said == "pause bot-1 ci api too dear kim"
    with pytest.raises(HookFailed, match=r"ended with 3: no such bot"):
        await run_hook(python("import sys; print('no such bot'); sys.exit(3)"), BOT, ABOUT, "pause", None)


async def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    call = HookCommand((sys.executable, "-c", "import sys; print(sys.argv[1])", f"$(touch {touched}); `id`"))

    assert await run_hook(call, BOT, ABOUT, "pause", None) == f"$(touch {touched}); `id`"
    assert not os.path.exists(touched)  # noqa: PTH110, ASYNC240 - a look at a file blocks for no time


async def test_a_hostile_name_reaches_the_environment_only() -> None:
    target = Target("h", "a\x00b'; rm -rf /; \x1b[2J")

    said = await run_hook(python("import os; print(repr(os.environ['CLAWTOP_AGENT']))"), target, ABOUT, "abort", None)

    assert said == repr("ab'; rm -rf /; \x1b[2J")


async def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "life")
    child = (
        f"import time; life = open({str(tmp_path / 'life')!r}, 'w'); life.write('born'); life.flush(); time.sleep(60)"
    )
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    # reading ends when the last one that writes is dead
    life = asyncio.create_task(asyncio.to_thread((tmp_path / "life").read_text))

    with pytest.raises(HookFailed, match=r"longer than 3 s"):
        await run_hook(python(program, timeout=3), BOT, ABOUT, "pause", None)

    assert await asyncio.wait_for(life, 10) == "born"


async def test_one_that_hangs_and_may_not_be_killed_has_been_run_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[asyncio.subprocess.Process] = []
    begin = asyncio.create_subprocess_exec

    async def noted(*words: Any, **more: Any) -> asyncio.subprocess.Process:
        begun.append(await begin(*words, **more))
        return begun[-1]

    def refuse(*_: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    monkeypatch.setattr(os, "killpg", refuse)
    rule = HookRule("mine", pause=python("import time; time.sleep(60)", timeout=0.2))
    control = HookControl(HoldStore(tmp_path), (rule,))
    async with asyncio.timeout(20):
        result = await control.carry_out("pause", BOT, ABOUT, ME)
    # nothing of it is left to the tests that follow
    (process,) = begun
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    assert process.stdout is not None
    await process.stdout.read()
    await asyncio.sleep(0)

    assert not result.verified
    assert "took longer than 0.2 s" in result.detail
    assert result.hold is not None


@pytest.mark.parametrize("arguments", [(), ("/no/such/program",), ("\0",)])
async def test_a_command_that_cannot_start_says_so(arguments: tuple[str, ...]) -> None:
    with pytest.raises(HookFailed, match="could not be started"):
        await run_hook(HookCommand(arguments), BOT, ABOUT, "pause", None)


async def test_endless_output_is_cut() -> None:
    said = await run_hook(python("print('x' * 5_000_000)"), BOT, ABOUT, "pause", None)

    assert set(said) == {"x"}
    assert len(said) <= 200


class Web:
    """An HTTP server that answers everything with one status, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status = b"204 No Content"
        self.asked = b""
        self.silent = False
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(it.split(b":")[1]) for it in head.split(b"\r\n") if it.lower().startswith(b"content-length")), 0
        )
        self.asked = head + await reader.readexactly(length)
        if self.silent:
            await reader.read()
        else:
            writer.write(b"HTTP/1.1 " + self.status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    """A server of its own."""
    web = Web()
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0)
    web.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/stop?key=hush-hush"
    yield web
    server.close()
    await server.wait_closed()


async def test_a_request_carries_headers_from_the_environment(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT_TOKEN", "Bearer hush-hush")
    call = HookRequest(web.url, headers={"authorization": "BOT_TOKEN"})

    assert await run_hook(call, BOT, ABOUT, "pause", "too dear") == "204"

    assert b"authorization: Bearer hush-hush" in web.asked
    assert b'"agent":"bot-1"' in web.asked
    assert b'"reason":"too dear"' in web.asked


async def test_any_other_status_is_not_done_and_no_secret_is_told(web: Web) -> None:
    web.status = b"500 hush-hush"
    with pytest.raises(HookFailed, match="answered 500") as refused:
        await run_hook(HookRequest(web.url), BOT, ABOUT, "pause", None)
    web.silent = True
    with pytest.raises(HookFailed, match="longer than") as silent:
        await run_hook(HookRequest(web.url, timeout=0.3), BOT, ABOUT, "pause", None)
    with pytest.raises(HookFailed, match="failed") as nobody:
        await run_hook(HookRequest("http://127.0.0.1:1/?key=hush-hush"), BOT, ABOUT, "pause", None)

    assert "hush" not in f"{refused.value}{silent.value}{nobody.value}"


async def test_no_password_of_a_url_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = [
        HookRequest("http://ops:hush@hush@127.0.0.1:1/stop"),
        HookRequest("http://ops:hush@127.0.0.1:1/#hush"),
    ]
    said = []
    for call in failing:
        with pytest.raises(HookFailed, match=r"POST http://127.0.0.1:1/") as refused:
            await run_hook(call, BOT, ABOUT, "pause", None)
        said.append(str(refused.value))
    monkeypatch.setenv("ALL_PROXY", "socks5://ops:hush@127.0.0.1:1")
    with pytest.raises(HookFailed, match="SOCKS") as refused:
        await run_hook(HookRequest("http://example.invalid/"), BOT, ABOUT, "pause", None)

    assert "hush" not in "".join(said) + str(refused.value)


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        (HookRule("any"), True),
        (HookRule("bots", agent="bot-*"), True),
        (HookRule("api", agent="bot-*", project="api", source="events:*"), True),
        (HookRule("web", project="web"), False),
        (HookRule("other", agent="coder"), False),
    ],
)
def test_a_rule_picks_by_agent_project_and_source(rule: HookRule, fits: bool) -> None:
    assert rule.matches(BOT, ABOUT) is fits


async def test_a_hook_pauses_and_resumes(tmp_path: Path) -> None:
    store = HoldStore(tmp_path)
    control = HookControl(store, [HookRule("bots", pause=python("print('ok')"), resume=python("pass"))])

    plan = control.plan(BOT, ABOUT, None)
    paused = await control.carry_out("pause", BOT, ABOUT, ME)

    assert plan.means is Means.HOOK
    assert paused.verified
    assert paused.hold is not None
    assert (paused.hold.state, paused.hold.detail) == (HoldState.PAUSED, "the hook bots says it is done: ok")
    written = store.read(BOT)
    assert written is not None
    assert (written.hook, written.reason, written.pid) == ("bots", "too dear", os.getpid())

    resumed = await control.carry_out("resume", BOT, ABOUT, ME)

    assert resumed.verified
    assert resumed.hold is None
    assert store.read(BOT) is None


async def test_a_hook_that_fails_leaves_the_hold_to_be_lifted(tmp_path: Path) -> None:
    store = HoldStore(tmp_path)
    control = HookControl(store, [HookRule("bots", pause=python("raise SystemExit(1)"))])

    paused = await control.carry_out("pause", BOT, ABOUT, ME)

    assert not paused.verified
    assert paused.hold is not None
    assert paused.hold.state is HoldState.FAILED
    assert store.read(BOT) is not None


async def test_without_a_hook_there_is_no_hand_on_it(tmp_path: Path) -> None:
    nothing = HookControl(HoldStore(tmp_path), [])
    half = HookControl(HoldStore(tmp_path), [HookRule("bots", pause=python("pass"))])

    paused = await nothing.carry_out("pause", BOT, ABOUT, ME)
    aborted = await half.carry_out("abort", BOT, ABOUT, ME)

    assert nothing.plan(BOT, ABOUT, None).means is Means.NONE
    assert paused.hold is not None
    assert paused.hold.state is HoldState.UNSUPPORTED
    assert (aborted.verified, aborted.hold) == (False, None)
    assert "has no abort" in aborted.detail
