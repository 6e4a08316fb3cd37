"""Functions run at once in threads of real processes, each a Django of its own on the test's database.

    with Crowd(4) as crowd:
        answers = crowd.race([partial(buy, product_id)] * 64)

A call is a `partial` of a function at the top of a module, so that it can travel; what it returns travels back.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Self
from urllib.parse import urlsplit

from tests import clock

Call = Callable[[], Any]
Guard = Callable[[], AbstractContextManager[Any]]

# For a process that hangs. A race takes two seconds, but on a busy machine a process takes a minute just to start; one
# that ends is noticed at once.
ANSWER_SECONDS = 120
STOP_SECONDS = 10


class Died(Exception):
    """A process ended instead of answering."""


class CallFailed(Exception):
    """A call raised; the message is its traceback."""


# --- the test's side -----------------------------------------------------------------------------------------------


def url_of_the_test_database() -> str:
    """DATABASE_URL with the name of the database that pytest-django has made."""
    from django.conf import settings
    from django.db import connection

    return urlsplit(settings.DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}").geturl()


class Worker:
    """One process, told what to run over a pipe; it ends when the pipe does, so none outlives the tests."""

    def __init__(self, **environment: str) -> None:
        self.pipe, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from tests.processes import main; main()", str(theirs.fileno())],
                env=os.environ | {"DATABASE_URL": url_of_the_test_database()} | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the log; what goes wrong travels back, and a crash speaks on stderr
                pass_fds=[theirs.fileno()],
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """End the process: in order, or by force if it hangs or is frozen."""
        self.pipe.close()
        self.send(signal.SIGCONT)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def send(self, signal_number: int) -> None:
        """Send a signal: SIGSTOP freezes the process, SIGCONT thaws it, SIGKILL kills it."""
        self.process.send_signal(signal_number)

    def prepare(self, calls: Sequence[Call], *, within: Sequence[Guard] = ()) -> None:
        """Have a thread with an open database connection ready for each call, inside the contexts of `within`."""
        self.pipe.send((list(calls), list(within)))

    def start(self) -> None:
        """Let all the prepared calls go at once; returns when they have gone."""
        self.receive()
        self.pipe.send(None)

    def answers(self) -> list[Any]:
        """What the calls returned, in their order. Raises CallFailed, or Died when the process did not answer."""
        return _sound(self.receive())

    def run(self, call: Call, *, within: Sequence[Guard] = ()) -> Any:
        """One call, and what it returned."""
        self.begin(call, within=within)
        return self.answers()[0]

    def begin(self, *calls: Call, within: Sequence[Guard] = ()) -> None:
        """Prepare and start; `answers` gives the results."""
        self.prepare(calls, within=within)
        self.start()

    def wait(self) -> int:
        """The exit code of a process that ends by itself; the negative number of the signal that killed it."""
        return self.process.wait(ANSWER_SECONDS)

    def receive(self) -> Any:
        """The next message of the process; raises Died when there is none."""
        try:
            if self.pipe.poll(ANSWER_SECONDS):
                return self.pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            raise Died(f"the process ended with {self.wait()}") from error
        raise Died(f"the process has not answered for {ANSWER_SECONDS} seconds")


class Crowd:
    """Several workers that race with each other. One that dies, or is left in the middle of a race, is replaced."""

    def __init__(self, processes: int, **environment: str) -> None:
        self.environment = environment
        self.workers = [Worker(**environment) for _ in range(processes)]
        self.is_racing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        with ExitStack() as stack:
            for worker in self.workers:
                stack.push(worker)

    def race(self, calls: Sequence[Call], *, within: Sequence[Guard] = ()) -> list[Any]:
        """Run all calls at once, dealt out to the workers in turn; their answers in the order of the calls."""
        self.begin(calls, within=within)
        return self.answers()

    def begin(self, calls: Sequence[Call], *, within: Sequence[Guard] = ()) -> None:
        """Start a race and return, so that the test can do its own part meanwhile; `answers` waits for the end."""
        if self.is_racing:  # an earlier test failed before it had all answers
            self.__exit__()
            self.workers = [Worker(**self.environment) for _ in self.workers]
        self.is_racing = True
        step = len(self.workers)
        for i, worker in enumerate(self.workers):
            worker.prepare(calls[i::step], within=within)
        for worker in self.workers:
            worker.start()

    def answers(self) -> list[Any]:
        """What the calls of the race returned, in their order."""
        step = len(self.workers)
        dealt = [worker.receive() for worker in self.workers]
        self.is_racing = False
        return _sound([dealt[i % step][i // step] for i in range(sum(map(len, dealt)))])

    def each(self, call: Call) -> list[Any]:
        """One call in every process; the answers."""
        return self.race([call] * len(self.workers))


def _sound(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, CallFailed):
            raise answer
    return answers


def wait_until(is_so: Callable[[], bool], *, seconds: float = ANSWER_SECONDS) -> None:
    """Return once `is_so()`; raises TimeoutError if it is not within the time."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {seconds} s: {is_so}")
        time.sleep(0.01)


# --- the process's side --------------------------------------------------------------------------------------------


def main() -> None:
    """Run what comes over the pipe until it ends."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")
    if offset := os.environ.get("TEST_CLOCK_OFFSET_SECONDS"):
        clock.shift(float(offset))

    import django

    django.setup()
    from django.db import connection

    with Connection(int(sys.argv[1])) as pipe:
        while True:
            try:
                calls, within = pipe.recv()
            except (EOFError, ConnectionResetError):
                break
            with ExitStack() as stack:
                for guard in within:
                    stack.enter_context(guard())
                answers = _race(calls, ready=partial(pipe.send, None), go=pipe.recv)
            pipe.send(answers)
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's own


def _race(calls: Sequence[Call], *, ready: Callable[[], None], go: Callable[[], Any]) -> list[Any]:
    connected, started = threading.Barrier(len(calls) + 1), threading.Event()
    if not calls:
        ready()
        go()
        return []
    with ThreadPoolExecutor(len(calls)) as threads:
        futures = [threads.submit(_run, call, connected, started) for call in calls]
        with suppress(threading.BrokenBarrierError):  # a call could not connect; its answer says why
            connected.wait(ANSWER_SECONDS)
        ready()
        go()
        started.set()
        return [future.result() for future in futures]


def _run(call: Call, connected: threading.Barrier, started: threading.Event) -> Any:
    """Connect before the start, so that the calls meet each other and not the connecting."""
    import traceback

    from django.db import connection

    try:
        connection.ensure_connection()
        connected.wait(ANSWER_SECONDS)
        started.wait(ANSWER_SECONDS)
        return call()
    except Exception:  # the test's side is told of whatever it was
        connected.abort()
        return CallFailed(traceback.format_exc())
    finally:
        connection.close()
