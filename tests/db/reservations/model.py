"""The books as a few dictionaries: what each verb must answer, and what must be there afterwards.

Written from the rules and not from the code. Where the service is free to choose a warehouse, the model takes its
choice after checking that it is a lawful one.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from inventory_project.foundation.errors import Refusal
from reservations.holds import Hold
from reservations.lifecycle import Answer
from reservations.requests import CallOff, Cancel, Confirm, Expire, Extend, Item, Outcome, Pay, Reserve, Return
from stock.documents import DocumentRequest, Kind

Key = tuple[UUID, str]  # product, warehouse
Units = dict[tuple[UUID, str | None], int]  # of a product, at a warehouse or anywhere

SETTLED = {
    "CONFIRMED": "reservation_confirmed",
    "EXPIRED": "reservation_expired",
    "CANCELLED": "reservation_cancelled",
}


@dataclass
class Level:
    """Units at one place."""

    available: int = 0
    reserved: int = 0


@dataclass
class Line:
    """Units of one hold at one place."""

    key: Key
    quantity: int
    confirmed: int = 0
    released: int = 0
    returned: int = 0
    called_off: int = 0  # of those released, before the end of the hold or after it

    @property
    def open(self) -> int:
        return self.quantity - self.confirmed - self.released


@dataclass
class Held:
    """A reservation."""

    id: UUID
    order_id: UUID
    lines: list[Line]
    minutes: int
    status: str = "ACTIVE"
    is_overdue: bool = False
    is_unpaid: bool = False  # cancelled because a payment failed, and only because of that
    extensions: dict[str, int] = field(default_factory=dict)
    returns: dict[str, dict[Key, int]] = field(default_factory=dict)
    releases: dict[str, dict[Key, int]] = field(default_factory=dict)

    @property
    def is_live(self) -> bool:
        if self.status == "CONFIRMED":
            return any(line.returned < line.confirmed for line in self.lines)
        return self.status == "ACTIVE"

    @property
    def is_revivable(self) -> bool:
        return self.status == "EXPIRED" or self.is_unpaid


@dataclass(frozen=True)
class Expected:
    """What a request must be answered: `new`, `replay` or a refusal's code; `extra` None is not compared."""

    code: str
    extra: dict[str, Any] | None = None


NEW, REPLAY = Expected("new"), Expected("replay")


def merged(items: Sequence[Item]) -> Units:
    units: Units = {}
    for item in items:
        key = (item.product_id, item.warehouse_id)
        units[key] = units.get(key, 0) + item.quantity
    return units


def totals(units: dict[Any, int]) -> Counter[UUID]:
    """Units by product, over the places."""
    total: Counter[UUID] = Counter()
    for (product_id, _), number in units.items():
        total[product_id] += number
    return total


def is_same(there: dict[Key, int], items: Sequence[Item]) -> bool:
    asked = merged(items)
    named = {(product, place): number for (product, place), number in asked.items() if place is not None}
    return totals(there) == totals(asked) and all(there.get(key, 0) >= number for key, number in named.items())


def fill(room: dict[Key, int], items: Sequence[Item]) -> dict[Key, int] | None:
    """Units to take from each place, named ones first, then in order; None if there is not room for all."""
    taken: dict[Key, int] = defaultdict(int)
    for (product_id, warehouse_id), number in sorted(merged(items).items(), key=lambda entry: entry[0][1] is None):
        missing = number
        for key in room:
            if key[0] == product_id and warehouse_id in (None, key[1]):
                units = min(missing, room[key] - taken[key])
                taken[key] += units
                missing -= units
        if missing:
            return None
    return dict(taken)


def assert_answer(answer: Answer, expected: Expected) -> None:
    if isinstance(answer, Refusal):
        assert answer.code == expected.code
        assert expected.extra is None or answer.extra == expected.extra
    else:
        assert ("replay" if answer.is_replay else "new") == expected.code


class Model:
    """Every verb checks the service's answers and follows them."""

    def __init__(self, *, ttl_minutes: int, extend_max_minutes: int) -> None:
        self.ttl_minutes = ttl_minutes
        self.extend_max_minutes = extend_max_minutes
        self.levels: dict[Key, Level] = {}
        self.blocked: set[UUID] = set()
        self.closed: set[str] = set()
        self.holds: dict[UUID, Held] = {}  # in the order in which they were made
        self.documents: set[tuple[Kind, str]] = set()

    # --- stock -----------------------------------------------------------------------------------------------------

    def book(self, request: DocumentRequest) -> Expected:
        document = (request.kind, request.reference)
        if document in self.documents:
            return REPLAY
        keys = [((product_id, request.warehouse_id), units) for product_id, units in request.items]
        for key, _ in keys:  # made before the document is decided, so a refused one leaves them empty
            self.levels.setdefault(key, Level())
        if any(self.available(key) + units < 0 for key, units in keys):
            return Expected("insufficient_stock")
        for key, units in keys:
            self.levels[key].available += units
        self.documents.add(document)
        return NEW

    def available(self, key: Key) -> int:
        return self.levels[key].available if key in self.levels else 0

    def sellable(self) -> dict[Key, int]:
        return {key: level.available for key, level in self.levels.items() if key[1] not in self.closed}

    # --- reserving -------------------------------------------------------------------------------------------------

    def reserve(self, requests: Sequence[Reserve], answers: Sequence[Answer], expired: Set[UUID]) -> None:
        """`expired`: the reservations that are EXPIRED now, for what lacked stock releases what is overdue."""
        lacking = []
        for request, answer in zip(requests, answers, strict=True):
            expected = self.decide_reserve(request)
            if expected.code in ("insufficient_stock", "overloaded"):
                lacking.append((request, answer, expected))
            else:
                self.follow_reserve(request, answer, expected)
        is_released = self.release_overdue(
            expired,
            of_orders={request.order_id for request, _, expected in lacking if expected.code == "overloaded"},
            lacking=[(request.items, expected) for request, _, expected in lacking],
        )
        for request, answer, expected in lacking:
            self.follow_reserve(request, answer, self.decide_reserve(request) if is_released else expected)

    def release_overdue(
        self,
        expired: Set[UUID],
        *,
        of_orders: Set[UUID] = frozenset(),
        lacking: Sequence[tuple[Sequence[Item], Expected]],
    ) -> bool:
        """Follow the service in what it released, after checking that these were overdue, all of them and no others.

        Overdue holds of products that are short must go. Where an order may not be split, the model does not know
        which of its products the service calls short.
        """
        short: set[str] = set()
        wanted: set[str] = set()
        for items, expected in lacking:
            shortages = (expected.extra or {}).get("shortages")
            short |= {shortage["product_id"] for shortage in shortages or ()}
            if shortages is None and expected.code == "insufficient_stock":
                wanted |= {str(item.product_id) for item in items}
        released = [held for held in self.overdue() if held.id in expired]
        for held in self.overdue():
            products = {str(line.key[0]) for line in held.lines}
            if held.order_id in of_orders or products & short:
                assert held.id in expired
            elif not products & wanted:
                assert held.id not in expired
        for held in released:
            self.release(held, "EXPIRED")
        return bool(released)

    def decide_reserve(self, request: Reserve) -> Expected:
        live = self.live_of(request.order_id)
        if live is not None:
            if live.is_overdue and live.status == "ACTIVE":
                return Expected("overloaded")
            if is_same({line.key: line.quantity for line in live.lines}, request.items):
                return REPLAY
            return Expected("order_conflict", {"reservation_id": str(live.id)})
        return self.decide_taking(merged(request.items), allow_split=request.allow_split)

    def decide_taking(self, asked: Units, *, allow_split: bool) -> Expected:
        stocked = {key[0] for key in self.levels}
        blocked = sorted({str(product_id) for product_id, _ in asked if product_id in self.blocked & stocked})
        if blocked:
            return Expected("sales_blocked", {"product_ids": blocked})
        left = self.sellable()
        shortages = []
        for (product_id, warehouse_id), number in asked.items():
            if warehouse_id is not None:
                there = left.get((product_id, warehouse_id), 0)
                if there < number:
                    shortages.append(shortage(product_id, warehouse_id, number, there))
                else:
                    left[product_id, warehouse_id] -= number
        free = {product_id: number for (product_id, warehouse_id), number in asked.items() if warehouse_id is None}
        if not allow_split and free:
            places = {key[1] for key in left}
            if any(all(left.get((p, place), 0) >= n for p, n in free.items()) for place in places):
                return Expected("insufficient_stock") if shortages else NEW
            return Expected("insufficient_stock")
        for product_id, number in free.items():
            there = totals(left)[product_id]
            if there < number:
                shortages.append(shortage(product_id, None, number, there))
        return Expected("insufficient_stock", {"shortages": shortages, "lacking": "stock"}) if shortages else NEW

    def follow_reserve(self, request: Reserve, answer: Answer, expected: Expected) -> None:
        assert_answer(answer, expected)
        if isinstance(answer, Outcome) and expected == NEW:
            self.take(answer.hold, request.items, allow_split=request.allow_split)
        elif isinstance(answer, Outcome):
            live = self.live_of(request.order_id)
            assert live is not None
            assert answer.hold.id == live.id

    def take(self, hold: Hold, items: Sequence[Item], *, allow_split: bool) -> Held:
        """Check the choice of warehouses, and hold the units there."""
        chosen = {(line.product_id, line.warehouse_id): line.quantity for line in hold.lines}
        assert len(chosen) == len(hold.lines)
        assert is_same(chosen, items)
        sellable = self.sellable()
        assert all(0 < units <= sellable[key] for key, units in chosen.items())
        if not allow_split:
            named = merged(items)
            assert len({key[1] for key, units in chosen.items() if units > named.get(key, 0)}) <= 1
        for key, units in chosen.items():
            self.levels[key].available -= units
            self.levels[key].reserved += units
        lines = [Line(key, units) for key, units in chosen.items()]
        held = self.holds[hold.id] = Held(hold.id, hold.order_id, lines, self.ttl_minutes)
        return held

    # --- what becomes of a hold ------------------------------------------------------------------------------------

    def active(self) -> list[Held]:
        return [held for held in self.holds.values() if held.status == "ACTIVE"]

    def overdue(self) -> list[Held]:
        return [held for held in self.active() if held.is_overdue]

    def live_of(self, order_id: UUID) -> Held | None:
        live = [held for held in self.holds.values() if held.order_id == order_id and held.is_live]
        assert len(live) <= 1
        return live[0] if live else None

    def release(self, held: Held, status: str) -> None:
        held.status = status
        for line in held.lines:
            self.free(line, line.open)

    def free(self, line: Line, units: int) -> None:
        line.released += units
        self.levels[line.key].reserved -= units
        self.levels[line.key].available += units

    def settle(self, held: Held, parts: dict[Key, int]) -> None:
        """Confirm the parts and release the rest."""
        for line in held.lines:
            line.confirmed = parts.get(line.key, 0)
            self.levels[line.key].reserved -= line.confirmed
        self.release(held, "CONFIRMED")

    def confirm(self, request: Confirm) -> Expected:
        held = self.holds[request.reservation_id]
        if held.status == "CONFIRMED":
            confirmed = {line.key: line.confirmed for line in held.lines if line.confirmed}
            is_replay = request.items is None or is_same(confirmed, request.items)
            return REPLAY if is_replay else Expected("reservation_confirmed")
        if held.status != "ACTIVE":
            return Expected(SETTLED[held.status])
        if held.is_overdue:
            return Expected("reservation_expired")
        room = {line.key: line.open for line in held.lines}
        parts = room if request.items is None else fill(room, request.items)
        if parts is None:
            return Expected("exceeds_reservation")
        self.settle(held, parts)
        return NEW

    def cancel(self, request: Cancel) -> Expected:
        return self.end(self.holds[request.reservation_id], "CANCELLED")

    def expire(self, request: Expire) -> Expected:
        held = self.holds[request.reservation_id]
        if request.only_if_due and held.status == "ACTIVE" and not held.is_overdue:
            return Expected("reservation_active")
        return self.end(held, "EXPIRED")

    def end(self, held: Held, status: str) -> Expected:
        if held.status == status:
            return REPLAY
        if held.status != "ACTIVE":
            return Expected(SETTLED[held.status])
        self.release(held, status)
        return NEW

    def extend(self, request: Extend) -> Expected:
        held = self.holds[request.reservation_id]
        assert request.minutes is not None
        if request.reference in held.extensions:
            is_replay = held.extensions[request.reference] == request.minutes
            return REPLAY if is_replay else Expected("reference_conflict")
        if held.status != "ACTIVE":
            return Expected(SETTLED[held.status])
        if held.is_overdue:
            return Expected("reservation_expired")
        if any(line.key[0] in self.blocked for line in held.lines if line.open):
            return Expected("sales_blocked")
        if held.minutes + request.minutes > self.extend_max_minutes:
            return Expected("extension_limit")
        held.minutes += request.minutes
        held.extensions[request.reference] = request.minutes
        return NEW

    def give_back(self, request: Return) -> Expected:
        return self.bring_back(self.holds[request.reservation_id], request)

    def repeat(self, held: Held, request: Return | CallOff) -> Expected | None:
        earlier = {**held.returns, **held.releases}.get(request.reference)
        if earlier is None:
            return None
        if request.items is None:  # everything that is not back: the last return was that, if nothing is out
            is_replay = not held.is_live and [*held.returns][-1:] == [request.reference]
        else:
            is_replay = is_same(earlier, request.items)
        return REPLAY if is_replay else Expected("reference_conflict")

    def bring_back(self, held: Held, request: Return | CallOff) -> Expected:
        repeated = self.repeat(held, request)
        if repeated is not None:
            return repeated
        if held.status != "CONFIRMED":
            return Expected("reservation_active" if held.status == "ACTIVE" else SETTLED[held.status])
        room = {line.key: line.confirmed - line.returned for line in held.lines}
        parts = room if request.items is None else fill(room, request.items)
        parts = {key: units for key, units in (parts or {}).items() if units}
        if not parts:
            return Expected("exceeds_reservation")
        for line in held.lines:
            line.returned += parts.get(line.key, 0)
            self.levels[line.key].available += parts.get(line.key, 0)
        held.returns[request.reference] = parts
        return NEW

    def current_of(self, order_id: UUID) -> Held | None:
        """The order's live reservation, else its latest."""
        of_order = [held for held in self.holds.values() if held.order_id == order_id]
        return self.live_of(order_id) or (of_order[-1] if of_order else None)

    def call_off(self, request: CallOff) -> Expected:
        held = self.current_of(request.order_id)
        if held is None:
            return Expected("not_found")
        if held.status == "CONFIRMED" and request.reason == "cancelled":
            return REPLAY if request.items is None and not held.is_live else self.bring_back(held, request)
        if request.items is None:
            expected = self.end(held, "CANCELLED")
            held.is_unpaid |= expected == NEW and request.reason == "payment_failed"
            return expected
        repeated = self.repeat(held, request)
        if repeated is not None:
            return repeated
        if held.is_revivable and request.is_revivable:
            return self.call_off_later(held, request.items)
        if held.status != "ACTIVE":
            return Expected(SETTLED[held.status])
        parts = fill({line.key: line.open for line in held.lines}, request.items)
        if parts is None:
            return Expected("exceeds_reservation")
        for line in held.lines:
            self.free(line, parts.get(line.key, 0))
            line.called_off += parts.get(line.key, 0)
        held.releases[request.reference] = parts
        if not any(line.open for line in held.lines):
            held.status = "CANCELLED"
        return NEW

    def call_off_later(self, held: Held, items: Sequence[Item]) -> Expected:
        parts = fill({line.key: line.quantity - line.called_off for line in held.lines}, items)
        if parts is None:
            return Expected("exceeds_reservation")
        for line in held.lines:
            line.called_off += parts.get(line.key, 0)
        return NEW

    def pay(self, requests: Sequence[Pay], answers: Sequence[Answer], expired: Set[UUID]) -> None:
        lacking = []
        for request, answer in zip(requests, answers, strict=True):
            held = self.current_of(request.order_id)
            if held is not None and held.is_revivable and request.is_revivable:
                items, expected = self.decide_revival(held)
                if expected.code == "insufficient_stock":
                    lacking.append((held, answer, items, expected))
                    continue
            self.follow_pay(request, answer)
        is_released = self.release_overdue(expired, lacking=[(items, expected) for _, _, items, expected in lacking])
        for held, answer, items, expected in lacking:
            self.follow_revival(held, answer, *(self.decide_revival(held) if is_released else (items, expected)))

    def follow_pay(self, request: Pay, answer: Answer) -> None:
        held = self.current_of(request.order_id)
        if held is None:
            return assert_answer(answer, Expected("not_found"))
        if held.status == "ACTIVE":
            self.settle(held, {line.key: line.open for line in held.lines})
            return assert_answer(answer, NEW)
        if not held.is_revivable or not request.is_revivable:
            return assert_answer(answer, REPLAY if held.status == "CONFIRMED" else Expected(SETTLED[held.status]))
        return self.follow_revival(held, answer, *self.decide_revival(held))

    def decide_revival(self, held: Held) -> tuple[list[Item], Expected]:
        wanted = [(line.key, line.quantity - line.called_off) for line in held.lines]
        there = [Item(product_id, units, warehouse_id) for (product_id, warehouse_id), units in wanted if units]
        if not there:
            return [], Expected("reservation_cancelled")
        expected = self.decide_taking(merged(there), allow_split=True)
        if expected.code != "insufficient_stock":
            return there, expected
        anywhere = [Item(item.product_id, item.quantity) for item in there]
        return anywhere, self.decide_taking(merged(anywhere), allow_split=True)

    def follow_revival(self, held: Held, answer: Answer, items: Sequence[Item], expected: Expected) -> None:
        if isinstance(answer, Outcome) and self.live_of(held.order_id):
            return assert_answer(answer, REPLAY)  # an earlier payment of the batch has revived it
        assert_answer(answer, expected)
        if isinstance(answer, Outcome):
            assert answer.hold.replaces_id == held.id
            revived = self.take(answer.hold, items, allow_split=True)
            self.settle(revived, {line.key: line.quantity for line in revived.lines})
        return None

    def each(self, decide: Callable[[Any], Expected], requests: Sequence[Any], answers: Sequence[Answer]) -> None:
        """The verbs whose answers the model knows beforehand, in the order of the batch."""
        for request, answer in zip(requests, answers, strict=True):
            assert_answer(answer, decide(request))


def shortage(product_id: UUID, warehouse_id: str | None, requested: int, available: int) -> dict[str, Any]:
    return {
        "product_id": str(product_id),
        "warehouse_id": warehouse_id,
        "requested": requested,
        "available": available,
    }
