"""Fields of a request that name a warehouse or a place, for the doors of every app."""

from typing import Annotated, Any

from msgspec import Meta

from inventory_project.foundation.http.fields import TextField
from warehouses.models import ID_PATTERN, MAX_POSTAL_CODE


class WarehouseIdField(TextField):
    """The id of a warehouse in a body or a query. It checks only the form; the domain knows which warehouses exist."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(pattern=ID_PATTERN, pattern_hint="a warehouse id such as wh-sp-001", max_length=64, **kwargs)


class PostalCodeField(TextField):
    """A postal code of any country, as a customer has typed it. Text that is no postal code is one that is unknown."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_POSTAL_CODE, **kwargs)


# The same two for bodies in ASCII that msgspec reads. It does not trim texts: an id with white space does not match.
WarehouseIdText = Annotated[str, Meta(pattern=ID_PATTERN, max_length=64)]
PostalCodeText = Annotated[str, Meta(pattern=r"^[ -~]*\Z", max_length=MAX_POSTAL_CODE)]
