# Sales go on while the index is made: it scans the table once without locking out writers, and waits for transactions
# that began before. If it gives up, because one of them lasted longer than LOCK_TIMEOUT_MS, run `migrate` again.

from typing import Any

from django.db import migrations, models

NAME = "stock_movement_has_a_number_of_its_own"
INDEX = f"{NAME} ON stock_movement (product_id, warehouse_id, number) WHERE number IS NOT NULL"
CONSTRAINT = models.UniqueConstraint(
    fields=["product", "warehouse", "number"], condition=models.Q(number__isnull=False), name=NAME
)


def create(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}")  # what an interrupted run has left
        schema_editor.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {INDEX}")
    else:
        schema_editor.execute(f"CREATE UNIQUE INDEX {INDEX}")


def drop(apps: Any, schema_editor: Any) -> None:
    concurrently = "CONCURRENTLY" if schema_editor.connection.vendor == "postgresql" else ""
    schema_editor.execute(f"DROP INDEX {concurrently} IF EXISTS {NAME}")


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("stock", "0007_numbered_movements")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(create, drop)],
            state_operations=[migrations.AddConstraint(model_name="stockmovement", constraint=CONSTRAINT)],
        )
    ]
