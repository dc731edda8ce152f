"""Cells of the flat files that reports are made of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from adapters.wire import Unclear

Row = Mapping[str, str]
"""A line by the names of its columns; every cell is text."""


def instant(row: Row, name: str) -> datetime:
    """The instant in a cell. Raises Unclear."""
    try:
        at = datetime.fromisoformat(row[name].strip())
    except ValueError:
        raise Unclear(f"{name} is no instant") from None
    if at.tzinfo is None:
        raise Unclear(f"{name} has no time zone")
    return at.astimezone(UTC)
