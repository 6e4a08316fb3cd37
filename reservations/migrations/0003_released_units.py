from typing import Any

from django.db import migrations, models
from django.db.models import F, Q


def refuse_what_cannot_be_told(apps: Any, schema_editor: Any) -> None:
    """Backwards: without the column an ACTIVE hold is held whole, and some of its units may be free already."""
    lines = apps.get_model("reservations", "ReservationItem").objects.using(schema_editor.connection.alias)
    if lines.filter(reservation__status="ACTIVE", released__gt=0).exists():
        raise RuntimeError("Some ACTIVE reservations are released in part: confirm, cancel or expire them first.")


class Migration(migrations.Migration):
    dependencies = [("reservations", "0002_room_for_updates")]

    operations = [
        # With a default of the database's own: processes that know nothing of the column go on reserving.
        migrations.AddField(
            model_name="reservationitem",
            name="released",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.RemoveConstraint(
            model_name="reservationitem",
            name="reservation_item_confirms_no_more_than_it_holds",
        ),
        migrations.AddConstraint(
            model_name="reservationitem",
            constraint=models.CheckConstraint(
                condition=Q(quantity__gte=F("confirmed") + F("released")),
                name="reservation_item_confirms_and_releases_no_more_than_it_holds",
            ),
        ),
        migrations.RunPython(migrations.RunPython.noop, refuse_what_cannot_be_told),
    ]
