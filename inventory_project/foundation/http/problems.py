"""Every refusal is answered as application/problem+json (RFC 9457): never HTML, never a stack trace.

One table translates the domain's families of refusal, another the framework's statuses. Both apply in views of Django
REST framework (`exception_handler`) and outside them (the project's handler400, 403, 404 and 500 below). A failure that
the caller cannot have caused is 500 `internal`; Django logs it, and the answer does not explain it.
"""

import logging
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from http import HTTPStatus
from itertools import islice
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework import renderers
from rest_framework.exceptions import APIException, ErrorDetail, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from structlog.contextvars import get_contextvars

from inventory_project.foundation import failures
from inventory_project.foundation.errors import Conflict, Invalid, NotFound, Refusal, Unavailable
from inventory_project.foundation.failures import Undecided

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1
FAILED = "The service failed on this request. The problem has been logged."
METRICS_ARE_CLOSED = "The metrics need METRICS_TOKEN, or a token with the scope operations."
MAX_ERRORS = 100  # entries in one answer; a body can have thousands of mistakes

STATUS_OF_FAMILY: dict[type[Refusal], int] = {
    Invalid: 400,
    NotFound: 404,
    Conflict: 409,
    Undecided: 500,  # a kind of Unavailable, but a defect
    Unavailable: 503,
}
STATUS_OF_CODE = {"unknown_ids": 422, "rate_limited": 429}  # more exact than their families
CODE_OF_STATUS = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    413: "too_large",
    415: "unsupported_media_type",
    422: "unknown_ids",
    429: "rate_limited",
    431: "headers_too_large",
    500: "internal",
    503: "overloaded",
}
TITLE_OF_STATUS = {
    413: "Content Too Large",
    422: "Unprocessable Content",
}  # the names in RFC 9110; the others come from `http`

# The Django admin lives below /admin/ and speaks HTML; so do these paths of the API, which speak JSON.
_ADMIN_PAGES = re.compile(r"/admin(/|$)(?!(inventory|products)/|reservations/[^/]+/expire/?$)")


class JSONRenderer(renderers.JSONRenderer):
    """Renders JSON with orjson, ten times as fast as Python's own. It ignores an indent in the Accept header."""

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """The JSON as bytes, empty for None. Times are in UTC and end in Z."""
        return b"" if data is None else orjson.dumps(data, default=self._encoder.default, option=orjson.OPT_UTC_Z)

    _encoder = renderers.JSONRenderer.encoder_class()  # for the other types in an answer: decimals, lazy texts


class AnyAccept(DefaultContentNegotiation):
    """Answers with JSON even if the Accept header excludes it. RFC 9110 allows this, and a refusal helps nobody."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        """The parser for the body's content type. None leads to 415, also if the type is malformed or a pattern."""
        if "*" in (request.content_type or ""):
            return None
        try:
            return super().select_parser(request, parsers)
        except ValueError:
            return None

    def select_renderer(
        self, request: Request, renderers: Iterable[Any], format_suffix: str | None = None
    ) -> tuple[Any, str]:
        """The renderer that the Accept header asks for, otherwise the first one."""
        choice = list(renderers)
        try:
            chosen: tuple[Any, str] = super().select_renderer(request, choice, format_suffix)
        except (APIException, ValueError):  # ValueError: parameters that cannot be read
            chosen = choice[0], choice[0].media_type
        return chosen


# --- the body ------------------------------------------------------------------------------------------------------


def problem(
    status: int, detail: str, *, code: str | None = None, members: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The body of a problem; further `members`, such as `shortages`, never overwrite the standard ones."""
    code = code or CODE_OF_STATUS.get(status, "internal" if status >= 500 else "invalid")
    body: dict[str, Any] = {
        "type": f"urn:inventory-service:problem:{code}",
        "title": TITLE_OF_STATUS.get(status) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if request_id := get_contextvars().get("request_id"):
        body["request_id"] = str(request_id)
    return {**body, **(members or {}), **body}  # standard members come first, and cannot be overwritten


def response(status: int, detail: str, *, code: str | None = None) -> HttpResponse:
    """A problem as a plain Django response, for middleware and for failures outside a view."""
    answer = JsonResponse(problem(status, detail, code=code), status=status, content_type=CONTENT_TYPE)
    if status == 503:
        answer["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return answer


def https_required() -> HttpResponse:
    """The refusal of a request to the API that came over plain HTTP."""
    return response(
        403, "The API is served over HTTPS only. A token that was sent is not secret any more.", code="https_required"
    )


def retry_after(status: int, body: Mapping[str, Any]) -> int:
    """After how many seconds the request that got this problem should be repeated; 0 if it should not."""
    return int(body.get("retry_after", RETRY_AFTER_SECONDS if status == 503 else 0))


def flatten(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    """DRF's nested error details as `{field, code, detail}`, with paths such as `items[3].quantity`."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            if isinstance(name, int):
                yield from flatten(inner, f"{path}[{name}]")
            elif name == api_settings.NON_FIELD_ERRORS_KEY:
                yield from flatten(inner, path)
            else:
                yield from flatten(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(detail, list):
        for i, inner in enumerate(detail):
            # A list of texts is the errors of one field; any other list has an entry for each list item.
            yield from flatten(inner, path if isinstance(inner, str) else f"{path}[{i}]")
    else:
        code = detail.code if isinstance(detail, ErrorDetail) and detail.code else "invalid"
        yield {"field": path, "code": code, "detail": str(detail)}


def reading_only(view: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Decorator for a plain read-only view: methods other than GET and HEAD get 405, without a CSRF check."""

    @csrf_exempt
    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponseBase:
        if request.method in ("GET", "HEAD"):
            return view(request)
        answer = response(405, f"The method {request.method} is not allowed here.")
        answer["Allow"] = "GET, HEAD"
        return answer

    return guarded


# --- in views of Django REST framework -----------------------------------------------------------------------------


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """The answer to an exception in a view. None for a defect, which Django logs and `server_error` answers."""
    headers: dict[str, str] = {}
    if problem_of_domain := of_exception(error):
        body = problem_of_domain
    elif isinstance(error, APIException):
        body = _of_api_exception(error)
        headers = _headers(error)
    elif isinstance(error, Http404):
        body = problem(404, "There is nothing at this path.")
    elif isinstance(error, PermissionDenied):
        body = problem(403, "This is not allowed.")
    elif isinstance(error, RequestDataTooBig):
        body = problem(413, "The body is too large.")
    elif isinstance(error, SuspiciousOperation):
        body = problem(400, "The request's headers or parameters cannot be accepted.")
    else:
        return None
    if seconds := retry_after(body["status"], body):
        headers.setdefault("Retry-After", str(seconds))
    return Response(body, status=body["status"], headers=headers, content_type=CONTENT_TYPE)


def of_exception(error: BaseException) -> dict[str, Any] | None:
    """The problem of a refusal, or of a failure of the database that passes by itself; None for any other error."""
    refusal = error if isinstance(error, Refusal) else failures.refusal_for(error) if isinstance(error, Error) else None
    return None if refusal is None else _of_refusal(refusal)


def of_any(error: Exception) -> dict[str, Any]:
    """The problem of any error. A defect is logged, and its problem is 500 without an explanation."""
    body = of_exception(error)
    if body is None:
        logger.error("request_failed", exc_info=error)
        body = problem(500, FAILED)
    return body


def _of_refusal(refusal: Refusal) -> dict[str, Any]:
    family = next(kind for kind in type(refusal).__mro__ if kind in STATUS_OF_FAMILY)
    status = STATUS_OF_CODE.get(refusal.code, STATUS_OF_FAMILY[family])
    return problem(status, refusal.detail, code=refusal.code, members=refusal.extra)


def _of_api_exception(error: APIException) -> dict[str, Any]:
    if isinstance(error, ValidationError):
        errors = list(islice(flatten(error.detail), MAX_ERRORS))
        named = ", ".join(dict.fromkeys(entry["field"] for entry in errors[:5] if entry["field"]))
        return problem(400, f"The request is not valid: {named or errors[0]['detail']}", members={"errors": errors})
    return problem(error.status_code, str(error.detail))


def _headers(error: APIException) -> dict[str, str]:
    headers = {}
    if auth_header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = auth_header
    if wait := getattr(error, "wait", None):  # seconds, of Throttled
        headers["Retry-After"] = str(math.ceil(wait))
    return headers


# --- outside those views -------------------------------------------------------------------------------------------


def speaks_html(request: HttpRequest) -> bool:
    """Whether the path is one of the Django admin's own pages."""
    return _ADMIN_PAGES.match(request.path) is not None


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """handler400: Django rejected the request before it reached a view, for instance for its Host header."""
    if speaks_html(request):
        return defaults.bad_request(request, exception)
    return response(400, "The request's headers or parameters cannot be accepted.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """handler403: the request is not allowed."""
    if speaks_html(request):
        return defaults.permission_denied(request, exception)
    return response(403, "This is not allowed.")


@csrf_exempt
def not_found(request: HttpRequest, exception: Exception | None = None, **_path: object) -> HttpResponseBase:
    """handler404, and the view for API paths that would otherwise reach the Django admin."""
    if speaks_html(request):
        return defaults.page_not_found(request, exception or Http404())
    return response(404, "There is nothing at this path.")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """handler500: Django has logged the error. The caller learns only that the service failed."""
    if speaks_html(request):
        return defaults.server_error(request)
    error = sys.exc_info()[1]
    if isinstance(error, Error) and (refusal := failures.refusal_for(error)):
        return response(503, refusal.detail, code=refusal.code)
    return response(500, FAILED)
