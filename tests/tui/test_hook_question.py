"""The question before a hook is run."""

from clawtop.model.commands import Means, Plan
from tests.tui.holding import target
from tests.tui.test_process_question import asked


async def test_of_an_agent_that_a_hook_stops_nobody_says_that_nothing_runs() -> None:
    said = await asked("k", Plan(target("coder"), Means.HOOK))

    assert "nothing runs now" not in said
    assert "what runs is not known: nobody has looked" in said
    assert "a hook of the config" in said
