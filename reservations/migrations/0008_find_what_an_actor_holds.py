# An index over the ACTIVE reservations, which are few. On PostgreSQL it is created concurrently: no sale waits for it.

from typing import Any

from django.db import migrations, models

INDEX = models.Index(condition=models.Q(("status", "ACTIVE")), fields=["actor"], name="reservation_active_by_actor")


def add(apps: Any, schema_editor: Any) -> None:
    """Create the index. It can be repeated."""
    reservation = apps.get_model("reservations", "Reservation")
    if schema_editor.connection.vendor != "postgresql":
        schema_editor.add_index(reservation, INDEX)
        return
    remove(apps, schema_editor)  # an attempt that was interrupted leaves an invalid index
    schema_editor.add_index(reservation, INDEX, concurrently=True)


def remove(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor != "postgresql":
        schema_editor.remove_index(apps.get_model("reservations", "Reservation"), INDEX)
        return
    schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX.name}")


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY

    dependencies = [("reservations", "0007_what_audits_have_found")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(add, remove)],
            state_operations=[migrations.AddIndex(model_name="reservation", index=INDEX)],
        ),
    ]
