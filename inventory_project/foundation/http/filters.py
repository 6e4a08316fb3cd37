"""Filters of lists: an undeclared parameter, an empty value or an invalid one is answered with 400 and never ignored.

If a filter were silently dropped, the answer would contain all rows, which the caller did not ask for.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from django.http import QueryDict
from django_filters import rest_framework as django_filters
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.serializers import Field

from inventory_project.foundation import values
from inventory_project.foundation.http import fields

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which imports this module, by the settings

EMPTY = "The value is empty. Leave the parameter out to see all rows."


class _FormField(forms.CharField):
    """A form field that uses a serializer field, so that a filter accepts the same values as a body."""

    reader: "Callable[[], Field[Any, Any, Any, Any]]"

    def to_python(self, value: Any) -> Any:
        """The value, or None if none was given: `StrictFilterBackend` has refused an empty one."""
        if value in self.empty_values:
            return None
        try:
            return self.reader().run_validation(value)
        except ValidationError as refusal:
            raise DjangoValidationError([str(detail) for detail in refusal.detail], code="invalid") from None


class _TextFormField(_FormField):
    def __init__(self, *, reader: "Callable[[], Field[Any, Any, Any, Any]]", **options: Any) -> None:
        super().__init__(**options)
        self.reader = reader


class _UUIDFormField(_FormField):
    reader = fields.StrictUUIDField


class _MomentFormField(_FormField):
    reader = fields.StrictDateTimeField


class _TrueFalseFormField(_FormField):
    def to_python(self, value: Any) -> Any:
        """True, False, or None if no value was given."""
        if value in self.empty_values:
            return None
        if value not in ("true", "false"):
            raise DjangoValidationError("true or false is required.", code="invalid")
        return bool(value == "true")


class UUIDFilter(django_filters.UUIDFilter):  # type: ignore[misc]  # django-filter has no types
    """A filter such as `?product_id=`, with a UUID in canonical form."""

    field_class = _UUIDFormField


class BooleanFilter(django_filters.BooleanFilter):  # type: ignore[misc]
    """A filter such as `?low=true`; no other spelling of true and false is accepted."""

    field_class = _TrueFalseFormField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.extra["widget"] = forms.TextInput


class MomentFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]
    """A filter such as `?since=2026-11-22T09:30:00Z`, with the offset from UTC."""

    field_class = _MomentFormField


class TextFilter(django_filters.CharFilter):  # type: ignore[misc]
    """A filter such as `?sku=`, with the text that the serializer field `reader` reads.

    It also finds rows that were written before all texts had one normal form.
    """

    field_class = _TextFormField

    def filter(self, queryset: QuerySet[Any], value: str | None) -> QuerySet[Any]:
        """The rows with this text in either form."""
        if value is None:
            return queryset
        return queryset.filter(**{f"{self.field_name}__in": values.spellings(value)})


class ChoiceFilter(django_filters.ChoiceFilter):  # type: ignore[misc]
    """A filter such as `?status=ACTIVE`. The error for any other value lists the choices."""

    def __init__(self, *, choices: list[tuple[str, str]], **kwargs: Any) -> None:
        listed = ", ".join(value for value, _ in choices)
        super().__init__(choices=choices, error_messages={"invalid_choice": f"One of {listed} is required."}, **kwargs)


class StrictFilterBackend(django_filters.DjangoFilterBackend):  # type: ignore[misc]
    """A DjangoFilterBackend that refuses empty values, and parameters other than the filters and the paginator's."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: "APIView") -> QuerySet[Any]:
        """The rows that match the filters. Raises ValidationError that lists unknown parameters and invalid values."""
        filterset_class = self.get_filterset_class(view, queryset)
        known = {*(filterset_class.base_filters if filterset_class else ()), *_paging_parameters(view)}
        fields.refuse_parameters(request.query_params, known)
        if filterset_class:
            _refuse_empty(request.query_params, filterset_class.base_filters)
        filtered: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return filtered


def _refuse_empty(given: QueryDict, names: Iterable[str]) -> None:
    """Raise ValidationError for filters without a value: Django's forms would take them for absent."""
    empty = [name for name in names if name in given and not str(given[name]).strip()]
    if empty:
        raise ValidationError({name: [ErrorDetail(EMPTY, code="blank")] for name in empty})


def _paging_parameters(view: "APIView") -> set[str]:
    paginator = getattr(view, "paginator", None)
    if paginator is None:
        return set()
    return {parameter["name"] for parameter in paginator.get_schema_operation_parameters(view)}
