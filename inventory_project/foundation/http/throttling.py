"""Charges requests that Django answers to their API tokens; the fast path does it where it has read the body."""

from typing import TYPE_CHECKING, Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from inventory_project.foundation.access import limits
from inventory_project.foundation.access.principals import actor_of

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which imports this module, by the settings


class CostThrottle(BaseThrottle):
    """Charges each request of an API token by what it names. Raises RateLimited if the token has used up its units."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """True. A body that cannot be read is refused as the view would refuse it."""
        if request.auth is not None and limits.is_limited(actor := actor_of(request)):
            limits.limiter.take_now(actor, cost_of(request.data))
        return True


def cost_of(body: Any) -> int:
    """The lines or products that a body names, those of all orders together; 1 if it names none."""
    if not isinstance(body, dict):
        return 1
    orders = body.get("orders")
    if isinstance(orders, list):
        return max(1, sum(map(cost_of, orders)))
    lists = [body.get("items"), body.get("product_ids")]
    return max([1, *(len(named) for named in lists if isinstance(named, list))])
