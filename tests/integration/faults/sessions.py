"""What PostgreSQL says of its sessions."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Session:
    """A row of pg_stat_activity; `last_statement` is the one that runs or ran last."""

    pid: int
    state: str | None
    last_statement: str


Sessions = Callable[[], list[Session]]
