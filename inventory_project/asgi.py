"""The ASGI application that the web server loads: the fast path, and Django in threads."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")
django.setup()

from django.conf import settings  # noqa: E402  # what follows needs the apps

from inventory_project.foundation.access import limits  # noqa: E402
from inventory_project.foundation.http.answers import Answer  # noqa: E402
from inventory_project.foundation.http.django_threads import DjangoThreads  # noqa: E402
from inventory_project.foundation.http.fast_path import Call, FastPath  # noqa: E402
from inventory_project.wsgi import application as views  # noqa: E402
from reservations.api import fast as reservations  # noqa: E402
from stock.api import fast as stock  # noqa: E402
from stock.counters import allowances  # noqa: E402

# Threads of their own for each of these, because a process that does not answer them is restarted.
HEALTH_THREADS = {"/health/ready": 2, "/health": 1}

limits.limiter.share = allowances.take


async def live(_call: Call) -> Answer:
    """The process answers."""
    return Answer(200, {"status": "ok"})


application = FastPath(
    {("GET", "/health/live"): live, **reservations.operations(), **stock.operations()},
    django=DjangoThreads(views, threads=settings.WEB_THREADS),
    apart={path: DjangoThreads(views, threads=number) for path, number in HEALTH_THREADS.items()},
)
