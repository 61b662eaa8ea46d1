"""Source URIs, and the sources that are found where none is named."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from clawtop.credentials import without_credentials
from clawtop.formats.attribution import ProjectRule
from clawtop.formats.otlp.senders import AttributeMap
from clawtop.formats.revisions import Revisions
from clawtop.model.errors import UsageError
from clawtop.paths import expanded, is_folder
from clawtop.sources import Source

KINDS = (
    "openclaw:DIR",
    "gateway:ws://HOST:PORT",
    "claude:DIR",
    "codex:DIR",
    "events:PATH",
    "prometheus:URL",
    "otlp://HOST:PORT",
    "otlp-file:PATH",
    "demo:",
)


def open_source(  # noqa: C901, PLR0911 - one return a kind
    uri: str,
    *,
    projects: Sequence[ProjectRule] = (),
    environment: Mapping[str, str] | None = None,
    token_file: Path | None = None,
    attributes: AttributeMap | None = None,
    messages: Revisions | None = None,
) -> Source:
    """The source that `uri` names; `messages` are shared by all of Claude Code's folders.

    Raises UsageError for a kind that does not exist or a path that is missing in it.
    """
    kind, colon, rest = uri.partition(":")
    if not colon:
        raise UsageError(f"source {without_credentials(uri)!r} has no kind in front; one of {', '.join(KINDS)}")
    match kind:
        case "openclaw":
            from clawtop.sources.openclaw import OpenClawSource  # noqa: PLC0415 - only what is used is imported

            return OpenClawSource(uri, _path(uri, rest), projects=projects)
        case "gateway":
            from clawtop.gateway.addresses import parse_address, token_warnings  # noqa: PLC0415
            from clawtop.sources.gateway import GatewaySource  # noqa: PLC0415

            address = parse_address(uri, environment, token_file)
            host = urlsplit(address.url).netloc
            warnings = token_warnings(address, token_file)
            return GatewaySource(uri, address, host=host, companion=False, warnings=warnings)
        case "claude":
            from clawtop.sources.claude import ClaudeSource  # noqa: PLC0415

            return ClaudeSource(uri, _path(uri, rest), projects=projects, messages=messages)
        case "codex":
            from clawtop.sources.codex import CodexSource  # noqa: PLC0415

            return CodexSource(uri, _path(uri, rest), projects=projects)
        case "events":
            from clawtop.sources.events import EventsSource  # noqa: PLC0415

            return EventsSource(uri, Path("-") if rest == "-" else _path(uri, rest))
        case "prometheus":
            from clawtop.sources.prometheus import PrometheusSource  # noqa: PLC0415
            from clawtop.sources.prometheus_api import parse_address as parse_prometheus  # noqa: PLC0415

            return PrometheusSource(parse_prometheus(uri, environment, token_file))
        case "otlp":
            from clawtop.sources import otlp  # noqa: PLC0415

            where = otlp.parse_address(uri, environment or {}, token_file)
            return otlp.OtlpSource(uri, where, attributes=attributes)
        case "otlp-file":
            from clawtop.sources.otlp_file import OtlpFileSource  # noqa: PLC0415

            return OtlpFileSource(uri, Path("-") if rest == "-" else _path(uri, rest), attributes=attributes)
        case "demo":
            from clawtop.sources.demo import DemoSource  # noqa: PLC0415

            return DemoSource(uri)
    raise UsageError(f"source {without_credentials(uri)!r} is of no known kind; one of {', '.join(KINDS)}")


def check_token_file(uris: Sequence[str], environment: Mapping[str, str], token_file: Path | None) -> None:
    """Raise UsageError where one token would be shown to a gateway and to a Prometheus."""
    kinds = {uri.partition(":")[0] for uri in uris}
    needs_it = "prometheus" in kinds and not environment.get("CLAWTOP_PROMETHEUS_TOKEN")
    if token_file is not None and needs_it and kinds & {"openclaw", "gateway", "otlp"}:
        raise UsageError(
            "--token-file is one token, and there are a gateway and a Prometheus it may be for: "
            "give the Prometheus its own in CLAWTOP_PROMETHEUS_TOKEN"
        )


def _path(uri: str, rest: str) -> Path:
    if not rest:
        raise UsageError(f"source {uri!r} needs a path after the colon")
    return expanded(rest)


def discover(environment: Mapping[str, str], home: Path, *, projects: Sequence[ProjectRule] = ()) -> Sequence[Source]:
    """What this environment's agents leave behind: of OpenClaw, Claude Code and Codex what is there.

    Where nothing is there OpenClaw is waited for.
    """
    from clawtop.sources.openclaw import OpenClawSource, find_homes  # noqa: PLC0415

    others = [(kind, folder) for kind, folder in _others(environment, home) if is_folder(folder)]
    homes = [(folder, config) for folder, config in find_homes(environment, home) if is_folder(folder) or not others]
    messages = Revisions()
    return [
        *(OpenClawSource(f"openclaw:{folder}", folder, config, projects=projects) for folder, config in homes),
        *(open_source(f"{kind}:{folder}", projects=projects, messages=messages) for kind, folder in others),
    ]


def absent(environment: Mapping[str, str], home: Path) -> list[str]:
    """What `discover` looks for and makes no source of, as it is not there."""
    from clawtop.sources.openclaw import find_homes  # noqa: PLC0415

    others = _others(environment, home)
    found = [is_folder(folder) for _, folder in others]
    homes = [("openclaw", folder) for folder, _ in find_homes(environment, home)] if any(found) else []
    return [f"{kind}:{folder}" for kind, folder in [*homes, *others] if not is_folder(folder)]


def _others(environment: Mapping[str, str], home: Path) -> list[tuple[str, Path]]:
    """(kind, folder) of where Claude Code and Codex keep their logs."""
    from clawtop.sources import claude, codex  # noqa: PLC0415

    claudes = [("claude", folder) for folder in claude.find_folders(environment, home)]
    return [*claudes, ("codex", codex.find_folder(environment, home))]
