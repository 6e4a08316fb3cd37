"""The token bucket of the rate limit, and the units that a process has taken from it."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from inventory_project.foundation.access import limits
from inventory_project.foundation.access.limits import Bucket, Limiter, RateLimited, Taken
from inventory_project.foundation.http import problems, throttling

SHOP, OTHER = "token:shop", "token:other"
RATE, BURST = 20, 100


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(settings: Settings) -> Clock:
    settings.RATE_LIMIT_PER_SECOND, settings.RATE_LIMIT_BURST = RATE, BURST
    settings.UNLIMITED_TOKENS = frozenset()
    return Clock()


def served(take: Callable[[str, int], object], actor: str, cost: int = 1, *, tries: int = 1_000) -> int:
    """How many of so many requests are served."""
    number = 0
    for _ in range(tries):
        try:
            take(actor, cost)
        except RateLimited:
            continue
        number += 1
    return number


# --- the bucket ------------------------------------------------------------------------------------------------------


def test_a_full_bucket_gives_what_is_needed_and_a_little_more() -> None:
    bucket = Bucket(10, 0.0)

    assert bucket.take(0.0, per_second=2, burst=10, least=3, more=2) == (5, 0.0)
    assert bucket.take(0.0, per_second=2, burst=10, least=3, more=9) == (5, 0.0)
    assert bucket.take(0.0, per_second=2, burst=10, least=3, more=2) == (0, 1.5)
    assert bucket.take(1.5, per_second=2, burst=10, least=3, more=2) == (3, 0.0)
    assert bucket.take(100.0, per_second=2, burst=10, least=10, more=99) == (10, 0.0)


@given(
    rate=st.integers(1, 1_000),
    burst=st.integers(1, 1_000),
    asked=st.lists(st.tuples(st.floats(0, 5), st.integers(0, 50), st.integers(0, 50)), max_size=50),
)
def test_a_bucket_never_gives_more_than_the_burst_and_what_was_added(
    rate: int, burst: int, asked: list[tuple[float, int, int]]
) -> None:
    bucket, now, total = Bucket(burst, 0.0), 0.0, 0
    for pause, least, more in asked:
        now += pause
        taken, wait = bucket.take(now, per_second=rate, burst=burst, least=least, more=more)
        total += taken
        assert taken == 0 or least <= taken <= least + more
        assert (wait > 0) == (taken < least)
    assert total <= burst + now * rate + 1e-6


# --- a process without others ----------------------------------------------------------------------------------------


def test_a_token_gets_its_burst_and_then_its_rate_and_another_one_its_own(clock: Clock) -> None:
    limiter = Limiter(clock=clock)

    assert served(limiter.take_now, SHOP) == BURST
    assert served(limiter.take_now, OTHER) == BURST
    clock.now += 1
    assert served(limiter.take_now, SHOP) == RATE
    assert served(limiter.take_now, OTHER, cost=7) == RATE // 7


def test_a_refusal_says_when_to_come_back_and_it_is_so(clock: Clock) -> None:
    limiter = Limiter(clock=clock)
    served(limiter.take_now, SHOP)

    with pytest.raises(RateLimited) as refusal:
        limiter.take_now(SHOP, 60)

    assert refusal.value.extra == {"retry_after": 3}
    body = problems.of_any(refusal.value)
    assert (body["status"], body["code"], body["retry_after"]) == (429, "rate_limited", 3)
    clock.now += 3
    limiter.take_now(SHOP, 60)


def test_a_refused_request_is_not_charged(clock: Clock) -> None:
    limiter = Limiter(clock=clock)
    assert served(limiter.take_now, SHOP, cost=BURST - 1, tries=2) == 1

    assert served(limiter.take_now, SHOP, cost=2, tries=50) == 0

    assert served(limiter.take_now, SHOP) == 1


def test_what_costs_more_than_the_burst_needs_a_full_bucket(clock: Clock) -> None:
    limiter = Limiter(clock=clock)

    assert served(limiter.take_now, SHOP, cost=10 * BURST, tries=2) == 1
    clock.now += BURST / RATE
    assert served(limiter.take_now, SHOP, cost=10 * BURST, tries=2) == 1


def test_units_that_are_given_back_can_be_used_again(clock: Clock) -> None:
    limiter = Limiter(clock=clock)
    served(limiter.take_now, SHOP)

    limiter.give_back(SHOP, 5)

    assert served(limiter.take_now, SHOP) == 5


@pytest.mark.parametrize(
    ("rate", "unlimited", "actor"),
    [
        (0, frozenset(), SHOP),
        (RATE, frozenset({"shop"}), SHOP),
        (RATE, frozenset(), "anonymous"),
        (RATE, frozenset(), "staff:ana"),
        (RATE, frozenset(), "event:order.created"),
    ],
)
def test_nothing_else_is_limited(
    clock: Clock, settings: Settings, rate: int, unlimited: frozenset[str], actor: str
) -> None:
    settings.RATE_LIMIT_PER_SECOND, settings.UNLIMITED_TOKENS = rate, unlimited

    assert served(Limiter(clock=clock).take_now, actor) == 1_000
    assert not limits.is_limited(actor)


# --- the shared bucket -----------------------------------------------------------------------------------------------


class Shared:
    """A bucket for several processes; it counts how often it is asked, and may not answer."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.bucket, self.asked, self.is_away = clock, Bucket(BURST, clock.now), 0, False

    def __call__(self, _actor: str, *, per_second: int, burst: int, least: int, more: int) -> Taken | None:
        self.asked += 1
        if self.is_away:
            return None
        return self.bucket.take(self.clock(), per_second=per_second, burst=burst, least=least, more=more)


def test_two_processes_share_one_burst_and_one_rate(clock: Clock) -> None:
    shared = Shared(clock)
    one, other = Limiter(shared, clock=clock), Limiter(shared, clock=clock)

    assert served(one.take_now, SHOP, tries=40) + served(other.take_now, SHOP) + served(one.take_now, SHOP) == BURST
    clock.now += 1
    assert served(one.take_now, SHOP, tries=5) + served(other.take_now, SHOP) + served(one.take_now, SHOP) == RATE


def test_the_shared_bucket_is_asked_for_a_few_requests_together(clock: Clock) -> None:
    shared = Shared(clock)
    limiter = Limiter(shared, clock=clock)

    served(limiter.take_now, SHOP, tries=BURST)

    chunk = int(RATE * limits.CHUNK_SECONDS)
    assert shared.asked == -(-BURST // (1 + chunk))


def test_a_token_at_its_limit_does_not_ask_at_each_request(clock: Clock) -> None:
    shared = Shared(clock)
    limiter = Limiter(shared, clock=clock)
    served(limiter.take_now, SHOP)
    shared.asked = 0

    served(limiter.take_now, SHOP, tries=10_000)

    assert shared.asked <= 1


def test_without_an_answer_a_process_counts_by_itself(clock: Clock) -> None:
    shared = Shared(clock)
    limiter = Limiter(shared, clock=clock)
    shared.is_away = True

    assert served(limiter.take_now, SHOP) == BURST


# --- on the event loop -----------------------------------------------------------------------------------------------


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def test_simultaneous_requests_on_the_event_loop_get_the_burst_and_no_more(
    clock: Clock, executor: ThreadPoolExecutor
) -> None:
    shared = Shared(clock)
    limiter = Limiter(shared, executor=executor, clock=clock)

    async def all_at_once() -> list[object]:
        return await asyncio.gather(*[limiter.take(SHOP, 1) for _ in range(300)], return_exceptions=True)

    results = asyncio.run(all_at_once())

    assert (results.count(None), sum(isinstance(result, RateLimited) for result in results)) == (BURST, 300 - BURST)
    assert shared.asked <= BURST // (1 + int(RATE * limits.CHUNK_SECONDS)) + 2


def test_a_request_that_finds_units_does_not_leave_the_event_loop(clock: Clock, executor: ThreadPoolExecutor) -> None:
    limiter = Limiter(Shared(clock), executor=executor, clock=clock)
    limiter.take_now(SHOP, 1)
    executor.shutdown()  # from here on it would raise

    with pytest.raises(StopIteration):
        limiter.take(SHOP, 1).send(None)


# --- costs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "cost"),
    [
        ({}, 1),
        ({"reason": "recall"}, 1),
        ({"items": [1, 2, 3]}, 3),
        ({"items": []}, 1),
        ({"items": 5}, 1),
        ({"product_ids": ["a", "b"]}, 2),
        ({"orders": [{"items": [1, 2]}, {"items": [1]}, {}]}, 4),
        ({"orders": []}, 1),
        ({"orders": [5, None]}, 2),
        ([1, 2], 1),
        (None, 1),
    ],
)
def test_a_request_costs_the_lines_or_products_that_it_names(body: object, cost: int) -> None:
    assert throttling.cost_of(body) == cost
