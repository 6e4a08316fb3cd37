"""Reads bodies in their usual form with msgspec, 20 times as fast as the strict parser and the serializers.

With ASCII only and without escapes, msgspec and the strict parser agree on everything but names that stand twice in an
object, of which msgspec takes the last. Those show in the number of quotation marks. Whatever is not read here may be
right or wrong: the strict parser finds out and says it.
"""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct, UnsetType

from inventory_project.foundation.values import CANONICAL_UUID

QUOTES = 2  # around each name and each text
Body = TypeVar("Body", bound=Struct)

UUIDText = Annotated[str, Meta(pattern=rf"^{CANONICAL_UUID}\Z", max_length=36)]


def read(decoder: msgspec.json.Decoder[Body], body: bytes) -> Body | None:
    """The body as the decoder's type; None if it is not in its usual form."""
    if not body.isascii() or b"\\" in body:
        return None
    try:
        found = decoder.decode(body)
    except msgspec.MsgspecError:
        return None
    return found if quotes(found) == body.count(b'"') else None


def quotes(value: object) -> int:
    """How many quotation marks the value needs as JSON."""
    if isinstance(value, str):
        return QUOTES
    if isinstance(value, list):
        return sum(map(quotes, value))
    if isinstance(value, Struct):
        given = [
            member for name in value.__struct_fields__ if not isinstance(member := getattr(value, name), UnsetType)
        ]
        return QUOTES * len(given) + sum(map(quotes, given))
    return 0
