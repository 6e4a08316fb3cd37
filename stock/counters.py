"""Redis, as far as this service knows it. Nothing is decided by what Redis says, and nothing fails without it."""

from django.conf import settings
from django_redis import get_redis_connection
from redis.exceptions import RedisError


def is_reachable() -> bool:
    """Whether Redis answers now; False as well where none is configured."""
    if not settings.REDIS_URL:
        return False
    try:
        return bool(get_redis_connection("default").ping())
    except RedisError:
        return False
