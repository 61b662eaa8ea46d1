"""A gateway as a source: what its agents do this very moment, and without files all else that it still knows."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from clawtop.formats.gateway_events import GatewayEvents
from clawtop.formats.gateway_messages import oldest_of
from clawtop.gateway.connection import Gateway, GatewayAddress, connect
from clawtop.gateway.errors import ConnectionLost, GatewayError, Refused, TimedOut, Unreachable
from clawtop.gateway.protocol import GAP, words
from clawtop.model.errors import SourceError
from clawtop.model.events import Blind, Event
from clawtop.model.keys import Key
from clawtop.model.snapshot import Counters, Health, SourceStatus
from clawtop.sources import Outlet

SCOPES = ("operator.read",)
_OF_CALLS = frozenset(field.name for field in fields(Counters)) | {
    "sessions",
    "runs",
    "tokens",
    "tokens_per_min",
    "calls_per_min",
    "cost",
    "usd_per_hour",
    "cache_read",
    "context_pct",
    "latency_p50",
    "latency_p95",
}
_ROWS = 200
_MESSAGES = 1000
_AUDITED = 500
_MOST_AUDITED = 100_000
_MOST_PAGES = 50
_BATCH = 500
_CALL_SECONDS = 30.0
_REFRESH_SECONDS = 1.0
_AUDIT_SECONDS = 10.0


class GatewaySource:
    """One gateway. `companion` says that the home of the same gateway is read, too, which counts everything.

    A lost connection is raised: the engine says so and connects again with growing waits; the roster and the
    histories that are then read again fill the gap, because every call has an identity.
    """

    def __init__(
        self, uri: str, address: GatewayAddress, *, host: str, companion: bool, warnings: Sequence[str] = ()
    ) -> None:
        self._uri = uri
        self._address = address
        self._host = host
        self._companion = companion
        self._warnings = tuple(warnings)
        self._told = GatewayEvents(host, companion=companion)
        self._entries = 0
        self._skipped: Counter[str] = Counter()
        self._connected = 0
        self._goodbye = ""
        self._lost_events = 0
        self._read_until: dict[str, int] = {}
        self._audited = 0
        self._blind: set[str] = set()

    @property
    def uri(self) -> str:
        """`gateway:ws://HOST:PORT`."""
        return self._uri

    @property
    def host(self) -> str:
        """The host of its agents' keys."""
        return self._host

    @property
    def address(self) -> GatewayAddress:
        """Where it listens."""
        return self._address

    def beside(self, host: str) -> "GatewaySource":
        """The same gateway as the companion of its home, which is read as `host`."""
        return GatewaySource(self._uri, self._address, host=host, companion=True, warnings=self._warnings)

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        """See Source. Every way in which a gateway cannot be spoken to is a SourceError that says what to do."""
        try:
            async with connect(self._address, scopes=SCOPES) as gateway:
                self._connected, self._goodbye = outlet.now(), ""
                try:
                    await self._speak(gateway, outlet, follow=follow)
                finally:
                    self._skipped += gateway.frames.unreadable
                    self._lost_events += gateway.backlog.missed
        except Unreachable as error:
            if not self._companion or follow:
                raise SourceError(str(error)) from error
            # the home says all that is to be said of a gateway that does not run
            outlet.report(SourceStatus(self._uri, Health.OK, str(error)))
        except GatewayError as error:
            await outlet.put(self._told.lost(outlet.now()))
            raise SourceError(f"{error}{self._goodbye}") from error

    async def _speak(self, gateway: Gateway, outlet: Outlet, *, follow: bool) -> None:
        if self._companion and not follow:
            # the home has said all there is; that the gateway can be spoken to is what a single look adds
            outlet.report(self._status(gateway, Health.OK))
            return
        outlet.report(self._status(gateway, Health.READING))
        if follow and _tells_calls(gateway):
            # before the roster is asked for: what happens meanwhile waits in the backlog
            await gateway.call("sessions.subscribe", {}, timeout=_CALL_SECONDS)
        await self._catch_up(gateway, outlet, Health.READING)
        outlet.report(self._status(gateway, Health.OK))
        if follow:
            await self._follow(gateway, outlet)

    async def _catch_up(self, gateway: Gateway, outlet: Outlet, health: Health) -> None:
        """Read the roster, and alone also the audit ledger and what is new in the histories."""
        rows = await self._roster(gateway, outlet)
        if self._companion or not _tells_calls(gateway):
            return
        await self._read_ledger(gateway, outlet)
        for row in rows:
            await self._read_history(gateway, outlet, row)
            outlet.report(self._status(gateway, health))

    async def _roster(self, gateway: Gateway, outlet: Outlet) -> list[Mapping[str, Any]]:
        """Learn whose agents, jobs and sessions there are; the sessions' rows, newest first."""
        told = self._told
        events: list[Event] = []
        if config := await _ask(gateway, "config.get", {}):
            prices = told.roster.learn_config(config)
            # beside a home the home's own config says what things cost
            events += [] if self._companion else [prices]
        if jobs := await _ask(gateway, "cron.list", {"includeDisabled": True}):
            told.roster.learn_jobs(jobs.get("jobs"))
        if agents := await _ask(gateway, "agents.list", {}):
            events += told.learn_agents(agents)
        rows = await _rows(gateway)
        events += told.learn_sessions(rows, outlet.now())
        told.unknown = False
        await outlet.put([*self._blinds(gateway), *events])
        return sorted(rows, key=lambda row: _int(row.get("updatedAt")), reverse=True)

    def _blinds(self, gateway: Gateway) -> list[Event]:
        """What this gateway cannot tell of its agents, for those of whom it was not said before."""
        unseen = frozenset[str]()
        if not _tells_calls(gateway):
            unseen = _OF_CALLS
        elif "audit.activity.list" not in gateway.hello.methods:
            unseen = frozenset({"unmetered_runs"})
        if self._companion or not unseen:
            return []
        new = self._told.roster.agents.keys() - self._blind
        self._blind |= new
        return [Blind(Key(self._host, agent), unseen) for agent in sorted(new)]

    async def _read_history(self, gateway: Gateway, outlet: Outlet, row: Mapping[str, Any]) -> None:
        """The messages of a session as far as they may be new."""
        key, changed = row.get("key"), _int(row.get("updatedAt"))
        if not isinstance(key, str) or changed <= self._read_until.get(key, -1):
            return
        pages = await self._pages(gateway, key)
        if not pages:
            return
        events = self._told.history(key, pages, outlet.now())
        self._entries += sum(len(page["messages"]) for page in pages)
        self._read_until[key] = changed
        for start in range(0, len(events), _BATCH):
            await outlet.put(events[start : start + _BATCH])

    async def _pages(self, gateway: Gateway, key: str) -> list[Mapping[str, Any]]:
        """Answers of chat.history, the latest messages first, back to what was read before."""
        params: dict[str, object] = {"sessionKey": key, "limit": _MESSAGES}
        pages: list[Mapping[str, Any]] = []
        while len(pages) < _MOST_PAGES:
            page = await _ask(gateway, "chat.history", params)
            if page is None or not isinstance(page.get("messages"), list):
                break
            pages.append(page)
            following = page.get("nextOffset")
            if page.get("hasMore") is not True or type(following) is not int:
                break
            if oldest_of(page) < self._read_until.get(key, 0):
                break
            params["offset"] = following
        return pages

    async def _read_ledger(self, gateway: Gateway, outlet: Outlet) -> None:
        """Runs of the audit ledger that are new: background ones, and those that were cut off."""
        params: dict[str, object] = {"kind": "agent_run", "limit": _AUDITED}
        newest = self._audited
        for _ in range(_MOST_AUDITED // _AUDITED):
            page = await _ask(gateway, "audit.activity.list", params)
            listed = page.get("events") if page is not None else None
            if page is None or not isinstance(listed, list):
                break
            fresh = [told for told in listed if isinstance(told, dict) and _int(told.get("sequence")) > self._audited]
            newest = max([newest, *(_int(told.get("sequence")) for told in fresh)])
            await outlet.put(self._told.audit(fresh))
            cursor = page.get("nextCursor")
            if len(fresh) < len(listed) or not isinstance(cursor, str):
                break
            params["cursor"] = cursor
        self._audited = newest

    async def _follow(self, gateway: Gateway, outlet: Outlet) -> None:
        """Fold what the gateway pushes, until the connection is lost."""
        refresh = asyncio.create_task(self._keep_fresh(gateway, outlet))
        try:
            async for event in gateway.events():
                self._entries += 1
                if event.event == GAP:
                    self._told.unknown = True
                if event.event == "shutdown":
                    self._goodbye = f": it said {(words(event.payload.get('reason')) or 'shutdown')!r}"
                events = self._told.read(event.event, event.payload, outlet.now())
                if events:
                    await outlet.put([*self._blinds(gateway), *events])
        finally:
            refresh.cancel()
            await asyncio.gather(refresh, return_exceptions=True)

    async def _keep_fresh(self, gateway: Gateway, outlet: Outlet) -> None:
        """Fetch what pushed events leave out: somebody new in the roster, the audit ledger; and show the status."""
        loop = asyncio.get_running_loop()
        audit_at = loop.time() + _AUDIT_SECONDS
        shown = self._entries
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                if self._told.unknown:
                    await self._catch_up(gateway, outlet, Health.OK)
                if self._companion:
                    await outlet.put(self._told.going(outlet.now()))
                elif loop.time() >= audit_at:
                    audit_at = loop.time() + _AUDIT_SECONDS
                    await self._read_ledger(gateway, outlet)
            except (Refused, TimedOut):
                # it stays unknown and is asked again
                continue
            except ConnectionLost:
                return
            if shown != self._entries:
                shown = self._entries
                outlet.report(self._status(gateway, Health.OK))

    def _status(self, gateway: Gateway, health: Health) -> SourceStatus:
        hello = gateway.hello
        since = datetime.fromtimestamp(self._connected / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        known = f"all since {since}; of what was before, only what the gateway's chat.history still has"
        if self._companion:
            known = "live"
        elif not _tells_calls(gateway):
            known = "only who runs: its calls stand in its home's files, read those with openclaw:DIR on its machine"
        lost = self._lost_events + gateway.backlog.missed
        return SourceStatus(
            uri=self._uri,
            health=health,
            detail="; ".join(
                [
                    f"OpenClaw {hello.version}, protocol {hello.protocol}, {known}",
                    *([f"{lost} events came faster than they were read and were fetched again"] if lost else []),
                    *self._warnings,
                ]
            ),
            entries=self._entries,
            skipped=dict(self._skipped + gateway.frames.unreadable + Counter(self._told.skipped)),
        )


def _tells_calls(gateway: Gateway) -> bool:
    """Whether it tells of messages with their usage: 2026.2 has no subscription, and no usage in chat.history."""
    return "sessions.subscribe" in gateway.hello.methods


async def _ask(gateway: Gateway, method: str, params: Mapping[str, object]) -> dict[str, Any] | None:
    """The answer, None where this gateway has no such method, or does not let a reader use it."""
    if method not in gateway.hello.methods:
        return None
    try:
        return await gateway.call(method, params, timeout=_CALL_SECONDS)
    except Refused:
        return None


async def _rows(gateway: Gateway) -> list[Mapping[str, Any]]:
    """The rows of all sessions. Raises GatewayError."""
    params: dict[str, object] = {"limit": _ROWS}
    rows: dict[object, Mapping[str, Any]] = {}
    for _ in range(_MOST_PAGES):
        page = await gateway.call("sessions.list", params, timeout=_CALL_SECONDS)
        listed = page.get("sessions")
        rows |= {row.get("key"): row for row in listed if isinstance(row, dict)} if isinstance(listed, list) else {}
        following = page.get("nextOffset")
        if page.get("hasMore") is not True or type(following) is not int:
            break
        params["offset"] = following
    return list(rows.values())


def _int(value: object) -> int:
    return value if type(value) is int else 0
