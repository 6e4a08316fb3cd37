"""Staff see which events have left and what came of each message, and send again what found no queue."""

import logging
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from inventory_project.foundation.database import database_now
from inventory_project.foundation.messaging import outbox
from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent
from inventory_project.foundation.messaging.outbox import Event
from tests.db.admin.pages import LISTS, answer, change, choose
from tests.servers import free_port

pytestmark = pytest.mark.django_db

EVENTS, MESSAGES = "messaging_outboxevent", "messaging_inboxmessage"
DEAD_LETTERS = "/admin/messaging/inboxmessage/dead-letters/"
ORDER = UUID("0d9f1c6a-5b7e-4c1d-8a3f-2e6b9c4d7f10")
LOGGER = "inventory_project.foundation.messaging.admin"


@pytest.fixture
def events(db: None) -> list[int]:
    """The ids of five events: one waits, one is published, three are unrouted."""
    moment = database_now()
    with transaction.atomic():
        outbox.record([Event(type="inventory.tested", subject=str(n), data={"n": n}) for n in range(5)], at=moment)
    ids = list(OutboxEvent.objects.order_by("id").values_list("id", flat=True))
    OutboxEvent.objects.filter(pk=ids[1]).update(published_at=moment)
    OutboxEvent.objects.filter(pk__in=ids[2:]).update(unrouted_at=moment)
    return ids


def unrouted() -> list[int]:
    return list(OutboxEvent.objects.unrouted().values_list("pk", flat=True))


def listed(client: Client, model: str, query: str = "") -> list[int]:
    return [row.pk for row in client.get(f"{LISTS[model]}?{query}").context["cl"].result_list]


def message(message_id: str, **changes: Any) -> InboxMessage:
    known = {"source": "/shop", "type": "order.created", "order_id": uuid4(), "outcome": "reserved"}
    return InboxMessage.objects.create(message_id=message_id, **{**known, **changes})


# --- the inbox -----------------------------------------------------------------------------------------------------


def test_an_empty_list_says_what_it_is_for_and_one_that_is_filtered_does_not(ana: Client) -> None:
    inbox = "Order and payment events that were handled, each with its outcome. No event has been handled yet"
    events = "No events yet. Events stay here for 30 days after they are published."
    assert inbox in ana.get(LISTS[MESSAGES]).content.decode()
    assert events in ana.get(LISTS[EVENTS]).content.decode()
    for query in ("outcome__exact=reserved", "q=none"):
        assert inbox not in ana.get(f"{LISTS[MESSAGES]}?{query}").content.decode()
    message("1")
    assert inbox not in ana.get(LISTS[MESSAGES]).content.decode()


def test_a_message_is_listed_with_what_came_of_it(ana: Client) -> None:
    message("m-1", order_id=ORDER, outcome="rejected", code="order_cancelled")
    page = ana.get(LISTS[MESSAGES]).content.decode()
    cells = re.findall(r'class="field-(\w+)[^"]*">(?:<a [^>]+>)?([^<]*)<', page)
    assert [cell for cell in cells if cell[0] != "processed_at"] == [
        ("type", "order.created"),
        ("order_id", str(ORDER)),
        ("outcome", "Rejected"),
        ("code", "order_cancelled"),
        ("message_id", "m-1"),
        ("source", "/shop"),
    ]


def test_messages_are_filtered_by_outcome_and_type(ana: Client) -> None:
    reserved, paid = message("1").pk, message("2", type="payment.confirmed", outcome="confirmed").pk
    assert listed(ana, MESSAGES) == [paid, reserved]
    assert listed(ana, MESSAGES, "outcome__exact=confirmed") == [paid]
    assert listed(ana, MESSAGES, "type=order.created") == [reserved]
    assert listed(ana, MESSAGES, "type=order.created&outcome__exact=confirmed") == []
    page = ana.get(LISTS[MESSAGES]).content.decode()
    assert re.findall(r'href="\?type=([^"]+)"', page) == [
        *("order.created", "order.cancelled", "payment.confirmed", "payment.failed"),
    ]


def test_a_message_is_found_by_its_id_and_all_of_an_order_by_the_orders(ana: Client) -> None:
    first, second = message("1", order_id=ORDER).pk, message("2", order_id=ORDER).pk
    another = message(str(uuid4())).pk
    assert listed(ana, MESSAGES, f"q={ORDER}") == [second, first]
    assert listed(ana, MESSAGES, f"q={InboxMessage.objects.get(pk=another).message_id}") == [another]
    assert listed(ana, MESSAGES, "q=1") == [first]


# --- the outbox ----------------------------------------------------------------------------------------------------


def test_events_are_filtered_by_their_state(ana: Client, events: list[int]) -> None:
    assert listed(ana, EVENTS) == events[::-1]
    assert listed(ana, EVENTS, "state=waiting") == [events[0]]
    assert listed(ana, EVENTS, "state=published") == [events[1]]
    assert listed(ana, EVENTS, "state=unrouted") == events[:1:-1]
    assert listed(ana, EVENTS, "state=lost") == events[::-1]


def test_an_event_shows_what_caused_it(ana: Client) -> None:
    traces = {"requestid": "<b>call 12</b>", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with transaction.atomic():
        outbox.record([Event(type="t", subject="s", data={}, extensions=traces)], at=database_now())
    page = ana.get(change(EVENTS, OutboxEvent.objects.get().pk)).content.decode()
    assert traces["traceparent"] in page
    assert "&lt;b&gt;call 12&lt;/b&gt;" in page
    assert "<b>call 12" not in page


def test_unrouted_events_are_sent_again_after_a_question(
    ana: Client, events: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    asked = choose(ana, EVENTS, "send_unrouted_again", events[2:4])
    assert (asked.status_code, "Send these events again?" in asked.content.decode()) == (200, True)
    assert unrouted() == events[2:]
    with caplog.at_level(logging.INFO, logger=LOGGER):
        assert answer(ana, EVENTS, "send_unrouted_again", events[2:4]) == [
            "Unrouted events that will be sent again: 2."
        ]
    assert unrouted() == events[4:]
    assert list(OutboxEvent.objects.waiting().values_list("pk", flat=True)) == [events[0], *events[2:4]]
    assert [line.getMessage() for line in caplog.records if line.name == LOGGER] == [
        "unrouted events will be sent again: 2, by staff:ana"
    ]


def test_what_is_not_unrouted_is_left_as_it_is_and_told(ana: Client, events: list[int]) -> None:
    published_at = OutboxEvent.objects.get(pk=events[1]).published_at
    for sent, others in ((3, 2), (0, 5)):
        assert answer(ana, EVENTS, "send_unrouted_again", events) == [
            f"Unrouted events that will be sent again: {sent}.",
            f"Not unrouted, and left as they are: {others}.",
        ]
    assert OutboxEvent.objects.get(pk=events[1]).published_at == published_at


def test_all_unrouted_events_are_sent_again_chunk_by_chunk(events: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "AGAIN_CHUNK", 2)
    assert outbox.send_unrouted_again([]) == 0
    assert unrouted() == events[2:]
    assert outbox.send_unrouted_again() == 3
    assert (unrouted(), outbox.send_unrouted_again()) == ([], 0)


def test_sending_again_takes_the_right_to_change_events(
    log_in: Callable[..., Client], events: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    viewer = log_in("rui", "view_outboxevent", "change_inboxmessage")
    assert 'value="send_unrouted_again"' not in viewer.get(LISTS[EVENTS]).content.decode()
    choose(viewer, EVENTS, "send_unrouted_again", events, is_answered="yes")
    assert unrouted() == events[2:]
    operator = log_in("eva", "view_outboxevent", "change_outboxevent")
    answer(operator, EVENTS, "send_unrouted_again", events)
    assert unrouted() == []


# --- dead letters, where there is no RabbitMQ ----------------------------------------------------------------------


def test_the_list_of_messages_leads_to_the_dead_letters(ana: Client) -> None:
    assert reverse("admin:messaging_dead_letters") == DEAD_LETTERS
    assert f'<a href="{DEAD_LETTERS}">Dead letters</a>' in ana.get(LISTS[MESSAGES]).content.decode()


@pytest.mark.parametrize("is_away", [False, True])
def test_without_rabbitmq_the_page_says_so(ana: Client, settings: Settings, is_away: bool) -> None:
    settings.RABBITMQ_URL = f"amqp://guest:secret@127.0.0.1:{free_port()}" if is_away else ""
    sentence = (
        "RabbitMQ cannot be reached: "
        if is_away
        else "RABBITMQ_URL is not set: this service takes no messages, so none of them is a dead letter."
    )
    page = ana.get(DEAD_LETTERS)
    assert (page.status_code, sentence in page.content.decode()) == (200, True)
    assert "secret" not in page.content.decode()
    asked = ana.post(DEAD_LETTERS, {"key": "0" * 64}, follow=True)
    assert [str(told).startswith(sentence) for told in asked.context["messages"]] == [True]
    for choice in ({"all": "3"}, {"key": "0" * 64}):
        done = ana.post(DEAD_LETTERS, {**choice, "is_answered": "yes"}, follow=True)
        assert done.redirect_chain == [(DEAD_LETTERS, 302)]
        assert [str(told).startswith(sentence) for told in done.context["messages"]] == [True]


@pytest.mark.parametrize("choice", [{}, {"key": []}, {"all": "0"}, {"all": "many"}, {"all": "1001"}, {"all": "-1"}])
def test_an_answer_about_nothing_sends_nothing(ana: Client, settings: Settings, choice: dict[str, Any]) -> None:
    settings.RABBITMQ_URL = ""
    done = ana.post(DEAD_LETTERS, {**choice, "is_answered": "yes"}, follow=True)
    assert [str(told) for told in done.context["messages"]] == ["Select some first; nothing was sent."]


def test_who_may_see_messages_sees_dead_letters_and_who_may_change_them_has_them_handled(
    client: Client, log_in: Callable[..., Client], settings: Settings
) -> None:
    settings.RABBITMQ_URL = ""
    viewer = log_in("rui", "view_inboxmessage", "change_outboxevent")
    operator = log_in("eva", "view_inboxmessage", "change_inboxmessage")
    clerk = log_in("kim", "view_outboxevent", "change_reservation")
    post = {"all": "3", "is_answered": "yes"}
    assert [who.get(DEAD_LETTERS).status_code for who in (viewer, operator, clerk, client)] == [200, 200, 403, 302]
    assert [who.post(DEAD_LETTERS, post).status_code for who in (viewer, operator, clerk, client)] == [
        *(403, 302, 403, 302)
    ]
    assert client.post(DEAD_LETTERS, post)["Location"].startswith("/admin/login/")
    assert [operator.put(DEAD_LETTERS).status_code, operator.delete(DEAD_LETTERS).status_code] == [405, 405]


def test_an_answer_without_the_pages_own_token_is_refused(ana: Client) -> None:
    ana.handler.enforce_csrf_checks = True
    assert ana.post(DEAD_LETTERS, {"all": "3", "is_answered": "yes"}).status_code == 403
