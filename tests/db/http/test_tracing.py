"""A caller finds its trace and its request's id in the events of what it asked for."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from inventory_project.foundation import tracing
from inventory_project.foundation.messaging.models import OutboxEvent
from tests import factories
from tests.factories import SP

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
RESERVATIONS = "/api/inventory/reservations"


def reserve(api: Client, product_id: UUID, **headers: str) -> Any:
    body = {"order_id": str(uuid4()), "items": [{"product_id": str(product_id), "quantity": 1}]}
    return api.post(RESERVATIONS, body, content_type="application/json", headers=headers)


def extensions(response: Any) -> Any:
    """Those of the reservation's first event."""
    assert response.status_code == 201, response.content
    return OutboxEvent.objects.get(subject=response.json()["id"]).extensions


def test_trace_and_request_id_end_in_the_event(api: Client) -> None:
    product = factories.product({SP: 5})
    response = reserve(api, product.pk, **{"traceparent": TRACE, "X-Request-ID": "checkout-17"})
    assert extensions(response) == {"traceparent": TRACE, "requestid": "checkout-17"}
    assert tracing.current() == {}


def test_a_caller_that_sends_neither_is_given_a_request_id(api: Client) -> None:
    product = factories.product({SP: 5})
    first, second = extensions(reserve(api, product.pk)), extensions(reserve(api, product.pk))
    assert first.keys() == second.keys() == {"requestid"}
    assert UUID(first["requestid"]).version == UUID(second["requestid"]).version == 4
    assert first != second


@pytest.mark.parametrize(
    ("traceparent", "request_id"), [("00-zz-1-01", "x" * 129), (TRACE.upper(), "é"), (f"{TRACE}-extra", "")]
)
def test_what_is_malformed_goes_nowhere(api: Client, traceparent: str, request_id: str) -> None:
    product = factories.product({SP: 5})
    carried = extensions(reserve(api, product.pk, **{"traceparent": traceparent, "X-Request-ID": request_id}))
    assert carried.keys() == {"requestid"}
    assert UUID(carried["requestid"]).version == 4


def test_a_refusal_names_the_callers_request_id(api: Client) -> None:
    product = factories.product({SP: 5})
    body = {"order_id": str(uuid4()), "items": [{"product_id": str(product.pk), "quantity": 6}]}
    response = api.post(RESERVATIONS, body, content_type="application/json", headers={"X-Request-ID": "checkout-18"})
    assert (response.status_code, response.json()["request_id"]) == (409, "checkout-18")
    assert tracing.current() == {}


def test_a_defect_leaves_no_trace_to_the_next_request_of_the_thread(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reservations.api.reservations.ReserveIn.read", broken)
    response = api.post(RESERVATIONS, {}, content_type="application/json", headers={"traceparent": TRACE})
    assert response.status_code == 500
    assert tracing.current() == {}


def broken(_body: object) -> Any:
    raise ZeroDivisionError


def test_what_staff_do_in_the_admin_carries_it_too(api: Client) -> None:
    held = factories.hold(factories.product({SP: 5}).pk)
    browser = Client(headers={"traceparent": TRACE, "X-Request-ID": "desk-3"})
    browser.force_login(User.objects.create_superuser("ana"))
    choice = {"action": "cancel_now", "index": "0", "_selected_action": [str(held.id)], "is_answered": "yes"}
    assert browser.post(reverse("admin:reservations_reservation_changelist"), choice).status_code == 302
    released = OutboxEvent.objects.get(subject=str(held.id), type="inventory.released")
    assert released.extensions == {"traceparent": TRACE, "requestid": "desk-3"}
