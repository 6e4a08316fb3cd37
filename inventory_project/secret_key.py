"""The secret key of an installation on SQLite, created at the first start and kept next to the SQLite file."""

import fcntl
import os
import secrets
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def of_installation(folder: Path) -> str:
    """The key in the data folder, created if missing. Raises ImproperlyConfigured if the folder cannot be written."""
    path = folder / "secret_key"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _kept(path) or _create(path)
    except OSError as error:
        raise ImproperlyConfigured(f"INVENTORY_DATA_DIR {folder} cannot be written: {error}.") from error


def _kept(path: Path) -> str:
    """The key in the file, or an empty string if the file is missing or empty."""
    return path.read_text().strip() if path.exists() else ""


def _create(path: Path) -> str:
    """Create the key's file atomically, readable only by its owner. Two starts at once end up with one key."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if key := _kept(path):
            return key
        key = secrets.token_urlsafe(64)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix="secret_key.", delete=False) as file:
            file.write(key)
        Path(file.name).replace(path)
        return key
    finally:
        os.close(folder)
