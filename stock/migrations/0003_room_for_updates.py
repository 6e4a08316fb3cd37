from django.db import migrations

from inventory_project.foundation.database import on_postgresql

TUNE = """
-- A sale updates a level in place (HOT: no index mentions what it changes) if its page has room for the new version.
-- Without it 4 of 100 updates were not HOT in a page that was full, with it none (docs/concepts/performance.md).
-- A level is updated all day: vacuum after every hundredth of them, or 1,000 dead versions, whichever is more.
ALTER TABLE stock_level SET (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.1
);
"""
RESET = """
ALTER TABLE stock_level RESET (
    fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_analyze_scale_factor
);
"""


class Migration(migrations.Migration):
    dependencies = [("stock", "0002_movements_are_append_only")]

    operations = [migrations.RunPython(on_postgresql(TUNE), on_postgresql(RESET))]
