"""Kits are made of goods, and the past knows what they were made of."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import func, insert, select, update

from domain.errors import Conflict, Invalid, NotFound
from domain.event import EventKind
from domain.ids import LocationCode, Sku
from domain.ledger import EntryKind, NewEntry
from store import kit, ledger
from store.session import Store
from store.tables import event, product, sku_stock

KIT, CUP, TRAY = Sku("KIT"), Sku("cup"), Sku("tray")


@pytest.fixture
async def goods(store: Store) -> Store:
    """A store that knows the three."""
    async with store.begin() as tx:
        await tx.execute(insert(product), [{"sku": sku, "title": sku} for sku in (KIT, CUP, TRAY)])
        await tx.execute(update(sku_stock).values(dirty_since=None))
    return store


async def save(store: Store, one: Sku, components: dict[Sku, int]) -> None:
    async with store.begin() as tx:
        await kit.save(tx, one, components, "ops")


async def components(store: Store, at: datetime | None = None) -> dict[Sku, list[tuple[Sku, int]]]:
    async with store.begin() as tx:
        return await (kit.components(tx, [KIT, CUP]) if at is None else kit.components_at(tx, [KIT, CUP], at))


async def clock(store: Store) -> datetime:
    async with store.begin() as tx:
        at = await tx.scalar(select(func.clock_timestamp()))
    assert isinstance(at, datetime)
    return at


async def told(store: Store) -> list[str]:
    async with store.begin() as tx:
        kind = EventKind.STOCK_RULES_CHANGED.value
        return list(await tx.scalars(select(event.c.subject).where(event.c.kind == kind)))


async def test_what_keeps_a_sku_from_becoming_a_kit_is_said(goods: Store) -> None:
    main, side = LocationCode("main"), LocationCode("side")
    async with goods.begin() as tx:
        entries = [
            NewEntry(KIT, main, EntryKind.RECEIPT, "r", "a", "s", on_hand=5),
            NewEntry(KIT, main, EntryKind.ALLOCATION, "r", "a", "s", reserved=2),
            NewEntry(KIT, side, EntryKind.EXPECTED, "r", "a", "s", inbound=7),
        ]
        await ledger.post(tx, entries)
    with pytest.raises(Conflict) as caught:
        await save(goods, KIT, {CUP: 1})
    words = caught.value.message
    assert "2 promised to open orders or committed reservations at main: let them ship or cancel them" in words
    assert "5 on hand at main: adjust it to zero" in words
    assert "7 announced at side: take it back with an EXPECTED" in words


async def test_a_kit_has_its_components_and_the_past_is_kept(goods: Store) -> None:
    instants = [await clock(goods)]
    for parts in ({TRAY: 1, CUP: 4}, {CUP: 6}, {}):
        await save(goods, KIT, parts)
        instants.append(await clock(goods))
    assert await components(goods) == {}
    assert [await components(goods, at) for at in instants] == [
        {},
        {KIT: [(CUP, 4), (TRAY, 1)]},
        {KIT: [(CUP, 6)]},
        {},
    ]
    await save(goods, KIT, {TRAY: 2})
    assert await components(goods) == await components(goods, await clock(goods)) == {KIT: [(TRAY, 2)]}
    assert [await components(goods, at) for at in instants[1:]] == [{KIT: [(CUP, 4), (TRAY, 1)]}, {KIT: [(CUP, 6)]}, {}]


async def test_its_numbers_are_computed_anew_and_the_same_again_changes_nothing(goods: Store) -> None:
    for _ in range(2):
        await save(goods, KIT, {CUP: 4})
    assert await told(goods) == [KIT]
    async with goods.begin() as tx:
        dirty = await tx.scalars(select(sku_stock.c.sku).where(sku_stock.c.dirty_since.is_not(None)))
        assert list(dirty) == [KIT]
        assert await kit.kits_with(tx, [CUP]) == {KIT}
        assert await kit.kits_with(tx, [TRAY, KIT]) == set()


@pytest.mark.parametrize(
    ("one", "parts", "error"),
    [
        (KIT, {CUP: 0}, Invalid),
        (KIT, {Sku("spoon"): 1}, NotFound),
        (Sku("spoon"), {CUP: 1}, NotFound),
        (KIT, {KIT: 1}, Conflict),
        (TRAY, {KIT: 1}, Conflict),
        (CUP, {TRAY: 1}, Conflict),
    ],
    ids=["no units", "unknown component", "unknown kit", "itself", "a kit in a kit", "a component becomes a kit"],
)
async def test_what_cannot_be_a_kit_is_refused(
    goods: Store, one: Sku, parts: dict[Sku, int], error: type[Exception]
) -> None:
    await save(goods, KIT, {CUP: 4})
    with pytest.raises(error):
        await save(goods, one, parts)
    assert await components(goods) == {KIT: [(CUP, 4)]}


async def test_what_has_stock_of_its_own_is_no_kit_until_it_is_gone(goods: Store) -> None:
    async def post(units: int) -> None:
        async with goods.begin() as tx:
            at = LocationCode("BER")
            await ledger.post(tx, [NewEntry(KIT, at, EntryKind.ADJUSTMENT, "found", "ops", "mutation", on_hand=units)])

    await post(2)
    with pytest.raises(Conflict, match="BER"):
        await save(goods, KIT, {CUP: 4})
    await post(-2)
    await save(goods, KIT, {CUP: 4})
    assert await components(goods) == {KIT: [(CUP, 4)]}
