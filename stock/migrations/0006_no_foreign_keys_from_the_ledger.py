# Only drops constraints: nothing is scanned or rewritten. Each statement commits by itself, so that a sale never waits
# for more than two tables; it locks them for a moment, gives up after LOCK_TIMEOUT_MS, and may then be run again.
# Going back adds the constraints and scans the tables for it.

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("stock", "0005_levels_know_what_they_were_replenished_to"),
        ("warehouses", "0003_network_version"),
    ]

    operations = [
        migrations.AlterField(
            model_name="stockdocument",
            name="warehouse",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="warehouses.warehouse",
            ),
        ),
        migrations.AlterField(
            model_name="stockdocumentline",
            name="product",
            field=models.ForeignKey(
                db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="stock.product"
            ),
        ),
        migrations.AlterField(
            model_name="stockmovement",
            name="product",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="movements",
                to="stock.product",
            ),
        ),
        migrations.AlterField(
            model_name="stockmovement",
            name="warehouse",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="warehouses.warehouse",
            ),
        ),
    ]
