"""An OpenClaw state directory: its agents, read newest first, then followed."""

import asyncio
import contextlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clawtop.formats.attribution import Attribution, ProjectRule
from clawtop.formats.lines import json_value
from clawtop.formats.openclaw_config import GatewayConfig, read_config
from clawtop.formats.quantities import text
from clawtop.formats.transcript import AgentTranscripts
from clawtop.model.errors import ClawtopError, SourceError, Unusable
from clawtop.model.events import Event, PriceList, SessionState, State
from clawtop.model.keys import HOST, Key
from clawtop.model.snapshot import Health, SourceStatus
from clawtop.paths import is_folder, spelled
from clawtop.sources import Outlet
from clawtop.sources.openclaw import database as agent_database
from clawtop.sources.openclaw import state as gateway_state
from clawtop.sources.openclaw.database import AgentDatabase
from clawtop.sources.openclaw.files import SessionFiles
from clawtop.sources.openclaw.sqlite import Connections, Database, UnreadableError
from clawtop.sources.openclaw.state import StateDatabase
from clawtop.sources.progress import Progress
from clawtop.sources.watch import Watch

_GATEWAY = "state/openclaw.sqlite"
_SWEEP_SECONDS = 1.0
_THOROUGH_EVERY = 20
_LARGEST_CONFIG = 4 * 1024 * 1024
_LARGEST_JOBS = 64 * 1024 * 1024
_GRACE_MS = 2_000
_PATIENCE_SECONDS = 20.0
_AGAIN_SECONDS = 0.5


def find_homes(environment: Mapping[str, str], home: Path) -> list[tuple[Path, Path | None]]:
    """(state directory, config file) of the OpenClaw that this environment would run; the directory may be missing.

    `OPENCLAW_STATE_DIR`, else `OPENCLAW_HOME/.openclaw`, else `~/.openclaw`.
    """
    named = environment.get("OPENCLAW_STATE_DIR")
    base = environment.get("OPENCLAW_HOME")
    folder = Path(named).expanduser() if named else (Path(base).expanduser() if base else home) / ".openclaw"
    config = environment.get("OPENCLAW_CONFIG_PATH")
    return [(folder, Path(config).expanduser() if config else None)]


@dataclass(slots=True)
class _Agent:
    """What there is to read of one agent.

    `unread` are the sessions whose history could not be read so far, `locked` that its database was met locked.
    """

    name: str
    transcripts: AgentTranscripts
    files: SessionFiles
    database: AgentDatabase
    has_history: bool = False
    unread: list[str] = field(default_factory=list)
    locked: bool = False


class OpenClawSource:
    """Both generations of a home, also side by side."""

    def __init__(
        self, uri: str, folder: Path, config: Path | None = None, *, projects: Sequence[ProjectRule] = ()
    ) -> None:
        self._uri = uri
        self._projects = projects
        # a watch tells of absolute paths, without any ..
        self._folder = Path(os.path.abspath(folder))  # noqa: PTH100
        self._config_path = config
        self._begin()

    @property
    def uri(self) -> str:
        """`openclaw:DIR`."""
        return self._uri

    @property
    def folder(self) -> Path:
        """The state directory."""
        return self._folder

    @property
    def config(self) -> Path | None:
        """The config file where it was named; else it lies in the state directory or beside it."""
        return self._config_path

    def _begin(self) -> None:
        self._progress = Progress(self._uri)
        self._agents: dict[str, _Agent] = {}
        self._config = GatewayConfig()
        self._introduced: set[str] = set()
        self._priced: set[str] = set()
        self._unread: dict[str, UnreadableError] = {}
        self._jobs = (0, 0, 0)
        self._grace = 0
        self._connections = Connections()
        self._state = StateDatabase(self._database(self._folder / _GATEWAY, gateway_state.KNOWN_SCHEMA), HOST)

    def _database(self, path: Path, newest_known: int) -> Database:
        return Database(path, newest_known=newest_known, connections=self._connections)

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        """See Source. A part that cannot be read is named in the status while the rest goes on."""
        self._connections.close()
        self._begin()
        self._check_folder()
        outlet.report(self._status())
        self._config = self._read_config()
        self._grace = _GRACE_MS if follow else 0
        await self._history(outlet, follow=follow)
        if not follow:
            return
        watch = Watch()
        try:
            await self._follow(outlet, watch)
        finally:
            await watch.close()

    async def _history(self, outlet: Outlet, *, follow: bool) -> None:
        self._read_cron_names()
        self._discover()
        await outlet.put(self._prices())
        self._look_at_gateway(outlet.now())
        for batch in self._read_history(outlet.now()):
            await outlet.put(batch)
            outlet.report(self._status())
        if not follow:
            await self._insist(outlet)
        await outlet.put(self._present(outlet.now()))
        self._progress.health = Health.OK
        if self._progress.notes and not self._progress.entries:
            raise SourceError(self._status().detail)
        outlet.report(self._status())

    async def _insist(self, outlet: Outlet) -> None:
        """Try again what another process has locked: where nothing is followed there is no later."""
        clock = asyncio.get_running_loop().time
        until = clock() + _PATIENCE_SECONDS
        while any(error.locked for error in self._unread.values()) and clock() < until:
            outlet.report(self._status())
            await asyncio.sleep(_AGAIN_SECONDS)
            self._look_at_gateway(outlet.now())
            for agent in self._agents.values():
                for batch in self._fresh_rows(agent, outlet.now()):
                    await outlet.put(batch)

    async def _follow(self, outlet: Outlet, watch: Watch) -> None:
        clock = asyncio.get_running_loop().time
        swept, sweeps = clock(), 0
        while True:
            await watch.look_at(self._folders())
            changed = await watch.wait(_SWEEP_SECONDS)
            before = self._status()
            if not is_folder(self._folder):
                raise SourceError(f"{self._folder} is gone, or may not be looked into any more")
            due = not changed or clock() - swept >= _SWEEP_SECONDS
            thorough = due and sweeps % _THOROUGH_EVERY == 0
            if due:
                swept, sweeps = clock(), sweeps + 1
            for batch in self._read_fresh(changed, outlet.now(), due=due, thorough=thorough):
                if batch:
                    await outlet.put(batch)
            events = self._present(outlet.now())
            if events:
                await outlet.put(events)
            if self._status() != before:
                outlet.report(self._status())
            await asyncio.sleep(0)

    def _check_folder(self) -> None:
        try:
            os.scandir(self._folder).close()
        except FileNotFoundError:
            raise SourceError(
                f"{self._folder} does not exist; name OpenClaw's state directory with -s openclaw:DIR"
            ) from None
        except OSError as error:
            raise SourceError(f"{self._folder} cannot be read: {error.strerror}") from error

    def _read_config(self) -> GatewayConfig:
        beside = (self._folder / "openclaw.json", self._folder.parent / "openclaw.json")
        candidates = (self._config_path,) if self._config_path else beside
        path = next((path for path in candidates if os.path.isfile(path)), None)  # noqa: PTH113 - Path.is_file raises
        if path is None:
            return GatewayConfig()
        try:
            return read_config(_parse(path.read_bytes()[:_LARGEST_CONFIG]))
        except (OSError, ValueError, ClawtopError, RecursionError) as error:
            self._progress.note("openclaw.json", f"{path} cannot be read ({str(error)[:120]}); prices are not known")
            return GatewayConfig()

    def _discover(self) -> None:
        """Find the agents there are; each has a folder of its own."""
        entries: list[os.DirEntry[str]] = []
        try:
            with os.scandir(self._folder / "agents") as found:
                entries = sorted(found, key=lambda entry: entry.name)
            self._progress.note("agents/", None)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._progress.note("agents/", f"cannot be listed: {error.strerror}")
        for entry in entries:
            name = spelled(entry.name)
            if name not in self._agents and self._is_folder(entry):
                self._agents[name] = self._agent(name, Path(entry.path))

    def _prices(self) -> list[Event]:
        """What the config says of agents that were found since the last time: other homes' agents have other prices."""
        found = self._agents.keys() - self._priced
        self._priced |= found
        return [PriceList(HOST, self._config.prices, frozenset(found))] if found else []

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        part = f"agents/{spelled(entry.name)}"
        try:
            found = entry.is_dir()
        except OSError as error:
            self._progress.note(part, f"cannot be read: {error.strerror}")
            return False
        self._progress.note(part, None)
        return found

    def _agent(self, name: str, folder: Path) -> _Agent:
        who = Attribution(
            HOST, name, cron_name=self._state.cron_names.get, windows=self._config.windows, projects=self._projects
        )
        transcripts = AgentTranscripts(who)
        database = self._database(folder / "agent" / "openclaw-agent.sqlite", agent_database.KNOWN_SCHEMA)
        return _Agent(
            name,
            transcripts,
            SessionFiles(folder / "sessions", transcripts, self._progress),
            AgentDatabase(database, transcripts, self._progress, lambda part: self._noting(f"{name}, {part}")),
        )

    def _read_cron_names(self) -> None:
        """The jobs of the JSONL era; the later ones stand in the state database."""
        path = self._folder / "cron" / "jobs.json"
        try:
            seen = path.stat()
            look = (seen.st_ino, seen.st_mtime_ns, seen.st_size)
            if look == self._jobs or not stat.S_ISREG(seen.st_mode) or seen.st_size > _LARGEST_JOBS:
                return
            jobs = json_value(path.read_bytes()).get("jobs", [])
            named = {text(job.get("id")): text(job.get("name")) for job in jobs if isinstance(job, dict)}
        except (OSError, Unusable, AttributeError, TypeError):
            return
        self._jobs = look
        self._state.cron_names.update({job: name for job, name in named.items() if job and name})

    def _read_history(self, now: int) -> Iterator[list[Event]]:
        """All that was there at the start, newest first over all agents."""
        waiting: list[tuple[int, str, int | str]] = []
        for agent in self._agents.values():
            waiting += [(at, agent.name, item) for at, item in self._waiting(agent, now)]
        waiting.sort(key=lambda item: item[0], reverse=True)
        for _, name, item in waiting:
            yield from self._read(self._agents[name], item)

    def _waiting(self, agent: _Agent, now: int) -> list[tuple[int, int | str]]:
        """(last change, inode or session id) of what is there to read of an agent."""
        waiting: list[tuple[int, int | str]] = []
        with self._noting(agent.name):
            if agent.database.database.exists():
                waiting += self._start_database(agent, now)
        with self._noting(f"{agent.name}/sessions"):
            agent.files.look()
            waiting += agent.files.newest_first()
        return waiting

    def _start_database(self, agent: _Agent, now: int) -> list[tuple[int, str]]:
        try:
            sessions = agent.database.history(now)
        finally:
            self._progress.note(f"{agent.name}, version", agent.database.database.newer)
        self._progress.expected += agent.database.database.path.stat().st_size
        agent.has_history = True
        return sessions

    def _read(self, agent: _Agent, item: int | str) -> Iterator[list[Event]]:
        if not isinstance(item, str):
            with self._noting(f"{agent.name}/sessions"):
                yield from agent.files.read(item)
        elif agent.locked:
            agent.unread.append(item)  # each try takes time in which nothing else is read
        else:
            yield from self._read_session(agent, item)

    def _read_session(self, agent: _Agent, session: str) -> Iterator[list[Event]]:
        # that the next session can be read does not make this one known
        part = f"{agent.name}, session {session}"
        try:
            yield from agent.database.read(session)
        except UnreadableError as error:
            self._lost(part, error)
            agent.locked = error.locked
            if not error.damaged:
                agent.unread.append(session)
        else:
            self._found(part)

    def _read_fresh(self, changed: set[str], now: int, *, due: bool, thorough: bool) -> Iterator[list[Event]]:
        self._read_cron_names()
        self._discover()
        yield self._prices()
        self._look_at_gateway(now)
        touched = {str(Path(path).parent) for path in changed}
        for agent in self._agents.values():
            yield from self._fresh_rows(agent, now)
            if due or str(agent.files.folder) in touched:
                with self._noting(f"{agent.name}/sessions"):
                    agent.files.look()
                    for inode in agent.files.grown(now, thorough=thorough, changed=changed):
                        yield from agent.files.read(inode)

    def _fresh_rows(self, agent: _Agent, now: int) -> Iterator[list[Event]]:
        database = agent.database.database
        with self._noting(agent.name):
            if not database.exists():
                return
            waiting, agent.unread, agent.locked = agent.unread, [], False
            if not agent.has_history:
                waiting += [session for _, session in self._start_database(agent, now)]
            while waiting and not agent.unread:
                yield from self._read_session(agent, waiting.pop(0))
            agent.unread = [*waiting, *agent.unread]
            if database.changed():
                self._progress.note(f"{agent.name}, version", database.newer)
                yield from agent.database.fresh(now)

    def _look_at_gateway(self, now: int) -> None:
        with self._noting(_GATEWAY):
            if not self._state.database.exists():
                return
            if self._state.database.changed():
                self._progress.note(f"{_GATEWAY}, version", self._state.database.newer)
                self._state.look()
            self._state.check_owner(now)

    def _present(self, now: int) -> list[Event]:
        """What the agents do now, and what the end of their runs says."""
        events: list[Event] = []
        for agent in self._agents.values():
            claims = {session: tool for (name, session), tool in self._state.claims.items() if name == agent.name}
            running = claims if self._state.alive is not False else {}
            events += agent.database.settle(running, now, grace=self._grace)
            events += agent.database.states(claims, alive=self._state.alive, now=now)
            events += agent.files.settle(now)
            if agent.name not in self._introduced:
                self._introduced.add(agent.name)
                events.append(SessionState(Key(HOST, agent.name), 0, State.IDLE))
        with self._noting(f"{_GATEWAY}, audit log"):
            if _GATEWAY not in self._unread and self._state.database.exists():
                events += self._state.fresh({agent.name: agent.transcripts.who.key for agent in self._agents.values()})
        return events

    @contextlib.contextmanager
    def _noting(self, part: str) -> Iterator[None]:
        """Whatever is wrong with one part is said in the status, and the other parts go on."""
        try:
            yield
        except (SourceError, OSError) as error:
            self._lost(part, error)
        else:
            self._found(part)

    def _lost(self, part: str, error: Exception) -> None:
        self._progress.note(part, str(error))
        if isinstance(error, UnreadableError):
            self._unread[part] = error
        else:
            self._unread.pop(part, None)

    def _found(self, part: str) -> None:
        self._progress.note(part, None)
        self._unread.pop(part, None)

    def _folders(self) -> frozenset[Path]:
        """Folders that change when something happens, as far as they exist."""
        folders = [self._folder / "agents", self._folder / "state"]
        for agent in self._agents.values():
            folders += [agent.files.folder, agent.database.database.path.parent]
        return frozenset(folder for folder in folders if _can_be_watched(folder))

    def _status(self) -> SourceStatus:
        count = len(self._agents)
        if not count:
            return self._progress.status(f"no agents yet in {self._folder}")
        gateway = {True: "gateway running", False: "gateway not running", None: ""}[self._state.alive]
        agents = f"{count} agents" if count > 1 else "1 agent"
        status = self._progress.status(", ".join(filter(None, (agents, gateway))))
        if not self._unread:
            return status
        # what a whole database holds is missing from every figure
        lost = {error.path: error.why for error in self._unread.values()}
        missing = Counter(f"database {why}" for why in lost.values())
        of_agents = len(lost.keys() - {self._state.database.path})
        told = f"{of_agents} of the databases of {agents} cannot be read; " if of_agents else ""
        return replace(status, detail=f"{told}{status.detail}", skipped={**status.skipped, **missing})


def _can_be_watched(folder: Path) -> bool:
    """Whether it is a folder whose name is text: a watch can be told of no other."""
    return is_folder(folder) and spelled(str(folder)) == str(folder)


def _parse(raw: bytes) -> object:
    try:
        return json_value(raw)
    except Unusable:
        import json5  # noqa: PLC0415 - 50 ms, and most configs are plain JSON

        return json5.loads(raw.decode())
