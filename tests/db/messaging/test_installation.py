"""What holds for all processes of an installation is known to each, whatever its environment says."""

from datetime import timedelta

import pytest
from django.db import IntegrityError
from pytest_django import Settings

from inventory_project.foundation.messaging import installation
from inventory_project.foundation.messaging.models import Installation

pytestmark = pytest.mark.usefixtures("books")


def test_an_installation_that_has_recorded_nothing_writes_events_to_the_log() -> None:
    assert installation.read().events_go_to == "log"
    assert not Installation.objects.exists()


def test_there_is_only_one_row() -> None:
    installation.note_counters_synced()
    with pytest.raises(IntegrityError, match="installation_has_one_row"):
        Installation.objects.create(pk=2)


def test_a_process_without_redis_is_warned_while_others_keep_counters(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    installation.note_counters_synced()

    installation.warn_of_missing_redis()

    [line] = caplog.records
    assert line.levelname == "ERROR"
    assert line.getMessage().startswith("REDIS_URL is not set here, but another process synced")


def test_nobody_is_warned_with_redis_or_without_counters_or_long_after_they_were_given_up(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    installation.warn_of_missing_redis()  # nobody has ever synced
    installation.note_counters_synced()
    synced_at = Installation.objects.get().counters_synced_at
    assert synced_at is not None
    settings.REDIS_URL = "redis://counters"
    installation.warn_of_missing_redis()
    settings.REDIS_URL = ""
    Installation.objects.update(counters_synced_at=synced_at - timedelta(hours=1.1))
    installation.warn_of_missing_redis()

    assert caplog.records == []
