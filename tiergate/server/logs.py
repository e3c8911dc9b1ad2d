"""How a layer logs: one JSON object a line, and nothing of what a fault says, which may hold personal fields."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import stamina
import structlog

from policies.context import correlation
from policies.problems import places


def log_as_json() -> None:
    """Log one JSON object a line on standard error; libraries log only when something is wrong."""
    logging.setLogRecordFactory(_without_messages)
    threading.excepthook = _log_end_of_thread
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    stamina.instrumentation.set_on_retry_hooks(())  # they log a fault's message, which may hold personal fields
    logging.getLogger("httpx").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            _with_correlation,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )


def _with_correlation(_: Any, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add to a line the correlation id of the work that it is about, unless it names one."""
    if current := correlation.current():
        line.setdefault("correlation_id", current)
    return line


def _without_messages(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """Return a log record in which an exception is its type and where it was raised.

    The exception's message is left out: it may hold personal fields.
    """
    record = logging.LogRecord(*args, **kwargs)
    if record.exc_info and (error := record.exc_info[1]) is not None:
        record.msg, record.args = f"{record.getMessage()} {type(error).__name__} at {places(error)}", ()
        record.exc_info = None
    return record


def _log_end_of_thread(broken: threading.ExceptHookArgs) -> None:
    at = places(broken.exc_value) if broken.exc_value else []
    structlog.get_logger("tiergate.server.logs").error("a thread ended", fault=broken.exc_type.__name__, at=at)
