"""A source on a fake Prometheus, and what the fleet makes of what it told."""

from collections.abc import Iterable

from clawtop.fleet.fleet import Fleet
from clawtop.model.events import Event
from clawtop.model.snapshot import Row, View, Window
from clawtop.sources.prometheus import PrometheusSource
from clawtop.sources.prometheus_api import parse_address
from tests.fake_prometheus import FakePrometheus
from tests.outlets import Remembered

NOW = 1_800_000_000_000
MINUTE = 60_000
CODER = {"host": "local", "agent": "coder", "project": "api", "user": "", "model": "mock/normal"}


def scrapes(*values: tuple[int, float | str]) -> list[tuple[int, float | str]]:
    """A counter scraped each minute: `values` are (minutes ago, value from then on), the latest at NOW."""
    found: list[tuple[int, float | str]] = []
    for (ago, value), until in zip(values, [*(ago for ago, _ in values[1:]), -1], strict=True):
        found += ((NOW - minute * MINUTE, value) for minute in range(ago, until, -1))
    return found


def source(fake: FakePrometheus, userinfo: str = "", poll: float = 0.01, **environment: str) -> PrometheusSource:
    uri = f"prometheus:{fake.url.replace('://', f'://{userinfo}')}"
    return PrometheusSource(parse_address(uri, environment), poll=poll)


def outlet() -> Remembered:
    return Remembered(lambda: NOW)


async def read(one: PrometheusSource) -> Remembered:
    """What a single look gives."""
    told = outlet()
    await one.run(told, follow=False)
    return told


def row(events: Iterable[Event], window: Window = Window.ALL, agent: str = "coder", now: int = NOW) -> Row:
    fleet = Fleet()
    fleet.prune(now)
    for event in events:
        fleet.fold(event)
    return next(row for row in fleet.snapshot(View(window), now).rows if row.label == agent)
