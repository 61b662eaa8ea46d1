"""What can go wrong with a gateway; every message says what happened, at which url, and what to do.

GatewayError
 ├── Unreachable       nothing listens there, something else does, or nothing is answered in time
 ├── WrongToken        the gateway refuses the token, or none was given
 ├── PairingNeeded     the gateway wants a device that its owner has approved
 ├── ProtocolMismatch  the gateway speaks none of the protocols that clawtop knows
 ├── Refused           one request was answered with an error
 ├── TimedOut          one request was not answered in time
 └── ConnectionLost    the gateway hung up, or this side did

No message, repr or log ever holds a token.
"""

from clawtop.model.errors import ClawtopError


class GatewayError(ClawtopError):
    """A gateway that cannot be spoken to, or does not do what it was asked."""


class Unreachable(GatewayError):
    """No gateway answers at that address."""


class WrongToken(GatewayError):
    """The gateway does not take the token."""


class PairingNeeded(GatewayError):
    """The gateway wants a paired device, which clawtop is not."""


class ProtocolMismatch(GatewayError):
    """The gateway speaks another protocol."""


class Refused(GatewayError):
    """The gateway answered `method` with an error: `code` such as INVALID_REQUEST, and its own words."""

    def __init__(self, code: str, message: str, method: str) -> None:
        super().__init__(f"the gateway refused {method}: {message} ({code})")
        self.code = code
        self.message = message
        self.method = method


class TimedOut(GatewayError):
    """The gateway did not answer `method` in time; whether it did what was asked is not known."""

    def __init__(self, method: str, url: str, seconds: float) -> None:
        super().__init__(f"{url} did not answer {method} within {seconds:g} s")
        self.method = method


class ConnectionLost(GatewayError):
    """The connection ended; what was asked and not answered may or may not have been done."""
