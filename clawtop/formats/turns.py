"""What followed a failed attempt: the next one on the same model, on another, or nothing."""

from dataclasses import replace

from clawtop.model.events import Call, Resolution, Resolved

CONTINUED = "Continue where you left off"
"""How 2026.2.26 begins the prompt of a fallback within the same turn."""


class Turns:
    """The attempts of one stream (a session's file, a run) in the order they were made."""

    def __init__(self) -> None:
        self._failed: Resolved | None = None
        self._asked: str | None = None

    @property
    def open(self) -> bool:
        """Whether a failed attempt waits for what follows."""
        return self._failed is not None

    def prompt(self, words: str) -> list[Resolved]:
        """A person's words: the same turn's go on where they repeat it, others end a failed turn for good."""
        if self._failed is not None and (words == self._asked or words.startswith(CONTINUED)):
            return []
        ended, self._failed, self._asked = self._failed, None, words
        return [replace(ended, tentative=False)] if ended else []

    def attempt(self, call: Call) -> list[Resolved]:
        """An attempt ended: it says what became of a failed one before it, and may itself have failed."""
        before, self._failed = self._failed, None
        if call.error is not None:
            self._failed = Resolved(
                call.key, call.at, call.id, call.provider, call.model, Resolution.FAILED, tentative=True
            )
        if before is None:
            return []
        if (before.provider, before.model) == (call.provider, call.model):
            return [replace(before, how=Resolution.RETRY, tentative=False)]
        to = f"{call.provider}/{call.model}"
        return [replace(before, how=Resolution.FALLBACK, to=to, tentative=False)]

    def aborted(self) -> None:
        """The turn was cut off between two attempts: the failed one stays without a successor."""
        self._failed = None

    def settle(self) -> list[Resolved]:
        """Nothing runs any more: the turn failed, as far as one can know."""
        return [self._failed] if self._failed else []
