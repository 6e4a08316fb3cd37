"""All settings. What comes from the environment is read by `inventory_project.environment`.

There are two ways to run. Embedded: without DATABASE_URL, everything is in one SQLite file and no server is needed.
Real: PostgreSQL at DATABASE_URL, optionally with Redis and RabbitMQ. An invalid or conflicting value aborts start-up
with a message that names it. docs/reference/configuration.md lists all variables; `.env.example` is a template.
"""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import django_stubs_ext
import environ
from django.core.exceptions import ImproperlyConfigured
from psycopg import IsolationLevel, ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from inventory_project import log_config, secret_key
from inventory_project.environment import (
    BASE_DIR,
    choice,
    country,
    is_loopback,
    positive_decimal,
    server_url,
    switch,
    text,
    whole,
)

django_stubs_ext.monkeypatch()  # allows ModelAdmin[Product] and the like, which only the type checker needs

# --- which servers -------------------------------------------------------------------------------------------------

POSTGRESQL = ("postgres", "postgresql")
DATABASE_URL = server_url("DATABASE_URL", POSTGRESQL, password=text("DATABASE_PASSWORD"))
DATABASE_SESSION_URL = server_url("DATABASE_SESSION_URL", POSTGRESQL, password=text("DATABASE_PASSWORD"))  # no pooler
try:
    conninfo_to_dict(DATABASE_SESSION_URL)
except ProgrammingError:
    raise ImproperlyConfigured("DATABASE_SESSION_URL cannot be read.") from None  # the error may quote the password
DATABASE_POOLER = switch("DATABASE_POOLER", default=False)
REDIS_URL = server_url("REDIS_URL", ("redis", "rediss"), password=text("REDIS_PASSWORD"))
RABBITMQ_URL = server_url("RABBITMQ_URL", ("amqp", "amqps"), password=text("RABBITMQ_PASSWORD"))
EMBEDDED = not DATABASE_URL
OUTBOX_TO_LOG = not RABBITMQ_URL  # without a broker, events are written to the log
for _name, _url in (("REDIS_URL", REDIS_URL), ("RABBITMQ_URL", RABBITMQ_URL)):
    if EMBEDDED and _url:
        raise ImproperlyConfigured(
            f"{_name} is set but DATABASE_URL is not: SQLite runs without other servers. Set DATABASE_URL too."
        )

INVENTORY_HOST = text("INVENTORY_HOST", "127.0.0.1")
INVENTORY_PORT = whole("INVENTORY_PORT", 3006, low=1, high=65535)
IS_LOOPBACK = is_loopback(INVENTORY_HOST)
# A process answers the busiest operations on its event loop, and waits for PostgreSQL a third of its time.
WEB_WORKERS = whole("WEB_WORKERS", 1 if EMBEDDED else min(os.cpu_count() or 1, 4), low=1, high=64)
# For the admin and all that the event loop does not answer. All pools, each eight larger, must fit into a default
# PostgreSQL, which allows 100 connections.
WEB_THREADS = whole("WEB_THREADS", max(1, min(16, 80 // WEB_WORKERS - 8)), low=1, high=256)
WEB_MAX_CONNECTIONS = whole("WEB_MAX_CONNECTIONS", 4_096, low=16, high=100_000)  # of one process
WEB_MAX_CONNECTIONS_PER_ADDRESS = whole("WEB_MAX_CONNECTIONS_PER_ADDRESS", 1_024, low=16, high=100_000)
WEB_HEAD_SECONDS = whole("WEB_HEAD_SECONDS", 5, low=1, high=300)
WEB_BODY_SECONDS = whole("WEB_BODY_SECONDS", 10, low=1, high=300)
WEB_WRITE_SECONDS = whole("WEB_WRITE_SECONDS", 10, low=1, high=300)
WEB_KEEPALIVE_SECONDS = whole("WEB_KEEPALIVE_SECONDS", 5, low=1, high=300)
GROUP_COMMIT_MAX_BATCH = whole("GROUP_COMMIT_MAX_BATCH", 64, low=1, high=1_000)
GROUP_COMMIT_MAX_LINES = 200  # of the requests of one batch together; a request with more is on its own
GROUP_COMMIT_PATIENCE_SECONDS = 3  # longer than a batch waits for locks, so that one slow batch does not fail the next
GROUP_COMMIT_WORK_SECONDS = 15  # plus the patience, below the time that a stopping web process has
if EMBEDDED and WEB_WORKERS != 1:
    raise ImproperlyConfigured("WEB_WORKERS must be 1 without DATABASE_URL: SQLite takes one writing process.")

# --- who may call --------------------------------------------------------------------------------------------------

API_AUTH_ENABLED = switch("INVENTORY_API_AUTH", default=not (EMBEDDED and IS_LOOPBACK))
if not API_AUTH_ENABLED and not IS_LOOPBACK:
    raise ImproperlyConfigured(
        f"INVENTORY_API_AUTH is off and INVENTORY_HOST is {INVENTORY_HOST}: without tokens only a loopback address "
        "such as 127.0.0.1 is allowed."
    )

METRICS_TOKEN = text("METRICS_TOKEN")
if METRICS_TOKEN and not re.fullmatch("[!-~]{32,200}", METRICS_TOKEN):
    raise ImproperlyConfigured("METRICS_TOKEN must have 32 to 200 printable ASCII characters and no spaces.")
API_DOCS = switch("INVENTORY_API_DOCS", default=IS_LOOPBACK)

RATE_LIMIT_PER_SECOND = whole("RATE_LIMIT_PER_SECOND", 0, low=0, high=1_000_000)  # units of each token; 0: no limit
RATE_LIMIT_BURST = whole("RATE_LIMIT_BURST", 10 * RATE_LIMIT_PER_SECOND or 1, low=1, high=10_000_000)
MAX_LIVE_ORDERS_PER_TOKEN = whole("MAX_LIVE_ORDERS_PER_TOKEN", 0, low=0, high=1_000_000)  # 0: no limit
MAX_LIVE_UNITS_PER_TOKEN = whole("MAX_LIVE_UNITS_PER_TOKEN", 0, low=0, high=1_000_000_000)  # 0: no limit
UNLIMITED_TOKENS = frozenset(name.strip() for name in text("UNLIMITED_TOKENS").split(",") if name.strip())

DATA_DIR = Path(text("INVENTORY_DATA_DIR", str(BASE_DIR / "var"))).resolve()
SECRET_KEY = text("SECRET_KEY")
if EMBEDDED:
    SECRET_KEY = SECRET_KEY or secret_key.of_installation(DATA_DIR)
elif not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY must be set with DATABASE_URL: at least 50 random characters.")
elif len(SECRET_KEY) < 50:
    raise ImproperlyConfigured(f"SECRET_KEY is too short: {len(SECRET_KEY)} characters, at least 50 are needed.")
elif len(set(SECRET_KEY)) < 5:
    raise ImproperlyConfigured("SECRET_KEY is too simple: it repeats a few characters. Use random ones.")

ALLOWED_HOSTS = [host.strip() for host in text("ALLOWED_HOSTS").split(",") if host.strip()]
if "*" in ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS must name the hosts; * would let any name in.")
if not ALLOWED_HOSTS:
    if not IS_LOOPBACK:
        raise ImproperlyConfigured(f"ALLOWED_HOSTS must be set when INVENTORY_HOST is {INVENTORY_HOST}.")
    ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

HTTPS = switch("INVENTORY_HTTPS", default=not IS_LOOPBACK)
CSRF_TRUSTED_ORIGINS = [origin.strip() for origin in text("CSRF_TRUSTED_ORIGINS").split(",") if origin.strip()]
for _origin in CSRF_TRUSTED_ORIGINS:
    if not _origin.startswith(("https://", "http://")):
        raise ImproperlyConfigured(f"CSRF_TRUSTED_ORIGINS must begin with https:// or http:// each, not {_origin!r}.")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
# The paths that take tokens, without their slash; the Django admin's own pages also begin with admin/.
API_PATHS = r"^(api/inventory(/|$)|admin/((inventory|products)/|reservations/[^/]+/expire/?$))"
# Health checks and scrapers do not pass the proxy that ends TLS. The API refuses plain HTTP instead of redirecting it.
SECURE_REDIRECT_EXEMPT = [r"^health", r"^metrics/?$", API_PATHS]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
CSRF_COOKIE_HTTPONLY = True  # no script of a page reads it
X_FRAME_OPTIONS = "DENY"
DEBUG = False  # no variable turns it on: its error pages would expose the settings

# --- business rules ------------------------------------------------------------------------------------------------

RESERVATION_TTL_MAX_MINUTES = whole("RESERVATION_TTL_MAX_MINUTES", 60, low=1, high=10_080)
RESERVATION_TTL_MINUTES = positive_decimal("RESERVATION_TTL_MINUTES", "15", high=RESERVATION_TTL_MAX_MINUTES)
RESERVATION_EXTEND_MAX_MINUTES = whole("RESERVATION_EXTEND_MAX_MINUTES", 120, low=1, high=43_200)
if RESERVATION_EXTEND_MAX_MINUTES < RESERVATION_TTL_MAX_MINUTES:
    raise ImproperlyConfigured(
        f"RESERVATION_EXTEND_MAX_MINUTES is {RESERVATION_EXTEND_MAX_MINUTES} and RESERVATION_TTL_MAX_MINUTES is "
        f"{RESERVATION_TTL_MAX_MINUTES}: with extensions a hold cannot last shorter than without."
    )
POSTAL_COUNTRY = country("POSTAL_COUNTRY", "BR")
RESERVATION_MAX_ORDERS = 64  # in one call of the bulk reserve
RESERVATION_MAX_LINES = whole("RESERVATION_MAX_LINES", 100, low=1, high=1_000)
RESERVATION_MAX_QUANTITY = whole("RESERVATION_MAX_QUANTITY", 10_000, low=1, high=1_000_000)
RESERVATION_MAX_UNITS = whole("RESERVATION_MAX_UNITS", 1_000_000, low=1, high=1_000_000_000)
RESERVATION_MAX_PARTS = 500  # lines once the warehouses are chosen, in each of which a line may take a part
RESERVATION_PAGE_MAX_LINES = 5_000  # after which a page of the list ends
LOW_STOCK_THRESHOLD = whole("LOW_STOCK_THRESHOLD", 10, low=0, high=1_000_000)
EXPIRY_INTERVAL_SECONDS = whole("EXPIRY_INTERVAL_SECONDS", 2, low=1, high=3_600)
AUDIT_INTERVAL_SECONDS = whole("AUDIT_INTERVAL_SECONDS", 60, low=1, high=604_800)
AUDIT_FULL_INTERVAL_DAYS = whole("AUDIT_FULL_INTERVAL_DAYS", 7, low=1, high=365)
AUDIT_GRACE_SECONDS = whole("AUDIT_GRACE_SECONDS", 120, low=1, high=86_400)
SYNC_INTERVAL_SECONDS = whole("SYNC_INTERVAL_SECONDS", 60, low=1, high=86_400)
SYNC_WORKERS = whole("SYNC_WORKERS", min(os.cpu_count() or 1, 4), low=1, high=64)
DOCUMENT_MAX_QUANTITY = 10_000_000  # units in one line of a receipt or an adjustment; a level stays far below 2^63
DOCUMENT_MAX_LINES = 500
AVAILABILITY_MAX_PRODUCTS = 500
MAX_BODY_BYTES = 262_144
INVENTORY_CRASH_POINT = text("INVENTORY_CRASH_POINT")  # for tests only; see inventory_project.foundation.faults
CRASH_POINT = re.compile(r"[a-z_.]+=(kill|sleep:[0-9]+(\.[0-9]+)?)")
if INVENTORY_CRASH_POINT and not all(CRASH_POINT.fullmatch(wish) for wish in INVENTORY_CRASH_POINT.split(",")):
    raise ImproperlyConfigured(
        "INVENTORY_CRASH_POINT must be NAME=kill or NAME=sleep:SECONDS, several with commas and no spaces, "
        f"not {INVENTORY_CRASH_POINT!r}."
    )

# --- Django --------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "inventory_project",
    "inventory_project.foundation",  # before the admin, whose templates it extends
    "inventory_project.foundation.access.admin_app.StaffAdminConfig",  # Django's admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "knox",
    "django_celery_beat",
    "django_prometheus",
    "django_structlog",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "inventory_project.foundation.access",
    "inventory_project.foundation.messaging",
    "warehouses",
    "stock",
    "reservations",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "inventory_project.foundation.http.headers.HeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "inventory_project.foundation.http.lines.NewlineMiddleware",
    "inventory_project.foundation.http.logs.RequestLogMiddleware",
    "inventory_project.foundation.http.plain_http.PlainHttpMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "inventory_project.foundation.admin_addresses.AdminAddressMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "inventory_project.urls"
WSGI_APPLICATION = "inventory_project.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "inventory_project.formats"
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # the admin's files are served from the packages, without collectstatic
FORM_RENDERER = "django.forms.renderers.DjangoTemplates"

# --- the database --------------------------------------------------------------------------------------------------

LOCK_TIMEOUT_MS = 2_000
STATEMENT_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000
DATABASE_POOL_SIZE = whole("DATABASE_POOL_SIZE", WEB_THREADS + 8, low=2, high=500)


def postgresql(url: str) -> dict[str, Any]:
    """Django's settings for the PostgreSQL at `url`: with a pool, and time limits for statements and locks.

    Parameters in the URL take precedence. Behind a connection pooler nothing is prepared, and the limits are those of
    the role, because a pooler passes on neither.
    """
    try:
        config: dict[str, Any] = environ.Env.db_url_config(url)
    except ValueError:
        raise ImproperlyConfigured("DATABASE_URL cannot be read.") from None  # the error may have a part of a password
    if not config.get("NAME"):
        raise ImproperlyConfigured("DATABASE_URL names no database.")
    parameters = config.get("OPTIONS", {})
    limits = {
        "DateStyle": "ISO",
        "lock_timeout": LOCK_TIMEOUT_MS,
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
        # The server's side of the options below: the locks of a dead machine are free within half a minute.
        "tcp_keepalives_idle": 10,
        "tcp_keepalives_interval": 3,
        "tcp_keepalives_count": 3,
    }
    config["ENGINE"] = "inventory_project.foundation.postgresql"
    config["DISABLE_SERVER_SIDE_CURSORS"] = DATABASE_POOLER  # such a cursor needs the same session for each read
    config["CONN_HEALTH_CHECKS"] = True  # after a restart of the server the pool is full of dead connections
    config["OPTIONS"] = {
        "prepare_threshold": None if DATABASE_POOLER else 2,  # only for the SQL of foundation.database, not the ORM's
        "target_session_attrs": "read-write",  # of several hosts in the URL the one that takes writes, never a standby
        "connect_timeout": 3,
        # A server that vanishes, by a cut cable or a fail-over, is noticed within twenty seconds.
        "tcp_user_timeout": 10_000,  # ms
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "application_name": "inventory-service",
        **parameters,
        # READ COMMITTED, whatever the server's default: every decision looks again after it has locked.
        "isolation_level": IsolationLevel.READ_COMMITTED.value,
        "pool": {
            "min_size": 1,
            "max_size": DATABASE_POOL_SIZE,
            "timeout": 2,
            "max_idle": 60,
            "reconnect_timeout": 2,  # psycopg's five minutes would keep the service down long after the server is back
        },
    }
    options = " ".join(f"-c {name}={value}" for name, value in limits.items())
    if not DATABASE_POOLER:
        config["OPTIONS"]["options"] = f"{options} {parameters.get('options', '')}".strip()
    return config


def sqlite() -> dict[str, Any]:
    """Django's settings for the embedded SQLite file; IMMEDIATE, so that writers wait instead of failing."""
    os.umask(0o077)  # the file has the digests of tokens and passwords, so only its owner may read it
    file = DATA_DIR / "inventory.sqlite3"
    with suppress(OSError):  # there is none yet
        file.chmod(0o600)  # one of an earlier version
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": file,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


DATABASES = {"default": sqlite() if EMBEDDED else postgresql(DATABASE_URL)}

# --- cache, sessions, background jobs ------------------------------------------------------------------------------

REDIS_TIMEOUT_SECONDS = 0.05  # for connecting, and for each answer

if REDIS_URL:
    CACHES: dict[str, Any] = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": "inventory",
            "OPTIONS": {
                # JSON, not pickle: a client that can write to Redis must not be able to run code here.
                "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
                "PARSER_CLASS": "stock.counters.parser.Parser",  # a time limit for each answer, not for each packet
                # A slow helper is worse than none. Built from a URL, the client does not retry on its own; built from
                # host and port, it would.
                "SOCKET_CONNECT_TIMEOUT": REDIS_TIMEOUT_SECONDS,
                "SOCKET_TIMEOUT": REDIS_TIMEOUT_SECONDS,
                "IGNORE_EXCEPTIONS": True,
                "CONNECTION_POOL_KWARGS": {
                    "max_connections": 1_024,  # more than a process has threads; beyond it a call would fail
                    # A new connection sends only AUTH and SELECT, because each command may cost the time-out.
                    "protocol": 2,
                    "driver_info": None,
                    "retry_on_timeout": False,
                    "health_check_interval": 0,
                },
            },
        }
    }
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
SESSION_ENGINE = "inventory_project.foundation.access.sessions"
SESSION_COOKIE_AGE = 8 * 3_600  # seconds; a working day of the staff
STAFF_SECOND_FACTOR = choice("STAFF_SECOND_FACTOR", "off", ("off", "optional", "required"))
OTP_TOTP_ISSUER = "Inventory Service"  # what an app for codes shows next to the user name

CELERY_BROKER_URL = RABBITMQ_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "inventory-tasks"  # not Celery's default "celery", which others at the same broker may use
# RabbitMQ drops a task that has ended its worker three times: no malformed message keeps the workers from working.
TASK_QUEUE_ARGUMENTS = {"x-queue-type": "quorum", "x-delivery-limit": 2}
CELERY_TASK_QUEUES = {
    CELERY_TASK_DEFAULT_QUEUE: {"exchange": CELERY_TASK_DEFAULT_QUEUE, "queue_arguments": TASK_QUEUE_ARGUMENTS}
}
CELERY_WORKER_CONSUMER = "inventory_project.worker:Consumer"
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
WORKER_METRICS_PORT = whole("WORKER_METRICS_PORT", 0, low=0, high=65535)  # 0: the worker serves no metrics
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"

# --- events --------------------------------------------------------------------------------------------------------

EVENT_SOURCE = "/inventory-service"
EVENTS_EXCHANGE = "inventory.events"
ORDER_EVENTS_EXCHANGE = text("ORDER_EVENTS_EXCHANGE", "order.events")
PAYMENT_EVENTS_EXCHANGE = text("PAYMENT_EVENTS_EXCHANGE", "payment.events")
MESSAGE_EXCHANGES = {"order": ORDER_EVENTS_EXCHANGE, "payment": PAYMENT_EVENTS_EXCHANGE}  # by a name's first word
MESSAGE_ROUTES = "inventory_project.routes.ROUTES"
MESSAGE_MAX_BYTES = MAX_BODY_BYTES
MESSAGE_DELAY_SECONDS = 5  # until a message that came too early is looked at again
MESSAGE_MAX_TRIES = 12
MESSAGE_MAX_DELIVERIES = 20  # after the first, of a message whose consumer died each time; then it is a dead letter
CONSUMER_BATCH = whole("CONSUMER_BATCH", 256, low=1, high=1_000)
CONSUMER_METRICS_PORT = whole("CONSUMER_METRICS_PORT", 0, low=0, high=65535)
RELAY_METRICS_PORT = whole("RELAY_METRICS_PORT", 0, low=0, high=65535)
EXPIRY_METRICS_PORT = whole("EXPIRY_METRICS_PORT", 0, low=0, high=65535)
PRUNE_INTERVAL_SECONDS = 3_600
EVENT_RETENTION_DAYS = whole("EVENT_RETENTION_DAYS", 30, low=1, high=3_650)

# --- HTTP API ------------------------------------------------------------------------------------------------------

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["inventory_project.foundation.access.authentication.BearerTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["inventory_project.foundation.access.permissions.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["inventory_project.foundation.http.throttling.CostThrottle"],
    "DEFAULT_PARSER_CLASSES": ["inventory_project.foundation.http.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["inventory_project.foundation.http.problems.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "inventory_project.foundation.http.problems.AnyAccept",
    "DEFAULT_PAGINATION_CLASS": "inventory_project.foundation.http.pages.Pages",
    "DEFAULT_FILTER_BACKENDS": ["inventory_project.foundation.http.filters.StrictFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "inventory_project.foundation.http.schema.ScopedSchema",
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS is 405
    "EXCEPTION_HANDLER": "inventory_project.foundation.http.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,  # ?format= is an unknown parameter like any other
}
KNOX_TOKEN_MODEL = "access.ApiToken"  # noqa: S105  # a model's name
MIGRATION_MODULES = {"knox": None}  # knox's own migrations would create an unused token table
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Inventory Service",
    "DESCRIPTION": "Stock over several warehouses: reserve it for a limited time, confirm, release, return.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": r"/(?:api|admin)(?:/inventory)?",  # the path after it groups the operations
    # The API page lists the groups in this order: the ones for newcomers first.
    "TAGS": [
        {"name": "reservations", "description": "Hold stock for an order, then deduct or free it."},
        {"name": "availability", "description": "What can be sold now."},
        {"name": "products", "description": "What is stocked."},
        {"name": "stock", "description": "Stock levels, the ledger, and the documents that change them."},
        {"name": "warehouses", "description": "Where stock is kept."},
        {"name": "operations", "description": "For staff: block sales, end a hold, maintain the counters."},
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "/static/inventory_project/favicon.svg",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": True,
    "PATH_CONVERTER_OVERRIDES": {"id": {"type": "string", "format": "uuid"}},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "inventory_project.foundation.http.schema.add_problems",
        "inventory_project.foundation.http.schema.group",
    ],
}

# --- logs ----------------------------------------------------------------------------------------------------------

LOG_LEVEL = choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
LOG_FORMAT = choice("LOG_FORMAT", "console" if EMBEDDED else "json", ("json", "console"))
LOGGING = log_config.logging_config(level=LOG_LEVEL, is_json=LOG_FORMAT == "json")
