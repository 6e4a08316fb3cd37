"""JSON answers end with a newline, so that a terminal shows its prompt on a new line."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

NEWLINE = b"\n"


class NewlineMiddleware:
    """Ends each JSON body with a newline, whichever view or middleware it comes from."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, and add a newline to the answer if it is JSON."""
        response = self.get_response(request)
        if response.streaming or not _is_json(response.get("Content-Type", "")):
            return response
        if response.content and not response.content.endswith(NEWLINE):
            response.content += NEWLINE
            if "Content-Length" in response:
                response["Content-Length"] = str(len(response.content))
        return response


def _is_json(content_type: str) -> bool:
    """Whether the type is `application/json` or based on JSON, such as `application/problem+json`."""
    name = content_type.partition(";")[0].strip()
    return name.endswith(("/json", "+json"))
