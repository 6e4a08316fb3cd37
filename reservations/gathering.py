"""Gathers the single requests of many threads of this process into batches for the lifecycle (group commit)."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connection

from inventory_project.foundation.group_commit import GroupCommit
from reservations import lifecycle
from reservations.requests import Outcome, weight


def _keep_no_connection() -> None:
    """Return this thread's database connection, which authentication used, to the pool."""
    if not connection.in_atomic_block:
        connection.close()


def _gatherer(name: str, verb: Callable[..., Any]) -> GroupCommit[Any, Outcome]:
    return GroupCommit(
        name,
        verb,
        max_batch=settings.GROUP_COMMIT_MAX_BATCH,
        max_weight=settings.GROUP_COMMIT_MAX_LINES,
        weight=weight,
        max_waiting=settings.GROUP_COMMIT_MAX_WAITING,
        patience_seconds=settings.GROUP_COMMIT_PATIENCE_SECONDS,
        work_seconds=settings.GROUP_COMMIT_WORK_SECONDS,
        slow_seconds=settings.GROUP_COMMIT_SLOW_SECONDS,
        release_resources=_keep_no_connection,
    )


GATHERERS = {
    lifecycle.reserve_many: _gatherer("reserve", lifecycle.reserve_many),
    lifecycle.confirm_many: _gatherer("confirm", lifecycle.confirm_many),
    lifecycle.cancel_many: _gatherer("cancel", lifecycle.cancel_many),
}


def one(verb: Callable[..., Any], wanted: Any) -> Outcome:
    """The outcome of one request, decided in one batch with the concurrent requests of other threads."""
    if settings.GROUP_COMMIT and verb in GATHERERS:
        return GATHERERS[verb].call(wanted)
    return lifecycle.one(verb, wanted)
