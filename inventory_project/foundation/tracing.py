"""Trace context: which request or message caused an event, as CloudEvents extension attributes.

An HTTP request or a message sets them on entry. Each request to the domain keeps its own, and an event gets those of
the request that caused it. So requests that share one transaction do not share one trace.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

Extensions = Mapping[str, str]
Answer = TypeVar("Answer")

NOTHING: Extensions = {}  # a dict, because it is pickled and written as JSON
# https://www.w3.org/TR/trace-context/#traceparent-header: version ff and all-zero ids are invalid.
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
REQUEST_ID = re.compile(r"[ -~]{1,128}")

_carried: ContextVar[Extensions] = ContextVar("extensions", default=NOTHING)


class Carrier(Protocol):
    """A request to the domain that carries the extension attributes of its caller."""

    @property
    def extensions(self) -> Extensions: ...


Carrying = TypeVar("Carrying", bound=Carrier)


def current() -> Extensions:
    """The extension attributes of the request that this thread is deciding. Empty if no caller caused the work."""
    return _carried.get()


@contextmanager
def carrying(extensions: Extensions) -> Iterator[None]:
    """Make these the current extension attributes inside the block, and restore the previous ones afterwards."""
    token = _carried.set(extensions)
    try:
        yield
    finally:
        _carried.reset(token)


def decide_each(decide: Callable[[Carrying], Answer], requests: Iterable[Carrying]) -> list[Answer]:
    """Call `decide` for one request after the other, each under its own extension attributes."""
    answers = []
    with carrying(NOTHING):
        for request in requests:
            _carried.set(request.extensions)
            answers.append(decide(request))
    return answers


def of_headers(traceparent: str | None, request_id: str | None) -> dict[str, str]:
    """The extension attributes from these two headers. A malformed value is dropped: anybody may send anything."""
    extensions = {}
    if traceparent and TRACEPARENT.fullmatch(traceparent):
        extensions["traceparent"] = traceparent
    if request_id and is_request_id(request_id):
        extensions["requestid"] = request_id
    return extensions


def is_request_id(text: str) -> bool:
    """Whether the text can be a request id: 1 to 128 printable ASCII characters."""
    return REQUEST_ID.fullmatch(text) is not None
