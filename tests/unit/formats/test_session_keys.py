"""OpenClaw's session keys."""

import pytest

from clawtop.formats.session_keys import SessionKey, read_session_key


@pytest.mark.parametrize(
    ("key", "meaning"),
    [
        ("agent:main:main", SessionKey("main")),
        ("agent:main:telegram:direct:4711", SessionKey("main", channel="telegram", peer="4711")),
        ("agent:main:matrix:direct:@a:b.org", SessionKey("main", channel="matrix", peer="@a:b.org")),
        ("agent:main:slack:group:C1", SessionKey("main", channel="slack")),
        ("agent:coder:subagent:545fd14f", SessionKey("coder", subagent=True)),
        ("agent:coder:cron:j1", SessionKey("coder", cron="j1")),
        ("agent:coder:cron:j1:run:s1", SessionKey("coder", cron="j1")),
        ("agent:coder:internal-session-effects:x", SessionKey("coder", internal=True)),
        ("global", SessionKey()),
        ("agent:", SessionKey()),
        (None, SessionKey()),
    ],
)
def test_what_a_key_says(key: str | None, meaning: SessionKey) -> None:
    assert read_session_key(key) == meaning
