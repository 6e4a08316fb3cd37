"""An answer in one message is the same as in the two of ASGI: status, headers, body, and if the connection stays."""

import asyncio
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from inventory_project.foundation.http import answers
from inventory_project.foundation.http.answers import WHOLE_ANSWER, Answer
from inventory_project.foundation.http.connections import Cycle
from inventory_project.foundation.http.lines import NEWLINE

DATE = [(b"date", b"Mon, 30 Nov 2026 12:00:00 GMT")]
ANSWERS = [
    Answer(200, {"status": "ok"}),
    Answer(201, {"id": "a"}, location="/api/inventory/reservations/a"),
    Answer(409, {"code": "insufficient_stock"}),
    Answer(503, {"code": "overloaded"}),
]


class Transport(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True


def sent(
    answer: Answer, *, is_whole: bool, keep_alive: bool = True, closes: bool = False, method: str = "GET"
) -> tuple[bytes, set[bytes], bytes, bool]:
    """The status line, the headers, the body, and whether the connection was closed."""
    transport, done = Transport(), []

    async def run() -> int:
        cycle = Cycle(
            scope={"method": method, "extensions": {WHOLE_ANSWER: {}} if is_whole else {}},  # type: ignore[typeddict-item]
            transport=transport,
            flow=FlowControl(transport),
            logger=None,  # type: ignore[arg-type]
            access_logger=None,  # type: ignore[arg-type]
            access_log=False,
            default_headers=DATE,
            message_event=asyncio.Event(),
            expect_100_continue=True,
            keep_alive=keep_alive,
            on_response=lambda: done.append(True),
        )
        length = await answers.send(cycle.scope, cycle.send, answer, allow="GET", closes=closes)  # type: ignore[arg-type]
        assert cycle.response_complete
        assert cycle.message_event.is_set()
        assert not cycle.waiting_for_100_continue
        return length

    length = asyncio.run(run())
    assert done == [True]
    head, _, body = transport.written.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    assert len(headers) == len(set(headers))
    assert method == "HEAD" or length == len(body) - len(NEWLINE)
    return status, set(headers), body, transport.is_closed


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: str(answer.status))
@pytest.mark.parametrize(("keep_alive", "closes"), [(True, False), (False, False), (True, True), (False, True)])
def test_in_one_message_it_is_the_same_as_in_two(answer: Answer, keep_alive: bool, closes: bool) -> None:
    whole = sent(answer, is_whole=True, keep_alive=keep_alive, closes=closes)
    assert whole == sent(answer, is_whole=False, keep_alive=keep_alive, closes=closes)
    status, headers, _, is_closed = whole
    assert status.startswith(b"HTTP/1.1 %d " % answer.status)
    assert is_closed == (closes or not keep_alive)
    assert (b"connection: close" in headers) == is_closed
    assert {b"allow: GET", *(b"%s: %s" % header for header in DATE)} <= headers


def test_an_answer_to_head_has_no_body() -> None:
    whole = sent(ANSWERS[0], is_whole=True, method="HEAD")
    assert whole == sent(ANSWERS[0], is_whole=False, method="HEAD")
    assert whole[2] == b""


def test_nothing_is_sent_to_a_client_that_has_left() -> None:
    transport = Transport()

    async def run() -> None:
        cycle = Cycle.__new__(Cycle)
        cycle.flow, cycle.disconnected, cycle.transport = FlowControl(transport), True, transport
        await answers.send({"extensions": {WHOLE_ANSWER: {}}}, cycle.send, ANSWERS[0])

    asyncio.run(run())
    assert transport.written == b""
