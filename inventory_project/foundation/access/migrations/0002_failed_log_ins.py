"""The table of failed log-ins to the admin. It is new, so nothing waits for it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0001_api_token"),
    ]

    operations = [
        migrations.CreateModel(
            name="FailedLogIns",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=150)),
                ("origin", models.CharField(max_length=64)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("lock_outs", models.PositiveIntegerField(default=0)),
                ("locked_until", models.DateTimeField(null=True)),
                ("failed_at", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("name", "origin"), name="failed_log_ins_are_counted_once_for_a_name_and_origin"
                    )
                ],
            },
        ),
    ]
