"""Which hosts are this machine alone."""

import pytest

from clawtop.model.hosts import is_loopback


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "::1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", [None, "", "0.0.0.0", "::", "128.0.0.1", "localhost.example.com", "127.0.0.1.nip.io"])  # noqa: S104
def test_not_loopback(host: str | None) -> None:
    assert not is_loopback(host)
