"""Cutting off what runs: again and again until a look at the gateway finds nothing of these agents active."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from clawtop.control.elapsed import milliseconds_since
from clawtop.control.gateway_calls import Operator
from clawtop.control.gateway_facts import Activity, Session, Task, family
from clawtop.formats.session_keys import read_session_key
from clawtop.gateway.errors import ConnectionLost, GatewayError, Refused, TimedOut
from clawtop.model.commands import Step

_LOOK_SECONDS = 0.04
_CALM_SECONDS = 0.25
_BACKGROUND_SECONDS = 0.5
_UNDISTURBED_SECONDS = 0.1
_MOST_BLIND_LOOKS = 20
_SETTLING_SECONDS = 0.15
_MOST_REMEMBERED = 1000
_log = logging.getLogger(__name__)
_OF_A_SESSION = frozenset({"cli", ""})
_REASON = "stopped by clawtop"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can be cut off: a session's run, a task, or a run in no session."""

    kind: str
    id: str
    label: str


@dataclass(slots=True)
class Progress:
    """How far one agent's runs are stopped. `settled` is when nothing was active for the first time, in ms.

    `known` are the keys of its sessions and of what they have spawned, as far as those are listed now or no name says
    whose they are; `steps` is empty where somebody is told of each thing that is cut off.
    """

    known: frozenset[str]
    steps: dict[Item, Step] = field(default_factory=dict)
    active: frozenset[Item] = frozenset()
    settled: int | None = None

    @property
    def stopped(self) -> int:
        """How many things were really cut off."""
        return sum(step.done for step in self.steps.values())


class Stopping:
    """Stops the runs of some agents of one gateway. `commands` also ends their background shell commands.

    `cut` is called for each thing that was really cut off; nothing begins to be in an agent that is not `held`.
    """

    def __init__(
        self,
        operator: Operator,
        agents: Sequence[str],
        sessions: Iterable[Session],
        *,
        commands: bool = False,
        cut: Callable[[str, Item], None] | None = None,
        held: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._operator = operator
        self._commands = commands
        self._cut_off = cut
        self._held = held
        self.since = time.monotonic()
        """When it was asked for, monotonic: what it takes is counted from there."""
        self._flying: dict[Item, asyncio.Task[None]] = {}
        self._looked = asyncio.Event()
        self._hurry = asyncio.Event()
        self._blind = 0
        self._background: Mapping[str, str] = {}
        self._answered: dict[Item, float] = {}
        self._again: set[Item] = set()
        listed = list(sessions)
        self.progress = {agent: Progress(family(agent, listed)) for agent in agents}

    def strike(self, activity: Activity) -> None:
        """Cut off everything of these agents that this look shows active, and is not being cut off already."""
        self._background = activity.background
        now = time.monotonic()
        # what was cut off may be shown as active for a moment
        self._answered = {item: at for item, at in self._answered.items() if now - at <= _SETTLING_SECONDS}
        for agent, progress in self.progress.items():
            known = family(agent, activity.sessions, progress.known)
            progress.active = frozenset(items_of(agent, activity, known, commands=self._commands))
            progress.known = _remembered(agent, known, activity.sessions)
            if not progress.active and progress.settled is None:
                progress.settled = self._now()
            for item in progress.active:
                if item not in self._answered:
                    self._begin(agent, item)

    def strike_session(self, key: str, agent: str | None) -> None:
        """Cut off what begins in this session, if it is one of these agents' or of what they have spawned."""
        for name, progress in self.progress.items():
            if name == agent or key in progress.known:
                item = Item("session", key, f"run in {key}")
                if item in self._flying:
                    self._again.add(item)
                self._begin(name, item)

    async def first_answers(self, seconds: float) -> None:
        """Return when everything that is being cut off was answered, or after `seconds`."""
        if self._flying:
            await asyncio.wait(list(self._flying.values()), timeout=seconds)

    async def run(self, every: float = _LOOK_SECONDS) -> None:
        """Look and strike until cancelled, or until the gateway cannot be asked any more (GatewayError)."""
        # looking takes the gateway's time away from what it was told to cut off
        await self.first_answers(_UNDISTURBED_SECONDS)
        behind = asyncio.create_task(self._look_behind(max(every, _BACKGROUND_SECONDS)))
        try:
            while True:
                await self._look()
                self._hurry.clear()
                calm = all(progress.settled is not None for progress in self.progress.values())
                pause = max(every, _CALM_SECONDS) if calm else every
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), pause)
        finally:
            tasks = [behind, *self._flying.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def quiet(self, until: float) -> bool:
        """Whether a look of `run` from now on finds nothing active, before the monotonic time `until`."""
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + until - time.monotonic()):
                while True:
                    self._background = await self._operator.background()
                    self._looked.clear()
                    self._hurry.set()
                    await self._looked.wait()
                    if not any(progress.active for progress in self.progress.values()):
                        return True
        except TimeoutError:
            return False

    async def _look(self) -> None:
        try:
            sessions, tasks = await asyncio.gather(self._operator.active_sessions(), self._operator.tasks())
        except (Refused, TimedOut) as error:
            # a gateway that is busy with itself says so now and then; the next look may fare better
            self._blind += 1
            if self._blind > _MOST_BLIND_LOOKS:
                raise
            _log.info("a look at the gateway failed: %s", error)
            return
        self._blind = 0
        self.strike(Activity(sessions, tasks, self._background))
        self._looked.set()

    async def _look_behind(self, every: float) -> None:
        """Look for runs in no session, which a gateway takes longer to tell."""
        while True:
            try:
                self._background = await self._operator.background()
            except (Refused, TimedOut) as error:
                _log.info("a look at the gateway's audit log failed: %s", error)
            except ConnectionLost:
                # the other look says so
                return
            await asyncio.sleep(every)

    def _begin(self, agent: str, item: Item) -> None:
        if item not in self._flying and self._held(agent):
            self._flying[item] = asyncio.create_task(self._cut(agent, item))

    async def _cut(self, agent: str, item: Item) -> None:
        progress, began = self.progress[agent], time.monotonic()
        try:
            ran, detail = await self._calls(item), ""
        except GatewayError as error:
            ran, detail = False, str(error)
        if self._cut_off is None:
            if ran or item not in progress.steps:
                progress.steps[item] = Step(item.label, ran, detail, milliseconds_since(began))
        elif ran:
            self._cut_off(agent, item)
        self._answered[item] = time.monotonic()
        del self._flying[item]
        if item in self._again:
            # it began again while the last one was cut off
            self._again.discard(item)
            self._begin(agent, item)

    def _calls(self, item: Item) -> Awaitable[bool]:
        match item.kind:
            case "session":
                return self._operator.abort_session(item.id)
            case "run":
                return self._operator.abort_run(item.id)
            case _:
                return self._operator.cancel_task(item.id, _REASON)

    def _now(self) -> int:
        return milliseconds_since(self.since)


def items_of(agent: str, activity: Activity, known: frozenset[str], *, commands: bool = False) -> Iterable[Item]:
    """What is active of an agent, its session keys being `known`."""
    for session in activity.sessions:
        if session.active and session.key in known:
            yield Item("session", session.key, f"run in {session.key}")
    for task in activity.tasks:
        if _belongs(task, agent, known) and (commands if task.command else task.runtime not in _OF_A_SESSION):
            yield Item(
                "task", task.id, f"{'command' if task.command else task.runtime} {task.title or task.id}".strip()
            )
    for run in _own(activity.background, agent):
        yield Item("run", run, f"background run {run}")


def _remembered(agent: str, known: frozenset[str], sessions: Iterable[Session]) -> frozenset[str]:
    """Of the keys that are known those that are listed, and as many as may be of which no name says whose they are."""
    listed = {session.key for session in sessions}
    spawned = {key for key in known - listed if read_session_key(key).agent != agent}
    return (known & listed) | (spawned if len(spawned) <= _MOST_REMEMBERED else frozenset())


def _belongs(task: Task, agent: str, known: frozenset[str]) -> bool:
    return task.agent == agent or task.session in known


def _own(background: Mapping[str, str], agent: str) -> Iterable[str]:
    return (run for run, owner in background.items() if owner == agent)
