"""Reservations choose warehouses by what the database has: places, postal codes, policies, and shares of the stock."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reservations import lifecycle
from reservations.holds import Hold
from reservations.models import Reservation
from reservations.requests import Item, Outcome, Reserve
from stock.ledger import InsufficientStock
from stock.models import StockLevel
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import PR, RJ, SP, reserve_request
from warehouses import catalogue, postal_areas
from warehouses.allocation import explanation
from warehouses.models import AllocationPolicy, PostalArea, Warehouse

pytestmark = pytest.mark.usefixtures("books")

FIXTURES = Path(settings.BASE_DIR) / "fixtures"
SAO_PAULO, RIO, CURITIBA, PORTO_ALEGRE, MANAUS = "01310-100", "20040-020", "80010-000", "90010-000", "69005-000"


def area(prefix: str, latitude: float, longitude: float, name: str, region: str, *, is_region: bool = False) -> None:
    PostalArea.objects.create(
        country="BR",
        prefix=prefix,
        latitude=latitude,
        longitude=longitude,
        name=name,
        region=region,
        is_region=is_region,
    )


@pytest.fixture
def shop(books: None) -> None:
    """The warehouses of fixtures/, and three postal areas."""
    catalogue.upsert(catalogue.load(FIXTURES / "warehouses.yaml"))
    area("01", -23.5521, -46.6453, "São Paulo, SP", "southeast")
    area("80", -25.4278, -49.2731, "Curitiba, PR", "south")
    area("69", -3.1019, -60.025, "Amazonas", "north", is_region=True)


def granted(requests: Sequence[Reserve]) -> list[Hold]:
    answers = lifecycle.reserve_many(requests)
    assert all(isinstance(answer, Outcome) for answer in answers)
    return [answer.hold for answer in answers if isinstance(answer, Outcome)]


def held(product_id: UUID, postal_code: str, quantity: int = 1, **options: Any) -> Hold:
    return factories.hold(product_id, quantity, delivery_postal_code=postal_code, **options)


def warehouses(hold: Hold) -> list[str]:
    return [line.warehouse_id for line in hold.lines]


def told(hold: Hold) -> dict[str, Any]:
    """The explanation as the database has it."""
    return explanation.explain(Reservation.objects.get(pk=hold.id).allocation)


def notes(hold: Hold) -> list[str]:
    return [note["code"] for note in told(hold)["notes"]]


# --- cities --------------------------------------------------------------------------------------------------------


def test_orders_of_one_batch_go_out_from_where_a_person_would_send_them() -> None:
    catalogue.upsert(catalogue.load(FIXTURES / "warehouses.yaml"))
    postal_areas.replace(postal_areas.load(FIXTURES / "postal_areas_br.csv"))
    product = factories.product({SP: 100, RJ: 100, PR: 100})
    codes = [SAO_PAULO, RIO, CURITIBA, PORTO_ALEGRE]
    holds = granted([reserve_request(product.pk, delivery_postal_code=code) for code in codes])
    assert [warehouses(hold) for hold in holds] == [[SP], [RJ], [PR], [PR]]
    assert [told(hold)["delivery"]["name"] for hold in holds] == [
        "São Paulo, SP",
        "Rio de Janeiro, RJ",
        "Curitiba, PR",
        "Porto Alegre, RS",
    ]
    assert [notes(hold) for hold in holds] == [[], [], [], []]
    # To Manaus Sao Paulo and Curitiba are equally far but for 45 km, and Curitiba has served two of the four.
    assert warehouses(held(product.pk, MANAUS)) == [SP]


# --- balance -------------------------------------------------------------------------------------------------------


def served(product_id: UUID, orders: int, *, batch: int) -> Counter[str]:
    """How many of so many orders of one unit each warehouse served, `batch` of them at a time."""
    found: Counter[str] = Counter()
    for _ in range(orders // batch):
        requests = [reserve_request(product_id, delivery_postal_code=SAO_PAULO) for _ in range(batch)]
        found.update(warehouse_id for hold in granted(requests) for warehouse_id in warehouses(hold))
    return found


@pytest.fixture
def _near_equals(shop: None) -> None:
    """Three warehouses 10, 20 and 30 km north of where the orders go, of one priority."""
    for warehouse_id, north_km in ((SP, 10), (RJ, 20), (PR, 30)):
        latitude = -23.5521 + north_km / 111.195
        Warehouse.objects.filter(pk=warehouse_id).update(latitude=latitude, longitude=-46.6453, priority=1)


@pytest.mark.usefixtures("_near_equals")
@pytest.mark.parametrize(
    ("stock", "expected"),
    [
        ({SP: 2_000, RJ: 2_000, PR: 2_000}, {SP: 333, RJ: 333, PR: 333}),
        ({SP: 6_000, RJ: 3_000, PR: 1_000}, {SP: 600, RJ: 300, PR: 100}),
    ],
    ids=["equal", "different"],
)
def test_near_equals_take_turns_in_proportion_to_their_stock(
    stock: Mapping[str, int], expected: Mapping[str, int]
) -> None:
    product = factories.product(stock)
    assert served(product.pk, 1_000, batch=50) == pytest.approx(expected, rel=0.05)


@pytest.mark.usefixtures("_near_equals")
def test_a_receipt_begins_a_share_anew() -> None:
    product = factories.product({SP: 100, RJ: 100, PR: 100})
    assert served(product.pk, 60, batch=20) == {SP: 20, RJ: 20, PR: 20}
    factories.receive(product.pk, PR, 20)
    level = StockLevel.objects.get(product=product, warehouse_id=PR)
    assert (level.available, level.reserved, level.replenished) == (100, 20, 120)
    # A sixth of it is held, of the others a fifth: so it serves until as much of it is taken.
    assert served(product.pk, 4, batch=1) == {PR: 4}


# --- policies ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shop")
def test_a_policy_holds_from_the_next_batch_and_only_for_its_region() -> None:
    product = factories.product({SP: 100, RJ: 100})
    assert warehouses(held(product.pk, CURITIBA)) == [SP]
    AllocationPolicy.objects.create(region="south", preferences=["balance"], split="never")
    first = held(product.pk, CURITIBA)
    assert (warehouses(first), told(first)["policy"]["region"]) == ([RJ], "south")
    other = held(product.pk, SAO_PAULO)
    assert (warehouses(other), told(other)["policy"]["preferences"][0]) == ([SP], "fewest_parcels")
    with records.no_trace(), pytest.raises(InsufficientStock):
        held(product.pk, CURITIBA, 150)
    assert sorted(warehouses(held(product.pk, SAO_PAULO, 150))) == [RJ, SP]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("preferences", ["[]", '["nearest", "fewest_parcels"]'])
def test_a_policy_that_cannot_be_followed_refuses_no_order(preferences: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO warehouse_allocation_policy (region, preferences, tolerance_km, split, updated_at)"
            " VALUES ('southeast', %s, 50, 'fewest_parcels', now())",
            [preferences],
        )
    product = factories.product({SP: 9, PR: 9})
    hold = held(product.pk, SAO_PAULO)
    assert (warehouses(hold), notes(hold)) == ([SP], ["unusable_policy"])
    assert notes(held(product.pk, CURITIBA)) == []


# --- postal codes --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("postal_code", "noted"),
    [
        ("", ["no_postal_code"]),
        ("99999-999", ["unknown_postal_code"]),
        ("garbage", ["unknown_postal_code"]),
        ("PT 1000-001", ["unknown_postal_code"]),
        (MANAUS, ["rough_delivery"]),
        (SAO_PAULO, []),
    ],
)
def test_no_postal_code_refuses_an_order_and_what_is_not_known_of_it_is_noted(
    postal_code: str, noted: list[str]
) -> None:
    product = factories.product({SP: 9, RJ: 9})
    hold = held(product.pk, postal_code)
    assert (warehouses(hold), notes(hold)) == ([SP], noted)


@pytest.mark.usefixtures("shop")
def test_the_record_is_kept_as_it_was_decided() -> None:
    product = factories.product({SP: 9, RJ: 9})
    hold = held(product.pk, SAO_PAULO)
    assert Reservation.objects.get(pk=hold.id).allocation == hold.allocation
    full = told(hold)
    assert full["sentence"] == f"{SP} (1 km away) serves the order: it is the nearest (before {RJ})."
    assert full["delivery"] == {
        "area": "BR 01",
        "name": "São Paulo, SP",
        "precision": "prefix",
        "region": "southeast",
    }
    assert [(one["warehouse_id"], one["distance_km"]) for one in full["candidates"]] == [(SP, 1.2), (RJ, 361.7)]


# --- served regions ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shop")
def test_a_warehouse_that_does_not_serve_the_region_gives_nothing_also_when_it_is_named() -> None:
    Warehouse.objects.filter(pk=SP).update(served_regions=["southeast"])
    product = factories.product({SP: 9, RJ: 2})
    assert warehouses(held(product.pk, CURITIBA)) == [RJ]
    assert warehouses(held(product.pk, SAO_PAULO)) == [SP]
    sentence = "There is not enough stock for this order. These warehouses do not serve the region south: wh-sp-001."
    with records.no_trace():
        with pytest.raises(InsufficientStock) as lack:
            held(product.pk, CURITIBA, 5)
        assert lack.value.detail == sentence
        assert lack.value.extra["shortages"] == [
            {"product_id": str(product.pk), "warehouse_id": None, "requested": 5, "available": 1}
        ]
        with pytest.raises(InsufficientStock) as named:
            held(product.pk, CURITIBA, 1, warehouse_id=SP)
        assert named.value.detail == sentence


# --- statements ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shop")
def test_places_policies_and_postal_codes_cost_a_batch_no_statement_of_its_own() -> None:
    AllocationPolicy.objects.create(region="south", preferences=["nearest", "balance"], split="by_line")
    products = [factories.product({SP: 500, RJ: 500, PR: 500}) for _ in range(2)]
    codes = [SAO_PAULO, CURITIBA, MANAUS, "99999-999", ""]
    granted([reserve_request(products[0].pk)])  # reads the network
    taken = []
    for size in (1, 10, 100):
        requests = [
            Reserve(
                order_id=UUID(int=1_000 * size + i),
                items=tuple(Item(product.pk, 1, None) for product in products),
                delivery_postal_code=codes[i % 5],
                actor=factories.ACTOR,
            )
            for i in range(size)
        ]
        with CaptureQueriesContext(connection) as captured:
            assert set(verbs.codes(lifecycle.reserve_many, *requests)) == {"new"}
        taken.append(len(captured.captured_queries))
    assert taken == [12, 12, 12]
