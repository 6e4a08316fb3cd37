"""How a moment is shown: one form in answers, refusals, events and logs."""

from datetime import datetime


def shown(moment: datetime) -> str:
    """A moment in UTC in ISO 8601, ending in Z."""
    return moment.isoformat().replace("+00:00", "Z")
