"""Fields of the admin's forms. They take what the other doors take: `foundation.values` says what that is.

A form gives them to its model's columns by `Meta.field_classes`, which keeps the columns' labels and limits.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar, cast

from django import forms
from django.core.exceptions import ValidationError

from inventory_project.foundation import values

Value = TypeVar("Value")


class NameField(forms.CharField):
    """A text that people read, in one line."""

    read_text = staticmethod(values.read_name)

    def to_python(self, value: Any) -> Any:
        """The text in its one form; empty if none was given."""
        text: Any = super().to_python(value)
        if text in self.empty_values:
            return text
        try:
            return self.read_text(text, most=cast("int", self.max_length))
        except values.WrongValue as wrong:
            raise ValidationError(wrong.detail, code=wrong.code) from None


class IdentifierField(NameField):
    """A text that is compared with others, such as an SKU or a region."""

    read_text = staticmethod(values.read_identifier)


class IdField(forms.UUIDField):
    """A UUID in its canonical form."""

    def to_python(self, value: Any) -> Any:
        """The id, or None if none was given."""
        return _read(self, values.read_uuid, value)


class WholeNumberField(forms.IntegerField):
    """A whole number in plain digits: Django's own field also takes `1_0` and digits of other scripts."""

    def to_python(self, value: Any) -> Any:
        """The number, or None if none was given."""
        return _read(self, values.read_whole, value)


class PlainDecimalField(forms.FloatField):
    """A number in plain decimal: Django's own field also takes `1_0` and `1e1`."""

    def to_python(self, value: Any) -> Any:
        """The number, or None if none was given."""
        return _read(self, values.read_decimal, value)

    def prepare_value(self, value: Any) -> Any:
        """A stored number as it can be sent back: never with an exponent."""
        has_exponent = isinstance(value, float) and "e" in repr(value)
        return format(Decimal(repr(value)), "f") if has_exponent else value


def _read(field: forms.Field, read: Callable[[str], Value], value: Any) -> Value | None:
    if value in field.empty_values or (text := str(value).strip()) == "":
        return None
    try:
        return read(text)
    except values.WrongValue:
        raise ValidationError(field.error_messages["invalid"], code="invalid") from None
