"""Logs: one line per event, as JSON, by whatever module `logging.getLogger` was called in.

What a line may hold is decided here: an event's dotted name and its values. Control characters are escaped by JSON itself, long
values are cut, and a value whose name says secret does not get through, whoever put it there.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import orjson
import structlog

LONGEST = 2_000
SECRET = frozenset(
    {"authorization", "password", "secret", "client_secret", "refresh_token", "access_token", "body", "headers"}
)
# Libraries that tell of every call, or of what we tell ourselves.
QUIET = (
    "httpx",
    "httpcore",
    "asyncio",
    "arq",
    "websockets",
    "sqlalchemy.engine",
    "alembic",
    "uvicorn.access",
    "uvicorn.error",
)


def set_up(level: str, form: Literal["json", "console"]) -> None:
    """Send every log of this process to stderr in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def formatter(form: Literal["json", "console"]) -> logging.Formatter:
    """One line per record."""
    shared: list[Any] = [
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        _safe,
    ]
    last: Any = (
        structlog.processors.JSONRenderer(serializer=_json) if form == "json" else structlog.dev.ConsoleRenderer()
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last]
    )


# What a database error adds to its words: the statement's values, a buyer's name among them.
_PARAMETERS = re.compile(r"\[parameters: .*?\](?=\n\(Background on this error|\Z)", re.DOTALL)


def _safe(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if name.lower() in SECRET:
            event[name] = "…"
        elif isinstance(value, str):
            value = _PARAMETERS.sub("[parameters: …]", value)
            # JSON escapes what is below a space; a terminal also acts on what lies above DEL, and on line separators.
            escaped = "".join(char if char.isprintable() or char in "\n\t" else f"\\u{ord(char):04x}" for char in value)
            event[name] = escaped if len(escaped) <= LONGEST or name == "exception" else escaped[:LONGEST] + "…"
    return event


def _json(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()
