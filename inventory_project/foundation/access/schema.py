"""The bearer scheme in the OpenAPI document."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from inventory_project.foundation.access import scopes


class BearerTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself
    """Describes how a token is sent, and what each scope allows."""

    target_class = "inventory_project.foundation.access.authentication.BearerTokenAuthentication"
    name = "bearerToken"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """The scheme, with a line for each scope."""
        lines = [f"- `{scope}`: {sentence}" for scope, sentence in scopes.SENTENCES.items()]
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "\n".join(
                ["Create tokens with `manage.py create_api_token` or in the admin. Scopes:", *lines]
            ),
        }
