"""The admin makes a token, shows it once, revokes it, and edits nothing."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from knox.crypto import hash_token

from inventory_project.foundation.access import tokens
from inventory_project.foundation.access.models import ApiToken

FORM = {"name": "checkout", "scopes": ["stock:read", "operations"], "days": "30"}
ADD, LIST = "admin:access_apitoken_add", "admin:access_apitoken_changelist"


@pytest.fixture
def admin(owner: User) -> Client:
    """A superuser's browser."""
    client = Client()
    client.force_login(owner)
    return client


def test_a_token_is_shown_once(admin: Client, owner: User) -> None:
    page = admin.post(reverse(ADD), FORM, follow=True).content.decode()
    token = ApiToken.objects.get()
    secret = re.findall(r"inv_[0-9a-f]{64}", page)
    assert [hash_token(text) for text in secret] == [token.digest]
    assert (token.user, token.scopes, (token.expiry - token.created).days) == (owner, ["stock:read", "operations"], 29)
    assert "inv_" not in admin.get(reverse(LIST)).content.decode()


def test_an_empty_number_of_days_means_for_ever(admin: Client) -> None:
    admin.post(reverse(ADD), FORM | {"days": ""})
    assert ApiToken.objects.get().expiry is None


@pytest.mark.parametrize(
    "change", [{"name": "Check Out"}, {"scopes": []}, {"scopes": ["all"]}, {"days": "0"}, {"name": "taken"}]
)
def test_a_mistake_is_a_form_error(admin: Client, owner: User, change: dict[str, object]) -> None:
    tokens.issue(name="taken", wanted=["operations"], owner=owner)
    response = admin.post(reverse(ADD), FORM | change)
    assert (response.status_code, bool(response.context["errors"])) == (200, True)
    assert ApiToken.objects.count() == 1


def test_a_token_can_be_looked_at_and_not_changed_or_deleted(admin: Client, owner: User) -> None:
    token, _ = tokens.issue(name="checkout", wanted=["operations"], owner=owner)
    change = reverse("admin:access_apitoken_change", args=[token.pk])
    page = admin.get(change)
    assert (page.status_code, b"checkout" in page.content, b'name="_save"' in page.content) == (200, True, False)
    assert admin.post(change, FORM | {"name": "other"}).status_code == 403
    assert admin.post(reverse("admin:access_apitoken_delete", args=[token.pk]), {"post": "yes"}).status_code == 403
    assert ApiToken.objects.get().name == "checkout"


def test_selected_tokens_are_revoked_once(admin: Client, owner: User) -> None:
    made = [tokens.issue(name=name, wanted=["operations"], owner=owner)[0] for name in ("a", "b", "c")]
    choice = {"action": "revoke_selected", "_selected_action": [token.pk for token in made[:2]]}
    assert "Revoked: 2." in admin.post(reverse(LIST), choice, follow=True).content.decode()
    moments = list(ApiToken.objects.filter(name__in="ab").values_list("revoked_at", flat=True))
    assert "Revoked: 0." in admin.post(reverse(LIST), choice, follow=True).content.decode()
    assert list(ApiToken.objects.filter(name__in="ab").values_list("revoked_at", flat=True)) == moments
    assert ApiToken.objects.get(name="c").revoked_at is None


def test_who_may_only_view_may_not_revoke(owner: User) -> None:
    token, _ = tokens.issue(name="checkout", wanted=["operations"], owner=owner)
    viewer = User.objects.create_user("rui", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_apitoken"))
    client = Client()
    client.force_login(viewer)
    assert client.get(reverse(LIST)).status_code == 200
    client.post(reverse(LIST), {"action": "revoke_selected", "_selected_action": [token.pk]})
    assert ApiToken.objects.get().revoked_at is None
    assert client.get(reverse(ADD)).status_code == 403
