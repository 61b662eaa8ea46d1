"""Who an event belongs to."""

from typing import NamedTuple


class Key(NamedTuple):
    """Identity (host, agent, session, run) and attribution of an event; None is "not known".

    `session` is the id that stays when a session is renamed or reached under a second session key.
    `user` is the person the agent worked for, `owner` the one who answers for it.
    """

    host: str
    agent: str
    session: str | None = None
    run: str | None = None
    project: str | None = None
    user: str | None = None
    owner: str | None = None
    environment: str | None = None
    task: str | None = None
    cron: str | None = None
    channel: str | None = None
    parent: str | None = None
    session_key: str | None = None


HOST = "local"
"""The host of what this machine's own files tell."""

UNTAGGED = "(untagged)"
"""The agent of usage that names none: it is shown in a row of its own, never dropped."""
