"""A policy is made in words, checked on save with a sentence at its field, and kept as data."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext

from inventory_project.foundation import database
from inventory_project.foundation.admin import BUSY
from tests import factories
from tests.db.admin.pages import change, told
from warehouses.admin import PLACES, PolicyForm
from warehouses.allocation import policies
from warehouses.allocation.policies import PREFERENCES
from warehouses.allocation.words import MEANINGS, WORDS
from warehouses.models import AllocationPolicy, NetworkVersion, PostalArea

pytestmark = pytest.mark.django_db

MODEL = "warehouses_allocationpolicy"
LIST = "/admin/warehouses/allocationpolicy/"
ADD = f"{LIST}add/"
FORM = {
    "region": "south",
    "first": "fewest_parcels",
    "second": "nearest",
    "third": "",
    "fourth": "",
    "tolerance_km": "50",
    "split": "fewest_parcels",
    "most_parcels": "",
}


@pytest.fixture(autouse=True)
def _regions(db: None) -> None:
    for prefix, name, region in (("69", "Amazonas", "north"), ("80", "Curitiba", "south")):
        PostalArea.objects.create(country="BR", prefix=prefix, latitude=-3, longitude=-60, name=name, region=region)


def rows() -> list[tuple[Any, ...]]:
    columns = ("region", "preferences", "tolerance_km", "split", "most_parcels")
    return list(AllocationPolicy.objects.order_by("region").values_list(*columns))


def books() -> tuple[list[Any], list[Any]]:
    """What a refused save must leave as it is."""
    policies = list(AllocationPolicy.objects.order_by("id").values())
    return policies, list(NetworkVersion.objects.order_by("part").values())


def a_policy(**values: Any) -> AllocationPolicy:
    return AllocationPolicy.objects.create(
        **{"region": "south", "preferences": ["nearest", "balance"], "split": "never", "tolerance_km": 30, **values}
    )


def written(policy: AllocationPolicy, preferences: str) -> AllocationPolicy:
    """The policy with these preferences, written past the admin."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE warehouse_allocation_policy SET preferences = %s WHERE id = %s", [preferences, policy.pk]
        )
    return policy


def opened(client: Client, policy: AllocationPolicy) -> dict[str, Any]:
    """What a browser sends back when the policy's form is opened and saved as it is."""
    form = client.get(change(MODEL, policy.pk)).context["adminform"].form
    values = {name: form[name].value() for name in (*FORM, "seen_at")}
    return {name: "" if value is None else value for name, value in values.items()}


def save(client: Client, policy: AllocationPolicy, fields: dict[str, Any]) -> Any:
    """Send the form."""
    return client.post(change(MODEL, policy.pk), fields)


def test_a_policy_is_made_with_its_preferences_in_order(ana: Client) -> None:
    form = {
        **FORM,
        "first": "balance",
        "second": "nearest",
        "third": "priority",
        "split": "at_most",
        "most_parcels": "2",
    }
    assert ana.post(ADD, form).status_code == 302
    assert rows() == [("south", ["balance", "nearest", "priority"], 50.0, "at_most", 2)]


def test_the_form_begins_with_what_is_built_in(ana: Client) -> None:
    form = ana.get(ADD).context["adminform"].form
    values = {name: form[name].value() or "" for name in FORM}
    assert values == {
        **FORM,
        "region": "",
        "third": "priority",
        "fourth": "balance",
        "tolerance_km": 50.0,
    }
    assert ana.post(ADD, values).status_code == 302
    built_in = policies.BUILT_IN
    assert rows() == [
        ("", list(built_in.preferences), built_in.tolerance_km, built_in.split, built_in.most_parcels),
    ]


def test_the_regions_to_choose_from_are_those_that_are_known_and_the_own_one(ana: Client) -> None:
    def choices(address: str) -> list[tuple[str, str]]:
        return list(ana.get(address).context["adminform"].form.fields["region"].choices)

    factories.warehouse(region="central-west")  # which says nothing about where orders go to
    known = [("", "every region without its own policy"), ("north", "north"), ("south", "south")]
    assert choices(ADD) == known
    assert choices(change(MODEL, a_policy(region="east").pk)) == [known[0], ("east", "east"), *known[1:]]


def test_without_postal_areas_the_form_asks_for_them_first(ana: Client) -> None:
    assert "Of the delivery, by its postal code." in ana.get(ADD).content.decode()
    PostalArea.objects.all().delete()
    page = ana.get(ADD)
    assert "Load postal areas first" in page.content.decode()
    region = page.context["adminform"].form.fields["region"]
    assert region.choices == [("", "every region without its own policy")]


def test_a_change_writes_what_was_changed_and_nothing_else(ana: Client) -> None:
    policy = a_policy()
    values = opened(ana, policy)
    assert values == {
        **FORM,
        "seen_at": policy.updated_at.isoformat(),
        "first": "nearest",
        "second": "balance",
        "tolerance_km": 30.0,
        "split": "never",
    }
    with CaptureQueriesContext(connection) as queries:
        assert save(ana, policy, {**values, "second": "priority"}).status_code == 302
    [update] = [query["sql"] for query in queries if query["sql"].startswith('UPDATE "warehouse_allocation_policy"')]
    assert update.count('" = ') == 3  # the preferences, the time of change, and the id that it is found by
    assert rows() == [("south", ["nearest", "priority"], 30.0, "never", None)]


def test_a_save_without_a_change_writes_nothing(ana: Client) -> None:
    policy = a_policy()
    before = books()
    assert save(ana, policy, opened(ana, policy)).status_code == 302
    assert books() == before


def test_a_policy_can_be_deleted(ana: Client) -> None:
    policy = a_policy()
    assert ana.post(change(MODEL, policy.pk).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 302
    assert rows() == []


NONE = "Name at least one preference; without any, the lowest warehouse id would serve everything."
GAP = "An empty choice may stand at the end only."
TWICE = "A preference is named twice; the second time it would have nothing to say."
PARCELS = "With at_most say how many parcels: 1 to 3."


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"first": "", "second": "", "split": "never"}, {"first": [NONE]}),
        ({"first": "", "split": "never"}, {"first": [GAP]}),
        ({"first": "nearest", "second": "", "third": "balance", "split": "never"}, {"second": [GAP]}),
        ({"second": "fewest_parcels"}, {"first": [TWICE]}),
        (
            {"first": "priority"},
            {
                "first": [
                    "These contradict each other: the split fewest_parcels asks for the number of parcels before "
                    "anything else, and priority stands before it here. Put fewest_parcels first, or choose at_most."
                ]
            },
        ),
        (
            {"second": "cheapest"},
            {"second": ["Select a valid choice. cheapest is not one of the available choices."]},
        ),
        ({"tolerance_km": "-1"}, {"tolerance_km": ["The tolerance is 0 to 20,000 km, not -1.0."]}),
        ({"tolerance_km": "20001"}, {"tolerance_km": ["The tolerance is 0 to 20,000 km, not 20001.0."]}),
        ({"tolerance_km": "nan"}, {"tolerance_km": ["Enter a number."]}),
        ({"tolerance_km": ""}, {"tolerance_km": ["This field is required."]}),
        ({"split": "at_most"}, {"most_parcels": [PARCELS]}),
        ({"split": "at_most", "most_parcels": "0"}, {"most_parcels": [PARCELS]}),
        ({"split": "at_most", "most_parcels": "4"}, {"most_parcels": [PARCELS]}),
        (
            {"split": "at_most", "most_parcels": "-1"},
            {"most_parcels": ["Ensure this value is greater than or equal to 0."]},
        ),
        ({"split": "at_most", "most_parcels": "two"}, {"most_parcels": ["Enter a whole number."]}),
        (
            {"split": "never", "most_parcels": "2"},
            {"most_parcels": ["A number of parcels goes with at_most, not with never: leave it empty."]},
        ),
        ({"split": "always"}, {"split": ["Select a valid choice. always is not one of the available choices."]}),
        ({"region": "east"}, {"region": ["Select a valid choice. east is not one of the available choices."]}),
        ({"region": "north"}, {"region": ["There is a policy for this region already."]}),
        ({"region": ""}, {"region": ["There is a policy for this region already."]}),
        (
            {"first": "", "second": "", "tolerance_km": "-1", "split": "never", "most_parcels": "2"},
            {
                "first": [NONE],
                "tolerance_km": ["The tolerance is 0 to 20,000 km, not -1.0."],
                "most_parcels": ["A number of parcels goes with at_most, not with never: leave it empty."],
            },
        ),
    ],
)
def test_a_policy_that_makes_no_sense_is_told_once_at_its_field(
    ana: Client, fields: dict[str, str], errors: dict[str, list[str]]
) -> None:
    a_policy(region="north")
    a_policy(region="")
    before = books()
    response = ana.post(ADD, {**FORM, **fields})
    assert response.status_code == 200
    assert response.context["adminform"].form.errors == errors
    assert books() == before


def test_a_region_taken_while_the_form_was_checked_is_told(ana: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = PolicyForm.clean

    def slower(form: PolicyForm) -> dict[str, Any]:
        monkeypatch.setattr(AllocationPolicy, "validate_unique", lambda *_, **__: None)
        return clean(form)

    a_policy()
    before = rows()
    monkeypatch.setattr(PolicyForm, "clean", slower)
    response = ana.post(ADD, FORM)
    assert told(ana, response) == ["Somebody else has just created a policy for this region. Nothing was changed."]
    assert rows() == before


def test_the_list_says_the_policies_in_words(ana: Client) -> None:
    a_policy()
    a_policy(region="", preferences=["balance"], tolerance_km=1234.5, split="at_most", most_parcels=2)
    page = ana.get(LIST).content.decode()
    for words in (
        *("south", "nearest, balance", "30 km", "never: one warehouse for all lines that name none"),
        *("every other region", ">balance<", "1,234.5 km", "at most so many parcels"),
    ):
        assert words in page


def test_each_preference_has_its_word_and_its_meaning_on_the_page(ana: Client) -> None:
    assert tuple(WORDS) == tuple(MEANINGS) == PREFERENCES
    page = ana.get(ADD).content.decode()
    assert [name for name in PREFERENCES if MEANINGS[name] not in page] == []


# --- written past the form -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "words", "shown"),
    [
        ('["cheapest", 7]', "cheapest, 7", []),
        ("7", "7", []),
        ("null", "None", []),
        ("{}", "{}", []),
        ('"nearest"', "nearest", []),
        ("[]", "", []),
        ('[["nearest"]]', "[&#x27;nearest&#x27;]", []),
        ("[{}]", "{}", []),
        ('[["nearest"], "balance"]', "[&#x27;nearest&#x27;], balance", ["balance"]),
        ('["balance", "balance", "nearest"]', "balance, balance, nearest", ["balance", "nearest"]),
    ],
)
def test_a_policy_that_cannot_be_followed_is_shown_as_it_stands_and_mended(
    ana: Client, log_in: Callable[..., Client], stored: str, words: str, shown: list[str]
) -> None:
    policy = written(a_policy(), stored)
    clerk = log_in("eva", "view_allocationpolicy")
    for client, address in ((ana, LIST), (ana, change(MODEL, policy.pk)), (clerk, change(MODEL, policy.pk))):
        assert f"{words} (cannot be followed)" in client.get(address).content.decode()
    values = opened(ana, policy)
    assert [values[place] for place in PLACES if values[place]] == shown
    assert save(ana, policy, {**FORM, "seen_at": values["seen_at"]}).status_code == 302
    assert rows() == [("south", ["fewest_parcels", "nearest"], 50.0, "fewest_parcels", None)]
    assert "cannot be followed" not in ana.get(LIST).content.decode()
    assert "cannot be followed" not in ana.get(change(MODEL, policy.pk)).content.decode()


def test_the_page_says_why_a_policy_cannot_be_followed(ana: Client) -> None:
    policy = written(a_policy(), '["nearest", "nearest"]')
    assert (
        "nearest, nearest (cannot be followed). A preference is named twice; the second time it would have nothing to "
        "say. The built-in policy is used until this is fixed."
    ) in ana.get(change(MODEL, policy.pk)).content.decode()


def test_a_split_that_there_is_not_can_be_looked_at_and_mended(ana: Client) -> None:
    policy = a_policy()
    AllocationPolicy.objects.update(split="always")
    sentence = "The split is one of never, by_line, fewest_parcels, at_most, not &#x27;always&#x27;."
    assert sentence in ana.get(change(MODEL, policy.pk)).content.decode()
    assert "nearest, balance (cannot be followed)" in ana.get(LIST).content.decode()
    assert save(ana, policy, {**opened(ana, policy), "split": "by_line"}).status_code == 302
    assert rows() == [("south", ["nearest", "balance"], 30.0, "by_line", None)]


def test_to_save_a_broken_policy_as_the_form_shows_it_mends_it(ana: Client) -> None:
    policy = written(
        a_policy(split="fewest_parcels"), '["fewest_parcels", "nearest", "priority", "balance", "balance"]'
    )
    assert save(ana, policy, opened(ana, policy)).status_code == 302
    assert rows() == [("south", list(PREFERENCES), 30.0, "fewest_parcels", None)]


# --- somebody else is there too ------------------------------------------------------------------------------------

CHANGED = "This policy was changed meanwhile, and is shown as it is now. Nothing was changed."


def test_a_form_that_was_opened_before_somebody_elses_save_is_refused(
    ana: Client, log_in: Callable[..., Client]
) -> None:
    policy = a_policy()
    bea = log_in("bea", "*")
    seen_by_bea = opened(bea, policy)
    assert save(ana, policy, {**opened(ana, policy), "tolerance_km": "70"}).status_code == 302
    before = books()
    response = save(bea, policy, {**seen_by_bea, "second": "priority"})
    assert (response.status_code, response["Location"]) == (302, change(MODEL, policy.pk))
    assert told(bea, response) == [CHANGED]
    assert books() == before
    assert rows() == [("south", ["nearest", "balance"], 70.0, "never", None)]
    assert save(bea, policy, {**opened(bea, policy), "second": "priority"}).status_code == 302
    assert rows() == [("south", ["nearest", "priority"], 70.0, "never", None)]


@pytest.mark.parametrize("seen_at", [None, "", "yesterday", "2026-01-01T00:00:00+00:00"])
def test_a_form_that_does_not_say_what_it_saw_is_refused(ana: Client, seen_at: str | None) -> None:
    policy = a_policy()
    before = books()
    response = save(ana, policy, FORM if seen_at is None else {**FORM, "seen_at": seen_at})
    assert told(ana, response) == [CHANGED]
    assert books() == before


def two_saves_at_once(ana: Client, bea: Client) -> tuple[list[str], Any]:
    """What the two are told who save different changes of one policy, and what its row then holds."""
    policy = a_policy()
    first = {**opened(ana, policy), "tolerance_km": "70"}
    second = {**opened(bea, policy), "second": "priority"}

    with ThreadPoolExecutor(2) as pool, database.session_of_its_own() as another:
        with another.transaction():
            another.execute("SELECT FROM warehouse_allocation_policy FOR UPDATE")
            answers = [
                pool.submit(save_and_disconnect, client, policy, fields)
                for client, fields in ((ana, first), (bea, second))
            ]
            wait_for_waiting(2)
        responses = [answer.result() for answer in answers]
    messages = [told(client, response)[0] for client, response in zip((ana, bea), responses, strict=True)]
    return messages, rows()[0]


def save_and_disconnect(client: Client, policy: AllocationPolicy, fields: dict[str, Any]) -> Any:
    """Send the form from a thread, which has a connection of its own."""
    try:
        return save(client, policy, fields)
    finally:
        connection.close()


def wait_for_waiting(count: int) -> None:
    """Until so many sessions wait for a lock; their own patience is two seconds."""
    deadline = time.monotonic() + 1.5
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone()[0] == count:
                return
            time.sleep(0.01)
    pytest.fail(f"{count} sessions did not come to wait")


@pytest.mark.django_db(transaction=True)
def test_of_two_saves_at_once_one_is_refused(ana: Client, log_in: Callable[..., Client]) -> None:
    messages, row = two_saves_at_once(ana, log_in("bea", "*"))
    assert messages.count(CHANGED) == 1
    assert row == (
        ("south", ["nearest", "balance"], 70.0, "never", None)
        if messages[1] == CHANGED
        else ("south", ["nearest", "priority"], 30.0, "never", None)
    )


@pytest.mark.django_db(transaction=True)
def test_control_without_the_lock_both_saves_at_once_are_taken(
    ana: Client, log_in: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is then a mixture that neither of the two has seen."""
    monkeypatch.setattr(QuerySet, "select_for_update", lambda rows, **_: rows)
    messages, row = two_saves_at_once(ana, log_in("bea", "*"))
    assert CHANGED not in messages
    assert row == ("south", ["nearest", "priority"], 70.0, "never", None)


@pytest.mark.django_db(transaction=True)
def test_a_save_of_what_somebody_else_just_deletes_is_told(ana: Client) -> None:
    policy = a_policy()
    fields = {**opened(ana, policy), "tolerance_km": "70"}
    with ThreadPoolExecutor(1) as pool, database.session_of_its_own() as another:
        with another.transaction():
            another.execute("DELETE FROM warehouse_allocation_policy")
            answer = pool.submit(save_and_disconnect, ana, policy, fields)
            wait_for_waiting(1)
        response = answer.result()
    messages = ana.get(response["Location"], follow=True).context["messages"]
    assert "This policy was deleted meanwhile. Nothing was changed." in map(str, messages)
    assert rows() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("act", ["make", "change", "delete", "delete selected"])
def test_what_somebody_else_holds_just_now_is_told_and_nothing_is_changed(ana: Client, act: str) -> None:
    policy = a_policy(region="north")
    page = change(MODEL, policy.pk)
    address, fields = {
        "make": (ADD, FORM),
        "change": (page, {**opened(ana, policy), "tolerance_km": "70"}),
        "delete": (page.replace("/change/", "/delete/"), {"post": "yes"}),
        "delete selected": (LIST, {"action": "delete_selected", "_selected_action": str(policy.pk), "post": "yes"}),
    }[act]
    before = books()
    with database.session_of_its_own() as another, another.transaction():
        another.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        another.execute("SELECT FROM warehouse_network_version FOR UPDATE")
        response = ana.post(address, fields)
        assert (response.status_code, response["Location"]) == (302, address)
        assert told(ana, response) == [BUSY]
    assert books() == before
    assert LogEntry.objects.count() == 0  # Django's history says nothing that did not happen
    assert ana.post(address, {**fields}).status_code == 302
    assert books() != before


def test_the_list_takes_as_many_statements_for_one_as_for_many(ana: Client) -> None:
    a_policy()
    ana.get(LIST)
    with CaptureQueriesContext(connection) as few:
        ana.get(LIST)
    for number in range(20):
        a_policy(region=f"region-{number}")
    with CaptureQueriesContext(connection) as many:
        ana.get(LIST)
    assert len(many) == len(few)


def test_who_may_only_look_changes_nothing(log_in: Callable[..., Client]) -> None:
    policy = a_policy()
    before = rows()
    clerk = log_in("eva", "view_allocationpolicy")
    assert (clerk.get(LIST).status_code, clerk.get(change(MODEL, policy.pk)).status_code) == (200, 200)
    assert "nearest, balance" in clerk.get(change(MODEL, policy.pk)).content.decode()
    assert clerk.post(change(MODEL, policy.pk), FORM).status_code == 403
    assert clerk.post(ADD, {**FORM, "region": ""}).status_code == 403
    assert clerk.post(change(MODEL, policy.pk).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    assert log_in("rui", "view_warehouse").get(LIST).status_code == 403
    assert rows() == before
