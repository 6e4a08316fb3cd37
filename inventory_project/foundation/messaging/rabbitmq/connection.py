"""Connects to RabbitMQ and turns its failures into refusals of this service."""

from collections.abc import Iterator
from contextlib import contextmanager

import pika
from django.conf import settings
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, ChannelClosedByBroker

from inventory_project.foundation.errors import Conflict, Unavailable

CONNECT_SECONDS = 5
HEARTBEAT_SECONDS = 30
NOT_ALLOWED, NOT_FOUND, NOT_EQUAL = 403, 404, 406  # AMQP's reply codes
FAILURES = (AMQPError, AMQPConnectorException, OSError)  # the second, a time-out on connecting, is not an AMQPError


class BrokerUnavailable(Unavailable):
    """RabbitMQ cannot be reached, the connection was lost, or it does not answer in time."""

    code = "broker_unavailable"


class TopologyMismatch(Conflict):
    """The broker has a queue or exchange of another form, or the service lacks the right to declare its own."""

    code = "topology_mismatch"


def connection_parameters(purpose: str) -> pika.URLParameters:
    """The parameters of a connection. The broker displays `purpose` as part of the connection's name."""
    parameters = pika.URLParameters(settings.RABBITMQ_URL)
    parameters.heartbeat = HEARTBEAT_SECONDS
    parameters.connection_attempts = 1
    parameters.socket_timeout = parameters.stack_timeout = CONNECT_SECONDS
    parameters.blocked_connection_timeout = None
    parameters.client_properties = {"connection_name": f"inventory-service {purpose}"}
    return parameters


@contextmanager
def open_connection() -> Iterator[pika.BlockingConnection]:
    """A connection for a few commands in a row. A frozen broker does not block any of them for long."""
    parameters = connection_parameters("declare")
    parameters.heartbeat = parameters.blocked_connection_timeout = CONNECT_SECONDS
    try:
        connection = pika.BlockingConnection(parameters)
    except FAILURES as error:
        raise BrokerUnavailable(f"RabbitMQ cannot be reached: {words_of(error)}.") from error
    try:
        with connection:
            yield connection
    except ChannelClosedByBroker as error:
        raise TopologyMismatch(_mismatch(error)) from error
    except FAILURES as error:
        raise BrokerUnavailable(f"Lost the connection to RabbitMQ: {words_of(error)}.") from error


@contextmanager
def open_channel() -> Iterator[BlockingChannel]:
    """A channel on a connection of its own, for a few commands in a row."""
    with open_connection() as connection:
        yield connection.channel()


def _mismatch(error: ChannelClosedByBroker) -> str:
    if error.reply_code == NOT_EQUAL:
        return (
            f"What stands on RabbitMQ is not what this service declares: {error.reply_text}. Delete what stands there, "
            "once it is empty, or bring it into the declared form; docs/operating/operations.md shows how."
        )
    if error.reply_code == NOT_ALLOWED:
        return (
            f"The user of RABBITMQ_URL lacks a right: {error.reply_text}. "
            "docs/operating/operations.md lists the rights."
        )
    if error.reply_code == NOT_FOUND:
        return f"RabbitMQ lacks what a consumer declares when it starts: {error.reply_text}."
    return f"RabbitMQ refused: {error.reply_text}."


def words_of(error: BaseException) -> str:
    """The text of an error. If pika's exception has none, it is the text of the exception that it wraps."""
    held = getattr(error, "exception", None) or next(iter(error.args), None)
    if not str(error) and isinstance(held, BaseException):
        return words_of(held)
    return (str(error) or type(error).__name__).strip().rstrip(".")
