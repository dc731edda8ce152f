"""What went back of an order, and the transactions by which it was paid."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from adapters.port import OrderKey
from adapters.shopify.platform import ShopifyPort
from domain.budget import Ask
from domain.errors import Invalid, NotFound, Transient
from domain.money import Money
from domain.refund import RefundLine, Restock
from tests.adapters.shopify.bench import LONG_AGO, OpenPort, Sandbox, Script, connection, key_of

ORDER = OrderKey("gid://shopify/Order/1", None)


def eur(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def bag(amount: str) -> dict[str, Any]:
    return {"shopMoney": {"amount": amount, "currencyCode": "EUR"}}


# of the sandbox


async def test_refunds_of_an_order_with_their_lines_oldest_first(sandbox: Sandbox, port: ShopifyPort) -> None:
    sku = (await sandbox.get("world", limit=1, offset=410))["skus"][0]["sku"]
    order = await sandbox.place_order({"sku": sku, "quantity": 3, "price": "10.01", "location": "Reno"})
    assert await port.refunds(key_of(order), Ask()) == []
    line = order["lines"][0]["id"]
    first = await sandbox.post("refunds", order=order["id"], lines=[{"id": line, "quantity": 2, "restock": "CANCEL"}])
    await sandbox.post("clock", advance=60)
    second = await sandbox.post("refunds", order=order["id"], lines=[{"id": line}], amount="4.00")
    one, two = await port.refunds(key_of(order), Ask())
    assert (one.reference, two.reference) == (first["refund"], second["refund"])
    assert (one.amount, two.amount) == (Money(Decimal("20.02"), "USD"), Money(Decimal("4.0"), "USD"))
    assert one.created_at < two.created_at
    (taken,), (gone,) = one.lines, two.lines
    reno = sandbox.locations[1].external_id
    assert (taken.line_id, taken.quantity, taken.restock, taken.place) == (line, 2, Restock.CANCEL, reno)
    assert taken.amount == Money(Decimal("20.02"), "USD")
    assert taken.tax is not None
    assert (gone.quantity, gone.restock, gone.place) == (1, Restock.NONE, None)
    assert (one.shipping, one.owed) == (None, None)


async def test_an_orders_transactions_add_up_to_what_the_shop_kept(sandbox: Sandbox, port: ShopifyPort) -> None:
    sku = (await sandbox.get("world", limit=1, offset=420))["skus"][0]["sku"]
    order = await sandbox.place_order({"sku": sku, "quantity": 2, "price": "50.00"})
    line = order["lines"][0]["id"]
    await sandbox.post("refunds", order=order["id"], lines=[{"id": line, "quantity": 1}])
    page = await port.transactions(key_of(order), Ask())
    assert page.rejected == []
    sale, refund = page.items
    assert (sale.kind, sale.status, refund.kind) == ("SALE", "SUCCESS", "REFUND")
    assert refund.total == Money(Decimal("-50.0"), "USD")
    assert refund.values("PARENT_TRANSACTION_ID") == (sale.id,)
    assert sale.values("ORDER_ID") == (order["id"],)
    assert sale.contexts[0].facts["gateway"] == "shopify_payments"
    (fee,) = sale.items
    kept = (sale.total.amount * Decimal("0.029") + Decimal("0.30")).quantize(Decimal("0.01"))
    assert fee.total == Money(-kept, "USD")
    assert refund.items == ()
    held = await sandbox.place_order({"sku": sku, "quantity": 1}, financialStatus="AUTHORIZED")
    (one,) = (await port.transactions(key_of(held), Ask())).items
    assert (one.kind, one.total) == ("AUTHORIZATION", Money(Decimal(0), "USD"))
    assert Decimal(one.contexts[0].facts["amount"]) > 0


async def test_refunds_and_transactions_of_an_unknown_order(port: ShopifyPort) -> None:
    with pytest.raises(NotFound, match="has no order"):
        await port.refunds(ORDER, Ask())
    with pytest.raises(NotFound, match="has no order"):
        await port.transactions(ORDER, Ask())


async def test_every_refund_of_the_world_can_be_read(sandbox: Sandbox, port: ShopifyPort) -> None:
    found = [order async for page in port.order_pages(LONG_AGO, Ask()) for order in page.items]
    refunded = [order for order in found if order.channel_status.endswith("/REFUNDED")]
    assert refunded
    for order in refunded[:5]:
        (refund,) = await port.refunds(OrderKey(order.external_id, None), Ask())
        paid = (await port.transactions(OrderKey(order.external_id, None), Ask())).items
        assert sum((one.total.amount for one in paid), Decimal(0)) == 0
        assert refund.amount == -paid[-1].total


# of a script


def line(number: int, **told: Any) -> dict[str, Any]:
    return {
        "quantity": 1,
        "restockType": "RETURN",
        "lineItem": {"id": f"gid://shopify/LineItem/{number}"},
        "location": {"id": "gid://shopify/Location/1"},
        "subtotalSet": bag("10.00"),
        "totalTaxSet": bag("1.90"),
    } | told


def payment(status: str = "SUCCESS", amount: str = "10.00", kind: str = "REFUND") -> dict[str, Any]:
    return {"id": "gid://shopify/OrderTransaction/1", "kind": kind, "status": status, "amountSet": bag(amount)}


def refund(number: int = 1, *lines: dict[str, Any], **told: Any) -> dict[str, Any]:
    return {
        "id": f"gid://shopify/Refund/{number}",
        "createdAt": f"2026-11-{number:02d}T10:00:00Z",
        "processedAt": f"2026-11-{number:02d}T10:00:00Z",
        "totalRefundedSet": bag("10.00"),
        "refundLineItems": connection(*lines),
        "refundShippingLines": connection(),
        "transactions": connection(payment()),
    } | told


def order_with(*refunds: dict[str, Any], included: bool = True) -> Script:
    order = {"id": ORDER.external_id, "name": "#1001", "taxesIncluded": included, "refunds": list(refunds)}
    return Script(lambda name, given: {"order": order})


@pytest.mark.parametrize(("included", "amount"), [(True, "10.00"), (False, "11.90")])
async def test_the_tax_is_told_apart_and_contained_in_the_amount(
    open_port: OpenPort, included: bool, amount: str
) -> None:
    shipping = {"subtotalAmountSet": bag("4.00"), "taxAmountSet": bag("0.76")}
    script = order_with(refund(1, line(7), refundShippingLines=connection(shipping)), included=included)
    (found,) = await open_port(wire=script.wire()).refunds(ORDER, Ask())
    place = "gid://shopify/Location/1"
    assert found.lines == (RefundLine("gid://shopify/LineItem/7", 1, Restock.RETURN, place, eur(amount), eur("1.90")),)
    assert found.shipping == eur("4.00" if included else "4.76")
    assert found.amount == eur("10.00")
    assert found.created_at == datetime(2026, 11, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("word", "restock"),
    [
        ("RETURN", Restock.RETURN),
        ("CANCEL", Restock.CANCEL),
        ("NO_RESTOCK", Restock.NONE),
        ("LEGACY_RESTOCK", Restock.RETURN),
    ],
)
async def test_what_becomes_of_the_units(open_port: OpenPort, word: str, restock: Restock) -> None:
    script = order_with(refund(1, line(7, restockType=word, location=None)))
    (found,) = await open_port(wire=script.wire()).refunds(ORDER, Ask())
    assert (found.lines[0].restock, found.lines[0].place) == (restock, None)


@pytest.mark.parametrize(("status", "owed"), [("PENDING", "10.00"), ("FAILURE", "10.00"), ("SUCCESS", None)])
async def test_money_that_has_not_reached_the_buyer_is_owed(open_port: OpenPort, status: str, owed: str | None) -> None:
    script = order_with(refund(1, transactions=connection(payment(status))))
    (found,) = await open_port(wire=script.wire()).refunds(ORDER, Ask())
    assert found.owed == (eur(owed) if owed else None)


async def test_refunds_come_oldest_first_and_with_all_their_lines(open_port: OpenPort) -> None:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "Refunds":
            first = refund(2) | {"refundLineItems": connection(*map(line, range(100)), after="c1")}
            refunds = [first, refund(1)]
            return {"order": {"id": "1", "name": "#1001", "taxesIncluded": True, "refunds": refunds}}
        assert given == {"id": "gid://shopify/Refund/2", "after": "c1"}
        return {"refund": {"rest": connection(*map(line, range(100, 120)))}}

    old, new = await open_port(wire=Script(answer).wire()).refunds(ORDER, Ask())
    assert (old.reference, len(old.lines)) == ("gid://shopify/Refund/1", 0)
    assert [each.line_id for each in new.lines] == [f"gid://shopify/LineItem/{n}" for n in range(120)]


async def test_a_refund_that_we_do_not_understand_is_not_guessed(open_port: OpenPort) -> None:
    for told in (
        refund(1, line(7, restockType="DONATED")),
        refund(1, transactions=connection(payment("LOST"))),
        refund(1, transactions=connection(payment(), after="c1")),
    ):
        with pytest.raises(Transient, match=r"DONATED|LOST|more than 50"):
            await open_port(wire=order_with(told).wire()).refunds(ORDER, Ask())
    with pytest.raises(Invalid, match="250 refunds"):
        await open_port(wire=order_with(*[refund(1)] * 250).wire()).refunds(ORDER, Ask())


def transaction(number: int, **told: Any) -> dict[str, Any]:
    return {
        "id": f"gid://shopify/OrderTransaction/{number}",
        "kind": "SALE",
        "status": "SUCCESS",
        "gateway": "paypal",
        "test": False,
        "processedAt": "2026-11-01T10:00:00Z",
        "createdAt": "2026-11-01T09:00:00Z",
        "manualPaymentGateway": False,
        "amountSet": bag("10.00"),
        "parentTransaction": None,
        "fees": [],
    } | told


def paid_by(*transactions: dict[str, Any]) -> Script:
    order = {"id": ORDER.external_id, "name": "#1001", "transactions": list(transactions)}
    return Script(lambda name, given: {"order": order})


@pytest.mark.parametrize(
    ("kind", "status", "moved"),
    [
        ("SALE", "SUCCESS", 10),
        ("CAPTURE", "SUCCESS", 10),
        ("REFUND", "SUCCESS", -10),
        ("CHANGE", "SUCCESS", -10),
        ("AUTHORIZATION", "SUCCESS", 0),
        ("EMV_AUTHORIZATION", "SUCCESS", 0),
        ("VOID", "SUCCESS", 0),
        ("SUGGESTED_REFUND", "SUCCESS", 0),
        ("SALE", "PENDING", 0),
        ("SALE", "FAILURE", 0),
        ("REFUND", "ERROR", 0),
        ("REFUND", "AWAITING_RESPONSE", 0),
        ("CAPTURE", "UNKNOWN", 0),
    ],
)
async def test_only_what_succeeded_has_moved(open_port: OpenPort, kind: str, status: str, moved: int) -> None:
    script = paid_by(transaction(1, kind=kind, status=status))
    (one,) = (await open_port(wire=script.wire()).transactions(ORDER, Ask())).items
    assert one.total == eur(str(moved))
    assert (one.kind, one.status, one.contexts[0].facts["amount"]) == (kind, status, "10.00")


async def test_test_payments_say_so(open_port: OpenPort) -> None:
    script = paid_by(transaction(1, test=True, processedAt=None), transaction(2))
    one, two = (await open_port(wire=script.wire()).transactions(ORDER, Ask())).items
    assert (one.contexts[0].facts["test"], "test" in two.contexts[0].facts) == ("true", False)
    assert (one.posted_at.hour, two.posted_at.hour) == (9, 10)


async def test_a_kind_or_status_that_we_do_not_know_is_rejected_alone(open_port: OpenPort) -> None:
    script = paid_by(transaction(1), transaction(2, kind="BARTER"), transaction(3, status="MAYBE"))
    page = await open_port(wire=script.wire()).transactions(ORDER, Ask())
    assert [each.id for each in page.items] == ["gid://shopify/OrderTransaction/1"]
    assert [each.reason for each in page.rejected] == ["unknown kind BARTER", "unknown status MAYBE"]


async def test_more_transactions_than_the_platform_lists_are_told(open_port: OpenPort) -> None:
    script = paid_by(*(transaction(n) for n in range(250)))
    page = await open_port(wire=script.wire()).transactions(ORDER, Ask())
    assert len(page.items) == 250
    assert [each.reason for each in page.rejected] == [
        "the order has 250 transactions or more, and the platform lists no more"
    ]
