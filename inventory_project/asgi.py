"""The ASGI application that the web server loads: the fast path, and Django in threads."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")
django.setup()

from django.conf import settings  # noqa: E402  # what follows needs the apps

from inventory_project.foundation.http.answers import Answer  # noqa: E402
from inventory_project.foundation.http.django_threads import DjangoThreads  # noqa: E402
from inventory_project.foundation.http.fast_path import Call, FastPath  # noqa: E402
from inventory_project.wsgi import application as views  # noqa: E402
from reservations.api import fast as reservations  # noqa: E402
from stock.api import fast as stock  # noqa: E402

HEALTH_THREADS = 4  # of their own, because a process that does not answer is restarted


async def live(_call: Call) -> Answer:
    """The process answers."""
    return Answer(200, {"status": "ok"})


application = FastPath(
    {("GET", "/health/live"): live, **reservations.operations(), **stock.operations()},
    django=DjangoThreads(views, threads=settings.WEB_THREADS),
    health=DjangoThreads(views, threads=HEALTH_THREADS),
)
