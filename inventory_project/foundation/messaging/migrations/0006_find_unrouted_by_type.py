from typing import Any

from django.db import migrations, models

INDEX = models.Index(
    condition=models.Q(("published_at", None), ("unrouted_at__isnull", False)),
    fields=["type", "id"],
    name="outbox_event_unrouted_by_type",
)


def add(apps: Any, schema_editor: Any) -> None:
    """Create the index without locking the outbox, into which every sale writes. It can be repeated."""
    event = apps.get_model("messaging", "OutboxEvent")
    if schema_editor.connection.vendor != "postgresql":
        schema_editor.add_index(event, INDEX)
        return
    remove(apps, schema_editor)  # an attempt that was interrupted leaves an invalid index
    schema_editor.add_index(event, INDEX, concurrently=True)


def remove(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor != "postgresql":
        schema_editor.remove_index(apps.get_model("messaging", "OutboxEvent"), INDEX)
        return
    schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX.name}")


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY

    dependencies = [("messaging", "0005_earlier_prunes")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(add, remove)],
            state_operations=[migrations.AddIndex(model_name="outboxevent", index=INDEX)],
        ),
    ]
