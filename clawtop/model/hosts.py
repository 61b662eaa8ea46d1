"""What a host's name or address says of it."""

import ipaddress


def is_loopback(host: str | None) -> bool:
    """Whether only this machine is reached there: localhost, ::1 and 127.0.0.0/8."""
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"
