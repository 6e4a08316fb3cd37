"""Two callers for the same tests: one is answered by Django alone, the other by the fast path where that answers."""

import asyncio
import json
from concurrent.futures import Executor, Future
from typing import Any

from django.http import HttpResponse
from django.test import Client
from django.test.client import FakePayload

from inventory_project.foundation.http.bodies import Message, Scope
from inventory_project.foundation.http.fast_path import FastPath
from reservations.api import fast as reservations
from stock.api import fast as stock

DJANGO, FAST = "django", "fast"


class Inline(Executor):
    """Does the work at once in the caller's thread, which has the test's transaction.

    Meanwhile no loop counts as running in this thread: Django has another connection for code on a loop.
    """

    def submit(self, work: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        done: Future[Any] = Future()
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        try:
            done.set_result(work(*arguments, **options))
        except BaseException as error:
            done.set_exception(error)
        finally:
            asyncio._set_running_loop(loop)
        return done


class HandedOver:
    """Stands where Django's threads are: notes that the request was handed over to them."""

    def __init__(self) -> None:
        self.is_asked = False

    async def answer(self, _scope: Scope, _body: bytes, _send: Any) -> None:
        self.is_asked = True


class FastClient(Client):
    """A test client that asks the fast path first. `handed_over` counts what it left to Django.

    Without operations it leaves everything to Django, but what is refused before that, such as a body over the limit.
    """

    def __init__(self, *, is_fast: bool, **options: Any) -> None:
        super().__init__(**options)
        self.django = HandedOver()
        self.answered, self.handed_over = 0, 0
        inline = Inline()
        operations = {**reservations.operations(inline), **stock.operations(inline)} if is_fast else {}
        self.fast_path = FastPath(operations, django=self.django, apart={}, executor=inline)  # type: ignore[arg-type]

    def request(self, **request: Any) -> Any:
        """One request, as `Client.request`."""
        environ: dict[str, Any] = self._base_environ(**request)  # type: ignore[attr-defined]  # Django's own
        body = environ["wsgi.input"].read() if environ.get("CONTENT_LENGTH") else b""
        messages = asyncio.run(self._ask(_scope(environ), body))
        if self.django.is_asked:
            self.django.is_asked = False
            self.handed_over += 1
            return super().request(**{**request, "wsgi.input": FakePayload(body)})
        self.answered += 1
        return _response(messages)

    async def _ask(self, scope: Scope, body: bytes) -> list[Message]:
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            messages.append(message)

        await self.fast_path(scope, receive, send)
        return messages


def _scope(environ: dict[str, Any]) -> Scope:
    """What a server would have made of the same request."""
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if value and (name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH"))
    }
    headers.setdefault("host", environ["SERVER_NAME"])
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"].encode("latin-1").decode(errors="replace"),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "headers": [
            (name.encode("latin-1"), str(value).encode("latin-1", "replace")) for name, value in headers.items()
        ],
        "client": (environ["REMOTE_ADDR"], 1),
    }


def _response(messages: list[Message]) -> HttpResponse:
    start, *bodies = messages
    response = HttpResponse(b"".join(message["body"] for message in bodies), status=start["status"])
    del response["Content-Type"]
    for name, value in start["headers"]:
        response[name.decode()] = value.decode()
    response.json = lambda: json.loads(response.content)  # type: ignore[attr-defined]  # as the test client's answers have
    return response


def client(kind: str) -> Client:
    """The caller of this kind; it sees a defect as the answer 500, as a caller from outside would."""
    return FastClient(is_fast=kind == FAST, enforce_csrf_checks=True, raise_request_exception=False)
