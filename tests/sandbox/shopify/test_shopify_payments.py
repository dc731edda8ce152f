"""Shopify Payments of the sandbox: every payment and refund is in one payout, and every payout adds up."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.buying import Wanted as Bought
from sandbox.control import Core
from sandbox.options import Options
from sandbox.shopify.orders import Payment
from sandbox.shopify.payments import Payments
from sandbox.shopify.refunds import Wanted, give_back
from sandbox.shopify.seeding import place_order
from sandbox.shopify.state import Shop

PAYOUTS = """query($q: String) { shopifyPaymentsAccount { balance { amount } payouts(first: 250, query: $q) {
  nodes { id issuedAt status net { amount } transactionType externalTraceId
    summary { chargesGross { amount } chargesFee { amount } refundsFeeGross { amount } adjustmentsGross { amount }
      adjustmentsFee { amount } } } } } }"""
MOVEMENTS = """query($q: String, $hide: Boolean) { shopifyPaymentsAccount {
  balanceTransactions(first: 250, query: $q, hideTransfers: $hide, sortKey: ID) { nodes { id type amount { amount } fee { amount }
    net { amount } associatedOrder { id name } associatedPayout { id status } sourceType sourceOrderTransactionId test } } } }"""


async def payouts(shop: Any, q: str | None = None) -> list[dict[str, Any]]:
    await shop.control("plans", {"maximumAvailable": 2000})
    rows: list[dict[str, Any]] = (await shop.data(PAYOUTS, {"q": q}))["shopifyPaymentsAccount"]["payouts"]["nodes"]
    return rows


async def movements(shop: Any, q: str | None = None, *, hide: bool = True) -> list[dict[str, Any]]:
    await shop.control("plans", {"maximumAvailable": 2000})
    found = await shop.data(MOVEMENTS, {"q": q, "hide": hide})
    rows: list[dict[str, Any]] = found["shopifyPaymentsAccount"]["balanceTransactions"]["nodes"]
    return rows


def amount(told: dict[str, Any]) -> Decimal:
    return Decimal(told["amount"])


async def test_every_payout_of_the_world_is_the_sum_of_its_movements(shop: Any) -> None:
    issued = await payouts(shop)
    assert len(issued) > 10
    assert {each["status"] for each in issued} == {"PAID", "SCHEDULED"}
    seen: Counter[str] = Counter()
    for payout in issued:
        number = payout["id"].rpartition("/")[2]
        rows = await movements(shop, f"payments_transfer_id:{number}")
        seen.update(row["id"] for row in rows)
        assert sum(amount(row["net"]) for row in rows) == amount(payout["net"])
        assert all(amount(row["net"]) == amount(row["amount"]) - amount(row["fee"]) for row in rows)
        assert {row["associatedPayout"]["id"] for row in rows} == {payout["id"]}
        told = payout["summary"]
        gross = sum(amount(told[name]) for name in ("chargesGross", "refundsFeeGross", "adjustmentsGross"))
        assert gross - amount(told["chargesFee"]) - amount(told["adjustmentsFee"]) == amount(payout["net"])
    assert set(seen.values()) == {1}
    every = await movements(shop)
    pending = [row["id"] for row in every if row["associatedPayout"]["id"] is None]
    assert seen.keys() | set(pending) == {row["id"] for row in every}
    assert not seen.keys() & set(pending)


async def test_what_was_paid_and_refunded_is_moved_once(shop: Any) -> None:
    every = [row for row in await movements(shop) if row["type"] in ("CHARGE", "REFUND")]
    query = """{ orders(first: 250) { nodes { id transactions { id kind status amountSet { shopMoney { amount } }
      fees { amount { amount } } } } } }"""
    orders = (await shop.data(query))["orders"]["nodes"]
    paid = {
        each["id"].rpartition("/")[2]: (order["id"], each)
        for order in orders
        for each in order["transactions"]
        if each["kind"] in ("SALE", "REFUND")
    }
    assert {row["type"] for row in every} == {"CHARGE", "REFUND"}
    assert {row["sourceOrderTransactionId"] for row in every} == paid.keys()
    assert len(every) == len(paid)
    for row in every:
        order, payment = paid[row["sourceOrderTransactionId"]]
        assert row["associatedOrder"]["id"] == order
        sign = 1 if row["type"] == "CHARGE" else -1
        assert amount(row["amount"]) == sign * amount(payment["amountSet"]["shopMoney"])
        assert amount(row["fee"]) == sum(amount(fee["amount"]) for fee in payment["fees"])


async def test_transfers_are_hidden_on_request_only(shop: Any) -> None:
    shown, hidden = await movements(shop, hide=False), await movements(shop)
    assert {row["type"] for row in shown} - {row["type"] for row in hidden} == {"TRANSFER"}
    assert sum(amount(row["net"]) for row in shown) == Decimal((await shop.control("payouts"))["balance"])


async def test_a_refund_and_an_adjustment_are_paid_out_on_demand(shop: Any) -> None:
    order = next(each for each in (await shop.control("world"))["orders"] if each["financialStatus"] == "PAID")
    await shop.control("payouts", {})
    line = order["lines"][0]
    made = await shop.control("refunds", {"order": order["id"], "lines": [{"id": line["id"], "quantity": 1}]})
    label = {"type": "SHIPPING_LABEL", "amount": "-4.20", "reason": "label"}
    told = await shop.control("payouts", {"adjustments": [label]})
    assert told["balance"] == "0.00"
    net = -Decimal(made["amount"]) - Decimal("4.20")
    assert Decimal(told["payouts"][-1]["net"]) == net
    last = (await payouts(shop))[-1]
    assert (last["transactionType"], amount(last["net"])) == ("WITHDRAWAL", net)
    rows = await movements(shop, f"payments_transfer_id:{last['id'].rpartition('/')[2]}")
    assert [row["type"] for row in rows] == ["REFUND", "SHIPPING_LABEL"]
    assert len((await shop.control("payouts", {}))["payouts"]) == len(told["payouts"])


async def test_searches_take_what_they_say(shop: Any) -> None:
    issued = await payouts(shop)
    since = issued[len(issued) // 2]["issuedAt"]
    assert await payouts(shop, f"issued_at:>='{since}'") == [each for each in issued if each["issuedAt"] >= since]
    assert await payouts(shop, "status:scheduled") == [each for each in issued if each["status"] == "SCHEDULED"]


async def test_a_shop_without_shopify_payments_has_no_account(shop: Any) -> None:
    await shop.control("payouts", {"enabled": False})
    assert (await shop.data(PAYOUTS))["shopifyPaymentsAccount"] is None
    await shop.control("payouts", {"enabled": True})
    assert await payouts(shop)


async def test_payouts_need_their_scopes(shop: Any) -> None:
    answer = await shop.ask(PAYOUTS, token="shpat_sandbox_readonly")
    assert answer["data"] == {"shopifyPaymentsAccount": None}
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "ACCESS_DENIED"
    assert "read_shopify_payments" in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("payouts", {"adjustments": [{"type": "CHARGE", "amount": "1"}]}, "type is one of"),
        ("payouts", {"fee": 1}, "none of"),
        ("payouts", {"enabled": "no"}, "true or false"),
        ("refunds", {"order": "gid://shopify/Order/1"}, "there is no order"),
        ("places", {"closed": ["Rome"]}, "there is no location"),
    ],
)
async def test_what_the_till_does_not_understand_changes_nothing(
    shop: Any, path: str, body: dict[str, Any], words: str
) -> None:
    before = await shop.control("payouts")
    response = await shop.http.post(f"/_sandbox/{path}", json=body)
    assert response.status_code == 400
    assert words in response.json()["error"]
    assert await shop.control("payouts") == before


async def test_a_closed_location_is_told_only_on_request(shop: Any) -> None:
    await shop.control("places", {"closed": ["Reno"]})
    query = (
        "query($all: Boolean) { locations(first: 10, includeInactive: $all) { nodes { name isActive deactivatedAt } } }"
    )
    some, every = [(await shop.data(query, {"all": all}))["locations"]["nodes"] for all in (False, True)]
    assert [each["name"] for each in some] == ["Berlin"]
    assert [(each["name"], each["isActive"]) for each in every] == [("Berlin", True), ("Reno", False)]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("buy"), st.integers(1, 3)),
        st.tuples(st.just("refund"), st.integers(0, 99)),
        st.tuples(st.just("wait"), st.integers(1, 60)),
        st.tuples(st.just("pay out"), st.just(0)),
    ),
    max_size=25,
)


@given(STEPS)
def test_whatever_happens_payouts_add_up_and_nothing_is_in_two(steps: list[tuple[str, int]]) -> None:
    core = Core.of(Options(products=60, orders=0, speed=0.0, start=datetime(2026, 11, 25, 12, 0, tzinfo=UTC)))
    shop = Shop.open(core)
    shop.seeded = True
    now = core.clock.now()
    for step, number in steps:
        if step == "buy":
            dice = core.world.random("bought", len(shop.orders))
            place_order(shop, [Bought(core.world.product(number), number)], now, dice)
        elif step == "refund" and shop.orders:
            order = shop.orders[number % len(shop.orders)]
            line = order.lines[0]
            if line.refundable_quantity:
                give_back(
                    shop,
                    order,
                    [Wanted(line, 1, "NO_RESTOCK", None)],
                    (line.total / line.quantity).quantize(Decimal("0.01")),
                )
        elif step == "wait":
            core.clock.advance(number * 3600)
            now = core.clock.now()
            shop.payments.book(shop.orders, now)
        elif step == "pay out":
            shop.payments.book(shop.orders, now)
            shop.payments.issue(now, shop.payments.open)
    core.clock.advance(timedelta(days=2).total_seconds())
    account = shop.payments
    account.book(shop.orders, core.clock.now())
    assert account.open == []
    moved = [each for each in account.movements if each.kind != "TRANSFER"]
    assert Counter(id(each) for payout in account.payouts for each in payout.movements) == Counter(map(id, moved))
    assert [payout.net + _transfer(account, payout.place) for payout in account.payouts] == [0] * len(account.payouts)
    payments: list[Payment] = [each for order in shop.orders for each in order.payments]
    assert sorted(each.payment.id for each in moved if each.payment) == sorted(each.id for each in payments)
    earned = sum((-each.amount if each.kind == "REFUND" else each.amount for each in payments), Decimal(0))
    assert sum((each.amount for each in moved), Decimal(0)) == earned


def _transfer(account: Payments, place: int) -> Decimal:
    (found,) = [m for m in account.movements if m.kind == "TRANSFER" and m.payout is account.payouts[place]]
    return found.net
