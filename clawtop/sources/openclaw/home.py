"""An OpenClaw state directory: its agents, read newest first, then followed."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from clawtop.formats.attribution import Attribution, ProjectRule
from clawtop.formats.openclaw_config import GatewayConfig, read_config
from clawtop.formats.quantities import text
from clawtop.formats.transcript import AgentTranscripts
from clawtop.model.errors import ClawtopError, SourceError
from clawtop.model.events import Event, PriceList, SessionState, State
from clawtop.model.keys import HOST, Key
from clawtop.model.snapshot import Health, SourceStatus
from clawtop.sources import Outlet
from clawtop.sources.openclaw import database as agent_database
from clawtop.sources.openclaw import state as gateway_state
from clawtop.sources.openclaw.database import AgentDatabase
from clawtop.sources.openclaw.files import SessionFiles
from clawtop.sources.openclaw.sqlite import Connections, Database, UnreadableError
from clawtop.sources.openclaw.state import StateDatabase
from clawtop.sources.progress import Progress
from clawtop.sources.watch import Watch

_SWEEP_SECONDS = 1.0
_THOROUGH_EVERY = 20
_LARGEST_CONFIG = 4 * 1024 * 1024


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
    """What there is to read of one agent."""

    name: str
    transcripts: AgentTranscripts
    files: SessionFiles
    database: AgentDatabase
    has_history: bool = False


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
        self._unread: dict[str, str] = {}
        self._connections = Connections()
        self._state = StateDatabase(self._database("state/openclaw.sqlite", gateway_state.KNOWN_SCHEMA), HOST)

    def _database(self, path: str, newest_known: int) -> Database:
        return Database(self._folder / path, newest_known=newest_known, connections=self._connections)

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        """See Source. A part that cannot be read is named in the status while the rest goes on."""
        self._connections.close()
        self._begin()
        self._check_folder()
        outlet.report(self._status())
        self._config = self._read_config()
        await outlet.put([PriceList(HOST, self._config.prices)])
        await self._history(outlet)
        if not follow:
            return
        watch = Watch()
        try:
            await self._follow(outlet, watch)
        finally:
            await watch.close()

    async def _history(self, outlet: Outlet) -> None:
        self._read_cron_names()
        self._discover()
        self._look_at_gateway(outlet.now())
        for batch in self._read_history():
            await outlet.put(batch)
            outlet.report(self._status())
        await outlet.put(self._present(outlet.now()))
        self._progress.health = Health.OK
        if self._progress.notes and not self._progress.entries:
            raise SourceError(self._status().detail)
        outlet.report(self._status())

    async def _follow(self, outlet: Outlet, watch: Watch) -> None:
        clock = asyncio.get_running_loop().time
        swept, sweeps = clock(), 0
        while True:
            await watch.look_at(self._folders())
            changed = await watch.wait(_SWEEP_SECONDS)
            before = self._status()
            if not self._folder.is_dir():
                raise SourceError(f"{self._folder} is gone")
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
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            return GatewayConfig()
        try:
            return read_config(_parse(path.read_bytes()[:_LARGEST_CONFIG]))
        except (OSError, ValueError, ClawtopError, RecursionError) as error:
            self._progress.note("openclaw.json", f"{path} cannot be read ({str(error)[:120]}); prices are not known")
            return GatewayConfig()

    def _discover(self) -> None:
        """Find the agents there are; each has a folder of its own."""
        names: list[str] = []
        try:
            with os.scandir(self._folder / "agents") as found:
                names = sorted(entry.name for entry in found if entry.is_dir())
        except FileNotFoundError:
            pass
        except OSError as error:
            self._progress.note("agents", f"cannot be listed: {error.strerror}")
        for name in names:
            if name not in self._agents:
                self._agents[name] = self._agent(name)

    def _agent(self, name: str) -> _Agent:
        who = Attribution(
            HOST, name, cron_name=self._state.cron_names.get, windows=self._config.windows, projects=self._projects
        )
        transcripts = AgentTranscripts(who)
        folder = self._folder / "agents" / name
        database = self._database(f"agents/{name}/agent/openclaw-agent.sqlite", agent_database.KNOWN_SCHEMA)
        return _Agent(
            name,
            transcripts,
            SessionFiles(folder / "sessions", transcripts, self._progress),
            AgentDatabase(database, transcripts, self._progress),
        )

    def _read_cron_names(self) -> None:
        """The jobs of the JSONL era; the later ones stand in the state database."""
        try:
            jobs = orjson.loads((self._folder / "cron" / "jobs.json").read_bytes()).get("jobs", [])
            named = {text(job.get("id")): text(job.get("name")) for job in jobs if isinstance(job, dict)}
        except (OSError, orjson.JSONDecodeError, AttributeError, TypeError):
            return
        self._state.cron_names.update({job: name for job, name in named.items() if job and name})

    def _read_history(self) -> Iterator[list[Event]]:
        """All that was there at the start, newest first over all agents."""
        waiting: list[tuple[int, str, int | str]] = []
        for agent in self._agents.values():
            waiting += [(at, agent.name, item) for at, item in self._waiting(agent)]
        waiting.sort(key=lambda item: item[0], reverse=True)
        for _, name, item in waiting:
            yield from self._read(self._agents[name], item)

    def _waiting(self, agent: _Agent) -> list[tuple[int, int | str]]:
        """(last change, inode or session id) of what is there to read of an agent."""
        waiting: list[tuple[int, int | str]] = []
        if agent.database.database.path.exists():
            with self._noting(agent.name):
                waiting += self._start_database(agent)
                agent.has_history = True
        with self._noting(f"{agent.name}/sessions"):
            agent.files.look()
            waiting += agent.files.newest_first()
        return waiting

    def _start_database(self, agent: _Agent) -> list[tuple[int, str]]:
        sessions = agent.database.history()
        self._progress.expected += agent.database.database.path.stat().st_size
        self._progress.note(f"{agent.name} ", agent.database.database.newer)
        return sessions

    def _read(self, agent: _Agent, item: int | str) -> Iterator[list[Event]]:
        if not isinstance(item, str):
            with self._noting(f"{agent.name}/sessions"):
                yield from agent.files.read(item)
            return
        try:
            yield from agent.database.read(item)
        except UnreadableError as error:
            # that the next session can be read does not make this one known
            self._lost(f"{agent.name}, history", error)
            agent.has_history = error.damaged

    def _read_fresh(self, changed: set[str], now: int, *, due: bool, thorough: bool) -> Iterator[list[Event]]:
        self._discover()
        self._look_at_gateway(now)
        touched = {str(Path(path).parent) for path in changed}
        for agent in self._agents.values():
            yield from self._fresh_rows(agent)
            if due or str(agent.files.folder) in touched:
                with self._noting(f"{agent.name}/sessions"):
                    agent.files.look()
                    for inode in agent.files.grown(now, thorough=thorough, changed=changed):
                        yield from agent.files.read(inode)

    def _fresh_rows(self, agent: _Agent) -> Iterator[list[Event]]:
        database = agent.database
        if not database.database.path.exists():
            return
        with self._noting(agent.name):
            if not agent.has_history:
                for _, session in self._start_database(agent):
                    yield from database.read(session)
                agent.has_history = True
                self._found(f"{agent.name}, history")
            elif database.database.changed():
                database.facts()
                yield from database.fresh()

    def _look_at_gateway(self, now: int) -> None:
        if not self._state.database.path.exists():
            return
        with self._noting("state"):
            if self._state.database.changed():
                self._state.look()
            self._state.check_owner(now)

    def _present(self, now: int) -> list[Event]:
        """What the agents do now, and what the end of their runs says."""
        events: list[Event] = []
        for agent in self._agents.values():
            claims = {session: tool for (name, session), tool in self._state.claims.items() if name == agent.name}
            running = claims if self._state.alive else {}
            events += agent.database.settle(running)
            events += agent.database.states(claims, alive=self._state.alive, now=now)
            events += agent.files.settle(now)
            if agent.name not in self._introduced:
                self._introduced.add(agent.name)
                events.append(SessionState(Key(HOST, agent.name), 0, State.IDLE))
        if self._state.database.path.exists():
            with self._noting("state"):
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
            self._unread[part] = error.why

    def _found(self, part: str) -> None:
        self._progress.note(part, None)
        self._unread.pop(part, None)

    def _folders(self) -> frozenset[Path]:
        """Folders that change when something happens, as far as they exist."""
        folders = [self._folder / "agents", self._folder / "state"]
        for agent in self._agents.values():
            folders += [agent.files.folder, agent.database.database.path.parent]
        return frozenset(folder for folder in folders if folder.is_dir())

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
        missing = Counter(f"database {why}" for why in self._unread.values())
        told = f"{len(self._unread)} of the databases of {agents} cannot be read"
        return replace(status, detail=f"{told}; {status.detail}", skipped={**status.skipped, **missing})


def _parse(raw: bytes) -> object:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        import json5  # noqa: PLC0415 - 50 ms, and most configs are plain JSON

        return json5.loads(raw.decode())
