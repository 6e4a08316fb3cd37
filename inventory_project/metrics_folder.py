"""A folder for the counts that the processes of one `serve` share, gone when that `serve` has ended.

A `serve` that is killed outright leaves its folder behind. Each holds a lock on a file in its folder as long as it
lives, and the kernel releases the lock with the process. The next `serve` of the same user removes the folders whose
lock is free.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "inventory-metrics-"
LOCK = "serve.lock"


@contextmanager
def metrics_folder() -> Iterator[str]:
    """A new folder for PROMETHEUS_MULTIPROC_DIR; those of processes that were killed are removed first."""
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder, (Path(folder) / "new.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(lock.name, Path(folder) / LOCK)  # under this name it is never there without being locked
        yield folder


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
