"""The fast path: an ASGI application that answers the busiest operations on the event loop. Django answers the rest.

An operation of the fast path takes only requests in their usual form: a known token, a plain JSON body, no cookies. It
hands everything else to Django, whose view knows how to refuse it, so each rule and each refusal is written once. What
an answer looks like is shared by both. In short:

    request --> body read whole --> fast operation --> answer
                                        | not in its usual form
                                        +--> Django, in a thread
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import uuid_utils
from django.conf import settings
from django.db import Error
from django.http.request import split_domain_port, validate_host
from django.urls import resolve
from rest_framework.exceptions import AuthenticationFailed
from structlog.contextvars import bind_contextvars

from inventory_project.foundation import database, tracing
from inventory_project.foundation.access import authentication
from inventory_project.foundation.access.principals import ANONYMOUS, Principal
from inventory_project.foundation.errors import Unavailable
from inventory_project.foundation.http import answers, bodies, heads, problems
from inventory_project.foundation.http.answers import Answer, ViewMetrics
from inventory_project.foundation.http.bodies import ClientLeftError, Receive, Scope, Send, TooLargeError, TooShortError
from inventory_project.foundation.http.django_threads import DjangoThreads
from inventory_project.foundation.http.logs import MAX_FORWARDED_SHOWN, RequestLog
from inventory_project.foundation.values import CANONICAL_UUID

ID = "<id>"  # in the path of an operation: a UUID
EXAMPLE_ID = "00000000-0000-0000-0000-000000000000"
CONTENT_TYPES = (b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8")
MAX_HOSTS_REMEMBERED = 64
MAX_LOOKUPS = 64  # tokens that are looked up; beyond it Django looks them up, in its own threads


@dataclass(frozen=True, slots=True)
class Call:
    """A request in its usual form: who calls, the id in its path if there is one, its query and its body."""

    actor: str
    id: UUID | None
    query: bytes
    body: bytes


Headers = Mapping[bytes, bytes]  # by name; of a name that came twice, the last value
Operation = Callable[[Call], Awaitable[Answer | None]]  # None: nothing was done, and Django must answer


@dataclass(frozen=True, slots=True)
class Route:
    """An operation with what its view in Django declares: the scope, the methods of the path and the name."""

    operation: Operation
    scope: str | None
    allow: str
    metrics: ViewMetrics


class FastPath:
    """The ASGI application. `operations` by method and path; each path has a view in Django with the same meaning."""

    def __init__(
        self,
        operations: Mapping[tuple[str, str], Operation],
        *,
        django: DjangoThreads,
        apart: Mapping[str, DjangoThreads],
        executor: Executor | None = None,
    ) -> None:
        """`apart` has threads of their own for some paths. `executor`, if it is given, looks up tokens."""
        self._django, self._apart = django, apart
        self._routes = {key: _route(*key, operation) for key, operation in operations.items()}
        self._log = RequestLog()
        self._principals = Principals(executor or ThreadPoolExecutor(1, thread_name_prefix="tokens"))
        self._hosts: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        if refused := heads.refusal_of(scope, headers):
            await self._refuse(scope, headers, send, *refused)
            return
        try:
            await self._answer_whole(scope, headers, await bodies.read(scope, receive), send)
        except ClientLeftError:
            return
        except TooLargeError:
            await self._refuse(scope, headers, send, 413, f"The body is larger than {settings.MAX_BODY_BYTES} bytes.")
        except TooShortError:
            detail = "The body is shorter than its Content-Length; nothing was done."
            await self._refuse(scope, headers, send, 400, detail)
        except Unavailable as refusal:
            await self._refuse(scope, headers, send, 503, refusal.detail)

    async def _answer_whole(self, scope: Scope, headers: Headers, body: bytes, send: Send) -> None:
        """Answer a request whose body is complete. Raises Unavailable if no thread is free for it."""
        path, id_ = _split(scope["path"])
        route = self._routes.get((scope["method"], path))
        if route is None or not await self._answer(route, id_, scope, headers, body, send):
            await self._apart.get(path, self._django).answer(scope, body, send)

    async def _refuse(self, scope: Scope, headers: Headers, send: Send, status: int, detail: str) -> None:
        """Answer what neither path takes, and close the connection."""
        context = _context(scope, headers)
        bind_contextvars(**context)
        await answers.send(scope, send, Answer(status, problems.problem(status, detail)), closes=True)
        self._log.finished(f"{scope['method']} {_target(scope)}", status, context)

    async def _answer(
        self, route: Route, id_: UUID | None, scope: Scope, headers: Headers, body: bytes, send: Send
    ) -> bool:
        """Answer the request, unless only Django can: then nothing was done, and this is False."""
        began = time.perf_counter()
        if len(headers) < len(scope["headers"]) or not self._is_usual(route, headers, body):
            return False
        principal = await self._principal(route, headers)
        if principal is None:
            return False
        context = _context(scope, headers)
        bind_contextvars(**context)
        traceparent = headers.get(b"traceparent", b"").decode("latin-1")
        with tracing.carrying(tracing.of_headers(traceparent, context["request_id"])):
            answer = await _decided(route.operation, Call(principal.actor, id_, scope["query_string"], body))
        if answer is None:
            return False
        sent = await answers.send(scope, send, answer, allow="" if answer.status == 500 else route.allow)
        route.metrics.count(answer.status, time.perf_counter() - began, received=len(body), sent=sent)
        self._log.finished(f"{scope['method']} {_target(scope)}", answer.status, context)
        return True

    def _is_usual(self, route: Route, headers: Headers, body: bytes) -> bool:
        if not self._is_own_host(headers.get(b"host", b"")):
            return False
        if route.scope is None:  # a health check, which need not come by the proxy that ends TLS
            return True
        if b"cookie" in headers:
            return False
        if settings.SECURE_SSL_REDIRECT and headers.get(b"x-forwarded-proto") != b"https":
            return False
        content_type = headers.get(b"content-type")
        return not body if content_type is None else content_type.lower() in CONTENT_TYPES

    def _is_own_host(self, host: bytes) -> bool:
        """Whether ALLOWED_HOSTS has it. Those seen are remembered, because Django's check takes longer than parsing."""
        if host in self._hosts:
            return True
        domain, _ = split_domain_port(host.decode("latin-1"))
        is_own = bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
        if is_own and len(self._hosts) < MAX_HOSTS_REMEMBERED:
            self._hosts.add(host)
        return is_own

    async def _principal(self, route: Route, headers: Headers) -> Principal | None:
        """The caller, if it may call this; None if Django must refuse it."""
        if route.scope is None or not settings.API_AUTH_ENABLED:
            return ANONYMOUS
        principal = await self._principals.of(headers.get(b"authorization", b""))
        return principal if principal is not None and route.scope in principal.scopes else None


class Principals:
    """Who the bearer tokens belong to. An unknown token is looked up in a thread, once for all who wait for it."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._asked: dict[str, asyncio.Future[Principal | None]] = {}

    async def of(self, header: bytes) -> Principal | None:
        """The caller with this Authorization header; None if there is none, or the database did not tell."""
        digest = authentication.digest_of(header.decode("latin-1"))
        if digest is None:
            return None
        if known := authentication.verified.get(digest):
            return known[1]
        if digest not in self._asked:
            if len(self._asked) >= MAX_LOOKUPS:
                return None
            self._asked[digest] = asyncio.get_running_loop().run_in_executor(self._executor, _look_up, digest)
            self._asked[digest].add_done_callback(lambda _: self._asked.pop(digest))
        return await asyncio.shield(self._asked[digest])


def _look_up(digest: str) -> Principal | None:
    try:
        return authentication.caller_of(digest)[1]
    except (AuthenticationFailed, Error):
        return None  # Django finds it out again, and says it
    finally:
        database.return_session()


async def _decided(operation: Operation, call: Call) -> Answer | None:
    """The operation's answer, or the problem that it raised."""
    try:
        return await operation(call)
    except Exception as error:
        return answers.refused(error)


# --- what a request looks like -------------------------------------------------------------------------------------

_ID = re.compile(f"/({CANONICAL_UUID})(?=/|$)")


def _split(path: str) -> tuple[str, UUID | None]:
    """The path with ID in place of its first UUID, and the UUID."""
    found = _ID.search(path)
    if found is None:
        return path, None
    return f"{path[: found.start(1)]}{ID}{path[found.end(1) :]}", UUID(found[1])


def _context(scope: Scope, headers: Headers) -> dict[str, Any]:
    """What each log line of the request has: its id, and the addresses it came from."""
    request_id = headers.get(b"x-request-id", b"").decode("latin-1")
    context = {
        "request_id": request_id if tracing.is_request_id(request_id) else str(uuid_utils.uuid4()),
        "ip": scope["client"][0] if scope["client"] else "",
    }
    if forwarded := headers.get(b"x-forwarded-for"):
        context["forwarded_for"] = forwarded.decode("latin-1")[:MAX_FORWARDED_SHOWN]
    return context


def _target(scope: Scope) -> str:
    query: bytes = scope["query_string"]
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    return (path + b"?" + query if query else path).decode("latin-1")


def _route(method: str, path: str, operation: Operation) -> Route:
    """The route with what its view declares. Raises Django's Resolver404 if there is no such view."""
    match = resolve(path.replace(ID, EXAMPLE_ID))
    view = getattr(match.func, "cls", None)
    if view is None:  # a plain view, which needs no token
        return Route(operation, None, "", ViewMetrics(match.view_name, method))
    actions: Mapping[str, str] = match.func.actions  # type: ignore[attr-defined]  # what as_view() was given
    required = view.required_scopes
    scope = required[actions[method.lower()]] if isinstance(required, dict) else required
    methods = {*actions, "head"} if "get" in actions else {*actions}
    allowed = [name.upper() for name in view.http_method_names if name in methods]
    return Route(operation, scope, ", ".join(allowed), ViewMetrics(match.view_name, method))
