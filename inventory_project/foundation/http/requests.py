"""The request as the WSGI handler makes it: text is UTF-8, whatever a header claims.

Django lets the charset of a body decide how the query string is read, while it builds the request and outside of its
own error handling: with `charset=hex`, or a parameter in a charset that does not exist (RFC 2231), the server would
answer its bare 500. `wsgi.py` gives this class to the handler.
"""

from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.utils.http import parse_header_parameters


class UTF8Request(WSGIRequest):
    """A request that any Content-Type leaves standing; one that cannot be read is none, and meets its 415 later."""

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except ValueError:
            self.content_type, self.content_params = "", {}
