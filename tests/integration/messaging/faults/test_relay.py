"""Relays that are killed, lose their session with the database, or meet each other (F4)."""

import json
import signal
from collections import Counter
from typing import Any

import pytest
from django.db import connection

from inventory_project.foundation.database import lock_key
from inventory_project.foundation.messaging import relay
from inventory_project.foundation.messaging.models import OutboxEvent
from reservations import lifecycle
from reservations.requests import Confirm
from tests import factories
from tests.integration.messaging.faults import lockless
from tests.integration.messaging.faults.commands import Command, Commands
from tests.integration.messaging.faults.neighbours import Neighbour
from tests.service import wait_until

pytestmark = pytest.mark.usefixtures("books")


def record(number: int) -> None:
    """Make so many events about orders, one after the other."""
    product = factories.product({factories.SP: 1_000})
    for _ in range(number):
        factories.hold(product.pk)


def waiting() -> int:
    """Events that nobody has marked yet."""
    return OutboxEvent.objects.waiting().count()


def wait_until_all_have_left() -> None:
    wait_until(lambda: waiting() == 0, "all events marked")


def holder_of_the_lock() -> int | None:
    """The process of PostgreSQL's that serves the relay which works."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
            "WHERE datname = current_database() AND locktype = 'advisory' AND granted "
            "AND (classid::bigint << 32) | objid::bigint = %s",
            [lock_key(relay.LOCK)],
        )
        row = cursor.fetchone()
    return row[0] if row else None


def terminate(pid: int | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        assert cursor.fetchone() == (True,)


# --- one -----------------------------------------------------------------------------------------------------------


def test_what_a_relay_had_published_when_it_was_killed_comes_twice_with_the_same_ids(
    commands: Commands, neighbour: Neighbour
) -> None:
    record(3)
    with commands.relay(INVENTORY_CRASH_POINT="relay.after_publish=kill") as killed:
        assert killed.wait() == -signal.SIGKILL
    assert list(neighbour.times().values()) == [1, 1, 1]
    assert not OutboxEvent.objects.exclude(published_at=None).exists()

    with commands.relay():
        wait_until_all_have_left()
    assert list(neighbour.times().values()) == [2, 2, 2]
    recorded = OutboxEvent.objects.filter(type="inventory.reserved").order_by("id").values_list("event_id", flat=True)
    assert [event.id for event in neighbour.heard] == [str(event_id) for event_id in recorded] * 2


def test_a_relay_whose_session_is_lost_after_publishing_marks_nothing_and_begins_anew(
    commands: Commands, neighbour: Neighbour
) -> None:
    record(3)
    with commands.relay(INVENTORY_CRASH_POINT="relay.after_publish=sleep:2") as alone:
        wait_until(lambda: len(neighbour.hear()) == 3, "published")
        terminate(holder_of_the_lock())
        wait_until_all_have_left()
        assert alone.process.poll() is None
    assert list(neighbour.times().values()) == [2, 2, 2]
    assert "relay waits; trying again" in alone.output


def test_events_that_a_full_queue_refuses_hold_up_no_others_and_are_not_sent_again_with_them(
    commands: Commands, neighbour: Neighbour
) -> None:
    neighbour.listen("inventory.reserved", queue="full", x_max_length=1, x_overflow="reject-publish")
    product = factories.product({factories.SP: 10})
    holds = [factories.hold(product.pk) for _ in range(3)]
    for held in holds:
        lifecycle.one(lifecycle.confirm_many, Confirm(reservation_id=held.id, actor=factories.ACTOR))
    with commands.relay() as process:
        process.wait_for("waiting", "RabbitMQ did not take all events: a queue refused a message.")
        refused = {str(event.event_id) for event in OutboxEvent.objects.waiting()}
        assert OutboxEvent.objects.waiting().filter(type="inventory.reserved").count() == len(refused) == 2
        wait_until(lambda: max(neighbour.times().values()) >= 3, "the refused ones are tried again and again")
        with neighbour.channel() as channel:
            channel.queue_delete("full")
        wait_until_all_have_left()
    assert {id_ for id_, times in neighbour.times().items() if times > 1} == refused


def test_events_that_a_full_queue_has_refused_ten_times_are_set_aside_and_that_is_an_error(
    commands: Commands, neighbour: Neighbour
) -> None:
    neighbour.listen("inventory.reserved", queue="full", x_max_length=1, x_overflow="reject-publish")
    record(2)
    with commands.relay() as process:
        wait_until(lambda: waiting() == 0, "all events marked", seconds=60)  # ten tries take half a minute
        wait_until(lambda: "a full queue refused 1 events 10 times" in process.output, "reported")
    assert [line["level"] for line in lines(process) if "a full queue refused" in line["event"]] == ["error"]
    assert OutboxEvent.objects.unrouted().count() == 1


def lines(process: Command) -> list[dict[str, Any]]:
    """What it has logged."""
    return [json.loads(line) for line in process.output.splitlines()]


def test_events_that_nobody_listens_to_are_one_warning_for_each_type_until_somebody_does(
    commands: Commands, neighbour: Neighbour
) -> None:
    with neighbour.channel() as channel:
        channel.queue_unbind("listener", "inventory.events", "#")
    with commands.relay() as process:
        process.wait_for("working")
        for number in range(1, 4):
            record(number)  # a product of its own each time: back in stock, and so many times reserved
            wait_until_all_have_left()
        assert OutboxEvent.objects.unrouted().count() == 9
        neighbour.listen("inventory.reserved")
        for _ in range(2):
            record(1)
            wait_until_all_have_left()
        wait_until(lambda: "again" in process.output, "reported")
        with neighbour.channel() as channel:
            channel.queue_unbind("listener", "inventory.events", "inventory.reserved")
        record(1)
        wait_until_all_have_left()
    told = [(line["level"], line["event"]) for line in lines(process) if "inventory.reserved" in line["event"]]
    assert [level for level, _ in told] == ["warning", "info", "warning"]
    assert "`manage.py publish_events --again-unrouted`" in told[0][1]
    assert told[1][1] == "a queue is bound to inventory.events for inventory.reserved again"
    about_stock = [line["level"] for line in lines(process) if "inventory.back_in_stock" in line["event"]]
    assert about_stock == ["warning"]
    assert [line for line in lines(process) if line["level"] in ("error", "critical")] == []


# --- two -----------------------------------------------------------------------------------------------------------


def one_works_and_the_other_stands_by(first: Command, second: Command) -> None:
    first.wait_for("working")
    assert second.wait_for("standby")["status"] == "ok"


def test_the_second_relay_takes_over_when_the_first_is_killed(commands: Commands, neighbour: Neighbour) -> None:
    with commands.relay() as first:
        first.wait_for("working")
        with commands.relay() as second:
            one_works_and_the_other_stands_by(first, second)
            record(20)
            wait_until_all_have_left()
            assert second.metric('inventory_events_published_total{type="inventory.reserved"}') == 0

            first.stop(signal.SIGKILL)
            second.wait_for("working")
            record(20)
            wait_until_all_have_left()
            assert second.metric('inventory_events_published_total{type="inventory.reserved"}') == 20
    assert Counter(neighbour.times().values()) == {1: 40}


def test_relays_that_lose_their_session_begin_anew_and_either_may_take_over(
    commands: Commands, neighbour: Neighbour
) -> None:
    with commands.relay() as first:
        first.wait_for("working")
        with commands.relay() as second:
            one_works_and_the_other_stands_by(first, second)
            rounds = 0
            while second.health()["state"] == "standby":
                rounds += 1
                record(20)
                wait_until_all_have_left()
                terminate_the_one_that_works()
                wait_until(lambda: states(first, second) == ["standby", "working"], "one works, one stands by")
            record(20)
            wait_until_all_have_left()
            published = [
                each.metric('inventory_events_published_total{type="inventory.reserved"}') for each in (first, second)
            ]
            assert sum(published) == 20 * (rounds + 1)
            assert published[1] >= 20  # more where it had the lock before its health said so
            assert first.process.poll() is second.process.poll() is None
    assert Counter(neighbour.times().values()) == {1: 20 * (rounds + 1)}


def terminate_the_one_that_works() -> None:
    """Returns when a relay has the lock again."""
    pid = holder_of_the_lock()
    terminate(pid)
    wait_until(lambda: holder_of_the_lock() not in (None, pid), "the lock is taken again")


def states(*relays: Command) -> list[str]:
    return sorted(each.health()["state"] for each in relays)


def test_control_without_the_lock_both_relays_publish(commands: Commands, neighbour: Neighbour) -> None:
    settings = {
        "DJANGO_SETTINGS_MODULE": lockless.__name__,
        "INVENTORY_CRASH_POINT": "relay.after_publish=sleep:0.5",
    }
    with commands.relay(**settings) as first, commands.relay(**settings) as second:
        first.wait_for("working")
        second.wait_for("working")
        record(20)
        wait_until_all_have_left()
        wait_until(lambda: max(neighbour.times().values()) > 1, "something came twice")
