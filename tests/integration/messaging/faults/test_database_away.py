"""PostgreSQL away, read-only or out of connections while messages come (F11): they wait, and none is given up."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from django.conf import settings

from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent
from inventory_project.foundation.messaging.rabbitmq import topology
from tests import factories
from tests.integration.messaging.faults import amnesic, impatient, troubles
from tests.integration.messaging.faults.commands import Commands
from tests.integration.messaging.faults.neighbours import Neighbour, reasons_of_dead_letters
from tests.processes import Worker
from tests.servers import Postgres
from tests.service import manage, wait_until

OURS = (topology.QUEUE, topology.DELAY_QUEUE, topology.DEAD_QUEUE)
MAX_TRIES: int = settings.MESSAGE_MAX_TRIES
GRACE_SECONDS = 25  # from SIGTERM to the end; whoever starts and stops processes gives 30


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    # Not a folder of pytest's: those are root's alone, and PostgreSQL's user must get through to its own inside.
    with tempfile.TemporaryDirectory(prefix="inventory-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with Postgres(folder, fsync=True) as server:  # it is killed, and must have what it has committed
            yield server


@pytest.fixture
def clerk(postgres: Postgres, commands: Commands) -> Iterator[Worker]:
    """A process at that PostgreSQL, in good order and migrated, which arranges and looks for the test."""
    done = manage("migrate", "--verbosity", "0", env=commands.environment(DATABASE_URL=postgres.url))
    assert done.returncode == 0, done.stderr
    with psycopg.connect(postgres.url, autocommit=True) as session:
        session.execute(
            "TRUNCATE stock_product, stock_movement, reservation, stock_document, outbox_event, inbox_message CASCADE"
        )
    with Worker(DATABASE_URL=postgres.url) as worker:
        yield worker
        assert worker.run(factories.broken_invariants) == []


# --- troubles ------------------------------------------------------------------------------------------------------

Trouble = Callable[[Postgres], AbstractContextManager[None]]


@contextmanager
def read_only(server: Postgres) -> Iterator[None]:
    """Every session is read-only, also those that begin before the end and last longer."""
    with psycopg.connect(server.url, autocommit=True) as session:
        session.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        end_sessions(session)
        try:
            yield
        finally:
            session.execute("SET default_transaction_read_only = off")
            session.execute("ALTER DATABASE postgres RESET default_transaction_read_only")


@contextmanager
def full(server: Postgres) -> Iterator[None]:
    """Nothing can be written down for want of space on the disk; PostgreSQL is made to say so."""
    with psycopg.connect(server.url, autocommit=True) as session:
        session.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE 'No space left on device' USING ERRCODE = 'disk_full'; END $$"
        )
        session.execute("CREATE TRIGGER refuse BEFORE INSERT ON inbox_message EXECUTE FUNCTION refuse()")
        try:
            yield
        finally:
            session.execute("DROP FUNCTION refuse CASCADE")


@contextmanager
def full_for_marks(server: Postgres) -> Iterator[None]:
    """No event of the outbox can be marked for want of space on the disk; PostgreSQL is made to say so."""
    with psycopg.connect(server.url, autocommit=True) as session:
        session.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE 'No space left on device' USING ERRCODE = 'disk_full'; END $$"
        )
        session.execute("CREATE TRIGGER refuse BEFORE UPDATE ON outbox_event EXECUTE FUNCTION refuse()")
        try:
            yield
        finally:
            session.execute("DROP FUNCTION refuse CASCADE")


def end_sessions(session: psycopg.Connection) -> int:
    """Those of the service; how many there were."""
    ended = session.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'inventory-service'"
    )
    return len(ended.fetchall())


@contextmanager
def out_of_connections(server: Postgres) -> Iterator[None]:
    """Others have all of them."""
    with ExitStack() as others:
        first = others.enter_context(psycopg.connect(server.url, autocommit=True))
        while True:
            try:
                others.enter_context(psycopg.connect(server.url))
            except psycopg.OperationalError:
                if not end_sessions(first):
                    break
        yield


# --- what is seen --------------------------------------------------------------------------------------------------


def handled() -> Counter[str]:
    return Counter(InboxMessage.objects.values_list("outcome", flat=True))


def product() -> UUID:
    product_id: UUID = factories.product({factories.SP: 1_000}).pk
    return product_id


# How often it tries before the trouble is over. Who answers, and cannot write, is asked more often and at once.
TRIES = [(troubles.stopped, 2), (troubles.killed, 2), (out_of_connections, 2), (read_only, 6), (full, 6)]


@pytest.mark.parametrize(("trouble", "tries"), TRIES)
def test_messages_wait_for_the_database_and_are_then_all_handled(
    postgres: Postgres, clerk: Worker, commands: Commands, neighbour: Neighbour, trouble: Trouble, tries: int
) -> None:
    product_id, order_id = clerk.run(product), uuid4()
    with commands.consumer(DATABASE_URL=postgres.url) as consumer:
        neighbour.send_orders(product_id, 1)
        wait_until(lambda: clerk.run(handled) == {"reserved": 1}, "handled")
        with trouble(postgres):
            neighbour.send_orders(product_id, 20)
            neighbour.send("order.created", order_id, (product_id, 1))
            neighbour.send("payment.confirmed", order_id)
            neighbour.send("order.cancelled", order_id)
            assert consumer.wait_for("waiting")["status"] == "degraded"
            wait_until(lambda: consumer.output.count("consumer waits; ") >= tries, "tries")
            assert topology.depths() == dict.fromkeys(OURS, 0)  # it has all of them in hand
        wait_until(
            lambda: clerk.run(handled) == {"reserved": 22, "confirmed": 1, "cancelled": 1}, "all messages handled"
        )
        consumer.wait_for("working")
        assert consumer.stop() == 0
    assert reasons_of_dead_letters() == {}
    assert clerk.run(partial(factories.numbers, product_id)) == (979, 21, 0)


def test_a_consumer_that_waits_for_the_database_stops_when_told_whatever_it_has_in_hand(
    postgres: Postgres, clerk: Worker, commands: Commands, neighbour: Neighbour
) -> None:
    product_id, order_id = clerk.run(product), uuid4()
    dawdling = {"INVENTORY_CRASH_POINT": "consume.before_ack=sleep:2"}
    with commands.consumer(DATABASE_URL=postgres.url, **dawdling) as consumer:
        neighbour.send_orders(product_id, 1)
        wait_until(lambda: clerk.run(handled) == {"reserved": 1}, "handled")
        for _ in range(12):  # twelve transactions, one after the other; it takes all of them at once, but not yet
            neighbour.send("order.created", order_id, (product_id, 1))
        with troubles.stopped(postgres):
            consumer.wait_for("waiting")
            began = time.monotonic()
            assert consumer.stop() == 0
            assert time.monotonic() - began < GRACE_SECONDS
        wait_until(lambda: neighbour.depth() == 12, "given back")
    with commands.consumer(DATABASE_URL=postgres.url):
        wait_until(lambda: clerk.run(handled) == {"reserved": 2, "repeated": 11}, "all messages handled")
    assert reasons_of_dead_letters() == {}


@contextmanager
def locked(server: Postgres, product_id: UUID) -> Iterator[None]:
    """A psql that was left open has the levels of the product."""
    with psycopg.connect(server.url) as forgotten:
        forgotten.execute("SELECT 1 FROM stock_level WHERE product_id = %s FOR UPDATE", [product_id])
        yield
        forgotten.rollback()


def test_a_row_that_somebody_keeps_locked_holds_up_only_its_own_messages(
    postgres: Postgres, clerk: Worker, commands: Commands, neighbour: Neighbour
) -> None:
    stuck, free = clerk.run(product), clerk.run(product)
    with commands.consumer(DATABASE_URL=postgres.url) as consumer, locked(postgres, stuck):
        consumer.wait_for("working")
        for _ in range(4):  # in the same batches
            neighbour.send_orders(stuck, 10)
            neighbour.send_orders(free, 10)
        began = time.monotonic()
        wait_until(lambda: clerk.run(handled) == {"reserved": 40}, "the others")
        neighbour.send_orders(free, 4)
        wait_until(lambda: clerk.run(handled) == {"reserved": 44}, "those that came later")
        assert time.monotonic() - began < 5
        postponed = 'inventory_messages_total{result="postponed",type="order.created"}'
        wait_until(lambda: consumer.metric(postponed) >= 40, "postponed")
        assert consumer.metric('inventory_messages_total{result="delayed",type="order.created"}') == 0
    with commands.consumer(DATABASE_URL=postgres.url):
        wait_until(lambda: clerk.run(handled) == {"reserved": 84}, "all messages handled")
    assert reasons_of_dead_letters() == {}
    assert clerk.run(partial(factories.numbers, stuck)) == (960, 40, 0)


def test_a_paid_order_outlasts_a_lock_that_is_kept_longer_than_all_tries(
    postgres: Postgres, clerk: Worker, commands: Commands, neighbour: Neighbour
) -> None:
    stuck, order_id = clerk.run(product), uuid4()
    with commands.consumer(DATABASE_URL=postgres.url) as consumer:
        consumer.wait_for("working")
        with locked(postgres, stuck):
            neighbour.send("order.created", order_id, (stuck, 1))
            neighbour.send("payment.confirmed", order_id)
            both = [
                f'inventory_messages_total{{result="postponed",type="{type_}"}}'
                for type_ in ("order.created", "payment.confirmed")
            ]
            wait_until(lambda: min(map(consumer.metric, both)) > MAX_TRIES, "postponed more often than there are tries")
        wait_until(lambda: clerk.run(handled) == {"reserved": 1, "confirmed": 1}, "both handled")
    assert reasons_of_dead_letters() == {}


def test_messages_are_given_back_when_the_database_stays_away(
    postgres: Postgres, clerk: Worker, commands: Commands, neighbour: Neighbour
) -> None:
    product_id = clerk.run(product)
    slow = {"DJANGO_SETTINGS_MODULE": impatient.__name__, "INVENTORY_CRASH_POINT": "orders.before_commit=sleep:1"}
    with commands.consumer(DATABASE_URL=postgres.url, **slow) as consumer:
        neighbour.send_orders(product_id, 1)
        wait_until(lambda: clerk.run(handled) == {"reserved": 1}, "handled")
        neighbour.send_orders(product_id, 3)
        wait_until(lambda: neighbour.depth() == 0, "in hand")
        with troubles.stopped(postgres):
            wait_until(lambda: "Messages are given back" in consumer.output, "given back")
            wait_until(lambda: neighbour.depth() == 3, "in the queue")
            assert consumer.wait_for("waiting")["status"] == "degraded"
        wait_until(lambda: clerk.run(handled) == {"reserved": 4}, "all messages handled")
    assert reasons_of_dead_letters() == {}


def test_on_a_database_that_is_not_migrated_messages_wait_until_it_is(
    postgres: Postgres, commands: Commands, neighbour: Neighbour
) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as session:
        session.execute("DROP DATABASE IF EXISTS later")
        session.execute("CREATE DATABASE later")
    later = {"DATABASE_URL": f"{postgres.url.rpartition('/')[0]}/later"}
    neighbour.send_orders(uuid4(), 1)
    with commands.consumer(**later) as consumer:
        said = consumer.wait_for("waiting", "run `manage.py migrate` first")
        assert said["status"] == "degraded"
        assert neighbour.depth() == 1
        assert manage("migrate", "--verbosity", "0", env=commands.environment(**later)).returncode == 0
        rejected = 'inventory_messages_total{result="rejected",type="order.created"}'
        wait_until(lambda: consumer.metric(rejected) == 1, "handled")
    assert reasons_of_dead_letters() == {}


# --- the relay -----------------------------------------------------------------------------------------------------


def record(number: int) -> None:
    """Make so many events about orders."""
    product_id = product()
    for _ in range(number):
        factories.hold(product_id)


def waiting() -> int:
    return OutboxEvent.objects.waiting().count()


@pytest.mark.parametrize(("trouble", "times_meanwhile"), [(read_only, {}), (full_for_marks, {1: 20})])
def test_a_relay_that_cannot_mark_sends_no_event_a_second_time(
    postgres: Postgres,
    clerk: Worker,
    commands: Commands,
    neighbour: Neighbour,
    trouble: Trouble,
    times_meanwhile: dict[int, int],
) -> None:
    clerk.run(partial(record, 20))
    with ExitStack() as stack:
        with trouble(postgres):
            relay = stack.enter_context(commands.relay(DATABASE_URL=postgres.url))
            wait_until(lambda: relay.output.count("relay waits; ") >= 4, "tries")
            assert relay.wait_for("waiting", "The database cannot be used")["status"] == "degraded"
            assert Counter(neighbour.times().values()) == times_meanwhile
        wait_until(lambda: clerk.run(waiting) == 0, "all events marked")
    assert Counter(neighbour.times().values()) == {1: 20}


def test_control_a_relay_that_remembers_nothing_sends_the_same_events_again_and_again(
    postgres: Postgres, clerk: Worker, commands: Commands, neighbour: Neighbour
) -> None:
    clerk.run(partial(record, 20))
    with ExitStack() as stack:
        with full_for_marks(postgres):  # a server that is read-only it could not even reach
            settings = {"DATABASE_URL": postgres.url, "DJANGO_SETTINGS_MODULE": amnesic.__name__}
            stack.enter_context(commands.relay(**settings))
            wait_until(lambda: min(neighbour.times().values(), default=0) >= 3, "each came three times")
        wait_until(lambda: clerk.run(waiting) == 0, "all events marked")
