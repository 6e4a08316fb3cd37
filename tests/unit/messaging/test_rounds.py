"""Rounds: the messages of one order stay in their sequence, and as many as can be share a transaction."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from inventory_project.foundation.messaging.consumer import Task, rounds
from inventory_project.foundation.messaging.envelope import Message
from inventory_project.foundation.messaging.inbox import Received
from inventory_project.foundation.messaging.rabbitmq.messages import Delivery

Said = tuple[int, str]  # order, type


def tasks(*said: Said) -> list[Task]:
    return [
        Task(
            Delivery(
                tag=tag,
                exchange="",
                routing_key=type_,
                body=b"",
                message_id=None,
                content_type=None,
                correlation_id=None,
                headers={},
            ),
            Received(
                message=Message(source="s", id=str(tag), type=type_, data={}, extensions={}, tries=0),
                order_id=UUID(int=order),
                request=None,
            ),
        )
        for tag, (order, type_) in enumerate(said)
    ]


def words(groups: list[list[Task]]) -> list[list[Said]]:
    return [[(task.received.order_id.int, task.received.message.type) for task in group] for group in groups]


def test_no_messages_are_no_rounds() -> None:
    assert rounds([]) == []


def test_messages_of_one_type_for_several_orders_are_one_group() -> None:
    assert words(rounds(tasks((1, "c"), (2, "c"), (3, "c")))) == [[(1, "c"), (2, "c"), (3, "c")]]


def test_the_second_message_of_an_order_is_in_the_second_round_of_whatever_type_it_is() -> None:
    assert words(rounds(tasks((1, "c"), (1, "p"), (2, "c"), (2, "c"), (3, "p")))) == [
        [(1, "c"), (2, "c")],
        [(3, "p")],
        [(1, "p")],
        [(2, "c")],
    ]


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abc")), max_size=30))
def test_every_message_is_there_once_each_order_in_its_sequence_and_once_in_a_group(said: list[Said]) -> None:
    groups = rounds(tasks(*said))
    assert sorted(task.delivery.tag for group in groups for task in group) == list(range(len(said)))
    for order in {order for order, _ in said}:
        tags = [task.delivery.tag for group in groups for task in group if task.received.order_id.int == order]
        assert tags == sorted(tags)
    for group in groups:
        assert len({task.received.order_id for task in group}) == len(group)
        assert len({task.received.message.type for task in group}) == 1
    most = max((sum(order == other for other, _ in said) for order, _ in said), default=0)
    assert len(groups) <= 3 * most
