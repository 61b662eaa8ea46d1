"""What has been read of a folder so far."""

from collections import Counter
from dataclasses import dataclass, field

from clawtop.model.snapshot import Health, SourceStatus
from clawtop.paths import spelled


@dataclass(slots=True)
class Progress:
    """Counted by every reader of one folder; `expected` and `read` are bytes of history."""

    uri: str
    health: Health = Health.READING
    entries: int = 0
    read: int = 0
    expected: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    notes: dict[str, str] = field(default_factory=dict)

    def skip(self, reason: str, count: int = 1) -> None:
        """An entry could not be used."""
        self.skipped[reason] += count

    def note(self, about: str, trouble: str | None) -> None:
        """What is wrong with one part of it; None when it is well again."""
        if trouble is None:
            self.notes.pop(spelled(about), None)
        else:
            self.notes[spelled(about)] = spelled(trouble)

    def status(self, summary: str) -> SourceStatus:
        """For the user: troubles first, else `summary`."""
        troubles = [f"{about}: {trouble}" for about, trouble in sorted(self.notes.items())]
        return SourceStatus(
            uri=self.uri,
            health=self.health,
            detail="; ".join(troubles[:3]) + (f"; and {len(troubles) - 3} more" if len(troubles) > 3 else "")
            if troubles
            else summary,
            entries=self.entries,
            skipped=dict(self.skipped),
            bytes=self.read if self.health is Health.READING else max(self.read, self.expected),
            expected=self.expected,
        )
