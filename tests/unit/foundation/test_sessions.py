"""A server that answers one session of a process is there, whatever becomes of another session."""

import time

import psycopg
import pytest

from inventory_project.foundation.breaker import Breaker
from inventory_project.foundation.postgresql import sessions
from inventory_project.foundation.postgresql.sessions import Session
from tests.servers import free_port


@pytest.mark.parametrize(("seconds_ago", "is_open"), [(5.0, True), (0.5, False)])
def test_the_breaker_opens_only_if_no_other_session_was_answered_lately(
    monkeypatch: pytest.MonkeyPatch, seconds_ago: float, is_open: bool
) -> None:
    breaker = Breaker("PostgreSQL", failures_allowed=1)
    monkeypatch.setattr(sessions, "breaker", breaker)
    monkeypatch.setattr(Session, "answered_at", time.monotonic() - seconds_ago)
    monkeypatch.setattr(Session, "last_failure", "")
    with pytest.raises(psycopg.OperationalError):
        Session.connect(host="127.0.0.1", port=free_port(), connect_timeout=2)
    assert breaker.is_open is is_open
    assert "refused" in Session.last_failure
