from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import migrations
from django.utils import timezone


def fill(apps: Any, schema_editor: Any) -> None:
    """Record for a database that has events already where they go, and before when some may have been deleted.

    Earlier versions recorded neither. Whatever is older than the oldest published event is gone, and so may be what is
    older than the retention, which is what the audit of those versions went by.
    """
    events = apps.get_model("messaging", "OutboxEvent").objects.order_by("id")
    if not events.exists():
        return
    oldest = events.exclude(published_at=None).values_list("occurred_at", flat=True).first()
    kept_since = timezone.now() - timedelta(days=settings.EVENT_RETENTION_DAYS)
    apps.get_model("messaging", "Installation").objects.update_or_create(
        pk=1,
        defaults={
            "pruned_before": max(kept_since, oldest or kept_since),
            "events_go_to": "rabbitmq" if settings.RABBITMQ_URL else "log",
        },
    )


class Migration(migrations.Migration):
    dependencies = [("messaging", "0004_installation")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
