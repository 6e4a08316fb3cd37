"""Relays that are killed, lose their session with the database, or meet each other (F4)."""

import json
import signal
import time
from collections import Counter
from typing import Any

import pytest
from django.db import connection

from inventory_project.foundation.database import lock_key
from inventory_project.foundation.messaging import outbox, relay
from inventory_project.foundation.messaging.models import OutboxEvent
from tests import factories
from tests.integration.messaging.faults import drowsy, lockless, troubles, unlimited
from tests.integration.messaging.faults.commands import Command, Commands
from tests.integration.messaging.faults.neighbours import Neighbour
from tests.servers import RabbitMQ
from tests.service import manage, wait_until

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


def test_a_relay_whose_session_is_lost_after_publishing_marks_the_events_over_the_next_one(
    commands: Commands, neighbour: Neighbour
) -> None:
    record(3)
    with commands.relay(INVENTORY_CRASH_POINT="relay.after_publish=sleep:2") as alone:
        wait_until(lambda: len(neighbour.hear()) == 3, "published")
        terminate(holder_of_the_lock())
        wait_until_all_have_left()
        assert alone.process.poll() is None
    assert list(neighbour.times().values()) == [1, 1, 1]
    assert "relay waits; trying again" in alone.output


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
    assert "sent soon after a queue is bound" in told[0][1]
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


def test_a_relay_that_is_frozen_loses_the_lock_and_the_one_that_stands_by_takes_over(
    commands: Commands, neighbour: Neighbour
) -> None:
    with commands.relay(DJANGO_SETTINGS_MODULE=drowsy.__name__) as first:
        first.wait_for("working")
        with commands.relay(DJANGO_SETTINGS_MODULE=drowsy.__name__) as second:
            one_works_and_the_other_stands_by(first, second)
            first.process.send_signal(signal.SIGSTOP)
            record(20)
            second.wait_for("working")
            wait_until_all_have_left()
            first.process.send_signal(signal.SIGCONT)
            wait_until(lambda: states(first, second) == ["standby", "working"], "one works, one stands by")
            assert second.health()["state"] == "working"
    assert Counter(neighbour.times().values()) == {1: 20}


def test_control_without_a_limit_a_frozen_relay_keeps_the_lock(commands: Commands, neighbour: Neighbour) -> None:
    with commands.relay(DJANGO_SETTINGS_MODULE=unlimited.__name__) as first:
        first.wait_for("working")
        holder = holder_of_the_lock()
        with commands.relay(DJANGO_SETTINGS_MODULE=unlimited.__name__) as second:
            one_works_and_the_other_stands_by(first, second)
            first.process.send_signal(signal.SIGSTOP)
            since = time.monotonic()
            wait_until(lambda: time.monotonic() > since + 3 * drowsy.IDLE_SESSION_SECONDS, "longer than the limit")
            assert holder_of_the_lock() == holder
            assert second.health()["state"] == "standby"
            first.process.send_signal(signal.SIGCONT)


def test_a_relay_that_waits_for_rabbitmq_in_alarm_keeps_the_lock(
    rabbitmq: RabbitMQ, commands: Commands, neighbour: Neighbour
) -> None:
    with commands.relay(DJANGO_SETTINGS_MODULE=drowsy.__name__) as relay:
        relay.wait_for("working")
        holder = holder_of_the_lock()
        with troubles.in_alarm(rabbitmq):
            record(3)
            relay.wait_for("waiting", "RabbitMQ is in alarm")
            since = time.monotonic()
            wait_until(lambda: time.monotonic() > since + 3 * drowsy.IDLE_SESSION_SECONDS, "longer than the limit")
            assert holder_of_the_lock() == holder
        wait_until_all_have_left()
    assert Counter(neighbour.times().values()) == {1: 3}


# --- and a process without RABBITMQ_URL ----------------------------------------------------------------------------


def test_a_process_without_rabbitmq_leaves_the_events_to_the_relay_also_while_none_works(
    commands: Commands, neighbour: Neighbour
) -> None:
    with commands.relay() as relay:
        relay.wait_for("working")
    record(3)

    assert outbox.drain_to_log() == 0  # as the job of a process without RABBITMQ_URL does
    assert waiting() == 4
    with commands.relay():
        wait_until_all_have_left()

    assert Counter(neighbour.times().values()) == {1: 3}
    assert set(OutboxEvent.objects.values_list("published_to", flat=True)) == {"rabbitmq"}


def test_an_installation_gives_up_rabbitmq_by_a_command_once_no_relay_works(
    commands: Commands, neighbour: Neighbour
) -> None:
    with commands.relay() as relay:
        relay.wait_for("working")
        refused = manage("publish_events", "--to-log", env=commands.environment())
        assert refused.returncode == 1
        assert refused.stderr.startswith("CommandError: A relay works now. Stop all relays first;")
    record(3)

    done = manage("publish_events", "--to-log", env=commands.environment(RABBITMQ_URL=""))

    assert done.returncode == 0
    assert done.stdout.endswith("Events go to the log from now on. Restart all processes without RABBITMQ_URL.\n")
    assert outbox.drain_to_log() == 4
    assert neighbour.hear() == []


def test_what_went_to_the_log_is_sent_by_a_command_once_a_relay_works(commands: Commands, neighbour: Neighbour) -> None:
    record(3)
    outbox.drain_to_log()
    with commands.relay() as relay:
        relay.wait_for("working")
        done = manage("publish_events", "--again-logged", env=commands.environment())
        assert (done.returncode, done.stdout) == (0, "Events that will be sent again: 4.\n")
        wait_until(lambda: len(neighbour.hear()) == 3, "heard")
        wait_until_all_have_left()
    assert Counter(neighbour.times().values()) == {1: 3}


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
