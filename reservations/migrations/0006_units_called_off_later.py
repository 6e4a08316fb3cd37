import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    dependencies = [("reservations", "0005_no_foreign_keys_from_the_lines")]

    operations = [
        # With a default of the database's own: processes that know nothing of the column go on reserving.
        migrations.AddField(
            model_name="reservationitem",
            name="called_off",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddConstraint(
            model_name="reservationitem",
            constraint=models.CheckConstraint(
                condition=Q(called_off__lte=F("released")),
                name="reservation_item_calls_off_no_more_than_it_released",
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="replaces",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="The ended reservation that a late payment brought back as this one.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="replaced_by",
                to="reservations.reservation",
            ),
        ),
    ]
