"""Strict JSON: a document that this parser accepts means the same to every other parser.

RFC 8259 lets each parser choose what to do about duplicate keys, numbers out of range and lone surrogates. Here all of
them are refused, and the refusal names the place. The body limit bounds the cost of refusing.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.utils.http import parse_header_parameters
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser

from inventory_project.foundation.errors import Invalid

MAX_DEPTH = 32
MAX_DIGITS = 20  # 2^63 has 19; longer numbers fit no column, and int() of thousands of digits is slow
SHOWN_CHARACTERS = 100  # of a caller's name that a message repeats
UTF8_NAMES = ("utf-8", "utf8")

# A string, closed or not, is one token: brackets inside it are skipped, and the scan stays linear.
_STRINGS_AND_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)


class _Refused:
    """Replaces a refused value in the parsed document, so that `_check` can report its path."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class StrictJSONParser(BaseParser):
    """Parses `application/json` in UTF-8 with an object at the top. An empty body counts as an empty object.

    Raises `Invalid` for any other body, and UnsupportedMediaType for another charset.
    """

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The JSON object in the body."""
        _, parameters = parse_header_parameters(media_type or "")
        if parameters.get("charset", "utf-8").lower() not in UTF8_NAMES:
            raise UnsupportedMediaType(media_type or "", detail="JSON is read as UTF-8 and in no other charset.")
        return parse_object(stream.read())


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; `{}` if it is empty. Raises `Invalid`, which says what is wrong and where."""
    if not body:
        return {}
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"The body is not UTF-8: byte {error.start} cannot be read.") from None
    _refuse_deep_nesting(text)
    try:
        document = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_whole_number,
            parse_float=_fraction,
            parse_constant=lambda name: _Refused(f"{name} is not a JSON number."),
        )
    except json.JSONDecodeError as error:
        wrong = error.msg.removesuffix(" at")  # only some of Python's messages end in it
        raise Invalid(f"The body is not JSON: {wrong} at line {error.lineno}, column {error.colno}.") from None
    _check(document, "")
    if not isinstance(document, dict):
        raise Invalid(f"The body must be a JSON object, not {json_type(document)}.")
    return document


def json_type(value: object) -> str:
    """The name of the value's JSON type, with its article."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _refuse_deep_nesting(text: str) -> None:
    """Raise `Invalid` before parsing, because the parser recurses: 20,000 brackets would exhaust the stack."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return
    depth = 0
    for match in _STRINGS_AND_BRACKETS.finditer(text):
        if match[0] in ("{", "["):
            depth += 1
            if depth > MAX_DEPTH:
                raise Invalid(f"The body is nested deeper than {MAX_DEPTH} levels, at character {match.start()}.")
        elif match[0] in ("}", "]"):
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> "dict[str, Any] | _Refused":
    document = dict(pairs)
    if len(document) == len(pairs):
        return document
    counts = Counter(key for key, _ in pairs)
    repeated = next(key for key, count in counts.items() if count > 1)
    return _Refused(f"The name '{harmless(repeated)}' stands twice in one object.")


def _whole_number(digits: str) -> "int | _Refused":
    if len(digits.lstrip("-")) > MAX_DIGITS:
        return _Refused(f"The number has {len(digits.lstrip('-'))} digits; {MAX_DIGITS} are the most.")
    return int(digits)


def _fraction(digits: str) -> "float | _Refused":
    number = float(digits)
    return number if math.isfinite(number) else _Refused("The number is too large.")


def _check(value: object, path: str) -> None:
    """Raise `Invalid` for the first value that is not allowed. MAX_DEPTH bounds the recursion."""
    if isinstance(value, str):
        if reason := _unstorable(value):
            _refuse(path, f"The text holds {reason}.")
    elif isinstance(value, dict):
        for key, member in value.items():
            if reason := _unstorable(key):
                _refuse(path, f"The name '{harmless(key)}' holds {reason}.")
            _check(member, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for i, member in enumerate(value):
            _check(member, f"{path}[{i}]")
    elif isinstance(value, _Refused):
        _refuse(path, value.reason)


def _unstorable(text: str) -> str | None:
    """The name of a character in the text that no database column can hold, or None."""
    if "\0" in text:
        return "the character U+0000"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "half of a surrogate pair"
    return None


def _refuse(path: str, reason: str) -> NoReturn:
    field = harmless(path)
    where = f"at {field}" if field else "at the top of the body"
    raise Invalid(f"{reason[:-1]}, {where}.", errors=[{"field": field, "code": "invalid", "detail": reason}])


def harmless(name: str) -> str:
    """A name that the caller sent, shortened and escaped so that a message can repeat it."""
    cut = name if len(name) <= SHOWN_CHARACTERS else name[:SHOWN_CHARACTERS] + "..."
    return cut.encode("utf-8", "backslashreplace").decode().replace("\0", "\\u0000")
