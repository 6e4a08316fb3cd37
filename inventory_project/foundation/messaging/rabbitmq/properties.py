"""Reads the properties of a message, whatever its headers are.

pika ends the connection if it cannot decode a header, such as a timestamp after the year 9999. The message then comes
again over the next connection, and ends that one too. So importing this module replaces pika's class for properties by
one that reads what it can, and notes what it cannot.
"""

import struct
from typing import Any, Self

from pika import data, spec

MAX_BYTES = 65_536  # of all properties; together with our own headers they must fit into a frame of 131,072 bytes
MAX_DEPTH = 32  # of lists and tables in a header
MAX_NAME = 64  # characters of a header's name that `problem` quotes

_EMPTY_TABLE = struct.pack(">I", 0)
_BEFORE_THE_HEADERS = (spec.BasicProperties.FLAG_CONTENT_TYPE, spec.BasicProperties.FLAG_CONTENT_ENCODING)
_WITH_LENGTH = (b"S", b"x", b"A", b"F")  # values that begin with their length: texts, bytes, lists, tables
_SIZES = {
    **dict.fromkeys((b"t", b"b", b"B"), 1),
    **dict.fromkeys((b"U", b"u", b"s"), 2),
    **dict.fromkeys((b"I", b"i", b"f"), 4),
    **dict.fromkeys((b"L", b"l", b"d", b"T"), 8),
    b"D": 5,
    b"V": 0,
}  # bytes of a value of each other type


class Properties(spec.BasicProperties):
    """The properties of a message that was received.

    `problem` is empty, or a sentence that says what could not be read. A header that cannot be read is None; if the
    properties are too large, there are no headers.
    """

    problem = ""

    def decode(self, encoded: bytes, offset: int = 0) -> Self:
        """Read the properties from a frame. Raises nothing, because pika would end the connection."""
        try:
            self._decode(encoded, offset)
        except Exception:
            self.__init__()  # type: ignore[misc]  # without what was read so far, which may be wrong
            self.problem = "The properties cannot be read."
        return self

    def _decode(self, encoded: bytes, offset: int) -> None:
        begin, end = _place_of_headers(encoded, offset)
        if begin == end:
            super().decode(encoded, offset)
            return
        super().decode(encoded[:begin] + _EMPTY_TABLE + encoded[end:], offset)
        if len(encoded) > MAX_BYTES:
            self.problem = f"The properties have {len(encoded)} bytes; {MAX_BYTES} are the most."
            return
        self.headers, unreadable = _read(encoded[begin + len(_EMPTY_TABLE) : end])
        if unreadable:
            self.problem = f"The header {unreadable[0][:MAX_NAME]!r} cannot be read."


def _place_of_headers(encoded: bytes, offset: int) -> tuple[int, int]:
    """Where the table of headers begins, with its length, and where it ends; the same place if there is none."""
    [flags] = struct.unpack_from(">H", encoded, offset)
    place = offset + 2
    if not flags & spec.BasicProperties.FLAG_HEADERS:
        return place, place
    for flag in _BEFORE_THE_HEADERS:
        if flags & flag:
            place += 1 + encoded[place]
    [length] = struct.unpack_from(">I", encoded, place)
    return place, place + len(_EMPTY_TABLE) + length


def _read(table: bytes) -> tuple[dict[Any, Any], list[str]]:
    """The headers in a table, and the names of those that cannot be read."""
    headers: dict[Any, Any] = {}
    unreadable: list[str] = []
    offset = 0
    while offset < len(table):
        name, offset = data.decode_short_string(table, offset)
        try:
            headers[name] = _value(table, offset)
        except Exception:  # of any kind: a message of another program must not end the connection
            headers[name] = None
            unreadable.append(str(name))
        offset = _end_of_value(table, offset)
    return headers, unreadable


def _value(table: bytes, offset: int) -> Any:
    """The value at this place. Raises an error of any kind if it cannot be read, or could not be sent on."""
    value, _ = data.decode_value(table, offset)
    layer: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        layer = [inner for each in layer for inner in _inside(each)]
    if layer:
        raise ValueError("nested too deep")
    data.encode_value([], value)
    return value


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _end_of_value(table: bytes, offset: int) -> int:
    """Where the value ends, whether or not it can be read. After one of an unknown type nothing can be read."""
    kind, begin = table[offset : offset + 1], offset + 1
    if kind in _SIZES:
        return begin + _SIZES[kind]
    if kind in _WITH_LENGTH:
        [length] = struct.unpack_from(">I", table, begin)
        return int(begin + 4 + length)
    return len(table)


spec.props[spec.BasicProperties.INDEX] = Properties
