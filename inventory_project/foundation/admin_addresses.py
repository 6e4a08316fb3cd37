"""Addresses that no page of the admin can read are answered by a page that says so, for every page of the admin.

Staff write addresses by hand, and others send them links. Django passes their parameters on to the database, where some
of them fail; and it allows any lookup of a column, among them regular expressions that keep the database busy.
"""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup, DisallowedModelAdminToField
from django.core.exceptions import ValidationError
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from inventory_project.foundation import values

# What the filters of lists and the links between pages ask: equal, empty or not, and the two ends of a period.
LOOKUPS = frozenset(["exact", "isnull", "isempty", "gte", "lt"])
PATHS: tuple[list[str], ...] = (
    [],
    ["id"],
)  # before the lookup: the column itself, or the id of the row that it refers to
READING = ("GET", "HEAD")
# What an address that means nothing to its page ends in: in the database, in Python, in Django.
ABSURD = (
    *(DataError, OverflowError, ValidationError),
    *(DisallowedModelAdminLookup, DisallowedModelAdminToField),
)


class AdminAddressMiddleware:
    """Refuses unreadable addresses of the admin with 400. The API's paths below /admin/ are not its business."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request."""
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, _view: object, _arguments: Any, names: dict[str, Any]
    ) -> HttpResponse | None:
        """Refuse an address with NUL, which PostgreSQL cannot store, or with a lookup that no page offers."""
        if not _is_page(request):
            return None
        texts = [str(name) for name in names.values()]
        texts += [text for name, given in request.GET.lists() for text in (name, *given)]
        if any("\0" in text for text in texts):
            return _refused(request, "It has a character that no text can have.")
        for name in request.GET:
            _, *path = name.split("__")
            if path and (path[-1] not in LOOKUPS or path[:-1] not in PATHS):
                return _refused(request, f"Lists cannot be filtered by {values.printable(name)}.")
        return None

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Refuse an address that means nothing to its page. Any other error is a defect."""
        if _is_page(request) and request.method in READING and isinstance(error, ABSURD):
            return _refused(request, "A part of it means nothing here.")
        return None


def _is_page(request: HttpRequest) -> bool:
    return request.resolver_match is not None and request.resolver_match.namespace == admin.site.name


def _refused(request: HttpRequest, reason: str) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": "This address cannot be read", "reason": reason}
    return render(request, "admin/unreadable.html", context, status=400)
