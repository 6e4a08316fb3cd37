"""Who may read the metrics, which show stock and sales: METRICS_TOKEN, or an API token with the scope `operations`.

Without METRICS_TOKEN they are open on a loopback address, where only this machine can ask. METRICS_TOKEN needs no
database, so an outage can be watched with it.
"""

import hmac

from django.conf import settings
from rest_framework.exceptions import AuthenticationFailed

from inventory_project.foundation import database
from inventory_project.foundation.access import authentication, scopes

CHALLENGE = "Bearer"


def may_read(authorization: str) -> bool:
    """Whether a request with this Authorization header may. Raises Django's errors if the database is unreachable."""
    if not settings.METRICS_TOKEN and settings.IS_LOOPBACK:
        return True
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        return False
    if settings.METRICS_TOKEN and hmac.compare_digest(token.strip().encode(), settings.METRICS_TOKEN.encode()):
        return True
    digest = authentication.digest_of(authorization)
    return digest is not None and _is_of_an_operator(digest)


def _is_of_an_operator(digest: str) -> bool:
    try:
        _, principal = authentication.caller_of(digest)
    except AuthenticationFailed:
        return False
    finally:
        database.return_session()  # this may be a thread that has no other use for it
    return scopes.OPERATIONS in principal.scopes
