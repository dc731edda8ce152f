"""Rows in PostgreSQL's binary COPY format, for what is written by the million.

Source: PostgreSQL documentation, COPY, "Binary Format". The driver encodes rows too, and looks at each element of each array on
the way, which costs more than all the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

Field: TypeAlias = Callable[[Any], bytes]
"""A value as its length and its bytes."""

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
TEXT_OID = 25

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_length = struct.Struct(">i").pack
_int4 = struct.Struct(">ii").pack
_int8 = struct.Struct(">iq").pack
_float8 = struct.Struct(">id").pack
_array = struct.Struct(">iiiiii").pack


def text(value: str | None) -> bytes:
    """`text`. Raises UnicodeEncodeError for half a character."""
    if value is None:
        return NULL
    raw = value.encode()
    return _length(len(raw)) + raw


def jsonb(value: bytes | None) -> bytes:
    """`jsonb`, of JSON in UTF-8."""
    # The format begins with its version.
    return NULL if value is None else _length(len(value) + 1) + b"\x01" + value


def boolean(value: bool | None) -> bytes:
    """`boolean`."""
    return NULL if value is None else _length(1) + bytes([value])


def integer(value: int | None) -> bytes:
    """`integer`."""
    return NULL if value is None else _int4(4, value)


def bigint(value: int | None) -> bytes:
    """`bigint`."""
    return NULL if value is None else _int8(8, value)


def double(value: float | None) -> bytes:
    """`double precision`."""
    return NULL if value is None else _float8(8, value)


def instant(value: datetime | None) -> bytes:
    """`timestamptz`, of an aware time."""
    return NULL if value is None else _int8(8, (value - _EPOCH) // _MICROSECOND)


def texts(value: Sequence[str] | None) -> bytes:
    """`text[]` of one dimension, without nulls."""
    if value is None:
        return NULL
    if not value:
        return _length(12) + struct.pack(">iii", 0, 0, TEXT_OID)
    raws = [one.encode() for one in value]
    body = b"".join([part for raw in raws for part in (_length(len(raw)), raw)])
    return _array(20 + len(body), 1, 0, TEXT_OID, len(raws), 1) + body


async def into(
    tx: AsyncConnection, table: str, columns: Sequence[str], fields: Sequence[Field], values: Iterable[Sequence[Any]]
) -> None:
    """Add rows to a table, in their order; columns that are not named have their defaults."""
    await send(tx, table, columns, rows(fields, values))


async def plain(tx: AsyncConnection, table: str, columns: Sequence[str], content: bytes) -> None:
    """The same of text: a line for each row, tabs between its fields, what is empty is null. Tabs, ends of lines and backslashes
    within a field are escaped by a backslash; a NUL cannot be."""
    connection = (await tx.get_raw_connection()).driver_connection
    assert connection is not None
    await connection.copy_to_table(table, source=BytesIO(content), columns=columns, format="text", null="")


async def send(tx: AsyncConnection, table: str, columns: Sequence[str], content: bytes) -> None:
    """The same of what `rows` made."""
    connection = (await tx.get_raw_connection()).driver_connection
    assert connection is not None
    await connection.copy_to_table(table, source=BytesIO(content), columns=columns, format="binary")


def rows(fields: Sequence[Field], values: Iterable[Sequence[Any]]) -> bytes:
    """A whole COPY of rows, one value for each of `fields`."""
    count = struct.pack(">h", len(fields))
    parts = [HEADER]
    for row in values:
        parts.append(count)
        parts += [field(value) for field, value in zip(fields, row, strict=True)]
    parts.append(TRAILER)
    return b"".join(parts)
