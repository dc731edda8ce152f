"""A delivery is durable when it is answered: as a row, or in Redis while PostgreSQL has no time, and then it becomes a row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import event, select, text

from domain.hint import Hint, HintKind
from domain.ids import ChannelId
from domain.privacy import PrivacyKind, PrivacyRequest
from domain.product import Rejected
from gateway import inbox as module
from gateway.inbox import Inbox
from store import privacy, quarantine
from store.session import UNAVAILABLE, Store
from store.tables import hint
from tests.workers.fake_port import make_port
from tests.workers.house import make_deps
from workers import spill
from workers.spill import KEY, Drain, Full, drain

CHANNEL = ChannelId("shop")
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
PATIENT_S = 30.0


def told(id: str, subject: str = "gid://shopify/Order/1") -> Hint:
    return Hint(CHANNEL, id, "orders/updated", HintKind.ORDER, subject, AT)


def asked(id: str = "p-1") -> PrivacyRequest:
    return PrivacyRequest(
        CHANNEL, id, PrivacyKind.BUYER_REDACT, "gid://shopify/Customer/1", ("gid://shopify/Order/1",), AT
    )


async def rows(store: Store) -> list[str]:
    async with store.begin() as tx:
        return sorted(await tx.scalars(select(hint.c.notification_id)))


@asynccontextmanager
async def blocked(store: Store, table: str) -> AsyncIterator[None]:
    """Nobody can write to `table` while the block runs."""
    async with store.begin() as tx:
        await tx.execute(text(f"lock table {table} in access exclusive mode"))
        yield


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, PostgreSQL is waited for."""
    monkeypatch.setattr(module, "PATIENCE_S", PATIENT_S)


@pytest.fixture
async def inbox(store: Store, redis: Redis) -> AsyncIterator[Inbox]:
    made = Inbox(store, redis)
    yield made
    await made.close()


async def test_what_comes_at_once_is_kept_by_few_transactions(
    patient: None, inbox: Inbox, store: Store, redis: Redis
) -> None:
    begun: list[object] = []
    engine: Any = store

    def count(connection: object) -> None:
        begun.append(connection)

    event.listen(engine._engine.sync_engine, "begin", count)
    try:
        await asyncio.gather(*(inbox.keep([told(f"n-{number:03}")]) for number in range(200)))
    finally:
        event.remove(engine._engine.sync_engine, "begin", count)
    assert await rows(store) == [f"n-{number:03}" for number in range(200)]
    assert len(begun) <= 3
    assert await redis.xlen(KEY) == 0


async def test_an_answer_comes_while_postgresql_is_blocked_and_the_row_afterward(
    inbox: Inbox, store: Store, redis: Redis
) -> None:
    rejected = Rejected(CHANNEL, "notification", "carts/update", "topic: is unknown", "")
    async with blocked(store, "hint"):
        async with asyncio.timeout(PATIENT_S):
            await asyncio.gather(*(inbox.keep([told(f"n-{number}")]) for number in range(5)))
            await inbox.keep([rejected])
        # Only the one that is under way waits at PostgreSQL, and nobody waits for it.
        assert await redis.xlen(KEY) == 6
    while await drain(redis, store):
        pass
    await inbox.close()
    assert await rows(store) == [f"n-{number}" for number in range(5)]
    async with store.begin() as tx:
        (aside,) = await quarantine.recent(tx)
    assert aside.rejected == rejected
    assert await redis.xlen(KEY) == 0


async def test_once_postgresql_is_back_rows_are_written_at_once_again(
    inbox: Inbox, store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with blocked(store, "hint"):
        await inbox.keep([told("n-1")])
    await inbox.close()
    monkeypatch.setattr(module, "PATIENCE_S", PATIENT_S)
    await inbox.keep([told("n-2")])
    assert "n-2" in await rows(store)
    assert await redis.xlen(KEY) == 1


async def test_what_the_law_speaks_of_is_answered_when_it_is_a_row_and_not_before(
    patient: None, inbox: Inbox, store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_S", 0.05)
    async with blocked(store, "privacy_request"):
        with pytest.raises(UNAVAILABLE):
            await inbox.keep([asked()])
    await inbox.close()
    assert await redis.xlen(KEY) == 0
    monkeypatch.setattr(module, "LONGEST_S", PATIENT_S)
    await inbox.keep([asked()])
    async with store.begin() as tx:
        (kept,) = await privacy.all_of(tx)
    assert kept.request == asked()


async def test_with_both_away_nothing_is_taken(store: Store) -> None:
    away = Inbox(store, Redis(port=1, socket_connect_timeout=0.5))
    async with blocked(store, "hint"):
        with pytest.raises(RedisError):
            await away.keep([told("n-1")])
    await away.close()


async def test_a_full_stream_takes_no_more(inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "MOST", 1)
    async with blocked(store, "hint"):
        await inbox.keep([told("n-1")])
        with pytest.raises(Full):
            await inbox.keep([told("n-2")])


async def test_one_that_no_table_takes_spoils_no_other(patient: None, inbox: Inbox, store: Store, redis: Redis) -> None:
    bad = replace(told("n-2"), marketplace="\x00")
    found = await asyncio.gather(
        *(inbox.keep([one]) for one in (told("n-1"), bad, told("n-3"))), return_exceptions=True
    )
    assert [isinstance(one, Exception) for one in found] == [False, True, False]
    assert await rows(store) == ["n-1", "n-3"]


WELL = spill.written([told("n-9")]).decode()


@pytest.mark.parametrize(
    "poison",
    [
        "",
        "null",
        "[null]",
        "[5]",
        '[{"hint":"NEVER","channel":"shop"}]',
        WELL.replace('"shop"', "null"),
        WELL.replace('"shop"', '{"a":1}'),
        WELL.replace('"shop"', '"shop\\u0000"'),
        WELL.replace('"n-9"', "9"),
        WELL.replace('"marketplace": null', '"marketplace": 5'),
        WELL.replace("+00:00", ""),
    ],
)
async def test_what_cannot_be_read_back_goes_to_the_quarantine(store: Store, redis: Redis, poison: str) -> None:
    assert poison != WELL
    await redis.xadd(KEY, {"told": poison})
    await spill.put(redis, [told("n-1")])
    assert await drain(redis, store) == 2
    assert await rows(store) == ["n-1"]
    async with store.begin() as tx:
        (aside,) = await quarantine.recent(tx)
    assert aside.rejected.what == "delivery"
    assert await redis.xlen(KEY) == 0


async def test_the_worker_drains_and_two_of_them_do_no_harm(store: Store, redis: Redis) -> None:
    for number in range(50):
        await spill.put(redis, [told(f"n-{number:02}")])
    deps = make_deps(store, redis, [make_port("shop")])
    loops = [asyncio.create_task(Drain(deps, lambda: None).run()) for _ in range(2)]
    async with asyncio.timeout(PATIENT_S):
        while await redis.xlen(KEY):
            await asyncio.sleep(0.01)
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    assert await rows(store) == [f"n-{number:02}" for number in range(50)]


HINTS = st.builds(
    Hint,
    st.just(CHANNEL),
    st.text(min_size=1),
    st.text(),
    st.sampled_from(HintKind),
    st.text(),
    st.datetimes(timezones=st.just(UTC)),
    st.none() | st.text(),
)
REJECTED = st.builds(Rejected, st.just(CHANNEL), st.text(), st.text(), st.text(), st.text())


@given(st.lists(HINTS | REJECTED))
def test_what_is_written_to_redis_is_read_back_as_it_was(delivered: list[Any]) -> None:
    assert spill.read(spill.written(delivered)) == delivered


def test_what_the_law_speaks_of_is_never_written_there() -> None:
    with pytest.raises(TypeError):
        spill.written([asked()])
