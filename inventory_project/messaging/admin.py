"""The outbox in the admin: which events were decided, and which of them have left."""

import json

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from inventory_project.admin import LargeTableAdmin, ReadOnly
from inventory_project.messaging.models import OutboxEvent


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnly, LargeTableAdmin[OutboxEvent]):
    """List and look."""

    list_display = ("id", "type", "subject", "occasion", "occurred_at", "published_at")
    list_filter = (("published_at", admin.EmptyFieldListFilter),)
    search_fields = ("subject",)
    search_help_text = "A subject, such as a reservation id. The list ends after 10,000 rows."
    ordering = ("-id",)
    fields = ("event_id", "type", "subject", "occasion", "occurred_at", "published_at", "content")
    readonly_fields = ("content",)

    @admin.display(description="data")
    def content(self, event: OutboxEvent) -> SafeString:
        """The event's data, laid out to be read."""
        return format_html("<pre>{}</pre>", json.dumps(event.data, indent=2, sort_keys=True, ensure_ascii=False))
