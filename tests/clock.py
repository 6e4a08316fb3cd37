"""A process whose clock is wrong, without a wrong clock for the machine."""

import copyreg
import datetime
import time
from typing import Any

import psycopg  # noqa: F401  # before the shift, for its C code insists on the real class
import uuid_utils.compat


class _AnyDatetime(type):
    """`isinstance` must go on knowing the moments that C code makes, such as psycopg's."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _RealDatetime)


_RealDatetime = datetime.datetime


def moment_of(text: str) -> datetime.datetime:
    """The moment that was written down in ISO 8601."""
    return _RealDatetime.fromisoformat(text)


def shift(seconds: float) -> None:
    """From now on the clocks that Python code reads here are off by that much, and so are the ids made of them.

    To be called before Django and the service are imported, which take `datetime` by name. What measures lengths of
    time (`time.monotonic`) and `time.sleep` are as ever.
    """
    time_ns, uuid7 = time.time_ns, uuid_utils.compat.uuid7
    offset = datetime.timedelta(seconds=seconds)

    class ShiftedDatetime(_RealDatetime, metaclass=_AnyDatetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return _RealDatetime.now(tz) + offset

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now(datetime.UTC).replace(tzinfo=None)

    copyreg.pickle(_RealDatetime, lambda moment: (moment_of, (moment.isoformat(),)))  # or it travels by its old name
    datetime.datetime = ShiftedDatetime  # type: ignore[misc]
    time.time_ns = lambda: time_ns() + int(seconds * 1_000_000_000)
    time.time = lambda: time.time_ns() / 1_000_000_000
    uuid_utils.compat.uuid7 = lambda *, nanoseconds=None: uuid7(nanoseconds=nanoseconds or time.time_ns())
