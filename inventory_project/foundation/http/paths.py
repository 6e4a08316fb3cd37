"""Ids in paths: a canonical UUID in upper or lower case. Anything else is answered with 404."""

from uuid import UUID

from django.urls import register_converter

from inventory_project.foundation.values import CANONICAL_UUID


class CanonicalUUIDConverter:
    """`<id:name>` in a route. Django's own `uuid` accepts only lower case, although RFC 9562 asks to accept both."""

    regex = CANONICAL_UUID

    def to_python(self, value: str) -> UUID:
        """The UUID that the path names."""
        return UUID(value)

    def to_url(self, value: UUID) -> str:
        """The canonical, lower-case form of the UUID."""
        return str(value)


register_converter(CanonicalUUIDConverter, "id")
