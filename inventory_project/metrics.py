"""/metrics: the sum of what all processes counted, and current numbers from the database."""

import os
import time
from collections.abc import Callable, Iterator
from threading import Lock

from django.db import Error, connection
from django.db.models import Min
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from inventory_project.foundation import database
from inventory_project.foundation.access import monitoring
from inventory_project.foundation.http import problems
from inventory_project.foundation.messaging.models import OutboxEvent
from reservations.models import Reservation
from stock.models import StockLevel

EVENTS_COUNTED = 100_000  # a scrape during an outage must not read millions of rows
STOCK_LEVELS_SHOWN = 1_000  # more series would burden Prometheus; the scarcest levels matter most


class BooksCollector(Collector):
    """Collects numbers from the database at each scrape. If it is unreachable, `inventory_database_up` is 0."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families. The queries are few and cheap, and each uses an index."""
        yield GaugeMetricFamily(
            "inventory_metrics_made_at_seconds", "When this page was made, in Unix time.", time.time()
        )
        up = GaugeMetricFamily("inventory_database_up", "1 when the database answered this scrape.")
        try:
            families = [_stock_levels(), *_outbox(), _overdue()]
        except Error:
            connection.close()
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from families


def _stock_levels() -> Metric:
    family = GaugeMetricFamily(
        "inventory_stock_level",
        f"Units available; at most {STOCK_LEVELS_SHOWN} levels, those below their threshold first, the scarcest first.",
        labels=["product_id", "warehouse_id"],
    )
    columns = ("product_id", "warehouse_id", "available")
    low = StockLevel.objects.filter(is_low=True).order_by("available", "id").values_list(*columns)
    levels = list(low[:STOCK_LEVELS_SHOWN])
    others = StockLevel.objects.filter(is_low=False).order_by("id").values_list(*columns)
    levels += others[: STOCK_LEVELS_SHOWN - len(levels)]
    for product_id, warehouse_id, available in levels:
        family.add_metric([str(product_id), warehouse_id], available)
    return family


def _outbox() -> Iterator[Metric]:
    waiting, unrouted = OutboxEvent.objects.waiting(), OutboxEvent.objects.unrouted()
    oldest = waiting.values_list("occurred_at", flat=True).first()
    age = (database.database_now() - oldest).total_seconds() if oldest else 0.0
    number = waiting[:EVENTS_COUNTED].count()
    yield GaugeMetricFamily(
        "inventory_outbox_unpublished", f"Events that wait to be published, {EVENTS_COUNTED:,} at most.", number
    )
    yield GaugeMetricFamily("inventory_outbox_oldest_age_seconds", "Age of the oldest of them, in seconds.", age)
    yield GaugeMetricFamily(
        "inventory_outbox_unrouted",
        f"Events that no queue was bound for, {EVENTS_COUNTED:,} at most.",
        unrouted[:EVENTS_COUNTED].count(),
    )


def _overdue() -> Metric:
    now = database.database_now()
    overdue = Reservation.objects.overdue(now).aggregate(oldest=Min("expires_at"))
    lag = (now - overdue["oldest"]).total_seconds() if overdue["oldest"] else 0.0
    return GaugeMetricFamily(
        "inventory_expiry_lag_seconds", "For how long the longest overdue hold has waited to be released.", lag
    )


class Page:
    """The page of metrics, kept for ten times as long as it took to make, MAX_KEPT_SECONDS at most.

    So however often it is asked for, making it takes about a tenth of one core. Only one thread makes it. The others
    wait for MAX_WAIT_SECONDS at most, then get the page before.
    """

    SHARE = 10
    MAX_WAIT_SECONDS = 1.0
    MAX_KEPT_SECONDS = 10.0

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._lock = Lock()
        self._content = b""
        self._good_until = 0.0

    def content(self) -> bytes:
        """The page, made now or a moment ago."""
        if not self._lock.acquire(timeout=self.MAX_WAIT_SECONDS if self._content else -1):
            return self._content
        try:
            began = time.monotonic()
            if began >= self._good_until:
                self._content = self._make()
                self._good_until = began + min(self.SHARE * (time.monotonic() - began), self.MAX_KEPT_SECONDS)
            return self._content
        finally:
            self._lock.release()


def _made() -> bytes:
    registry = CollectorRegistry()
    registry.register(BooksCollector())
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        counted = b""
    else:
        counted = generate_latest(REGISTRY)
    return counted + generate_latest(registry)


page = Page(_made)


@problems.reading_only
def metrics(request: HttpRequest) -> HttpResponse:
    """All metrics as Prometheus text. The processes of a `serve` share PROMETHEUS_MULTIPROC_DIR, and are added up.

    401 for a caller who may not read them; `access.monitoring` decides.
    """
    if not monitoring.may_read(request.headers.get("Authorization", "")):
        refusal = problems.response(401, problems.METRICS_ARE_CLOSED)
        refusal["WWW-Authenticate"] = monitoring.CHALLENGE
        return refusal
    return HttpResponse(page.content(), content_type=CONTENT_TYPE_LATEST)
