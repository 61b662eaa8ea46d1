"""How the agents of the sources there are can be reached."""

import json
from pathlib import Path

import pytest

from clawtop.discovery import open_source
from clawtop.model.commands import Target
from clawtop.model.local import LocalWork
from clawtop.reach import Reach, paired
from clawtop.sources import Outlet, Source
from clawtop.sources.gateway import GatewaySource

TOKEN = {"OPENCLAW_GATEWAY_TOKEN": "dummy"}


def home(folder: Path, port: int) -> str:
    """The URI of a home whose gateway listens on that port of loopback."""
    (folder / "agents" / "coder").mkdir(parents=True)
    (folder / "openclaw.json").write_text(json.dumps({"gateway": {"port": port}}))
    return f"openclaw:{folder}"


def opened(*uris: str) -> list[Source]:
    """The sources as the command line has them."""
    return list(paired([open_source(uri, environment=TOKEN) for uri in uris], TOKEN, None))


def gateways(sources: list[Source]) -> list[tuple[str, str]]:
    """(URI, host) of those that are gateways."""
    return [(source.uri, source.host) for source in sources if isinstance(source, GatewaySource)]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_gateway_that_is_named_beside_its_home_is_its_companion(tmp_path: Path, name: str) -> None:
    uri = f"gateway:ws://{name}:18999"
    sources = opened(home(tmp_path, 18999), uri)
    reach = Reach(sources, TOKEN, None)

    assert gateways(sources) == [(uri, "local")]
    assert reach.companions() == []
    assert reach.hosts == ["local"]
    (door,) = reach.doors(Target("local", "coder"))
    assert door.address.url.endswith(":18999")


def test_another_gateway_is_a_source_by_itself(tmp_path: Path) -> None:
    sources = opened(home(tmp_path, 18999), "gateway:ws://127.0.0.1:18998")
    reach = Reach(sources, TOKEN, None)

    assert gateways(sources) == [("gateway:ws://127.0.0.1:18998", "127.0.0.1:18998")]
    assert gateways(list(reach.companions())) == [("gateway:ws://127.0.0.1:18999", "local")]
    assert reach.hosts == ["local", "127.0.0.1:18998"]
    assert reach.doors(Target("elsewhere", "coder")) == ()


class _Places:
    """A source that knows where its agents work."""

    uri = "claude:/home/kim/.claude"

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        """Nothing to read."""

    def places(self, agent: str) -> list[LocalWork]:
        """Two sessions in one folder, the later one last."""
        return [LocalWork(agent, "/srv/api", f"s{at}", Path(f"/log{at}"), last_at=at) for at in (1, 2)]


def test_agents_of_this_machine_are_looked_for_where_they_work(tmp_path: Path) -> None:
    reach = Reach([_Places(), open_source(home(tmp_path, 18999))], TOKEN, None)

    assert [work.session for work in reach.works_of(Target("local", "claude:api"))] == ["s2", "s1"]
    assert reach.works_of(Target("local", "codex:api")) == ()
    assert reach.works_of(Target("local", "coder")) == ()
    assert reach.works_of(Target("elsewhere", "claude:api")) == ()
    assert Reach([_Places()], TOKEN, None).hosts == ["local"]
    assert list(reach.ways().works_of(Target("local", "coder"))) == []


def test_an_agent_of_two_homes_has_two_doors_and_one_of_either_has_one(tmp_path: Path) -> None:
    uris = [home(tmp_path / name, port) for name, port in (("a", 18999), ("b", 18998))]
    (tmp_path / "b" / "agents" / "main").mkdir()
    reach = Reach(opened(*uris), TOKEN, None)

    assert [door.source for door in reach.doors(Target("local", "coder"))] == uris
    assert [door.source for door in reach.doors(Target("local", "main"))] == uris[1:]
