from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("stock", "0003_room_for_updates")]

    operations = [
        # With a default of the database's own: processes that know nothing of the column go on making levels.
        migrations.AddField(
            model_name="stocklevel",
            name="replenished",
            field=models.BigIntegerField(
                db_default=0, default=0, help_text="Units on hand after the last replenishment, corrected since."
            ),
        ),
        migrations.AddConstraint(
            model_name="stocklevel",
            constraint=models.CheckConstraint(
                condition=models.Q(("replenished__gte", 0)),
                name="stock_level_is_never_replenished_to_less_than_nothing",
            ),
        ),
    ]
