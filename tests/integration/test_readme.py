"""The requests of README.md, docs/tutorial.md and docs/reference/api.md are answered as shown, one after the other.

Ids, moments and request ids differ each time, and `...` stands for whatever is there. An id that the service creates
must stand in an answer before a request uses it.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.consoles import ADDRESS, Request, commands
from tests.service import Answer, Service, environment, manage

SEEDED = (Path(settings.BASE_DIR) / "fixtures" / "products.yaml").read_text(encoding="utf-8")
NEEDS_REDIS = ("/admin/inventory/sync",)  # on SQLite there are no counters

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|\.\.\.|[^".]+|\.')
ANYTHING = "..."


class Reader:
    """Sends what the documents show and compares the answers, as a reader does who puts in the ids of his answers."""

    def __init__(self, service: Service | None) -> None:
        self.service = service
        self.address = f"http://127.0.0.1:{service.port}" if service else ADDRESS
        self.ids: dict[str, str] = {}  # what stands for an id in the documents, with the one that the service gave
        self.sent: set[tuple[str, str, str | None]] = set()

    def follow(self, page: str) -> int:
        """All requests of a page, in their order; how many there are."""
        shown = [command for command in commands(page) if command.is_request]
        for command in shown:
            request = Request.of(command)
            where = f"{page}: {request.method} {request.path}"
            if request.path in NEEDS_REDIS:
                assert self.ask(request).json()["code"] == "no_counters", where
                continue
            expected = json.loads(as_json(command.printed), object_pairs_hook=Members)
            status = self.status(request, expected)
            answer = self.ask(request)
            assert answer.status == status, f"{where}: {answer.text}"
            actual = json.loads(answer.body, object_pairs_hook=Members)
            assert self.is_as_shown(expected, actual), f"{where}\nshown  {command.printed}\nactual {answer.text}"
        return len(shown)

    def ask(self, request: Request) -> Answer:
        for id_ in UUID.findall(request.body or "") + UUID.findall(SEEDED):
            self.ids.setdefault(id_, id_)
        unknown = [id_ for id_ in UUID.findall(request.path) if id_ not in self.ids]
        assert not unknown, f"{request.path}: no answer above has {unknown}"
        path = UUID.sub(lambda found: self.ids[found[0]], request.path)
        body = None if request.body is None else request.body.encode()
        assert self.service is not None
        return self.service.ask(request.method, path, body, **request.headers)

    def status(self, request: Request, expected: Any) -> int:
        """That of the problem which is shown; else 201 for what is created, and 200 for all others and for repeats."""
        key = (request.method, request.path, request.body)
        is_repeat = key in self.sent
        self.sent.add(key)
        problem = next((value for name, value in expected if name == "status" and isinstance(value, int)), None)
        creates = request.path.endswith(("/reservations", "/receipts", "/adjustments"))
        is_created = request.method == "POST" and creates and not is_repeat
        return problem or (201 if is_created else 200)

    def is_as_shown(self, shown: Any, actual: Any) -> bool:
        """Whether the answer, or a part of it, is what the document shows; learns the ids in it."""
        if isinstance(shown, (Members, list)) and isinstance(actual, (Members, list)):
            return type(shown) is type(actual) and self.parts_are_as_shown(list(shown), list(actual))
        if isinstance(shown, tuple) and isinstance(actual, tuple):
            return bool(shown[0] == actual[0]) and self.is_as_shown(shown[1], actual[1])
        if isinstance(shown, str) and isinstance(actual, str):
            return self.text_is_as_shown(shown, actual)
        return type(shown) is type(actual) and bool(shown == actual)

    def parts_are_as_shown(self, shown: list[Any], actual: list[Any]) -> bool:
        """The members of an object or the items of a list, in their order, with room where `...` stands."""
        if not shown:
            return not actual
        first, *rest = shown
        if first in (ANYTHING, (ANYTHING, ANYTHING)):
            return any(self.parts_are_as_shown(rest, actual[start:]) for start in range(len(actual) + 1))
        return bool(actual) and self.is_as_shown(first, actual[0]) and self.parts_are_as_shown(rest, actual[1:])

    def text_is_as_shown(self, shown: str, actual: str) -> bool:
        if MOMENT.fullmatch(shown):
            return MOMENT.fullmatch(actual) is not None
        if UUID.fullmatch(shown) and UUID.fullmatch(actual):
            return self.ids.setdefault(shown, actual) == actual
        known = UUID.sub(lambda found: self.ids.get(found[0], found[0]), shown)
        known = known.replace(ADDRESS, self.address)
        pattern = ".*".join(re.escape(part) for part in known.split(ANYTHING))
        return re.fullmatch(pattern, actual) is not None


class Members(list[tuple[str, Any]]):
    """The members of an object in their order; `...` may be among them more than once."""


def as_json(printed: str) -> str:
    """The answer as JSON, with a text for each `...`, and with it as a member's name and value in an object."""
    text = ""
    open_: list[str] = []
    for token in TOKENS.findall(printed):
        if token == ANYTHING:
            text += f'"{ANYTHING}":"{ANYTHING}"' if open_[-1] == "{" else f'"{ANYTHING}"'
            continue
        text += token
        if token[0] != '"':
            for letter in token:
                if letter in "{[":
                    open_.append(letter)
                elif letter in "}]":
                    open_.pop()
    return text


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Somebody with a service that was just seeded."""
    env = environment(INVENTORY_DATA_DIR=tmp_path)
    assert manage("migrate", "--verbosity", "0", env=env).returncode == 0
    assert manage("seed", "--warehouses", "--products", env=env).returncode == 0
    with Service(env=env, log=tmp_path / "serve.log") as service:
        yield Reader(service)


def test_the_requests_of_readme_tutorial_and_api_page_are_answered_as_shown_one_after_the_other(
    reader: Reader,
) -> None:
    assert reader.follow("README.md") == 2
    assert reader.follow("docs/tutorial.md") >= 9
    assert reader.follow("docs/reference/api.md") >= 11


def test_the_requests_of_the_api_page_are_answered_as_shown_without_the_readmes(reader: Reader) -> None:
    assert reader.follow("docs/reference/api.md") >= 11


@pytest.mark.parametrize(
    ("shown", "is_right"),
    [
        ('{"a":1,"b":[{"c":"x"}]}', True),
        ('{"a":1, ...}', True),
        ('{..., "b":[...]}', True),
        ('{"b":[{"c":"x"}],"a":1}', False),  # another order
        ('{"a":1}', False),  # a member is missing
        ('{"a":"1", ...}', False),
        ('{"a":1,"b":[{"c":"y"}]}', False),
        ('{..., "d":1}', False),
    ],
)
def test_control_what_differs_from_the_document_is_noticed(shown: str, is_right: bool) -> None:
    reader = Reader(None)
    actual = json.loads('{"a":1,"b":[{"c":"x"}]}', object_pairs_hook=Members)
    assert reader.is_as_shown(json.loads(as_json(shown), object_pairs_hook=Members), actual) is is_right
