"""The gateway's frames, protocol 3 (2026.2) and 4 (2026.6 and later): built and read without any I/O."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from clawtop.gateway.errors import GatewayError, PairingNeeded, ProtocolMismatch, Refused, WrongToken

OLDEST_PROTOCOL, NEWEST_PROTOCOL = 3, 4
CHALLENGE = "connect.challenge"
GAP = "clawtop.gap"
"""The event of our own that says how many others were lost: payload `{"missed": n}`."""

_LONGEST_WORDS = 300
_WRONG_TOKEN = ("AUTH_TOKEN", "AUTH_PASSWORD", "AUTH_UNAUTHORIZED", "AUTH_REQUIRED", "AUTH_FAILED")
_PAIRING = ("PAIRING_", "NOT_PAIRED", "DEVICE_", "AUTH_DEVICE")
_DROPPABLE = ("tick", "health", "presence", "heartbeat", "node.hostStats")
_GROWING = ("assistant", "thinking", "command_output")


class GatewayEvent(NamedTuple):
    """Something the gateway told of its own accord."""

    event: str
    payload: dict[str, Any]

    @property
    def droppable(self) -> bool:
        """Whether a reader that is too slow misses nothing of weight without it: ticks, health, text as it grows."""
        if self.event == "agent":
            return self.payload.get("stream") in _GROWING
        if self.event == "chat":
            return self.payload.get("state") in ("delta", "status")
        return self.event in _DROPPABLE


class Reply(NamedTuple):
    """The answer to the request `id`: a payload, or an error."""

    id: str
    payload: dict[str, Any]
    error: Mapping[str, Any] | None


class Hello(NamedTuple):
    """What a gateway says of itself; `scopes` are those that it granted."""

    protocol: int
    version: str
    methods: frozenset[str]
    scopes: frozenset[str]


class Frames:
    """One connection's frames: numbers the requests, tells replies from events, counts what is neither."""

    def __init__(self) -> None:
        self.unreadable: Counter[str] = Counter()
        """Frames that could not be used, by the reason."""
        self._numbers = itertools.count(1)

    def request(self, method: str, params: Mapping[str, object] | None) -> tuple[str, bytes]:
        """(its number, the frame) of a request."""
        number = str(next(self._numbers))
        return number, orjson.dumps({"type": "req", "id": number, "method": method, "params": params or {}})

    def receive(self, raw: bytes) -> GatewayEvent | Reply | None:
        """What a frame says, None for one that says nothing to us."""
        try:
            frame = orjson.loads(raw)
        except orjson.JSONDecodeError:
            self.unreadable["a frame that is not JSON"] += 1
            return None
        if not isinstance(frame, dict):
            self.unreadable["a frame that is no JSON object"] += 1
            return None
        read = _event(frame) or _reply(frame)
        if read is None:
            self.unreadable["a frame that is neither event nor reply"] += 1
        return read


def connect_params(token: str | None, scopes: Sequence[str]) -> dict[str, object]:
    """The parameters of `connect`. Gateways take only the client ids they know; this one needs no device."""
    return {
        "minProtocol": OLDEST_PROTOCOL,
        "maxProtocol": NEWEST_PROTOCOL,
        "client": {"id": "gateway-client", "version": "0", "platform": "linux", "mode": "backend"},
        "role": "operator",
        "scopes": list(scopes),
        # with it 2026.6 and older tell of tools, too; later ones do so anyway
        "caps": ["tool-events"],
        "auth": {"token": token} if token else {},
    }


def read_hello(payload: Mapping[str, Any], asked: Sequence[str]) -> Hello:
    """What the gateway's hello says; where it grants no scopes by name, those that were asked for."""
    server, features, auth = (_table(payload.get(name)) for name in ("server", "features", "auth"))
    protocol, granted = payload.get("protocol"), auth.get("scopes")
    return Hello(
        protocol=protocol if type(protocol) is int else 0,
        version=words(server.get("version")) or "?",
        methods=frozenset(_texts(features.get("methods"))),
        scopes=frozenset(_texts(granted)) if isinstance(granted, list) else frozenset(asked),
    )


def refused(error: Mapping[str, Any], method: str, token: str | None) -> Refused:
    """A request's error; the token is taken out of the gateway's words."""
    code, message = words(error.get("code"), token) or "?", words(error.get("message"), token) or "no reason given"
    return Refused(code, message, method)


def unwelcome(error: Mapping[str, Any], url: str, token: str | None) -> GatewayError:
    """Why a gateway refused `connect`, and what its user can do about it."""
    details = _table(error.get("details"))
    code = words(details.get("code")) or words(error.get("code")) or ""
    said = words(error.get("message"), token) or "no reason given"
    if code == "PROTOCOL_MISMATCH" or said == "protocol mismatch":
        expected = details.get("expectedProtocol")
        speaks = f"protocol {expected}" if type(expected) is int else "another protocol"
        known = f"{OLDEST_PROTOCOL} to {NEWEST_PROTOCOL}"
        return ProtocolMismatch(f"the gateway at {url} speaks {speaks}, clawtop {known}: a newer clawtop may help")
    if code == "AUTH_RATE_LIMITED":
        return WrongToken(f"the gateway at {url} has had too many wrong tokens and refuses all for a while: {said}")
    if code.startswith(_PAIRING) and token is not None:
        return PairingNeeded(
            f"the gateway at {url} takes the token but wants a paired device ({said}): run clawtop on the gateway's "
            "machine, or reach its port there through `ssh -L`; on its loopback the token is enough"
        )
    if code.startswith((*_WRONG_TOKEN, *_PAIRING)) or said.startswith("unauthorized"):
        return WrongToken(_bad_token(url, said) if token else _no_token(url))
    return Refused(words(error.get("code"), token) or "?", said, f"connect to {url}")


def hung_up(reason: str, url: str, token: str | None) -> GatewayError | None:
    """What a close reason without a reply before it says about the refusal, None for nothing."""
    found = unwelcome({"message": reason}, url, token)
    if reason.startswith(("pairing", "device")):
        return unwelcome({"code": "NOT_PAIRED", "message": reason}, url, token)
    return None if isinstance(found, Refused) else found


def without(token: str | None, said: str) -> str:
    """The same words without the token in them."""
    return said.replace(token, "[token]") if token else said


def words(value: object, token: str | None = None, most: int = _LONGEST_WORDS) -> str | None:
    """A non-empty text without the token, cut only then: half a token is no less one."""
    return without(token, value)[:most] if isinstance(value, str) and value else None


def _event(frame: Mapping[str, Any]) -> GatewayEvent | None:
    name, payload = frame.get("event"), frame.get("payload")
    if frame.get("type") != "event" or not isinstance(name, str) or not name:
        return None
    return GatewayEvent(name, payload if isinstance(payload, dict) else {})


def _reply(frame: Mapping[str, Any]) -> Reply | None:
    number, payload, error = frame.get("id"), frame.get("payload"), frame.get("error")
    if frame.get("type") != "res" or not isinstance(number, str):
        return None
    if frame.get("ok") is True:
        return Reply(number, payload if isinstance(payload, dict) else {"payload": payload}, None)
    return Reply(number, {}, error if isinstance(error, dict) else {})


def _bad_token(url: str, said: str) -> str:
    return (
        f"the gateway at {url} does not take this token ({said}): "
        "its own stands in gateway.auth.token of its openclaw.json; give it in OPENCLAW_GATEWAY_TOKEN or --token-file"
    )


def _no_token(url: str) -> str:
    return (
        f"the gateway at {url} wants a token and none was found: "
        "give gateway.auth.token of its openclaw.json in OPENCLAW_GATEWAY_TOKEN or --token-file"
    )


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> Iterable[str]:
    return (item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
