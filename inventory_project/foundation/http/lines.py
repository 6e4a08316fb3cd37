"""An answer in JSON ends with a newline, so that a terminal's prompt stands on a line of its own."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

NEWLINE = b"\n"


class NewlineMiddleware:
    """Ends each JSON body with a newline, whichever view or middleware it comes from."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The answer, with a newline where it is JSON."""
        response = self.get_response(request)
        if response.streaming or not _is_json(response.get("Content-Type", "")):
            return response
        if response.content and not response.content.endswith(NEWLINE):
            response.content += NEWLINE
            if "Content-Length" in response:
                response["Content-Length"] = str(len(response.content))
        return response


def _is_json(content_type: str) -> bool:
    """`application/json`, or a type that is written in JSON, such as application/problem+json."""
    name = content_type.partition(";")[0].strip()
    return name.endswith(("/json", "+json"))
