"""The request class of the WSGI handler: text is always UTF-8, whatever the Content-Type header says.

Django decodes the query string with the charset of the body. It does so while it builds the request, outside its error
handling. With `charset=hex`, or a parameter in an unknown charset (RFC 2231), the caller would get the web server's
bare 500. `wsgi.py` gives this class to the handler.
"""

from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.utils.http import parse_header_parameters


class UTF8Request(WSGIRequest):
    """A request that ignores the charset of its Content-Type. A malformed type counts as none and leads to a 415."""

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except ValueError:
            self.content_type, self.content_params = "", {}
