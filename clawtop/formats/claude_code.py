"""Claude Code's session logs: lines -> events.

`projects/<slug>/<sessionId>.jsonl`, a subagent's in `<sessionId>/subagents/agent-<id>.jsonl` or, before 2.1, beside
its session as `agent-<id>.jsonl`; the slug is the folder Claude Code was started in with all but letters and digits
as `-`. A line has type, uuid, timestamp, sessionId, cwd; `assistant` message.{id, model, usage, content}, requestId,
and costUSD up to 1.0; `system` a subtype. Facts beyond FORMATS: that a message's lines repeat its id with growing
output_tokens, that /btw repeats messages in sidechains under new request ids and that `agent_progress` lines wrap a
subagent's, stands in ccusage 20's Claude adapter; that a fork's lines carry forkedFrom, that the last failed attempt
is an `isApiErrorMessage` line of the model `<synthetic>`, and the titles, in published format notes on 2.1.131.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from clawtop.formats.attribution import ProjectRule, last_part, project_of
from clawtop.formats.claude_lines import (
    Line,
    Place,
    Sketch,
    blocks_of,
    failure_of,
    home_of,
    identity_of,
    model_of,
    name_of,
    provider_of,
    sketch_of,
    usage_of,
)
from clawtop.formats.lines import json_object
from clawtop.formats.quantities import micro_dollars, moment, text
from clawtop.formats.revisions import Revision, Revisions
from clawtop.model.errors import Unusable
from clawtop.model.events import (
    Aborted,
    Call,
    Compaction,
    Event,
    Resolution,
    Resolved,
    Tokens,
    ToolCall,
    ToolError,
)
from clawtop.model.keys import Key

SYNTHETIC = "<synthetic>"
"""The model of lines that Claude Code wrote itself."""

UNSEEN = frozenset({"unmetered_runs"})
"""What these logs cannot show: some background calls (titles, summaries) leave no line."""

_INTERRUPTED = "[Request interrupted by user"
_HEAD = 2000  # bytes within which a system line says its subtype, and more than a notice of an interruption has
_SESSIONS = 1000
_TOOLS = 2000
_PATIENCE_MS = 120_000  # after the wait that was announced, what an attempt may take that is still under way
_TITLES = {"ai-title": "aiTitle", "custom-title": "customTitle"}
_USAGE, _FAILED, _SUBTYPE, _NOTICE = b'"usage"', b'"is_error":true', b'"subtype":"', _INTERRUPTED.encode()
_TYPED, _TITLE = b'{"type":"', b'-title"'


class _Failed(NamedTuple):
    """An attempt that failed and waits for what follows; after `until` (Unix ms) it passes for lost, and is told so."""

    resolved: Resolved
    until: int
    told: bool = False


class ClaudeLogs:
    """What all logs of one folder share: which messages were counted, and how sessions are called.

    `messages` are those of all folders, as one may be a copy of another.
    """

    def __init__(self, host: str, projects: Sequence[ProjectRule] = (), *, messages: Revisions | None = None) -> None:
        self.host = host
        self.projects = projects
        self.messages = messages or Revisions()
        self.homes: dict[str, str] = {}


class ClaudeLog:
    """One log, its lines in the order they were written.

    `senior` is larger the older the file is: a message that several files have belongs to the oldest.
    """

    def __init__(self, logs: ClaudeLogs, place: Place, senior: int = 0) -> None:
        self._logs = logs
        self._place = place
        self._senior = senior
        self._keys: dict[tuple[str, str | None], Key] = {}
        self._title: str | None = None
        self._titled_by_person = False
        self._models: dict[str | None, tuple[str, str]] = {}
        self._pending: dict[str | None, _Failed] = {}
        self._tools: dict[str, str] = {}
        self._held: list[tuple[Sketch, bytes]] = []
        self._whose: tuple[object, ...] = ()
        self._latest_key = Key("", "")
        self.skipped: Counter[str] = Counter()
        """Lines that could not be used, by reason."""
        self.cwd: str | None = None
        """The folder its Claude Code was started in, None until a line says it."""
        self.last_at = 0
        """Unix milliseconds of its latest line that was looked at."""
        self.failed = False
        """Whether its last turn ended with an error."""

    @property
    def agent(self) -> str:
        """`claude:` and the last part of the folder it works in."""
        home = self.cwd or self._logs.homes.get(self._place.slug)
        return f"claude:{last_part(home) or self._place.slug or '?'}"

    @property
    def session(self) -> str:
        """The id of the session, of the subagent's own one where it is a subagent's."""
        return self._place.subagent or self._place.session

    @property
    def parent(self) -> str | None:
        """The session that started this one, None where nobody did."""
        return self._place.session if self._place.subagent else None

    def key(self) -> Key:
        """Whose the log is."""
        return self._key(self._place.session, self._place.subagent)

    def read(self, lines: Sequence[bytes]) -> list[Event]:
        """The events of lines that came together: a message's lines that are all here give one call."""
        events: list[Event] = []
        for line in lines:
            try:
                events += self._line(line)
            except Unusable as reason:
                self.skipped[str(reason)] += 1
        events += self._release()
        events += self._logs.messages.settle()
        return events

    def settle(self, now: int) -> list[Event]:
        """What the time says of failed attempts that nothing followed."""
        late = {each: failed for each, failed in self._pending.items() if now > failed.until and not failed.told}
        self._pending.update({each: failed._replace(told=True) for each, failed in late.items()})
        return [failed.resolved for failed in late.values()]

    def _line(self, line: bytes) -> Sequence[Event]:
        if line[0] != 0x7B or line[-1] != 0x7D:
            raise Unusable("not JSON")
        if self.cwd is None:
            self._learn_home(line)
        if _USAGE in line:
            sketch = sketch_of(line)
            return self._counting(json_object(line)) if sketch is None else self._hold(sketch, line)
        matters = (
            _FAILED in line
            or line.find(_SUBTYPE, 0, _HEAD) >= 0
            or (len(line) < _HEAD and (_NOTICE in line or (line.startswith(_TYPED) and _TITLE in line[:40])))
            or (self._pending and b'"user"' in line)
        )
        return [*self._release(), *self._counting(json_object(line))] if matters else ()

    # ---- most lines of a message are surpassed by a later one, and need not be read

    def _hold(self, sketch: Sketch, line: bytes) -> Sequence[Event]:
        """Keep the line until it is clear whether a later one of its message says more."""
        if not self._held or self._held[-1][0][:2] == sketch[:2]:
            self._held.append((sketch, line))
            return ()
        events = self._release()
        self._held.append((sketch, line))
        return events

    def _release(self) -> list[Event]:
        """Read the held lines, the last first, and no further than one that counts."""
        held, self._held = self._held, []
        if not held:
            return []
        events: list[Event] = []
        message = held[0][0].message.decode(errors="replace")
        for sketch, line in sorted(held, reverse=True):
            noted = self._logs.messages.noted(message)
            at = moment(sketch.at.decode(errors="replace"))
            if noted is not None and at is not None and noted[:2] > (not sketch.sidechain, at):
                break
            try:
                events += self._counting(json_object(line))
            except Unusable as reason:
                self.skipped[str(reason)] += 1
        return events

    def _learn_home(self, line: bytes) -> None:
        cwd = text(json_object(line).get("cwd"), 4096) if b'"cwd":' in line else None
        if cwd is not None:
            slug, homes = self._place.slug, self._logs.homes
            home = home_of(slug, cwd)
            self.cwd = homes.setdefault(slug, home) if home else homes.get(slug, cwd)
            self._forget_keys()

    def _counting(self, line: Line) -> Sequence[Event]:
        match line.get("type"):
            case "assistant":
                return self._assistant(line)
            case "user":
                return list(self._user(line))
            case "system":
                return self._system(line)
            case "progress":
                return self._progress(line)
            case "ai-title" | "custom-title" as kind:
                self._titled(line, kind)
        return ()

    # ---- answers

    def _assistant(self, line: Line) -> list[Event]:
        message = line.get("message")
        if not isinstance(message, dict):
            raise Unusable("an answer without a message")
        subagent = self._subagent(line)
        model = model_of(message)
        if line.get("isApiErrorMessage") is True:
            return list(self._gave_up(line, message, subagent))
        if model == SYNTHETIC:
            return []
        key, at, provider = self._key_of(line), self._at(line), provider_of(model)
        found = identity_of(line, message)
        self._note(line, message, found, (key, provider, model), at)
        events: list[Event] = []
        if subagent in self._pending:
            events += self._followed(subagent, provider, model)
        if len(self._models) >= _SESSIONS:
            self._models.clear()
        self._models[subagent] = provider, model
        self.failed = False
        for place, block in enumerate(blocks_of(message)):
            if block.get("type") == "tool_use":
                identity = text(block.get("id"), 100) or f"{found}/{place}"
                name = self._tools[identity] = text(block.get("name"), 80) or "?"
                events.append(ToolCall(key, at, identity, provider, model, name))
        if len(self._tools) > _TOOLS:
            self._tools = dict(list(self._tools.items())[_TOOLS // 2 :])
        return events

    def _note(self, line: Line, message: Line, identity: str, whose: tuple[Key, str, str], at: int) -> None:
        """Notes what the message used, as far as this line knows; `whose` is its key, provider and model."""
        usage = message.get("usage")
        used, longer = usage_of(usage) if isinstance(usage, dict) else (Tokens(), 0)
        total = sum(used)
        if total:
            original = line.get("isSidechain") is not True and "forkedFrom" not in line
            cost, stop = micro_dollars(line.get("costUSD")), text(message.get("stop_reason"), 40)
            revision = Revision(original, at, total, self._senior, used, longer, cost, *whose, stop)
            self._logs.messages.note(identity, revision)

    def _progress(self, line: Line) -> Sequence[Event]:
        """A subagent's line, told to the session that started it."""
        data = line.get("data")
        inner = data.get("message") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(inner, dict) or inner.get("type") != "assistant":
            return ()
        about = {"sessionId": line.get("sessionId"), "agentId": data.get("agentId"), "isSidechain": True}
        return self._assistant({**inner, **about})

    # ---- failures

    def _system(self, line: Line) -> Sequence[Event]:
        match line.get("subtype"):
            case "compact_boundary":
                return [Compaction(self._key_of(line), self._at(line), name_of(line))]
            case "api_error":
                return self._retries(line)
        return ()

    def _retries(self, line: Line) -> list[Event]:
        """An attempt that failed and is made again, unless somebody cuts it off."""
        subagent = self._subagent(line)
        provider, model = self._models.get(subagent, ("", ""))
        call = Call(
            self._key_of(line), self._at(line), name_of(line), provider, model, error=failure_of(line.get("error"))
        )
        events: list[Event] = [call]
        if subagent in self._pending:
            events += self._followed(subagent, provider, model)
        wait = line.get("retryInMs")
        until = call.at + (int(wait) if isinstance(wait, int | float) and 0 < wait < 1e9 else 0) + _PATIENCE_MS
        lost = Resolved(call.key, call.at, call.id, provider, model, Resolution.FAILED, tentative=True)
        if len(self._pending) < _SESSIONS:
            self._pending[subagent] = _Failed(lost, until)
        return events

    def _followed(self, subagent: str | None, provider: str, model: str) -> list[Event]:
        """What the next attempt says of the one that failed before it."""
        failed = self._pending.pop(subagent).resolved
        same = not failed.model or (failed.provider, failed.model) == (provider, model)
        how = Resolution.RETRY if same else Resolution.FALLBACK
        to = None if same else f"{provider}/{model}" if provider else model
        return [_resolved(failed, how, to)]

    def _gave_up(self, line: Line, message: Line, subagent: str | None) -> Iterator[Event]:
        """The last attempt of a turn failed, and Claude Code says so in the model's place."""
        provider, model = self._models.get(subagent, ("", ""))
        if subagent in self._pending:
            yield from self._followed(subagent, provider, model)
        said = next((text(block.get("text"), 500) for block in blocks_of(message)), None)
        call = Call(self._key_of(line), self._at(line), name_of(line), provider, model, error=said or "failed")
        yield call
        yield Resolved(call.key, call.at, call.id, provider, model, Resolution.FAILED)
        self.failed = True

    # ---- people and tools

    def _user(self, line: Line) -> Iterator[Event]:
        message = line.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        words, answered = text(content), False
        for block in content if isinstance(content, list) else ():
            if not isinstance(block, dict):
                continue
            words = words or (text(block.get("text")) if block.get("type") == "text" else None)
            if block.get("type") == "tool_result":
                answered = True
                if block.get("is_error") is True:
                    tool = text(block.get("tool_use_id"), 100) or name_of(line)
                    yield ToolError(self._key_of(line), self._at(line), tool, self._tools.get(tool, "?"))
        subagent = self._subagent(line)
        if words is not None and words.startswith(_INTERRUPTED):
            self._pending.pop(subagent, None)
            yield Aborted(self._key_of(line), self._at(line), name_of(line))
        elif subagent in self._pending and words is not None and not answered and line.get("isMeta") is not True:
            yield _resolved(self._pending.pop(subagent).resolved, Resolution.FAILED, None)

    def _titled(self, line: Line, kind: str) -> None:
        title = text(line.get(_TITLES[kind]), 120)
        named = line.get("sessionId", self._place.session) == self._place.session
        if title is not None and named and not (self._titled_by_person and kind == "ai-title"):
            self._title, self._titled_by_person = title, kind == "custom-title"
            self._forget_keys()

    # ---- whose it is

    def _subagent(self, line: Line) -> str | None:
        if line.get("isSidechain") is not True:
            return None
        return text(line.get("agentId"), 100) or self._place.subagent or ""

    def _key_of(self, line: Line) -> Key:
        whose = line.get("sessionId"), line.get("agentId"), line.get("isSidechain"), line.get("forkedFrom")
        if whose != self._whose:  # it is the same on nearly all lines
            origin = line.get("forkedFrom")
            named = origin.get("sessionId") if isinstance(origin, dict) else line.get("sessionId")
            self._latest_key = self._key(text(named, 100) or self._place.session, self._subagent(line) or None)
            self._whose = whose
        return self._latest_key

    def _key(self, session: str, subagent: str | None) -> Key:
        key = self._keys.get((session, subagent))
        if key is None:
            if len(self._keys) > _SESSIONS:
                self._keys.clear()
            key = self._keys[session, subagent] = Key(
                self._logs.host,
                self.agent,
                subagent or session,
                project=project_of(self._logs.projects, self.cwd, session, self.agent),
                parent=session if subagent else None,
                session_key=self._title if session == self._place.session and not subagent else None,
            )
        return key

    def _forget_keys(self) -> None:
        self._keys.clear()
        self._whose = ()

    def _at(self, line: Line) -> int:
        at = moment(line.get("timestamp"))
        if at is None:
            raise Unusable("a line without a time")
        self.last_at = max(self.last_at, at)
        return at


def _resolved(failed: Resolved, how: Resolution, to: str | None) -> Resolved:
    return Resolved(failed.key, failed.at, failed.id, failed.provider, failed.model, how, to)
