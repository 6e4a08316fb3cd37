"""The counters in Redis: writing, reading and deleting them. No sale is decided by Redis, and nothing fails without it.

A product's counters are one hash, `stock:<product id>`: for each warehouse a field
`version:available:reserved:incoming:is_sellable:replenished`, and the field `_` with
`version:low_stock_threshold:is_blocked:number of warehouses`. They are copies of committed rows, written after the
commit, each only if its version is newer than the stored one (publish.lua), so late and repeated writes change
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

from inventory_project.foundation.breaker import Breaker

PUBLISH = (Path(__file__).parent / "publish.lua").read_text(encoding="utf-8")
PUBLISH_SHA = sha1(PUBLISH.encode(), usedforsecurity=False).hexdigest()
SUMMARY = "_"  # the field for the whole product; no warehouse id begins with it
PROBE_INTERVAL_MS = 200
SECONDS_A_COMMAND = 0.002  # at most, on average
PIPELINE_COMMANDS = 1_000  # in one round trip at most, so that the buffers on both sides stay small

_NUMBER = rb"(\d{1,15})"  # as in publish.lua, whose numbers are doubles
_LEVEL = re.compile(rb":".join([_NUMBER] * 4) + rb":([01]):" + _NUMBER)
_SUMMARY = re.compile(_NUMBER + rb":(\d{0,15}):([01]):" + _NUMBER)

Command = tuple[str | int, ...]
Fields = Mapping[str, str]

# The same fields as expected_fields writes. `_` is computed from the levels, as in the ledger, because joining the
# products' rows would cost more than all the rest.
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
    "Calls to Redis without a result: no_answer, refused, or skipped while Redis does not answer (breaker_open).",
    ["operation", "reason"],
)
breaker = Breaker("Redis")


class LevelCounter(NamedTuple):  # a dataclass takes three times as long to create, and each field read creates one
    """The counter of one product at one warehouse, at one version. `available` is the row's number, sellable or not."""

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
    """The complete and valid counters that Redis had at `at` by its own clock.

    They are at least that new, except for a commit that did not reach Redis; the next commit or sync corrects that.
    """

    products: dict[UUID, ProductCounters]
    at: datetime


def publish(
    views: Iterable[ProductCounters], *, whole: bool, hold_ends: Mapping[UUID, timedelta | None] | None = None
) -> bool:
    """Write what is newer than in Redis, in one round trip. Returns False if Redis did not accept all of it.

    `whole`: the views have all levels of their products. Otherwise only the fields of these levels are written. If the
    product has no hash yet, such a partial hash still counts as missing, but an older whole view cannot overwrite it.
    `hold_ends` is how long each hold still lasts, None for one that has ended. It sets the keys `reservation:<id>`,
    which only people look at. Never raises.
    """
    commands = [_publish_command(view, whole=whole) for view in views if view.levels]
    for reservation_id, lasts in (hold_ends or {}).items():
        key = f"reservation:{reservation_id}"
        left_ms = 0 if lasts is None else lasts // timedelta(milliseconds=1)
        commands.append(("SET", key, "1", "PX", left_ms) if left_ms > 0 else ("DEL", key))
    answers = ask("publish", commands)
    if answers is None:
        return False
    forgotten = [
        command for command, answer in zip(commands, answers, strict=True) if isinstance(answer, NoScriptError)
    ]
    if forgotten:
        again = ask("publish", [("EVAL", PUBLISH, *command[2:]) for command in forgotten])
        if again is None:
            return False
        answers = [answer for answer in answers if not isinstance(answer, NoScriptError)] + again
    return not _is_refused("publish", answers)


def read(product_ids: Collection[UUID]) -> dict[UUID, ProductCounters]:
    """The complete and valid counters of these products; none if Redis is unreachable. Never raises."""
    reading = read_at(product_ids)
    return {} if reading is None else reading.products


def read_at(product_ids: Collection[UUID]) -> Reading | None:
    """Like `read`, with the time of the reading; None if Redis is unreachable. Never raises."""
    answers = ask("read", [("TIME",), *(("HGETALL", _key(product_id)) for product_id in product_ids)])
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
    """Every field as it is stored, invalid ones too, to compare with `expected_fields`; None if Redis did not answer.

    Empty for a product without a hash, and for one whose key is of another type.
    """
    answers = ask("read", [("HGETALL", _key(product_id)) for product_id in product_ids])
    if answers is None:
        return None
    return {
        product_id: {
            name.decode(errors="replace"): text.decode(errors="replace") for name, text in _fields(answer).items()
        }
        for product_id, answer in zip(product_ids, answers, strict=True)
    }


def expected_fields(view: ProductCounters) -> dict[str, str]:
    """The fields of the hash for a whole view."""
    levels = view.levels.values()
    version = sum(level.version for level in levels) + len(levels)
    threshold = "" if view.threshold is None else view.threshold
    return {SUMMARY: f"{version}:{threshold}:{view.is_blocked:d}:{len(levels)}", **_level_fields(view)}


def from_fields(product_id: UUID, fields: Fields) -> ProductCounters:
    """The whole view from the fields of a hash, which must be as EXPECTED or `expected_fields` writes them."""
    _, threshold, is_blocked, _ = fields[SUMMARY].split(":")
    levels = {}
    for warehouse_id, text in fields.items():
        if warehouse_id != SUMMARY:
            version, available, reserved, incoming, is_sellable, replenished = map(int, text.split(":"))
            levels[warehouse_id] = LevelCounter(version, available, reserved, incoming, is_sellable == 1, replenished)
    return ProductCounters(product_id, int(threshold) if threshold else None, is_blocked == "1", levels)


def probe(product_ids: Collection[UUID]) -> set[UUID] | None:
    """The products for which the caller is the probe of this interval, and so may ask the database.

    None if Redis does not answer or accepts no writes; then no request is rejected early. Never raises.
    """
    answers = ask(
        "probe", [("SET", _probe_key(product_id), "1", "NX", "PX", PROBE_INTERVAL_MS) for product_id in product_ids]
    )
    if answers is None or _is_refused("probe", answers):
        return None
    return {product_id for product_id, is_first in zip(product_ids, answers, strict=True) if is_first}


def forget(product_ids: Collection[UUID]) -> bool:
    """Delete the products' counters, valid or not. Returns False if Redis did not. Never raises.

    Their probes go too: one that never ends, which this service did not write, would let no request through again.
    """
    keys = [key for product_id in product_ids for key in (_key(product_id), _probe_key(product_id))]
    answers = ask("forget", [("DEL", key) for key in keys])
    return answers is not None and not _is_refused("forget", answers)


def is_reachable() -> bool:
    """Whether Redis answers now, without asking the breaker; False if no Redis is configured."""
    if not settings.REDIS_URL:
        return False
    try:
        return bool(get_redis_connection("default").ping())
    except RedisError:
        return False


# --- the form of the hash ------------------------------------------------------------------------------------------


def _key(product_id: UUID) -> str:
    return f"stock:{product_id}"


def _probe_key(product_id: UUID) -> str:
    return f"probe:{product_id}"


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
    """The counters in a hash; None unless every field is as `publish` would have written it."""
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
        return None  # one of the levels is older than one that was stored here before
    return ProductCounters(product_id, int(summary[2]) if summary[2] else None, summary[3] == b"1", levels)


@lru_cache(maxsize=4_096)  # the same texts come again and again; this many take 2 MB
def _parsed_level(text: bytes) -> LevelCounter | None:
    level = _LEVEL.fullmatch(text)
    if level is None:
        return None
    version, available, reserved, incoming, is_sellable, replenished = level.groups()
    return LevelCounter(
        int(version), int(available), int(reserved), int(incoming), is_sellable == b"1", int(replenished)
    )


# --- the way to Redis ----------------------------------------------------------------------------------------------


def ask(operation: str, commands: Sequence[Command]) -> list[Any] | None:
    """Redis' answers, error answers included. None if it did not answer, was not asked, or is not configured."""
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
    """The answers to all commands in one round trip. Written by hand: redis-py's pipeline takes three times as long."""
    pool = get_redis_connection("default").connection_pool
    connection = pool.get_connection()
    try:
        packed = b"".join(map(hiredis.pack_command, commands))  # type: ignore[arg-type]  # the stub knows only one-tuples
        connection.send_packed_command([packed])
        until = time.monotonic() + settings.REDIS_TIMEOUT_SECONDS + len(commands) * SECONDS_A_COMMAND
        return [_answer(connection, until) for _ in commands]
    except BaseException:
        connection.disconnect()  # the next caller would take the answers still on their way for its own
        raise
    finally:
        pool.release(connection)


def _answer(connection: Any, until: float) -> Any:
    """The next answer. Raises TimeoutError after `until`, because the socket's time-out restarts with each packet."""
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
