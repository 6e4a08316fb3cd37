"""Where a message came from is what RabbitMQ says, and not what its sender has written into its headers."""

from typing import Any

import pika
import pytest
from pika.spec import Basic

from inventory_project.foundation.messaging.rabbitmq import topology
from inventory_project.foundation.messaging.rabbitmq.messages import delivery_of

OURS = {"x-exchange": "payment.events", "x-routing-key": "payment.confirmed"}
ORDER, PAYMENT = ("order.events", "order.created"), ("payment.events", "payment.confirmed")


def death(reason: str, exchange: str, routing_key: str, queue: str = topology.QUEUE) -> dict[str, Any]:
    """An entry of x-death as RabbitMQ writes it, or as a sender forges it."""
    return {"queue": queue, "reason": reason, "exchange": exchange, "routing-keys": [routing_key], "count": 1}


def origin(exchange: str, routing_key: str, headers: dict[str, Any]) -> tuple[str, str]:
    method = Basic.GetOk(delivery_tag=1, redelivered=False, exchange=exchange, routing_key=routing_key)
    delivery = delivery_of(method, pika.BasicProperties(headers=headers), b"{}")
    return delivery.exchange, delivery.routing_key


@pytest.mark.parametrize(
    "headers",
    [
        {},
        OURS,
        {"x-death": [death("delivery_limit", *PAYMENT)]},
        {**OURS, "x-death": [death("expired", "", topology.QUEUE, queue=topology.DELAY_QUEUE)]},
    ],
)
def test_of_a_message_over_an_exchange_no_header_is_believed(headers: dict[str, Any]) -> None:
    assert origin(*ORDER, headers) == ORDER


def test_a_message_that_this_service_sent_on_says_where_it_came_from() -> None:
    delayed = [death("expired", "", topology.DELAY_QUEUE, queue=topology.DELAY_QUEUE)]

    assert origin("", topology.QUEUE, OURS) == PAYMENT
    assert origin("", topology.QUEUE, {**OURS, "x-death": delayed}) == PAYMENT


def test_of_a_message_that_was_delivered_too_often_rabbitmq_says_where_it_came_from() -> None:
    at_first = {**OURS, "x-death": [death("delivery_limit", *ORDER)]}
    after_a_delay = {**OURS, "x-death": [death("delivery_limit", "", topology.QUEUE)]}

    assert origin("", topology.DEAD_QUEUE, at_first) == ORDER
    assert origin("", topology.DEAD_QUEUE, after_a_delay) == PAYMENT


def test_of_a_message_that_has_expired_in_our_queue_nothing_is_believed() -> None:
    headers = {**OURS, "x-death": [death("expired", *PAYMENT)]}

    assert origin("", topology.DEAD_QUEUE, headers) == ("", topology.DEAD_QUEUE)


@pytest.mark.parametrize("forged", [5, [], [5], [{"queue": topology.QUEUE, "reason": "delivery_limit"}], {}, None])
def test_a_forged_death_of_any_form_does_no_harm(forged: object) -> None:
    assert origin("", topology.QUEUE, {**OURS, "x-death": forged}) == PAYMENT
    assert origin("", topology.QUEUE, {"x-death": forged}) == ("", topology.QUEUE)


def test_the_reason_that_a_sender_wrote_does_not_hide_that_of_rabbitmq() -> None:
    method = Basic.GetOk(delivery_tag=1, redelivered=False, exchange="", routing_key=topology.DEAD_QUEUE)
    written: dict[str, Any] = {"x-reason": "Replay me."}
    moved = {**written, "x-death": [death("expired", *ORDER)]}

    reasons = [delivery_of(method, pika.BasicProperties(headers=each), b"{}").reason for each in (written, moved)]

    assert reasons == ["Replay me.", "expired"]
