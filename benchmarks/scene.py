"""What the contenders work on: products that lie in three warehouses, more of them than a run can sell."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from uuid import UUID, uuid4

from django.conf import settings
from django.db.models import CharField, Exists, OuterRef
from django.db.models.functions import Cast
from tqdm import tqdm
from uuid_utils.compat import uuid7

from benchmarks import textbook
from inventory_project.foundation import batches, moments
from inventory_project.foundation.messaging.models import OutboxEvent
from reservations import lifecycle
from reservations.events import RESERVED
from reservations.models import Reservation
from reservations.requests import Item, Reserve
from stock import documents
from stock.models import Product
from warehouses import catalogue
from warehouses.models import Warehouse

ACTOR = "benchmark"
WAREHOUSES = (("wh-pr-001", "south", 1), ("wh-rj-001", "southeast", 2), ("wh-sp-001", "southeast", 1))
SOLD_OUT_UNITS = 100  # at each warehouse, all of them held


@dataclass(frozen=True, slots=True)
class Scene:
    """Products that requests go round one after the other, so that a batch meets as many of them as it can."""

    name: str
    product_ids: list[UUID]
    turn: Iterator[UUID] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "turn", cycle(self.product_ids))

    def requests(self, count: int) -> list[Reserve]:
        """One unit of the next product, for a new order each, held for longer than any run takes."""
        return [
            Reserve(
                order_id=uuid4(),
                items=(Item(product_id, 1),),
                ttl_minutes=settings.RESERVATION_TTL_MAX_MINUTES,
                actor=ACTOR,
            )
            for product_id in islice(self.turn, count)
        ]


def build(sizes: Sequence[int]) -> list[Scene]:
    """A scene of so many products for each of `sizes`, stocked through the books."""
    catalogue.upsert([Warehouse(id=id_, name=id_, region=region, priority=n) for id_, region, n in WAREHOUSES])
    scenes = [Scene(f"{size:,} products" if size > 1 else "one product", _products(size)) for size in sizes]
    _receive([id_ for scene in scenes for id_ in scene.product_ids], units=settings.DOCUMENT_MAX_QUANTITY)
    return scenes


def build_sold_out() -> Scene:
    """A product that lies in the warehouses of `build`; every unit of it is held by an order."""
    scene = Scene("sold out", _products(1))
    _receive(scene.product_ids, units=SOLD_OUT_UNITS)
    for _ in range(SOLD_OUT_UNITS):
        for answer in lifecycle.reserve_many(scene.requests(len(WAREHOUSES))):
            batches.result_of(answer)
    return scene


def _products(count: int) -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    Product.objects.bulk_create([Product(id=id_, sku=id_.hex, name="A product of the benchmark") for id_ in ids])
    return ids


def _receive(product_ids: list[UUID], *, units: int) -> None:
    chunk = settings.DOCUMENT_MAX_LINES
    receipts = [
        (warehouse_id, product_ids[start : start + chunk])
        for warehouse_id, _, _ in WAREHOUSES
        for start in range(0, len(product_ids), chunk)
    ]
    for warehouse_id, ids in tqdm(receipts, desc="Stocking", unit="receipt", disable=None, leave=False):
        documents.book(
            documents.DocumentRequest(
                kind=documents.Kind.RECEIPT,
                reference=f"benchmark-{uuid4()}",
                warehouse_id=warehouse_id,
                items=tuple((id_, units) for id_ in ids),
                actor=ACTOR,
            )
        )


def add_events_of_the_textbook() -> None:
    """Write the events that the textbook's reservations lack: the audit wants one for each reservation."""
    its_event = OutboxEvent.objects.filter(type=RESERVED, subject=Cast(OuterRef("pk"), CharField()))
    silent = Reservation.objects.filter(~Exists(its_event), actor=textbook.ACTOR).prefetch_related("items")
    OutboxEvent.objects.bulk_create([_event(reservation) for reservation in silent])


def _event(reservation: Reservation) -> OutboxEvent:
    return OutboxEvent(
        event_id=uuid7(),
        type=RESERVED,
        subject=str(reservation.id),
        occasion="",
        data={
            "reservation_id": str(reservation.id),
            "order_id": str(reservation.order_id),
            "expires_at": moments.utc_text(reservation.expires_at),
            "items": [
                {"product_id": str(line.product_id), "warehouse_id": line.warehouse_id, "quantity": line.quantity}
                for line in reservation.lines
            ],
        },
        occurred_at=reservation.created_at,
    )
