"""Celery tasks of stock; one line each."""

from celery import shared_task

from stock.counters import sync


@shared_task(name="stock.tasks.sync_counters")
def sync_counters() -> None:
    """Bring the counters to what the database says, where they have drifted from it."""
    sync.run_periodic()
