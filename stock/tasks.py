"""Celery tasks of stock; one line each."""

from celery import shared_task

from stock.counters import sync


@shared_task(name="stock.tasks.sync_counters")
def sync_counters() -> None:
    """Repair the counters that differ from the database."""
    sync.run_periodic()
