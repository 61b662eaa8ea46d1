"""The socket that senders connect to."""

import socket

from clawtop.model.errors import SourceError
from clawtop.sources.otlp.address import OtlpAddress

_BACKLOG = 128


def listen(address: OtlpAddress) -> socket.socket:
    """A socket that is bound there. Raises SourceError where that cannot be."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(where)
            found.listen(_BACKLOG)
            found.settimeout(0)
        except OSError:
            found.close()
            raise
    except UnicodeError:
        raise SourceError(f"cannot listen on {address.shown}: {address.host} is no name of a host") from None
    except OSError as error:
        advice = "stop what listens there, or name another port with -s otlp://HOST:PORT"
        raise SourceError(f"cannot listen on {address.shown}: {error.strerror or error}; {advice}") from error
    return found
