"""What tests of the counters say and look at."""

from collections.abc import Sequence
from copy import deepcopy
from hashlib import sha1
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from stock.counters import copies
from stock.counters.copies import LevelCounter, ProductCounters
from tests.factories import RJ, SP

PUBLISH_WHATEVER_COMES = "redis.call('HSET', KEYS[1], unpack(ARGV))"

Commands = Sequence[tuple[str | int, ...]]


def use(url: str, settings: Settings) -> None:
    """Let the service use the Redis at this URL, with the time-outs that it has."""
    caches = deepcopy(settings.CACHES)
    caches["default"]["LOCATION"] = url
    settings.REDIS_URL, settings.CACHES = url, caches


def level(
    version: int,
    available: int = 5,
    reserved: int = 0,
    incoming: int = 0,
    *,
    is_sellable: bool = True,
    replenished: int = 0,
) -> LevelCounter:
    return LevelCounter(version, available, reserved, incoming, is_sellable, replenished)


def view(
    levels: dict[str, LevelCounter],
    *,
    product_id: UUID | None = None,
    threshold: int | None = None,
    is_blocked: bool = False,
) -> ProductCounters:
    return ProductCounters(product_id or uuid4(), threshold, is_blocked, levels)


def two_levels(version: int = 3, available: int = 5, *, product_id: UUID | None = None) -> ProductCounters:
    """A product at two warehouses."""
    return view({SP: level(version, available), RJ: level(version, available)}, product_id=product_id)


def standing(product_id: UUID) -> ProductCounters | None:
    """What the counters say of the product; None when they say nothing."""
    return copies.read([product_id]).get(product_id)


def publish_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For controls: what stands is overwritten by whoever comes last, as by a plain SET."""
    monkeypatch.setattr(copies, "PUBLISH", PUBLISH_WHATEVER_COMES)
    monkeypatch.setattr(copies, "PUBLISH_SHA", sha1(PUBLISH_WHATEVER_COMES.encode(), usedforsecurity=False).hexdigest())
