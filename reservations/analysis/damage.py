"""The damage that audits have found and that is not repaired yet, so that each is counted once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from inventory_project.foundation import database
from reservations.analysis.invariants import Invariant
from reservations.models import Damage


def remember(invariant: Invariant, rows: Sequence[dict[str, Any]]) -> int:
    """Remember these rows that break the invariant. Returns how many stock levels are newly known to be damaged.

    That is 0 for invariants that are not about quantities. A level that breaks several of them counts once.
    """
    if not rows:
        return 0
    now = database.database_now()
    found = {_subject(invariant, row): row for row in rows}
    with transaction.atomic():
        known = set(_same_kind(invariant).filter(subject__in=found).values_list("subject", flat=True))
        Damage.objects.bulk_create(
            [
                Damage(
                    invariant=invariant.name,
                    subject=subject,
                    is_oversell=invariant.is_oversell,
                    found_at=now,
                    seen_at=now,
                )
                for subject in sorted(found)
            ],
            update_conflicts=True,
            unique_fields=["invariant", "subject"],
            update_fields=["seen_at"],
        )
    return len(found.keys() - known) if invariant.is_oversell else 0


def _same_kind(invariant: Invariant) -> Any:
    return Damage.objects.filter(is_oversell=invariant.is_oversell)


def forget_gone(*, before: datetime) -> None:
    """Forget the damage that an audit of everything, begun at `before`, did not find any more."""
    Damage.objects.filter(seen_at__lt=before).delete()


def _subject(invariant: Invariant, row: dict[str, Any]) -> str:
    return " ".join(f"{name}={row[name]}" for name in invariant.key)
