"""Where to listen, and who may send."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clawtop.credentials import read_token
from clawtop.model.errors import UsageError
from clawtop.model.hosts import is_loopback

DEFAULT = "127.0.0.1:4318"
TOKEN_VARIABLE = "CLAWTOP_OTLP_TOKEN"  # noqa: S105 - the name of where it stands


@dataclass(frozen=True, slots=True)
class OtlpAddress:
    """`host` and `port` to listen on; with a `token` senders must know it."""

    host: str
    port: int
    token: str | None = field(default=None, repr=False)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def shown(self) -> str:
        """HOST:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(uri: str, environment: Mapping[str, str], token_file: Path | None) -> OtlpAddress:
    """The address that `otlp://HOST:PORT` names; HOST or all of it may be left out.

    The token is CLAWTOP_OTLP_TOKEN, else, beyond loopback, the word in `token_file`. Raises UsageError.
    """
    rest = uri.removeprefix("otlp:").removeprefix("//").rstrip("/") or DEFAULT
    host, colon, port = rest.rpartition(":")
    if not colon:
        host, port = rest, "4318"
    host = host.strip("[]") or "127.0.0.1"
    if not port.isascii() or not port.isdigit() or int(port) > 65535 or "/" in host:
        raise UsageError(f"source {uri!r} names no address to listen on, expected otlp://HOST:PORT, e.g. {DEFAULT}")
    address = OtlpAddress(host, int(port), environment.get(TOKEN_VARIABLE) or None)
    if address.token is None and token_file is not None and not address.loopback:
        return OtlpAddress(host, int(port), read_token(token_file))
    return address
