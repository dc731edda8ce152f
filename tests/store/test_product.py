"""Listings as told, and the products they add up to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.ids import ChannelId, ChannelSku, ListingId, Sku, listing_id
from domain.money import Money
from domain.product import Attribute, FulfilledBy, Listing, ListingIssue, Product
from store import product
from store.session import Store

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
