"""The contract with callers that read reservations and why their warehouses were chosen."""

from typing import Any
from uuid import uuid4

from django.test import Client

from reservations import lifecycle
from reservations.api.allocation import AllocationOut
from reservations.models import Reservation
from reservations.requests import Cancel
from tests import factories
from tests.db.http.calls import API, product_in_known_places
from tests.factories import PR, RJ, SP


def test_the_allocation_says_why_these_warehouses(api: Client) -> None:
    product = product_in_known_places()
    held = factories.hold(product.pk, 2, delivery_postal_code="01310-100")
    response = api.get(f"{API}/reservations/{held.id}/allocation")
    assert response.status_code == 200
    product_id = str(product.pk)
    assert response.json() == {
        "reservation_id": str(held.id),
        "order_id": str(held.order_id),
        "delivery_postal_code": "01310-100",
        "allocation": {
            "version": 2,
            "sentence": f"{SP} (1 km away) serves the order: it is the nearest (before {RJ}). "
            f"Not serving southeast: {PR}.",
            "strategy": "one_warehouse",
            "tie_break": "nearest",
            "policy": {
                "region": "",
                "preferences": ["fewest_parcels", "nearest", "priority", "balance"],
                "tolerance_km": 50.0,
                "split": "fewest_parcels",
                "most_parcels": None,
                "is_built_in": True,
            },
            "allow_split": True,
            "delivery": {"area": "BR 01", "name": "Sao Paulo, SP", "precision": "prefix", "region": "southeast"},
            "notes": [],
            "steps": 0,
            "candidates": [
                {
                    "warehouse_id": SP,
                    "region": "southeast",
                    "priority": 1,
                    "distance_km": 1.2,
                    "lost_by": None,
                    "available": {product_id: 9},
                    "share_taken": {product_id: 0.1},
                },
                {
                    "warehouse_id": RJ,
                    "region": "southeast",
                    "priority": 2,
                    "distance_km": 361.7,
                    "lost_by": "nearest",
                    "available": {product_id: 20},
                    "share_taken": {product_id: 0.0},
                },
            ],
            "candidates_left_out": 0,
            "rejected": [{"warehouse_id": PR, "product_id": product_id, "reason": "not_served"}],
            "chosen": [
                {
                    "strategy": "one_warehouse",
                    "tie_break": "nearest",
                    "said": [
                        {"preference": "fewest_parcels", "best": 1, "left": 2},
                        {"preference": "nearest", "best": 1.2, "left": 1},
                    ],
                    "parts": [{"product_id": product_id, "warehouse_id": SP, "quantity": 2}],
                }
            ],
        },
    }
    assert_described(response)


def assert_described(response: Any) -> None:
    """Each member and value of the answer is as the OpenAPI document has it."""
    described = AllocationOut(data=response.json())
    described.is_valid(raise_exception=True)
    assert described.validated_data.keys() == response.json().keys()
    allocation = response.json()["allocation"]
    assert allocation is None or described.validated_data["allocation"].keys() == allocation.keys()


def test_an_allocation_that_the_first_version_kept_is_told_too(api: Client) -> None:
    product = factories.product({SP: 10})
    held = factories.hold(product.pk, 2)
    part = {"product_id": str(product.pk), "warehouse_id": SP, "quantity": 2}
    decision = {"strategy": "one_warehouse", "tie_break": "stock", "parts": [part]}
    candidates = [
        {"warehouse_id": key, "region": "southeast", "priority": 1, "available": {str(product.pk): units}}
        for key, units in ((RJ, 4), (SP, 10))
    ]
    rejected = [{"warehouse_id": PR, "product_id": str(product.pk), "reason": "closed"}]
    kept = {
        "version": 1,
        "strategy": "one_warehouse",
        "tie_break": "stock",
        "candidates": candidates,
        "candidates_left_out": 0,
        "rejected": rejected,
        "chosen": [decision],
    }
    Reservation.objects.filter(pk=held.id).update(allocation=kept)
    response = api.get(f"{API}/reservations/{held.id}/allocation")
    assert response.json()["allocation"] == {
        **kept,
        "sentence": f"{SP} serves the order: of equally good ones, it had the most stock.",
        "policy": None,
        "allow_split": None,
        "delivery": None,
        "notes": [],
        "steps": None,
        "candidates": [{**one, "distance_km": None, "lost_by": None, "share_taken": {}} for one in candidates],
        "chosen": [{**decision, "said": []}],
    }
    assert_described(response)


def test_an_allocation_that_a_newer_version_kept_is_null(api: Client) -> None:
    held = factories.hold(factories.product({SP: 10}).pk, 2, delivery_postal_code="01310-100")
    Reservation.objects.filter(pk=held.id).update(allocation={"version": 3, "of": "another form"})
    response = api.get(f"{API}/reservations/{held.id}/allocation")
    assert response.status_code == 200
    assert response.json() == {
        "reservation_id": str(held.id),
        "order_id": str(held.order_id),
        "delivery_postal_code": "01310-100",
        "allocation": None,
    }
    assert_described(response)


def test_reservations_are_listed_newest_first_and_filtered(api: Client) -> None:
    product, other = factories.product({SP: 10}), factories.product({SP: 10})
    first, second, third = factories.hold(product.pk), factories.hold(other.pk), factories.hold(product.pk)
    lifecycle.cancel_many([Cancel(reservation_id=first.id, actor=factories.ACTOR)])

    def listed(**query: Any) -> list[str]:
        body = api.get(f"{API}/reservations", query).json()
        assert body.keys() == {"next", "previous", "results"}
        return [row["id"] for row in body["results"]]

    assert listed() == [str(third.id), str(second.id), str(first.id)]
    assert listed(product_id=product.pk) == [str(third.id), str(first.id)]
    assert listed(product_id=product.pk, status="ACTIVE") == [str(third.id)]
    assert listed(status="CANCELLED") == [str(first.id)]
    assert listed(order_id=second.order_id) == [str(second.id)]
    assert listed(order_id=uuid4()) == []
