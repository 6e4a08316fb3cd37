"""A token that the documents have created may send the requests that they show."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from tests.consoles import Request, Shown, commands

PAGES = ("docs/tutorial.md", "docs/reference/api.md")
HEADER = {"Authorization": "Bearer $TOKEN"}
pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture(autouse=True)
def _seeded(seeded: None) -> None:
    User.objects.create_superuser("ana", password="made-up-for-the-tests")


def tokens(shown: list[Shown]) -> list[str]:
    """The tokens that the commands of a page create."""
    created = []
    for command in shown:
        if "create_api_token" in command.words:
            output = StringIO()
            arguments = command.words[command.words.index("create_api_token") :]
            call_command(*arguments, stdout=output, stderr=StringIO())
            created.append(output.getvalue().strip())
    return created


def status(api: Client, request: Request, **headers: str) -> int:
    """What the service answers to a request that is sent with these headers."""
    sent = {**request.headers, **headers}
    content_type = sent.pop("Content-Type", "application/json")
    return api.generic(request.method, request.path, request.body or "", content_type, headers=sent).status_code


@pytest.mark.parametrize("page", PAGES)
def test_each_request_of_a_page_may_be_sent_with_a_token_of_that_page(guarded_api: Client, page: str) -> None:
    shown = commands(page)
    created = tokens(shown)
    requests = [Request.of(command) for command in shown if command.is_request]
    guarded = [request for request in requests if not request.path.startswith("/health")]

    refused = [
        request
        for request in guarded
        if all(status(guarded_api, request, Authorization=f"Bearer {token}") in (401, 403) for token in created)
    ]

    assert refused == []
    assert len(guarded) >= 7
    assert {status(guarded_api, request) for request in guarded if request.headers.keys() != HEADER.keys()} == {401}


def test_the_tutorials_one_token_may_send_all_its_requests(guarded_api: Client) -> None:
    assert len(tokens(commands("docs/tutorial.md"))) == 1


@pytest.mark.parametrize(
    ("page", "section"), [("docs/tutorial.md", "## With tokens"), ("docs/reference/api.md", "## Tokens and scopes")]
)
def test_the_documents_show_how_a_token_is_sent(guarded_api: Client, page: str, section: str) -> None:
    shown = commands(page, below=section)
    request = next(Request.of(command) for command in shown if command.is_request)
    assert request.headers == HEADER
    [token, *_] = tokens(commands(page))

    assert status(guarded_api, request, Authorization=f"Bearer {token}") == 200
    assert any(command.words[:1] == ["export"] and command.words[1].startswith("TOKEN=") for command in shown)
