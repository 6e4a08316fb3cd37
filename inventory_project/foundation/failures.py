"""What a failure of the database means: the one table that batches, consumer, relay, health and HTTP answers use.

PostgreSQL names each failure by a SQLSTATE of five characters, of which the first two are its class.
"""

from enum import StrEnum

from django.db import DatabaseError, IntegrityError, InterfaceError, InternalError, OperationalError, connection
from psycopg_pool import PoolTimeout

from inventory_project.foundation.errors import BooksDamaged, Unavailable


class Failure(StrEnum):
    """The kinds of failure. All but DAMAGE and OWN pass by themselves: the same request can be repeated later."""

    LOST = "lost"  # the session was lost, or none could be opened
    READ_ONLY = "read-only"  # the server is a standby, or takes no writes
    BUSY = "busy"  # the server or the pool is too busy or full
    SLOW = "slow"  # a statement or a transaction took longer than its limit
    LOCKED = "locked"  # another transaction kept a row or a lock for longer than `lock_timeout`
    RACED = "raced"  # a deadlock, a uniqueness or another conflict with a concurrent transaction
    DAMAGE = "damage"  # a CHECK was violated: the write would have made the books inconsistent
    OWN = "own"  # the statement is wrong for this request


BY_STATE = {
    "25006": Failure.READ_ONLY,
    "55P03": Failure.LOCKED,
    "40001": Failure.RACED,  # serialization failure, if the isolation level was raised
    "40P01": Failure.RACED,  # deadlock
    "23505": Failure.RACED,  # unique violation
    "0A000": Failure.RACED,  # a prepared statement whose table was migrated; it is prepared again
    "23514": Failure.DAMAGE,
    "57014": Failure.SLOW,  # statement timeout
    "25P03": Failure.SLOW,  # the transaction was idle for too long
}
BY_CLASS = {
    "08": Failure.LOST,  # connection exception
    "57": Failure.LOST,  # the server ended the session, or is starting
    "25": Failure.BUSY,  # a transaction in a state that this statement does not fit
    "53": Failure.BUSY,  # out of connections, memory or disk
    "55": Failure.BUSY,  # an object in use
    "58": Failure.BUSY,  # a system error, such as one of the disk
    "XX": Failure.BUSY,  # an internal error of the server
}


class KeptWaiting(Unavailable):
    """Another transaction keeps something locked that this request needs. Nothing was changed."""


class Undecided(Unavailable):
    """The database failed on this one request, and the failure is logged. A retry may succeed or fail again."""

    code = "internal"


def state_of(error: BaseException) -> str:
    """The SQLSTATE of a failure on PostgreSQL, or an empty string."""
    return str(getattr(error.__cause__, "sqlstate", None) or "")


def kind_of(error: BaseException) -> Failure:
    """The kind of a failure: of one of Django's database errors, or of BooksDamaged."""
    if isinstance(error, BooksDamaged):
        return Failure.DAMAGE
    if connection.vendor != "postgresql":
        return _kind_on_sqlite(error)
    state = state_of(error)
    if state:
        known = BY_STATE.get(state) or BY_CLASS.get(state[:2])
        return known or (Failure.BUSY if isinstance(error, OperationalError) else Failure.OWN)
    if isinstance(error.__cause__, PoolTimeout) or isinstance(error, InternalError):
        return Failure.BUSY
    # libpq reports a server lost between two answers of a pipeline as a plain DatabaseError without a state.
    is_lost = type(error) is DatabaseError or isinstance(error, (OperationalError, InterfaceError))
    return Failure.LOST if is_lost else Failure.OWN


def _kind_on_sqlite(error: BaseException) -> Failure:
    if isinstance(error, IntegrityError):
        if "CHECK constraint failed" in str(error):
            return Failure.DAMAGE
        return Failure.OWN if "FOREIGN KEY" in str(error) else Failure.RACED
    if not isinstance(error, (OperationalError, InterfaceError)):
        return Failure.OWN
    return Failure.BUSY if "locked" in str(error) else Failure.LOST


def refusal_for(error: BaseException) -> Unavailable | None:
    """The refusal for a failure that passes by itself. None for DAMAGE and OWN, which a retry does not fix."""
    match kind_of(error):
        case Failure.LOST:
            return Unavailable("The database cannot be reached; nothing was changed.", code="database_unavailable")
        case Failure.READ_ONLY:
            return Unavailable(
                "The database takes no changes at the moment; nothing was changed.", code="database_unavailable"
            )
        case Failure.LOCKED:
            return kept_waiting()
        case Failure.RACED:
            return Unavailable("A concurrent change prevented this one; nothing was changed. Retry the request.")
        case Failure.BUSY | Failure.SLOW:
            return Unavailable("The database is too busy; nothing was changed.")
    return None


def kept_waiting() -> KeptWaiting:
    """The refusal of a request whose lock was not free in time."""
    return KeptWaiting("Another transaction keeps what this request needs locked; nothing was changed.")
