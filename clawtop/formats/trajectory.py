"""Trajectories of OpenClaw runs -> attempts, failed attempts and what followed them, aborts.

Observed on 2026.6.35 (`*.trajectory.jsonl`, attempts without a stop reason) and 2026.9.6 (SQLite, with one).
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from clawtop.formats.attribution import SessionFacts
from clawtop.formats.lines import json_value
from clawtop.formats.quantities import moment, text
from clawtop.formats.transcript import AgentTranscripts
from clawtop.formats.turns import Turns
from clawtop.model.events import Aborted, Attempt, Call, Event

HELD = "paused"
"""The provider that a paused agent's model names: what is refused there is the hold's, not the agent's error."""

_MOST_OPEN_RUNS = 2000
_TELLING = (b'"type":"model.completed"', b'"type":"session.ended"')
_FAR_ENOUGH = 1000


def tells(raw: bytes) -> bool:
    """Whether a trajectory line may say something that counts: most are large and don't."""
    return any(word in raw[:_FAR_ENOUGH] for word in _TELLING)


class Trajectory:
    """The runs of one agent."""

    def __init__(self, agent: AgentTranscripts) -> None:
        self._agent = agent
        self._runs: OrderedDict[str, Turns] = OrderedDict()
        self._open: dict[str, str] = {}

    @property
    def open_runs(self) -> Mapping[str, str]:
        """Runs whose last attempt failed and that may still go on, with their session."""
        return self._open

    def read(self, raw: bytes, session: str) -> list[Event]:
        """The events of one trajectory event of a session. Raises Unusable."""
        if not tells(raw):
            return []
        event = json_value(raw)
        data = event.get("data") if isinstance(event, dict) else None
        run = text(event.get("runId")) if isinstance(data, dict) else None
        if run is None or not isinstance(data, dict):
            return []
        key = text(event.get("sessionKey"))
        if key is not None:
            self._agent.who.learn(session, SessionFacts(session_key=key))
        if event.get("type") == "model.completed":
            return list(self._attempted(event, data, session, run))
        return self._ended(data, run) if event.get("type") == "session.ended" else []

    def settle(self, run: str) -> list[Event]:
        """The run is over as far as one can know."""
        self._open.pop(run, None)
        turns = self._runs.get(run)
        return list(turns.settle()) if turns else []

    def _attempted(self, event: Mapping[str, Any], data: Mapping[str, Any], session: str, run: str) -> Iterable[Event]:
        provider, model = text(event.get("provider"), 100) or "", text(event.get("modelId"), 200) or "?"
        refused = (text(data.get("promptErrorSource")) or "").startswith("hook:")
        if provider == HELD or refused:
            return
        key, at = self._agent.who.key(session, run), moment(event.get("ts")) or 0
        identity = f"{run}/{event.get('sourceSeq')}@{at}"
        yield Attempt(key, at, identity, provider, model)
        stop = text(data.get("stopReason"), 40)
        if stop is None:
            return
        self._agent.traced(session)
        error = _error(data) if stop == "error" else None
        call = Call(key, at, identity, provider, model, stop=stop, error=error)
        if error is not None:
            yield call
        yield from self._turns(run).attempt(call)
        if stop == "aborted":
            yield Aborted(key, at, run)
        if error is not None:
            self._open[run] = session
        else:
            self._open.pop(run, None)

    def _ended(self, data: Mapping[str, Any], run: str) -> list[Event]:
        self._open.pop(run, None)
        turns = self._runs.get(run)
        if turns is None:
            return []
        if data.get("aborted") is True:
            turns.aborted()
        return list(turns.settle())

    def _turns(self, run: str) -> Turns:
        turns = self._runs.get(run)
        if turns is None:
            turns = self._runs[run] = Turns()
            if len(self._runs) > _MOST_OPEN_RUNS:
                self._open.pop(self._runs.popitem(last=False)[0], None)
        return turns


def _error(data: Mapping[str, Any]) -> str:
    messages = data.get("messagesSnapshot")
    last = messages[-1] if isinstance(messages, list) and messages else None
    told = last.get("errorMessage") if isinstance(last, dict) else None
    return text(told, 500) or text(data.get("promptError"), 500) or "failed"
