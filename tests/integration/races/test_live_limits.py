"""Many buyers with one token at once: it holds as much as it may, whichever processes they come to."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.test import override_settings

from inventory_project.foundation import database
from reservations.models import Reservation
from reservations.requests import Outcome
from tests import factories
from tests.integration.races import contestants, guards
from tests.processes import Crowd, Guard

BUYERS, UNITS, ORDERS = 16, 3, 4
TOKEN = "token:partner"
DELAY = partial(guards.delay, "reserve.after_lock", 0.01)
LIMIT = partial(override_settings, MAX_LIVE_UNITS_PER_TOKEN=UNITS * ORDERS + 1)


@contextmanager
def without_the_actors_lock() -> Iterator[None]:
    """What an actor holds is counted, and nothing keeps others from adding to it meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "lock_names", lambda _names: None)
        yield


def buy_at_once(crowd: Crowd, *without: Guard) -> list[Any]:
    """The answers to buyers with one token, of whom each wants a product of his own: no level's lock orders them."""
    products = [factories.product({factories.SP: 100}).pk for _ in range(BUYERS)]
    requests = [factories.reserve_request(product, UNITS, actor=TOKEN) for product in products]
    calls = [partial(contestants.reserve, request) for request in requests]
    return crowd.race(calls, within=[LIMIT, DELAY, *without])


def test_a_token_never_holds_more_than_it_may(audited_crowd: Crowd) -> None:
    answers = buy_at_once(audited_crowd)

    told = Counter("new" if isinstance(answer, Outcome) else answer.code for answer in answers)
    assert told == {"new": ORDERS, "live_limit": BUYERS - ORDERS}
    assert Reservation.objects.filter(actor=TOKEN, status="ACTIVE").count() == ORDERS


def test_control_without_the_lock_of_the_actor_it_holds_more(crowd: Crowd) -> None:
    answers = buy_at_once(crowd, without_the_actors_lock)

    assert sum(isinstance(answer, Outcome) for answer in answers) > ORDERS
