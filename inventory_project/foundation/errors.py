"""The four families of refusal: Invalid, NotFound, Conflict and Unavailable.

The domain raises these and knows no HTTP status codes. Each door (HTTP, admin, command, consumer) has one table that
translates the families. A refusal promises that nothing was taken and nothing was changed.
"""

from typing import Any


class Refusal(Exception):
    """A request that the service declines.

    `code` is stable and meant for programs. `detail` is a sentence for people. `extra` holds further JSON-ready facts,
    such as `shortages`, which a door passes on with them.
    """

    code: str = "refused"

    def __init__(self, detail: str, *, code: str | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra
        if code is not None:
            self.code = code


class Invalid(Refusal):
    """The request is wrong in itself, whatever the state of the books. A retry will not help."""

    code = "invalid"


class NotFound(Refusal):
    """The named object does not exist, or does not exist yet."""

    code = "not_found"


class Conflict(Refusal):
    """The request is valid, but the current state of the books does not allow it."""

    code = "conflict"


class Unavailable(Refusal):
    """The service cannot decide at the moment. The same request can be repeated safely."""

    code = "overloaded"


class BooksDamaged(Exception):
    """The books lack a record that the decision needs. Not a refusal: the request was right, the data is damaged.

    `subject` names the damaged record, so that the same damage is counted once.
    """

    def __init__(self, detail: str, *, subject: str = "") -> None:
        super().__init__(detail)
        self.subject = subject


def unknown_ids(*, product_ids: list[str] | None = None, warehouse_ids: list[str] | None = None) -> Invalid:
    """The refusal of a request with ids that do not exist. It lists all of them, sorted."""
    unknown = {"product_ids": sorted(product_ids or []), "warehouse_ids": sorted(warehouse_ids or [])}
    named = ", ".join(unknown["product_ids"] + unknown["warehouse_ids"])
    return Invalid(f"Unknown ids: {named}.", code="unknown_ids", unknown=unknown)
