"""Strict serializer fields: no number in a string, no UUID in braces, no unknown name.

DRF's own fields are lenient because of HTML forms. A caller's mistake could then silently become a wrong quantity. What
a text, an id, a number or a moment means is in `foundation.values`, for all doors.
"""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import cache, partial
from typing import Any, ClassVar, TypeVar, cast
from uuid import UUID

from django.http import QueryDict
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from inventory_project.foundation import values
from inventory_project.foundation.http.parsing import harmless

MAX_UNKNOWN_SHOWN = 20  # fields named in one refusal; a body can have tens of thousands
MAX_REFERENCE = 128  # characters, as the ledger stores them
Value = TypeVar("Value")


def _read(read: Callable[[str], Value], text: str) -> Value:
    """The value that the text means. Raises DRF's ValidationError."""
    try:
        return read(text)
    except values.WrongValue as wrong:
        raise serializers.ValidationError(wrong.detail, code=wrong.code) from None


class StrictIntegerField(serializers.IntegerField):
    """A whole JSON number: not 1.0, not "1", not true."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": "A whole JSON number is required."}

    def to_internal_value(self, data: Any) -> int:
        """The number unchanged. Raises ValidationError for anything else."""
        if type(data) is not int:  # bool is a subclass of int
            self.fail("invalid")
        return data


class DigitsField(serializers.IntegerField):
    """A whole number in a query parameter: ASCII digits, no sign and no leading zero."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": "A whole number in plain digits is required."}

    def to_internal_value(self, data: Any) -> int:
        """The number that the digits represent."""
        if not isinstance(data, str) or data.startswith("-"):
            self.fail("invalid")
        return _read(values.read_whole, data)


class StrictUUIDField(serializers.UUIDField):
    """A UUID in its canonical form with hyphens, in either case."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "invalid": "A UUID such as 018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f is required."
    }

    def to_internal_value(self, data: Any) -> UUID:
        """The UUID that the text represents. Raises ValidationError for any other form."""
        if not isinstance(data, str):
            self.fail("invalid")
        return _read(values.read_uuid, data)


class StrictBooleanField(serializers.BooleanField):
    """JSON `true` or `false`; no string or number is accepted for either."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": "true or false is required."}

    def to_internal_value(self, data: Any) -> bool:
        """The value unchanged. Raises ValidationError for anything else."""
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class StrictDateTimeField(serializers.DateTimeField):
    """A moment in ISO 8601 with its offset from UTC, such as 2026-11-22T09:30:00Z. Answers give it in UTC."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "invalid": "A moment with its offset is required, such as 2026-11-22T09:30:00Z."
    }

    def to_internal_value(self, value: Any) -> datetime:
        """The moment in UTC."""
        if not isinstance(value, str):
            self.fail("invalid")
        return _read(values.read_moment, value)


class TextField(serializers.CharField):
    """A text that people read, in one line; see `values.read_name`. If `pattern` is given, the text must match it.

    `pattern_hint` completes the sentence "The text must be ...".
    """

    default_error_messages: ClassVar[dict[str, Any]] = {
        "invalid": "A string is required.",
        "blank": values.EMPTY,
        "pattern": "The text must be {hint}.",
    }
    read_text = staticmethod(values.read_name)

    def __init__(
        self, *, max_length: int, pattern: str | None = None, pattern_hint: str = "of another form", **kwargs: Any
    ) -> None:
        super().__init__(max_length=max_length, **kwargs)
        self.pattern = re.compile(pattern) if pattern else None
        self.pattern_hint = pattern_hint

    def to_internal_value(self, data: Any) -> str:
        """The text in its one form, without surrounding white space."""
        if not isinstance(data, str):  # DRF would also accept a number
            self.fail("invalid")
        text = _read(partial(self.read_text, most=cast("int", self.max_length)), data)
        if self.pattern and not self.pattern.fullmatch(text):
            self.fail("pattern", hint=self.pattern_hint)
        return text


class IdentifierField(TextField):
    """A text that is compared with others, such as an SKU; see `values.read_identifier`."""

    read_text = staticmethod(values.read_identifier)


class ReferenceField(IdentifierField):
    """The caller's own name for a document. The service recognises a repeat by it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            max_length=MAX_REFERENCE, help_text="Your own unique reference. Sending it again changes nothing.", **kwargs
        )


class BoundedListField(serializers.ListField):
    """A list of 1 to `max_length` entries. A longer list is refused before any entry is checked."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "not_a_list": "A list is required.",
        "empty": "The list must not be empty.",
        "max_length": "At most {max_length} entries are allowed.",
    }

    def __init__(self, *, max_length: int, **kwargs: Any) -> None:
        super().__init__(allow_empty=False, max_length=max_length, **kwargs)

    def to_internal_value(self, data: Any) -> list[Any]:
        """The checked entries."""
        if not isinstance(data, list):
            self.fail("not_a_list")
        if not data:
            self.fail("empty")
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return self.run_child_validation(data)


def unknown_names(given: Collection[str], known: Collection[str], *, what: str) -> dict[str, list[ErrorDetail]]:
    """An error for each given name that is not known. `what` the names are: "field" or "parameter"."""
    allowed = f"Allowed {what}s: {', '.join(sorted(known))}" if known else f"No {what}s are allowed"
    message = f"Unknown {what}. {allowed}."
    unknown = sorted(set(given) - set(known))[:MAX_UNKNOWN_SHOWN]
    return {harmless(name): [ErrorDetail(message, code="unknown_field")] for name in unknown}


def refuse_parameters(given: QueryDict, known: Collection[str]) -> None:
    """Raise ValidationError if query parameters are unknown or given twice; it lists all of them."""
    errors = unknown_names(given.keys(), known, what="parameter")
    for name in sorted(given.keys() & set(known)):
        if len(given.getlist(name)) > 1:
            errors[name] = [ErrorDetail("The parameter is given twice.", code="invalid")]
    if errors:
        raise serializers.ValidationError(errors)


@cache
def _checker(serializer: "type[StrictSerializer]") -> "StrictSerializer":
    """One instance shared by all threads. Checking does not change it, and creating one copies all fields: slow."""
    return serializer()


class StrictSerializer(serializers.Serializer[Any]):
    """A JSON object in which unknown fields are refused. A door calls only `read()`.

    `ignores_unknown` is for messages, because other services read them too and may need further fields.
    """

    ignores_unknown: ClassVar[bool] = False
    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": "An object is required."}

    @classmethod
    def read(cls, data: object) -> dict[str, Any]:
        """The checked values of a body or of query parameters. Raises DRF's ValidationError with all mistakes."""
        checker = _checker(cls)
        if isinstance(data, QueryDict):
            refuse_parameters(data, checker.fields.keys())
            data = data.dict()
        return dict(checker.run_validation(data))

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """The checked values. Unknown fields are reported together with invalid ones."""
        errors: dict[str, Any] = {}
        values: dict[str, Any] = {}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as refusal:
            if not isinstance(data, Mapping):
                raise
            errors = dict(refusal.detail)  # type: ignore[arg-type]  # of a mapping it is a mapping
        if not self.ignores_unknown:
            known = [field.field_name for field in self._writable_fields if field.field_name]
            errors.update(unknown_names(data.keys(), known, what="field"))
        if errors:
            raise serializers.ValidationError(errors)
        return values


# The empty body of a request whose path says everything. A docstring would change the OpenAPI document.
class NothingIn(StrictSerializer):
    pass
