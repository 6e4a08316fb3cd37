"""The outbox: events that were decided, and which of them have left."""

from django.db import models


class OutboxEvent(models.Model):
    """One event, written in the transaction of the change it reports; published in the order of `id`.

    `event_id` is the event's own id, the same however often it is published. `occasion` is empty for an event that a
    subject can have once, names the occasion where it can have one each, and is NULL where it may recur.
    """

    event_id = models.UUIDField(editable=False)
    type = models.CharField(max_length=64)
    subject = models.CharField(max_length=128)
    occasion = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001  # NULLs are never equal
    data = models.JSONField()
    occurred_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "outbox_event"
        constraints = [
            models.UniqueConstraint(
                fields=["subject", "type", "occasion"], name="outbox_event_is_recorded_once_for_each_occasion"
            ),
        ]
        indexes = [
            # The relay: what has not left yet, oldest first.
            models.Index(fields=["id"], condition=models.Q(published_at=None), name="outbox_event_unpublished"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.subject}"
