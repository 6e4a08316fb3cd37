"""The headers that every answer has: what a page may load and run, and that no answer is stored."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# One policy for all pages. None of them needs an inline script or style, which a test looks for.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",  # the icons of the page to try the API
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


class HeadersMiddleware:
    """Adds the headers to each answer, unless its view has set its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, and add the headers to the answer."""
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.headers.setdefault("Cache-Control", "no-store")
        return response
