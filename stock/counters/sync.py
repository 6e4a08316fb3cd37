"""Makes the counters in Redis agree with the database, never the other way round.

On demand it syncs everything, what one warehouse stocks, or some products. A periodic job syncs what has changed since
its last run, and everything on each FULL_EVERY-th run. How far the job came is stored in Redis itself. So a Redis that
was emptied is synced in full. One that was restored from an old dump, or failed over to a replica that lagged, has the
old mark, and everything that has changed since then is compared.

Keys of products that do not exist or have no level are not looked for. Neither products nor levels are ever deleted,
and finding such keys would require a scan of all of Redis.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.core.cache import cache
from django.db import Error
from prometheus_client import Counter

from inventory_project.foundation import database, failures
from inventory_project.foundation.errors import Conflict, Invalid, NotFound, unknown_ids
from inventory_project.foundation.failures import Failure
from inventory_project.foundation.messaging import installation
from stock.counters import drift, repair
from stock.counters.copies import Fields
from stock.counters.drift import Chunk
from stock.counters.repair import Report, Run
from stock.models import Product, StockLevel
from warehouses.models import Warehouse

logger = logging.getLogger(__name__)

JOB = "sync_counters"
MARKER = "sync-marker"
FULL_EVERY = 10  # runs of the periodic sync
# A row gets its time before its commit. A row that takes longer than this to commit waits for the next full run.
MARGIN = timedelta(seconds=60)
MAX_CHANGED = 50_000  # products; if more have changed, a full run costs little more

sync_failures = Counter("inventory_sync_failures", "Syncs that failed because of Redis or the database.")


class SyncRunning(Conflict):
    """Another full sync is running; there is only one at a time."""

    code = "sync_running"


class NoCounters(Conflict):
    """This installation has no Redis, so there are no counters to sync."""

    code = "no_counters"


@dataclass(frozen=True, slots=True)
class ResetCounter:
    """The fields of a product's counters before and after a reset; empty if there were none."""

    product_id: UUID
    before: Fields
    after: Fields


def sync(
    *,
    warehouse_id: str | None = None,
    product_ids: Sequence[UUID] | None = None,
    workers: int | None = None,
    is_dry_run: bool = False,
    actor: str = "",
    on_progress: Callable[[int], object] = repair.no_progress,
    should_stop: Callable[[], bool] = repair.no_stop,
) -> Report:
    """Compare the counters of everything, of what one warehouse stocks, or of some products, and repair what is wrong.

    A dry run only reports. At most `workers` threads work, SYNC_WORKERS by default. `on_progress` is called with the
    number of levels of each chunk; `should_stop` is called before each chunk. Raises NoCounters, Invalid for a
    warehouse or products that do not exist, SyncRunning while another process syncs everything, and Unavailable if
    Redis does not answer or accepts no writes; repairs until then stay.
    """
    _require_redis()
    is_part = warehouse_id is not None or product_ids is not None
    with _failures_counted():
        run = Run(
            "part" if is_part else "full",
            _part(warehouse_id, product_ids) if is_part else drift.everything(),
            workers=workers,
            is_dry_run=is_dry_run,
            on_progress=on_progress,
            should_stop=should_stop,
        )
        report = run.run() if is_part or is_dry_run else _alone(run)
    _log(report, actor=actor, is_dry_run=is_dry_run)
    return report


def run_periodic(*, should_stop: Callable[[], bool] = repair.no_stop) -> Report | None:
    """Sync what has changed, or everything if that is due; None while another process syncs. Raises Unavailable."""
    with _failures_counted(), database.job_lock(JOB) as is_ours:
        if not is_ours:
            return None
        report = _remembered(partial(_next_run, should_stop=should_stop))
        installation.note_counters_synced()
    _log(report, actor="job")
    return report


def reset(product_id: UUID, *, actor: str) -> ResetCounter:
    """Rewrite one product's counters, even if they are right. Raises NotFound, NoCounters and Unavailable."""
    _require_redis()
    if not Product.objects.filter(pk=product_id).exists():
        raise NotFound(f"There is no product {product_id}.")
    before = repair.read([product_id])[product_id]
    repair.rewrite([product_id])
    after = repair.read([product_id])[product_id]
    logger.info("counters reset product_id=%s actor=%s before=%s after=%s", product_id, actor, before, after)
    return ResetCounter(product_id=product_id, before=before, after=after)


def _require_redis() -> None:
    if not settings.REDIS_URL:
        raise NoCounters("There are no counters here: REDIS_URL is not set.")


def _part(warehouse_id: str | None, product_ids: Sequence[UUID] | None) -> Iterable[Chunk]:
    if product_ids is None:
        if not Warehouse.objects.filter(pk=warehouse_id).exists():
            raise unknown_ids(warehouse_ids=[str(warehouse_id)])
        return drift.stocked_at(str(warehouse_id))
    if warehouse_id is not None:
        raise Invalid("Name a warehouse or products, not both.")
    known = set(Product.objects.filter(pk__in=product_ids).values_list("pk", flat=True))
    if unknown := [str(product_id) for product_id in product_ids if product_id not in known]:
        raise unknown_ids(product_ids=unknown)
    return drift.named(list(dict.fromkeys(product_ids)))


def _alone(run: Run) -> Report:
    with database.job_lock(JOB) as is_ours:
        if not is_ours:
            raise SyncRunning("Another sync is running now; repeat this in a moment.")
        return _remembered(lambda _memory: run)


@contextmanager
def _failures_counted() -> Iterator[None]:
    try:
        yield
    except (Invalid, Conflict):
        raise  # refused before it began
    except Exception:
        sync_failures.inc()
        raise


def _log(report: Report, *, actor: str, is_dry_run: bool = False) -> None:
    logger.log(
        logging.WARNING if report.wrong else logging.INFO,
        "counters synced kind=%s products=%s levels=%s missing=%s wrong=%s repaired=%s drift_units=%s seconds=%.3f "
        "is_complete=%s is_dry_run=%s actor=%s first=%s",
        report.kind, report.products, report.levels, report.missing, report.wrong, report.repaired, report.drift_units,
        report.seconds, report.is_complete, is_dry_run, actor, report.drifts[:1],
    )  # fmt: skip


# --- how far the periodic sync came --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Memory:
    """When the last sync began, by the database's clock, and how many runs there were since the last full one."""

    since: datetime
    runs: int


def _stored() -> Any:
    """What Redis has as the mark; None also for what cannot be read, because anyone may have written it."""
    try:
        return cache.get(MARKER)
    except (ValueError, RecursionError):  # it is not UTF-8, not JSON, or nested too deep
        return None


def _recall(now: datetime) -> _Memory | None:
    """The stored mark; None if there is none, or if this module cannot have written it by `now`."""
    kept = _stored()
    try:
        memory = _Memory(datetime.fromisoformat(kept["since"]), kept["runs"])
        is_valid = memory.runs in range(FULL_EVERY) and memory.since - MARGIN <= memory.since <= now
        return memory if is_valid else None
    except (TypeError, KeyError, ValueError, OverflowError):  # TypeError also for a time without its offset
        return None


def _remembered(choose: Callable[[_Memory | None], Run]) -> Report:
    """Do the run that fits the stored mark, and update the mark unless Redis was emptied or replaced meanwhile."""
    since = database.database_now()
    memory = _recall(since)
    run = choose(memory)
    mark = {"run": str(uuid4())} | ({} if memory is None else {"since": memory.since.isoformat(), "runs": memory.runs})
    cache.set(MARKER, mark, timeout=None)
    report = run.run()
    if report.is_complete and _stored() == mark:
        runs = 0 if memory is None or report.kind == "full" else memory.runs + 1
        cache.set(MARKER, {"since": since.isoformat(), "runs": runs}, timeout=None)
    return report


def _next_run(memory: _Memory | None, *, should_stop: Callable[[], bool]) -> Run:
    changed = None if memory is None or memory.runs == FULL_EVERY - 1 else _changed_since(memory.since - MARGIN)
    if changed is None:
        return Run("full", drift.everything(), should_stop=should_stop)
    return Run("changed", drift.named(changed), should_stop=should_stop)


def _changed_since(moment: datetime) -> list[UUID] | None:
    """The products with a level that was updated since; None if there are too many to list or to find in time.

    This scans the whole table, because with an index on `updated_at` no sale's UPDATE could be HOT any more.
    """
    changed = StockLevel.objects.filter(updated_at__gte=moment).values_list("product_id", flat=True).distinct()
    try:
        found = list(changed[: MAX_CHANGED + 1])
    except Error as error:
        if failures.kind_of(error) != Failure.SLOW:
            raise
        return None  # a table too large for one scan is compared chunk by chunk
    return found if len(found) <= MAX_CHANGED else None
