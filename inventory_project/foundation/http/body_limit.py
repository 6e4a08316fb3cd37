"""No request body is read beyond MAX_BODY_BYTES, whether or not it declares its length.

This applies to every body except forms. Only the admin's pages read forms, and Django limits those itself
(DATA_UPLOAD_MAX_MEMORY_SIZE); the API refuses them unread by their content type. So no list of paths is needed here.
"""

from collections.abc import Callable
from io import BytesIO

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from inventory_project.foundation.http import problems

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class BodyLimitMiddleware:
    """Answers 413 to a body over the limit, and makes a body without a length readable.

    A chunked body has no Content-Length, so Django would treat it as empty. If the server marks the end of its input
    (`wsgi.input_terminated`, as gunicorn does), the body is read here, up to one byte over the limit.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, or answer 413."""
        if request.content_type not in FORMS and _is_too_large(request):
            return problems.response(413, f"The body is larger than {settings.MAX_BODY_BYTES} bytes.")
        return self.get_response(request)


def _is_too_large(request: HttpRequest) -> bool:
    limit: int = settings.MAX_BODY_BYTES
    length = request.META.get("CONTENT_LENGTH") or ""
    if length:
        # The server has parsed the header already, but what it accepts as a number need not be ASCII digits.
        return length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > limit)
    if request.META.get("wsgi.input_terminated"):
        body = request.META["wsgi.input"].read(limit + 1)
        if len(body) > limit:
            return True
        request.META["CONTENT_LENGTH"] = str(len(body))
        request._stream = BytesIO(body)  # what WSGIRequest reads its body from
    return False
