"""The four families of refusal that the whole service speaks.

The domain raises these and knows no status code; each door (HTTP, admin, command, consumer) translates a family by
one table of its own. A refusal promises that nothing was taken and nothing was changed.
"""

from typing import Any


class Refusal(Exception):
    """Something was asked that will not be done.

    `code` is stable and machine-readable; `detail` is a sentence for a person; `extra` holds JSON-ready facts, such as
    `shortages`, that a door hands on beside them.
    """

    code: str = "refused"

    def __init__(self, detail: str, *, code: str | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra
        if code is not None:
            self.code = code


class Invalid(Refusal):
    """The request makes no sense whatever the state of the books; repeating it will not help."""

    code = "invalid"


class NotFound(Refusal):
    """The thing named does not exist, or does not exist yet."""

    code = "not_found"


class Conflict(Refusal):
    """The request makes sense, and the present state of the books forbids it."""

    code = "conflict"


class Unavailable(Refusal):
    """The service cannot decide just now; the same request may be repeated safely."""

    code = "overloaded"


class BooksDamaged(Exception):
    """What a decision rests on is not in the books: no refusal, for the request was right, but damage to report."""


def unknown_ids(*, product_ids: list[str] | None = None, warehouse_ids: list[str] | None = None) -> Invalid:
    """The refusal for ids in a request that nothing stands behind; lists all of them, sorted."""
    unknown = {"product_ids": sorted(product_ids or []), "warehouse_ids": sorted(warehouse_ids or [])}
    named = ", ".join(unknown["product_ids"] + unknown["warehouse_ids"])
    return Invalid(f"Unknown ids: {named}.", code="unknown_ids", unknown=unknown)
