"""A body is read whole or not at all: no further than the limit, and never short because its client has left."""

import asyncio
from collections import deque
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from inventory_project.foundation.http import bodies
from inventory_project.foundation.http.bodies import ClientLeftError, Message, TooLargeError, TooShortError

LIMIT = 64
CHUNK = 16
LEFT: Message = {"type": "http.disconnect"}


@pytest.fixture(autouse=True)
def _limit(settings: Settings) -> None:
    settings.MAX_BODY_BYTES = LIMIT


def messages(*chunks: bytes) -> Iterator[Message]:
    """The chunks of a whole body, as the server passes them on."""
    for number, chunk in enumerate(chunks, start=1):
        yield {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}


def beginning(*chunks: bytes) -> Iterator[Message]:
    """The chunks of a body that has not ended."""
    for chunk in chunks:
        yield {"type": "http.request", "body": chunk, "more_body": True}


class Sender:
    """A client whose messages wait at the server, each taken once. `taken` counts those."""

    def __init__(self, *waiting: Message) -> None:
        self.waiting, self.taken = deque(waiting), 0

    async def receive(self) -> Message:
        self.taken += 1
        return self.waiting.popleft()

    def read(self, declared: str | None = None) -> bytes:
        """What is read of the body whose length was declared so."""
        headers = [(b"host", b"x")]
        if declared is not None:
            headers.append((b"content-length", declared.encode()))
        return asyncio.run(bodies.read({"type": "http", "headers": headers}, self.receive))


@pytest.mark.parametrize("declared", ["11", None])
def test_the_chunks_of_a_body_are_put_together_whether_or_not_its_length_is_declared(declared: str | None) -> None:
    sender = Sender(*messages(b'{"a"', b"", b": ", b"12", b"34", b"}"))
    assert sender.read(declared) == b'{"a": 1234}'
    assert sender.taken == 6


def test_nothing_is_read_after_the_end_of_a_body() -> None:
    sender = Sender(*messages(b"{}"), *messages(b"the next request"))
    assert sender.read("2") == b"{}"
    assert sender.taken == 1


@pytest.mark.parametrize("declared", ["0", None])
@pytest.mark.parametrize("end", [*messages(b""), {"type": "http.request"}, {"type": "http.request", "body": None}])
def test_a_request_without_a_body_has_an_empty_one(declared: str | None, end: Message) -> None:
    assert Sender(end).read(declared) == b""


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_body_at_the_limit_is_read_and_one_byte_more_is_too_large(is_declared: bool) -> None:
    full = b"x" * LIMIT
    assert Sender(*messages(full)).read(str(LIMIT) if is_declared else None) == full
    with pytest.raises(TooLargeError):
        Sender(*messages(full + b"x")).read(str(LIMIT + 1) if is_declared else None)


@pytest.mark.parametrize("declared", [str(LIMIT + 1), "9" * 18])
def test_a_declared_length_over_the_limit_is_refused_before_anything_is_read(declared: str) -> None:
    sender = Sender(*messages(b"x"))
    with pytest.raises(TooLargeError):
        sender.read(declared)
    assert sender.taken == 0


@pytest.mark.parametrize("declared", ["1", None])
def test_chunks_over_the_limit_are_refused_and_no_further_chunk_is_read(declared: str | None) -> None:
    sender = Sender(*beginning(*[b"x" * CHUNK] * 100))
    with pytest.raises(TooLargeError):
        sender.read(declared)
    assert sender.taken == LIMIT // CHUNK + 1


@pytest.mark.parametrize("chunks", [[], [b""], [b"{}"], [b"{", b"}"]])
@pytest.mark.parametrize("declared", ["2", None])
def test_of_a_client_that_leaves_before_the_end_nothing_is_taken_as_its_body(
    chunks: list[bytes], declared: str | None
) -> None:
    with pytest.raises(ClientLeftError):
        Sender(*beginning(*chunks), LEFT).read(declared)


def test_a_body_that_was_complete_is_read_though_its_client_has_left_since() -> None:
    assert Sender(*messages(b"{", b"}"), LEFT).read("2") == b"{}"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"items": [1]'])
def test_a_body_that_ends_before_its_declared_length_is_no_body(body: bytes) -> None:
    with pytest.raises(TooShortError):
        Sender(*messages(body)).read("14")
