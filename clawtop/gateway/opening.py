"""Opening a WebSocket, and saying in plain words why it could not be opened."""

import logging
import socket
import ssl
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import HeadersLike
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidProxy, InvalidStatus, ProxyError

from clawtop.gateway.errors import Unreachable

LARGEST_FRAME = 64 << 20
"""Bytes of the largest frame that is taken; 2026.6 sends up to 25 MiB."""

_PING_SECONDS = 15.0
_CLOSE_SECONDS = 1.0

_wire = logging.getLogger("clawtop.gateway.wire")
# its debug output is whole frames, the one with the token included
_wire.setLevel(logging.WARNING)


class _Connection(ClientConnection):
    """Follows no redirect: the token is for the gateway that was named."""

    async def handshake(
        self, additional_headers: HeadersLike | None = None, user_agent_header: str | None = None
    ) -> None:
        """Open the WebSocket. Raises _NoWebSocket where HTTP answers something else."""
        try:
            await super().handshake(additional_headers, user_agent_header)
        except InvalidStatus as error:
            raise _NoWebSocket(error.response.status_code) from None


class _NoWebSocket(InvalidHandshake):
    """HTTP answers with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")


async def open_socket(url: str, *, verify: bool, loopback: bool) -> ClientConnection:
    """A WebSocket to `url`. Raises Unreachable; how long it may take is the caller's to say."""
    tls: dict[str, Any] = {"ssl": _unverified()} if url.startswith("wss:") and not verify else {}
    try:
        return await connect(
            url,
            compression=None,
            proxy=None if loopback else True,
            open_timeout=None,
            ping_interval=_PING_SECONDS,
            ping_timeout=_PING_SECONDS,
            close_timeout=_CLOSE_SECONDS,
            max_size=LARGEST_FRAME,
            logger=_wire,
            create_connection=_Connection,
            **tls,
        )
    except ImportError:
        raise Unreachable(f"the proxy that the environment names for {url} needs SOCKS, which clawtop lacks") from None
    except (OSError, InvalidHandshake, InvalidProxy) as error:
        raise Unreachable(_why(error, url)) from None


def no_gateway(url: str, why: str) -> str:
    """Something listens at `url`, but it is no gateway."""
    return f"what listens at {url} does not speak as a gateway ({why}): is the port gateway.port of openclaw.json?"


def silence(url: str, seconds: float) -> str:
    """Nothing came back, or nothing that makes sense."""
    return (
        f"no answer of a gateway from {url} within {seconds:g} s: "
        "is its machine up, the port gateway.port of its openclaw.json, and open to this machine?"
    )


def _why(error: Exception, url: str) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            why = f"the certificate of {url} cannot be trusted ({error.verify_message}): "
            why += "add its authority to this system, e.g. with SSL_CERT_FILE"
        case ssl.SSLError():
            why = f"{url} does not speak TLS ({error.reason or 'handshake failed'}): is it ws:// instead of wss://?"
        case ConnectionRefusedError():
            why = f"nothing listens at {url}: is the gateway running, and is this gateway.port of its openclaw.json?"
        case socket.gaierror():
            why = f"the name in {url} is not known: {error.strerror}"
        case ConnectionError() if url.startswith("wss:"):
            why = f"{url} does not speak TLS (it hung up): is it ws:// instead of wss://?"
        case ProxyError() | InvalidProxy():
            # the whole of the latter's words quotes the proxy's url with the password in it
            said = error.msg if isinstance(error, InvalidProxy) else str(error)
            why = f"the proxy that the environment names for {url} does not work: {said[:200]}"
        case OSError():
            why = f"{url} cannot be reached: {error.strerror or type(error).__name__}"
        case InvalidMessage():
            encrypted = "" if url.startswith("wss:") else "; if that port wants TLS, it is wss://"
            why = no_gateway(url, f"no HTTP answer{encrypted}")
        case _:
            why = no_gateway(url, f"no WebSocket: {str(error)[:200]}")
    return why


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
