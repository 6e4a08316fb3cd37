"""How a moment is written as text: one form for answers, refusals, events and logs."""

from datetime import datetime


def utc_text(moment: datetime) -> str:
    """The moment as an ISO 8601 text in UTC, ending in Z, such as 2026-11-22T09:30:00Z."""
    return moment.isoformat().replace("+00:00", "Z")
