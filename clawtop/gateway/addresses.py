"""Where a gateway listens and which token it wants, from what lies on this machine."""

import contextlib
import sqlite3
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import orjson

from clawtop.credentials import read_token
from clawtop.gateway.config_file import GatewaySection, read_gateway_section
from clawtop.gateway.connection import GatewayAddress
from clawtop.model.errors import UsageError

USUAL_PORT = 18789
_LEASE = "SELECT payload_json FROM state_leases WHERE scope = 'gateway-owner' ORDER BY updated_at DESC LIMIT 1"


def find_address(
    folder: Path, config: Path | None, environment: Mapping[str, str], token_file: Path | None = None
) -> tuple[GatewayAddress | None, list[str]]:
    """(the gateway of this state directory, what its user should know), None where nothing speaks of a gateway.

    The port: the running gateway's lease, OPENCLAW_GATEWAY_PORT, `gateway.port`, else OpenClaw's own default.
    The token: `token_file`, OPENCLAW_GATEWAY_TOKEN, `gateway.auth.token`. Raises UsageError for a token file that
    cannot be used; everything else that is wrong is a warning.
    """
    warnings: list[str] = []
    environment = {**_dot_env(folder / ".env"), **environment}
    beside = (folder / "openclaw.json", folder.parent / "openclaw.json")
    path = config or next((path for path in beside if path.is_file()), None)
    section = _section(path, environment, warnings)
    lease = _leased_port(folder / "state" / "openclaw.sqlite")
    if path is None and lease is None:
        return None, warnings
    token = _token(environment, token_file, warnings)
    if token is None:
        token = section.token
        warnings += section.trouble
        _warn_of_readers(path, token, warnings)
    if section.remote is not None:
        return _remote(section.remote, path, token, warnings), warnings
    port = lease or _port(environment.get("OPENCLAW_GATEWAY_PORT")) or section.port or USUAL_PORT
    address = GatewayAddress(f"{'wss' if section.tls else 'ws'}://{section.host or '127.0.0.1'}:{port}", token)
    # on its own machine a gateway shows a certificate that it made itself: nothing could vouch for it
    return replace(address, verify=not (section.tls and address.loopback)), warnings


def parse_address(
    uri: str, environment: Mapping[str, str] | None = None, token_file: Path | None = None
) -> GatewayAddress:
    """The gateway that `gateway:ws://HOST:PORT` names, with the token of `token_file` or OPENCLAW_GATEWAY_TOKEN.

    Raises UsageError for anything else, a token within the url included: it would show on every screen.
    """
    url = uri.removeprefix("gateway:")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if set("@?#") & set(url):
        raise UsageError(
            "a gateway's url takes no user, password or token: it would show on every screen; "
            "give the token in OPENCLAW_GATEWAY_TOKEN or --token-file"
        )
    if parts.scheme not in ("ws", "wss") or not host:
        raise UsageError(f"{uri!r} names no gateway: it is gateway:ws://HOST:PORT, or wss:// for one with TLS")
    named = f"[{host}]" if ":" in host else host
    port = port or (USUAL_PORT if parts.scheme == "ws" else 443)
    url = f"{parts.scheme}://{named}:{port}{parts.path if parts.path != '/' else ''}"
    return GatewayAddress(url, _token(environment or {}, token_file, []))


def token_warnings(address: GatewayAddress, token_file: Path | None) -> list[str]:
    """What the owner of this token should know about how it is kept and sent."""
    warnings: list[str] = []
    if token_file is not None:
        _warn_of_readers(token_file, address.token, warnings)
    if address.exposed:
        warnings.append(f"the token for {address.url} crosses the network unencrypted: use wss:// or `ssh -L`")
    return warnings


def _remote(url: str, path: Path | None, token: str | None, warnings: list[str]) -> GatewayAddress | None:
    try:
        return replace(parse_address(f"gateway:{url}"), token=token)
    except UsageError as error:
        warnings.append(f"gateway.remote.url in {path} cannot be used, so its gateway is not watched: {error}")
        return None


def _section(path: Path | None, environment: Mapping[str, str], warnings: list[str]) -> GatewaySection:
    if path is None:
        return GatewaySection()
    try:
        return read_gateway_section(path, environment)
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)[:120]
        warnings.append(f"{path} cannot be read ({why}): the gateway's port and token are not known from it")
        return GatewaySection()


def _token(environment: Mapping[str, str], token_file: Path | None, warnings: list[str]) -> str | None:
    if token_file is None:
        return environment.get("OPENCLAW_GATEWAY_TOKEN") or environment.get("OPENCLAW_GATEWAY_PASSWORD") or None
    token = read_token(token_file)
    _warn_of_readers(token_file, token, warnings)
    return token


def _warn_of_readers(path: Path | None, token: str | None, warnings: list[str]) -> None:
    if path is None or token is None:
        return
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        # a folder that is closed to others keeps what is in it
        if mode & (stat.S_IRGRP | stat.S_IROTH) and path.resolve().parent.stat().st_mode & (
            stat.S_IXGRP | stat.S_IXOTH
        ):
            warnings.append(f"the gateway's token in {path} can be read by others on this machine: chmod 600 {path}")


def _port(text: str | None) -> int | None:
    digits = (text or "").strip().rpartition(":")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and 0 < int(digits) < 65536 else None


def _leased_port(path: Path) -> int | None:
    """The port that the gateway itself wrote into its lease, as 2026.8 and later do."""
    if not path.is_file():
        return None
    with (
        contextlib.suppress(sqlite3.Error, orjson.JSONDecodeError),
        contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=0.2)) as connection,
    ):
        row = connection.execute(_LEASE).fetchone()
        payload = orjson.loads(row[0]) if row else None
        port = payload.get("port") if isinstance(payload, dict) else None
        return port if type(port) is int and 0 < port < 65536 else None
    return None


def _dot_env(path: Path) -> dict[str, str]:
    """What the state directory's own .env sets, which OpenClaw reads, too."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.strip().removeprefix("export ").partition("=") for line in lines if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, equals, value in pairs if equals}
