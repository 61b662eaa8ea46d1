"""Whose a session's events are, and how many sessions are kept in mind."""

import pytest

from clawtop.formats.attribution import Attribution, SessionFacts


@pytest.fixture
def who() -> Attribution:
    """An agent of which nothing is known so far."""
    return Attribution("local", "main", cron_name=lambda _: None, windows={})


def test_what_is_learnt_after_a_key_was_asked_for_changes_it(who: Attribution) -> None:
    assert who.key("s1").project is None
    who.learn("s1", SessionFacts(cwd="/srv/api"))
    assert who.key("s1").project == "api"
    who.learn("s1", SessionFacts(owner="bob"))
    assert (who.key("s1").project, who.key("s1").owner) == ("api", "bob")


def test_sessions_that_are_long_silent_make_room(who: Attribution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawtop.formats.attribution._MOST_SESSIONS", 10)
    who.learn("kept", SessionFacts(cwd="/srv/api"))
    who.learn("silent", SessionFacts(cwd="/srv/web"))
    for number in range(50):
        who.learn(f"s{number}", SessionFacts(cwd="/srv/other"))
        assert who.key(f"s{number}").project == "other"
        assert who.key("kept").project == "api"
    assert who.key("silent").project is None
    who.learn("silent", SessionFacts(cwd="/srv/web"))
    assert who.key("silent").project == "web"
