"""The second factor of staff: off, optional or required; set up, asked for, renewed, removed and lost."""

import re
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django_otp.oath import hotp
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from inventory_project.foundation.access import log_in, second_factor
from tests.db.access import logging_in
from tests.db.access.logging_in import PASSWORD

ADMIN, LOG_IN, PAGE = "/admin/", "/admin/login/", "/admin/second-factor/"
LISTS = [ADMIN, *(f"{ADMIN}{name}/" for name in ("stock/product", "auth/user", "password_change", "access/apitoken"))]
WRONG = "000000"


@pytest.fixture(autouse=True)
def optional(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STAFF_SECOND_FACTOR = "optional"


@pytest.fixture
def ana(optional: None, owner: User) -> User:
    return owner


@pytest.fixture
def browser(ana: User) -> Client:
    """A browser in which ana has logged in, without a second factor."""
    client = Client()
    assert logging_in.said(logging_in.log_in(client)) == ""
    return client


def code() -> str:
    """The next code that the only app shows. One that was used is not accepted again."""
    device = TOTPDevice.objects.get()
    step = max(int(time.time()) // device.step, device.last_t + 1)
    return f"{hotp(device.bin_key, step):06}"


def do(client: Client, action: str, with_code: str) -> Any:
    return client.post(PAGE, {"action": action, "code": with_code})


def set_up(client: Client) -> list[str]:
    """Set up a second factor; the backup codes."""
    client.get(PAGE)
    return backup_codes(do(client, "set_up", code()))


def backup_codes(response: Any) -> list[str]:
    assert response.status_code == 200
    return re.findall(r"(?m)^(?:<pre>)?([a-z2-7]{8})$", response.content.decode())


def errors(response: Any) -> list[str]:
    return list(response.context["errors"].get("code", []))


# --- off -----------------------------------------------------------------------------------------------------------


def test_where_it_is_off_nothing_of_it_is_there(browser: Client, settings: Settings) -> None:
    set_up(browser)
    settings.STAFF_SECOND_FACTOR = "off"

    assert browser.get(PAGE).status_code == 404
    assert b"Second factor" not in browser.get(ADMIN).content
    assert b'name="code"' not in Client().get(LOG_IN).content
    assert logging_in.said(logging_in.log_in(Client())) == ""


# --- setting it up -------------------------------------------------------------------------------------------------


def test_the_page_shows_the_secret_as_a_picture_and_as_text(browser: Client) -> None:
    page = browser.get(PAGE)

    assert b'<a href="/admin/second-factor/">Second factor</a>' in page.content
    assert page.content.count(b'id="qr-path"') == 1
    secret = re.search(r"Secret: <code>([A-Z2-7 ]+)</code>", page.content.decode())
    assert secret is not None
    device = TOTPDevice.objects.get()
    assert f"secret={secret[1].replace(' ', '')}" in device.config_url
    assert "issuer=Inventory%20Service" in device.config_url
    assert browser.get(PAGE).content.decode().count(secret[1]) == 1  # the same until it is confirmed
    assert not device.confirmed


def test_the_first_code_sets_it_up_and_the_backup_codes_are_shown_once(browser: Client, ana: User) -> None:
    browser.get(PAGE)

    answer = do(browser, "set_up", code())

    codes = backup_codes(answer)
    assert len(set(codes)) == 10
    assert "no-store" in answer["Cache-Control"]
    assert second_factor.is_set_up(ana)
    page = browser.get(PAGE).content.decode()
    assert "Backup codes left: 10." in page
    assert [shown for shown in codes if shown in page] == []
    assert "qr-path" not in page


def test_a_wrong_first_code_sets_nothing_up(browser: Client, ana: User) -> None:
    browser.get(PAGE)

    answer = do(browser, "set_up", WRONG)

    assert errors(answer) == [second_factor.WRONG_CODE]
    assert not second_factor.is_set_up(ana)
    assert StaticToken.objects.count() == 0
    assert logging_in.said(logging_in.log_in(Client())) == ""


def test_without_a_secret_no_code_sets_it_up(browser: Client, ana: User) -> None:
    assert errors(do(browser, "set_up", WRONG)) == [second_factor.WRONG_CODE]
    assert not second_factor.is_set_up(ana)


@pytest.mark.parametrize("fields", [{}, {"action": "set_up"}, {"action": "nonsense", "code": WRONG}])
def test_a_mistake_in_the_form_changes_nothing(browser: Client, ana: User, fields: dict[str, str]) -> None:
    answer = browser.post(PAGE, fields)

    assert (answer.status_code, bool(answer.context["errors"])) == (200, True)
    assert not second_factor.is_set_up(ana)


@pytest.mark.parametrize("is_staff", [None, False])
def test_only_staff_has_the_page(db: None, is_staff: bool | None) -> None:
    client = Client()
    if is_staff is not None:
        client.force_login(User.objects.create_user("rui", is_staff=is_staff))

    answer = client.get(PAGE)

    assert (answer.status_code, answer["Location"]) == (302, f"{LOG_IN}?next={PAGE}")
    assert TOTPDevice.objects.count() == 0


# --- logging in with it --------------------------------------------------------------------------------------------


def test_who_has_one_logs_in_with_a_code_and_who_has_none_without(browser: Client) -> None:
    User.objects.create_superuser("rui", password=PASSWORD)
    set_up(browser)

    assert logging_in.said(logging_in.log_in(Client())) == log_in.WRONG
    assert logging_in.said(logging_in.log_in(Client(), code=WRONG)) == log_in.WRONG
    assert logging_in.said(logging_in.log_in(Client(), password="wrong", code=code())) == log_in.WRONG
    TOTPDevice.objects.update(throttling_failure_timestamp=None)  # a moment has passed
    assert logging_in.said(logging_in.log_in(Client(), code=code())) == ""
    assert logging_in.said(logging_in.log_in(Client(), "rui")) == ""


def test_a_code_may_have_a_space_and_opens_only_once(browser: Client) -> None:
    set_up(browser)
    digits = code()

    assert logging_in.said(logging_in.log_in(Client(), code=f"{digits[:3]} {digits[3:]}")) == ""
    assert logging_in.said(logging_in.log_in(Client(), code=digits)) == log_in.WRONG


def test_each_backup_code_opens_only_once(browser: Client, ana: User) -> None:
    codes = set_up(browser)

    assert logging_in.said(logging_in.log_in(Client(), code=codes[3].upper())) == ""
    assert logging_in.said(logging_in.log_in(Client(), code=codes[3])) == log_in.WRONG
    assert second_factor.backup_codes_left(ana) == 9


def test_wrong_codes_lead_to_the_same_lock_out_as_wrong_passwords(browser: Client) -> None:
    set_up(browser)
    client = Client()
    for password, wrong in [(PASSWORD, WRONG), ("wrong", ""), (PASSWORD, ""), (PASSWORD, "aaaaaaaa"), (PASSWORD, "1")]:
        assert logging_in.said(logging_in.log_in(client, password=password, code=wrong)) == log_in.WRONG

    TOTPDevice.objects.update(throttling_failure_timestamp=None)
    assert logging_in.minutes(logging_in.log_in(client, code=code())) == 1


# --- changing it ---------------------------------------------------------------------------------------------------


def test_new_backup_codes_replace_the_old_ones(browser: Client) -> None:
    old = set_up(browser)

    new = backup_codes(do(browser, "renew", code()))

    assert len(new) == 10
    assert set(new) & set(old) == set()
    assert logging_in.said(logging_in.log_in(Client(), code=old[0])) == log_in.WRONG
    StaticDevice.objects.update(throttling_failure_timestamp=None)  # a moment has passed
    assert logging_in.said(logging_in.log_in(Client(), code=new[0])) == ""


def test_it_is_removed_with_a_code(browser: Client, ana: User) -> None:
    set_up(browser)

    answer = browser.post(PAGE, {"action": "remove", "code": code()}, follow=True)

    assert [str(message) for message in answer.context["messages"]] == ["The second factor is removed."]
    assert not second_factor.is_set_up(ana)
    assert StaticToken.objects.count() == 0
    assert logging_in.said(logging_in.log_in(Client())) == ""


@pytest.mark.parametrize("action", ["renew", "remove", "set_up"])
def test_nothing_is_changed_without_a_right_code(browser: Client, ana: User, action: str) -> None:
    codes = set_up(browser)

    assert errors(do(browser, action, WRONG)) == [second_factor.WRONG_CODE]

    assert second_factor.is_set_up(ana)
    assert set(StaticToken.objects.values_list("token", flat=True)) == set(codes)


def test_a_lost_one_is_reset_by_an_operator(browser: Client, ana: User, capsys: pytest.CaptureFixture[str]) -> None:
    set_up(browser)

    call_command("reset_second_factor", "ana")

    assert capsys.readouterr().err == "The second factor of ana is removed.\n"
    assert (second_factor.is_set_up(ana), StaticToken.objects.count()) == (False, 0)
    for name, sentence in (("ana", "ana has no second factor."), ("rui", "There is no user named rui.")):
        with pytest.raises(CommandError) as caught:
            call_command("reset_second_factor", name)
        assert str(caught.value) == sentence


@pytest.mark.parametrize("model", ["otp_totp_totpdevice", "otp_static_staticdevice"])
def test_nobody_sees_the_secrets_in_the_admin(model: str) -> None:
    with pytest.raises(NoReverseMatch):
        reverse(f"admin:{model}_changelist")


# --- required ------------------------------------------------------------------------------------------------------


def test_where_it_is_required_staff_without_one_gets_no_farther_than_its_page(
    ana: User, client: Client, settings: Settings
) -> None:
    settings.STAFF_SECOND_FACTOR = "required"
    assert logging_in.said(logging_in.log_in(client)) == ""

    for path in LISTS:
        answer = client.get(path, follow=True)
        assert answer.redirect_chain[-1] == (PAGE, 302), path
        assert b"Staff must have a second factor here." in answer.content
    assert client.post("/admin/access/apitoken/add/", {"name": "a"}).status_code == 302


def test_control_where_it_is_optional_the_same_pages_open(browser: Client) -> None:
    assert [browser.get(path).status_code for path in LISTS] == [200] * len(LISTS)


def test_where_it_is_required_setting_it_up_opens_the_admin(ana: User, client: Client, settings: Settings) -> None:
    settings.STAFF_SECOND_FACTOR = "required"
    logging_in.log_in(client)

    assert len(set_up(client)) == 10

    assert client.get(ADMIN).status_code == 200
    assert client.get(LOG_IN)["Location"] == ADMIN
    again = Client()
    assert logging_in.said(logging_in.log_in(again, code=code())) == ""
    assert again.get(ADMIN).status_code == 200


def test_where_it_is_required_staff_without_one_can_log_out(ana: User, client: Client, settings: Settings) -> None:
    settings.STAFF_SECOND_FACTOR = "required"
    logging_in.log_in(client)

    client.post("/admin/logout/")

    assert client.get(PAGE)["Location"] == f"{LOG_IN}?next={PAGE}"


def test_a_log_in_without_a_code_ends_once_it_is_required(browser: Client, settings: Settings) -> None:
    set_up(browser)
    settings.STAFF_SECOND_FACTOR = "off"
    other = Client()
    assert logging_in.said(logging_in.log_in(other)) == ""
    settings.STAFF_SECOND_FACTOR = "required"

    assert (browser.get(ADMIN).status_code, other.get(ADMIN).status_code) == (200, 302)
    assert other.get(ADMIN, follow=True).redirect_chain == [(f"{LOG_IN}?next={ADMIN}", 302)]
    assert "_auth_user_id" not in other.session


def test_where_it_is_required_removing_it_closes_the_admin(browser: Client, settings: Settings) -> None:
    set_up(browser)
    settings.STAFF_SECOND_FACTOR = "required"

    do(browser, "remove", code())

    assert browser.get(ADMIN, follow=True).redirect_chain[-1] == (PAGE, 302)
