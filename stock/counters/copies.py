"""Redis, as far as this service knows it. Nothing is decided by what Redis says, and nothing fails without it.

A product's counters are one hash, `stock:<product id>`: for each warehouse a field
`version:available:reserved:incoming:is_sellable:replenished`, and the field `_` with
`version:low_stock_threshold:is_blocked:number of warehouses`. They are copies of committed rows, written after the
commit, each only if its version is newer than the one that stands (publish.lua), so late and repeated writes change
nothing. The version in `_` is the sum of its levels' versions and their number, which rises with each change of any
of them and with each new one.

A hash whose fields do not add up to what `_` says, or with anything invalid in it, counts as missing. Every call has a
short time-out, is not repeated by the client, and goes through a breaker: a Redis that is unreachable or frozen costs
next to nothing.
"""

import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha1
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import hiredis
from django.conf import settings
from django_redis import get_redis_connection
from prometheus_client import Counter
from redis.exceptions import NoScriptError, RedisError, ResponseError

from stock.counters.breaker import Breaker

PUBLISH = (Path(__file__).parent / "publish.lua").read_text(encoding="utf-8")
PUBLISH_SHA = sha1(PUBLISH.encode(), usedforsecurity=False).hexdigest()
SUMMARY = "_"  # the field beside those of the warehouses; no warehouse id begins with it
PROBE_INTERVAL_MS = 200
SECONDS_A_COMMAND = 0.002  # at most, on average
PIPELINE_COMMANDS = 1_000  # in one round trip at most: what waits in memory, here and there, stays small

_NUMBER = rb"(\d{1,15})"  # as in publish.lua, whose numbers are doubles
_LEVEL = re.compile(rb":".join([_NUMBER] * 4) + rb":([01]):" + _NUMBER)
_SUMMARY = re.compile(_NUMBER + rb":(\d{0,15}):([01]):" + _NUMBER)

Command = tuple[str | int, ...]
Fields = Mapping[str, str]

# The fields that expected_fields makes. `_` repeats what the levels say of their product, as the ledger
# does: to join the products' rows would cost more than all the rest.
EXPECTED = """
SELECT array_agg(product_id), json_agg(json_build_array(fields, summary))::text FROM (
  SELECT product_id,
         json_object_agg(warehouse_id, concat_ws(':', version, available, reserved, incoming,
                                                 (NOT is_blocked AND NOT is_closed)::int, replenished)) AS fields,
         concat_ws(':', sum(version) + count(*), coalesce(max(low_stock_threshold)::text, ''), bool_or(is_blocked)::int,
                   count(*)) AS summary
  FROM stock_level WHERE {condition} GROUP BY product_id) AS of_products
"""

counter_failures = Counter(
    "inventory_counter_failures",
    "Calls to Redis that brought nothing: no_answer, refused, or not made while Redis does not answer (breaker_open).",
    ["operation", "reason"],
)
breaker = Breaker("Redis")


class LevelCounter(NamedTuple):  # a dataclass takes three times as long to make, and one is made for each field read
    """One warehouse of one product, as the row of this version has it; `available` is the row's, sellable or not."""

    version: int
    available: int
    reserved: int
    incoming: int
    is_sellable: bool
    replenished: int

    @property
    def sellable(self) -> int:
        """Units that may be sold."""
        return self.available if self.is_sellable else 0


@dataclass(frozen=True, slots=True)
class ProductCounters:
    """What Redis has of one product; `levels` by warehouse id.

    `threshold` is the product's own low_stock_threshold, None where LOW_STOCK_THRESHOLD holds.
    """

    product_id: UUID
    threshold: int | None
    is_blocked: bool
    levels: dict[str, LevelCounter]


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters that are there, whole and valid, as Redis had them at `at` by its clock.

    They are as of then or newer, but for a commit that Redis was not told of: until the next one, or the next sync.
    """

    products: dict[UUID, ProductCounters]
    at: datetime


def publish(
    views: Iterable[ProductCounters], *, whole: bool, hold_ends: Mapping[UUID, timedelta | None] | None = None
) -> bool:
    """Write what is newer than Redis has, in one round trip; False when Redis did not take all of it.

    `whole`: the views have all levels of their products. Otherwise only the fields of these levels are written; where
    the product has no hash yet, they alone count as missing, and keep an older whole from taking their place.
    `hold_ends` is how long each hold still lasts, None for one that has ended: the keys `reservation:<id>`, by whose
    time to live a person may look. Never raises.
    """
    commands = [_publish_command(view, whole=whole) for view in views if view.levels]
    for reservation_id, lasts in (hold_ends or {}).items():
        key = f"reservation:{reservation_id}"
        left_ms = 0 if lasts is None else lasts // timedelta(milliseconds=1)
        commands.append(("SET", key, "1", "PX", left_ms) if left_ms > 0 else ("DEL", key))
    answers = _ask("publish", commands)
    if answers is None:
        return False
    forgotten = [
        command for command, answer in zip(commands, answers, strict=True) if isinstance(answer, NoScriptError)
    ]
    if forgotten:
        again = _ask("publish", [("EVAL", PUBLISH, *command[2:]) for command in forgotten])
        if again is None:
            return False
        answers = [answer for answer in answers if not isinstance(answer, NoScriptError)] + again
    return not _is_refused("publish", answers)


def read(product_ids: Collection[UUID]) -> dict[UUID, ProductCounters]:
    """Those of the products whose counters are there, whole and valid; none when Redis is unreachable. Never raises."""
    reading = read_at(product_ids)
    return {} if reading is None else reading.products


def read_at(product_ids: Collection[UUID]) -> Reading | None:
    """`read` with its moment; None when Redis is unreachable. Never raises."""
    answers = _ask("read", [("TIME",), *(("HGETALL", _key(product_id)) for product_id in product_ids)])
    if answers is None or _is_refused("read", answers[:1]):
        return None
    (seconds, microseconds), *hashes = answers
    found = {}
    for product_id, answer in zip(product_ids, hashes, strict=True):
        counters = _parsed(product_id, _fields(answer))
        if counters is not None:
            found[product_id] = counters
    return Reading(found, datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(microseconds)))


def read_raw(product_ids: Collection[UUID]) -> dict[UUID, dict[str, str]] | None:
    """Every field as it stands, invalid ones too, to compare with `expected_fields`; None when Redis did not answer.

    Empty for a product without a hash, and for one whose key is of another type.
    """
    answers = _ask("read", [("HGETALL", _key(product_id)) for product_id in product_ids])
    if answers is None:
        return None
    return {
        product_id: {
            name.decode(errors="replace"): text.decode(errors="replace") for name, text in _fields(answer).items()
        }
        for product_id, answer in zip(product_ids, answers, strict=True)
    }


def expected_fields(view: ProductCounters) -> dict[str, str]:
    """The hash that a whole view stands for."""
    levels = view.levels.values()
    version = sum(level.version for level in levels) + len(levels)
    threshold = "" if view.threshold is None else view.threshold
    return {SUMMARY: f"{version}:{threshold}:{view.is_blocked:d}:{len(levels)}", **_level_fields(view)}


def from_fields(product_id: UUID, fields: Fields) -> ProductCounters:
    """The whole view that the fields stand for, which are as EXPECTED or `expected_fields` writes them."""
    _, threshold, is_blocked, _ = fields[SUMMARY].split(":")
    levels = {}
    for warehouse_id, text in fields.items():
        if warehouse_id != SUMMARY:
            version, available, reserved, incoming, is_sellable, replenished = map(int, text.split(":"))
            levels[warehouse_id] = LevelCounter(version, available, reserved, incoming, is_sellable == 1, replenished)
    return ProductCounters(product_id, int(threshold) if threshold else None, is_blocked == "1", levels)


def probe(product_ids: Collection[UUID]) -> set[UUID] | None:
    """For which of the products the caller is the one of this interval that asks the database all the same.

    None: Redis does not answer or takes no writes, so there is nothing that could turn anybody away. Never raises.
    """
    answers = _ask(
        "probe", [("SET", f"probe:{product_id}", "1", "NX", "PX", PROBE_INTERVAL_MS) for product_id in product_ids]
    )
    if answers is None or _is_refused("probe", answers):
        return None
    return {product_id for product_id, is_first in zip(product_ids, answers, strict=True) if is_first}


def forget(product_ids: Collection[UUID]) -> bool:
    """Take the products' counters away, whatever they say; False when Redis did not. Never raises."""
    answers = _ask("forget", [("DEL", _key(product_id)) for product_id in product_ids])
    return answers is not None and not _is_refused("forget", answers)


def is_reachable() -> bool:
    """Whether Redis answers now, past the breaker; False as well where none is configured."""
    if not settings.REDIS_URL:
        return False
    try:
        return bool(get_redis_connection("default").ping())
    except RedisError:
        return False


# --- the form of the hash ------------------------------------------------------------------------------------------


def _key(product_id: UUID) -> str:
    return f"stock:{product_id}"


def _level_fields(view: ProductCounters) -> dict[str, str]:
    return {
        warehouse_id: (
            f"{level.version}:{level.available}:{level.reserved}:{level.incoming}:{level.is_sellable:d}"
            f":{level.replenished}"
        )
        for warehouse_id, level in view.levels.items()
    }


def _publish_command(view: ProductCounters, *, whole: bool) -> Command:
    fields = expected_fields(view) if whole else _level_fields(view)
    return ("EVALSHA", PUBLISH_SHA, 1, _key(view.product_id), *chain.from_iterable(fields.items()))


def _fields(answer: Any) -> dict[bytes, bytes]:
    """The hash in an answer to HGETALL; empty for a key of another type."""
    if isinstance(answer, ResponseError):
        return {}
    if isinstance(answer, dict):  # with ?protocol=3 in REDIS_URL
        return answer
    return dict(zip(answer[::2], answer[1::2], strict=True))


def _parsed(product_id: UUID, fields: dict[bytes, bytes]) -> ProductCounters | None:
    """The counters that a hash holds; None unless all of it is as `publish` would have written it."""
    summary = _SUMMARY.fullmatch(fields.pop(b"_", b""))
    if summary is None or len(fields) != int(summary[4]):
        return None
    levels = {}
    versions = len(fields)
    for name, text in fields.items():
        level = _parsed_level(text)
        if level is None or not name.isascii():
            return None
        levels[name.decode()] = level
        versions += level.version
    if versions < int(summary[1]):
        return None  # a level older than one that stood here before
    return ProductCounters(product_id, int(summary[2]) if summary[2] else None, summary[3] == b"1", levels)


@lru_cache(maxsize=4_096)  # the same texts come again and again; so many take 2 MB
def _parsed_level(text: bytes) -> LevelCounter | None:
    level = _LEVEL.fullmatch(text)
    if level is None:
        return None
    version, available, reserved, incoming, is_sellable, replenished = level.groups()
    return LevelCounter(
        int(version), int(available), int(reserved), int(incoming), is_sellable == b"1", int(replenished)
    )


# --- the way to Redis ----------------------------------------------------------------------------------------------


def _ask(operation: str, commands: Sequence[Command]) -> list[Any] | None:
    """Redis' answers, refusals among them; None when it did not answer, was not asked, or there is no Redis."""
    if not settings.REDIS_URL:
        return None
    answers: list[Any] = []
    for begin in range(0, len(commands), PIPELINE_COMMANDS):
        if not breaker.allows():
            counter_failures.labels(operation, "breaker_open").inc()
            return None
        try:
            answers += _answers(commands[begin : begin + PIPELINE_COMMANDS])
        except (RedisError, OSError):
            breaker.failed()
            counter_failures.labels(operation, "no_answer").inc()
            return None
        breaker.succeeded()
    return answers


def _answers(commands: Sequence[Command]) -> list[Any]:
    """The answers as they come, all in one round trip; by hand, for redis-py's pipeline takes three times as long."""
    pool = get_redis_connection("default").connection_pool
    connection = pool.get_connection()
    try:
        packed = b"".join(map(hiredis.pack_command, commands))  # type: ignore[arg-type]  # the stub knows one-tuples alone
        connection.send_packed_command([packed])
        until = time.monotonic() + settings.REDIS_TIMEOUT_SECONDS + len(commands) * SECONDS_A_COMMAND
        return [_answer(connection, until) for _ in commands]
    except BaseException:
        connection.disconnect()  # with answers under way that the next caller would take for its own
        raise
    finally:
        pool.release(connection)


def _answer(connection: Any, until: float) -> Any:
    """The next answer. Raises TimeoutError past `until`: the socket's own time-out begins anew with each drop."""
    if time.monotonic() > until:
        raise TimeoutError("Redis answers too slowly.")
    try:
        return connection.read_response()
    except ResponseError as refusal:
        return refusal


def _is_refused(operation: str, answers: Iterable[Any]) -> bool:
    is_refused = any(isinstance(answer, ResponseError) for answer in answers)
    if is_refused:
        counter_failures.labels(operation, "refused").inc()
    return is_refused
