"""Which subjects wait because a full queue refused one of their events.

A subject waits longer after each refusal in a row, so that its event does not reach the other queues again and again.
As soon as a queue takes events of subjects that waited, and refuses none, twice as many others may try.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

FIRST_SECONDS = 0.25
MAX_SECONDS = 30.0
SPREAD = (0.5, 1.5)  # times the wait, so that subjects that were refused together do not come back together


@dataclass(slots=True)
class _Wait:
    until: float
    seconds: float


class Backoff:
    """The subjects that wait, those that were refused first at the beginning. Moments are those of `time.monotonic`."""

    def __init__(self) -> None:
        self._waits: dict[str, _Wait] = {}

    def __len__(self) -> int:
        return len(self._waits)

    def waiting(self, now: float) -> list[str]:
        """The subjects whose events must not be sent yet."""
        return [subject for subject, wait in self._waits.items() if wait.until > now]

    def note(self, *, accepted: Collection[str], refused: Collection[str], now: float) -> None:
        """Record which subjects had an event accepted and which had one refused, of those that were sent together."""
        number = sum(self._waits.pop(subject, None) is not None for subject in accepted)
        for subject in refused:
            self._refuse(subject, now)
        if not refused:
            later = (wait for wait in self._waits.values() if wait.until > now)
            for wait in list(islice(later, 2 * number)):
                wait.until = now

    def forget_others(self, subjects: Collection[str], now: float) -> None:
        """Forget every subject that may be sent and is not in `subjects`: it has no event that waits any more."""
        gone = [subject for subject, wait in self._waits.items() if wait.until <= now and subject not in subjects]
        for subject in gone:
            del self._waits[subject]

    def _refuse(self, subject: str, now: float) -> None:
        earlier = self._waits.get(subject)
        seconds = FIRST_SECONDS if earlier is None else min(MAX_SECONDS, 2 * earlier.seconds)
        self._waits[subject] = _Wait(now + seconds * random.uniform(*SPREAD), seconds)  # noqa: S311  # no secret
