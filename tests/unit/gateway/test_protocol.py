"""Frames built and read, and what a refusal says to its user."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawtop.gateway.errors import GatewayError, PairingNeeded, ProtocolMismatch, Refused, WrongToken
from clawtop.gateway.protocol import (
    Frames,
    GatewayEvent,
    Hello,
    Reply,
    connect_params,
    hung_up,
    read_hello,
    refused,
    unwelcome,
    without,
)

URL, TOKEN = "ws://127.0.0.1:18789", "very-secret"


def test_requests_are_numbered_and_replies_and_events_told_apart() -> None:
    frames = Frames()
    one, raw = frames.request("sessions.list", {"limit": 5})
    two, _ = frames.request("tick", None)
    assert (one, two) == ("1", "2")
    assert orjson.loads(raw) == {"type": "req", "id": "1", "method": "sessions.list", "params": {"limit": 5}}
    assert frames.receive(b'{"type":"res","id":"1","ok":true,"payload":{"a":1}}') == Reply("1", {"a": 1}, None)
    assert frames.receive(b'{"type":"res","id":"1","ok":true,"payload":[1]}') == Reply("1", {"payload": [1]}, None)
    assert frames.receive(b'{"type":"res","id":"2","ok":false,"error":{"code":"X"}}') == Reply("2", {}, {"code": "X"})
    assert frames.receive(b'{"type":"event","event":"tick","payload":{"ts":1},"seq":7}') == GatewayEvent(
        "tick", {"ts": 1}
    )
    assert not frames.unreadable


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xff\xfe", "a frame that is not JSON"),
        (b"{", "a frame that is not JSON"),
        (b"[1]", "a frame that is no JSON object"),
        (b"{}", "a frame that is neither event nor reply"),
        (b'{"type":"event"}', "a frame that is neither event nor reply"),
        (b'{"type":"res","id":5,"ok":true}', "a frame that is neither event nor reply"),
        (b"[" * 5000, "a frame that is not JSON"),
    ],
)
def test_garbage_is_counted_and_not_raised(raw: bytes, reason: str) -> None:
    frames = Frames()
    assert frames.receive(raw) is None
    assert frames.unreadable == {reason: 1}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_counted(raw: bytes) -> None:
    frames = Frames()
    assert (frames.receive(raw) is None) == (frames.unreadable.total() == 1)


def test_a_hello_of_either_protocol() -> None:
    new = {
        "protocol": 4,
        "server": {"version": "2026.9.6", "bootId": "b-1"},
        "features": {"methods": ["a", 5, "b"]},
        "auth": {"scopes": ["operator.read"]},
    }
    assert read_hello(new, ("operator.admin",)) == Hello(4, "2026.9.6", frozenset("ab"), frozenset({"operator.read"}))
    old = {"protocol": 3, "server": {"version": "2026.2.26"}}
    assert read_hello(old, ("operator.read",)) == Hello(3, "2026.2.26", frozenset(), frozenset({"operator.read"}))
    assert read_hello({"server": [], "features": 5, "auth": None}, ()).version == "?"


def test_both_protocols_are_offered_and_the_token_sent_only_where_there_is_one() -> None:
    params = connect_params(TOKEN, ("operator.read",))
    assert (params["minProtocol"], params["maxProtocol"]) == (3, 4)
    assert (params["auth"], connect_params(None, ())["auth"]) == ({"token": TOKEN}, {})


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            {
                "code": "INVALID_REQUEST",
                "message": f"unauthorized: {TOKEN} mismatch",
                "details": {"code": "AUTH_TOKEN_MISMATCH"},
            },
            WrongToken,
            "OPENCLAW_GATEWAY_TOKEN or --token-file",
        ),
        ({"details": {"code": "AUTH_RATE_LIMITED"}, "message": "later"}, WrongToken, "too many wrong tokens"),
        ({"code": "UNAUTHORIZED", "message": "unauthorized"}, WrongToken, "does not take this token"),
        ({"code": "NOT_PAIRED", "message": "pairing required"}, PairingNeeded, "ssh -L"),
        ({"details": {"code": "PAIRING_REQUIRED"}, "message": "pairing required"}, PairingNeeded, "paired device"),
        (
            {"details": {"code": "PROTOCOL_MISMATCH", "expectedProtocol": 5}, "message": "protocol mismatch"},
            ProtocolMismatch,
            "speaks protocol 5, clawtop 3 to 4",
        ),
        ({"code": "INVALID_REQUEST", "message": f"at /client/id {TOKEN}"}, Refused, "at /client/id [token]"),
        ({}, Refused, "no reason given"),
    ],
)
def test_a_refusal_says_what_to_do_and_never_the_token(
    error: dict[str, Any], kind: type[GatewayError], words: str
) -> None:
    found = unwelcome(error, URL, TOKEN)
    assert type(found) is kind
    assert words in str(found)
    assert URL in str(found)
    assert TOKEN not in str(found) + repr(found)


def test_without_a_token_pairing_is_a_missing_token() -> None:
    found = unwelcome({"code": "NOT_PAIRED", "message": "device identity required"}, URL, None)
    assert isinstance(found, WrongToken)
    assert "none was found" in str(found)


def test_the_reason_of_a_close_is_understood_where_no_reply_came() -> None:
    assert isinstance(hung_up("unauthorized: gateway token mismatch", URL, TOKEN), WrongToken)
    assert isinstance(hung_up("pairing required", URL, TOKEN), PairingNeeded)
    assert isinstance(hung_up("protocol mismatch", URL, TOKEN), ProtocolMismatch)
    assert hung_up("", URL, TOKEN) is None


def test_a_refused_request_keeps_its_parts() -> None:
    found = refused({"code": "FORBIDDEN", "message": f"missing scope {TOKEN}"}, "cron.update", TOKEN)
    assert (found.code, found.message, found.method) == ("FORBIDDEN", "missing scope [token]", "cron.update")
    assert without(None, "as it was") == "as it was"


def test_no_half_of_a_token_is_left_by_a_cut() -> None:
    for before in range(290, 301):
        error = {"code": "x" * before + TOKEN, "message": "y" * before + TOKEN}
        for found in (refused(error, "cron.update", TOKEN), unwelcome(error, URL, TOKEN)):
            assert TOKEN[:2] not in str(found)


@pytest.mark.parametrize(
    ("event", "droppable"),
    [
        (GatewayEvent("tick", {}), True),
        (GatewayEvent("health", {}), True),
        (GatewayEvent("chat", {"state": "delta"}), True),
        (GatewayEvent("chat", {"state": "aborted"}), False),
        (GatewayEvent("agent", {"stream": "assistant"}), True),
        (GatewayEvent("agent", {"stream": []}), False),
        (GatewayEvent("agent", {"stream": "lifecycle"}), False),
        (GatewayEvent("session.message", {}), False),
        (GatewayEvent("shutdown", {}), False),
    ],
)
def test_only_what_nobody_misses_may_be_dropped(event: GatewayEvent, droppable: bool) -> None:
    assert event.droppable is droppable
