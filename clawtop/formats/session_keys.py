"""OpenClaw's session keys: `agent:<id>:…`, observed on 2026.2.6-3 to 2026.9.6."""

from typing import NamedTuple

_PEER_KINDS = ("direct", "group", "channel")


class SessionKey(NamedTuple):
    """What a session key says; None where it says nothing about it."""

    agent: str | None = None
    channel: str | None = None
    peer: str | None = None
    cron: str | None = None
    internal: bool = False
    subagent: bool = False


def read_session_key(key: str | None) -> SessionKey:
    """The parts of `key`; an empty SessionKey for anything that is no OpenClaw session key.

    A peer is the person of `agent:<id>:<channel>:direct:<peer>`; groups and channels are no person.
    `internal` marks background sessions whose spend no transcript shows.
    """
    parts = (key or "").split(":")
    if len(parts) < 3 or parts[0] != "agent":
        return SessionKey()
    agent, kind, rest = parts[1], parts[2], parts[3:]
    if kind == "cron" and rest:
        return SessionKey(agent, cron=rest[0])
    if kind == "subagent":
        return SessionKey(agent, subagent=True)
    if kind == "internal-session-effects":
        return SessionKey(agent, internal=True)
    if len(rest) >= 2 and rest[0] in _PEER_KINDS:
        return SessionKey(agent, channel=kind, peer=":".join(rest[1:]) if rest[0] == "direct" else None)
    return SessionKey(agent)
