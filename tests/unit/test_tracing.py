"""What is carried to the events of a request: the well-formed, and only while the request is decided."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from inventory_project.foundation import tracing

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("traceparent", "request_id", "taken"),
    [
        (TRACE, "call-1", {"traceparent": TRACE, "requestid": "call-1"}),
        (TRACE.replace("00-", "cc-", 1), None, {"traceparent": TRACE.replace("00-", "cc-", 1)}),
        (None, "a b~!", {"requestid": "a b~!"}),
        (None, "x" * 128, {"requestid": "x" * 128}),
        (None, None, {}),
        ("", "", {}),
        (None, "x" * 129, {}),
        (None, "é", {}),
        (None, "a\nb", {}),
        (None, "a\n", {}),
        (TRACE.upper(), None, {}),
        (TRACE + "\n", None, {}),
        (" " + TRACE, None, {}),
        (TRACE + "-00", None, {}),
        (TRACE[:-1], None, {}),
        (TRACE.replace("00-", "ff-", 1), None, {}),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None, {}),
        (f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", None, {}),
        ("4bf92f3577b34da6a3ce929d0e0e4736", None, {}),
    ],
)
def test_only_what_is_well_formed_is_taken(
    traceparent: str | None, request_id: str | None, taken: dict[str, str]
) -> None:
    assert tracing.of_headers(traceparent, request_id) == taken


def test_what_is_carried_ends_with_what_carried_it() -> None:
    assert tracing.current() == {}
    with tracing.carrying({"requestid": "outer"}):
        with tracing.carrying({"requestid": "inner"}):
            assert tracing.current() == {"requestid": "inner"}
        assert tracing.current() == {"requestid": "outer"}
        with pytest.raises(ZeroDivisionError), tracing.carrying({"requestid": "inner"}):
            raise ZeroDivisionError
        assert tracing.current() == {"requestid": "outer"}
    assert tracing.current() == {}


@dataclass
class Asked:
    extensions: Mapping[str, str]


def test_each_request_is_decided_with_its_own() -> None:
    requests = [Asked({"requestid": "a"}), Asked({}), Asked({"requestid": "b"})]
    with tracing.carrying({"requestid": "leader"}):
        assert tracing.decide_each(lambda _: tracing.current(), requests) == [
            {"requestid": "a"},
            {},
            {"requestid": "b"},
        ]
        assert tracing.current() == {"requestid": "leader"}


def test_a_failure_leaves_nothing_behind() -> None:
    with tracing.carrying({"requestid": "leader"}):
        with pytest.raises(ZeroDivisionError):
            tracing.decide_each(lambda _: 1 / 0, [Asked({"requestid": "a"})])
        assert tracing.current() == {"requestid": "leader"}
