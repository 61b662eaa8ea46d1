"""One real gateway of each generation, shared by a module's tests."""

import signal
from collections.abc import Iterator

import pytest

from tests.e2e.lab import Lab

VERSIONS = ("2026.9.6", "2026.6.35")


def pytest_configure() -> None:
    """Lets a run that is told to end (a timeout of whoever runs it) end its gateways first, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="module", params=VERSIONS)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A gateway whose researcher meets two short 429s, then one for the day, and falls back."""
    with Lab(str(request.param), researcher="mock-quota429/quota429") as lab:
        yield lab
