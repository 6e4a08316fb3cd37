"""Log-ins that keep failing are refused before anything is hashed, for longer each time; staff gets in all the same."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.contrib import auth
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings

from inventory_project.foundation.access import lockouts, log_in
from inventory_project.foundation.access.lockouts import LockedOut, Origin
from inventory_project.foundation.access.models import FailedLogIns
from tests.db.access import logging_in
from tests.db.access.logging_in import ELSEWHERE, HOME, MAX_FAILURES, MAX_FAILURES_OF_ADDRESS, PASSWORD

STRANGERS = 16


@pytest.fixture(autouse=True)
def quick_hashes(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ana(quick_hashes: None, owner: User) -> User:
    return owner


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names whose passwords have been hashed."""
    names: list[str] = []
    authenticate: Any = auth.authenticate

    def noted(**credentials: str) -> Any:
        names.append(credentials["username"])
        return authenticate(**credentials)

    monkeypatch.setattr(auth, "authenticate", noted)
    return names


# --- a name from an address ----------------------------------------------------------------------------------------


def test_after_five_failures_the_right_password_is_refused_unhashed(
    client: Client, ana: User, hashed: list[str]
) -> None:
    assert logging_in.fail(client, ["ana"] * 5) == [log_in.WRONG] * 5

    refused = logging_in.log_in(client)

    assert logging_in.minutes(refused) == 1
    assert hashed == ["ana"] * 5
    assert "sessionid" not in client.cookies


@pytest.mark.parametrize("name", ["ana", "nobody", "rui", "eva", "x" * 200])
def test_whether_a_name_exists_cannot_be_told_from_the_answers(client: Client, ana: User, name: str) -> None:
    User.objects.create_user("rui", password=PASSWORD)  # no staff
    User.objects.create_user("eva", password=PASSWORD, is_staff=True, is_active=False)
    password = "wrong" if name == "ana" else PASSWORD

    answers = [logging_in.log_in(client, name, password) for _ in range(6)]

    assert [logging_in.said(answer) for answer in answers[:5]] == [log_in.WRONG] * 5
    assert logging_in.minutes(answers[5]) == 1


def test_each_lock_out_is_longer_until_a_log_in_succeeds(client: Client, ana: User) -> None:
    lengths = []
    for _ in range(5):
        logging_in.fail(client, ["ana"] * 5)
        lengths.append(logging_in.minutes(logging_in.log_in(client)))
        logging_in.let_the_lock_outs_end()
    assert lengths == [1, 5, 15, 60, 60]

    assert logging_in.said(logging_in.log_in(client)) == ""

    logging_in.fail(Client(), ["ana"] * 5)
    assert logging_in.minutes(logging_in.log_in(Client())) == 1


def test_a_try_during_a_lock_out_makes_it_no_longer(client: Client, ana: User) -> None:
    logging_in.fail(client, ["ana"] * 5)
    before = FailedLogIns.objects.get(name="ana").locked_until

    for _ in range(10):
        logging_in.log_in(client, password="wrong")

    assert FailedLogIns.objects.get(name="ana").locked_until == before


def test_a_success_before_the_fifth_failure_forgets_them(client: Client, ana: User) -> None:
    logging_in.fail(client, ["ana"] * 4)
    assert logging_in.said(logging_in.log_in(client)) == ""
    assert logging_in.counts() == {("", HOME): 4}

    assert logging_in.fail(Client(), ["ana"] * 4) == [log_in.WRONG] * 4


def test_another_address_and_another_name_are_not_locked_out(client: Client, ana: User) -> None:
    User.objects.create_superuser("rui", password=PASSWORD)
    logging_in.fail(client, ["ana"] * 5)

    assert logging_in.said(logging_in.log_in(Client(), address=ELSEWHERE)) == ""
    assert logging_in.said(logging_in.log_in(Client(), "rui")) == ""


def test_a_lock_out_is_in_the_database_and_not_in_the_process(client: Client, ana: User) -> None:
    logging_in.fail(client, ["ana"] * 5)
    FailedLogIns.objects.all().delete()

    assert logging_in.said(logging_in.log_in(client)) == ""


# --- many names from an address ------------------------------------------------------------------------------------


def test_after_fifty_failures_of_any_names_the_address_is_locked_out(
    client: Client, ana: User, hashed: list[str]
) -> None:
    names = [f"name{number}" for number in range(50)]
    assert set(logging_in.fail(client, names)) == {log_in.WRONG}

    assert logging_in.minutes(logging_in.log_in(client)) == 1
    assert len(hashed) == MAX_FAILURES_OF_ADDRESS
    assert ("ana", HOME) not in logging_in.counts()
    assert logging_in.said(logging_in.log_in(client, address=ELSEWHERE)) == ""


def test_a_log_in_with_an_account_of_ones_own_does_not_reset_the_address(client: Client, ana: User) -> None:
    User.objects.create_superuser("rui", password=PASSWORD)
    logging_in.fail(client, [f"name{number}" for number in range(10)])

    logging_in.log_in(Client(), "rui")

    assert logging_in.counts()["", HOME] == 10


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("unix:", ""),
    ],
)
def test_an_address_of_ipv6_counts_with_its_neighbours(address: str, place: str) -> None:
    assert lockouts.place_of(address) == place


def test_a_header_does_not_move_a_client_elsewhere(client: Client, ana: User) -> None:
    for number in range(5):
        fields = {"username": "ana", "password": "wrong"}
        client.post(logging_in.LOG_IN, fields, REMOTE_ADDR=HOME, headers={"x-forwarded-for": f"10.0.0.{number}"})

    assert logging_in.minutes(logging_in.log_in(client)) == 1


# --- browsers that staff uses --------------------------------------------------------------------------------------


def browser_of(name: str) -> Client:
    """A browser in which the user has logged in and out."""
    browser = Client()
    assert logging_in.said(logging_in.log_in(browser, name)) == ""
    browser.post("/admin/logout/")
    return browser


def test_strangers_at_the_same_address_do_not_lock_out_a_browser_that_staff_uses(client: Client, ana: User) -> None:
    browser = browser_of("ana")
    logging_in.fail(client, ["ana"] * 5)
    logging_in.fail(client, [f"name{number}" for number in range(50)])
    assert logging_in.minutes(logging_in.log_in(client)) == 1

    assert logging_in.said(logging_in.log_in(browser)) == ""


def test_control_a_browser_without_the_cookie_is_locked_out_with_the_strangers(client: Client, ana: User) -> None:
    browser = browser_of("ana")
    del browser.cookies["staff_browser"]
    logging_in.fail(client, ["ana"] * 5)

    assert logging_in.minutes(logging_in.log_in(browser)) == 1


def test_failures_in_a_browser_that_staff_uses_lock_out_only_that_browser(client: Client, ana: User) -> None:
    browser = browser_of("ana")

    assert logging_in.fail(browser, ["ana"] * 5) == [log_in.WRONG] * 5

    assert logging_in.minutes(logging_in.log_in(browser, address=ELSEWHERE)) == 1
    assert logging_in.said(logging_in.log_in(client)) == ""


@pytest.mark.parametrize("change", [lambda cookie: f"x{cookie}", lambda cookie: cookie[:-1], lambda cookie: "é"])
def test_a_forged_cookie_is_none(client: Client, ana: User, change: Callable[[str], str]) -> None:
    browser = browser_of("ana")
    browser.cookies["staff_browser"] = change(browser.cookies["staff_browser"].value)
    logging_in.fail(client, ["ana"] * 5)

    assert logging_in.minutes(logging_in.log_in(browser)) == 1


def test_a_cookie_is_for_one_name(client: Client, ana: User) -> None:
    User.objects.create_superuser("rui", password=PASSWORD)
    browser = browser_of("ana")

    logging_in.fail(browser, ["rui"] * 5)

    assert logging_in.minutes(logging_in.log_in(Client(), "rui")) == 1


def test_the_cookie_is_sent_to_the_admin_only_and_to_no_script(ana: User, settings: Settings) -> None:
    settings.SESSION_COOKIE_SECURE = True
    browser = Client()

    logging_in.log_in(browser)

    cookie = browser.cookies["staff_browser"]
    shown = {name: cookie[name] for name in ("path", "max-age", "httponly", "secure", "samesite")}
    assert shown == {"path": "/admin/", "max-age": 7_776_000, "httponly": True, "secure": True, "samesite": "Lax"}


# --- at the same moment --------------------------------------------------------------------------------------------


def try_at_once(count: Callable[[], None]) -> int:
    """How many of STRANGERS simultaneous tries are let through."""
    together = Barrier(STRANGERS)

    def one(_: int) -> bool:
        connection.ensure_connection()
        together.wait()
        try:
            count()
        except LockedOut:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(STRANGERS) as threads:
        return sum(threads.map(one, range(STRANGERS)))


@pytest.mark.usefixtures("transactional_db")
def test_of_simultaneous_tries_five_pass() -> None:
    assert try_at_once(lambda: lockouts.count("ana", Origin(HOME))) == MAX_FAILURES


@pytest.mark.usefixtures("transactional_db")
def test_control_without_the_lock_of_the_row_more_of_them_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    FailedLogIns.objects.create(name="ana", origin=HOME, failed_at=Now())
    FailedLogIns.objects.create(name="", origin=HOME, failed_at=Now())
    monkeypatch.setattr("django.db.models.query.QuerySet.select_for_update", lambda rows: rows.all())

    assert try_at_once(lambda: lockouts.count("ana", Origin(HOME))) > MAX_FAILURES


def test_while_two_passwords_are_hashed_a_third_is_refused_and_not_counted(
    client: Client, ana: User, hashed: list[str]
) -> None:
    before = logging_in.counted()
    with log_in.hashings, log_in.hashings:
        assert logging_in.said(logging_in.log_in(client)) == log_in.BUSY

    assert (hashed, logging_in.counts()) == ([], {})
    assert logging_in.counted() == before | {"busy": before["busy"] + 1}
    assert logging_in.said(logging_in.log_in(client)) == ""


def test_a_failure_of_the_database_leaves_the_place_for_hashing_free(
    client: Client, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(lockouts, "count", broken)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                logging_in.log_in(client)

    assert logging_in.said(logging_in.log_in(client)) == ""


# --- what is known of it -------------------------------------------------------------------------------------------


def test_each_attempt_is_counted_by_its_result(client: Client, ana: User) -> None:
    before = logging_in.counted()

    logging_in.fail(client, ["ana"] * 7)
    logging_in.log_in(client, address=ELSEWHERE)

    added = {name: number - before[name] for name, number in logging_in.counted().items()}
    assert added == {"succeeded": 1, "failed": 5, "locked": 2, "busy": 0}


def test_each_refusal_is_a_line_in_the_log(client: Client, ana: User, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="inventory_project.foundation.access.log_in"):
        logging_in.log_in(client)
        logging_in.fail(Client(), ["ana"] * 6)

    lines = [(record.levelname, record.getMessage()) for record in caplog.records if "staff log-in" in record.msg]
    assert lines == [("WARNING", f"staff log-in failed: name='ana' address={HOME}")] * 5 + [
        ("WARNING", f"staff log-in locked: name='ana' address={HOME}")
    ]
    assert "wrong" not in caplog.text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ana\n2026-11-30 staff log-in", r"'ana\n2026-11-30 staff log-in'"),
        ("ana' address=10.0.0.1", '''"ana' address=10.0.0.1"'''),
        ("a\x1b[31mb\u202ec", r"'a\x1b[31mb\u202ec'"),
        ("x" * 70, f"'{'x' * 64}...'"),
    ],
)
def test_a_name_cannot_forge_a_line(
    client: Client, ana: User, caplog: pytest.LogCaptureFixture, name: str, shown: str
) -> None:
    logging_in.fail(client, [name])

    assert f"staff log-in failed: name={shown} address={HOME}" in [record.getMessage() for record in caplog.records]


# --- the end of a lock-out -----------------------------------------------------------------------------------------


def test_an_operator_unlocks_a_name(client: Client, ana: User, capsys: pytest.CaptureFixture[str]) -> None:
    logging_in.fail(client, ["ana"] * 5)
    logging_in.fail(client, ["rui"] * 5)

    call_command("unlock_staff", "ana")

    assert capsys.readouterr().err == "Log-ins of ana are accepted again.\n"
    assert logging_in.said(logging_in.log_in(client)) == ""
    assert logging_in.minutes(logging_in.log_in(client, "rui")) == 1


def test_an_operator_unlocks_an_address(client: Client, ana: User, capsys: pytest.CaptureFixture[str]) -> None:
    logging_in.fail(client, [f"name{number}" for number in range(50)])

    call_command("unlock_staff", "--address", HOME)

    assert capsys.readouterr().err == f"Log-ins from {HOME} are accepted again.\n"
    assert logging_in.said(logging_in.log_in(client)) == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rui"], "There are no failed log-ins of rui."),
        (["--address", ELSEWHERE], f"There are no failed log-ins from {ELSEWHERE}."),
    ],
)
def test_what_is_not_locked_out_cannot_be_unlocked(
    client: Client, ana: User, arguments: list[str], sentence: str
) -> None:
    logging_in.fail(client, ["ana"] * 5)

    with pytest.raises(CommandError) as caught:
        call_command("unlock_staff", *arguments)

    assert str(caught.value) == sentence
    assert logging_in.minutes(logging_in.log_in(client)) == 1


def test_failures_are_forgotten_a_day_after_the_last_one(client: Client, ana: User) -> None:
    logging_in.fail(client, ["ana"] * 3)
    logging_in.fail(client, ["rui"] * 3, address=ELSEWHERE)
    FailedLogIns.objects.filter(origin=HOME).update(failed_at=Now() - timedelta(hours=24, seconds=1))

    lockouts.forget_old()

    assert logging_in.counts() == {("rui", ELSEWHERE): 3, ("", ELSEWHERE): 3}
