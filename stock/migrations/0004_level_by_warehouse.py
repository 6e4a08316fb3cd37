import django.db.models.deletion
from django.db import migrations, models

from inventory_project.database import on_postgresql


class Migration(migrations.Migration):
    dependencies = [
        ("stock", "0003_room_for_updates"),
        ("warehouses", "0001_warehouse"),
    ]

    operations = [
        # An index over millions of levels takes longer than a statement of the service may.
        migrations.RunPython(on_postgresql("SET LOCAL statement_timeout = 0"), migrations.RunPython.noop),
        migrations.AlterField(
            model_name="stockdocument",
            name="warehouse",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="warehouses.warehouse"
            ),
        ),
        migrations.AlterField(
            model_name="stocklevel",
            name="warehouse",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="levels",
                to="warehouses.warehouse",
            ),
        ),
        migrations.AddIndex(
            model_name="stocklevel",
            index=models.Index(fields=["warehouse", "product"], name="stock_level_by_warehouse"),
        ),
    ]
