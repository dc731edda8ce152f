"""Listings as told, and the products they add up to."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, ChannelSku, ListingId, LocationCode, Sku, listing_id
from domain.ledger import EntryKind, NewEntry
from domain.money import Money
from domain.product import Attribute, FulfilledBy, Listing, ListingIssue, Product
from domain.stock import Reading
from store import kit, ledger, product, stock
from store.session import Store
from store.tables import event, sku_stock

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
AMAZON = ChannelId("amazon-eu")
SHOP = ChannelId("shop")


def listing(sku: str = "A", channel: ChannelId = AMAZON, marketplace: str | None = "DE", **more: Any) -> Listing:
    theirs = ChannelSku(sku)
    values: dict[str, Any] = {
        "id": listing_id(channel, marketplace, theirs),
        "channel": channel,
        "marketplace": marketplace,
        "channel_sku": theirs,
        "external_id": f"B0{sku}",
        "status": "BUYABLE",
        "fulfilled_by": FulfilledBy.CHANNEL,
        "as_of": NOON,
        "sku": Sku(sku),
        "title": f"Amazon {sku}",
    }
    return Listing(**values | more)


def at_shop(sku: str = "A", **more: Any) -> Listing:
    return listing(sku, SHOP, None, **{"title": f"Shop {sku}", "fulfilled_by": FulfilledBy.MERCHANT} | more)


async def kept(store: Store, *listings: Listing, prefer: bool = False) -> int:
    async with store.begin() as tx:
        return await product.upsert_listings(tx, listings, prefer=prefer)


async def found(store: Store, sku: str = "A") -> Product | None:
    async with store.begin() as tx:
        return (await product.by_skus(tx, [Sku(sku)])).get(Sku(sku))


async def test_a_listing_comes_back_as_it_was_told(store: Store) -> None:
    one = listing(
        price=Money(Decimal("12.50"), "EUR"),
        sale_price=Money(Decimal("9.9"), "EUR"),
        url="https://shop.example/a",
        issues=[ListingIssue("18027", "ERROR", "Bild fehlt – bitte ergänzen")],
        refs={"productType": "PENCIL"},
    )
    bare = replace(at_shop("B", title=None), sku=None)
    assert await kept(store, one, bare) == 2
    async with store.begin() as tx:
        assert await product.listing_by_id(tx, one.id) == one
        assert await product.listing_by_id(tx, bare.id) == bare
        assert await product.listing_by_id(tx, ListingId("none")) is None
        assert await product.listings_by_skus(tx, [Sku("A"), Sku("B")]) == {"A": [one]}
        # A channel SKU without a rule makes no product.
        assert await product.count(tx) == 1


async def test_listings_of_a_sku_by_channel_and_marketplace(store: Store) -> None:
    de, fr, shop = listing(), listing(marketplace="FR"), at_shop()
    await kept(store, shop, fr, de)
    async with store.begin() as tx:
        assert await product.listings_by_skus(tx, [Sku("A")]) == {"A": [de, fr, shop]}


async def test_the_newest_listing_wins(store: Store) -> None:
    newer = listing(status="DISCOVERABLE", as_of=NOON + timedelta(minutes=1))
    assert await kept(store, newer, listing()) == 1
    assert await kept(store, listing(status="OLD")) == 0
    assert await kept(store) == 0
    async with store.begin() as tx:
        assert await product.listing_by_id(tx, newer.id) == newer
    assert await kept(store, replace(newer, status="SAME INSTANT")) == 1


async def test_a_product_keeps_what_it_was_given_first(store: Store) -> None:
    await kept(store, listing(title=None), listing(marketplace="FR", title=None))
    assert await found(store) == Product(Sku("A"), "A")
    red, blue = [Attribute("color", "red", "rot")], [Attribute("color", "blue")]
    first = listing(brand="Acme", unit_cost=Money(Decimal("3.10"), "EUR"), attributes=red)
    await kept(store, first)
    expected = Product(Sku("A"), "Amazon A", "Acme", Money(Decimal("3.10"), "EUR"), red)
    assert await found(store) == expected
    other = listing(title="Other", brand="Other", unit_cost=Money(Decimal(4), "USD"), attributes=blue, marketplace="FR")
    await kept(store, other)
    await kept(store, listing(title=None))
    assert await found(store) == expected


async def test_a_preferred_channel_replaces_and_fills(store: Store) -> None:
    await kept(store, listing(brand="Acme", unit_cost=Money(Decimal("3.10"), "EUR")))
    await kept(store, at_shop(unit_cost=Money(Decimal("2.75"), "USD")), prefer=True)
    expected = Product(Sku("A"), "Shop A", "Acme", Money(Decimal("2.75"), "USD"))
    assert await found(store) == expected
    # Amazon cannot take it back, and silence of the shop takes nothing away.
    await kept(store, listing(title="Amazon again", unit_cost=Money(Decimal(9), "EUR")))
    await kept(store, at_shop(title=None), prefer=True)
    assert await found(store) == expected


async def test_several_listings_of_a_product_in_one_call_complete_each_other(store: Store) -> None:
    await kept(store, listing(title=None, brand="Acme"), listing(marketplace="FR", title="Crayon", brand=None))
    assert await found(store) == Product(Sku("A"), "Crayon", "Acme")


async def test_pages_and_filters(store: Store) -> None:
    await kept(
        store, *(listing(sku) for sku in ("P-1", "P-2", "P-3")), at_shop("P-3"), at_shop("Q_4", brand="Zebra 100%")
    )
    async with store.begin() as tx:
        # What nobody lists any more.
        await product.upsert_listings(tx, [listing("R-5")])
        await product.upsert_listings(tx, [replace(listing("R-5", as_of=NOON + timedelta(minutes=1)), sku=None)])

        async def skus(**wanted: Any) -> list[str]:
            products, more = await product.page(tx, first=10, **wanted)
            assert not more
            assert await product.count(tx, **wanted) == len(products)
            return [one.sku for one in products]

        assert await skus() == ["P-1", "P-2", "P-3", "Q_4", "R-5"]
        assert await skus(skus=[Sku("P-2"), Sku("NO")]) == ["P-2"]
        assert await skus(text="p-") == ["P-1", "P-2", "P-3"]
        assert await skus(text="zebra") == ["Q_4"]
        assert await skus(text="shop") == ["Q_4"]
        # Wildcards are looked for as they stand.
        assert await skus(text="100%") == ["Q_4"]
        assert await skus(text="P_") == []
        assert await skus(channel=SHOP) == ["P-3", "Q_4"]
        assert await skus(channel=AMAZON) == ["P-1", "P-2", "P-3"]
        assert await skus(unmapped=True) == ["R-5"]
        assert await skus(unmapped=False) == ["P-1", "P-2", "P-3", "Q_4"]
        assert await skus(unmapped=True, channel=SHOP) == ["P-1", "P-2", "R-5"]
        assert await skus(channel=AMAZON, text="3") == ["P-3"]

        first, more = await product.page(tx, first=2)
        assert ([one.sku for one in first], more) == (["P-1", "P-2"], True)
        rest, more = await product.page(tx, first=3, after=first[-1].sku)
        assert ([one.sku for one in rest], more) == (["P-3", "Q_4", "R-5"], False)


# ── The locks of sku_stock ────────────────────────────────────────────────────────────────────────────────────────────────
MANY = 60


def many(channel: ChannelId, *, reverse: bool, round: int) -> list[Listing]:
    """Listings of the same SKUs of ours whose order is that of our SKUs in one channel, and the opposite in the other."""
    ours = [f"S{number:03}" for number in range(MANY)]
    theirs = list(reversed(ours)) if reverse else ours
    at = NOON + timedelta(minutes=round)
    return [
        replace(listing(name, channel, as_of=at, refs={"round": str(round)}), sku=Sku(sku))
        for name, sku in zip(ours, theirs, strict=True)
    ]


async def at_once(store: Store, rounds: range) -> list[BaseException]:
    """Two channels tell listings, and one tells stock, of the same SKUs in opposite orders; what went wrong. A round that was
    told before changes nothing."""
    pool = LocationCode("fba-eu")
    first = rounds[0]
    await kept(store, *many(AMAZON, reverse=False, round=first), *many(SHOP, reverse=True, round=first))

    async def tell(channel: ChannelId, reverse: bool) -> None:
        for round in rounds:
            await kept(store, *many(channel, reverse=reverse, round=round))

    async def read() -> None:
        for round in rounds:
            at = NOON + timedelta(minutes=round)
            names = [ChannelSku(f"S{number:03}") for number in range(MANY)]
            async with store.begin() as tx:
                await stock.keep(tx, [Reading(pool, AMAZON, name, round, 0, 0, at) for name in names])

    told = await asyncio.gather(tell(AMAZON, False), tell(SHOP, True), read(), return_exceptions=True)
    return [problem for problem in told if problem is not None]


async def test_listings_of_the_same_skus_in_opposite_orders_never_wait_in_a_circle(store: Store) -> None:
    assert await at_once(store, range(20)) == []
    async with store.begin() as tx:
        found = await product.listings_by_skus(tx, [Sku(f"S{number:03}") for number in range(MANY)])
    assert {len(listings) for listings in found.values()} == {2}


async def test_without_the_locks_they_would(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_lock(tx: object, of: object, **how: object) -> None:
        return None

    monkeypatch.setattr(ledger, "lock", no_lock)
    monkeypatch.setattr(product, "lock_mapping", no_lock)
    first, problems = 0, list[BaseException]()
    async with asyncio.timeout(60):
        while not problems:
            problems = await at_once(store, range(first, first + 20))
            first += 20
    assert "deadlock" in str(problems[0])


async def test_a_sku_whose_stock_elsewhere_a_listing_changes_is_told_of(store: Store) -> None:
    reading = Reading(LocationCode("fba-eu"), AMAZON, ChannelSku("A"), 5, 1, 0, NOON)
    async with store.begin() as tx:
        await product.upsert_listings(tx, [replace(listing("A"), sku=None)])
        await stock.keep_and_tell(tx, [reading])
        assert await told_skus(tx) == []
        await product.upsert_listings(tx, [listing("A")])
        assert await told_skus(tx) == ["A"]
        await product.upsert_listings(tx, [listing("A")])
        assert await told_skus(tx) == ["A"]
        # It turns out to be another SKU of ours: both have become others.
        await product.upsert_listings(tx, [replace(listing("A"), sku=Sku("B"))])
        assert await told_skus(tx) == ["A", "A", "B"]
        units = await tx.execute(select(sku_stock.c.sku, sku_stock.c.elsewhere).order_by(sku_stock.c.sku))
        assert [tuple(row) for row in units] == [("A", 0), ("B", 4)]


async def told_skus(tx: AsyncConnection) -> list[str]:
    return list(await tx.scalars(select(event.c.subject).order_by(event.c.id)))


async def test_goods_without_an_entry_at_a_place_are_named_and_kits_are_not(store: Store) -> None:
    await kept(store, at_shop("A"), at_shop("B"), at_shop("KIT"), listing("FBA"), replace(at_shop("NOBODY"), sku=None))
    async with store.begin() as tx:
        await kit.save(tx, Sku("KIT"), {Sku("A"): 2}, by="tests")
        entry = NewEntry(Sku("A"), LocationCode("BER"), EntryKind.COUNT, "counted", "tests", "mutation", on_hand=1)
        await ledger.post(tx, [entry])
        ber, ham = LocationCode("BER"), LocationCode("HAM")
        found = [await product.unopened(tx, SHOP, places) for places in ([ber], [ham], [ber, ham])]
        assert [[one.sku for one in listings] for listings in found] == [["B"], ["A", "B"], ["A", "B"]]
        assert [one.sku for one in await product.unopened(tx, SHOP, [ham], [Sku("A"), Sku("C")])] == ["A"]
        assert await product.unopened(tx, AMAZON, [ham]) == []
