"""What is written into the counters: only what is newer, only what is whole, and never over the truth."""

import threading
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pytest_django import Settings

from stock.counters import copies
from stock.counters.copies import ProductCounters
from tests.factories import PR, RJ, SP
from tests.integration.counters import looks
from tests.integration.counters.looks import level, standing, two_levels, view
from tests.processes import wait_until
from tests.servers import Redis, free_port

pytestmark = pytest.mark.usefixtures("patient")


def at_version(version: int, like: ProductCounters) -> ProductCounters:
    """The product as it was when its first level had this version, with numbers that tell."""
    return view({SP: level(version, available=version * 10), RJ: level(1)}, product_id=like.product_id)


# --- only what is newer --------------------------------------------------------------------------------------------


def test_what_was_published_is_read_again(client: redis.Redis) -> None:
    whole = view(
        {SP: level(7, 5, 3, 2, replenished=9), RJ: level(1, 0, 0, 0, is_sellable=False)}, threshold=25, is_blocked=True
    )
    without_threshold = view({PR: level(4)})
    assert copies.publish([whole, without_threshold], whole=True)
    assert copies.read([whole.product_id, without_threshold.product_id, uuid4()]) == {
        whole.product_id: whole,
        without_threshold.product_id: without_threshold,
    }
    assert client.hgetall(f"stock:{whole.product_id}") == {SP: "7:5:3:2:1:9", RJ: "1:0:0:0:0:0", "_": "10:25:1:2"}
    assert client.hgetall(f"stock:{without_threshold.product_id}") == {PR: "4:5:0:0:1:0", "_": "5::0:1"}


def test_in_every_order_of_arrival_the_newest_stays() -> None:
    for versions in permutations((1, 2, 3, 4)):
        product = two_levels()
        for version in versions:
            assert copies.publish([at_version(version, product)], whole=True)
        assert standing(product.product_id) == at_version(4, product), versions


def test_control_without_the_version_the_last_to_arrive_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    looks.publish_whatever_comes(monkeypatch)
    product = two_levels()
    for version in (4, 1):
        assert copies.publish([at_version(version, product)], whole=True)
    assert standing(product.product_id) == at_version(1, product)


@profile(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_shuffled_and_repeated_views_whole_and_partial_end_with_the_newest(data: st.DataObject) -> None:
    """A history of rows, each change of which is published, late, twice, in part, in any order."""
    product_id = uuid4()
    rows = {SP: level(1), RJ: level(1), PR: level(1)}
    whole_views, parts = [view(rows, product_id=product_id)], []
    for version, changed in enumerate(data.draw(st.lists(st.sampled_from([SP, RJ, PR]), max_size=12)), start=2):
        rows = rows | {changed: level(rows[changed].version + 1, available=version)}
        whole_views.append(view(rows, product_id=product_id))
        parts.append(view({changed: rows[changed]}, product_id=product_id))
    writes = [([one], True) for one in whole_views] + [([one], False) for one in parts]
    shuffled = data.draw(st.permutations(writes + data.draw(st.lists(st.sampled_from(writes), max_size=4))))
    for views, is_whole in shuffled:
        assert copies.publish(views, whole=is_whole)
    assert standing(product_id) == whole_views[-1]


def test_sixteen_threads_publish_at_once_and_the_newest_stays() -> None:
    product = two_levels()

    def publish(number: int) -> None:
        for version in range(number, 321, 16):
            assert copies.publish([at_version(version, product)], whole=True)

    threads = [threading.Thread(target=publish, args=[number]) for number in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert standing(product.product_id) == at_version(320, product)


def test_the_same_version_with_other_numbers_is_not_written() -> None:
    product = two_levels(version=3, available=5)
    copies.publish([product], whole=True)
    other = view({SP: level(3, 6), RJ: level(3, 6)}, product_id=product.product_id, threshold=1)
    assert copies.publish([other], whole=True)
    assert standing(product.product_id) == product


def test_a_block_and_a_threshold_come_with_the_levels_they_were_marked_on() -> None:
    product = two_levels(version=3)
    blocked = view(
        {place: level(4, is_sellable=False) for place in product.levels},
        product_id=product.product_id,
        threshold=7,
        is_blocked=True,
    )
    for late in (blocked, product):
        copies.publish([late], whole=True)
    assert standing(product.product_id) == blocked


# --- only what is whole --------------------------------------------------------------------------------------------


def test_a_part_of_a_view_never_passes_for_the_whole() -> None:
    product = two_levels()
    assert copies.publish([product], whole=False)
    assert standing(product.product_id) is None


def test_a_part_that_finds_no_hash_is_not_lost_to_an_older_whole_that_comes_after_it() -> None:
    before = view({SP: level(3), RJ: level(8)})
    copies.publish([view({SP: level(4, 1)}, product_id=before.product_id)], whole=False)
    copies.publish([before], whole=True)  # a reader that read the rows before that change, and was slow
    assert standing(before.product_id) == view({SP: level(4, 1), RJ: level(8)}, product_id=before.product_id)


def test_a_part_of_a_view_changes_only_its_fields(client: redis.Redis) -> None:
    product = view({SP: level(3), RJ: level(8)}, threshold=4)
    copies.publish([product], whole=True)
    assert copies.publish([view({SP: level(4, 1)}, product_id=product.product_id)], whole=False)
    assert standing(product.product_id) == view(
        {SP: level(4, 1), RJ: level(8)}, product_id=product.product_id, threshold=4
    )
    assert client.hget(f"stock:{product.product_id}", "_") == "13:4:0:2"


def test_a_level_that_is_new_hides_the_counters_until_the_whole_is_published() -> None:
    product = two_levels()
    copies.publish([product], whole=True)
    copies.publish([view({PR: level(1)}, product_id=product.product_id)], whole=False)
    assert standing(product.product_id) is None
    whole = view({**product.levels, PR: level(1)}, product_id=product.product_id)
    copies.publish([whole], whole=True)
    assert standing(product.product_id) == whole


def test_a_new_level_without_a_change_yet_makes_the_whole_newer() -> None:
    product = two_levels()
    whole = view({**product.levels, PR: level(0, 0)}, product_id=product.product_id)
    for one in (product, whole):
        copies.publish([one], whole=True)
    assert standing(product.product_id) == whole


def test_a_whole_view_from_before_a_level_was_made_does_not_hide_the_level() -> None:
    product = two_levels()
    whole = view({**product.levels, PR: level(1)}, product_id=product.product_id)
    for one in (whole, product):
        copies.publish([one], whole=True)
    assert standing(product.product_id) == whole


def test_a_product_without_a_level_is_never_put_there(client: redis.Redis) -> None:
    assert copies.publish([view({})], whole=True)
    assert client.keys() == []


# --- lies ----------------------------------------------------------------------------------------------------------

ODD = [
    "abc", "", "0", "-5", "3:-5:0:0:1:5", "-3:5:0:0:1:5", "3:5:0:0:1", "3:5:0:0:1:5:5", "3:5:0:0:2:5", "3:5:0:0::5",
    "3:5:0:0:1:", "3:5:0:0:1:-5", "3:5.0:0:0:1:5", "3:1e3:0:0:1:5", "3:٣:0:0:1:5", " 3:5:0:0:1:5", "3:5:0:0:1:5\n",
    "3:5:0:0:1:5\0", "3:9999999999999999:0:0:1:5", "3:5:0:0:1:9999999999999999", "9223372036854775808:5:0:0:1:5",
]  # fmt: skip
ODD_SUMMARIES = [
    "abc",
    "",
    "8::0",
    "8::0:2:2",
    "8:-1:0:2",
    "8::2:2",
    "8::0:3",
    "8::0:1",
    "-8::0:2",
    "9999999999999999::0:2",
]


@pytest.mark.parametrize("text", ODD)
def test_an_odd_field_hides_the_product_until_the_next_whole_view(client: redis.Redis, text: str) -> None:
    product = two_levels(version=3)
    copies.publish([product], whole=True)
    client.hset(f"stock:{product.product_id}", SP, text)
    assert standing(product.product_id) is None
    assert copies.publish([product], whole=True)
    assert standing(product.product_id) == product


def test_counters_in_the_form_of_the_version_before_are_missing_and_made_anew(client: redis.Redis) -> None:
    product = view({SP: level(3, replenished=8), RJ: level(3)}, threshold=4)
    client.hset(f"stock:{product.product_id}", mapping={SP: "3:5:0:0:1", RJ: "3:5:0:0:1", "_": "8:4:0:2"})
    assert standing(product.product_id) is None
    part = view({RJ: level(3)}, product_id=product.product_id)
    assert copies.publish([part], whole=False)
    assert standing(product.product_id) is None
    assert copies.publish([product], whole=True)  # of no newer version than what stands there
    assert standing(product.product_id) == product
    assert client.hgetall(f"stock:{product.product_id}") == {SP: "3:5:0:0:1:8", RJ: "3:5:0:0:1:0", "_": "8:4:0:2"}


@pytest.mark.parametrize("text", ODD_SUMMARIES)
def test_an_odd_summary_hides_the_product(client: redis.Redis, text: str) -> None:
    product = two_levels(version=3)
    copies.publish([product], whole=True)
    client.hset(f"stock:{product.product_id}", "_", text)
    assert standing(product.product_id) is None


@pytest.mark.parametrize("name", [SP, "_"])
def test_a_field_that_is_lost_hides_the_product_until_the_next_whole_view(client: redis.Redis, name: str) -> None:
    product = view({SP: level(3), RJ: level(9), PR: level(1)}, threshold=2)
    copies.publish([product], whole=True)
    client.hdel(f"stock:{product.product_id}", name)
    assert standing(product.product_id) is None
    assert copies.publish([product], whole=True)
    assert standing(product.product_id) == product


def test_a_lie_of_a_low_version_is_seen_and_overwritten_by_the_next_whole_view(client: redis.Redis) -> None:
    product = two_levels(version=3)
    copies.publish([product], whole=True)
    client.hset(f"stock:{product.product_id}", SP, "2:999999:0:0:1:0")
    assert standing(product.product_id) is None
    copies.publish([product], whole=True)
    assert standing(product.product_id) == product


def test_a_lie_of_a_high_version_stays_until_it_is_forgotten(client: redis.Redis) -> None:
    product = two_levels(version=3)
    copies.publish([product], whole=True)
    client.hset(f"stock:{product.product_id}", SP, "1000:999999:0:0:1:0")
    copies.publish([product], whole=True)
    assert standing(product.product_id) == view({SP: level(1000, 999_999), RJ: level(3)}, product_id=product.product_id)
    assert copies.forget([product.product_id])
    assert standing(product.product_id) is None
    copies.publish([product], whole=True)
    assert standing(product.product_id) == product


@pytest.mark.parametrize("make", ["set", "rpush", "sadd"])
def test_a_key_of_another_type_is_replaced_and_counts_only_once_the_view_is_whole(
    client: redis.Redis, make: str
) -> None:
    product = two_levels()
    key = f"stock:{product.product_id}"
    for is_whole, stands in ((True, product), (False, None)):
        client.delete(key)
        getattr(client, make)(key, "999999")
        assert standing(product.product_id) is None
        assert copies.read_raw([product.product_id]) == {product.product_id: {}}
        assert copies.publish([product], whole=is_whole)
        assert standing(product.product_id) == stands


def test_a_field_of_no_warehouse_hides_the_product(client: redis.Redis) -> None:
    product = two_levels()
    copies.publish([product], whole=True)
    client.hset(f"stock:{product.product_id}", b"\xff\xfe", "1:5:0:0:1:0")
    assert standing(product.product_id) is None
    client.hdel(f"stock:{product.product_id}", SP)
    assert standing(product.product_id) is None


def test_the_raw_form_is_the_hash_as_it_stands(client: redis.Redis) -> None:
    sound, odd, absent = two_levels(), two_levels(), uuid4()
    copies.publish([sound, odd], whole=True)
    client.hset(f"stock:{odd.product_id}", SP, "abc")
    assert copies.read_raw([sound.product_id, odd.product_id, absent]) == {
        sound.product_id: copies.expected_fields(sound),
        odd.product_id: {**copies.expected_fields(odd), SP: "abc"},
        absent: {},
    }


# --- holds and probes ----------------------------------------------------------------------------------------------


def test_a_hold_shows_the_time_it_has_left_and_goes_when_it_is_settled(client: redis.Redis) -> None:
    held, settled, overdue = uuid4(), uuid4(), uuid4()
    assert copies.publish([], whole=True, hold_ends=dict.fromkeys([held, settled, overdue], timedelta(minutes=15)))
    assert 899_000 < client.pttl(f"reservation:{settled}") <= 900_000
    ends = {held: timedelta(hours=2), settled: None, overdue: timedelta(seconds=-3)}
    assert copies.publish([two_levels()], whole=True, hold_ends=ends)
    assert 7_199_000 < client.pttl(f"reservation:{held}") <= 7_200_000
    assert client.keys("reservation:*") == [f"reservation:{held}"]


def test_one_caller_in_an_interval_is_the_probe_of_a_product(client: redis.Redis) -> None:
    one, other = uuid4(), uuid4()
    assert copies.probe([one]) == {one}
    assert copies.probe([one, other]) == {other}
    assert copies.probe([]) == set()
    assert 0 < client.pttl(f"probe:{one}") <= copies.PROBE_INTERVAL_MS
    client.delete(f"probe:{one}")  # as its end does
    assert copies.probe([one, other]) == {one}


# --- the way there -------------------------------------------------------------------------------------------------


def test_many_products_take_one_round_trip_to_write_and_one_to_read(asked: list[int]) -> None:
    products = [two_levels() for _ in range(500)]
    assert copies.publish(products, whole=True)  # the server does not have the script yet: once more
    del asked[:]
    assert copies.publish(products, whole=True, hold_ends={uuid4(): timedelta(minutes=1)})
    assert len(copies.read([product.product_id for product in products])) == 500
    assert asked == [501, 501]  # with the clock


def test_more_than_a_thousand_go_in_several_round_trips(asked: list[int]) -> None:
    products = [two_levels() for _ in range(1_001)]
    assert copies.publish(products[:1], whole=True)
    del asked[:]
    assert copies.publish(products, whole=True)
    assert asked == [1_000, 1]
    assert len(copies.read([product.product_id for product in products])) == 1_001


def test_a_script_that_redis_has_forgotten_is_sent_again(client: redis.Redis, asked: list[int]) -> None:
    products = [two_levels(), two_levels()]
    copies.publish(products, whole=True)
    client.script_flush()
    newer = [two_levels(version=9, product_id=product.product_id) for product in products]
    del asked[:]
    assert copies.publish(newer, whole=True, hold_ends={uuid4(): timedelta(minutes=1)})
    assert asked == [3, 2]
    assert [standing(product.product_id) for product in products] == newer
    del asked[:]
    assert copies.publish(newer, whole=True)
    assert asked == [2]


def test_a_cluster_can_run_it(settings: Settings, tmp_path: Path) -> None:
    """A server in cluster mode refuses a command or a script that touches keys of two slots."""

    class Cluster(Redis):
        def command(self) -> list[str]:
            return [*super().command(), "--cluster-enabled", "yes", "--cluster-port", str(free_port())]

    products = [two_levels() for _ in range(20)]
    with Cluster(tmp_path) as server:
        with redis.Redis.from_url(server.url, socket_timeout=5) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
            wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        looks.use(f"{server.url}?socket_timeout=5", settings)
        assert copies.publish(products, whole=True, hold_ends={uuid4(): timedelta(minutes=1), uuid4(): None})
        ids = [product.product_id for product in products]
        assert copies.read(ids) == {product.product_id: product for product in products}
        assert copies.probe(ids) == set(ids)
        assert copies.forget(ids)
        assert copies.read(ids) == {}
