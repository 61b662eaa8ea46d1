"""Agents that no gateway can stop: a command or an HTTP call of the user's own does it, as `[[control.hook]]` says."""

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from clawtop.credentials import without_credentials
from clawtop.model.commands import About, Target
from clawtop.model.errors import ClawtopError
from clawtop.plain import printable

_MOST_OUTPUT = 2000
_SHOWN = 200
_LAST_WORDS_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class HookCommand:
    """A program and its arguments, run without a shell; exit code 0 means done. `timeout` is in seconds."""

    arguments: tuple[str, ...]
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class HookRequest:
    """An HTTP request; an answer of 2xx means done. `headers` are {header: environment variable with its value}."""

    url: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 10.0


HookCall = HookCommand | HookRequest


@dataclass(frozen=True, slots=True)
class HookRule:
    """One `[[control.hook]]`: globs that pick the agents, and what pauses, resumes and aborts them."""

    name: str
    agent: str = "*"
    project: str = "*"
    source: str = "*"
    pause: HookCall | None = None
    resume: HookCall | None = None
    abort: HookCall | None = None

    def matches(self, target: Target, about: About) -> bool:
        """Whether this rule is for that agent."""
        return (
            fnmatchcase(target.agent, self.agent)
            and fnmatchcase(about.project or "", self.project)
            and any(fnmatchcase(source, self.source) for source in about.sources or ("",))
        )

    def call(self, verb: str) -> HookCall | None:
        """What it does for pause, resume or abort."""
        return {"pause": self.pause, "resume": self.resume, "abort": self.abort}[verb]


class HookFailed(ClawtopError):
    """The command or request of a hook did not say that it is done."""


async def run_hook(call: HookCall, target: Target, about: About, verb: str, reason: str | None) -> str:
    """Run it and return what it said. Raises HookFailed, also where it takes longer than it may."""
    fields = _fields(target, about, verb, reason)
    try:
        async with asyncio.timeout(call.timeout):
            match call:
                case HookCommand():
                    return await _run(call, fields)
                case HookRequest():
                    return await _request(call, fields)
    except TimeoutError:
        raise HookFailed(f"{_named(call)} took longer than {call.timeout:g} s") from None


def _fields(target: Target, about: About, verb: str, reason: str | None) -> dict[str, str]:
    told = {
        "ACTION": verb,
        "AGENT": target.agent,
        "HOST": target.host,
        "PROJECT": about.project,
        "SOURCE": next(iter(about.sources), None),
        "USER": about.user,
        "SESSION": about.session,
        "RUN": about.run,
        "REASON": reason,
    }
    # a NUL cannot be in an environment
    return {f"CLAWTOP_{name}": (value or "").replace("\0", "") for name, value in told.items()}


async def _run(call: HookCommand, fields: Mapping[str, str]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *call.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **fields},
            start_new_session=True,
        )
    except (OSError, ValueError, TypeError) as error:
        # an argument with a NUL, or none at all
        raise HookFailed(f"{_named(call)} could not be started: {error}") from None
    output = asyncio.create_task(_output(process))
    try:
        code = await process.wait()
        # what it left behind may keep its output open
        await asyncio.wait({output}, timeout=_LAST_WORDS_SECONDS)
        said = output.result() if output.done() else ""
    finally:
        output.cancel()
        if process.returncode is None:
            await _kill(process)
    if code:
        raise HookFailed(f"{_named(call)} ended with {code}" + (f": {said}" if said else ""))
    return said


async def _kill(process: asyncio.subprocess.Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except PermissionError:
        # it has become somebody else's (sudo): it ends when it likes, and nobody waits for that
        return
    except ProcessLookupError:
        pass
    await process.wait()


async def _output(process: asyncio.subprocess.Process) -> str:
    """The end of what it prints; the rest is read and dropped, so that it never waits for a reader."""
    kept = b""
    if process.stdout is not None:
        while block := await process.stdout.read(65536):
            kept = (kept + block)[-_MOST_OUTPUT:]
    return _shown(kept.decode("utf-8", "replace"))


async def _request(call: HookRequest, fields: Mapping[str, str]) -> str:
    import httpx  # noqa: PLC0415 - only who has such a hook pays for it

    headers = {header: os.environ.get(variable, "") for header, variable in call.headers.items()}
    body = {name.removeprefix("CLAWTOP_").lower(): value for name, value in fields.items()}
    try:
        async with httpx.AsyncClient(timeout=None, follow_redirects=False) as client:  # noqa: S113 - the caller times it
            content = None if call.method in ("GET", "HEAD") else body
            answer = await client.request(call.method, call.url, headers=headers, json=content)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        # the words of an error may quote a header, so only its kind is told
        raise HookFailed(f"{_named(call)} failed: {type(error).__name__}") from None
    except ImportError:
        raise HookFailed(f"{_named(call)} failed: the proxy that the environment names needs SOCKS") from None
    if not answer.is_success:
        raise HookFailed(f"{_named(call)} answered {answer.status_code}")
    return f"{answer.status_code}"


def _named(call: HookCall) -> str:
    if isinstance(call, HookCommand):
        return _shown(call.arguments[0] if call.arguments else "an empty command")
    # what follows the path may hold a token
    return f"{call.method} {_shown(without_credentials(re.split('[?#]', call.url)[0]))}"


def _shown(said: str) -> str:
    return printable(" ".join(said.split())[-_SHOWN:])
