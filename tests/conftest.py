"""What every tier of tests stands on: `unit` needs no server, `db` PostgreSQL, `integration` Redis and RabbitMQ too."""

from pathlib import Path

import pytest
from django.conf import settings

# These helpers assert too; without this a failure there would not say what differs.
pytest.register_assert_rewrite("tests.db.reservations.model", "tests.db.stock.records")


@pytest.fixture(autouse=True)
def network_is_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test has seen of the warehouses a second ago is nothing to the next one."""
    monkeypatch.setattr("warehouses.network.RECENT_SECONDS", 0.0)


TESTS = Path(__file__).parent
NEEDED_SERVERS = {
    "db": ("DATABASE_URL",),
    "integration": ("DATABASE_URL", "REDIS_URL", "RABBITMQ_URL"),
    "e2e": ("DATABASE_URL", "REDIS_URL", "RABBITMQ_URL"),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse at once, not test by test, to run a tier without the servers it is about: SQLite cannot show a race.

    Where several processes share the tests, a file each, the slow files come first: with one of them left at the end,
    the other processes would wait for it, minutes for the faults of RabbitMQ.
    """
    if hasattr(config, "workerinput"):  # this is one of xdist's processes; all of them must have the same order
        items.sort(key=lambda item: _haste(item.path))
    tiers = {item.path.relative_to(TESTS).parts[0] for item in items if item.path.is_relative_to(TESTS)}
    for tier in sorted(tiers & NEEDED_SERVERS.keys()):
        missing = [name for name in NEEDED_SERVERS[tier] if not getattr(settings, name)]
        if missing:
            raise pytest.UsageError(
                f"tests/{tier} needs {', '.join(missing)}: run `make test`, or put `python -m tests.servers run --` "
                "before your command."
            )


def _haste(path: Path) -> int:
    """The less, the slower the tests in this file are."""
    if "faults" in path.parts:
        return 0
    if "integration" in path.parts:
        return 1
    return 2
