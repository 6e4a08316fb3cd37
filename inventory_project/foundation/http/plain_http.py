"""Refuses requests to the API over plain HTTP, where a proxy ends TLS."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from inventory_project.foundation.http import heads, problems


class PlainHttpMiddleware:
    """Answers such a request with 403. A redirect to HTTPS would hide that its token has already been sent in clear."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Refuse the request, or pass it on."""
        if settings.SECURE_SSL_REDIRECT and not request.is_secure() and heads.is_of_the_api(request.path):
            return problems.https_required()
        return self.get_response(request)
