"""Who sent something, and whose it was: from resource, span and point attributes to a Key."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from clawtop.formats.otlp.records import Attributes, Value
from clawtop.model.keys import UNTAGGED, Key

MAX_NAME = 200
"""Characters of a name that are kept."""
_PROCESS = (
    "host.name",
    "host.id",
    "service.namespace",
    "service.name",
    "service.instance.id",
    "process.pid",
    "container.id",
    "k8s.pod.uid",
)
_UNNAMED = "unknown_service"


def digest(parts: Iterable[object]) -> str:
    """A short name for all these parts together, the same in every process."""
    return blake2b("\0".join(map(str, parts)).encode("utf-8", "replace"), digest_size=8).hexdigest()


def text(attributes: Attributes, *names: str) -> str | None:
    """The first of these attributes that is a text or a whole number and says something, cut to MAX_NAME."""
    for name in names:
        value = attributes.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)[:MAX_NAME]
    return None


@dataclass(frozen=True, slots=True)
class AttributeMap:
    """Which attributes say whose a call was: of each list the first that a span or point has, else its resource.

    The names are those of the semantic conventions, OpenInference, Claude Code and common habit.
    """

    project: tuple[str, ...] = ("project.id", "project.name", "project", "service.namespace")
    user: tuple[str, ...] = ("enduser.id", "user.email", "user.id", "user.name", "user.account_uuid")
    owner: tuple[str, ...] = ("owner", "service.owner", "team", "team.name", "organization.id")
    environment: tuple[str, ...] = ("deployment.environment.name", "deployment.environment", "environment")
    task: tuple[str, ...] = ("task.id", "task.name", "task", "gen_ai.task.id")


@dataclass(frozen=True, slots=True)
class Sender:
    """A process that sends. `agent` is what its usage counts under where nothing says whose it was."""

    host: str
    agent: str
    process: str
    resource: Attributes


@dataclass(slots=True)
class Directory:
    """Senders by their resource.

    `host` names the machine where a resource does not, or where it gives one of the `own_names` of this machine.
    """

    host: str
    own_names: frozenset[str] = frozenset()
    attributes: AttributeMap = field(default_factory=AttributeMap)
    _last: Sender | None = None

    def sender(self, resource: Attributes) -> Sender:
        """The sender that a resource speaks of."""
        last = self._last
        if last is not None and last.resource is resource:
            return last
        host = text(resource, "host.name")
        service = text(resource, "service.name")
        self._last = Sender(
            self.host if host is None or host in self.own_names else host,
            UNTAGGED if service is None or service.startswith(_UNNAMED) else service,
            digest(f"{name}={resource.get(name, '')}" for name in _PROCESS),
            resource,
        )
        return self._last

    def key(self, sender: Sender, attributes: Attributes, agent: str | None = None) -> Key:
        """Whose something with these attributes was; without an agent it is the sender's own."""
        named = self.attributes
        return Key(
            sender.host,
            agent or sender.agent,
            project=_either(named.project, attributes, sender.resource),
            user=_either(named.user, attributes, sender.resource),
            owner=_either(named.owner, attributes, sender.resource),
            environment=_either(named.environment, attributes, sender.resource),
            task=_either(named.task, attributes, sender.resource),
        )


def _either(names: tuple[str, ...], attributes: Attributes, resource: Attributes) -> str | None:
    return text(attributes, *names) or text(resource, *names)


def whole(value: Value | None) -> int | None:
    """A count that an attribute tells: a whole number from 0 to 10^12, also as a text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10**12:
        return None
    return int(value)


def dollars(value: Value | None) -> int | None:
    """Micro-dollars of a sum of money that an attribute tells in dollars, also as a text; None for anything else."""
    try:
        amount = float(value) if isinstance(value, str) and len(value) <= 40 else value
    except ValueError:
        return None
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount <= 10**6:
        return None
    return round(amount * 1_000_000)
