"""Ids in paths: a canonical UUID in either case, and whatever else stands there names nothing (404)."""

from uuid import UUID

from django.urls import register_converter

CANONICAL_UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"


class CanonicalUUIDConverter:
    """`<id:name>` in a route. Django's own `uuid` takes lower case alone, though RFC 9562 says to read either."""

    regex = CANONICAL_UUID

    def to_python(self, value: str) -> UUID:
        """The UUID that the path names."""
        return UUID(value)

    def to_url(self, value: UUID) -> str:
        """Its canonical, lower-case form."""
        return str(value)


register_converter(CanonicalUUIDConverter, "id")
