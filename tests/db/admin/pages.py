"""What a person does with the pages of the admin."""

import html
import re
from collections.abc import Iterable
from typing import Any

from django.test import Client
from django.urls import reverse

LISTS = {
    model: reverse(f"admin:{model}_changelist")
    for model in (
        *("stock_product", "stock_salesblock", "stock_stocklevel", "stock_stockmovement", "stock_stockdocument"),
        *("reservations_reservation", "messaging_outboxevent", "messaging_inboxmessage"),
    )
}


def change(model: str, pk: object) -> str:
    """The address of a row's own page."""
    return reverse(f"admin:{model}_change", args=[pk])


def choose(client: Client, model: str, action: str, pks: Iterable[object], **answer: str) -> Any:
    """Select rows and an action; with an `answer` give it on the page that asks."""
    choice = {"action": action, "index": "0", "_selected_action": [str(pk) for pk in pks]}
    return client.post(LISTS[model], {**choice, **answer})


def answer(client: Client, model: str, action: str, pks: Iterable[object], **fields: str) -> list[str]:
    """Confirm the action; what the list then tells."""
    response = choose(client, model, action, pks, is_answered="yes", **fields)
    assert (response.status_code, response["Location"]) == (302, LISTS[model])
    return told(client, response)


def told(client: Client, response: Any) -> list[str]:
    """The messages on the page that the response leads to."""
    return [str(message) for message in client.get(response["Location"]).context["messages"]]


def hidden_fields(response: Any) -> dict[str, str]:
    """The hidden fields of a page, which a browser sends back as they are."""
    inputs = re.findall(r'<input type="hidden" name="([^"]+)"(?: value="([^"]*)")?', response.content.decode())
    return {name: html.unescape(value) for name, value in inputs}
