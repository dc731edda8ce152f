"""Listings of a shop, one per variant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from adapters.port import Page
from adapters.shopify.platform import ShopifyPort
from domain.budget import Ask
from domain.errors import Invalid
from domain.ids import ChannelSku, listing_id
from domain.money import Money
from domain.product import Attribute, FulfilledBy, Listing
from tests.adapters.shopify.bench import CHANNEL, OpenPort, Sandbox, Script, connection


async def pages(port: ShopifyPort, since: datetime | None = None) -> list[Page[Listing]]:
    return [page async for page in port.listing_pages(since, Ask())]


async def test_a_full_run_reads_the_whole_world(sandbox: Sandbox, port: ShopifyPort) -> None:
    world = (await sandbox.get("world"))["skus"]
    journal = await sandbox.journal()
    told = await pages(port)
    listings = [listing for page in told for listing in page.items]
    # What buyers pay now: others put prices down in this world.
    paid = [each.sale_price or each.price for each in listings]
    assert [
        (each.channel_sku, each.refs, str(now and now.amount)) for each, now in zip(listings, paid, strict=True)
    ] == [
        (
            row["sku"],
            {
                "variant": row["productVariantId"],
                "inventory_item": row["inventoryItemId"],
                "product": row["productId"],
            },
            row["price"],
        )
        for row in world
    ]
    assert [page.rejected for page in told] == [[], [], []]
    assert [page.until is not None for page in told] == [False, False, True]
    assert await journal.calls() == ["shop", "productVariantsCount"] + ["productVariants"] * 3
    await pages(port)
    assert (await journal.calls()).count("shop") == 1


async def test_tags_are_attributes(port: ShopifyPort) -> None:
    listings = [listing async for page in port.listing_pages(None, Ask()) for listing in page.items]
    for listing in listings:
        tags = [one.value for one in listing.attributes if one.name == "tag"]
        assert listing.channel_sku.partition("-")[0].lower() in tags
        assert ("winter" in tags) is listing.channel_sku.startswith(("GLOVE-", "HOOD-", "SCARF-"))
    assert any("winter" in [one.value for one in listing.attributes] for listing in listings)


async def test_a_later_run_reads_what_has_changed(sandbox: Sandbox, port: ShopifyPort) -> None:
    # Nothing of the world was touched in its last two days, but for what other tests touch; so much for the clock.
    await sandbox.post("clock", advance=3600)
    now = datetime.fromisoformat((await sandbox.get("clock"))["now"])
    sku = (await sandbox.get("world", limit=1, offset=590))["skus"][0]["sku"]
    await sandbox.post("state", prices=[{"sku": sku, "amount": "12.34"}])
    changed, siblings = await pages(port, now)
    assert [(each.channel_sku, each.price) for each in changed.items] == [(sku, Money(Decimal("12.34"), "USD"))]
    product = changed.items[0].refs["product"]
    assert {each.refs["product"] for each in siblings.items} == {product}
    assert len(siblings.items) == 4
    assert (changed.until, siblings.until is not None) == (None, True)


async def test_a_product_that_changes_by_itself_is_told_with_all_its_variants(
    sandbox: Sandbox, port: ShopifyPort
) -> None:
    await sandbox.post("clock", advance=3600)
    now = datetime.fromisoformat((await sandbox.get("clock"))["now"])
    entry = (await sandbox.get("world", limit=1, offset=580))["skus"][0]
    for status in ("ARCHIVED", "DRAFT", "UNLISTED", "ACTIVE"):
        await sandbox.post("products", productId=entry["productId"], status=status)
        told = [each for page in await pages(port, now) for each in page.items]
        assert [(each.refs["product"], each.status) for each in told] == [(entry["productId"], status)] * 5
        assert entry["sku"] in {each.channel_sku for each in told}


def variant(number: int, sku: str | None, **told: Any) -> dict[str, Any]:
    return {
        "id": f"gid://shopify/ProductVariant/{number}",
        "sku": sku,
        "title": "Navy / M",
        "price": "26.90",
        "compareAtPrice": None,
        "updatedAt": "2026-11-20T10:00:00Z",
        "selectedOptions": [{"name": "Color", "value": "Navy"}, {"name": "Size", "value": "M"}],
        "product": {
            "id": "gid://shopify/Product/1",
            "title": "Tee",
            "status": "ACTIVE",
            "vendor": "Acorn",
            "tags": ["tee", "winter"],
        },
        "inventoryItem": {
            "id": f"gid://shopify/InventoryItem/{number}",
            "duplicateSkuCount": 0,
            "unitCost": {"amount": "9.5", "currencyCode": "EUR"},
        },
    } | told


def shop_with(*variants: dict[str, Any]) -> Script:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "Currency":
            return {"shop": {"currencyCode": "EUR"}}
        if name == "Products":
            return {"products": connection()}
        return {"productVariants": connection(*variants)}

    return Script(answer)


async def test_a_listing(open_port: OpenPort) -> None:
    script = shop_with(variant(1, "A-1"))
    (page,) = await pages(open_port(wire=script.wire()))
    (listing,) = page.items
    assert listing.id == listing_id(CHANNEL.id, None, ChannelSku("A-1"))
    assert listing.sku is None
    assert (listing.channel, listing.marketplace, listing.channel_sku) == ("shop", None, "A-1")
    assert (listing.external_id, listing.status) == ("gid://shopify/ProductVariant/1", "ACTIVE")
    assert listing.fulfilled_by is FulfilledBy.MERCHANT
    assert (listing.title, listing.brand) == ("Tee - Navy / M", "Acorn")
    assert (listing.price, listing.sale_price) == (Money(Decimal("26.90"), "EUR"), None)
    assert listing.unit_cost == Money(Decimal("9.5"), "EUR")
    assert listing.attributes == [
        Attribute("color", "Navy", "Navy"),
        Attribute("size", "M", "M"),
        Attribute("tag", "tee", "tee"),
        Attribute("tag", "winter", "winter"),
    ]


async def test_an_option_is_no_tag_whatever_it_is_called(open_port: OpenPort) -> None:
    script = shop_with(variant(1, "A-1", selectedOptions=[{"name": "Tag", "value": "winter sale"}]))
    (page,) = await pages(open_port(wire=script.wire()))
    told = [(one.name, one.value) for one in page.items[0].attributes]
    assert told == [("option tag", "winter sale"), ("tag", "tee"), ("tag", "winter")]


@pytest.mark.parametrize(
    ("compare_at", "price", "sale"),
    [(None, "26.90", None), ("29.90", "29.90", "26.90"), ("26.90", "26.90", None), ("20.00", "26.90", None)],
)
async def test_a_higher_compare_at_price_makes_a_sale(
    open_port: OpenPort, compare_at: str | None, price: str, sale: str | None
) -> None:
    script = shop_with(variant(1, "A-1", compareAtPrice=compare_at))
    (page,) = await pages(open_port(wire=script.wire()))
    assert page.items[0].price == Money(Decimal(price), "EUR")
    assert page.items[0].sale_price == (Money(Decimal(sale), "EUR") if sale else None)


async def test_a_product_without_options(open_port: OpenPort) -> None:
    only = variant(1, "A-1", title="Default Title", selectedOptions=[{"name": "Title", "value": "Default Title"}])
    (page,) = await pages(open_port(wire=shop_with(only).wire()))
    assert page.items[0].title == "Tee"
    assert {attribute.name for attribute in page.items[0].attributes} == {"tag"}


async def test_what_has_no_sku_or_shares_one_is_rejected(open_port: OpenPort) -> None:
    rows = [variant(1, "A-1"), variant(2, None), variant(3, "  "), variant(4, "A-1"), variant(5, "A-2", price=26.9)]
    (page,) = await pages(open_port(wire=shop_with(*rows).wire()))
    assert [each.external_id for each in page.items] == ["gid://shopify/ProductVariant/1"]
    assert [(each.what, each.key, each.reason) for each in page.rejected] == [
        ("listing", "gid://shopify/ProductVariant/2", "no SKU"),
        ("listing", "gid://shopify/ProductVariant/3", "no SKU"),
        (
            "listing",
            "gid://shopify/ProductVariant/4",
            "the SKU A-1 is on two variants: gid://shopify/ProductVariant/1 is kept, gid://shopify/ProductVariant/4 is not",
        ),
        (
            "listing",
            "gid://shopify/ProductVariant/5",
            "price: Value error, should be a decimal number in a string",
        ),
    ]
    assert '"sku":"A-1"' in page.rejected[2].raw


async def test_until_is_the_newest_change_but_never_later_than_the_start(open_port: OpenPort) -> None:
    port = open_port(wire=shop_with(variant(1, "A-1"), variant(2, "A-2", updatedAt="2026-11-20T11:00:00Z")).wire())
    (page,) = await pages(port)
    assert page.until == datetime(2026, 11, 20, 11, tzinfo=UTC)
    before = datetime.now(UTC)
    port = open_port(wire=shop_with(variant(1, "A-1", updatedAt="2099-01-01T00:00:00Z")).wire())
    (page,) = await pages(port)
    assert page.until is not None
    assert before <= page.until <= datetime.now(UTC)


async def test_a_run_without_changes_stays_where_it_is(open_port: OpenPort) -> None:
    since = datetime(2026, 11, 20, 11, tzinfo=UTC)
    script = shop_with()
    (page,) = await pages(open_port(wire=script.wire()), since)
    assert (page.items, page.until) == ([], since)
    assert script.asked[1] == ("Variants", {"query": "updated_at:>'2026-11-20T10:55:00Z'", "after": None})


async def test_an_unknown_search_field_fails(open_port: OpenPort) -> None:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "Currency":
            return {"shop": {"currencyCode": "EUR"}}
        warning = {"field": "updated_at", "message": "Invalid search field for this query.", "code": "invalid_field"}
        search = [{"path": ["productVariants"], "query": given["query"], "parsed": {}, "warnings": [warning]}]
        return httpx.Response(200, json={"data": {"productVariants": connection()}, "extensions": {"search": search}})

    with pytest.raises(Invalid, match="Invalid search field"):
        await pages(open_port(wire=Script(answer).wire()), datetime(2026, 11, 20, tzinfo=UTC))


def doubles(*variants: dict[str, Any], owners: list[dict[str, Any]]) -> Script:
    """A shop that tells of these as changed, while `owners` are all variants that carry the SKUs."""

    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "Currency":
            return {"shop": {"currencyCode": "EUR"}}
        if name == "Products":
            return {"products": connection()}
        if name == "Owners":
            assert given["query"] == "(sku:'A-1')"
            return {"productVariants": connection(*owners)}
        return {"productVariants": connection(*variants)}

    return Script(answer)


def shared(number: int, sku: str) -> dict[str, Any]:
    row = variant(number, sku)
    return row | {"inventoryItem": row["inventoryItem"] | {"duplicateSkuCount": 1}}


def owner(number: int, sku: str) -> dict[str, Any]:
    return {"id": f"gid://shopify/ProductVariant/{number}", "sku": sku}


async def test_of_variants_that_share_a_sku_the_first_keeps_it_whichever_of_them_changed(open_port: OpenPort) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    owners = [owner(1, "A-1"), owner(2, "a-1"), owner(4, "A-1")]
    script = doubles(shared(4, "A-1"), variant(5, "A-2"), owners=owners)
    (page,) = await pages(open_port(wire=script.wire()), since)
    assert [each.external_id for each in page.items] == ["gid://shopify/ProductVariant/5"]
    assert [each.key for each in page.rejected] == ["gid://shopify/ProductVariant/4"]
    assert "gid://shopify/ProductVariant/1 is kept" in page.rejected[0].reason
    script = doubles(shared(1, "A-1"), owners=owners)
    (page,) = await pages(open_port(wire=script.wire()), since)
    assert [each.external_id for each in page.items] == ["gid://shopify/ProductVariant/1"]
    assert page.rejected == []


async def test_nobody_is_asked_for_owners_where_no_sku_is_shared(open_port: OpenPort) -> None:
    script = doubles(variant(1, "A-1"), owners=[])
    await pages(open_port(wire=script.wire()), datetime.now(UTC) - timedelta(hours=1))
    assert [name for name, _ in script.asked] == ["Currency", "Variants", "Products"]


async def test_products_with_more_variants_than_a_page_holds_are_read_to_the_end(open_port: OpenPort) -> None:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "Currency":
            return {"shop": {"currencyCode": "EUR"}}
        if name == "Products":
            return {"products": connection({"id": "gid://shopify/Product/1", "updatedAt": "2026-11-20T12:00:00Z"})}
        if given["query"].startswith("updated_at"):
            return {"productVariants": connection(variant(7, "A-7"))}
        assert given["query"] == "product_ids:1"
        start = int(given["after"] or 0)
        rows = [variant(n, f"A-{n}") for n in range(start, min(start + 250, 600))]
        return {"productVariants": connection(*rows, after=None if start >= 500 else str(start + 250))}

    since = datetime.now(UTC) - timedelta(hours=1)
    told = await pages(open_port(wire=Script(answer).wire()), since)
    skus = [each.channel_sku for page in told for each in page.items]
    assert (len(skus), len(set(skus)), skus[0]) == (600, 600, "A-7")
    assert [page.until for page in told[:-1]] == [None] * (len(told) - 1)
