"""The metrics that the processes of one `serve` share, in a folder that is removed when that `serve` ends.

A `serve` that is killed leaves its folder behind. Each `serve` holds a lock on a file in its folder, and the kernel
releases the lock when the process ends. The next `serve` of the same user removes the folders whose lock is free.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import values

PREFIX = "inventory-metrics-"
LOCK = "serve.lock"


@contextmanager
def metrics_folder() -> Iterator[str]:
    """A new folder for PROMETHEUS_MULTIPROC_DIR. Folders of processes that were killed are removed first."""
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder, (Path(folder) / "new.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(lock.name, Path(folder) / LOCK)  # a file with this name is locked from the start
        yield folder


def remember_process_id() -> None:
    """Have prometheus_client ask the system for the id of this process after a fork only, not at each count.

    It asks because it must notice a fork, which took 15 % of a web process's time. Must be called before the first
    metric is created.
    """
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return
    ids = [os.getpid()]
    os.register_at_fork(after_in_child=lambda: ids.append(os.getpid()))
    values.ValueClass = values.MultiProcessValue(lambda: ids[-1])  # type: ignore[no-untyped-call]


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, or removed by another `serve` meanwhile
            if not folder.is_symlink() and folder.stat().st_uid == os.getuid():
                _remove_unless_locked(folder)


def _remove_unless_locked(folder: Path) -> None:
    # A folder without this file has just been created, or belongs to a version that did not lock; open() fails then.
    with (folder / LOCK).open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
