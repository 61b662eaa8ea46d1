"""The HTTP API of a Prometheus, as far as it is needed, and everything that may come instead of an answer."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import httpx

from clawtop import __version__
from clawtop.credentials import read_token, without_credentials
from clawtop.formats.prometheus import Phase
from clawtop.formats.prometheus_answers import Answer, read_names, read_series
from clawtop.model.errors import SourceError, Unusable, UsageError
from clawtop.model.hosts import is_loopback
from clawtop.plain import printable

MOST_BYTES = 32 * 1024 * 1024
"""The largest answer that is read."""
MOST_SERIES = 20_000
"""How many series are asked for at most."""

_Read = TypeVar("_Read")
_SECONDS = 30.0
_SERVER_SECONDS = 25
"""After so long it is to say itself that a question was too much."""
_CONNECT_SECONDS = 5.0
_WORDS = 300
_LARGEST_REFUSAL = 64 * 1024
_LIMITS = {"limit": f"{MOST_SERIES}", "timeout": f"{_SERVER_SECONDS}s"}


class TooMuch(SourceError):
    """The answer is larger, or takes more of the Prometheus, than it may: a smaller question may do."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Prometheus is. `url` has no credentials, nor has `where`, its host and port as people read them."""

    url: str
    where: str
    auth: httpx.Auth | None = field(default=None, repr=False)
    loopback: bool = False

    @property
    def warnings(self) -> list[str]:
        """What the owner of the credentials should know about how they are sent."""
        if self.auth is None or self.loopback or self.url.startswith("https:"):
            return []
        return [f"the credentials for {self.where} cross the network unencrypted: use https:// or `ssh -L`"]


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def parse_address(uri: str, environment: Mapping[str, str] | None = None, token_file: Path | None = None) -> Address:
    """The Prometheus that `prometheus:http(s)://[USER[:PASSWORD]@]HOST[:PORT][/PREFIX]` names.

    A token, of CLAWTOP_PROMETHEUS_TOKEN or else of `token_file`, is the password of a user that has none in the URL,
    and else a bearer token. Raises UsageError, without the password.
    """
    url = uri.removeprefix("prometheus:")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        shown = without_credentials(uri)
        raise UsageError(f"{shown!r} names no Prometheus: it is prometheus:http://HOST:PORT, or https://, and a prefix")
    token = (environment or {}).get("CLAWTOP_PROMETHEUS_TOKEN") or (read_token(token_file) if token_file else None)
    auth: httpx.Auth | None = None
    if parts.username is not None:
        auth = httpx.BasicAuth(unquote(parts.username), unquote(parts.password or "") or token or "")
    elif token is not None:
        auth = _Bearer(token)
    named = f"[{host}]" if ":" in host else host
    where = f"{named}:{port}" if port else named
    prefix = parts.path.rstrip("/").removesuffix("/api/v1")
    return Address(f"{parts.scheme}://{where}{prefix}", where, auth, is_loopback(host))


class Api:
    """Questions to one Prometheus. Everything that is no answer is a SourceError with one clear line.

    `bytes` have been read so far; `unusable` series of the answers were not as they should be.
    """

    def __init__(self, client: httpx.AsyncClient, address: Address) -> None:
        self._client = client
        self._address = address
        self.bytes = 0
        self.unusable = 0

    async def names(self, pattern: str, start: int) -> list[str]:
        """The metric names that match, of series with values since `start` (Unix ms)."""
        body = await self._get(
            "label/__name__/values", {"match[]": f'{{__name__=~"{pattern}"}}', "start": f"{start / 1000}"}
        )
        return self._read(read_names, body)

    async def query(self, expression: str, at: int | None = None) -> Answer:
        """What an expression is worth at a moment (Unix ms), or now."""
        params = {"query": expression, **_LIMITS}
        if at is not None:
            params["time"] = f"{at / 1000}"
        return self._series(await self._get("query", params))

    async def query_range(self, expression: str, phase: Phase) -> Answer:
        """What an expression is worth at each look of a phase. Raises TooMuch where it is to be cut."""
        params = {
            "query": expression,
            "start": f"{(phase.start + phase.step) / 1000}",
            "end": f"{phase.end / 1000}",
            "step": f"{phase.step / 1000}",
            **_LIMITS,
        }
        return self._series(await self._get("query_range", params))

    def _series(self, body: bytes) -> Answer:
        answer = self._read(read_series, body)
        self.unusable += answer.unusable
        return answer

    def _read(self, read: Callable[[bytes], _Read], body: bytes) -> _Read:
        try:
            return read(body)
        except Unusable as why:
            where = self._address.where
            raise SourceError(f"{where} does not answer as a Prometheus does: {_words(str(why))}") from None

    async def _get(self, path: str, params: Mapping[str, str]) -> bytes:
        where = self._address.where
        try:
            async with (
                asyncio.timeout(_SECONDS),
                self._client.stream("GET", f"{self._address.url}/api/v1/{path}", params=params) as answer,
            ):
                return await self._body(answer)
        except (TimeoutError, httpx.TimeoutException):
            raise SourceError(f"{where} did not answer within {_SECONDS:g} s") from None
        except httpx.ConnectError as error:
            raise SourceError(f"cannot reach {where}: {_words(_cause(error))}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # the words of some errors quote what was sent
            raise SourceError(f"{where} broke off: {type(error).__name__}") from None

    async def _body(self, answer: httpx.Response) -> bytes:
        where = self._address.where
        if answer.status_code != 200:
            raise self._refusal(answer.status_code, await _upto(answer, _LARGEST_REFUSAL))
        body = await _upto(answer, MOST_BYTES)
        self.bytes += len(body)
        if len(body) > MOST_BYTES:
            raise TooMuch(f"{where} answers with more than {MOST_BYTES >> 20} MB")
        kind = answer.headers.get("content-type", "nothing").partition(";")[0]
        if not body.lstrip()[:1] == b"{":
            raise SourceError(
                f"{where} answers with {_words(kind)}, not as a Prometheus does; does it want a prefix, "
                "prometheus:http://HOST:PORT/PREFIX?"
            )
        return body

    def _refusal(self, status: int, body: bytes) -> SourceError:
        where = self._address.where
        try:
            read_series(body)
            said = ""
        except Unusable as why:
            said = "" if str(why).startswith("it ") else f": {_words(str(why))}"
        match status:
            case 401 | 403:
                return SourceError(
                    f"{where} lets nobody in without credentials, or not with these ({status}): give a token by "
                    "CLAWTOP_PROMETHEUS_TOKEN or --token-file, or USER:PASSWORD@ in the URL"
                )
            case 404:
                return SourceError(
                    f"{where} has no /api/v1 ({status}); does it want a prefix, prometheus:http://HOST:PORT/PREFIX?"
                )
            case 422 | 503 if said:
                return TooMuch(f"{where} cannot answer ({status}){said}")
            case _ if 300 <= status < 400:
                return SourceError(
                    f"{where} points elsewhere ({status}), and credentials are not sent there: name that"
                )
            case _:
                return SourceError(f"{where} answers {status}{said}")


@asynccontextmanager
async def connect(address: Address) -> AsyncIterator[Api]:
    """A connection to a Prometheus. TLS certificates are checked against SSL_CERT_FILE and the usual authorities."""
    async with httpx.AsyncClient(
        auth=address.auth,
        headers={"User-Agent": f"clawtop/{__version__}"},
        timeout=httpx.Timeout(_SECONDS, connect=_CONNECT_SECONDS),
        # to have the certificates at hand takes a while that plain HTTP need not wait for
        verify=_authorities() if address.url.startswith("https:") else False,
        trust_env=not address.loopback,
    ) as client:
        yield Api(client, address)


def _authorities() -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    context.load_default_certs()  # a company's own are often only known to the system
    return context


async def _upto(answer: httpx.Response, most: int) -> bytes:
    """The body, cut off once it is longer than `most`."""
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > most:
            break
    return bytes(body)


def _cause(error: BaseException) -> str:
    """The system's own words for what went wrong, which lie beneath those of three libraries."""
    deepest = error
    while (below := deepest.__cause__ or deepest.__context__) is not None:
        deepest = below
    if isinstance(deepest, ssl.SSLError | socket.gaierror):
        return str(deepest.strerror)
    return os.strerror(deepest.errno) if isinstance(deepest, OSError) and deepest.errno else str(error)


def _words(text: str) -> str:
    return printable(" ".join(text.split()), _WORDS)
