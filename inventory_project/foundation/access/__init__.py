"""Who may call: bearer tokens with scopes and an expiry, and the name under which a caller enters the books."""

from inventory_project.foundation.access.principals import actor_of

__all__ = ["actor_of"]
