"""How log lines are written: by structlog, one line for each event, as JSON or for a console."""

import textwrap
from collections.abc import MutableMapping
from typing import Any

import structlog

from inventory_project.foundation import masking, values


def one_line_a_request(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop the log line at the start of a request. The one at its end has the status, and both have the id."""
    if event.get("event") == "request_started":
        raise structlog.DropEvent
    return event


def unforgeable(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep each text on one line, and indent a stack trace: nothing in them can look like another line of the log."""
    for name, value in event.items():
        if name == "exception":
            event[name] = textwrap.indent(values.printable(str(value), kept="\n"), "  ")
        elif isinstance(value, str):
            event[name] = values.printable(value)
    return event


_ProcessorFormatter = structlog.stdlib.ProcessorFormatter
_JSON: list[Any] = [structlog.processors.JSONRenderer()]
_CONSOLE: list[Any] = [unforgeable, structlog.dev.ConsoleRenderer(colors=False)]
_shared_processors: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    masking.mask_tokens,
]
structlog.configure(
    processors=[
        one_line_a_request,
        structlog.stdlib.filter_by_level,
        *_shared_processors,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
# What a line can have next to its text. `event` itself is structlog's name for the text.
_members = structlog.stdlib.ExtraAdder(
    allow=(
        *("event_id", "event_type", "subject", "data"),
        *("product_id", "region", "actor", "reason", "policy", "before", "problems"),
    )
)


def logging_config(*, level: str, is_json: bool) -> dict[str, Any]:
    """Django's LOGGING: all lines go to standard output, in one format."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": _ProcessorFormatter,
                "processors": [_ProcessorFormatter.remove_processors_meta, *(_JSON if is_json else _CONSOLE)],
                "foreign_pre_chain": [_members, *_shared_processors],
            }
        },
        "handlers": {
            "stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "structured"}
        },
        "root": {"handlers": ["stdout"], "level": level},
        # Refusals are in the request's own line, without stack traces with which anybody could fill the log.
        "loggers": {
            "django.request": {"level": "ERROR"},
            "django.security.DisallowedHost": {"level": "CRITICAL"},
            "psycopg.pool": {"level": "ERROR"},  # the breaker before the pool logs that the server does not answer
            "pika": {
                "level": "CRITICAL"
            },  # it logs twenty lines for a connection; messaging.rabbitmq logs what matters
        },
    }
