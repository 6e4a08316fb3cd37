"""The commands: the token alone on standard output, one clear line on failure."""

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from knox.crypto import hash_token

from inventory_project.foundation.access.models import ApiToken


def run(name: str, *arguments: Any) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(name, *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_token_alone_is_on_standard_output(owner: User) -> None:
    out, err = run("create_api_token", "checkout", "--scope", "stock:read", "--scope", "reservations:write")
    secret = out.strip()
    token = ApiToken.objects.get()
    assert out == f"{secret}\n"
    assert token.digest == hash_token(secret)
    assert (token.name, token.user, token.scopes) == ("checkout", owner, ["stock:read", "reservations:write"])
    assert secret not in err
    assert f"until {token.expiry:%Y-%m-%d}" in err


def test_days_no_expiry_and_user_are_obeyed(owner: User) -> None:
    staff = User.objects.create_user("rui", is_staff=True)
    run("create_api_token", "short", "--scope", "operations", "--days", "1", "--user", "rui")
    run("create_api_token", "endless", "--scope", "operations", "--no-expiry")
    short, endless = ApiToken.objects.get(name="short"), ApiToken.objects.get(name="endless")
    assert (short.user, (short.expiry - short.created).days) == (staff, 0)
    assert (endless.user, endless.expiry) == (owner, None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["Check Out", "--scope", "stock:read"], "Lower-case letters, digits, dots, hyphens and underscores only."),
        (["a", "--scope", "stock:read", "--days", "0"], "A token lives 1 to 3650 days, not 0."),
        (["a", "--scope", "stock:read", "--user", "nobody"], "There is no active staff user named nobody."),
        (["taken", "--scope", "stock:read"], "There is a token named taken already; revoke it or choose another name."),
    ],
)
def test_a_mistake_is_told_in_one_line(owner: User, arguments: list[str], sentence: str) -> None:
    run("create_api_token", "taken", "--scope", "operations")
    with pytest.raises(CommandError) as caught:
        run("create_api_token", *arguments)
    assert str(caught.value) == sentence
    assert ApiToken.objects.count() == 1


@pytest.mark.parametrize(
    "arguments", [["a"], ["a", "--scope", "everything"], ["a", "--scope", "operations", "--days", "x"]]
)
def test_wrong_arguments_are_told_by_the_parser(owner: User, arguments: list[str]) -> None:
    with pytest.raises(CommandError, match=r"--scope|--days"):
        run("create_api_token", *arguments)


def test_without_a_superuser_nobody_answers_for_a_token(db: None) -> None:
    User.objects.create_user("rui", is_staff=True)
    with pytest.raises(CommandError, match="No superuser exists"):
        run("create_api_token", "a", "--scope", "operations")


def test_a_token_is_revoked_by_its_name_once(owner: User) -> None:
    run("create_api_token", "checkout", "--scope", "operations")
    assert run("revoke_api_token", "checkout") == ("", "Token checkout is revoked.\n")
    assert ApiToken.objects.get().revoked_at is not None
    with pytest.raises(CommandError, match="There is no token named checkout"):
        run("revoke_api_token", "checkout")
