"""Fields of a request that name a warehouse or a place, for the doors of every app."""

from typing import Annotated, Any

from msgspec import Meta

from inventory_project.foundation.http.fields import TextField
from warehouses.models import ID_PATTERN, POSTAL_CODE_PATTERN


class WarehouseIdField(TextField):
    """The id of a warehouse in a body or a query. It checks only the form; the domain knows which warehouses exist."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(pattern=ID_PATTERN, pattern_hint="a warehouse id such as wh-sp-001", max_length=64, **kwargs)


class PostalCodeField(TextField):
    """A postal code of any country."""

    def __init__(self, **kwargs: Any) -> None:
        hint = "letters, digits, spaces and hyphens"
        super().__init__(pattern=POSTAL_CODE_PATTERN, pattern_hint=hint, max_length=16, **kwargs)


# The same two for bodies that msgspec reads. It does not trim texts, so one with white space before it does not match.
WarehouseIdText = Annotated[str, Meta(pattern=ID_PATTERN, max_length=64)]
PostalCodeText = Annotated[str, Meta(pattern=POSTAL_CODE_PATTERN, max_length=16)]
