"""What openclaw.json says about its gateway: JSON5, `$include` and `${ENV}` resolved as OpenClaw does."""

import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

_LARGEST = 4 * 1024 * 1024
_DEEPEST_INCLUDE = 10
_REFERENCE = re.compile(r"\$?\$\{([A-Z_][A-Z0-9_]*)\}")


class Unset(Exception):
    """A value refers to an environment variable that is not set here."""

    def __init__(self, name: str) -> None:
        super().__init__(f"${{{name}}} is not set in this environment")


@dataclass(frozen=True, slots=True)
class GatewaySection:
    """The gateway's part of a config, as far as it can be understood; `trouble` says what cannot."""

    port: int | None = None
    host: str | None = None
    tls: bool = False
    remote: str | None = None
    token: str | None = None
    trouble: tuple[str, ...] = ()


def read_gateway_section(path: Path, environment: Mapping[str, str]) -> GatewaySection:
    """What the config at `path` says of its gateway. Raises OSError, or ValueError for what is no JSON5."""
    gateway = _table(_table(_load(path, 0, root=True)).get("gateway"))
    auth, remote = _table(gateway.get("auth")), _table(gateway.get("remote"))
    far = gateway.get("mode") == "remote"
    trouble: list[str] = []
    named = remote.get("token") if far else auth.get("password" if auth.get("mode") == "password" else "token")
    token = None
    try:
        token = _secret(named, environment)
    except Unset as reason:
        trouble.append(f"the gateway's token in {path} cannot be read: {reason}")
    if named is not None and token is None and not trouble:
        trouble.append(f"the gateway's token in {path} is a reference that only OpenClaw can follow")
    port = gateway.get("port")
    return GatewaySection(
        port=port if type(port) is int and 0 < port < 65536 else None,
        host=_text(gateway.get("customBindHost")) if gateway.get("bind") == "custom" else None,
        tls=_table(gateway.get("tls")).get("enabled") is True,
        remote=_text(remote.get("url")) if far else None,
        token=token,
        trouble=tuple(trouble),
    )


def resolve(text: str, environment: Mapping[str, str]) -> str:
    """The text with its `${NAME}` replaced, `$${NAME}` being a literal `${NAME}`. Raises Unset."""

    def value(found: re.Match[str]) -> str:
        if found[0].startswith("$$"):
            return found[0][1:]
        if not environment.get(found[1]):
            raise Unset(found[1])
        return environment[found[1]]

    return _REFERENCE.sub(value, text)


def _secret(named: object, environment: Mapping[str, str]) -> str | None:
    if isinstance(named, str):
        return resolve(named, environment) or None
    if isinstance(named, dict) and named.get("source") == "env" and isinstance(named.get("id"), str):
        if not environment.get(named["id"]):
            raise Unset(named["id"])
        return environment[named["id"]]
    return None


def _load(path: Path, depth: int, *, root: bool) -> object:
    if depth > _DEEPEST_INCLUDE:
        raise ValueError("its $include go too deep")
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    with path.open("rb") as file:
        raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise ValueError(f"{path.name} is larger than 4 MiB")
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        import json5  # noqa: PLC0415 - 50 ms, and most configs are plain JSON

        found = json5.loads(raw.decode())
    return _follow(found, path.parent, depth, root=root)


def _follow(part: object, folder: Path, depth: int, *, root: bool) -> object:
    """The part with the files that its `$include` name merged in; of a config's root only `gateway` matters."""
    if not isinstance(part, dict):
        return part
    own = {
        key: _follow(value, folder, depth, root=False) if not root or key == "gateway" else value
        for key, value in part.items()
        if key != "$include"
    }
    listed = part.get("$include", [])
    merged: dict[str, Any] = {}
    for name in listed if isinstance(listed, list) else [listed]:
        if isinstance(name, str):
            merged = _merge(merged, _table(_load(folder / name, depth + 1, root=root)))
    return _merge(merged, own)


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
