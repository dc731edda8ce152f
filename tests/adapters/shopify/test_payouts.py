"""Payouts of a shop, and the movements that they are made of."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from adapters.port import Page
from adapters.shopify.platform import ShopifyPort
from adapters.storefront import Payments, Payouts, Places, Work
from domain.budget import Ask
from domain.errors import Invalid, MissingRole, NotFound
from domain.finance import Breakdown, Transaction
from domain.money import Money
from domain.payout import Payout
from tests.adapters.shopify.bench import CHANNEL, LONG_AGO, OpenPort, Sandbox, Script, connection

SINCE = datetime(2026, 11, 1, tzinfo=UTC)
PAYOUT = "gid://shopify/ShopifyPaymentsPayout/1"


async def payouts(port: ShopifyPort, since: datetime = LONG_AGO) -> list[Page[Payout]]:
    return [page async for page in port.payout_pages(since, Ask())]


async def movements(port: ShopifyPort, payout: str = PAYOUT) -> list[Page[Transaction]]:
    return [page async for page in port.movement_pages(payout, Ask())]


async def test_the_port_tells_of_money_and_work(port: ShopifyPort) -> None:
    assert isinstance(port, Payouts)
    assert isinstance(port, Payments)
    assert isinstance(port, Places)
    assert isinstance(port, Work)


async def test_every_payout_of_the_shop_is_the_sum_of_its_movements(sandbox: Sandbox, port: ShopifyPort) -> None:
    adjustments = [
        {"type": "SHIPPING_LABEL", "amount": "-4.20", "reason": "label"},
        {"type": "CHARGEBACK_FEE", "amount": "0", "fee": "15.00"},
    ]
    await sandbox.post("payouts", adjustments=adjustments)
    told = await payouts(port)
    assert [page.rejected for page in told] == [[]] * len(told)
    found = [payout for page in told for payout in page.items]
    world = (await sandbox.get("payouts"))["payouts"]
    assert [(each.id, each.net) for each in found] == [(one["id"], Money(Decimal(one["net"]), "USD")) for one in world]
    assert len(found) > 10
    assert told[-1].until == found[-1].issued_at
    seen: Counter[str | None] = Counter()
    kinds: Counter[str] = Counter()
    for payout in found[-6:]:
        pages = await movements(port, payout.id)
        assert [page.rejected for page in pages] == [[]] * len(pages)
        rows = [row for page in pages for row in page.items]
        assert sum((row.total.amount for row in rows), Decimal(0)) == payout.net.amount
        assert {row.values("PAYOUT_ID") for row in rows} == {(payout.id,)}
        seen.update(row.id for row in rows)
        kinds.update(row.kind for row in rows)
        charges = [row for row in rows if row.kind == "CHARGE"]
        assert all(row.values("ORDER_ID") for row in charges)
        gross = sum(
            (part.amount.amount for row in charges for part in row.breakdowns if part.kind == "amount"), Decimal(0)
        )
        assert payout.totals["chargesGross"] == Money(gross, "USD")
    assert set(seen.values()) == {1}
    assert {"CHARGE", "SHIPPING_LABEL", "CHARGEBACK_FEE"} <= kinds.keys()
    assert "TRANSFER" not in kinds


async def test_a_refund_is_a_movement_of_its_order(sandbox: Sandbox, port: ShopifyPort) -> None:
    sku = (await sandbox.get("world", limit=1, offset=400))["skus"][0]["sku"]
    order = await sandbox.place_order({"sku": sku, "quantity": 2})
    await sandbox.post("payouts")
    made = await sandbox.post("refunds", order=order["id"], lines=[{"id": order["lines"][0]["id"], "quantity": 1}])
    last = (await sandbox.post("payouts"))["payouts"][-1]
    (page,) = await movements(port, last["id"])
    (row,) = page.items
    assert (row.kind, row.total) == ("REFUND", Money(-Decimal(made["amount"]), "USD"))
    assert row.values("ORDER_ID") == (order["id"],)
    assert (await payouts(port))[-1].items[-1].net == row.total


async def test_a_shop_without_shopify_payments_says_so(sandbox: Sandbox, port: ShopifyPort) -> None:
    last = (await payouts(port))[-1].items[-1].id
    await sandbox.post("payouts", enabled=False)
    try:
        with pytest.raises(NotFound, match="does not use Shopify Payments"):
            await payouts(port)
        with pytest.raises(NotFound, match="does not use Shopify Payments"):
            await movements(port, last)
    finally:
        await sandbox.post("payouts", enabled=True)
    assert await payouts(port)


async def test_a_missing_scope_is_named_and_stops_nothing_else(sandbox: Sandbox, open_port: OpenPort) -> None:
    await sandbox.post("plans", maximumAvailable=2000, restoreRate=100)
    port = open_port(sandbox.url, access_token="shpat_sandbox_readonly")
    with pytest.raises(MissingRole, match="read_shopify_payments"):
        await payouts(port)
    assert await port.places(Ask())


async def test_an_unknown_payout(port: ShopifyPort) -> None:
    with pytest.raises(NotFound, match="has no payout"):
        await movements(port, "gid://shopify/ShopifyPaymentsPayout/1")
    with pytest.raises(NotFound, match="invalid id"):
        await movements(port, "tr_1")


def price(amount: str, currency: str = "EUR") -> dict[str, Any]:
    return {"amount": amount, "currencyCode": currency}


def raw_payout(number: int, **told: Any) -> dict[str, Any]:
    return {
        "id": f"gid://shopify/ShopifyPaymentsPayout/{number}",
        "issuedAt": f"2026-11-{number:02d}T00:00:00Z",
        "status": "PAID",
        "transactionType": "DEPOSIT",
        "externalTraceId": "T-1",
        "net": price("10.00"),
        "summary": {"chargesGross": price("11.00"), "chargesFee": price("1.00")},
    } | told


def movement(number: int, **told: Any) -> dict[str, Any]:
    return {
        "id": f"gid://shopify/ShopifyPaymentsBalanceTransaction/{number}",
        "type": "CHARGE",
        "transactionDate": "2026-11-03T10:00:00Z",
        "test": False,
        "sourceType": "CHARGE",
        "sourceId": 24826418271878346,
        "sourceOrderTransactionId": "24826418271878346",
        "adjustmentReason": None,
        "amount": price("11.00"),
        "fee": price("1.00"),
        "net": price("10.00"),
        "associatedOrder": {"id": "gid://shopify/Order/1", "name": "#1001"},
        "associatedPayout": {"id": PAYOUT, "status": "PAID"},
    } | told


def account_with(*rows: dict[str, Any], net: str = "10.00") -> Script:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "Payout":
            account = {"id": "gid://shopify/ShopifyPaymentsAccount/1"}
            return {"shopifyPaymentsAccount": account, "node": {"id": given["id"], "net": price(net)}}
        field = "payouts" if name == "Payouts" else "balanceTransactions"
        return {"shopifyPaymentsAccount": {field: connection(*rows)}}

    return Script(answer)


async def test_a_payout(open_port: OpenPort) -> None:
    script = account_with(raw_payout(2, externalTraceId=None, status="LOST_AT_SEA"))
    (page,) = await payouts(open_port(wire=script.wire()), SINCE)
    totals = {"chargesGross": Money(Decimal("11.00"), "EUR"), "chargesFee": Money(Decimal("1.00"), "EUR")}
    issued = datetime(2026, 11, 2, tzinfo=UTC)
    net = Money(Decimal("10.00"), "EUR")
    id = "gid://shopify/ShopifyPaymentsPayout/2"
    assert page.items == [Payout(CHANNEL.id, id, issued, "LOST_AT_SEA", net, None, totals)]
    assert script.asked == [("Payouts", {"query": "issued_at:>='2026-11-01T00:00:00Z'", "after": None})]


async def test_a_payout_whose_sign_is_not_that_of_its_direction_is_rejected_alone(open_port: OpenPort) -> None:
    rows = [
        raw_payout(1, transactionType="WITHDRAWAL", net=price("3.00")),
        raw_payout(2, net=price("-3.00")),
        raw_payout(3, transactionType="WITHDRAWAL", net=price("-3.00")),
        raw_payout(4, net=price("0.00")),
    ]
    (page,) = await payouts(open_port(wire=account_with(*rows).wire()), SINCE)
    assert [each.id.rpartition("/")[2] for each in page.items] == ["3", "4"]
    assert [each.reason for each in page.rejected] == ["a WITHDRAWAL of 3.00", "a DEPOSIT of -3.00"]


async def test_a_movement_keeps_amount_fee_and_net_and_the_platforms_words(open_port: OpenPort) -> None:
    row = movement(1, type="SOLAR_REBATE", sourceType=None, test=True, adjustmentReason="sun")
    (page,) = await movements(open_port(wire=account_with(row).wire()))
    (one,) = page.items
    assert (one.kind, one.status, one.total) == ("SOLAR_REBATE", "PAID", Money(Decimal("10.00"), "EUR"))
    assert one.breakdowns == (
        Breakdown("amount", Money(Decimal("11.00"), "EUR")),
        Breakdown("fee", Money(Decimal("-1.00"), "EUR")),
    )
    assert one.related == (
        ("PAYOUT_ID", PAYOUT),
        ("ORDER_ID", "gid://shopify/Order/1"),
        ("ORDER_NAME", "#1001"),
        ("ORDER_TRANSACTION_ID", "24826418271878346"),
    )
    assert one.contexts[0].facts == {"sourceId": "24826418271878346", "adjustmentReason": "sun", "test": "true"}
    assert page.rejected == []


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"fee": price("1.01")}, "the net is 10.00 EUR, its parts add up to 9.99"),
        ({"net": price("10.00", "USD")}, "the net is in USD, its part amount in EUR"),
        (
            {"associatedPayout": {"id": None, "status": "PENDING"}},
            f"it was asked for as a part of {PAYOUT} and is told to be in None",
        ),
        (
            {"amount": price("11.00") | {"amount": 11}},
            "amount.amount: Value error, should be a decimal number in a string",
        ),
        (
            {"amount": price("11.00", "USD"), "fee": price("1.00", "USD"), "net": price("10.00", "USD")},
            "it is in USD, its payout in EUR",
        ),
    ],
)
async def test_a_movement_that_does_not_add_up_is_rejected_alone(
    open_port: OpenPort, told: dict[str, Any], reason: str
) -> None:
    (page,) = await movements(open_port(wire=account_with(movement(1), movement(2, **told), net="20.00").wire()))
    assert [each.id for each in page.items] == ["gid://shopify/ShopifyPaymentsBalanceTransaction/1"]
    assert (page.rejected[0].what, page.rejected[0].reason) == ("movement", reason)


async def test_a_payout_that_its_movements_do_not_come_to_is_told(open_port: OpenPort) -> None:
    (page,) = await movements(open_port(wire=account_with(movement(1), net="10.01").wire()))
    assert len(page.items) == 1
    (problem,) = page.rejected
    assert (problem.what, problem.key) == ("payout", PAYOUT)
    assert problem.reason == "its net is 10.01 EUR, its movements add up to 10.00"


async def test_movements_are_read_to_the_last_page(open_port: OpenPort) -> None:
    def answer(name: str, asked: dict[str, Any]) -> Any:
        if name == "Payout":
            return {"shopifyPaymentsAccount": {"id": "1"}, "node": {"id": PAYOUT, "net": price("5010.00")}}
        start = int(asked["after"] or 0)
        rows = [movement(n) for n in range(start, min(start + 250, 501))]
        after = None if start + 250 > 500 else str(start + 250)
        return {"shopifyPaymentsAccount": {"balanceTransactions": connection(*rows, after=after)}}

    script = Script(answer)
    told = await movements(open_port(wire=script.wire()))
    assert [len(page.items) for page in told] == [250, 250, 1]
    assert [page.rejected for page in told] == [[], [], []]
    assert {given["query"] for name, given in script.asked if name == "Movements"} == {"payments_transfer_id:1"}


async def test_a_search_that_is_not_understood_fails(open_port: OpenPort) -> None:
    def answer(name: str, asked: dict[str, Any]) -> Any:
        warning = {"field": "issued_at", "message": "Invalid search field for this query.", "code": "invalid_field"}
        search = [{"path": ["shopifyPaymentsAccount", "payouts"], "query": "", "parsed": {}, "warnings": [warning]}]
        data = {"shopifyPaymentsAccount": {"payouts": connection()}}
        return httpx.Response(200, json={"data": data, "extensions": {"search": search}})

    with pytest.raises(Invalid, match="Invalid search field"):
        await payouts(open_port(wire=Script(answer).wire()))
