"""Permissions by scope. A view without a declared scope fails loudly, so a forgotten scope opens nothing."""

from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from inventory_project.foundation.access.principals import principal_of

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which imports this module, through the settings


class HasScope(BasePermission):
    """Allows a request if its principal has the scope that the view declares.

    A view declares `required_scopes`: one scope for everything, or a mapping from action to scope. Raises
    ImproperlyConfigured if none is declared for the current action, and MethodNotAllowed if there is no action.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Whether the principal has the required scope. Without a principal, the answer becomes 401."""
        required = getattr(view, "required_scopes", None)
        if isinstance(required, dict):
            action = getattr(view, "action", None)
            if action in (None, "metadata"):  # a method, or OPTIONS, that the path does not support
                if request.auth is None:
                    return False
                # Raised here: a view with a Python method of that name would run it without any scope.
                raise MethodNotAllowed(request.method or "")
            required = required.get(action)
        if not isinstance(required, str):
            raise ImproperlyConfigured(f"{type(view).__name__} declares no scope for what it was asked to do.")
        self.message = f"The token lacks the scope {required}."
        return request.auth is not None and required in principal_of(request).scopes
