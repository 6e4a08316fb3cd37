from django.db import migrations

from inventory_project.foundation.database import on_postgresql

TUNE = """
-- A line is updated once or twice, when it is confirmed or comes back, and in place if its page has room for that. A
-- reservation's status is in its indexes, so its update cannot be HOT; room in the page keeps it near at least.
ALTER TABLE reservation_item SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE reservation SET (
    fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
"""
RESET = """
ALTER TABLE reservation_item RESET (fillfactor, autovacuum_vacuum_scale_factor);
ALTER TABLE reservation RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor);
"""


class Migration(migrations.Migration):
    dependencies = [("reservations", "0001_reservations")]

    operations = [migrations.RunPython(on_postgresql(TUNE), on_postgresql(RESET))]
