"""What can be sold now, from the counters: the same as from the database, without asking it."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
import redis
from django.db import connection, transaction
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings

from inventory_project.foundation.database import database_now
from inventory_project.foundation.errors import Invalid, NotFound
from stock import availability, blocking
from stock.api import fast
from stock.api.availability import AvailabilityOut, WarehouseAvailabilityOut
from stock.availability import ProductAvailability, Question
from stock.counters import copies
from stock.models import Product, StockLevel
from tests import factories
from tests.factories import ACTOR, PR, RJ, SP
from tests.integration.counters import looks
from tests.integration.counters.looks import standing

pytestmark = pytest.mark.usefixtures("patient", "transactional_db")

PLACES = [PR, RJ, SP]


def from_database(settings: Settings, ask: Callable[[], Any]) -> Any:
    """The answer of a service without Redis."""
    url, settings.REDIS_URL = settings.REDIS_URL, ""
    try:
        return ask()
    finally:
        settings.REDIS_URL = url


def numbers(found: ProductAvailability) -> dict[str, Any]:
    """Everything but where the answer is from, and when."""
    return {name: value for name, value in found._asdict().items() if name not in ("source", "as_of")}


def counted(stock: dict[str, int]) -> Product:
    """A product whose counters are there."""
    product = factories.product(stock)
    availability.of_product(product.pk)
    assert standing(product.pk) is not None
    return product


# --- looked at together --------------------------------------------------------------------------------------------


def test_equal_questions_of_one_look_share_an_answer_and_others_do_not() -> None:
    one, other = counted({SP: 5}).pk, counted({SP: 7}).pk
    asked = [(one, None), (other, None), (one, None), (one, 6)]

    answers = fast._look([Question(product_ids=(product_id,), quantity=quantity) for product_id, quantity in asked])

    assert answers[0] is answers[2]
    told = [orjson.loads(orjson.dumps(answer))[0] for answer in answers]
    assert [(product["product_id"], product["available"]) for product in told] == [
        (str(one), 5),
        (str(other), 7),
        (str(one), 5),
        (str(one), 5),
    ]
    assert [product.get("is_sufficient") for product in told] == [None, None, None, False]


# --- the same from both --------------------------------------------------------------------------------------------

levels = st.fixed_dictionaries(
    {
        "available": st.integers(0, 12),
        "reserved": st.integers(0, 2),
        "incoming": st.integers(0, 3),
        "replenished": st.integers(0, 14),
        "is_closed": st.booleans(),
        "version": st.integers(0, 9),
    }
)


@profile(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stocked=st.dictionaries(st.sampled_from(PLACES), levels, min_size=1),
    threshold=st.none() | st.integers(0, 12),
    is_blocked=st.booleans(),
    warehouse_id=st.none() | st.sampled_from(PLACES),
    quantity=st.none() | st.integers(1, 30),
)
def test_counters_and_database_give_the_same_answer(
    settings: Settings,
    stocked: dict[str, dict[str, Any]],
    threshold: int | None,
    is_blocked: bool,
    warehouse_id: str | None,
    quantity: int | None,
) -> None:
    for place in PLACES:
        factories.warehouse(place)
    product = Product.objects.create(
        id=uuid4(), sku=str(uuid4()), name="A product", low_stock_threshold=threshold, is_blocked=is_blocked
    )
    StockLevel.objects.bulk_create(
        StockLevel(product=product, warehouse_id=place, is_blocked=is_blocked, updated_at=database_now(), **level)
        for place, level in stocked.items()
    )

    def ask_one() -> ProductAvailability:
        return availability.of_product(product.pk, warehouse_id=warehouse_id, quantity=quantity)

    def ask_many() -> ProductAvailability:
        return availability.of_products([product.pk])[0]

    stored, stored_bulk = from_database(settings, ask_one), from_database(settings, ask_many)
    availability.of_product(product.pk)
    found, found_bulk = ask_one(), ask_many()
    assert numbers(found) == numbers(stored)
    assert numbers(found_bulk) == numbers(stored_bulk)
    assert found_bulk.source == "counters"
    is_asked_elsewhere = warehouse_id is not None and warehouse_id not in stocked
    assert found.source == ("database" if is_asked_elsewhere else "counters")


def test_a_product_that_is_nowhere_is_answered_from_the_database_each_time(client: redis.Redis) -> None:
    product = factories.product()
    for _ in range(2):
        found = availability.of_product(product.pk)
        assert (found.available, found.state, found.warehouses, found.source) == (0, "out_of_stock", [], "database")
    assert client.keys() == []


# --- what it costs -------------------------------------------------------------------------------------------------


def test_a_read_from_the_counters_asks_redis_once_and_the_database_never(
    asked: list[int], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    product = counted({SP: 5, RJ: 7})
    del asked[:]
    with django_assert_num_queries(0):
        found = availability.of_product(product.pk, warehouse_id=SP, quantity=5)
    assert (found.available, found.is_sufficient, found.source) == (5, True, "counters")
    assert asked == [2]


def test_500_products_take_one_round_trip_as_one_does(
    asked: list[int], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    factories.warehouse(SP)
    products = Product.objects.bulk_create(Product(id=uuid4(), sku=str(uuid4()), name="A product") for _ in range(500))
    StockLevel.objects.bulk_create(
        StockLevel(product=product, warehouse_id=SP, available=number, updated_at=database_now())
        for number, product in enumerate(products)
    )
    ids = [product.pk for product in products]
    with django_assert_num_queries(2):  # clock, rows
        stored = availability.of_products(ids)
    del asked[:]
    with django_assert_num_queries(0):
        found = availability.of_products(ids)
    assert asked == [501]
    assert [one.available for one in found] == list(range(500))
    assert ({one.source for one in stored}, {one.source for one in found}) == ({"database"}, {"counters"})


@pytest.mark.parametrize("path", ["/api/inventory/products/{}/availability", "/api/inventory/availability"])
def test_a_read_over_http_asks_the_database_nothing(
    settings: Settings, path: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    settings.API_AUTH_ENABLED, settings.SECURE_SSL_REDIRECT = False, False
    product, http = counted({SP: 5}), Client()
    with django_assert_num_queries(0):
        if "{}" in path:
            shown = http.get(path.format(product.pk)).json()
        else:
            body = {"product_ids": [str(product.pk)]}
            [shown] = http.post(path, body, content_type="application/json").json()["products"]
    assert shown.pop("as_of").endswith("Z")
    assert shown == {
        "product_id": str(product.pk),
        "available": 5,
        "state": "low_stock",
        "incoming": 0,
        "warehouses": [{"warehouse_id": SP, "available": 5, "reserved": 0, "incoming": 0, "distance_km": None}],
        "source": "counters",
    }


@pytest.mark.parametrize(
    ("query", "left_out"),
    [
        ("", {"is_sufficient", "served_by"}),
        ("?quantity=5", {"served_by"}),
        ("?postal_code=01310-100", {"is_sufficient"}),
        ("?quantity=5&postal_code=01310-100", set()),
    ],
)
def test_an_answer_has_the_members_that_the_page_of_the_api_names(
    settings: Settings, query: str, left_out: set[str]
) -> None:
    settings.API_AUTH_ENABLED, settings.SECURE_SSL_REDIRECT = False, False
    shown = Client().get(f"/api/inventory/products/{counted({SP: 5}).pk}/availability{query}").json()
    assert shown.keys() == AvailabilityOut().fields.keys() - left_out
    assert shown["warehouses"][0].keys() == WarehouseAvailabilityOut().fields.keys()


# --- what the counters lack ----------------------------------------------------------------------------------------


def test_only_what_the_counters_lack_is_read_from_the_database_and_then_they_have_it() -> None:
    there, lacking = counted({SP: 5}), factories.product({SP: 6})
    copies.forget([lacking.pk])
    asked = [lacking.pk, there.pk]
    assert [one.source for one in availability.of_products(asked)] == ["database", "counters"]
    assert [one.source for one in availability.of_products(asked)] == ["counters", "counters"]


def test_a_product_that_is_asked_for_twice_is_answered_twice_in_its_places() -> None:
    one, other = counted({SP: 5}).pk, counted({SP: 7}).pk
    asked = (one, one, other, one)

    by_view = availability.of_products(asked)
    [by_fast_path] = availability.from_counters([Question(product_ids=asked)])

    for found in (by_view, by_fast_path or []):
        assert [(row.product_id, row.available, row.source) for row in found] == [
            (product_id, units, "counters") for product_id, units in zip(asked, (5, 5, 7, 5), strict=True)
        ]


def test_counters_in_the_form_of_the_version_before_are_read_from_the_database_once_and_then_made_anew(
    client: redis.Redis,
) -> None:
    product = counted({SP: 5, RJ: 7})
    factories.hold(product.pk, 2, SP)
    wanted = {SP: "2:3:2:0:1:5", RJ: "1:7:0:0:1:7", "_": "5::0:2"}
    assert client.hgetall(f"stock:{product.pk}") == wanted
    client.hset(f"stock:{product.pk}", mapping={SP: "2:3:2:0:1", RJ: "1:7:0:0:1"})
    answers = [availability.of_product(product.pk) for _ in range(2)]
    assert [(found.available, found.source) for found in answers] == [(10, "database"), (10, "counters")]
    assert client.hgetall(f"stock:{product.pk}") == wanted


def test_the_moment_is_by_the_clock_of_the_source(client: redis.Redis) -> None:
    product = counted({SP: 5})
    before = client.time()
    found = availability.of_product(product.pk)
    after = client.time()
    moment = found.as_of.timestamp()
    assert before[0] + before[1] / 1e6 <= moment <= after[0] + after[1] / 1e6
    copies.forget([product.pk])
    began = database_now()
    assert began <= availability.of_product(product.pk).as_of <= database_now()


def test_an_unknown_warehouse_and_an_unknown_product_are_refused_though_the_counters_are_there() -> None:
    product, unknown = counted({SP: 5}), uuid4()
    with pytest.raises(Invalid) as refusal:
        availability.of_product(product.pk, warehouse_id="wh-none")
    assert refusal.value.extra == {"unknown": {"product_ids": [], "warehouse_ids": ["wh-none"]}}
    with pytest.raises(NotFound):
        availability.of_product(unknown)
    with pytest.raises(Invalid) as refusal:
        availability.of_products([product.pk, unknown])
    assert refusal.value.extra == {"unknown": {"product_ids": [str(unknown)], "warehouse_ids": []}}


def test_nothing_is_copied_out_of_a_transaction_that_may_yet_be_rolled_back() -> None:
    product = counted({SP: 5})
    copies.forget([product.pk])
    with transaction.atomic():
        StockLevel.objects.filter(product=product).update(available=999_999, version=99)
        assert availability.of_product(product.pk).available == 999_999
        transaction.set_rollback(True)
    assert standing(product.pk) is None
    assert availability.of_product(product.pk).available == 5


# --- a slow reader -------------------------------------------------------------------------------------------------


def read_before_and_publish_after_a_sale(product_id: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader whose rows are from before a sale, and who warms the counters with them after it."""
    copies.forget([product_id])
    has_read, may_publish = threading.Event(), threading.Event()
    views_of = availability.views_of

    def slowly(product_ids: Any) -> Any:
        views = views_of(product_ids)
        if threading.current_thread() is reader:
            has_read.set()
            assert may_publish.wait(10)
        return views

    def read() -> None:
        try:
            assert availability.of_product(product_id).available == 5
        finally:
            connection.close()

    monkeypatch.setattr(availability, "views_of", slowly)
    reader = threading.Thread(target=read)
    reader.start()
    assert has_read.wait(10)
    factories.hold(product_id, 4)
    availability.of_product(product_id)
    may_publish.set()
    reader.join()


def test_a_slow_reader_does_not_overwrite_what_is_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    product = counted({SP: 5})
    read_before_and_publish_after_a_sale(product.pk, monkeypatch)
    found = availability.of_product(product.pk)
    assert (found.available, found.source) == (1, "counters")


def test_control_without_the_version_a_slow_reader_brings_sold_units_back(monkeypatch: pytest.MonkeyPatch) -> None:
    product = counted({SP: 5})
    looks.publish_whatever_comes(monkeypatch)
    read_before_and_publish_after_a_sale(product.pk, monkeypatch)
    found = availability.of_product(product.pk)
    assert (found.available, found.source) == (5, "counters")


def test_a_block_is_shown_as_soon_as_the_counters_have_it() -> None:
    product = counted({SP: 5})
    blocking.block_product(product.pk, reason="recall", actor=ACTOR)
    assert copies.publish(availability.views_of([product.pk]).values(), whole=True)
    found = availability.of_product(product.pk)
    assert (found.available, found.state, found.source) == (0, "blocked", "counters")
