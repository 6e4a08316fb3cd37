from django.db import migrations

# Nobody kept what a level had after its last receipt, so what is on hand now counts as that. The version and the
# moment rise with it, as with every change: counters that were written before are then older, and the next sync looks
# at these levels. Run again (`migrate stock 0004`, then `migrate`), it also catches up on what processes of an earlier
# version received after the first time, and touches no other level.
FILL = """
UPDATE stock_level SET replenished = available + reserved, version = version + 1, updated_at = CURRENT_TIMESTAMP
WHERE replenished < available + reserved
"""


class Migration(migrations.Migration):
    dependencies = [("stock", "0004_replenished")]

    operations = [migrations.RunSQL(FILL, migrations.RunSQL.noop)]
