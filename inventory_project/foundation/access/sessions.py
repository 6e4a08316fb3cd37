"""The log-in sessions of the admin, in the database only: a copy elsewhere could survive a log-out."""

import re

from django.contrib.sessions.backends import db

KEY = re.compile("[a-z0-9]{32}")


class SessionStore(db.SessionStore):
    """Django's store. A cookie that cannot be the key of a session is none, and is not asked about."""

    def _validate_session_key(self, key: str | None) -> bool:
        return key is not None and KEY.fullmatch(key) is not None
