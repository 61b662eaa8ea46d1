"""The kill switch by the screen's own keys, on real gateways, with the provider as witness."""

import shutil
from pathlib import Path

import pytest

from tests.e2e.clawtop_runs import CHECKOUT, command, environment
from tests.e2e.gateway_rpc import poked
from tests.e2e.lab import Lab
from tests.e2e.tmux import Terminal
from tests.e2e.waiting import eventually


@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux to show the screen in")
def test_k_and_y_pause_the_selected_agent_and_r_brings_it_back(lab: Lab, tmp_path: Path) -> None:
    before = lab.rpc.call("config.get", {})["parsed"]["agents"]
    watched = [*command(lab.state_dir), "-a", "coder"]
    state = {"CLAWTOP_STATE_DIR": str(tmp_path), "OPENCLAW_GATEWAY_TOKEN": lab.token}
    asked = len(lab.requests())
    lab.turn("coder", "TOOLLOOP over the notes", "agent:coder:seen")
    eventually(lambda: len(lab.requests()) > asked + 2, "the loop to run")

    with Terminal(watched, CHECKOUT, {**environment(lab.home), **state}, columns=120, lines=40) as terminal:
        terminal.shows("● running  coder")
        terminal.press("Home")
        terminal.press("k")
        terminal.shows("Pause coder?", "agent:coder:seen")
        terminal.press("Enter")
        assert "Pause coder?" in terminal.screen()
        terminal.press("y")
        terminal.shows("HELD", "paused")  # 2026.6 may close a run for half a minute

        asked = len(lab.requests())
        for message, key in (("hello", "agent:coder:poked"), ("hello again", "agent:coder:seen")):
            run = poked(lab.turn, "coder", message, key)
            assert run is None or run.wait() != "ok"
        assert len(lab.requests()) == asked

        terminal.press("r")
        terminal.shows("Let coder go on?")
        terminal.press("y")
        terminal.shows("resumed")
        assert lab.rpc.call("config.get", {})["parsed"]["agents"] == before
        terminal.press("q")
        assert terminal.ends() == 0
    assert lab.turn("coder", "hello after it", "agent:coder:after").wait() == "ok"
