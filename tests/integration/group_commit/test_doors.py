"""Which requests are gathered over HTTP: reserve, bulk reserve, confirm, cancel and availability in their usual form.

In another form, such as with an escape in a text, Django answers them, one by one and with the same answers.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings

from reservations.models import Reservation
from tests import factories
from tests.integration.group_commit import callers
from tests.integration.group_commit.callers import API
from tests.integration.group_commit.conftest import serving
from tests.service import Answer, Service

USUAL = {"Content-Type": "application/json", "X-Request-ID": "the-same-for-all"}
Gathered = dict[str, tuple[int, int]]  # by verb: batches, and requests in them


def gathered(service: Service) -> Gathered:
    """So far, of all verbs that there are."""
    text = service.metrics()
    samples: list[tuple[str, str, str]] = re.findall(
        r'(?m)^inventory_group_commit_batch_size_(count|sum)\{verb="(\w+)"\} (\S+)$', text
    )
    found = {(verb, kind): int(float(value)) for kind, verb, value in samples}
    return {verb: (found[verb, "count"], found[verb, "sum"]) for verb, _ in found}


class Door:
    """The service, and what it gathers for each request."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.before = gathered(service)

    def ask(
        self, method: str, path: str, body: object = None, form: dict[str, str] | None = None
    ) -> tuple[Answer, Gathered]:
        """The answer, and the batches that were made for it."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.service.ask(method, path, content, **(USUAL | (form or {})))
        before, self.before = self.before, gathered(self.service)
        made = {
            verb: (batches - before[verb][0], requests - before[verb][1])
            for verb, (batches, requests) in self.before.items()
        }
        return answer, {verb: numbers for verb, numbers in made.items() if numbers != (0, 0)}


@pytest.fixture(scope="module")
def _with_counters(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("doors") / "serve.log"
    with serving(log, WEB_WORKERS=1, REDIS_URL=settings.REDIS_URL) as service:
        yield service


@pytest.fixture
def door(_with_counters: Service, books: None) -> Door:
    """Of a service with one web process, and with counters, which availability on the event loop needs."""
    return Door(_with_counters)


def order(product_id: UUID, quantity: int = 1) -> dict[str, Any]:
    return {"order_id": str(uuid4()), "items": [{"product_id": str(product_id), "quantity": quantity}]}


def test_reserve_bulk_reserve_confirm_cancel_and_availability_are_gathered_and_nothing_else_is(door: Door) -> None:
    product_id = factories.product({factories.SP: 100}).pk
    of_product = f"{API}/products/{product_id}"

    def reserve() -> str:
        answer, made = door.ask("POST", f"{API}/reservations", order(product_id))
        assert (answer.status, made) == (201, {"reserve": (1, 1)})
        return f"{API}/reservations/{answer.json()['id']}"

    first, second, third = reserve(), reserve(), reserve()
    bulk = {"orders": [order(product_id), order(product_id)]}
    ids = {"product_ids": [str(product_id)]}
    gathering: list[tuple[str, str, object, Gathered]] = [
        ("POST", f"{API}/reservations/bulk", bulk, {"reserve": (1, 2)}),
        ("POST", f"{first}/confirm", {}, {"confirm": (1, 1)}),
        ("POST", f"{second}/cancel", {}, {"cancel": (1, 1)}),
        ("GET", f"{of_product}/availability", None, {"availability": (1, 1)}),
        ("POST", f"{API}/availability", ids, {"availability": (1, 1)}),
    ]
    for method, path, body, expected in gathering:
        answer, made = door.ask(method, path, body)
        assert (answer.status, made) == (200, expected), path

    document = {"warehouse_id": factories.SP, "items": [{"product_id": str(product_id), "quantity": 1}]}
    everything_else: list[tuple[str, str, object, int]] = [
        ("POST", f"{third}/extend", {"minutes": 1, "reference": "slow-payment"}, 200),
        ("POST", f"{first}/return", {"reference": "parcel"}, 200),
        ("POST", f"/admin/reservations/{third.rpartition('/')[2]}/expire", {}, 200),
        ("POST", f"{API}/receipts", {"reference": f"receipt-{uuid4()}", **document}, 201),
        ("POST", f"/admin/products/{product_id}/block-sales", {"reason": "recall"}, 200),
        ("POST", f"/admin/products/{product_id}/unblock-sales", {"reason": "recall"}, 200),
        ("GET", of_product, None, 200),
        ("GET", f"{API}/reservations", None, 200),
        ("GET", first, None, 200),
        ("GET", f"{first}/allocation", None, 200),
        ("GET", f"{API}/stock-levels", None, 200),
        ("GET", f"{API}/warehouses", None, 200),
        ("HEAD", f"{of_product}/availability", None, 200),
        ("GET", "/health/live", None, 200),
        ("GET", "/admin/login/", None, 200),
    ]
    for method, path, body, status in everything_else:
        answer, made = door.ask(method, path, body)
        assert (answer.status, made) == (status, {}), path
    assert factories.numbers(product_id) == (99, 2, 0)


# --- other forms -----------------------------------------------------------------------------------------------------

COOKIE = {"Cookie": "theme=dark"}
CHARSET = {"Content-Type": 'application/json; charset="UTF8"'}


def with_escapes(body: object) -> bytes:
    """The same JSON, in which each text begins with an escape."""
    return re.sub(rb'(: |\[)"(\w)', lambda found: rb'%s"\u%04x' % (found[1], ord(found[2])), json.dumps(body).encode())


def without_moments(text: str) -> object:
    """The body without the moment that an availability is of."""
    return json.loads(re.sub(r'"as_of":"[^"]+"', '"as_of":""', text))


def shown(answer: Answer) -> tuple[object, dict[str, str]]:
    """The body, and the headers but those of a moment, of a length, or of what was created."""
    left_out = {"date", "location", "content-length"}
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in left_out}
    return without_moments(answer.text), headers


@pytest.mark.parametrize("form", [COOKIE, CHARSET, None], ids=["a cookie", "a charset", "escapes"])
def test_a_request_in_another_form_is_not_gathered_and_is_answered_in_the_same_way(
    door: Door, form: dict[str, str] | None
) -> None:
    product_id, scarce = factories.product({factories.SP: 100}).pk, factories.product({factories.SP: 1}).pk
    held = [factories.hold(product_id).id for _ in range(2)]
    place = f"{API}/reservations"
    bulk = {"orders": [order(product_id), order(scarce, 2)]}
    ids = {"product_ids": [str(product_id)]}
    door.ask("POST", f"{API}/availability", ids)  # the counters are filled
    for path, body, verb in (
        (place, order(product_id), "reserve"),
        (place, order(scarce, 2), "reserve"),
        (place, order(uuid4()), "reserve"),
        (f"{place}/bulk", bulk, "reserve"),
        (f"{place}/{held[0]}/confirm", {"items": [{"product_id": str(product_id), "quantity": 1}]}, "confirm"),
        (f"{place}/{held[0]}/cancel", {}, "cancel"),
        (f"{place}/{held[1]}/cancel", {}, "cancel"),
        (f"{place}/{uuid4()}/confirm", {}, "confirm"),
        (f"{API}/availability", ids, "availability"),
        (f"{API}/availability", {"product_ids": [str(uuid4())]}, "availability"),
    ):
        usual, made = door.ask("POST", path, body)
        assert made.keys() == {verb}
        if form is None and body == {}:
            continue  # nothing to escape
        other, made = door.ask("POST", path, body if form else with_escapes(body), form)
        assert made == {}
        # The second time an order gets the reservation that it has.
        assert other.status == (200 if usual.status == 201 else usual.status)
        assert shown(other) == (as_replay(shown(usual)[0]), shown(usual)[1]), path

    if form == COOKIE:
        path = f"{API}/products/{product_id}/availability?quantity=3"
        (usual, made), (other, made_of_other) = door.ask("GET", path), door.ask("GET", path, form=form)
        assert (made, made_of_other) == ({"availability": (1, 1)}, {})
        assert (usual.status, other.status, shown(other)) == (200, 200, shown(usual))


def as_replay(body: object) -> object:
    """What a bulk reserve answers when it is repeated."""
    if isinstance(body, dict) and "results" in body:
        results = [{**each, "status": 200 if each["status"] == 201 else each["status"]} for each in body["results"]]
        return {"results": results}
    return body


def test_in_a_form_that_nobody_reads_nothing_is_gathered_or_done(door: Door) -> None:
    product_id = factories.product({factories.SP: 100}).pk
    body = json.dumps(order(product_id)).encode()
    path = f"{API}/reservations"
    for content, form, status in (
        (body, {"Content-Type": "application/json; charset=latin-1"}, 415),
        (body, {"Content-Type": "text/plain"}, 415),
        (body.replace(b"{", b'{"order_id": "%s", ' % str(uuid4()).encode(), 1), {}, 400),
        (body.replace(b'"quantity"', b'"quant\\u0069ty", "quantity"'), {}, 400),
        (body + b"\x00", {}, 400),
        (body[:-1], {}, 400),
        (body.replace(b": 1", b": 1.0"), {}, 400),
        (body.replace(b": 1", b": true"), {}, 400),
    ):
        answer, made = door.ask("POST", path, content, form)
        assert (answer.status, made) == (status, {}), content
    answer, made = door.ask("POST", f"{API}/reservations/{uuid4()}/cancel", b'{"order_id": 1}')
    assert (answer.status, made) == (400, {})
    assert Reservation.objects.count() == 0
    assert factories.numbers(product_id) == (100, 0, 0)


def test_32_callers_at_once_are_gathered(door: Door) -> None:
    product_id = factories.product({factories.SP: 100}).pk
    told = callers.ask_at_once(door.service, [callers.reservation(product_id) for _ in range(32)])
    assert callers.words(told) == {(201, "ACTIVE"): 32}
    batches, requests = (
        now - was for now, was in zip(gathered(door.service)["reserve"], door.before["reserve"], strict=True)
    )
    assert requests == 32
    assert 1 <= batches < 32
