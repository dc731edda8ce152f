"""What an order costs at a shop, and who bought, where the platform has approved the app for that."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from adapters.port import OrderKey
from adapters.shopify.platform import ShopifyPort
from domain.budget import Ask
from domain.charge import Charge, ChargeKind
from domain.money import Money
from domain.order import CancelledBy
from domain.person import Destination
from tests.adapters.shopify.bench import LONG_AGO, OpenPort, Sandbox, Script
from tests.adapters.shopify.test_orders import line, money, raw, shop_with

KEY = OrderKey("gid://shopify/Order/1", None)
BUYER = {
    "email": "canary@example.test",
    "first_name": "Ada",
    "last_name": "Canary",
    "address1": "Kanarienweg 1",
    "zip": "50667",
    "city": "Köln",
    "country_code_v2": "DE",
}


def euros(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


async def one(open_port: OpenPort, **told: Any) -> Any:
    return await open_port(wire=Script(lambda name, given: {"nodes": [raw(**told)]}).wire()).order(KEY, Ask())


async def test_taxes_in_the_prices_add_nothing(open_port: OpenPort) -> None:
    found = await one(open_port)
    assert found.lines[0].charges == (
        Charge(ChargeKind.GOODS, euros("30")),
        Charge(ChargeKind.DISCOUNT, euros("-3")),
        Charge(ChargeKind.TAX, euros("4.31"), contained=True),
    )
    assert (found.unexplained, found.tax, found.prices_with_tax) == (euros("0"), euros("5.10"), True)
    assert found.service == "Standard"


async def test_taxes_on_top_do_and_what_nothing_explains_is_named(open_port: OpenPort) -> None:
    found = await one(open_port, taxesIncluded=False, totalPriceSet=money("37.05"))
    assert found.unexplained == euros("0")
    assert (await one(open_port, taxesIncluded=False)).unexplained == euros("-5.10")


async def test_a_refund_changes_what_is_left_and_not_what_was_charged(open_port: OpenPort) -> None:
    found = await one(open_port, currentTotalPriceSet=money("4.95"))
    assert (found.total, found.charged, found.unexplained) == (euros("4.95"), euros("31.95"), euros("0"))


@pytest.mark.parametrize(
    ("reason", "who"),
    [("CUSTOMER", CancelledBy.BUYER), ("FRAUD", CancelledBy.SELLER), ("OTHER", None), (None, None)],
)
async def test_who_cancelled(open_port: OpenPort, reason: str | None, who: CancelledBy | None) -> None:
    gone = line(1, current=0, unfulfilled=0, quantity=3)
    found = await one(open_port, lines=[gone], cancelledAt="2026-11-20T10:00:00Z", cancelReason=reason)
    assert [(each.quantity, each.quantity_cancelled, each.cancelled_by) for each in found.lines] == [(0, 3, who)]


async def test_a_reason_that_was_not_published_is_not_guessed(open_port: OpenPort) -> None:
    gone = line(1, current=0, unfulfilled=0, quantity=3)
    row = raw(lines=[gone], cancelledAt="2026-11-20T10:00:00Z", cancelReason="WHIM")
    (page,) = [
        page async for page in open_port(wire=shop_with(row).wire()).order_pages(LONG_AGO.replace(year=2026), Ask())
    ]
    assert [each.reason for each in page.rejected] == ["unknown cancelReason WHIM"]


async def test_every_order_of_the_world_comes_to_its_total(sandbox: Sandbox, port: ShopifyPort) -> None:
    sku = (await sandbox.get("world", limit=1, offset=40))["skus"][0]["sku"]
    more = await sandbox.place_order(
        {"sku": sku, "quantity": 3}, addedRate="0.0825", discount=["1.01"], tip="2.50", financialStatus="PAID"
    )
    orders = [one async for page in port.order_pages(LONG_AGO, Ask()) for one in page.items]
    assert {one.external_id: one.unexplained for one in orders if one.unexplained != Money(Decimal(0), "USD")} == {}
    (added,) = [one for one in orders if one.external_id == more["id"]]
    kinds = {one.kind for one in added.all_charges}
    assert {ChargeKind.TIP, ChargeKind.TAX, ChargeKind.DISCOUNT} <= kinds
    assert all(one.person is None and one.destination is None for one in orders)


async def test_who_bought_comes_where_it_is_to_and_only_while_it_may(sandbox: Sandbox, open_port: OpenPort) -> None:
    await sandbox.post("plans", maximumAvailable=2000, restoreRate=1000)
    sku = (await sandbox.get("world", limit=1, offset=41))["skus"][0]["sku"]
    placed = await sandbox.place_order({"sku": sku, "quantity": 1}, buyer=BUYER)
    key = OrderKey(placed["id"], None)
    port = open_port(sandbox.url, buyers=True)
    found = await port.order(key, Ask())
    assert found.person is not None
    assert found.person.ship_to is not None
    assert (found.person.name, found.person.email) == ("Ada Canary", "canary@example.test")
    assert (found.person.ship_to.line1, found.destination) == ("Kanarienweg 1", Destination("DE", "506"))
    assert (await port.orders_named([placed["id"]], Ask()))[0].person == found.person
    told = [one async for page in port.order_pages(LONG_AGO, Ask()) for one in page.items]
    assert [one.person for one in told if one.external_id == placed["id"]] == [found.person]
    await sandbox.post("approval", approved=False)
    try:
        without = await open_port(sandbox.url, buyers=True).order(key, Ask())
        assert (without.external_id, without.person) == (placed["id"], None)
    finally:
        await sandbox.post("approval", approved=True)


async def test_a_row_that_cannot_be_read_is_kept_without_its_buyer(open_port: OpenPort) -> None:
    row = raw(1, displayFulfillmentStatus="TELEPORTED") | {
        "email": "canary@example.test",
        "billingAddress": {"name": "Ada Canary"},
        "shippingAddress": {"name": "Ada Canary", "address1": "Kanarienweg 1"},
    }
    port = open_port(wire=shop_with(row).wire(), buyers=True)
    (page,) = [page async for page in port.order_pages(LONG_AGO, Ask())]
    (rejected,) = page.rejected
    assert "TELEPORTED" in rejected.raw
    assert not [word for word in ("Canary", "canary", "Kanarien") if word in rejected.raw]
