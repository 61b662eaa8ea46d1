"""A gateway's WebSocket, as an operator uses it: calls, events and the few things the tests ask for.

One call takes milliseconds where the openclaw command line takes seconds.
"""

import contextlib
import itertools
import json
import queue
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

SCOPES = ("operator.read", "operator.write", "operator.admin")
MAX_FRAME = 64 << 20  # bytes

Frame = dict[str, Any]
T = TypeVar("T")


class RpcError(Exception):
    """A call that the gateway refused; `code` is its code, e.g. INVALID_REQUEST."""

    def __init__(self, method: str, error: Frame) -> None:
        super().__init__(f"{method}: {error.get('code')}: {error.get('message')}")
        self.code = error.get("code")


@dataclass(frozen=True)
class Run:
    """A turn that was begun."""

    gateway: "Gateway"
    id: str
    session_key: str

    def wait(self, timeout: float = 240) -> str:
        """How the run ended (ok, error, timeout) at most `timeout` seconds from now; TimeoutError when it goes on."""
        params = {"runId": self.id, "timeoutMs": round(timeout * 1000)}
        ended = self.gateway.call("agent.wait", params, timeout + 10)
        if ended.get("status") in {"timeout", "pending"} and not ended.get("endedAt"):
            raise TimeoutError(f"run {self.id} of {self.session_key} goes on after {timeout} s")
        return str(ended.get("status"))


class Gateway:
    """A connection to a gateway; RpcError where it refuses the connection or a call."""

    def __init__(self, url: str, token: str, scopes: tuple[str, ...] = SCOPES) -> None:
        self.events: queue.Queue[Frame] = queue.Queue()
        self._numbers = itertools.count(1)
        self._waiting: dict[str, Future[Frame]] = {}
        self._opened = contextlib.ExitStack()
        self._socket = self._opened.enter_context(connect(url, max_size=MAX_FRAME, open_timeout=20))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        client = {"id": "gateway-client", "version": "0", "platform": "linux", "mode": "backend"}
        hello = self.call(
            "connect",
            {
                "minProtocol": 3,
                "maxProtocol": 4,
                "client": client,
                "role": "operator",
                "scopes": list(scopes),
                "caps": ["tool-events"],
                "auth": {"token": token},
            },
        )
        self.version = str(hello["server"]["version"])
        self.methods = frozenset(hello["features"]["methods"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._opened.close()
        self._reader.join(timeout=10)

    def call(self, method: str, params: Frame, timeout: float = 30) -> Frame:
        """The answer's payload; RpcError where it is refused, TimeoutError after `timeout` seconds.

        ConnectionError where the gateway has hung up.
        """
        number = str(next(self._numbers))
        answer = self._waiting[number] = Future()
        self._socket.send(json.dumps({"type": "req", "id": number, "method": method, "params": params}))
        if not self._reader.is_alive():
            raise ConnectionError(f"{method}: nobody reads the answer any more")
        frame = answer.result(timeout)
        if not frame.get("ok"):
            raise RpcError(method, frame.get("error") or {})
        payload = frame.get("payload")
        return payload if isinstance(payload, dict) else {"payload": payload}

    def agent(self, agent: str, message: str, session_key: str | None = None, timeout: int = 300) -> Run:
        """Begins a turn of an agent, in its main session where no other is named; `timeout` in seconds."""
        key = session_key or f"agent:{agent}:main"
        ours = str(uuid.uuid4())
        params = {"agentId": agent, "message": message, "sessionKey": key, "idempotencyKey": ours, "timeout": timeout}
        return Run(self, str(self.call("agent", params).get("runId") or ours), key)

    def chat(self, session_key: str, message: str) -> Run:
        """Begins a turn the way the web chat does."""
        ours = str(uuid.uuid4())
        params = {"sessionKey": session_key, "message": message, "idempotencyKey": ours}
        return Run(self, str(self.call("chat.send", params).get("runId") or ours), session_key)

    def fork(self, agent: str, parent_key: str) -> str:
        """The key of a new session with a copy of another's history; 2026.6 refuses `fork`."""
        params = {"agentId": agent, "parentSessionKey": parent_key, "fork": True}
        return str(self._call_once_idle("sessions.create", params)["key"])

    def compact(self, session_key: str) -> bool:
        """Whether a session's history was long enough to be compacted."""
        return bool(self._call_once_idle("sessions.compact", {"key": session_key})["compacted"])

    def reset(self, session_key: str) -> Frame:
        """Begins a session anew under the same key."""
        return self.call("sessions.reset", {"key": session_key})

    def abort(self, session_key: str) -> bool:
        """Cuts off what runs in a session; False where nothing runs there, or not yet."""
        return self.call("sessions.abort", {"key": session_key}).get("status") == "aborted"

    def use_model(self, session_key: str, model: str) -> Frame:
        """Gives a session a model of its own, `provider/model`."""
        return self.call("sessions.patch", {"key": session_key, "model": model})

    def _call_once_idle(self, method: str, params: Frame, timeout: float = 60) -> Frame:
        # A session that has just answered counts as active for a moment.
        until = time.monotonic() + timeout
        while True:
            try:
                return self.call(method, params, timeout)
            except RpcError as error:
                if "active" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(0.2)

    def _read(self) -> None:
        try:
            for message in self._socket:
                self._take(json.loads(message))
        except ConnectionClosed:
            pass
        finally:
            for answer in list(self._waiting.values()):
                if not answer.done():
                    answer.set_exception(ConnectionError("the gateway ended the connection"))

    def _take(self, frame: Frame) -> None:
        if frame.get("type") == "event":
            self.events.put(frame)
            return
        # `agent` answers twice: accepted, then how it ended; the second finds nobody waiting.
        answer = self._waiting.pop(str(frame.get("id")), None)
        if answer is not None:
            answer.set_result(frame)


def poked(begin: Callable[..., T], *about: object) -> T | None:
    """What was begun; None where it was cut off before the gateway could even say that it begins."""
    try:
        return begin(*about)
    except RpcError as error:
        if "aborted" not in str(error):
            raise
        return None
