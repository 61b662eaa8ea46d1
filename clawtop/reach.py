"""How the agents of the sources there are can be reached, to watch them live and to stop them."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from clawtop.control.door import Door
from clawtop.control.hook import HookRule
from clawtop.control.process_rule import ProcessRule
from clawtop.control.switch import Ways
from clawtop.gateway.addresses import find_address
from clawtop.gateway.connection import GatewayAddress
from clawtop.model.commands import About, Target
from clawtop.model.hosts import is_loopback
from clawtop.model.keys import HOST
from clawtop.model.local import LocalWork
from clawtop.sources import Source
from clawtop.sources.gateway import GatewaySource
from clawtop.sources.openclaw import OpenClawSource, find_homes

_log = logging.getLogger(__name__)


def paired(sources: Iterable[Source], environment: Mapping[str, str], token_file: Path | None) -> Sequence[Source]:
    """The sources; a gateway whose home is among them, too, is only its companion: the home counts what both tell."""
    sources = list(sources)
    homes = [source for source in sources if isinstance(source, OpenClawSource)]
    found = (find_address(home.folder, home.config, environment, token_file)[0] for home in homes)
    beside = {_place(address) for address in found if address is not None}
    return [
        source.beside(HOST) if isinstance(source, GatewaySource) and _place(source.address) in beside else source
        for source in sources
    ]


def _place(address: GatewayAddress) -> tuple[str | None, int | None]:
    at = urlsplit(address.url)
    return "localhost" if is_loopback(at.hostname) else at.hostname, at.port


@runtime_checkable
class Local(Protocol):
    """A source whose agents are processes of this machine."""

    def places(self, agent: str) -> Sequence[LocalWork]:
        """Where an agent works, the most recent first. In the engine's loop only, and nothing before it was read."""


class Reach:
    """The gateways beside homes, and those that are sources themselves.

    A gateway's port and token are looked up whenever they are needed: it may have been restarted elsewhere.
    """

    def __init__(self, sources: Iterable[Source], environment: Mapping[str, str], token_file: Path | None) -> None:
        sources = list(sources)
        self._homes = [source for source in sources if isinstance(source, OpenClawSource)]
        gateways = [source for source in sources if isinstance(source, GatewaySource)]
        self._gateways = {source.host: source.address for source in gateways if source.host != HOST}
        # their agents are called by the product and the folder, as their URIs are
        self._local = [(source.uri.partition(":")[0], source) for source in sources if isinstance(source, Local)]
        self._named = {_place(source.address) for source in gateways}
        self._environment = environment
        self._token_file = token_file

    @property
    def hosts(self) -> Sequence[str]:
        """The hosts on which an agent may be stopped."""
        return [*([HOST] if self._homes or self._local else []), *self._gateways]

    def companions(self) -> Sequence[Source]:
        """A live source for the gateway of each home. Raises UsageError for a token file that cannot be used."""
        found: dict[str, Source] = {}
        for home in self._homes:
            address, warnings = self._beside(home)
            if address is None:
                for warning in warnings:
                    _log.warning("%s: %s", home.uri, warning)
            if address is not None and address.url not in found and _place(address) not in self._named:
                uri = f"gateway:{address.url}"
                found[address.url] = GatewaySource(uri, address, host=HOST, companion=True, warnings=warnings)
        return list(found.values())

    def gateways(self) -> Sequence[tuple[str, GatewayAddress]]:
        """Each gateway once, with the host of its agents. Raises UsageError for a token file that cannot be used."""
        beside = [address for home in self._homes if (address := self._beside(home)[0]) is not None]
        found: dict[object, tuple[str, GatewayAddress]] = {}
        for host, address in (*((HOST, address) for address in beside), *self._gateways.items()):
            found.setdefault(_place(address), (host, address))
        return list(found.values())

    def doors(self, target: Target) -> Sequence[Door]:
        """The gateways that may run an agent: of the homes, those that have it, where one of them does."""
        if target.host in self._gateways:
            address = self._gateways[target.host]
            return (Door(address, f"gateway:{address.url}"),)
        if target.host != HOST:
            return ()
        homes = [home for home in self._homes if (home.folder / "agents" / target.agent).is_dir()] or self._homes
        found = ((home, self._beside(home)[0]) for home in homes)
        # of one gateway the first home will do
        doors = [self._door(home, address) for home, address in found if address is not None]
        return list({door.address: door for door in reversed(doors)}.values())[::-1]

    def _door(self, home: OpenClawSource, address: GatewayAddress) -> Door:
        usual = any(folder.resolve() == home.folder.resolve() for folder, _ in find_homes({}, Path.home()))
        return Door(address, f"openclaw:{home.folder.resolve()}", usual)

    def is_local(self, target: Target) -> bool:
        """Whether a source that knows where its agents work may speak of this one."""
        return target.host == HOST and any(target.agent.startswith(f"{kind}:") for kind, _ in self._local)

    def works_of(self, target: Target) -> Sequence[LocalWork]:
        """Where an agent of this machine works, as far as its source was read."""
        if not self.is_local(target):
            return ()
        found = [work for _, source in self._local for work in source.places(target.agent)]
        return sorted(found, key=lambda work: work.last_at, reverse=True)

    def ways(
        self,
        about: Callable[[Target], About] = lambda _: About(),
        hooks: Sequence[HookRule] = (),
        processes: Sequence[ProcessRule] = (),
        *,
        config_hold: bool = True,
        works_of: Callable[[Target], Sequence[LocalWork]] | None = None,
    ) -> Ways:
        """What a Switch needs to know."""
        return Ways(
            lambda _: None,
            about,
            hooks,
            config_hold=config_hold,
            works_of=works_of or self.works_of,
            processes=processes,
            doors=self.doors,
        )

    def _beside(self, home: OpenClawSource) -> tuple[GatewayAddress | None, list[str]]:
        return find_address(home.folder, home.config, self._environment, self._token_file)
