"""Of one subject only one event is under way at a time."""

from datetime import UTC, datetime
from uuid import uuid4

from inventory_project.foundation.messaging.outbox import PendingEvent
from inventory_project.foundation.messaging.relay import rounds


def events(*subjects: str) -> list[PendingEvent]:
    """An event of each of these subjects, with rising ids."""
    moment = datetime(2026, 11, 30, tzinfo=UTC)
    return [
        PendingEvent(number, uuid4(), "inventory.tested", subject, "{}", "{}", moment)
        for number, subject in enumerate(subjects)
    ]


def test_events_of_different_subjects_are_one_round() -> None:
    different = events("a", "b", "c")

    assert rounds(different) == [different]


def test_the_events_of_a_subject_are_in_different_rounds_in_their_order() -> None:
    several = events("a", "a", "b", "a", "b")

    assert [[event.id for event in group] for group in rounds(several)] == [[0, 2], [1, 4], [3]]


def test_no_events_are_no_round() -> None:
    assert rounds([]) == []
