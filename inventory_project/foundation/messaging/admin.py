"""Messages in the admin: the outbox, the inbox, and the dead letters, which are in RabbitMQ and not in a table."""

import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods

from inventory_project.foundation.admin import LargeTableAdmin, ReadOnly, staff_actor
from inventory_project.foundation.errors import Conflict, Refusal, Unavailable
from inventory_project.foundation.messaging import outbox
from inventory_project.foundation.messaging.admin_letters import PrintableLetter
from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent, OutboxQuerySet
from inventory_project.foundation.messaging.rabbitmq import dead_letters
from inventory_project.foundation.messaging.rabbitmq.dead_letters import DeadLetter

logger = logging.getLogger(__name__)

MAX_SHOWN = 50  # dead letters on the page
MAX_REPLAYED = 1_000  # at once; takes two seconds


def laid_out(document: Any) -> SafeString:
    """JSON, indented for reading."""
    return format_html("<pre>{}</pre>", json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False))


# --- the outbox ----------------------------------------------------------------------------------------------------


class StateFilter(admin.SimpleListFilter):
    """A filter by the state of an event: waiting, published or unrouted."""

    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The states to choose from."""
        return [(state, state) for state in ("waiting", "published", "unrouted")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The events in the chosen state."""
        events = cast("OutboxQuerySet", queryset)
        if self.value() == "waiting":
            return events.waiting()
        if self.value() == "unrouted":
            return events.unrouted()
        return events.exclude(published_at=None) if self.value() == "published" else events


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnly, LargeTableAdmin[OutboxEvent]):
    """The read-only admin of the outbox. It can send unrouted events again."""

    purpose = f"No events yet. Events stay here for {settings.EVENT_RETENTION_DAYS} days after they are published."
    list_display = ("id", "type", "subject", "occasion", "occurred_at", "published_at", "published_to", "unrouted_at")
    list_filter = (StateFilter,)
    search_fields = ("subject",)
    search_help_text = "A subject, such as a reservation id. The list ends after 10,000 rows."
    ordering = ("-id",)
    fields = (
        *("event_id", "type", "subject", "occasion", "occurred_at", "published_at", "published_to", "unrouted_at"),
        *("content", "caused_by"),
    )
    readonly_fields = ("content", "caused_by")
    actions = ("send_unrouted_again",)

    def has_send_permission(self, request: HttpRequest) -> bool:
        """Whether the user may send events again: the right to change events includes it. Editing is not possible."""
        return request.user.has_perm("messaging.change_outboxevent")

    @admin.action(description="Send unrouted events again", permissions=["send"])
    def send_unrouted_again(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> HttpResponse | None:
        """Have the relay publish the selected events again, with the same ids."""
        return self.ask_first(
            request,
            queryset,
            question="Send these events again?",
            done="Unrouted events that will be sent again",
            act=partial(_send_again, actor=staff_actor(request)),
        )

    @admin.display(description="data")
    def content(self, event: OutboxEvent) -> SafeString:
        """The event's data, indented for reading."""
        return laid_out(event.data)

    @admin.display(description="extensions")
    def caused_by(self, event: OutboxEvent) -> SafeString:
        """The trace and the request that caused the event."""
        return laid_out(event.extensions)


def _send_again(ids: Sequence[Any], _form: dict[str, Any], *, actor: str) -> list[object]:
    sent = outbox.send_unrouted_again(ids)
    logger.info("unrouted events will be sent again: %s, by %s", sent, actor)
    others = len(ids) - sent
    refused = [Conflict(f"Not unrouted, and left as they are: {others}.")] if others else []
    return [*range(sent), *refused]


# --- the inbox -----------------------------------------------------------------------------------------------------


class TypeFilter(admin.SimpleListFilter):
    """A filter by message name. It lists the names with a handler, because a query would read the whole table."""

    title = parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The message names to choose from."""
        return [(name, name) for name in import_string(settings.MESSAGE_ROUTES)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The messages with the chosen name."""
        return queryset.filter(type=self.value()) if self.value() else queryset


@admin.register(InboxMessage)
class InboxMessageAdmin(ReadOnly, LargeTableAdmin[InboxMessage]):
    """The read-only admin of the inbox, with a page for dead letters."""

    purpose = (
        "Order and payment events that were handled, each with its outcome. No event has been handled yet: "
        "is a consumer running?"
    )
    list_display = ("type", "order_id", "outcome", "code", "message_id", "source", "processed_at")
    list_display_links = ("type", "order_id")
    list_filter = ("outcome", TypeFilter)
    search_fields = ("order_id", "message_id")
    search_help_text = "The id of an order or of a message. The list ends after 10,000 rows."
    ordering = ("-id",)

    class Media:
        css = {"all": ["inventory_project/messaging.css"]}

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Whether the user may replay dead letters: the right to change messages includes it. None can be edited."""
        return request.user.has_perm("messaging.change_inboxmessage")

    def get_urls(self) -> list[URLPattern]:
        """Add the page of dead letters. It comes first, because the page of a row would take any word for an id."""
        view = self.admin_site.admin_view(require_http_methods(["GET", "HEAD", "POST"])(self.dead_letters))
        return [path("dead-letters/", view, name="messaging_dead_letters"), *super().get_urls()]

    def dead_letters(self, request: HttpRequest) -> HttpResponse:
        """GET lists dead letters. POST asks for confirmation, then puts them back into the consumer's queue."""
        is_post = request.method == "POST"
        if not (self.has_replay_permission(request) if is_post else self.has_view_permission(request)):
            raise PermissionDenied
        if not is_post:
            return self._show(request)
        keys = request.POST.getlist("key")[:MAX_SHOWN]
        number = _whole(request.POST.get("all", ""))
        try:
            if not keys and not number:
                self.message_user(request, "Select some first; nothing was sent.", messages.WARNING)
            elif "is_answered" not in request.POST:
                return self._ask(request, keys=keys, number=number)
            else:
                self._replay(request, keys=keys, number=number)
        except Refusal as refusal:
            self.message_user(request, refusal.detail, messages.ERROR)
        return HttpResponseRedirect(reverse("admin:messaging_dead_letters"))

    def _show(self, request: HttpRequest) -> HttpResponse:
        context: dict[str, Any] = {"may_replay": self.has_replay_permission(request)}
        try:
            number, letters = _look()
        except Refusal as refusal:
            context["problem"] = refusal.detail
        else:
            context |= {"number": number, "letters": [PrintableLetter.of(letter) for letter in letters]}
            context |= {"more": number - len(letters), "at_once": min(number, MAX_REPLAYED)}
        return self._page(request, "dead_letters", "Dead letters", **context)

    def _ask(self, request: HttpRequest, *, keys: Sequence[str], number: int) -> HttpResponse:
        letters = [PrintableLetter.of(letter) for letter in _look()[1] if letter.key in keys] if not number else []
        question = (
            f"Put {number} dead letters back into the queue?"
            if number
            else "Put these dead letters back into the queue?"
        )
        return self._page(request, "replay_question", question, letters=letters, number=number)

    def _replay(self, request: HttpRequest, *, keys: Sequence[str], number: int) -> None:
        _require_broker()
        sent, missing = dead_letters.replay(
            limit=number or MAX_REPLAYED, names=None if number else keys, actor=staff_actor(request)
        )
        self.message_user(request, f"Dead letters put back into the queue: {sent}.", messages.SUCCESS)
        if missing:
            problem = f"Not found: {len(missing)}. Somebody else has put them back, or is looking at them right now."
            self.message_user(request, problem, messages.WARNING)

    def _page(self, request: HttpRequest, name: str, title: str, **context: object) -> HttpResponse:
        context |= {**self.admin_site.each_context(request), "title": title, "opts": self.opts}
        return TemplateResponse(request, f"admin/messaging/{name}.html", context)


def _look() -> tuple[int, list[DeadLetter]]:
    _require_broker()
    return dead_letters.look(limit=MAX_SHOWN)


def _require_broker() -> None:
    """Raise Unavailable if no RabbitMQ is configured, because pika would then try this machine."""
    if not settings.RABBITMQ_URL:
        raise Unavailable("RABBITMQ_URL is not set: this service takes no messages, so none of them is a dead letter.")


def _whole(text: str) -> int:
    """The number in the text if so many dead letters can be sent at once, otherwise 0."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 and int(text) <= MAX_REPLAYED else 0
