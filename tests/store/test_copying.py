"""Rows written in PostgreSQL's binary form arrive as they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from store import copying
from store.session import Store

FIELDS = (copying.bigint, copying.integer, copying.double, copying.instant, copying.text, copying.texts)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
ROWS = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1) | st.none(),
        st.integers(-(2**31), 2**31 - 1) | st.none(),
        st.floats(allow_nan=False) | st.none(),
        st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)) | st.none(),  # noqa: DTZ001
        WORDS | st.none(),
        st.lists(WORDS, max_size=5) | st.none(),
    ),
    max_size=8,
)


async def there_and_back(store: Store, values: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    async with store.begin() as tx:
        await tx.execute(text("drop table if exists copied"))
        await tx.execute(
            text(
                "create temporary table copied "
                "(n serial, a bigint, b integer, c double precision, d timestamptz, e text, f text[]) on commit drop"
            )
        )
        connection = (await tx.get_raw_connection()).driver_connection
        assert connection is not None
        content = BytesIO(copying.rows(FIELDS, values))
        await connection.copy_to_table("copied", source=content, columns=list("abcdef"), format="binary")
        return [tuple(row) for row in await tx.execute(text("select a, b, c, d, e, f from copied order by n"))]


@given(ROWS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_every_value_comes_back(store: Store, values: list[tuple[Any, ...]]) -> None:
    assert await there_and_back(store, values) == values


async def test_a_time_of_another_zone_is_the_same_instant(store: Store) -> None:
    at = datetime(2026, 11, 28, 12, 30, 0, 123456, timezone(timedelta(hours=9)))
    assert (await there_and_back(store, [(1, 2, 3.5, at, "", [])]))[0][3] == at


def test_half_a_character_and_a_missing_value_are_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        copying.text("\ud83d")
    with pytest.raises(ValueError, match="shorter"):
        copying.rows(FIELDS, [(1, 2)])
