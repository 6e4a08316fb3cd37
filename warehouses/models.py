"""Warehouses, postal areas and allocation policies: what the service needs to choose a warehouse for an order.

A database trigger (migration 0003) gives NetworkVersion a new value whenever a row of these tables changes. By that
value `warehouses.network` sees that its copy in memory is out of date.
"""

from typing import cast

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q

from warehouses.allocation import policies
from warehouses.allocation.policies import MAX_PARCELS, MAX_TOLERANCE_KM, Policy, Split

# \Z and not $, which would let a line break through at the end.
ID_PATTERN = r"^[a-z0-9][a-z0-9-]*\Z"
POSTAL_CODE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9 -]*\Z"
MAX_POSTAL_CODE = 16  # characters


class Warehouse(models.Model):
    """A warehouse or distribution centre.

    `is_active` False means closed. Only `stock.blocking` writes it, because it marks the stock levels under the same
    locks. Every other save must leave the column out (`update_fields`).
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
    served_regions = models.JSONField(
        default=list,
        blank=True,
        help_text="The regions that goods may go to from here; none named: to all.",
    )
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


class PostalArea(models.Model):
    """Where the postal codes that begin with `prefix` lie; see `warehouses.allocation.geography.Area`."""

    country = models.CharField(max_length=2, help_text="ISO 3166's two letters.")
    prefix = models.CharField(max_length=16, help_text="Letters and digits as in the codes, nothing between them.")
    latitude = models.FloatField(help_text="Degrees, north positive.")
    longitude = models.FloatField(help_text="Degrees, east positive.")
    name = models.CharField(max_length=200)
    region = models.CharField(max_length=64, blank=True, help_text="As policies and warehouses name it.")
    is_region = models.BooleanField(default=False, help_text="The middle of a whole state or the like.")

    class Meta:
        db_table = "warehouse_postal_area"
        constraints = (
            models.UniqueConstraint(fields=["country", "prefix"], name="postal_area_is_one_for_each_prefix"),
            models.CheckConstraint(
                condition=Q(latitude__gte=-90, latitude__lte=90, longitude__gte=-180, longitude__lte=180),
                name="postal_area_lies_on_the_earth",
            ),
        )

    def __str__(self) -> str:
        return f"{self.country} {self.prefix} {self.name}"


class AllocationPolicy(models.Model):
    """How warehouses are chosen for orders that go to a region; see `warehouses.allocation.policies.Policy`."""

    region = models.CharField(
        max_length=64, blank=True, unique=True, help_text="Of the delivery. Empty: every region without its own policy."
    )
    preferences = models.JSONField(help_text="In their order; each is asked about what the ones before it left.")
    tolerance_km = models.FloatField(
        "tolerance (km)",
        default=policies.BUILT_IN.tolerance_km,
        validators=[MinValueValidator(0), MaxValueValidator(MAX_TOLERANCE_KM)],
        help_text="Warehouses no more than this farther than the nearest count as equally near.",
    )
    split = models.CharField(
        max_length=16,
        choices=[
            ("never", "never: one warehouse for all lines that name none"),
            ("by_line", "by line: each line from one warehouse"),
            ("fewest_parcels", "fewest parcels: as many as it must be"),
            ("at_most", "at most so many parcels"),
        ],
        default=policies.BUILT_IN.split,
    )
    most_parcels = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text=f"1 to {MAX_PARCELS}, only with the split `at most so many parcels`."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "warehouse_allocation_policy"
        verbose_name_plural = "allocation policies"
        constraints = (
            models.CheckConstraint(
                condition=Q(tolerance_km__gte=0, tolerance_km__lte=MAX_TOLERANCE_KM),
                name="allocation_policy_tolerance_is_a_distance_on_earth",
                violation_error_message=f"The tolerance is 0 to {MAX_TOLERANCE_KM:,.0f} km.",
            ),
            models.CheckConstraint(
                condition=Q(split="at_most", most_parcels__gte=1, most_parcels__lte=MAX_PARCELS)
                | (~Q(split="at_most") & Q(most_parcels=None)),
                name="allocation_policy_counts_parcels_with_at_most_alone",
                violation_error_message=f"A number of parcels, 1 to {MAX_PARCELS}, goes only with at_most.",
            ),
        )

    def __str__(self) -> str:
        return self.region or "every other region"

    def as_policy(self) -> Policy:
        """The rules stored in the row. They may be invalid; `policies.problems` lists what is wrong."""
        return Policy(
            region=self.region,
            preferences=tuple(self.preferences) if isinstance(self.preferences, list) else (),
            tolerance_km=self.tolerance_km,
            split=cast("Split", self.split),
            most_parcels=self.most_parcels,
        )


class NetworkVersion(models.Model):
    """Two versions: one changes with every warehouse or policy, the other with every change of the postal areas.

    The values are random. With a sequence, a change that was rolled back and a later one could get the same version.
    """

    class Part(models.TextChoices):
        PLACES = "places"
        AREAS = "areas"

    part = models.CharField(primary_key=True, max_length=16, choices=Part)
    version = models.CharField(max_length=36)

    class Meta:
        db_table = "warehouse_network_version"

    def __str__(self) -> str:
        return self.version
