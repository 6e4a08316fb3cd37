"""Ids in paths: canonical UUIDs in either case, and nothing else."""

from uuid import UUID

import pytest
from django.test import Client

from inventory_project.foundation.http import paths
from tests.unit.http.conftest import assert_problem

ORDER = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"


@pytest.mark.parametrize("text", [ORDER, ORDER.upper()])
def test_a_canonical_uuid_is_found_in_either_case(client: Client, text: str) -> None:
    response = client.get(f"/api/orders/{text}")
    assert (response.status_code, response.json()["order_id"]) == (200, ORDER)


@pytest.mark.parametrize(
    "text",
    ["5", "x", ORDER[:-1], ORDER + "0", ORDER.replace("-", ""), f"urn:uuid:{ORDER}", f"{{{ORDER}}}", ORDER + "%0A"],
)
def test_anything_else_is_404(client: Client, text: str) -> None:
    assert_problem(client.get(f"/api/orders/{text}"), 404, "not_found")


def test_a_path_is_made_in_lower_case() -> None:
    assert paths.CanonicalUUIDConverter().to_url(UUID(ORDER.upper())) == ORDER
