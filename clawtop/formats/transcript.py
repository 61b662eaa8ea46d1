"""Transcripts of OpenClaw sessions -> events: calls, errors and what followed them, tools, compactions, aborts."""

from collections.abc import Iterable
from dataclasses import replace

from clawtop.formats.attribution import Attribution, SessionFacts
from clawtop.formats.entries import Answer, Header, Prompt, Shortened, ToolResult, read_entry
from clawtop.formats.turns import Turns
from clawtop.model.events import Aborted, Call, Compaction, Event, Resolution, Resolved, Tokens, ToolCall, ToolError
from clawtop.model.keys import Key

_LONGEST_CALL = 6 * 3600 * 1000


class AgentTranscripts:
    """What the transcripts of one agent share: attribution, aborts per session, and who has a trajectory.

    2026.8 and later mark an entry with its run, and then the trajectory is the finer record of that run's errors;
    before that the entries themselves are.
    """

    def __init__(self, who: Attribution) -> None:
        self.who = who
        self._traced: set[str] = set()
        self._cut: dict[str, tuple[set[str], set[str]]] = {}

    def traced(self, session: str) -> None:
        """The session's failed attempts are known from its trajectory."""
        self._traced.add(session)

    def is_traced(self, session: str) -> bool:
        """Whether the session's errors come from its trajectory."""
        return session in self._traced

    def cut(self, session: str, entry: str, *, injected: bool) -> str | None:
        """The identity of a newly known abort, None where an entry tells of one that is known already.

        One abort may stand in a session twice, as an aborted line and as an injected one: there were as many
        as the larger of the two.
        """
        both = self._cut.setdefault(session, (set(), set()))
        before = max(len(both[0]), len(both[1]))
        both[injected].add(entry)
        after = max(len(both[0]), len(both[1]))
        return f"{session}#{after}" if after > before else None


class Transcript:
    """One stream of entries (a file, or a session's rows) in the order they were written."""

    def __init__(self, agent: AgentTranscripts, session: str) -> None:
        self._agent = agent
        self._who = agent.who
        self._session = session
        self._turns = Turns()
        self._last_prompt: Prompt | None = None
        self._settled: str | None = None
        self._untraced: list[Call] = []
        self.failed = False
        self.began = 0
        """Unix milliseconds of the first header, 0 before it was read."""

    @property
    def session(self) -> str:
        """The session's id."""
        return self._session

    @property
    def unsettled(self) -> bool:
        """Whether settle() may have something to say."""
        return self._turns.open or bool(self._untraced)

    def read(self, raw: bytes, ended: int | None = None) -> list[Event]:
        """The events of one entry. Raises Unusable; the transcript can be read on after that."""
        entry = read_entry(raw, ended)
        match entry:
            case None:
                return []
            case Prompt():
                return self._prompted(entry)
            case Answer():
                return list(self._answered(entry))
            case ToolResult():
                key = self._key(entry.at, entry.run)
                return [ToolError(key, entry.at or 0, entry.id, entry.tool)]
            case Shortened():
                return [Compaction(self._key(entry.at), entry.at or 0, entry.id, entry.reset)]
            case Header():
                self._headed(entry)
                return []

    def goes_on_in(self, later: "Transcript") -> list[Event]:
        """What a later file of the same session says of this one's last failed attempt."""
        return list(self._turns.went_on_in(later._turns))

    def settle(self) -> list[Event]:
        """What the end of all activity says of the last failed attempt; nothing where that was said before."""
        events: list[Event] = []
        for call in self._untraced:
            if not self._agent.is_traced(call.key.session or ""):
                failed = Resolved(call.key, call.at, call.id, call.provider, call.model, Resolution.FAILED)
                events += [call, failed]
        self._untraced.clear()
        for resolved in self._turns.settle():
            if resolved.id != self._settled:
                self._settled = resolved.id
                events.append(resolved)
        return events

    def _headed(self, header: Header) -> None:
        self.began = self.began or header.at or 0
        # A file may hold two headers and the first one's id may not be the file's: only the first says when it began.
        if self._who.facts(self._session).created is None:
            source = header.source if header.source != self._session else None
            self._who.learn(self._session, SessionFacts(cwd=header.cwd, source=source, created=header.at))

    def _prompted(self, prompt: Prompt) -> list[Event]:
        self._last_prompt = prompt
        if self._turns.begun and not self._turns.open:
            return []
        return list(self._turns.prompt(prompt.text()))

    def _answered(self, answer: Answer) -> Iterable[Event]:
        key = self._key(answer.began, answer.run)
        at = answer.ended or answer.began or 0
        if answer.aborted_run is not None or answer.stop == "aborted":
            yield from self._cut_off(answer, key.session or self._session, at)
        if answer.injected:
            if answer.aborted_run is not None:
                self._turns.aborted()
            return
        call = self._call(answer, at)
        self.failed = answer.error is not None
        if answer.run is not None:
            yield from self._native(call)
        else:
            if call.error is not None and not self._turns.open and self._last_prompt is not None:
                self._turns.prompt(self._last_prompt.text())
            yield call
            yield from self._turns.attempt(call)
        for tool, name in answer.tools:
            yield ToolCall(key, at, f"{answer.id}/{tool}", call.provider, call.model, name)

    def _native(self, call: Call) -> Iterable[Event]:
        if call.error is None:
            yield call
            return
        # The trajectory's rows are committed some 30 ms after this entry: whether there are any is asked later.
        self._untraced.append(replace(call, id=f"{call.id}!", tokens=Tokens(), cost=None))
        if call.tokens.total:
            yield replace(call, error=None)

    def _cut_off(self, answer: Answer, session: str, at: int) -> Iterable[Event]:
        if answer.run is not None:
            yield Aborted(self._who.key(session, answer.run), at, answer.run)
            return
        identity = self._agent.cut(session, answer.id, injected=answer.injected)
        if identity is not None:
            yield Aborted(self._who.key(session), at, identity)

    def _call(self, answer: Answer, at: int) -> Call:
        took = at - answer.began if answer.ended and answer.began else None
        return Call(
            key=self._key(answer.began, answer.run),
            at=at,
            id=answer.id,
            provider=answer.provider,
            model=answer.model,
            tokens=answer.tokens,
            # All zeros beside tokens mean that no price was configured, not that it was free.
            cost=answer.cost or (None if answer.tokens.total else 0),
            latency=took if took is not None and 0 <= took <= _LONGEST_CALL else None,
            window=self._who.window(self._session, answer.provider, answer.model),
            stop=answer.stop,
            error=answer.error,
        )

    def _key(self, began: int | None, run: str | None = None) -> Key:
        return self._who.key(self._who.origin(self._session, began), run)
