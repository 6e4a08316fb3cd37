"""Properties of a message with any bytes as its headers, as a client in C or a hostile one may send them."""

import struct
from typing import Any

import pika

EMPTY_TABLE = struct.pack(">I", 0)


def header(name: str, value: bytes) -> bytes:
    """A header of a table: its name, and the value with the letter of its type before it."""
    encoded = name.encode()
    return struct.pack("B", len(encoded)) + encoded + value


def nested(depth: int) -> bytes:
    """So many lists, each in the one before."""
    value = b""
    for _ in range(depth):
        value = b"A" + struct.pack(">I", len(value)) + value
    return value


def moment(seconds: int) -> bytes:
    """A timestamp."""
    return b"T" + struct.pack(">Q", seconds)


def double(number: float) -> bytes:
    return b"d" + struct.pack(">d", number)


def text(content: bytes) -> bytes:
    return b"S" + struct.pack(">I", len(content)) + content


class RawHeaders(pika.BasicProperties):
    """Properties whose headers are these bytes."""

    def __init__(self, *headers: bytes, **properties: Any) -> None:
        super().__init__(headers={}, **properties)
        self._table = b"".join(headers)

    def encode(self) -> list[bytes]:
        pieces = super().encode()
        pieces[pieces.index(EMPTY_TABLE)] = struct.pack(">I", len(self._table)) + self._table
        return pieces


# What pika cannot read, or can read and not send on.
UNREADABLE = {
    "the year 10000": moment(253_402_300_800),
    "2^63 seconds": moment(2**63),
    "3,000 lists": nested(3_000),
    "33 lists": nested(33),
    "a number over 2^63": double(1e300),
}
