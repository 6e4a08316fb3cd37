"""The outbox, the inbox, and the facts that hold for the whole installation.

The outbox has the events to publish, with their state; the inbox has the messages that were handled.
"""

from typing import Self

from django.db import models
from django.db.models.functions import Now


class OutboxQuerySet(models.QuerySet["OutboxEvent"]):
    """Queries on the outbox."""

    def waiting(self) -> Self:
        """Events that wait to be published, oldest first."""
        return self.filter(published_at=None, unrouted_at=None).order_by("id")

    def unrouted(self) -> Self:
        """Events for which the broker had no queue, oldest first."""
        return self.filter(published_at=None, unrouted_at__isnull=False).order_by("id")


class Destination(models.TextChoices):
    """Where the events of an installation go."""

    RABBITMQ = "rabbitmq", "RabbitMQ"
    LOG = "log", "the log"


class OutboxEvent(models.Model):
    """One event, written in the transaction of the change that it reports. Events are published in the order of `id`.

    `event_id` stays the same each time the event is published. `occasion` is empty if a subject has such an event only
    once, names the occasion if it has one for each, and is NULL if the event may recur. An event is `unrouted` if the
    broker had no queue for it: it does not block others, and is published once a queue is bound for it.
    """

    event_id = models.UUIDField(editable=False)
    type = models.CharField(max_length=64)
    subject = models.CharField(max_length=128)
    occasion = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001  # NULLs are never equal
    data = models.JSONField()
    extensions = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),  # for a process of the previous version, during an update
        help_text="CloudEvents extension attributes: what caused it.",
    )
    occurred_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True, blank=True)
    # NULL also for an event that an earlier version published.
    published_to = models.CharField(max_length=16, null=True, blank=True, choices=Destination)  # noqa: DJ001
    unrouted_at = models.DateTimeField(null=True, blank=True, help_text="When the broker had no queue for it.")

    objects = OutboxQuerySet.as_manager()

    class Meta:
        db_table = "outbox_event"
        constraints = [
            models.UniqueConstraint(
                fields=["subject", "type", "occasion"], name="outbox_event_is_recorded_once_for_each_occasion"
            ),
        ]
        indexes = [
            # For the relay: unpublished events, oldest first.
            models.Index(
                fields=["id"],
                condition=models.Q(published_at=None, unrouted_at=None),
                name="outbox_event_unpublished",
            ),
            # For sending unrouted events again, and for the gauge that counts them.
            models.Index(
                fields=["id"],
                condition=models.Q(published_at=None, unrouted_at__isnull=False),
                name="outbox_event_unrouted",
            ),
            # For the relay: the oldest unrouted event of each type, which it tries again.
            models.Index(
                fields=["type", "id"],
                condition=models.Q(published_at=None, unrouted_at__isnull=False),
                name="outbox_event_unrouted_by_type",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.subject}"


class InboxMessage(models.Model):
    """Proof that a message was handled, written in the transaction of its effect. It also records its order."""

    class Outcome(models.TextChoices):
        RESERVED = "reserved"
        CONFIRMED = "confirmed"
        RELEASED = "released"
        CANCELLED = "cancelled"
        REJECTED = "rejected"
        CONFLICT = "conflict"
        IGNORED = "ignored"
        REPEATED = "repeated"

    source = models.CharField(max_length=255)
    message_id = models.CharField(max_length=128)
    type = models.CharField(max_length=64)
    order_id = models.UUIDField()
    outcome = models.CharField(max_length=16, choices=Outcome)
    code = models.CharField(max_length=64, blank=True, help_text="Why it was rejected, ignored or in conflict.")
    processed_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "inbox_message"
        constraints = [
            models.UniqueConstraint(fields=["message_id", "source"], name="inbox_message_is_handled_once"),
        ]
        indexes = [
            models.Index(fields=["order_id"], name="inbox_message_by_order"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.message_id}"


class Installation(models.Model):
    """What holds for every process of the installation, whatever its own environment says. There is one row.

    `events_go_to` is where events are published. `pruned_before` is the moment before which published events may have
    been deleted. `retention_days` is the longest EVENT_RETENTION_DAYS that a process asked for, last at
    `retention_seen_at`. `counters_synced_at` is when the counters in Redis last agreed with the levels.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    events_go_to = models.CharField(max_length=16, choices=Destination, default=Destination.LOG)
    pruned_before = models.DateTimeField(null=True, blank=True)
    retention_days = models.PositiveIntegerField(null=True, blank=True)
    retention_seen_at = models.DateTimeField(null=True, blank=True)
    counters_synced_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "installation"
        default_permissions = ()  # nobody edits it in the admin
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="installation_has_one_row"),
            models.CheckConstraint(
                condition=models.Q(events_go_to__in=Destination.values),
                name="installation_sends_events_to_rabbitmq_or_the_log",
            ),
        ]

    def __str__(self) -> str:
        return f"events go to {self.events_go_to}"
