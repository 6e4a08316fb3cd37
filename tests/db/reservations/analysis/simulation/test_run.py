"""A day of the real verbs, replayed: what was, what is in force, and what other policies would have done."""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory_project.foundation.database import database_now
from inventory_project.foundation.errors import Conflict, Invalid
from reservations import lifecycle
from reservations.analysis.simulation import history, order_file, run
from reservations.analysis.simulation.replay import Contender
from reservations.analysis.simulation.run import AS_IT_WAS, IN_FORCE, Progress, Simulation
from reservations.models import Reservation
from reservations.requests import Item, Outcome, Reserve
from stock import blocking
from stock.models import Product, StockLevel
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, RJ, SP
from warehouses.allocation.policies import Policy
from warehouses.models import AllocationPolicy, PostalArea, Warehouse

pytestmark = pytest.mark.usefixtures("books")

TO_SP, TO_RJ = "01310-100", "20040-020"
PLACES = {SP: (-23.55, -46.63, "0", "south"), RJ: (-22.90, -43.18, "2", "north")}
NEAREST = {"": Policy(preferences=("nearest",), split="at_most", most_parcels=2)}
PRIORITY = {"": Policy(preferences=("priority",), split="never")}


@pytest.fixture(autouse=True)
def two_warehouses(books: None) -> None:
    """São Paulo and Rio, each in an area and a region of its own."""
    PostalArea.objects.all().delete()
    for priority, (warehouse_id, (latitude, longitude, prefix, region)) in enumerate(PLACES.items(), start=1):
        factories.warehouse(warehouse_id, priority=priority)
        Warehouse.objects.filter(pk=warehouse_id).update(latitude=latitude, longitude=longitude)
        PostalArea.objects.create(
            country="BR", prefix=prefix, latitude=latitude, longitude=longitude, name=region, region=region
        )


def simulated(since: datetime, **tried: Mapping[str, Policy]) -> Simulation:
    found = run.of_past(since, tried)
    assert found is not None
    return found


def by_name(found: Simulation) -> dict[str, Contender]:
    return {contender.name: contender for contender in found.contenders}


def stock_of(contender: Contender) -> dict[tuple[UUID, str], tuple[int, int, int]]:
    """Available, reserved and replenished of each level in the end."""
    return {
        (product_id, warehouse_id): (level.available, level.reserved, level.replenished)
        for product_id, by_warehouse in contender.stock.levels.items()
        for warehouse_id, level in by_warehouse.items()
    }


def stock_of_the_books() -> dict[tuple[UUID, str], tuple[int, int, int]]:
    return {(row.product_id, row.warehouse_id): (row.available, row.reserved, row.replenished) for row in
            StockLevel.objects.all()}  # fmt: skip


def parts_of_the_books() -> dict[str, int]:
    """Parcels by warehouse, of all reservations that are orders."""
    found: dict[str, int] = {}
    for row in Reservation.objects.filter(replaces=None).prefetch_related("items"):
        for warehouse_id in {line.warehouse_id for line in row.lines}:
            found[warehouse_id] = found.get(warehouse_id, 0) + 1
    return found


def a_day(one: Product, other: Product) -> None:
    """Everything that can happen to orders and stock, one thing at a time."""
    early = factories.hold(one.pk, 3, delivery_postal_code=TO_RJ)
    both = verbs.reserve(
        Reserve(
            order_id=uuid4(),
            items=(Item(one.pk, 4), Item(other.pk, 2), Item(one.pk, 1, SP)),
            delivery_postal_code=TO_SP,
            actor=ACTOR,
        )
    ).hold
    verbs.confirm(early)
    factories.receive(one.pk, RJ, 7)
    verbs.call_off(both.order_id, Item(one.pk, 2), reference="part")
    split = factories.hold(one.pk, 14, delivery_postal_code=TO_RJ)  # more than either has
    factories.hold(other.pk, 1, SP, delivery_postal_code=TO_RJ)
    verbs.expire(split)
    factories.adjust(one.pk, SP, -2)
    verbs.confirm(both, Item(one.pk, 2))  # the rest is released
    verbs.give_back(early, Item(one.pk, 1))
    late = factories.hold(one.pk, 5)  # without a postal code
    verbs.expire(late)
    verbs.pay(late.order_id)
    verbs.cancel(factories.hold(other.pk, 2, delivery_postal_code=TO_RJ, allow_split=False))


def before_and_a_day() -> datetime:
    """Stock and a hold before the moment that is returned, and a day after it."""
    one, other = factories.product({SP: 10, RJ: 9}), factories.product({SP: 8, RJ: 8})
    earlier = factories.hold(one.pk, 2, SP)
    factories.adjust(one.pk, RJ, -1)
    since = database_now()
    verbs.cancel(factories.hold(one.pk, 1, delivery_postal_code=TO_SP))
    verbs.confirm(earlier)
    a_day(one, other)
    return since


def test_as_it_was_ends_with_the_numbers_of_the_books() -> None:
    since = before_and_a_day()
    was = by_name(simulated(since))[AS_IT_WAS]
    assert stock_of(was) == stock_of_the_books()
    assert (was.total.orders, was.total.served) == (7, 7)
    assert was.total.refused.total() == was.stock.missing == was.late_refused == 0
    assert was.total.several == 1  # the one that was more than either had
    assert (was.unserved, was.ended) == (set(), {})


def test_the_policy_in_force_does_what_it_did() -> None:
    since = before_and_a_day()
    contenders = by_name(simulated(since))
    was, in_force = contenders[AS_IT_WAS], contenders[IN_FORCE]
    assert in_force.by_region == was.by_region
    assert stock_of(in_force) == stock_of(was)
    assert was.differences.total == 0


def test_from_the_first_receipt_on_everything_is_in_the_books() -> None:
    since = database_now()
    before_and_a_day()
    was = by_name(simulated(since))[AS_IT_WAS]
    assert stock_of(was) == stock_of_the_books()
    assert was.total.parcels == parts_of_the_books()


def test_holds_of_one_batch_are_replayed_in_the_order_in_which_they_were_decided() -> None:
    product = factories.product({SP: 20, RJ: 20})
    since = database_now()
    requests = [factories.reserve_request(product.pk, 1 + i % 3, delivery_postal_code=TO_RJ) for i in range(20)]
    answers = lifecycle.reserve_many(requests)
    assert sum(isinstance(answer, Outcome) for answer in answers) == 20
    contenders = by_name(simulated(since))
    assert contenders[IN_FORCE].total == contenders[AS_IT_WAS].total
    assert contenders[AS_IT_WAS].differences.total == 0
    assert stock_of(contenders[IN_FORCE]) == stock_of_the_books()


def test_the_share_taken_at_the_beginning_is_that_of_the_receipt_before() -> None:
    product = factories.product({SP: 5})
    factories.receive(product.pk, SP, 15)  # 20 on hand
    factories.hold(product.pk, 8)
    factories.adjust(product.pk, SP, -2)
    made_by_adjustment = factories.product()
    factories.adjust(made_by_adjustment.pk, SP, 6)
    since = database_now()
    for each in (product, made_by_adjustment):
        factories.hold(each.pk, 1)
        factories.receive(each.pk, SP, 100)
    stock = history.stock_at(since)
    levels = {key: stock.levels[key][SP] for key in (product.pk, made_by_adjustment.pk)}
    assert {key: (level.available, level.reserved, level.replenished) for key, level in levels.items()} == {
        product.pk: (10, 8, 18),
        made_by_adjustment.pk: (6, 0, 6),
    }
    assert stock_of(by_name(simulated(since))[AS_IT_WAS]) == stock_of_the_books()


def test_another_policy_does_otherwise() -> None:
    product = factories.product({SP: 4, RJ: 4})
    AllocationPolicy.objects.create(preferences=["priority"], split="never")
    since = database_now()
    for units in (1, 2, 1, 3):  # São Paulo four times, until it has nothing left; then Rio
        factories.hold(product.pk, units, delivery_postal_code=TO_RJ)
    contenders = by_name(simulated(since, nearest=NEAREST, same=PRIORITY))
    was, near, same = (contenders[name] for name in (AS_IT_WAS, "nearest", "same"))
    assert was.total.parcels == same.total.parcels == {SP: 3, RJ: 1}
    assert near.total.parcels == {RJ: 3, SP: 1}
    assert [was.total.mean_km, near.total.mean_km] == pytest.approx([359.9 * 3 / 4, 359.9 / 4])
    assert (near.differences.moved, near.differences.gained, near.differences.lost) == (4, 0, 0)
    assert same.differences.total == 0
    assert [list(contender.by_region) for contender in contenders.values()] == [["north"]] * 4


def test_a_late_payment_is_served_as_the_service_did_also_in_more_parcels_than_the_policy_allows() -> None:
    product = factories.product({SP: 4, RJ: 2})
    AllocationPolicy.objects.create(preferences=["nearest"], split="never")
    since = database_now()
    early = factories.hold(product.pk, 4, delivery_postal_code=TO_SP)
    verbs.expire(early)
    factories.hold(product.pk, 2, SP)
    late = verbs.pay(early.order_id).hold
    assert verbs.places(late) == [(product.pk, RJ, 2), (product.pk, SP, 2)]
    in_force = by_name(simulated(since))[IN_FORCE]
    assert stock_of(in_force) == stock_of_the_books()
    assert (in_force.total.served, in_force.late_refused) == (2, 0)


def test_a_product_that_is_blocked_today_was_sold_then() -> None:
    product = factories.product({SP: 4})
    since = database_now()
    factories.hold(product.pk)
    blocking.block_product(product.pk, reason="recall", actor=ACTOR)
    assert by_name(simulated(since))[IN_FORCE].total.served == 1


def test_a_record_of_the_first_version_leaves_its_lines_free() -> None:
    product = factories.product({SP: 4, RJ: 4})
    since = database_now()
    held = factories.hold(product.pk, 2, SP, delivery_postal_code=TO_RJ)
    assert by_name(simulated(since, nearest=NEAREST))["nearest"].total.parcels == {SP: 1}  # it named São Paulo
    Reservation.objects.filter(pk=held.id).update(allocation={"version": 1, "strategy": "named"})
    assert by_name(simulated(since, nearest=NEAREST))["nearest"].total.parcels == {RJ: 1}


def test_nothing_is_written_and_nothing_could_be() -> None:
    since = before_and_a_day()
    with records.no_trace(), CaptureQueriesContext(connection) as captured:
        simulated(since, nearest=NEAREST)
    statements = [query["sql"] for query in captured.captured_queries if not query["sql"].startswith("SET LOCAL")]
    assert statements[:2] == ["BEGIN", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"]
    assert {sql.strip("(").split()[0] for sql in statements[2:]} <= {"SELECT", "DECLARE", "COMMIT"}
    assert not [sql for sql in statements if re.search(r"FOR (NO KEY )?UPDATE|FOR (KEY )?SHARE|LOCK TABLE", sql)]
    product_id = Product.objects.values_list("pk", flat=True)[0]
    with pytest.raises(DatabaseError, match="read-only transaction"), history.snapshot():
        Product.objects.filter(pk=product_id).update(name="written")
    with pytest.raises(DatabaseError, match="read-only transaction"), history.snapshot():
        StockLevel.objects.select_for_update().first()


def test_a_sale_in_the_middle_does_not_wait_and_is_not_seen() -> None:
    product = factories.product({SP: 10})
    since = database_now()
    for _ in range(3):
        factories.hold(product.pk, 1)
    sold = []

    def sale() -> None:
        try:
            sold.append(factories.hold(product.pk, 2).status)
        finally:
            connection.close()

    def sell_meanwhile() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(sale).result(timeout=5)

    found = run.of_past(since, {}, progress=Progress(on_order=sell_meanwhile))
    assert found is not None
    assert (sold, found.orders, by_name(found)[AS_IT_WAS].total.orders) == (["ACTIVE"] * 3, 3, 3)
    assert stock_of(by_name(found)[AS_IT_WAS])[product.pk, SP] == (7, 3, 10)
    assert factories.numbers(product.pk) == (1, 9, 0)


def test_without_orders_there_is_nothing_to_simulate() -> None:
    factories.hold(factories.product({SP: 1}).pk)
    assert run.of_past(database_now(), {}) is None


def test_too_many_orders_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "MAX_ORDERS", 1)
    product = factories.product({SP: 2})
    since = database_now()
    factories.hold(product.pk)
    assert simulated(since).orders == 1
    factories.hold(product.pk)
    with pytest.raises(
        Invalid, match=r"^2 orders were reserved since then; at most 1 can be replayed. Choose fewer days.$"
    ):
        run.of_past(since, {})


def test_a_policy_for_a_region_without_a_postal_area_is_noted_though_a_warehouse_is_there() -> None:
    since = database_now()
    factories.hold(factories.product({SP: 1}).pk)
    assert set(Warehouse.objects.values_list("region", flat=True)) == {"southeast"}
    tried = {region: Policy(region=region) for region in ("", "north", "nort", "southeast")}
    assert simulated(since, tried=tried).notes == [
        f"tried: no postal area is in the region {region}, so its policy there serves no order."
        for region in ("nort", "southeast")
    ]


# --- orders of a file ----------------------------------------------------------------------------------------------


def file_of(tmp_path: Path, *rows: str) -> order_file.OrderFile:
    path = tmp_path / "orders.csv"
    path.write_text("\n".join(["order,product_id,quantity,postal_code,warehouse_id", *rows]))
    return order_file.load(path)


def test_orders_of_a_file_take_their_units_from_what_is_free_today(tmp_path: Path) -> None:
    product = factories.product({SP: 4, RJ: 4})
    factories.hold(product.pk, 1, SP)
    blocked, unstocked, blocked_nowhere = factories.product({SP: 9}), factories.product(), factories.product()
    for each in (blocked, blocked_nowhere):
        blocking.block_product(each.pk, reason="recall", actor=ACTOR)
    rows = [f"1,{product.pk},3,{TO_SP},", f"2,{product.pk},1,{TO_SP},", f"3,{product.pk},1,{TO_RJ},{SP}"]
    rows += [f"{name},{each.pk},1,," for name, each in (("4", blocked), ("5", unstocked), ("6", blocked_nowhere))]
    with records.no_trace():
        found = run.of_file(file_of(tmp_path, *rows), {"nearest": NEAREST})
    assert [contender.name for contender in found.contenders] == [IN_FORCE, "nearest"]
    for contender in found.contenders:
        assert (contender.total.orders, contender.total.served) == (6, 2)
        assert contender.total.refused == {"stock": 2, "blocked": 2}
        assert contender.total.parcels == {SP: 1, RJ: 1}
        assert stock_of(contender)[product.pk, SP] == (0, 4, 4)
        assert contender.held == {}
    assert found.contenders[1].differences.total == 0


def test_products_and_warehouses_that_do_not_exist_are_told_by_their_lines(tmp_path: Path) -> None:
    product, nowhere = factories.product({SP: 4}), uuid4()
    rows = [f"1,{nowhere},3,,", f"2,{product.pk},1,,{SP}", f"3,{nowhere},1,,"]
    with pytest.raises(Invalid) as refusal:
        run.of_file(file_of(tmp_path, *rows), {})
    assert refusal.value.extra["problems"] == [f"Line {line}: there is no product {nowhere}." for line in (2, 4)]
    with pytest.raises(Invalid) as refusal:
        run.of_file(file_of(tmp_path, f"1,{product.pk},1,,wh-x"), {})
    assert refusal.value.extra["problems"] == ["Line 2: there is no warehouse wh-x."]


def test_without_warehouses_there_is_nothing_to_simulate(tmp_path: Path) -> None:
    product = factories.product()
    Warehouse.objects.all().delete()
    file = file_of(tmp_path, f"1,{product.pk},1,,")
    with pytest.raises(Conflict, match=r"^There are no warehouses: nothing to simulate.$"):
        run.of_file(file, {})
    assert not connection.in_atomic_block
    with transaction.atomic():  # the session that was used for it is an ordinary one again
        Product.objects.filter(pk=product.pk).update(name="written")
