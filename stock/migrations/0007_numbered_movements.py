# New columns without a value, or with a constant one: nothing is scanned or rewritten, and each statement locks its
# table for a moment. Movements that are there keep no number, because the ledger is append-only; the history of a level
# begins with its first numbered movement.

from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("stock", "0006_no_foreign_keys_from_the_ledger"),
        ("warehouses", "0003_network_version"),
    ]

    operations = [
        migrations.AddField(
            model_name="stocklevel",
            name="last_movement",
            field=models.BigIntegerField(db_default=0, default=0, help_text="The number of its latest movement."),
        ),
        migrations.AddField(
            model_name="stockmovement",
            name="available_after",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="stockmovement",
            name="incoming_after",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="stockmovement",
            name="number",
            field=models.BigIntegerField(
                blank=True, help_text="Counts the movements of a level, without gaps.", null=True
            ),
        ),
        migrations.AddField(
            model_name="stockmovement",
            name="reserved_after",
            field=models.BigIntegerField(blank=True, null=True),
        ),
    ]
