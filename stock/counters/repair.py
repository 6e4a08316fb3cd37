"""Compares counters with the database chunk by chunk, and repairs those that are missing or wrong.

A chunk costs one statement and one round trip, and correct counters are not written. Counters that differ are compared
again a little later, because under load a commit is a moment ahead of its counters. If they are still wrong, they are
deleted and written again from the rows. So a wrong counter with a high version is repaired as well.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Literal, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import connection
from prometheus_client import Counter, Gauge

from inventory_project.foundation.errors import Unavailable
from inventory_project.foundation.faults import crash_point
from stock.counters import copies, drift
from stock.counters.copies import Fields
from stock.counters.drift import Chunk, Drift

T = TypeVar("T")
Kind = Literal["full", "changed", "part"]

MAX_SUSPECTS = 20_000  # products that one worker collects before it compares them again
SECOND_LOOK_SECONDS = 0.1  # a commit is published within Redis' time-outs, which are half of this
PAUSES_SECONDS = (0.05, 0.2, 0.5, 1.0, 1.5)  # between tries; an open breaker lets one try through each second
MAX_DRIFTS = 20

sync_seconds = Gauge(
    "inventory_sync_duration_seconds",
    "How long the last sync of the counters took: full, of what had changed, or of a part.",
    ["kind"],
    multiprocess_mode="mostrecent",
)
counter_drift = Counter(
    "inventory_counter_drift",
    "Products whose counters a sync found wrong or missing, and repaired.",
    ["kind"],
)


@dataclass(slots=True, kw_only=True)
class Report:
    """What a sync compared, found and repaired.

    `missing` counts products without counters, `wrong` those whose counters differ from the database. They differ in
    `differences` fields and by `drift_units` of available stock; `drifts` are the first of these fields. `is_complete`
    is false if the sync was asked to stop before its end.
    """

    kind: Kind
    products: int = 0
    levels: int = 0
    missing: int = 0
    wrong: int = 0
    repaired: int = 0
    differences: int = 0
    drift_units: int = 0
    drifts: list[Drift] = field(default_factory=list)
    is_complete: bool = True
    seconds: float = 0.0


def no_stop() -> bool:
    """A `should_stop` that never stops the sync."""
    return False


def no_progress(_levels: int) -> None:
    """An `on_progress` that does nothing."""


# --- the run -------------------------------------------------------------------------------------------------------


class Run:
    """One sync: workers take chunks until none is left, a worker fails, or `should_stop` says so."""

    def __init__(
        self,
        kind: Kind,
        chunks: Iterable[Chunk],
        *,
        workers: int | None = None,
        is_dry_run: bool = False,
        on_progress: Callable[[int], object] = no_progress,
        should_stop: Callable[[], bool] = no_stop,
    ) -> None:
        self._report = Report(kind=kind)
        self._chunks = iter(chunks)
        self._workers = _number_of(workers or settings.SYNC_WORKERS, chunks)
        self._is_dry_run = is_dry_run
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._lock = Lock()  # of the chunks, the report and the progress
        self._is_over = False

    def run(self) -> Report:
        """Compare every chunk. Findings are counted even if the sync does not reach its end. Raises Unavailable."""
        began = time.monotonic()
        report = self._report
        try:
            if self._workers == 1:
                self._work()
            else:
                self._work_side_by_side()
        except Unavailable as refusal:
            progress = f"{report.levels} levels had been compared and {report.repaired} products repaired."
            raise Unavailable(f"{refusal.detail} {progress}", code=refusal.code) from refusal
        finally:
            report.seconds = time.monotonic() - began
            if not self._is_dry_run:
                counter_drift.labels("missing").inc(report.missing)
                counter_drift.labels("wrong").inc(report.wrong)
        sync_seconds.labels(report.kind).set(report.seconds)
        return report

    def _work_side_by_side(self) -> None:
        """Work in several threads: while one waits for a server, another computes."""
        try:
            with ThreadPoolExecutor(self._workers, thread_name_prefix="sync") as threads:
                for end in [threads.submit(self._work_in_thread) for _ in range(self._workers)]:
                    end.result()
        finally:
            self._is_over = True

    def _work_in_thread(self) -> None:
        try:
            self._work()
        finally:
            connection.close()  # the thread's own

    def _work(self) -> None:
        suspects: dict[UUID, Fields] = {}
        try:
            while chunk := self._take():
                suspects |= self._look(chunk)
                if len(suspects) >= MAX_SUSPECTS:
                    self._look_again(suspects)
                    suspects = {}
                crash_point("sync.after_chunk")
            self._look_again(suspects)
        except BaseException:
            self._is_over = True
            raise

    def _take(self) -> Chunk | None:
        with self._lock:
            if self._is_over:
                return None
            if self._should_stop():
                self._is_over, self._report.is_complete = True, False
                return None
            return next(self._chunks, None)

    def _look(self, chunk: Chunk) -> dict[UUID, Fields]:
        """Compare a chunk and write the counters that are missing; what others must say at least, to look again."""
        wanted = drift.expected(chunk)
        product_ids = list(wanted) if chunk.product_ids is None else chunk.product_ids
        found = read(product_ids)
        other = [id_ for id_ in product_ids if not drift.is_as_expected(found[id_], wanted.get(id_, {}))]
        # Without `_` a hash is only a part that was published before there was a whole one.
        missing = [id_ for id_ in other if copies.SUMMARY not in found[id_] and id_ in wanted]
        if not self._is_dry_run:
            _write({product_id: wanted[product_id] for product_id in missing if not found[product_id]})
            if parts := [product_id for product_id in missing if found[product_id]]:
                rewrite(parts)
        levels = sum(map(len, wanted.values())) - len(wanted)
        with self._lock:
            self._report.products += len(product_ids)
            self._report.levels += levels
            self._report.missing += len(missing)
            for product_id in missing:
                lacking = wanted[product_id]
                is_shown = len(self._report.drifts) < MAX_DRIFTS  # there may be a million others
                drifts = drift.drifts(product_id, found={}, before=lacking, after=lacking) if is_shown else []
                self._note(drifts, differences=len(lacking))
            self._on_progress(levels)
        return {id_: wanted.get(id_, {}) for id_ in set(other).difference(missing)}

    def _look_again(self, suspects: Mapping[UUID, Fields]) -> None:
        """Compare the suspects again and repair those that are still wrong.

        Commits from before the first look have been published by now. So the counters must be at least as new as the
        first reading, and at most as new as the rows that are read after them.
        """
        if suspects:
            time.sleep(SECOND_LOOK_SECONDS)
        for product_ids in drift.in_chunks(list(suspects)):
            found = read(product_ids)
            after = _wanted(product_ids)
            drifts = {
                id_: drift.drifts(id_, found=found[id_], before=suspects[id_], after=after[id_]) for id_ in product_ids
            }
            wrong = [product_id for product_id, differing in drifts.items() if differing]
            if wrong and not self._is_dry_run:
                rewrite(wrong)
            with self._lock:
                self._report.wrong += len(wrong)
                for product_id in wrong:
                    self._note(drifts[product_id], differences=len(drifts[product_id]))

    def _note(self, drifts: list[Drift], *, differences: int) -> None:
        """Record one product whose counters are missing or wrong, and repaired unless this is a dry run."""
        self._report.repaired += not self._is_dry_run
        self._report.differences += differences
        self._report.drift_units += sum(each.units for each in drifts)
        self._report.drifts += drifts[: max(0, MAX_DRIFTS - len(self._report.drifts))]


def _number_of(workers: int, chunks: Iterable[Chunk]) -> int:
    """The number of workers: at most one for each chunk, and at most half of the process's database connections."""
    most = max(1, settings.DATABASE_POOL_SIZE // 2)
    return min(workers, most, len(chunks) or 1) if isinstance(chunks, list) else min(workers, most)


# --- Redis ---------------------------------------------------------------------------------------------------------


def read(product_ids: Collection[UUID]) -> Mapping[UUID, Fields]:
    """The fields of the products' counters as they are stored. Raises Unavailable."""
    return _patiently(partial(copies.read_raw, product_ids))


def _wanted(product_ids: Sequence[UUID]) -> dict[UUID, Fields]:
    """What the counters of a few products must say, with an entry for each of them."""
    found = drift.expected(drift.of(product_ids))
    return {product_id: found.get(product_id, {}) for product_id in product_ids}


def rewrite(product_ids: Sequence[UUID]) -> None:
    """Delete the counters of these products and write them again from the database. Raises Unavailable.

    Between the deletion and the write, a late publication of an older commit may be visible for a moment. The write
    replaces it.
    """
    _patiently(partial(copies.forget, product_ids))
    _write({product_id: fields for product_id, fields in _wanted(product_ids).items() if fields})


def _write(wanted: Mapping[UUID, Fields]) -> None:
    """Write missing counters. If newer ones were published since the rows were read, those stay."""
    if wanted:
        crash_point("sync.before_publish")
        views = [copies.from_fields(product_id, fields) for product_id, fields in wanted.items()]
        _patiently(partial(copies.publish, views, whole=True))


def _patiently(ask: Callable[[], T | None]) -> T:
    """Ask Redis up to a few times, because a busy moment must not end a sync. Raises Unavailable."""
    for pause in (*PAUSES_SECONDS, None):
        answer = ask()
        if answer is not None and answer is not False:
            return answer
        if pause is not None:
            time.sleep(pause)
    raise Unavailable("Redis does not answer, or takes no writes.", code="redis_unavailable")
