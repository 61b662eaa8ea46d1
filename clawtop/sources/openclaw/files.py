"""One agent's session files: `agents/<id>/sessions`.

OpenClaw 2026.2 to 2026.7 keeps its sessions there; 2026.9 archives deleted ones there, packed:
`<id>.jsonl.deleted.<time>.<hash>.zst`.
"""

import os
import re
import stat
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from clawtop.formats.attribution import SessionFacts
from clawtop.formats.lines import LineSplitter, json_value
from clawtop.formats.quantities import moment, text, tokens
from clawtop.formats.trajectory import Trajectory
from clawtop.formats.transcript import AgentTranscripts, Transcript
from clawtop.model.errors import ClawtopError, SourceError, Unusable
from clawtop.model.events import Event, SessionState, State
from clawtop.paths import spelled
from clawtop.sources.processes import is_alive, runs
from clawtop.sources.progress import Progress
from clawtop.sources.tail import Tail

_NAME = re.compile(r"(?P<session>[^/]+?)(?P<kind>\.trajectory)?\.jsonl(?P<archived>\.[^/]*)?")
_LARGEST_INDEX = 256 * 1024 * 1024
_COLD_MS = 3_600_000
_CHUNK = 1 << 20
_LOCK_GRACE_MS = 1500
_LARGEST_LOCK = 4096
_GATEWAY = ("openclaw", "clawdbot", "moltbot", "node", "bun")
"""How the programs are called that a gateway runs as, by whichever name OpenClaw went."""
_FAILED = ("failed", "timeout")


@dataclass(slots=True)
class _File:
    """A session's or a trajectory's file, followed by inode through its renames."""

    tail: Tail
    session: str
    inode: int
    transcript: Transcript | None
    changed: int = 0
    started: bool = False
    told: State | None = None


@dataclass(slots=True)
class SessionFiles:
    """Reads what is in the folder, then what is appended to it."""

    folder: Path
    agent: AgentTranscripts
    progress: Progress
    _files: dict[int, _File] = field(default_factory=dict)
    _locks: dict[str, Path] = field(default_factory=dict)
    _running: dict[str, tuple[State, int]] = field(default_factory=dict)
    _statuses: dict[str, str] = field(default_factory=dict)
    _index: tuple[int, int, int] = (0, 0, 0)
    _trajectory: Trajectory = field(init=False)

    def __post_init__(self) -> None:
        self._trajectory = Trajectory(self.agent)

    def look(self) -> None:
        """See which files there are now: new ones, renamed ones, locks."""
        try:
            found = list(os.scandir(self.folder))
        except (FileNotFoundError, NotADirectoryError):
            found = []
        except OSError as error:
            raise SourceError(f"cannot list {self.folder}: {error.strerror}") from error
        self._locks = {}
        for entry in found:
            if entry.name.endswith(".jsonl.lock"):
                self._locks[spelled(entry.name.removesuffix(".jsonl.lock"))] = Path(entry.path)
            elif entry.name != "sessions.json":
                self._notice(entry)
        self._read_index()

    def newest_first(self) -> list[tuple[int, int]]:
        """(last change in Unix ms, inode) of what has never been read, and its bytes go to what is expected."""
        waiting = []
        for inode, file in self._files.items():
            if not file.started:
                seen = _stat(file.tail.path)
                if seen is not None:
                    file.changed = seen.st_mtime_ns // 1_000_000
                    self.progress.expected += seen.st_size
                waiting.append((file.changed, inode))
        return waiting

    def read(self, inode: int) -> Iterator[list[Event]]:
        """Events of one file from where it was left, a chunk at a time."""
        file = self._files.get(inode)
        if file is not None and file.tail.path.suffix == ".zst":
            yield from self._unpack(file)
            return
        while file is not None:
            file.started = True
            try:
                chunk = file.tail.read()
            except SourceError as error:
                self.progress.note(file.tail.path.name, str(error))
                return
            self.progress.note(file.tail.path.name, None)
            if chunk.gone:
                self._files.pop(inode, None)
                return
            if chunk.restarted:
                self._restart(file)
            self.progress.read += chunk.size
            if chunk.lines:
                yield list(self._events(file, chunk.lines))
            if not chunk.more:
                return

    def _unpack(self, file: _File) -> Iterator[list[Event]]:
        """Events of an archive, which is written once and never appended to."""
        file.started = True
        splitter = LineSplitter()
        try:
            with file.tail.path.open("rb") as packed:
                file.tail.offset = os.fstat(packed.fileno()).st_size
                unpacked = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
                while chunk := unpacked.read(_CHUNK):
                    yield list(self._events(file, splitter.feed(chunk)))
        except zstandard.ZstdError:
            self.progress.skip("a bad zstd frame")
        except OSError as error:
            self.progress.note(file.tail.path.name, f"cannot be read: {error.strerror}")
        self.progress.read += file.tail.offset

    def grown(self, now: int, *, thorough: bool, changed: Collection[str] = ()) -> list[int]:
        """Inodes of files that have something new.

        Those long idle are looked at only when `thorough`, or where their path is among those that `changed`.
        """
        fresh = []
        for inode, file in self._files.items():
            cold = file.started and now - file.changed > _COLD_MS
            if cold and not thorough and str(file.tail.path) not in changed:
                continue
            seen = _stat(file.tail.path)
            if seen is None:
                continue
            written = seen.st_mtime_ns // 1_000_000
            if written != file.changed or seen.st_size != file.tail.offset or not file.started:
                file.changed = written
                fresh.append(inode)
        return fresh

    def settle(self, now: int) -> list[Event]:
        """Run states as the locks tell them, and what the end of a run says of its last failed attempt."""
        events, ended = self._look_at_locks(now)
        told_at = dict.fromkeys(ended, now + 1)
        streams: defaultdict[str, list[Transcript]] = defaultdict(list)
        for file in self._files.values():
            if file.transcript is not None:
                streams[file.session].append(file.transcript)
        for file in self._files.values():
            transcript = file.transcript
            state = self._running.get(file.session, (None, 0))[0]
            if transcript is None or not file.started or state is State.RUNNING:
                file.told = None
                continue
            if transcript.unsettled:
                later = _next(transcript, streams[file.session])
                events += (later and transcript.goes_on_in(later)) or transcript.settle()
            if state is None:
                events += self._states(file, transcript, told_at.get(file.session, file.changed))
            else:
                file.told = None
        return events

    def _look_at_locks(self, now: int) -> tuple[list[Event], list[str]]:
        """What the locks say of run states, and the sessions that no longer have one."""
        events: list[Event] = []
        for session, lock in self._locks.items():
            state = _state(lock)
            if state is None:
                continue
            if self._running.get(session, (None, 0))[0] is not state:
                events.append(SessionState(self.agent.who.key(session), now, state))
            self._running[session] = state, now
        # 2026.6 lets go of a lock and takes it again many times in one run.
        ended = [session for session, (_, seen) in self._running.items() if now - seen >= _LOCK_GRACE_MS]
        for session in ended:
            del self._running[session]
            events.append(SessionState(self.agent.who.key(session), now, State.IDLE))
        return events, ended

    def _states(self, file: _File, transcript: Transcript, at: int) -> Iterable[Event]:
        if ".jsonl." in file.tail.path.name:
            return
        failed = transcript.failed or self._statuses.get(file.session) in _FAILED
        state = State.ERROR if failed else State.IDLE
        if state is not file.told:
            file.told = state
            yield SessionState(self.agent.who.key(file.session), at, state)

    def _notice(self, entry: os.DirEntry[str]) -> None:
        named = _NAME.fullmatch(entry.name)
        if named is None:
            return
        try:
            trouble = None if entry.is_file() else "is no file and is not read"
        except OSError as error:
            trouble = f"cannot be read: {error.strerror}"
        if trouble is not None:
            self.progress.note(entry.name, trouble)
            return
        inode, session, path = entry.inode(), spelled(named["session"]), Path(entry.path)
        known = self._files.get(inode)
        if known is not None and known.session == session:
            known.tail.path = path
            return
        transcript = None if named["kind"] else Transcript(self.agent, session)
        self._files[inode] = _File(Tail(path, by_inode=True), session, inode, transcript)

    def _restart(self, file: _File) -> None:
        if file.transcript is not None:
            file.transcript = Transcript(self.agent, file.session)

    def _events(self, file: _File, lines: list[bytes]) -> Iterable[Event]:
        for line in lines:
            self.progress.entries += 1
            try:
                if file.transcript is not None:
                    yield from file.transcript.read(line)
                else:
                    yield from self._trajectory.read(line, file.session)
            except Unusable as reason:
                self.progress.skip(str(reason))
        if file.tail.too_long:
            self.progress.skip("a line over 16 MiB", file.tail.too_long)
            file.tail.too_long = 0

    def _read_index(self) -> None:
        """sessions.json says which key a session goes by, and is rewritten by rename all the time."""
        path = self.folder / "sessions.json"
        seen = _stat(path)
        if seen is None or self._index == (seen.st_ino, seen.st_mtime_ns, seen.st_size):
            return
        self._index = (seen.st_ino, seen.st_mtime_ns, seen.st_size)
        try:
            index = json_value(path.read_bytes() if seen.st_size <= _LARGEST_INDEX else b"")
        except (OSError, Unusable) as error:
            self.progress.note(f"{self.agent.who.agent}/sessions.json", f"cannot be read ({error})"[:200])
            return
        self.progress.note(f"{self.agent.who.agent}/sessions.json", None)
        if not isinstance(index, dict):
            return
        for key, session in index.items():
            if isinstance(session, dict) and (identity := text(session.get("sessionId"))):
                self.agent.who.learn(identity, _facts(key, session))
                self._statuses[identity] = str(session.get("status"))


def _next(transcript: Transcript, of_session: Iterable[Transcript]) -> Transcript | None:
    """The file in which a session that was reset goes on: the one that began next."""
    later = (other for other in of_session if other.began > transcript.began)
    return min(later, default=None, key=lambda other: other.began)


def _facts(key: str, session: dict[str, Any]) -> SessionFacts:
    try:
        window = tokens(session.get("contextTokens")) or None
    except ClawtopError:
        window = None
    return SessionFacts(
        # A cron job's session is listed under its job and under its run: the job's key says more.
        session_key=text(key.split(":run:", maxsplit=1)[0]),
        label=text(session.get("label")),
        parent=text(session.get("spawnedBy")) or text(session.get("parentSessionKey")),
        window=window,
    )


def _stat(path: Path) -> os.stat_result | None:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen if stat.S_ISREG(seen.st_mode) else None


def _state(lock: Path) -> State | None:
    """What a lock says its session does, None for nothing: it stays behind when the gateway is killed."""
    if _stat(lock) is None:
        return None
    try:
        owner = json_value(lock.read_bytes()[:_LARGEST_LOCK])
    except (OSError, Unusable):
        return None
    if not isinstance(owner, dict):
        return None
    pid, started = owner.get("pid"), owner.get("starttime")
    if not isinstance(pid, int) or not is_alive(pid, start_ticks=started, not_after=moment(owner.get("createdAt"))):
        return None
    # the pid may be one of a container, and another program's here
    return State.RUNNING if isinstance(started, int) or runs(pid, _GATEWAY) else State.UNKNOWN
