"""The base class of the API's viewsets: only the methods that the routes name, and pages of a list."""

from typing import TypeVar

from django.db.models import Model
from rest_framework import viewsets
from rest_framework.response import Response

Row = TypeVar("Row", bound=Model)


class ViewSet(viewsets.GenericViewSet[Row]):
    """DRF's GenericViewSet without OPTIONS. DRF would list it in every `Allow` header, although it is 405 here."""

    http_method_names = [name for name in viewsets.GenericViewSet.http_method_names if name != "options"]

    def page(self) -> Response:
        """The page of the list that the request asks for, filtered and in the view's ordering."""
        rows = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(rows, many=True).data)
