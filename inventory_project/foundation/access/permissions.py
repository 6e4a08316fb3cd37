"""Rights by scope. A view that declares none is closed, and says so loudly: forgetting opens nothing."""

from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from inventory_project.foundation.access.principals import principal_of

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which imports this module, by the settings


class HasScope(BasePermission):
    """Lets a principal in who has the scope that the view declares.

    A view declares `required_scopes`: one scope for all it does, or a mapping from action to scope. Raises
    ImproperlyConfigured when it declares none for the action at hand, and MethodNotAllowed when there is no action.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Whether the principal has the scope; without a principal the answer becomes 401."""
        required = getattr(view, "required_scopes", None)
        if isinstance(required, dict):
            action = getattr(view, "action", None)
            if action in (None, "metadata"):  # a method, or an OPTIONS, that the path does not know
                if request.auth is None:
                    return False
                # Not left to the view: one with a Python method of that name would run it, past every scope.
                raise MethodNotAllowed(request.method or "")
            required = required.get(action)
        if not isinstance(required, str):
            raise ImproperlyConfigured(f"{type(view).__name__} declares no scope for what it was asked to do.")
        self.message = f"The token lacks the scope {required}."
        return request.auth is not None and required in principal_of(request).scopes
