from django.db import migrations

from inventory_project.foundation.database import on_postgresql

REFUSE = """
CREATE FUNCTION stock_movement_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'stock_movement is append-only: correct the books by a further movement'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER stock_movement_is_append_only BEFORE UPDATE OR DELETE ON stock_movement
    FOR EACH ROW EXECUTE FUNCTION stock_movement_refuse_change();
-- Movements arrive in the order of time, so a few kilobytes of BRIN find a period among millions.
CREATE INDEX stock_movement_by_time ON stock_movement USING brin (created_at);
"""
ALLOW = """
DROP INDEX stock_movement_by_time;
DROP TRIGGER stock_movement_is_append_only ON stock_movement;
DROP FUNCTION stock_movement_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("stock", "0001_stock")]

    operations = [migrations.RunPython(on_postgresql(REFUSE), on_postgresql(ALLOW))]
