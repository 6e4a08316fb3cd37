"""API access: bearer tokens with scopes and an expiry, and the name under which the books record a caller."""

from inventory_project.foundation.access.principals import actor_of

__all__ = ["actor_of"]
