"""Orders over the same five products, named in every order there is (F15)."""

from functools import partial
from itertools import permutations
from typing import Any

from reservations.models import Reservation
from reservations.requests import Item, Outcome, Reserve
from tests import factories
from tests.integration.races import contestants, guards
from tests.processes import Crowd, Guard

THREADS = 16
STOCK = {factories.SP: 1_000, factories.RJ: 1_000}


def requests_in_all_orders() -> list[Reserve]:
    """An order for one unit of each of five products, in each of the 120 orders of naming them."""
    products = [factories.product(STOCK).pk for _ in range(5)]
    return [
        factories.reserve_request(products[0], items=tuple(Item(product_id, 1) for product_id in named))
        for named in permutations(products)
    ]


def storm(crowd: Crowd, requests: list[Reserve], *without: Guard) -> tuple[list[Any], float]:
    """All requests by 16 threads, each with its share; the answers, and how many batches failed."""
    shares = [partial(contestants.storm, requests[i::THREADS]) for i in range(THREADS)]
    results = crowd.race(shares, within=[guards.patience, *without])
    return [answer for answers, _ in results for answer in answers], sum(failures for _, failures in results)


def test_orders_over_five_products_in_all_permutations_by_16_threads_meet_no_deadlock(audited_crowd: Crowd) -> None:
    answers, failures = storm(audited_crowd, requests_in_all_orders())
    assert failures == 0
    assert {type(answer) for answer in answers} == {Outcome}
    assert Reservation.objects.count() == 120


def test_over_http_they_meet_no_server_error(audited_crowd: Crowd) -> None:
    requests = requests_in_all_orders()
    shares = [partial(contestants.storm_over_http, requests[i::THREADS]) for i in range(THREADS)]
    statuses = audited_crowd.race(shares, within=[contestants.api_open_to_all])
    assert [status for of_share in statuses for status in of_share] == [201] * 120


def test_control_with_locks_in_the_order_of_the_request_they_deadlock(audited_crowd: Crowd) -> None:
    requests = requests_in_all_orders()
    forth_and_back = [*requests[:2], *requests[-2:]]  # few, for each deadlock takes PostgreSQL a second to see
    _, failures = storm(audited_crowd, forth_and_back, guards.with_locks_in_the_order_of_the_request)
    assert failures > 0
