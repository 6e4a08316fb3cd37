"""Which requests are gathered: reserve, confirm and cancel over HTTP, unless it is turned off."""

from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from prometheus_client import REGISTRY
from pytest_django import Settings

from reservations import gathering
from tests import factories
from tests.integration.group_commit import callers

VERBS = [gatherer.name for gatherer in gathering.GATHERERS.values()]


@pytest.fixture
def client(books: None, settings: Settings) -> Any:
    settings.API_AUTH_ENABLED = settings.SECURE_SSL_REDIRECT = False
    return Client(SERVER_NAME="localhost")


def batches() -> dict[str, float]:
    """Batches so far, by verb."""
    name = "inventory_group_commit_batch_size_count"
    return {verb: REGISTRY.get_sample_value(name, {"verb": verb}) or 0.0 for verb in VERBS}


def every_verb_once(client: Client) -> dict[str, float]:
    """How many batches were made while three orders were reserved and then lived through all there is."""
    product = factories.product({factories.SP: 10})
    before = batches()

    def post(path: str, body: object, status: int) -> UUID:
        answer: Any = client.post(path, body, content_type="application/json")
        assert answer.status_code == status
        return UUID(answer.json()["id"])

    first, second, third = (
        post(asked.path, asked.body, 201) for asked in (callers.reservation(product.pk) for _ in range(3))
    )
    post(f"{callers.API}/reservations/{first}/extend", {"minutes": 1, "reference": "slow-payment"}, 200)
    post(f"{callers.API}/reservations/{first}/confirm", {}, 200)
    post(f"{callers.API}/reservations/{first}/return", {"reference": "parcel"}, 200)
    post(f"{callers.API}/reservations/{second}/cancel", {}, 200)
    post(f"/admin/reservations/{third}/expire", {}, 200)
    assert factories.numbers(product.pk) == (10, 0, 0)
    return {verb: number - before[verb] for verb, number in batches().items()}


def test_reserve_confirm_and_cancel_over_http_are_gathered_and_nothing_else_is(client: Client) -> None:
    assert every_verb_once(client) == {"reserve": 3, "confirm": 1, "cancel": 1}


def test_turned_off_each_request_is_decided_alone_with_the_same_answers(client: Client, settings: Settings) -> None:
    settings.GROUP_COMMIT = False
    assert every_verb_once(client) == {"reserve": 0, "confirm": 0, "cancel": 0}
