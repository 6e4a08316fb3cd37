"""Whatever the headers of a message are, its other properties are read, and pika raises nothing."""

import struct
from datetime import UTC, datetime
from typing import Any

import pika
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pika import frame

from inventory_project.foundation.messaging.rabbitmq.properties import MAX_BYTES, Properties
from tests import amqp

KNOWN: dict[str, Any] = {
    "content_type": "application/json",
    "correlation_id": "c",
    "message_id": "m",
    "delivery_mode": 2,
}
NUMBER = b"l" + struct.pack(">q", 7)


def received(properties: pika.BasicProperties) -> Properties:
    """The properties as pika makes them of the frame that these become."""
    return decoded(b"".join(properties.encode()))


def decoded(content: bytes) -> Properties:
    """The properties as pika makes them of a frame with this content."""
    payload = struct.pack(">HxxQ", pika.BasicProperties.INDEX, 5) + content
    encoded = struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce"
    size, made = frame.decode_frame(encoded)
    assert isinstance(made, frame.Header)
    assert isinstance(made.properties, Properties)
    assert size == len(encoded)
    return made.properties


def said(properties: pika.BasicProperties) -> dict[str, Any]:
    return {name: value for name, value in vars(properties).items() if value is not None and name != "_table"}


@pytest.mark.parametrize(
    "headers",
    [None, {}, {"a": "text", "b": 7, "c": [1, {"d": None}], "at": datetime(2026, 11, 22, tzinfo=UTC), "x": b"\xff"}],
)
def test_what_pika_can_read_is_read_as_pika_does(headers: Any) -> None:
    sent = pika.BasicProperties(headers=headers, **KNOWN)

    read = received(sent)

    assert (said(read), read.problem) == (said(sent), "")


@pytest.mark.parametrize("kind", amqp.UNREADABLE)
def test_a_header_that_cannot_be_read_is_none_and_everything_else_is_read(kind: str) -> None:
    headers = [amqp.header("one", NUMBER), amqp.header("odd", amqp.UNREADABLE[kind]), amqp.header("two", NUMBER)]

    read = received(amqp.RawHeaders(*headers, **KNOWN))

    assert said(read) == {**KNOWN, "headers": {"one": 7, "odd": None, "two": 7}, "problem": read.problem}
    assert read.problem == "The header 'odd' cannot be read."


def test_lists_may_be_nested_as_deep_as_in_a_body() -> None:
    read = received(amqp.RawHeaders(amqp.header("deep", amqp.nested(32))))

    assert read.problem == ""


def test_after_a_value_of_an_unknown_type_no_header_is_read() -> None:
    headers = [amqp.header("one", NUMBER), amqp.header("odd", b"?1234"), amqp.header("two", NUMBER)]

    read = received(amqp.RawHeaders(*headers, **KNOWN))

    assert (read.headers, read.message_id) == ({"one": 7, "odd": None}, "m")
    assert read.problem == "The header 'odd' cannot be read."


def test_a_header_is_named_without_its_control_characters_and_briefly() -> None:
    read = received(amqp.RawHeaders(amqp.header("\x1b[2J" + "x" * 200, amqp.moment(2**63))))

    assert read.problem == f"The header '\\x1b[2J{'x' * 60}' cannot be read."


@pytest.mark.parametrize("extra", [0, 1])
def test_too_large_properties_have_no_headers(extra: int) -> None:
    small = len(b"".join(pika.BasicProperties(headers={"long": ""}, **KNOWN).encode()))
    sent = pika.BasicProperties(headers={"long": "x" * (MAX_BYTES - small + extra)}, **KNOWN)

    read = received(sent)

    if extra:
        assert said(read) == {**KNOWN, "headers": {}, "problem": read.problem}
        assert read.problem == "The properties have 65537 bytes; 65536 are the most."
    else:
        assert (said(read), read.problem) == (said(sent), "")


@pytest.mark.parametrize("content", [b"", b"\x20", b"\x20\x00", b"\x20\x00\x00\x00"])
def test_of_properties_that_are_cut_off_nothing_is_read(content: bytes) -> None:
    read = decoded(content)

    assert said(read) == {"problem": "The properties cannot be read."}


@given(st.binary(max_size=200))
@example(b"\x20\x00" + struct.pack(">I", 5) + b"\x00" + b"S\xff\xff\xff\xff")
def test_nothing_is_raised_whatever_the_bytes_are(content: bytes) -> None:
    read = decoded(content)

    pika.BasicProperties(headers=read.headers).encode()  # what was read can be sent on
