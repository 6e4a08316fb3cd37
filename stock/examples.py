"""Ids of products that `manage.py seed` creates, so that the examples on the API page work at once."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter

BEANS = "5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1001"
MACHINE = "5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1002"
PRODUCT_ID = OpenApiParameter(
    "product_id", OpenApiTypes.UUID, OpenApiParameter.PATH, examples=[OpenApiExample("A seeded product", value=BEANS)]
)
