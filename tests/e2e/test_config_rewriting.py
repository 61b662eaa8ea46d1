"""What a gateway's own writing does to a config with comments, an included file and variables, as the README says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import VERSIONS
from tests.e2e.lab import Lab
from tests.e2e.test_pause import shell

COMMENT = "// kept by hand\n"


class WrittenByHand(Lab):
    """A gateway whose config has a comment, a variable in an agent's model and one elsewhere."""

    def __init__(self, version: str, *, included: bool) -> None:
        super().__init__(version)
        self._included = included
        self.agents_path = self.state_dir / "agents.json5" if included else self.config_path

    def environment(self) -> dict[str, str]:
        """The variables that the config names, too."""
        return {**super().environment(), "LAB_MODEL": "mock/normal", "LAB_LEVEL": "info"}

    def start_gateway(self) -> None:
        """Rewrites the config as a person would have it, then starts."""
        config = json.loads(self.config_path.read_text())
        config["logging"]["level"] = "${LAB_LEVEL}"
        main_of(config["agents"])["model"]["primary"] = "${LAB_MODEL}"
        if self._included:
            self.agents_path.write_text(COMMENT + json.dumps(config["agents"], indent=1))
            config["agents"] = {"$include": "./agents.json5"}
        self.config_path.write_text(COMMENT + json.dumps(config, indent=1))
        super().start_gateway()


def main_of(agents: dict[str, Any]) -> dict[str, Any]:
    """The entry of the agent main, in the words of either generation."""
    entry: dict[str, Any] = agents["entries"]["main"] if "entries" in agents else agents["list"][0]
    return entry


def read(path: Path) -> dict[str, Any]:
    """A config file of this lab without its comments."""
    config: dict[str, Any] = json.loads(re.sub(r"^//.*$", "", path.read_text(), flags=re.MULTILINE))
    return config


def paused_and_resumed(lab: WrittenByHand, folder: Path) -> None:
    """Pause and resume main; the agents as the gateway has them are the same before and after, their comments lost."""
    before = lab.rpc.call("config.get", {})["parsed"]["agents"]
    paused = shell(lab, folder, "pause", "main", "--yes")
    commented = COMMENT in lab.agents_path.read_text()
    resumed = shell(lab, folder, "resume", "main", "--yes")

    assert (paused[0], resumed[0]) == (0, 0), (paused, resumed)
    assert lab.rpc.call("config.get", {})["parsed"]["agents"] == before
    assert not commented


@pytest.mark.parametrize("version", VERSIONS)
def test_comments_are_lost_and_variables_are_not(version: str, tmp_path: Path) -> None:
    with WrittenByHand(version, included=False) as lab:
        before = read(lab.config_path)
        paused_and_resumed(lab, tmp_path)
        after = read(lab.config_path)

    assert main_of(before["agents"])["model"]["primary"] == "${LAB_MODEL}"
    assert {name: after[name] for name in before if name != "meta"} == before


def test_an_included_file_is_written_and_the_agents_variable_becomes_its_value(tmp_path: Path) -> None:
    with WrittenByHand("2026.9.6", included=True) as lab:
        config, agents = lab.config_path.read_bytes(), read(lab.agents_path)
        paused_and_resumed(lab, tmp_path)
        after = read(lab.agents_path)

        assert lab.config_path.read_bytes() == config
    assert main_of(after)["model"]["primary"] == "mock/normal"
    main_of(after)["model"]["primary"] = "${LAB_MODEL}"
    assert after == agents


def test_where_a_gateway_writes_no_included_file_the_pause_says_that_it_does_not_hold(tmp_path: Path) -> None:
    with WrittenByHand("2026.6.35", included=True) as lab:
        config, agents = lab.config_path.read_bytes(), lab.agents_path.read_bytes()
        code, paused = shell(lab, tmp_path, "pause", "main", "--yes")
        resumed = shell(lab, tmp_path, "resume", "main", "--yes")

        assert (lab.config_path.read_bytes(), lab.agents_path.read_bytes()) == (config, agents)
    assert code == 1
    assert "its config is not held" in paused["results"][0]["detail"]
    assert "$include" in paused["results"][0]["detail"]
    assert resumed[0] == 0, resumed
