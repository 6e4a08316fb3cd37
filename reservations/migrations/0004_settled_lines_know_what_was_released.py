from django.db import migrations

# Of what is settled everything that was not confirmed was released. Run again (`migrate reservations 0003`, then
# `migrate`), it also catches up on what processes of an earlier version settled after the first time.
FILL = """
UPDATE reservation_item SET released = quantity - confirmed
WHERE released <> quantity - confirmed
  AND reservation_id IN (SELECT id FROM reservation WHERE status <> 'ACTIVE')
"""


class Migration(migrations.Migration):
    dependencies = [("reservations", "0003_released_units")]

    operations = [migrations.RunSQL(FILL, migrations.RunSQL.noop)]
