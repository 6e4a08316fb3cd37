"""What every viewset of the API is: it knows the methods that its routes name, and no others."""

from typing import TypeVar

from django.db.models import Model
from rest_framework import viewsets

Row = TypeVar("Row", bound=Model)


class ViewSet(viewsets.GenericViewSet[Row]):
    """DRF's GenericViewSet without OPTIONS, which DRF would list in every `Allow` though it is 405 here."""

    http_method_names = [name for name in viewsets.GenericViewSet.http_method_names if name != "options"]
