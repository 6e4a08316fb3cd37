"""Books receipts and adjustments. Each has a reference, so that sending one twice has no second effect."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings

from inventory_project.foundation import batches, database, values
from inventory_project.foundation.errors import BooksDamaged, Conflict, Invalid, Refusal, unknown_ids
from inventory_project.foundation.messaging import outbox
from stock import ledger
from stock.models import StockDocument, StockDocumentLine

Kind = StockDocument.Kind


class ReferenceConflict(Conflict):
    """The reference was used before, for something else."""

    code = "reference_conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRequest:
    """A document to book: `items` are (product, units), signed for an adjustment, each product once."""

    kind: Kind
    reference: str
    warehouse_id: str
    items: tuple[tuple[UUID, int], ...]
    reason: str = ""
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedDocument:
    """A document as it is booked; `is_replay` if it was booked before this call."""

    kind: Kind
    reference: str
    warehouse_id: str
    reason: str
    items: tuple[tuple[UUID, int], ...]
    created_at: datetime
    is_replay: bool


def book(request: DocumentRequest) -> BookedDocument:
    """Book a receipt or an adjustment, all of it or nothing.

    The same reference with the same content gets the same answer. Raises ReferenceConflict if the content differs,
    Invalid (`unknown_ids`) for products or a warehouse that do not exist, and InsufficientStock if an adjustment would
    take more than is available.

    Missing stock levels are created first, in a transaction of their own, so that a document that is refused may leave
    an empty one. Only that short transaction locks the product and the warehouse: receipts never keep a block waiting.
    """
    _check(request)
    booked = batches.run_one(_book, request)
    if booked is None:
        batches.run_one(_create_levels, request)
        booked = batches.run_one(_book, request)
    if booked is None:
        raise BooksDamaged(f"no stock level warehouse_id={request.warehouse_id} right after it was created")
    return booked


def _check(request: DocumentRequest) -> None:
    product_ids = [product_id for product_id, _ in request.items]
    if not product_ids or len(product_ids) > settings.DOCUMENT_MAX_LINES:
        raise Invalid(f"A document has 1 to {settings.DOCUMENT_MAX_LINES} lines.")
    if len(set(product_ids)) != len(product_ids):
        raise Invalid("A document names each product once.")
    for _, quantity in request.items:
        is_signed = request.kind == Kind.ADJUSTMENT
        if quantity == 0 or (quantity < 0 and not is_signed) or abs(quantity) > settings.DOCUMENT_MAX_QUANTITY:
            raise Invalid(
                f"A quantity is a whole number of units, not 0, at most {settings.DOCUMENT_MAX_QUANTITY}"
                f"{', negative only in an adjustment' if not is_signed else ''}."
            )


def _create_levels(requests: Sequence[DocumentRequest]) -> list[Refusal | None]:
    return [_create_levels_of(request) for request in requests]


def _create_levels_of(request: DocumentRequest) -> Refusal | None:
    product_ids = _product_ids(request)
    products, warehouses = ledger.lock_products_and_warehouses(product_ids, [request.warehouse_id])
    if len(products) < len(product_ids) or not warehouses:
        return unknown_ids(
            product_ids=[str(product_id) for product_id in product_ids if product_id not in products],
            warehouse_ids=[] if warehouses else [request.warehouse_id],
        )
    ledger.create(product_ids, request.warehouse_id)
    return None


def _book(requests: Sequence[DocumentRequest]) -> list[BookedDocument | Refusal | None]:
    """Book one document at a time; None for one that lacks a stock level."""
    return [_book_one(request) for request in requests]


def _book_one(request: DocumentRequest) -> BookedDocument | Refusal | None:
    product_ids = _product_ids(request)
    levels = ledger.lock(product_ids, warehouse_ids=[request.warehouse_id])
    now = database.database_now()
    booked = _find(request)
    if booked is not None:
        return booked
    if len(levels.by_key) < len(product_ids):
        return None
    try:
        _post_all(request, levels)
    except ledger.InsufficientStock as refusal:
        return refusal
    _write(request, at=now)
    outbox.record(ledger.write(levels, at=now), at=now)
    return _booked(request, at=now, is_replay=False)


def _product_ids(request: DocumentRequest) -> list[UUID]:
    return sorted(product_id for product_id, _ in request.items)


def _find(request: DocumentRequest) -> BookedDocument | Refusal | None:
    references = values.spellings(request.reference)
    found = StockDocument.objects.filter(kind=request.kind, reference__in=references)
    document = min(found, key=lambda one: one.reference != request.reference, default=None)
    if document is None:
        return None
    lines = set(document.lines.values_list("product_id", "quantity"))
    is_same = (document.warehouse_id, lines) == (request.warehouse_id, set(request.items))
    if not is_same or document.reason not in values.spellings(request.reason):
        return ReferenceConflict(f"Reference {request.reference!r} was used before, with other content.")
    return _booked(request, at=document.created_at, is_replay=True)


def _post_all(request: DocumentRequest, levels: ledger.LockedLevels) -> None:
    """Post every line. Raises InsufficientStock that names every short line, not only the first."""
    shortages = []
    for product_id, quantity in sorted(request.items):
        try:
            ledger.post(
                levels,
                ledger.Posting(
                    kind=ledger.Kind(request.kind.value),
                    product_id=product_id,
                    warehouse_id=request.warehouse_id,
                    available=quantity,
                    reference=request.reference,
                    actor=request.actor,
                    reason=request.reason,
                ),
            )
        except ledger.InsufficientStock as refusal:
            shortages.extend(refusal.extra["shortages"])
    if shortages:
        raise ledger.InsufficientStock("The adjustment would take more than is free.", shortages=shortages)


def _write(request: DocumentRequest, *, at: datetime) -> None:
    document = StockDocument.objects.create(
        kind=request.kind,
        reference=request.reference,
        warehouse_id=request.warehouse_id,
        reason=request.reason,
        actor=request.actor,
        created_at=at,
    )
    database.insert_rows(
        StockDocumentLine,
        ("document", "product", "quantity"),
        [(document.pk, product_id, quantity) for product_id, quantity in request.items],
    )


def _booked(request: DocumentRequest, *, at: datetime, is_replay: bool) -> BookedDocument:
    return BookedDocument(
        kind=request.kind,
        reference=request.reference,
        warehouse_id=request.warehouse_id,
        reason=request.reason,
        items=request.items,
        created_at=at,
        is_replay=is_replay,
    )
