"""Going back to an earlier state of the tables and forth again."""

from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def migrate(to: tuple[str, str]) -> None:
    """Bring the app to the migration of this name."""
    MigrationExecutor(connection).migrate([to])


def migrate_everything() -> None:
    """Bring all apps to their latest migrations."""
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
