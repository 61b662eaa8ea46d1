"""The latest things that went wrong, and what followed them."""

from bisect import insort

from clawtop.model.snapshot import Incident


class Incidents:
    """The `limit` latest incidents by time, whatever the order they arrive in."""

    def __init__(self, limit: int = 200) -> None:
        self._limit = limit
        self._kept: list[Incident] = []

    def add(self, incident: Incident) -> None:
        """Keep an incident, unless so many later ones are known."""
        insort(self._kept, incident, key=_order)
        if len(self._kept) > self._limit:
            del self._kept[0]

    def remove(self, incident: Incident) -> None:
        """Forget an incident that turned out to be none."""
        if incident in self._kept:
            self._kept.remove(incident)

    @property
    def newest_first(self) -> tuple[Incident, ...]:
        """All that are kept."""
        return tuple(reversed(self._kept))


def _order(incident: Incident) -> tuple[object, ...]:
    return incident.at, incident.what, incident.text, tuple(part or "" for part in incident.key)
