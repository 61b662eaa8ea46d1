"""The receiver as a source: what comes in by HTTP is read at once."""

import asyncio
import socket
from collections import Counter

from clawtop.formats.otlp import json_body, protobuf
from clawtop.formats.otlp.reader import OtlpReader
from clawtop.formats.otlp.senders import AttributeMap
from clawtop.model.events import Event
from clawtop.model.keys import HOST
from clawtop.model.snapshot import Health, SourceStatus
from clawtop.sources import Outlet
from clawtop.sources.otlp.address import OtlpAddress
from clawtop.sources.otlp.app import Body, OtlpApp, Rejected
from clawtop.sources.otlp.limits import Limits
from clawtop.sources.otlp.listening import listen

_SETTLE_SECONDS = 5.0
_WARNING = "ANYBODY WHO REACHES IT CAN WRITE: set CLAWTOP_OTLP_TOKEN or --token-file"


def own_names() -> frozenset[str]:
    """What this machine calls itself in its senders' resources."""
    name = socket.gethostname()
    return frozenset({name, name.partition(".")[0], "localhost"})


class OtlpSource:
    """Listens on `address`. What was sent is kept in mind over a restart of the source, as senders go on counting."""

    def __init__(
        self,
        uri: str,
        address: OtlpAddress,
        *,
        attributes: AttributeMap | None = None,
        limits: Limits | None = None,
        host: str = HOST,
    ) -> None:
        self._uri = uri
        self._address = address
        self._limits = limits or Limits()
        self._reader = OtlpReader(host, own_names(), attributes)
        self._refused: Counter[str] = Counter()
        self._requests = self._bytes = 0
        self._port = address.port
        self._listening = False
        self._told: list[Event] = []
        self._woken = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def uri(self) -> str:
        """`otlp://HOST:PORT`."""
        return self._uri

    @property
    def port(self) -> int:
        """Where it listens, also where it was told to choose (port 0)."""
        return self._port

    def told_elsewhere(self, host: str, agent: str, session: str) -> None:
        """See Echo."""
        self._told += self._reader.told_elsewhere(host, agent, session)
        if self._told:
            self._woken.set()

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        """See Source. Without `follow` there is nothing to read: senders do not wait for a reader."""
        if not follow:
            outlet.report(self._status())
            return
        bound = listen(self._address)
        from clawtop.sources.otlp.server import serve  # noqa: PLC0415 - takes 0.2 s that the first picture need not

        self._port = bound.getsockname()[1]
        self._listening = True

        async def take(body: Body) -> Rejected:
            return await self._take(body, outlet)

        def refused(why: str) -> None:
            self._refused[why] += 1
            outlet.report(self._status())

        app = OtlpApp(take, refused, token=self._address.token, limits=self._limits)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._settle(outlet))
                tasks.create_task(serve(app, bound, self._limits, refused))
                outlet.report(self._status())
        finally:
            self._listening = False
            bound.close()

    async def _take(self, body: Body, outlet: Outlet) -> Rejected:
        async with self._turn:
            self._requests += 1
            self._bytes += body.size
            before = Counter(self._reader.skipped)
            if body.json:
                message = json_body.parsed(body.data)
                records = json_body.decode(body.signal, message, self._reader.skipped)
            else:
                records = protobuf.decode(body.signal, body.data)
            for events in self._reader.read(records, outlet.now()):
                await outlet.put(events)  # also where it is empty: the rest of the engine has its turn
            outlet.report(self._status())
        why = Counter(self._reader.skipped) - before
        return Rejected(why.total(), "; ".join(f"{count} {reason}" for reason, count in why.most_common(5)))

    async def _settle(self, outlet: Outlet) -> None:
        while True:
            try:
                await asyncio.wait_for(self._woken.wait(), _SETTLE_SECONDS)
            except TimeoutError:
                self._told += self._reader.settle(outlet.now())
            self._woken.clear()
            events, self._told = self._told, []
            if events:
                async with self._turn:
                    await outlet.put(events)

    def _status(self) -> SourceStatus:
        return SourceStatus(
            self._uri,
            Health.OK,
            self._detail(),
            entries=self._reader.used,
            skipped=dict(self._reader.skipped + self._refused),
            bytes=self._bytes,
            expected=self._bytes,
        )

    def _detail(self) -> str:
        if not self._listening:
            return "nothing is received without following: senders do not wait for a reader"
        where = OtlpAddress(self._address.host, self._port).shown
        said = [f"listening on {where}, {self._requests} requests"]
        if not self._address.loopback and self._address.token is None:
            said.insert(0, _WARNING)
        if self._reader.early:
            said.append(f"{self._reader.early} from the future, counted as now")
        if self._reader.doubt:
            said.append(self._reader.doubt)
        return "; ".join(said)
