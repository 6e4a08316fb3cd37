"""The tables of reservations. `reservations.holds` reads and writes many rows of them at once."""

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.db.models import F, Q


class ReservationQuerySet(models.QuerySet["Reservation"]):
    """Queries for reservations that a job has to handle."""

    def overdue(self, now: datetime) -> "ReservationQuerySet":
        """Reservations that are ACTIVE although their time is up at `now`, which is the database's clock."""
        return self.filter(status=Reservation.Status.ACTIVE, expires_at__lte=now)


class Reservation(models.Model):
    """Stock held for an order until `expires_at`, by the database's clock.

    `is_live` is true while the order may have no other reservation: ACTIVE, or CONFIRMED and not wholly returned.
    """

    class Status(models.TextChoices):
        ACTIVE = "ACTIVE"
        CONFIRMED = "CONFIRMED"
        EXPIRED = "EXPIRED"
        CANCELLED = "CANCELLED"

    id = models.UUIDField(primary_key=True)
    order_id = models.UUIDField()
    status = models.CharField(max_length=16, choices=Status, default=Status.ACTIVE)
    is_live = models.BooleanField(default=True)
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)
    delivery_postal_code = models.CharField(max_length=16, blank=True)
    allocation = models.JSONField(help_text="Why these warehouses.")
    replaces = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        related_name="replaced_by",
        help_text="The ended reservation that a late payment brought back as this one.",
    )
    actor = models.CharField(max_length=150)

    objects: ClassVar[models.Manager["Reservation"]] = ReservationQuerySet.as_manager()

    class Meta:
        db_table = "reservation"
        constraints = [
            models.UniqueConstraint(
                fields=["order_id"], condition=Q(is_live=True), name="reservation_is_the_only_live_one_of_its_order"
            ),
            models.CheckConstraint(
                condition=Q(is_live=True, status__in=["ACTIVE", "CONFIRMED"])
                | Q(is_live=False, status__in=["CONFIRMED", "EXPIRED", "CANCELLED"]),
                name="reservation_is_live_while_active_and_never_once_released",
            ),
        ]
        indexes = [
            # The reservations of an order, newest first.
            models.Index(fields=["order_id", "-id"], name="reservation_by_order"),
            # What a token holds, where that is limited.
            models.Index(fields=["actor"], condition=Q(status="ACTIVE"), name="reservation_active_by_actor"),
            # The sweeper: what is overdue, oldest first.
            models.Index(fields=["expires_at"], condition=Q(status="ACTIVE"), name="reservation_active_by_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.status}"

    @property
    def lines(self) -> list["ReservationItem"]:
        """The items in id order; read them with `prefetch_related("items")`."""
        return sorted(self.items.all(), key=lambda item: item.id)


class ReservationItem(models.Model):
    """One line: units of a product at a warehouse, and how many of them were confirmed, released and returned.

    A part of the line may be released while the hold is ACTIVE. Once settled, confirmed + released = quantity.
    `called_off` are units that the shop cancelled after the hold had ended, so that a late payment does not buy them.
    """

    id = models.UUIDField(primary_key=True)
    reservation = models.ForeignKey(Reservation, on_delete=models.PROTECT, db_index=False, related_name="items")
    # Not in the database: the level of the same place has these foreign keys (I12, docs/concepts/locking.md).
    product = models.ForeignKey("stock.Product", on_delete=models.PROTECT, db_constraint=False, related_name="+")
    warehouse = models.ForeignKey(
        "warehouses.Warehouse", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    quantity = models.PositiveIntegerField()
    confirmed = models.PositiveIntegerField(default=0)
    released = models.PositiveIntegerField(default=0, db_default=0)
    returned = models.PositiveIntegerField(default=0)
    called_off = models.PositiveIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "reservation_item"
        constraints = [
            # Also finds the lines of a reservation.
            models.UniqueConstraint(
                fields=["reservation", "product", "warehouse"], name="reservation_item_is_one_line_for_each_place"
            ),
            models.CheckConstraint(condition=Q(quantity__gte=1), name="reservation_item_holds_something"),
            models.CheckConstraint(
                condition=Q(quantity__gte=F("confirmed") + F("released")),
                name="reservation_item_confirms_and_releases_no_more_than_it_holds",
            ),
            models.CheckConstraint(
                condition=Q(returned__lte=F("confirmed")), name="reservation_item_returns_no_more_than_it_confirmed"
            ),
            models.CheckConstraint(
                condition=Q(called_off__lte=F("released")), name="reservation_item_calls_off_no_more_than_it_released"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} of {self.product_id} at {self.warehouse_id}"


class ReservationExtension(models.Model):
    """An extension of a hold. Because of its reference a repeat has no second effect."""

    reservation = models.ForeignKey(Reservation, on_delete=models.PROTECT, db_index=False, related_name="extensions")
    reference = models.CharField(max_length=128)
    minutes = models.PositiveIntegerField()
    expires_at = models.DateTimeField(help_text="When the hold ended after this extension.")
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "reservation_extension"
        constraints = [
            models.UniqueConstraint(
                fields=["reservation", "reference"], name="reservation_extension_has_a_reference_of_its_own"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reservation_id} +{self.minutes} min"


class Damage(models.Model):
    """Damage that an audit has found: what breaks which invariant. It is deleted once an audit finds it repaired."""

    invariant = models.CharField(max_length=8)
    subject = models.TextField(help_text="What is damaged, for instance a product at a warehouse.")
    is_oversell = models.BooleanField(help_text="More may have been promised than there is.")
    found_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="When an audit found it the last time.")

    class Meta:
        db_table = "audit_damage"
        constraints = [models.UniqueConstraint(fields=["invariant", "subject"], name="audit_damage_is_known_once")]

    def __str__(self) -> str:
        return f"{self.invariant} {self.subject}"


class AuditPosition(models.Model):
    """How far the audits have looked: one row.

    All movements until `looked_until` were checked when they were new. The ids are the last old rows that were looked
    at again; empty means that the next audit begins with the oldest.
    """

    looked_until = models.DateTimeField(null=True, blank=True)
    movement_id = models.UUIDField(null=True, blank=True)
    reservation_id = models.UUIDField(null=True, blank=True)
    level_id = models.BigIntegerField(null=True, blank=True)
    everything_at = models.DateTimeField(null=True, blank=True, help_text="When everything was checked.")

    class Meta:
        db_table = "audit_position"

    def __str__(self) -> str:
        return f"until {self.looked_until}"

    @classmethod
    def load(cls) -> "AuditPosition":
        """The row, or a new one that is not saved yet."""
        return cls.objects.filter(pk=1).first() or cls(pk=1)

    def save_progress(self) -> None:
        """Save how far new and old rows were looked at. Another process may have saved `everything_at` meanwhile."""
        names = ("looked_until", "movement_id", "reservation_id", "level_id")
        type(self).objects.update_or_create(pk=1, defaults={name: getattr(self, name) for name in names})
