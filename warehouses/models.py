"""Where goods lie: the warehouses and what choosing between them needs to know."""

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q

# \Z and not $, which would let a line break through at the end.
ID_PATTERN = r"^[a-z0-9][a-z0-9-]*\Z"
POSTAL_CODE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9 -]*\Z"


class Warehouse(models.Model):
    """A warehouse or distribution centre.

    `is_active` False means closed; it is written by `stock.blocking` alone, which marks the stock levels under the
    same locks. A save that is not about it must leave the column out (`update_fields`).
    """

    id = models.CharField(
        "id",
        primary_key=True,
        max_length=64,
        validators=[RegexValidator(ID_PATTERN, "Lower-case letters, digits and hyphens only; no hyphen first.")],
        help_text="For instance wh-sp-001.",
    )
    name = models.CharField(max_length=200)
    region = models.CharField(max_length=64)
    priority = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1)],
        help_text="The lower number is preferred, compared across regions.",
    )
    postal_code = models.CharField(
        max_length=16,
        blank=True,
        validators=[RegexValidator(POSTAL_CODE_PATTERN, "Letters, digits, spaces and hyphens only.")],
    )
    latitude = models.FloatField(null=True, blank=True, help_text="Degrees, north positive.")
    longitude = models.FloatField(null=True, blank=True, help_text="Degrees, east positive.")
    is_active = models.BooleanField("active", default=True, editable=False, help_text="Closed when off.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "warehouse"
        constraints = (
            models.CheckConstraint(
                condition=Q(id__regex=ID_PATTERN), name="warehouse_id_is_lower_case_letters_digits_and_hyphens"
            ),
            models.CheckConstraint(
                condition=Q(priority__gte=1),
                name="warehouse_priority_is_positive",
                violation_error_message="The priority is 1 or more.",
            ),
            models.CheckConstraint(
                condition=Q(latitude=None, longitude=None) | Q(latitude__isnull=False, longitude__isnull=False),
                name="warehouse_has_both_coordinates_or_none",
                violation_error_message="Give both the latitude and the longitude, or none of them.",
            ),
            models.CheckConstraint(
                condition=Q(latitude__gte=-90, latitude__lte=90),
                name="warehouse_latitude_is_within_90_degrees",
                violation_error_message="The latitude is between -90 and 90.",
            ),
            models.CheckConstraint(
                condition=Q(longitude__gte=-180, longitude__lte=180),
                name="warehouse_longitude_is_within_180_degrees",
                violation_error_message="The longitude is between -180 and 180.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.name}"
