"""Adds refusals and scopes to the OpenAPI document, so that no view has to repeat them.

`refusals(409, 422)` declares those that are specific to an operation; `add_problems` adds the rest to all operations.
"""

import re
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import force_instance
from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from inventory_project.foundation.http import problems
from inventory_project.foundation.http.fields import StrictSerializer, TextField

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "A refusal in the form of RFC 9457. Some codes carry more members, `shortages` for instance.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "example": "urn:inventory-service:problem:invalid"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence for a person."},
        "code": {"type": "string", "description": "Stable and meant for programs.", "example": "invalid"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "detail"],
                "properties": {
                    "field": {"type": "string", "example": "items[3].quantity"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
_REFERENCE = {"$ref": "#/components/schemas/Problem"}
DESCRIPTIONS = {
    400: "The request is invalid. If single fields are wrong, `errors` lists them.",
    401: "The bearer token is missing, unknown or expired.",
    403: "The token lacks the scope.",
    404: "There is nothing at this path.",
    405: "The path does not support this method.",
    409: "The current state does not allow it: see `code`.",
    413: "The body is too large.",
    415: "The body is not JSON in UTF-8.",
    422: "Ids in the body are unknown: `unknown` lists all of them.",
    429: "The token has asked for too much. Repeat after `Retry-After` seconds.",
    503: "The service cannot decide at the moment. Repeat after `Retry-After` seconds.",
}
GROUPS = (  # the first pattern that matches the beginning of a path
    (r"/admin/", "operations"),
    (r".*/availability$", "availability"),
    (r"/api/inventory/reservations", "reservations"),
    (r"/api/inventory/products", "products"),
    (r"/api/inventory/warehouses", "warehouses"),
    (r"/api/inventory/", "stock"),
)
METHODS = ("get", "put", "post", "delete", "patch")
ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f]+$"  # what fields.TextField accepts without a pattern


def refusals(*statuses: int) -> dict[tuple[int, str], OpenApiResponse]:
    """Entries for `extend_schema(responses=...)` that declare these statuses as refusals of the operation."""
    return {
        (status, problems.CONTENT_TYPE): OpenApiResponse(_REFERENCE, description=DESCRIPTIONS[status])
        for status in statuses
    }


def example(name: str, body: dict[str, Any]) -> OpenApiExample:
    """A body to try an operation with, for `extend_schema(examples=...)`."""
    return OpenApiExample(name, value=body, request_only=True)


class ScopedSchema(AutoSchema):
    """Describes an operation by the view's docstring and the scope that it needs."""

    def get_summary(self) -> str:
        """The first line of the docstring."""
        return super().get_description().partition("\n")[0]

    def get_description(self) -> str:  # type: ignore[override]  # drf-spectacular's own type
        """The rest of the docstring, then the scope that the operation needs."""
        words = super().get_description().partition("\n")[2].strip()
        required = getattr(self.view, "required_scopes", None)
        scope = required.get(getattr(self.view, "action", None)) if isinstance(required, dict) else required
        needs = f"Needs the scope `{scope}`." if scope else ""
        return "\n\n".join(filter(None, [words, needs]))

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        """The schema of an object. It allows no further members if a StrictSerializer reads it."""
        described = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        is_strict = isinstance(force_instance(serializer), StrictSerializer)  # type: ignore[no-untyped-call]
        if direction == "request" and is_strict:
            described["additionalProperties"] = False
        return described

    def _map_serializer_field(self, field: Any, direction: Any, *args: Any, **kwargs: Any) -> Any:
        """The schema of a field, with the text's pattern if a TextField reads it."""
        described = super()._map_serializer_field(field, direction, *args, **kwargs)  # type: ignore[no-untyped-call]
        if direction == "request" and isinstance(field, TextField):
            described["pattern"] = field.pattern.pattern.replace(r"\Z", "$") if field.pattern else ONE_LINE
        return described


def add_problems(result: dict[str, Any], **_kwargs: object) -> dict[str, Any]:
    """Postprocessing hook: add the Problem component, and the refusals that follow from an operation's shape."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    for path in result["paths"].values():
        for method in METHODS:
            if method in path:
                _add_to_operation(path[method])
    return result


def group(result: dict[str, Any], **_kwargs: object) -> dict[str, Any]:
    """Postprocessing hook: put each operation into the group of the settings' TAGS that its path belongs to, if any."""
    for path, item in result["paths"].items():
        name = next((name for pattern, name in GROUPS if re.match(pattern, path)), None)
        for method in METHODS:
            if name and method in item:
                item[method]["tags"] = [name]
    return result


def _add_to_operation(operation: dict[str, Any]) -> None:
    statuses = [400, 405, 503]
    if {} not in operation.get("security", [{}]):
        statuses += [401, 403, 429]
    if any(parameter["in"] == "path" for parameter in operation.get("parameters", [])):
        statuses.append(404)
    if "requestBody" in operation:
        statuses += [413, 415]
    for status in statuses:
        described = {"description": DESCRIPTIONS[status], "content": {problems.CONTENT_TYPE: {"schema": _REFERENCE}}}
        operation["responses"].setdefault(str(status), described)
    operation["responses"] = dict(sorted(operation["responses"].items()))
