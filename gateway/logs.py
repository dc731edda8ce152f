"""Logs: one line per event, as JSON, by whatever module `logging.getLogger` was called in.

What a line may hold is decided here: an event's dotted name and its values. Control characters are escaped by JSON itself, long
values are cut, and a value whose name says secret does not get through, whoever put it there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
from collections.abc import MutableMapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO

import orjson
import structlog

LONGEST = 2_000
SHORT = 200
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


class Lines(logging.StreamHandler[TextIO]):
    """Writes a line per record, and gathers those of requests, tens of thousands a second, to write them together at the end of
    the loop's turn. Lines keep their order."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._gathered: list[str] = []

    def add(self, line: str) -> None:
        """Write a line, or several, soon."""
        self.acquire()  # other threads log too
        self._gathered.append(line)
        first = len(self._gathered) == 1
        self.release()
        if first:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

    def emit(self, record: logging.LogRecord) -> None:
        self.flush()
        super().emit(record)

    def flush(self) -> None:
        self.acquire()
        try:
            gathered, self._gathered = self._gathered, []
            with contextlib.suppress(OSError):  # nobody is left to tell
                if gathered:
                    self.stream.write("".join(gathered))
                super().flush()
        finally:
            self.release()


_lines: Lines | None = None


def set_up(level: str, form: Literal["json", "console"]) -> None:
    """Send every log of this process to stderr in one form."""
    global _lines
    handler = Lines(sys.stderr)
    handler.setFormatter(formatter(form))
    _lines = handler if form == "json" else None
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def word(text: str) -> str:
    """A text as it may be told, in JSON."""
    return _short_word(text) if len(text) <= SHORT else _word(text)


def _word(text: str) -> str:
    return _json(_safe(None, "info", {"text": text})["text"])


_short_word = lru_cache(maxsize=1_024)(_word)


def tell_many(log: logging.Logger, event: str, many: Sequence[str]) -> None:
    """The same lines as `log.info(event, extra=values)` for each, at a fiftieth of the cost: for what is told of each request.
    The values are JSON already: members of an object, and safe to tell. Handlers of others do not see them."""
    if _lines is None:
        for values in many:
            log.info(event, extra=orjson.loads(f"{{{values}}}"))
    elif log.isEnabledFor(logging.INFO):
        begin = f'{{"event":"{event}",'
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        end = f',"logger":"{log.name}","level":"info","at":"{at}"}}\n'
        _lines.add(f"{begin}{(end + begin).join(many)}{end}")


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
