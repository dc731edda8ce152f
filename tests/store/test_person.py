"""Who bought: sealed, told to whoever may know, and forgotten in time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select, text

from domain.ids import ChannelId, OrderId
from domain.order import Order, OrderStatus
from domain.person import Person, Recipient
from domain.privacy import PrivacyKind, PrivacyRequest
from domain.timeline import StepKind
from store import intake, person, privacy, timeline
from store.keyring import Keyring, Unopened
from store.session import Store
from store.tables import order_person
from tests.store.warehouse import PLACES, SHOP, an_order
from workers import hints

KEY, NEWER = Fernet.generate_key().decode(), Fernet.generate_key().decode()
RING = Keyring([KEY])
ADA = Person("Ada Canary", "ada@example.test", Recipient("DE", "Ada Canary", "Kanarienweg 1", postal_code="50667"))
STRANGER = ChannelId("stranger")
MINA = replace(ADA, name="Mina Canary")


def bought(number: int = 1, channel: ChannelId = SHOP, **changes: object) -> Order:
    now = datetime.now(UTC).replace(microsecond=0)
    values: dict[str, object] = {"person": ADA, "placed_at": now, "updated_at": now} | changes
    return replace(an_order(number, channel=channel), **values)  # type: ignore[arg-type]


async def kept(store: Store, *orders: Order, ring: Keyring = RING) -> None:
    async with store.begin() as tx:
        await intake.keep_orders(tx, list(orders), PLACES, ring)


async def told_forgotten(store: Store, *orders: Order) -> list[OrderId]:
    async with store.begin() as tx:
        steps = await timeline.by_orders(tx, [one.id for one in orders])
    return [id for id, told in steps.items() if StepKind.FORGOTTEN in [step.kind for step in told]]


async def until_somebody_waits(store: Store) -> None:
    """For a lock that another transaction holds."""
    waiting = text(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    while True:
        async with store.begin() as tx:
            if await tx.scalar(waiting):
                return
        await asyncio.sleep(0.01)


async def known(store: Store, *orders: Order, ring: Keyring = RING) -> dict[OrderId, Person]:
    async with store.begin() as tx:
        return await person.by_orders(tx, ring, [one.id for one in orders])


async def test_what_is_kept_is_sealed_and_bound_to_its_order(store: Store) -> None:
    one, other = bought(1), bought(2, person=MINA)
    await kept(store, one, other)
    assert await known(store, one, other) == {one.id: ADA, other.id: MINA}
    async with store.begin() as tx:
        rows = await tx.execute(select(order_person.c.order_id, order_person.c.sealed))
        sealed = {row.order_id: row.sealed for row in rows}
        assert not [told for told in sealed.values() if "Canary" in told]
        await tx.execute(text("update order_person set sealed = :sealed"), {"sealed": sealed[one.id]})
    with pytest.raises(Unopened):
        await known(store, other)


async def test_the_newest_version_that_names_somebody_stays_whatever_the_order_of_arrival(store: Store) -> None:
    early = bought()
    late = replace(early, person=MINA, updated_at=early.updated_at + timedelta(seconds=5))
    nobody = replace(early, person=None, updated_at=early.updated_at + timedelta(seconds=9))
    for arrival in ([early, late, nobody], [nobody, late, early], [late, nobody, early, late]):
        async with store.begin() as tx:
            await tx.execute(text("delete from order_person"))
        for one in arrival:
            await kept(store, one)
        assert await known(store, early) == {early.id: MINA}


async def test_who_is_forgotten_stays_forgotten(store: Store) -> None:
    one = bought(status=OrderStatus.CANCELLED)
    await kept(store, one)
    async with store.begin() as tx:
        assert await person.forget(tx, one.updated_at + timedelta(days=29)) == []
        assert await person.forget(tx, one.updated_at + timedelta(days=30)) == [one.id]
        assert await person.forget(tx, one.updated_at + timedelta(days=30)) == []
    await kept(store, replace(one, updated_at=one.updated_at + timedelta(hours=1)))
    assert await known(store, one) == {}
    async with store.begin() as tx:
        steps = (await timeline.by_orders(tx, [one.id]))[one.id]
    assert [step.kind for step in steps].count(StepKind.FORGOTTEN) == 1


async def test_an_old_order_that_is_read_again_brings_nobody_back(store: Store) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=60)
    one = bought(placed_at=long_ago, updated_at=long_ago, status=OrderStatus.DELIVERED)
    await kept(store, one)
    assert await known(store, one) == {}


async def test_a_version_without_a_person_ends_the_time_of_the_one_that_is_kept(store: Store) -> None:
    one = bought(status=OrderStatus.UNSHIPPED)
    await kept(store, one)
    over = replace(one, person=None, status=OrderStatus.DELIVERED, delivered_at=one.updated_at)
    await kept(store, replace(over, updated_at=one.updated_at + timedelta(hours=1)))
    async with store.begin() as tx:
        assert await person.forget(tx, one.updated_at + timedelta(days=30)) == [one.id]


async def test_a_buyer_who_wants_it_is_forgotten_at_once_and_for_ever(store: Store) -> None:
    one, other = bought(1), bought(2)
    await kept(store, one, other)
    wish = PrivacyRequest(SHOP, "d-1", PrivacyKind.BUYER_REDACT, "c-1", (one.external_id, "unknown"), datetime.now(UTC))
    for _ in range(2):
        async with store.begin() as tx:
            await hints.take(tx, [wish])
    await kept(store, replace(one, updated_at=one.updated_at + timedelta(hours=1)))
    assert await known(store, one, other) == {other.id: ADA}


async def test_a_buyer_who_is_redacted_before_anybody_was_named_is_never_kept(store: Store) -> None:
    one = bought(1, person=None)
    await kept(store, one)
    async with store.begin() as tx:
        assert await person.redact(tx, [one.id]) == []
    await kept(store, replace(one, person=ADA, updated_at=one.updated_at + timedelta(hours=1)))
    assert await known(store, one) == {}


async def test_a_wish_that_comes_before_its_order_is_remembered(store: Store) -> None:
    one, other, twin = bought(1), bought(2), bought(1, channel=STRANGER)
    wish = PrivacyRequest(SHOP, "d-1", PrivacyKind.BUYER_REDACT, "c-1", (one.external_id,), datetime.now(UTC))
    asked = PrivacyRequest(SHOP, "d-2", PrivacyKind.DATA_REQUEST, "c-2", (other.external_id,), datetime.now(UTC))
    async with store.begin() as tx:
        await hints.take(tx, [wish, asked])
    await kept(store, replace(one, person=None), other, twin)
    await kept(store, replace(one, updated_at=one.updated_at + timedelta(hours=1)))
    assert await known(store, one, other, twin) == {other.id: ADA, twin.id: ADA}
    assert await told_forgotten(store, one, other, twin) == [one.id]


async def test_an_order_and_the_wish_of_its_buyer_may_come_at_once(store: Store) -> None:
    """Whichever commits first, nobody is kept: the other one waits for it."""
    one = bought(1)
    wish = PrivacyRequest(SHOP, "d-1", PrivacyKind.BUYER_REDACT, "c-1", (one.external_id,), datetime.now(UTC))

    async def wished() -> None:
        async with store.begin() as tx:
            await hints.take(tx, [wish])

    async with store.begin() as tx:
        await intake.keep_orders(tx, [one], PLACES, RING)
        waiting = asyncio.create_task(wished())
        await until_somebody_waits(store)
    await waiting
    assert await known(store, one) == {}


async def test_whose_time_turns_out_to_be_over_is_forgotten_and_the_timeline_says_so(store: Store) -> None:
    one = bought(placed_at=datetime.now(UTC) - timedelta(days=60))
    await kept(store, one)
    assert await told_forgotten(store, one) == []
    came = {"status": OrderStatus.DELIVERED, "delivered_at": datetime.now(UTC) - timedelta(days=31)}
    await kept(store, replace(one, person=None, updated_at=one.updated_at + timedelta(hours=1), **came))  # type: ignore[arg-type]
    assert await known(store, one) == {}
    assert await told_forgotten(store, one) == [one.id]


async def test_a_new_key_seals_all_of_them_anew(store: Store) -> None:
    orders = [bought(number) for number in range(5)]
    await kept(store, *orders)
    both = Keyring([NEWER, KEY])
    last: OrderId | None = OrderId("")
    while last is not None:
        async with store.begin() as tx:
            last = await person.reseal(tx, both, last, limit=2)
    assert len(await known(store, *orders, ring=Keyring([NEWER]))) == 5
    async with store.begin() as tx:
        assert (await person.unopened(tx, Keyring([NEWER])), await person.unopened(tx, RING)) == (0, 5)


async def test_a_shop_that_has_left_takes_its_buyers_along(store: Store) -> None:
    one = bought()
    await kept(store, one)
    async with store.begin() as tx:
        assert (await privacy.erase(tx, SHOP)).get("order_person") == 1
    assert await known(store, one) == {}


async def test_orders_come_without_keys_where_nobody_is_named(store: Store) -> None:
    await kept(store, bought(person=None), ring=Keyring())
