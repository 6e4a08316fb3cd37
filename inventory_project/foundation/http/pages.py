"""Cursor pages: a list is read along one ordering, so that rows added or removed meanwhile do not shift the pages.

A caller passes a cursor back unchanged. An invented cursor is answered with 400, whatever is in it.
"""

import re
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import Field, QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from inventory_project.foundation.errors import Invalid

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which imports this module, by the settings

NO_CURSOR = "This is not a cursor of this list."
_SIZE = re.compile(r"[1-9][0-9]{0,19}")


class Pages(CursorPagination):
    """Pages of 50, or of `?page_size=` up to 200, along the view's `ordering`, such as `("-id",)`.

    The ordering must begin with a unique field. For equal values DRF uses offsets, and then loses rows on the way back.
    """

    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    page_size_query_description = f"Results on a page; {page_size} unless given, {max_page_size} at most."
    cursor_query_description = "Where the page begins: from `next` or `previous` of another page."

    def paginate_queryset(self, queryset: Any, request: Request, view: "APIView | None" = None) -> list[Any] | None:
        """The rows of the page. Its links have no host: it would be the one that the client named, with any port."""
        page: list[Any] | None = super().paginate_queryset(queryset, request, view)
        self.base_url = request.get_full_path()
        return page

    def get_page_size(self, request: Request) -> int:
        """The requested size, at most `max_page_size`. Raises `Invalid` if it is not a number from 1 on."""
        asked = request.query_params.get(self.page_size_query_param)
        if asked is None:
            return self.page_size
        if not _SIZE.fullmatch(asked):
            raise _invalid("page_size", "A whole number from 1 on, in plain digits, is required.")
        return min(int(asked), self.max_page_size)

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: "APIView") -> tuple[str, ...]:
        """The view's ordering. Raises ImproperlyConfigured if it does not begin with a unique field."""
        ordering: tuple[str, ...] | None = getattr(view, "ordering", None)
        if not ordering:
            raise ImproperlyConfigured(f"{type(view).__name__} declares no `ordering` to page along.")
        field = queryset.model._meta.get_field(ordering[0].lstrip("-"))
        if not isinstance(field, Field) or not field.unique:
            raise ImproperlyConfigured(f"{type(view).__name__}.ordering must begin with a unique field.")
        self.position_field = field
        return tuple(ordering)

    def decode_cursor(self, request: Request) -> Cursor | None:
        """The request's cursor, or None for the first page. Raises `Invalid` if this list cannot have issued it."""
        try:
            cursor: Cursor | None = super().decode_cursor(request)
        except NotFound:
            raise _invalid("cursor", NO_CURSOR) from None
        if cursor is not None and not self._is_ours(cursor):
            raise _invalid("cursor", NO_CURSOR)
        return cursor

    def _is_ours(self, cursor: Cursor) -> bool:
        """Whether this list can have issued the cursor: a position that the database can compare, and no offset."""
        position = str(cursor.position)
        try:
            self.position_field.to_python(position)
        except DjangoValidationError:
            return False
        return cursor.position is not None and cursor.offset == 0 and position.isprintable()

    def get_schema_operation_parameters(self, view: "APIView") -> list[dict[str, Any]]:
        """The paging parameters for the OpenAPI document."""
        cursor, page_size = super().get_schema_operation_parameters(view)
        page_size["schema"]["minimum"] = 1
        return [cursor, page_size]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The shape of a page for the OpenAPI document."""
        described: dict[str, Any] = super().get_paginated_response_schema(schema)
        described["required"] = ["next", "previous", "results"]
        for name in ("next", "previous"):
            link = {"format": "uri-reference", "example": f"/api/inventory/...?{self.cursor_query_param}=cD00ODY%3D"}
            described["properties"][name] |= link
        return described


def _invalid(field: str, detail: str) -> Invalid:
    return Invalid(
        f"The parameter {field} is not valid.", errors=[{"field": field, "code": "invalid", "detail": detail}]
    )
