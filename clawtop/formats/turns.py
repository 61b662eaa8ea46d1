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
        self._first_words: str | None = None
        self._first: Call | None = None

    @property
    def open(self) -> bool:
        """Whether a failed attempt waits for what follows."""
        return self._failed is not None

    @property
    def begun(self) -> bool:
        """Whether the stream's first words are known."""
        return self._first is not None or self._first_words is not None

    def prompt(self, words: str) -> list[Resolved]:
        """A person's words: the same turn's go on where they repeat it, others end a failed turn for good."""
        if self._failed is not None and (words == self._asked or words.startswith(CONTINUED)):
            return []
        if self._first is None and self._first_words is None:
            self._first_words = words
        ended, self._failed, self._asked = self._failed, None, words
        return [replace(ended, tentative=False)] if ended else []

    def attempt(self, call: Call) -> list[Resolved]:
        """An attempt ended: it says what became of a failed one before it, and may itself have failed."""
        self._first = self._first or call
        before, self._failed = self._failed, None
        if call.error is not None:
            self._failed = Resolved(
                call.key, call.at, call.id, call.provider, call.model, Resolution.FAILED, tentative=True
            )
        return [] if before is None else _followed(before, call)

    def went_on_in(self, later: "Turns") -> list[Resolved]:
        """What the beginning of a later stream of the same session says of this one's last failed attempt.

        A session that is reset in the middle of a turn goes on with that turn in a new file.
        """
        words = later._first_words
        if later._first is None or self._failed is None:
            return []
        if words is not None and words != self._asked and not words.startswith(CONTINUED):
            return []
        failed, self._failed = self._failed, None
        return _followed(failed, later._first)

    def aborted(self) -> None:
        """The turn was cut off between two attempts: the failed one stays without a successor."""
        self._failed = None

    def settle(self) -> list[Resolved]:
        """Nothing runs any more: the turn failed, as far as one can know."""
        return [self._failed] if self._failed else []


def _followed(failed: Resolved, call: Call) -> list[Resolved]:
    if (failed.provider, failed.model) == (call.provider, call.model):
        return [replace(failed, how=Resolution.RETRY, tentative=False)]
    return [replace(failed, how=Resolution.FALLBACK, to=f"{call.provider}/{call.model}", tentative=False)]
