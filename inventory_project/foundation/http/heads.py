"""Refuses requests by their heads, before a byte of the body is read: what no path of the service takes."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from django.conf import settings

from inventory_project.foundation.http.bodies import Scope

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
SAME_ORIGIN = (b"same-origin", b"none")  # of Sec-Fetch-Site: a page of this service, or a person
API = re.compile(settings.API_PATHS)  # without the slash at the beginning


class HeadRefusal(NamedTuple):
    """The status and the sentence of a refusal."""

    status: int
    detail: str


def is_of_the_api(path: str) -> bool:
    """Whether the path takes API tokens, unlike the admin's own pages."""
    return API.match(path.lstrip("/")) is not None


def refusal_of(scope: Scope, headers: Mapping[bytes, bytes]) -> HeadRefusal | None:
    """Why the request with these headers is refused, whatever its body; None if it is not."""
    if b"host" not in headers and scope.get("http_version") == "1.1":
        return HeadRefusal(400, "The request has no Host header.")
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity":
        return HeadRefusal(415, "The body must not be compressed: no Content-Encoding is accepted.")
    # No form here has a file. Django would write one to a temporary folder before anybody is asked to log in.
    if headers.get(b"content-type", b"").strip().lower().startswith(b"multipart/"):
        return HeadRefusal(415, "Files and multipart bodies are not accepted.")
    if not settings.API_AUTH_ENABLED and scope["method"] not in SAFE_METHODS and _is_foreign(scope, headers):
        return HeadRefusal(403, "A page of another site sent this request, and no token protects this service.")
    return None


def _is_foreign(scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a browser says that a page of another origin sends this request to the API."""
    if not is_of_the_api(scope["path"]):  # the admin has CSRF tokens
        return False
    if headers.get(b"sec-fetch-site", b"none") not in SAME_ORIGIN:
        return True
    origin = headers.get(b"origin")
    return origin is not None and origin.partition(b"://")[2] != headers.get(b"host")
