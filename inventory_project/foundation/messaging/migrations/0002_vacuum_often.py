from django.db import migrations

from inventory_project.foundation.database import on_postgresql

TUNE = """
-- Each event leaves the index of unpublished ones soon after it came; without a vacuum whoever reads that index reads
-- over all of them.
ALTER TABLE outbox_event SET (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02
);
"""
RESET = """
ALTER TABLE outbox_event RESET (
    autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_analyze_scale_factor
);
"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0001_outbox")]

    operations = [migrations.RunPython(on_postgresql(TUNE), on_postgresql(RESET))]
