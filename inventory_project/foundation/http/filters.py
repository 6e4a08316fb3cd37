"""Filters of lists: a parameter that is not declared, or a value that cannot be meant, is 400 and never ignored.

A filter that is silently dropped answers a question nobody asked, with all rows.
"""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from django_filters import rest_framework as django_filters
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.serializers import Field

from inventory_project.foundation.http import fields

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which imports this module, by the settings


class _FormField(forms.CharField):
    """A form field that reads its text by the serializer field of a body, so that both take the same."""

    reader: "type[Field[Any, Any, Any, Any]]"

    def to_python(self, value: Any) -> Any:
        """The value, None when none was given."""
        text = super().to_python(value)
        if text in self.empty_values:
            return None
        try:
            return self.reader().run_validation(text)
        except ValidationError as refusal:
            raise DjangoValidationError([str(detail) for detail in refusal.detail], code="invalid") from None


class _UUIDFormField(_FormField):
    reader = fields.StrictUUIDField


class _MomentFormField(_FormField):
    reader = fields.StrictDateTimeField


class _TrueFalseFormField(_FormField):
    def to_python(self, value: Any) -> Any:
        """True, False, or None when none was given."""
        text = forms.CharField.to_python(self, value)
        if text in self.empty_values:
            return None
        if text not in ("true", "false"):
            raise DjangoValidationError("true or false is required.", code="invalid")
        return text == "true"


class UUIDFilter(django_filters.UUIDFilter):  # type: ignore[misc]  # django-filter has no types
    """`?product_id=` with a canonical UUID."""

    field_class = _UUIDFormField


class BooleanFilter(django_filters.BooleanFilter):  # type: ignore[misc]
    """`?low=true`."""

    field_class = _TrueFalseFormField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.extra["widget"] = forms.TextInput


class MomentFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]
    """`?since=2026-11-22T09:30:00Z`."""

    field_class = _MomentFormField


class ChoiceFilter(django_filters.ChoiceFilter):  # type: ignore[misc]
    """`?status=ACTIVE`; what is none of the choices is told all of them."""

    def __init__(self, *, choices: list[tuple[str, str]], **kwargs: Any) -> None:
        listed = ", ".join(value for value, _ in choices)
        super().__init__(choices=choices, error_messages={"invalid_choice": f"One of {listed} is required."}, **kwargs)


class StrictFilterBackend(django_filters.DjangoFilterBackend):  # type: ignore[misc]
    """DjangoFilterBackend that knows every query parameter: the filters and what the paginator reads."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: "APIView") -> QuerySet[Any]:
        """The rows asked for. Raises ValidationError that names each unknown parameter and each wrong value."""
        filterset_class = self.get_filterset_class(view, queryset)
        known = {*(filterset_class.base_filters if filterset_class else ()), *_paging_parameters(view)}
        fields.refuse_parameters(request.query_params, known)
        filtered: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return filtered


def _paging_parameters(view: "APIView") -> set[str]:
    paginator = getattr(view, "paginator", None)
    if paginator is None:
        return set()
    return {parameter["name"] for parameter in paginator.get_schema_operation_parameters(view)}
