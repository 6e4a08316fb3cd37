"""Whose doing it is: the CloudEvents extension attributes of what is being decided, for the events that come of it.

A request or a message sets them where it comes in, each request to the domain keeps its own, and an event takes those
of the request that caused it. So a caller whose request shares a transaction with others' does not lend them its trace.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

Extensions = Mapping[str, str]
Answer = TypeVar("Answer")

NOTHING: Extensions = {}  # a dict, for it is pickled and written as JSON
# https://www.w3.org/TR/trace-context/#traceparent-header: version ff and ids of zeros alone are invalid.
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
REQUEST_ID = re.compile(r"[ -~]{1,128}")

_carried: ContextVar[Extensions] = ContextVar("extensions", default=NOTHING)


class Carrier(Protocol):
    """A request that knows where it comes from."""

    @property
    def extensions(self) -> Extensions: ...


Carrying = TypeVar("Carrying", bound=Carrier)


def current() -> Extensions:
    """The extension attributes of what is being decided in this thread; empty where nobody asked for it."""
    return _carried.get()


@contextmanager
def carrying(extensions: Extensions) -> Iterator[None]:
    """What happens inside is the doing of these; as before afterwards."""
    token = _carried.set(extensions)
    try:
        yield
    finally:
        _carried.reset(token)


def decide_each(decide: Callable[[Carrying], Answer], requests: Iterable[Carrying]) -> list[Answer]:
    """`decide` of one request after the other, each the doing of its own extension attributes."""
    answers = []
    with carrying(NOTHING):
        for request in requests:
            _carried.set(request.extensions)
            answers.append(decide(request))
    return answers


def of_headers(traceparent: str | None, request_id: str | None) -> dict[str, str]:
    """The attributes that these two say, the well-formed ones; anybody may send anything."""
    extensions = {}
    if traceparent and TRACEPARENT.fullmatch(traceparent):
        extensions["traceparent"] = traceparent
    if request_id and is_request_id(request_id):
        extensions["requestid"] = request_id
    return extensions


def is_request_id(text: str) -> bool:
    """1 to 128 printable ASCII characters."""
    return REQUEST_ID.fullmatch(text) is not None
