"""What a batch decides over: the rows it has locked and read, and what it has decided about them so far.

A batch locks and reads everything it needs, the clock last; decides each request in memory, in the order of arrival;
then writes all of it with the COMMIT. It runs inside its caller's transaction. docs/concepts/locking.md explains the
order of the locks, which every function here keeps.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Self, TypeVar
from uuid import UUID

from django.db.models import Q

from inventory_project.foundation import bulkhead, database, tracing
from inventory_project.foundation.errors import NotFound, Refusal
from inventory_project.foundation.faults import crash_point
from inventory_project.foundation.messaging import outbox
from inventory_project.foundation.messaging.outbox import Event
from reservations import holds
from reservations.holds import Hold, Live
from reservations.requests import (
    Cancel,
    Confirm,
    Expire,
    Extend,
    NotDecidedYet,
    OrderChanged,
    Outcome,
    Pay,
    Reserve,
    Return,
)
from stock import ledger
from stock.models import Product, StockMovement
from warehouses import network
from warehouses.network import Network

Kind = ledger.Kind
AnyRequest = TypeVar("AnyRequest", Confirm, Cancel, Expire, Extend, Return)
Allocated = TypeVar("Allocated", Reserve, Pay)

MAX_DECIDING_SECONDS = 0.5  # in which a transaction goes on choosing warehouses while it holds its locks
MAX_LEVELS_TOGETHER = 4  # levels of a product up to which locking all of them costs less than choosing first
MAX_WIDE_PRODUCTS = 100_000  # remembered

_wide: set[UUID] = set()  # products that this process has seen in more warehouses; a level is never deleted


@dataclass(slots=True)
class WorkingSet:
    """The locked rows of a batch, and what it has decided so far. Each verb fills the fields that it needs.

    Locked and read:
    `holds` are the locked reservations by id. `current` is, for each order that was asked about, its current
    reservation out of those, or why it has none to work with. `live` is the live reservation of each order, locked or
    not; those granted in this batch are added. `live_of_actors` has what each actor holds that is limited
    in that, with what this batch grants. `network` has the warehouses to choose among; it is empty where the
    batch reserves nothing. `unstocked` are products without a stock level, and whether their sales are blocked.
    `postings` are the units that a line moved under a reference: those loaded, and those of this batch.
    `last_returns` has the reference of the last return of each reservation.

    Decided: `granted` are new reservations, `changed` are locked ones, `recorded` are events.
    """

    levels: ledger.LockedLevels
    now: datetime
    holds: dict[UUID, Hold] = field(default_factory=dict)
    current: dict[UUID, Hold | Refusal] = field(default_factory=dict)
    live: dict[UUID, Hold] = field(default_factory=dict)
    live_of_actors: dict[str, Live] = field(default_factory=dict)
    network: Network = field(default_factory=lambda: network.EMPTY)
    unstocked: dict[UUID, bool] = field(default_factory=dict)
    postings: dict[tuple[UUID, str], int] = field(default_factory=dict)
    last_returns: dict[UUID, str] = field(default_factory=dict)
    granted: list[Hold] = field(default_factory=list)
    changed: dict[UUID, Hold] = field(default_factory=dict)
    recorded: list[Event] = field(default_factory=list)

    # --- locking ---------------------------------------------------------------------------------------------------

    @classmethod
    def lock(cls, reservation_ids: Collection[UUID], *, is_for_revival: bool = False) -> Self:
        """Lock these reservations, then the levels of their lines, then read the clock. One round trip."""
        with bulkhead.first_statements():
            locking = cls._locking(reservation_ids, is_for_revival=is_for_revival)
        return locking()

    @classmethod
    def _locking(cls, reservation_ids: Collection[UUID], *, is_for_revival: bool) -> database.Deferred[Self]:
        locked = holds.locking(reservation_ids, is_for_revival=is_for_revival)
        levels = holds.locking_levels(reservation_ids)
        now = database.read_clock()
        return lambda: cls._locked(locked(), levels(), now())

    @classmethod
    def _locked(cls, holds_: dict[UUID, Hold], levels: ledger.LockedLevels, now: datetime) -> Self:
        crash_point("settle.after_lock")
        return cls(holds=holds_, levels=levels, now=now)

    @classmethod
    def lock_products(
        cls, product_ids: Collection[UUID], *, order_ids: Collection[UUID], actors: Collection[str] = ()
    ) -> Self:
        """Lock all levels of these products, then look for live reservations of the orders, then read the clock.

        Before that lock these actors, and count what they hold.

        One round trip. In this order a reservation that another process makes of the same order is seen, and the clock
        is not as old as the wait.
        """
        with bulkhead.first_statements():
            counting = holds.locking_live(actors)
            locking = ledger.locking(product_ids)
            reading = network.current()  # after the levels: a warehouse that one of them names is there by then
            live = holds.live_of_orders(order_ids)
            now = database.read_clock()
        live_of_actors = counting()
        levels = locking()
        _remember_wide(levels)
        return cls(
            levels=levels,
            network=reading(),
            live=live(),
            live_of_actors=live_of_actors,
            now=now(),
            unstocked=_unstocked(product_ids, levels),
        )

    @classmethod
    def lock_levels(
        cls, level_ids: Collection[int], *, order_ids: Collection[UUID], actors: Collection[str] = ()
    ) -> Self:
        """Lock only these levels, then as in `lock_products`. One round trip, after that of `choosing.choose`."""
        with database.pipelined():
            counting = holds.locking_live(actors)
            locking = ledger.locking_levels(level_ids)
            reading = network.current()
            live = holds.live_of_orders(order_ids)
            now = database.read_clock()
        live_of_actors = counting()
        return cls(levels=locking(), network=reading(), live=live(), live_of_actors=live_of_actors, now=now())

    @classmethod
    def lock_orders(cls, order_ids: Collection[UUID]) -> Self:
        """Lock the current reservation of each order and the levels of its lines; see `current`."""
        with bulkhead.first_statements():
            current_ids = holds.current_ids_of_orders(order_ids)
        with database.pipelined():
            locking = cls._locking(set(current_ids.values()), is_for_revival=True)
        locked = locking()
        locked.current = current_reservations(order_ids, locked.holds, current_ids)
        return locked

    @classmethod
    def lock_orders_for_payment(cls, order_ids: Collection[UUID]) -> Self:
        """Lock the current reservation of each order and the levels of its lines; see `current`.

        If one of them has ended, all levels of the products are locked, because it may find its stock elsewhere.
        """
        with bulkhead.first_statements():
            current_ids = holds.current_ids_of_orders(order_ids)
        locked = holds.locking(set(current_ids.values()), is_for_revival=True)()
        with database.pipelined():
            if any(hold.is_revivable for hold in locked.values()):
                locking = ledger.locking({product_id for hold in locked.values() for product_id in hold.product_ids})
            else:
                locking = holds.locking_levels(locked.keys())
            reading = network.current()
        levels = locking()
        current = current_reservations(order_ids, locked, current_ids)
        now = database.database_now()
        return cls(holds=locked, levels=levels, current=current, now=now, network=reading())

    def load_postings(self, references: Collection[str]) -> None:
        """Load all returns of the locked reservations, and what they released under these references. One statement.

        It is sent after the locks, so that a return that another process makes under the same reference is seen.
        """
        holds_of = {line.id: hold.id for hold in self.holds.values() for line in hold.lines}
        movements = StockMovement.objects.filter(
            Q(kind=Kind.RETURN) | Q(kind=Kind.RELEASE, reference__in=references), line_id__in=holds_of
        ).order_by("created_at", "id")
        for line_id, reference, kind, units in movements.values_list("line_id", "reference", "kind", "available_delta"):
            if line_id is not None:
                self.postings[line_id, reference] = units
                if kind == Kind.RETURN:
                    self.last_returns[holds_of[line_id]] = reference

    # --- deciding and writing --------------------------------------------------------------------------------------

    def decide_each(
        self, decide: Callable[[Self, Hold, AnyRequest], Outcome | Refusal], requests: Sequence[AnyRequest]
    ) -> list[Outcome | Refusal]:
        """Decide one request after the other over the reservation that it names; NotFound where it is unknown."""
        return tracing.decide_each(partial(self._decide_known, decide), requests)

    def decide_in_time(
        self, decide: Callable[[Self, Allocated], Outcome | Refusal], requests: Sequence[Allocated]
    ) -> list[Outcome | Refusal]:
        """Decide one request after the other, but begin none after MAX_DECIDING_SECONDS: the rest gets NotDecidedYet.

        The first one is always decided, so that each transaction gets on.
        """
        until = time.monotonic() + MAX_DECIDING_SECONDS
        is_first = True

        def decide_or_leave(request: Allocated) -> Outcome | Refusal:
            nonlocal is_first
            if not is_first and time.monotonic() > until:
                return NotDecidedYet("The requests before this one took too long.")
            is_first = False
            return decide(self, request)

        return tracing.decide_each(decide_or_leave, requests)

    def _decide_known(
        self, decide: Callable[[Self, Hold, AnyRequest], Outcome | Refusal], request: AnyRequest
    ) -> Outcome | Refusal:
        hold = self.holds.get(request.reservation_id)
        if hold is None:
            return NotFound(f"There is no reservation {request.reservation_id}.")
        return decide(self, hold, request)

    def write(self) -> None:
        """Write everything that was decided, with the COMMIT; what did not change takes no statement."""
        changed = list(self.changed.values())
        self.levels.hold_ends = holds.time_left([*self.granted, *changed], self.now)
        with database.postponed():
            holds.insert(self.granted)
            holds.update(changed)
            crossings = ledger.write(self.levels, at=self.now)
            outbox.record([*self.recorded, *crossings], at=self.now)


def is_wide(product_ids: Collection[UUID]) -> bool:
    """Whether this process knows that one of these products lies in more than MAX_LEVELS_TOGETHER warehouses."""
    return not _wide.isdisjoint(product_ids)


def _remember_wide(levels: ledger.LockedLevels) -> None:
    for product_id, rows in levels.by_product.items():
        if len(rows) > MAX_LEVELS_TOGETHER:
            if len(_wide) >= MAX_WIDE_PRODUCTS:
                _wide.clear()
            _wide.add(product_id)


def _unstocked(product_ids: Collection[UUID], levels: ledger.LockedLevels) -> dict[UUID, bool]:
    """The existing products without a stock level, and whether their sales are blocked."""
    unstocked = set(product_ids) - levels.by_product.keys()
    return dict(Product.objects.filter(pk__in=unstocked).values_list("id", "is_blocked")) if unstocked else {}


def current_reservations(
    order_ids: Collection[UUID], locked: Mapping[UUID, Hold], current_ids: Mapping[UUID, UUID]
) -> dict[UUID, Hold | Refusal]:
    """The current reservation of each order, out of the locked ones; NotFound where it has none. One statement.

    `current_ids` is what `holds.current_ids_of_orders` returned before the locks. While we waited for a lock, a
    reservation may have been cancelled and its order reserved again. Locking the new one now would break the order of
    locks, so the order's request gets OrderChanged and is decided once more.
    """
    others = holds.current_ids_of_orders(order_ids).items() - current_ids.items()
    current: dict[UUID, Hold | Refusal] = {
        order_id: NotFound(f"There is no reservation for order {order_id}.") for order_id in order_ids
    }
    current.update({order_id: locked[reservation_id] for order_id, reservation_id in current_ids.items()})
    for order_id, _ in others:
        current[order_id] = OrderChanged("The order got another reservation just now; repeat the request.")
    return current
