"""Every change of what the choice of a warehouse goes by gives its row of NetworkVersion a new value."""

from typing import Any
from uuid import uuid4

from django.db import migrations

TABLES = {"warehouse": "places", "warehouse_allocation_policy": "places", "warehouse_postal_area": "areas"}

POSTGRESQL = """
CREATE FUNCTION warehouse_network_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO warehouse_network_version (part, version) VALUES (TG_ARGV[0], gen_random_uuid()::text)
        ON CONFLICT (part) DO UPDATE SET version = excluded.version;
    RETURN NULL;
END $$;
"""
ON_POSTGRESQL = """
CREATE TRIGGER {table}_changes_the_network AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION warehouse_network_changed('{part}');
"""
# Not INSERT OR REPLACE: a statement with an ON CONFLICT of its own would put that in the place of the trigger's.
ON_SQLITE = """
CREATE TRIGGER {table}_changes_the_network_by_{event} AFTER {event} ON {table}
BEGIN
    INSERT INTO warehouse_network_version (part, version) VALUES ('{part}', lower(hex(randomblob(16))))
        ON CONFLICT (part) DO UPDATE SET version = excluded.version;
END;
"""
EVENTS = ("INSERT", "UPDATE", "DELETE")


def watch(apps: Any, schema_editor: Any) -> None:
    """Make the triggers. A later migration that remakes one of the tables on SQLite must make its triggers again."""
    is_postgresql = schema_editor.connection.vendor == "postgresql"
    if is_postgresql:
        schema_editor.execute(POSTGRESQL)
    for table, part in TABLES.items():
        if is_postgresql:
            schema_editor.execute(ON_POSTGRESQL.format(table=table, part=part))
        else:
            for event in EVENTS:
                schema_editor.execute(ON_SQLITE.format(table=table, part=part, event=event))
    model = apps.get_model("warehouses", "NetworkVersion")
    model.objects.bulk_create(model(part=part, version=str(uuid4())) for part in ("places", "areas"))


def unwatch(apps: Any, schema_editor: Any) -> None:
    """Take the triggers away."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION warehouse_network_changed() CASCADE")
    else:
        for table in TABLES:
            for event in EVENTS:
                schema_editor.execute(f"DROP TRIGGER {table}_changes_the_network_by_{event}")
    apps.get_model("warehouses", "NetworkVersion").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("warehouses", "0002_postal_areas_and_policies")]

    operations = [migrations.RunPython(watch, unwatch)]
