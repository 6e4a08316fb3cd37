"""Reservations in memory, and the statements that read and write many of them at once."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from inventory_project.foundation import database
from inventory_project.foundation.database import Deferred as Pending
from reservations.models import Reservation, ReservationItem
from stock import ledger

Status = Reservation.Status

FIELDS = (
    "id", "order_id", "status", "is_live", "expires_at", "created_at", "settled_at",
    "delivery_postal_code", "allocation", "replaces_id", "actor",
)  # fmt: skip
LINE_FIELDS = ("id", "product_id", "warehouse_id", "quantity", "confirmed", "released", "returned", "called_off")
RESERVATION_COLUMNS = tuple(name.removesuffix("_id") if name == "replaces_id" else name for name in FIELDS)
HOLD = database.fields_of(Reservation, RESERVATION_COLUMNS)
LINE = database.fields_of(ReservationItem, ("reservation", *LINE_FIELDS))
HOLD_COLUMNS = ", ".join(f"reservation.{name}" for name in FIELDS)
LINE_COLUMNS = ", ".join(f"reservation_item.{name}" for name in ("reservation_id", *LINE_FIELDS))
ITEM_COLUMNS = ("id", "reservation", "product", "warehouse", "quantity", "confirmed", "released", "returned")
# Units released while the hold was ACTIVE have a reference; units released at its end have none.
GIVEN_UP_BEFORE = """(SELECT CAST(COALESCE(SUM(available_delta), 0) AS bigint) FROM stock_movement
    WHERE line_id = reservation_item.id AND kind = 'RELEASE' AND reference <> '')"""
END_REASON = """(SELECT reason FROM stock_movement
    WHERE line_id = reservation_item.id AND kind = 'RELEASE' AND reference = '')"""


@dataclass(slots=True)
class HoldLine:
    """Units of one product at one warehouse, and what happened to them.

    `called_off` is the part of `released` that the shop cancelled after the hold had ended. Two facts are only read for
    a revival: `given_up_before`, the part of `released` from before the hold ended, and `end_reason`, why the rest was
    released at its end.
    """

    id: UUID
    product_id: UUID
    warehouse_id: str
    quantity: int
    confirmed: int = 0
    released: int = 0
    returned: int = 0
    called_off: int = 0
    given_up_before: int = 0
    end_reason: str | None = None

    @property
    def open(self) -> int:
        """Units that are still held: neither confirmed nor released."""
        return self.quantity - self.confirmed - self.released

    @property
    def wanted(self) -> int:
        """Units that a late payment buys: those at the hold's end, without what the shop has cancelled since."""
        return self.quantity - self.given_up_before - self.called_off


@dataclass(slots=True)
class Hold:
    """A reservation with its lines (in id order), as one transaction knows it.

    It is called a hold in every status, even when it is CONFIRMED, to distinguish it from the row `models.Reservation`.
    """

    id: UUID
    order_id: UUID
    status: str
    is_live: bool
    expires_at: datetime
    created_at: datetime
    settled_at: datetime | None
    delivery_postal_code: str
    allocation: dict[str, Any]
    replaces_id: UUID | None
    actor: str
    lines: list[HoldLine] = field(default_factory=list)

    def is_overdue(self, now: datetime) -> bool:
        """Whether it is still ACTIVE although its time is up, because nothing has released it yet."""
        return self.status == Status.ACTIVE and self.expires_at <= now

    @property
    def is_revivable(self) -> bool:
        """Whether a late payment serves the order again: it expired, or was cancelled only because a payment failed.

        It must have been read for a revival.
        """
        if self.status == Status.CANCELLED:
            return any(line.end_reason == "payment_failed" for line in self.lines)
        return self.status == Status.EXPIRED

    @property
    def product_ids(self) -> set[UUID]:
        return {line.product_id for line in self.lines}

    @property
    def warehouse_ids(self) -> set[str]:
        return {line.warehouse_id for line in self.lines}


def new_line(*, product_id: UUID, warehouse_id: str, quantity: int) -> HoldLine:
    return HoldLine(id=uuid7(), product_id=product_id, warehouse_id=warehouse_id, quantity=quantity)


@dataclass(slots=True)
class Live:
    """How many ACTIVE reservations an actor has, and the units that they hold."""

    orders: int = 0
    units: int = 0


# --- reading -------------------------------------------------------------------------------------------------------


def locking(reservation_ids: Collection[UUID], *, is_for_revival: bool = False) -> Pending[dict[UUID, Hold]]:
    """Lock these reservations in the order of their ids and read them; unknown ids are left out.

    The lines have a statement of their own, because the locking one would read them as of before its wait.
    `is_for_revival` reads `given_up_before` and `end_reason` as well.
    """
    among, parameter = database.among(reservation_ids)
    lock = database.for_no_key_update("reservation")
    holds = database.select(
        HOLD,
        f"SELECT {HOLD_COLUMNS} FROM reservation WHERE id {among} ORDER BY id {lock}",  # noqa: S608  # our own names
        [parameter],
        lambda rows: {row[0]: Hold(*row) for row in rows},
    )
    columns = f"{LINE_COLUMNS}, {GIVEN_UP_BEFORE}, {END_REASON}" if is_for_revival else LINE_COLUMNS
    lines = database.select(
        LINE,
        f"SELECT {columns} FROM reservation_item WHERE reservation_id {among} ORDER BY id",  # noqa: S608
        [parameter],
        list,
    )
    return lambda: _with_lines(holds(), lines())


def look(reservation_ids: Collection[UUID]) -> dict[UUID, int]:
    """Which transaction has locked each of these reservations; see `foundation.bulkhead`. Locks those that are free."""
    among, parameter = database.among(reservation_ids)
    sql = database.look("reservation", "id", f"id {among}")
    return dict(database.select(HOLD[:1], sql, [parameter], list)())


def locking_levels(reservation_ids: Collection[UUID]) -> Pending[ledger.LockedLevels]:
    """Lock the levels of the lines of these reservations. A line never moves to another level."""
    among, parameter = database.among(reservation_ids)
    places = f"SELECT product_id, warehouse_id FROM reservation_item WHERE reservation_id {among}"  # noqa: S608
    return ledger.locking_places(places, [parameter])


def locking_live(actors: Collection[str]) -> Pending[dict[str, Live]]:
    """Lock these actors, so that no other transaction reserves for them, and count what they hold. Two statements.

    An actor without a hold is in the answer too.
    """
    if not actors:
        return dict
    database.lock_names([f"actor/{actor}" for actor in actors])
    among, parameter = database.among(actors)
    return database.select(
        (),
        "SELECT actor, COUNT(DISTINCT reservation.id), SUM(quantity - confirmed - released) FROM reservation "  # noqa: S608
        "JOIN reservation_item ON reservation_item.reservation_id = reservation.id "
        f"WHERE actor {among} AND status = 'ACTIVE' GROUP BY actor",
        [parameter],
        lambda rows: {
            **{actor: Live() for actor in actors},
            **{actor: Live(orders, int(units)) for actor, orders, units in rows},
        },
    )


def live_of_orders(order_ids: Collection[UUID]) -> Pending[dict[UUID, Hold]]:
    """The live reservation of each order that has one. One statement; nothing is locked."""
    among, parameter = database.among(order_ids)
    return database.select(
        (*HOLD, *LINE),
        f"SELECT {HOLD_COLUMNS}, {LINE_COLUMNS} FROM reservation "  # noqa: S608  # our own names
        "JOIN reservation_item ON reservation_item.reservation_id = reservation.id "
        f"WHERE reservation.order_id {among} AND reservation.is_live ORDER BY reservation_item.id",
        [parameter],
        _by_order,
    )


def _by_order(rows: Sequence[Any]) -> dict[UUID, Hold]:
    holds = {row[0]: Hold(*row[: len(HOLD)]) for row in rows}
    return {hold.order_id: hold for hold in _with_lines(holds, [row[len(HOLD) :] for row in rows]).values()}


def _with_lines(holds: dict[UUID, Hold], lines: Iterable[Sequence[Any]]) -> dict[UUID, Hold]:
    for reservation_id, *line in lines:
        holds[reservation_id].lines.append(HoldLine(*line))
    return holds


def time_left(holds: Iterable[Hold], now: datetime) -> dict[UUID, timedelta | None]:
    """How long each hold still lasts from `now`; None for a settled one."""
    return {hold.id: hold.expires_at - now if hold.status == Status.ACTIVE else None for hold in holds}


def current_ids_of_orders(order_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """For each order its live reservation, else its latest one. One statement; nothing is locked."""
    rows = Reservation.objects.filter(order_id__in=order_ids).values_list("order_id", "id")
    # The last row of an order wins: live after settled, later after earlier. Later by the database's clock, not by
    # the ids, because each process creates those by its own clock.
    return dict(rows.order_by("is_live", "created_at", "id"))


# --- writing -------------------------------------------------------------------------------------------------------


def insert(holds: Iterable[Hold]) -> None:
    """Write new reservations and their lines; two statements.

    Sorted by order id, so that two processes with the same orders insert them in the same sequence.
    """
    ordered = sorted(holds, key=lambda hold: hold.order_id)
    database.insert_rows(
        Reservation, RESERVATION_COLUMNS, [tuple(getattr(hold, name) for name in FIELDS) for hold in ordered]
    )
    database.insert_rows(
        ReservationItem,
        ITEM_COLUMNS,
        [
            (
                line.id, hold.id, line.product_id, line.warehouse_id,
                line.quantity, line.confirmed, line.released, line.returned,
            )
            for hold in ordered
            for line in hold.lines
        ],
    )  # fmt: skip


def update(holds: Sequence[Hold]) -> None:
    """Write what settling, extending or returning changed; two statements."""
    database.update_rows(
        Reservation,
        ("id", "status", "is_live", "expires_at", "settled_at"),
        [(hold.id, hold.status, hold.is_live, hold.expires_at, hold.settled_at) for hold in holds],
    )
    database.update_rows(
        ReservationItem,
        ("id", "confirmed", "released", "returned", "called_off"),
        [
            (line.id, line.confirmed, line.released, line.returned, line.called_off)
            for hold in holds
            for line in hold.lines
        ],
    )
