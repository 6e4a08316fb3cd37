"""Every route of ours as the resolver has it, so that no test can forget one."""

from collections.abc import Iterator

from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RegexPattern


def of_the_service() -> set[tuple[str, str]]:
    """Method and route, such as `("POST", "api/inventory/reservations")`; all but the Django admin's own."""
    return set(_walk(get_resolver().url_patterns, ""))


def _walk(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[tuple[str, str]]:
    for entry in patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            if entry.namespace != "admin":
                yield from _walk(entry.url_patterns, route)
        elif not isinstance(entry.pattern, RegexPattern):  # the one that answers 404 below /admin/
            for method in _methods(entry):
                yield method, route


def _methods(entry: URLPattern) -> Iterator[str]:
    actions = getattr(entry.callback, "actions", None) or {"get": ""}  # what is no view set of ours is only read
    return (method.upper() for method in actions if method != "head")
