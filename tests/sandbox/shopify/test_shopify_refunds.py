"""Refunds: what is suggested, what is given back, and how the order and its stock show it."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

REFUND = """mutation($input: RefundInput!, $key: String!) { refundCreate(input: $input) @idempotent(key: $key) {
  order { displayFinancialStatus } refund { id note
    totalRefundedSet { shopMoney { amount } presentmentMoney { amount currencyCode } }
    refundLineItems(first: 9) { nodes { quantity restockType restocked location { name } lineItem { sku }
      subtotalSet { shopMoney { amount } } totalTaxSet { shopMoney { amount } } } }
    transactions(first: 9) { nodes { id kind status gateway parentTransaction { id kind } amountSet { shopMoney { amount } } } } }
  userErrors { field message } } }"""
SUGGESTED = """query($id: ID!, $lines: [RefundLineItemInput!], $shipping: Boolean, $full: Boolean = false) { order(id: $id) {
  suggestedRefund(refundLineItems: $lines, refundShipping: $shipping, suggestFullRefund: $full) {
    amountSet { shopMoney { amount } } maximumRefundableSet { shopMoney { amount } } totalTaxSet { shopMoney { amount } }
    shipping { amountSet { shopMoney { amount } } maximumRefundableSet { shopMoney { amount } } }
    suggestedTransactions { gateway kind amountSet { presentmentMoney { amount } } parentTransaction { id kind } } } } }"""
ORDER = """query($id: ID!) { order(id: $id) { displayFinancialStatus displayFulfillmentStatus presentmentCurrencyCode
  refundable updatedAt currentTotalPriceSet { shopMoney { amount } }
  totalRefundedSet { shopMoney { amount } } totalShippingPriceSet { shopMoney { amount } }
  totalReceivedSet { shopMoney { amount } presentmentMoney { amount } }
  lineItems(first: 9) { nodes { id quantity currentQuantity refundableQuantity unfulfilledQuantity } }
  refunds { id } transactions { id kind maximumRefundableV2 { amount } }
  fulfillmentOrders(first: 9) { nodes { id status lineItems(first: 9) { nodes { remainingQuantity totalQuantity } } } } } }"""
KEYS = iter(range(1, 10_000))


async def sold(shop: Any, *quantities: int, currency: str = "USD", **order: Any) -> dict[str, Any]:
    """A new order of a buyer who pays in `currency`, 20.00 a unit, one line for each of `quantities`."""
    skus = [entry["sku"] for entry in (await shop.control("world"))["skus"]]
    lines = [
        {"sku": sku, "quantity": units, "location": "Berlin", "price": "20.00"}
        for sku, units in zip(skus, quantities, strict=False)
    ]
    while True:
        made = await shop.control("state", {"orders": [{"lines": lines, **order}]})
        await shop.control("clock", {"advance": 3})
        found = await stands(shop, made["orders"][0])
        if found["presentmentCurrencyCode"] == currency:
            return found


async def stands(shop: Any, given: str) -> dict[str, Any]:
    found: dict[str, Any] = (await shop.data(ORDER, {"id": given}))["order"]
    return found | {"id": given}


async def suggested(shop: Any, order: dict[str, Any], **variables: Any) -> Any:
    return (await shop.data(SUGGESTED, {"id": order["id"], **variables}))["order"]["suggestedRefund"]


def line(order: dict[str, Any], quantity: int, place: int = 0, **more: Any) -> dict[str, Any]:
    return {"lineItemId": order["lineItems"]["nodes"][place]["id"], "quantity": quantity, **more}


def paid(order: dict[str, Any], amount: str) -> dict[str, Any]:
    sale = order["transactions"][0]["id"]
    return {
        "orderId": order["id"],
        "gateway": "shopify_payments",
        "kind": "REFUND",
        "amount": amount,
        "parentId": sale,
    }


async def refund(shop: Any, order: dict[str, Any], key: str = "", **given: Any) -> dict[str, Any]:
    variables = {"input": {"orderId": order["id"], **given}, "key": key or f"key-{next(KEYS)}"}
    answer: dict[str, Any] = (await shop.data(REFUND, variables))["refundCreate"]
    return answer


async def level(shop: Any, place: str = "Berlin") -> dict[str, int]:
    entry = (await shop.control("world"))["skus"][0]
    found: dict[str, int] = entry["stock"][place]
    return found


async def test_a_line_and_its_money_go_back(shop: Any) -> None:
    order = await sold(shop, 3)
    answer = await refund(
        shop, order, refundLineItems=[line(order, 1)], transactions=[paid(order, "20.00")], note="torn"
    )
    assert answer["userErrors"] == []
    assert answer["order"] == {"displayFinancialStatus": "PARTIALLY_REFUNDED"}
    made = answer["refund"]
    assert made["note"] == "torn"
    assert made["totalRefundedSet"]["shopMoney"]["amount"] == "20.0"
    (row,) = made["refundLineItems"]["nodes"]
    assert (row["quantity"], row["restockType"], row["restocked"], row["location"]) == (1, "NO_RESTOCK", False, None)
    (payment,) = made["transactions"]["nodes"]
    assert (payment["kind"], payment["status"], payment["parentTransaction"]["kind"]) == ("REFUND", "SUCCESS", "SALE")
    now = await stands(shop, order["id"])
    assert [(one["currentQuantity"], one["refundableQuantity"]) for one in now["lineItems"]["nodes"]] == [(2, 2)]
    assert [one["kind"] for one in now["transactions"]] == ["SALE", "REFUND"]
    left = Decimal(order["totalReceivedSet"]["shopMoney"]["amount"]) - 20
    assert Decimal(now["currentTotalPriceSet"]["shopMoney"]["amount"]) == left
    assert Decimal(now["transactions"][0]["maximumRefundableV2"]["amount"]) == left
    assert now["updatedAt"] >= order["updatedAt"]
    assert [each["id"] for each in now["refunds"]] == [made["id"]]


async def test_a_key_gives_back_once_and_wants_the_same_again(shop: Any) -> None:
    order = await sold(shop, 3)
    given: dict[str, Any] = {"transactions": [paid(order, "5.00")]}
    first = await refund(shop, order, "same", **given)
    again = await refund(shop, order, "same", **given)
    assert again["refund"]["id"] == first["refund"]["id"]
    other = await refund(shop, order, "same", transactions=[paid(order, "6.00")])
    assert "same idempotency key" in other["userErrors"][0]["message"]
    await shop.control("clock", {"advance": 25 * 3600})
    forgotten = await refund(shop, order, "same", **given)
    assert forgotten["refund"]["id"] != first["refund"]["id"]
    effects = [effect for effect in await shop.effects() if effect["operation"] == "refundCreate"]
    assert [effect["detail"]["amount"] for effect in effects] == ["5.00", "5.00"]


async def test_without_a_key_nothing_is_given_back(shop: Any) -> None:
    order = await sold(shop, 1)
    answer = await shop.ask(
        "mutation($input: RefundInput!) { refundCreate(input: $input) { refund { id } } }",
        {"input": {"orderId": order["id"], "transactions": [paid(order, "1.00")]}},
    )
    assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert (await stands(shop, order["id"]))["refunds"] == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (lambda o: {"refundLineItems": [line(o, 4)]}, ["refundLineItems", "0", "quantity"]),
        (lambda o: {"refundLineItems": [line(o, 2), line(o, 2)]}, ["refundLineItems", "1", "quantity"]),
        (lambda o: {"refundLineItems": [line(o, 0)]}, ["refundLineItems", "0", "quantity"]),
        (
            lambda o: {"refundLineItems": [{"lineItemId": "gid://shopify/LineItem/1", "quantity": 1}]},
            ["refundLineItems", "0", "lineItemId"],
        ),
        (
            lambda o: {"refundLineItems": [line(o, 1, locationId="gid://shopify/Location/1")]},
            ["refundLineItems", "0", "locationId"],
        ),
        (
            lambda o: {"refundLineItems": [line(o, 1, restockType="LEGACY_RESTOCK")]},
            ["refundLineItems", "0", "restockType"],
        ),
        (lambda o: {"transactions": [paid(o, "10000")]}, ["transactions"]),
        (lambda o: {"transactions": [paid(o, "0")]}, ["transactions", "0", "amount"]),
        (lambda o: {"transactions": [paid(o, "1") | {"kind": "SALE"}]}, ["transactions", "0", "kind"]),
        (lambda o: {"transactions": [paid(o, "1") | {"parentId": None}]}, ["transactions", "0", "parentId"]),
        (lambda o: {"shipping": {"amount": "100"}}, ["shipping", "amount"]),
        (lambda o: {"currency": "EUR", "transactions": [paid(o, "1")]}, ["currency"]),
        (lambda o: {}, None),
    ],
)
async def test_what_is_refused_changes_nothing(shop: Any, given: Callable[..., Any], field: list[str] | None) -> None:
    order = await sold(shop, 3)
    answer = await refund(shop, order, **given(order))
    assert answer["refund"] is None
    assert [error["field"] for error in answer["userErrors"]] == [field]
    now = await stands(shop, order["id"])
    assert (now["refunds"], now["displayFinancialStatus"]) == ([], "PAID")


async def test_an_unknown_order_is_told_and_one_without_payment_gives_nothing_back(shop: Any) -> None:
    order = await sold(shop, 1)
    unknown = await refund(shop, order | {"id": "gid://shopify/Order/1"}, transactions=[paid(order, "1")])
    assert unknown["userErrors"][0]["field"] == ["orderId"]
    pending = await sold(shop, 1, financialStatus="PENDING")
    assert (pending["transactions"], pending["refundable"]) == ([], False)
    told = await suggested(shop, pending, lines=[line(pending, 1)])
    assert (told["amountSet"]["shopMoney"]["amount"], told["suggestedTransactions"]) == ("0.0", [])


@pytest.mark.parametrize(
    ("restock", "place", "available", "committed", "on_hand"),
    [
        ("CANCEL", "Berlin", 1, -1, 0),
        ("RETURN", "Reno", 1, 0, 1),
        ("NO_RESTOCK", "Berlin", 0, -1, -1),
    ],
)
async def test_units_come_back_as_they_were_told_to(
    shop: Any, restock: str, place: str, available: int, committed: int, on_hand: int
) -> None:
    order = await sold(shop, 2)
    before = await level(shop, place)
    locations = {each["name"]: each["id"] for each in (await shop.control("world"))["locations"]}
    more = {"locationId": locations[place]} if restock == "RETURN" else {}
    if restock == "RETURN":
        work = order["fulfillmentOrders"]["nodes"][0]["id"]
        ship = "mutation($f: FulfillmentInput!) { fulfillmentCreate(fulfillment: $f) { userErrors { message } } }"
        await shop.data(ship, {"f": {"lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": work}]}})
        await shop.control("clock", {"advance": 3})
    await refund(shop, order, refundLineItems=[line(order, 1, restockType=restock, **more)])
    after = await level(shop, place)
    assert after == {
        "available": before["available"] + available,
        "committed": before["committed"] + committed,
        "onHand": before["onHand"] + on_hand,
    }
    now = await stands(shop, order["id"])
    (row,) = now["fulfillmentOrders"]["nodes"][0]["lineItems"]["nodes"]
    shipped = restock == "RETURN"
    assert row == {"remainingQuantity": 0 if shipped else 1, "totalQuantity": 2 if shipped else 1}
    assert now["lineItems"]["nodes"][0]["unfulfilledQuantity"] == (0 if shipped else 1)
    assert now["displayFulfillmentStatus"] == ("FULFILLED" if shipped else "UNFULFILLED")


async def test_the_units_of_a_line_share_its_price_to_the_cent(shop: Any) -> None:
    """Three units of an order, refunded one by one, as suggested each time."""
    order = await sold(shop, 3)
    given_back = Decimal(0)
    for left in (3, 2, 1):
        told = await suggested(shop, order, lines=[line(order, 1)], shipping=left == 1)
        amount = told["amountSet"]["shopMoney"]["amount"]
        await refund(
            shop,
            order,
            refundLineItems=[line(order, 1)],
            transactions=[paid(order, amount)],
            shipping={"fullRefund": left == 1},
        )
        given_back += Decimal(amount)
    now = await stands(shop, order["id"])
    assert given_back == Decimal(order["totalReceivedSet"]["shopMoney"]["amount"])
    assert now["displayFinancialStatus"] == "REFUNDED"
    assert now["currentTotalPriceSet"]["shopMoney"]["amount"] == "0.0"
    assert now["refundable"] is False
    assert Decimal((await suggested(shop, order, full=True))["amountSet"]["shopMoney"]["amount"]) == 0


async def test_a_whole_refund_is_suggested_with_shipping(shop: Any) -> None:
    order = await sold(shop, 2, 1)
    told = await suggested(shop, order, full=True)
    assert told["amountSet"]["shopMoney"] == order["totalReceivedSet"]["shopMoney"]
    assert told["maximumRefundableSet"] == told["amountSet"]
    assert told["shipping"]["amountSet"]["shopMoney"]["amount"] == order["totalShippingPriceSet"]["shopMoney"]["amount"]
    (way,) = told["suggestedTransactions"]
    assert (way["kind"], way["parentTransaction"]["id"]) == ("SUGGESTED_REFUND", order["transactions"][0]["id"])
    assert await suggested(shop, order, lines=[line(order, 3)]) is None


async def test_who_paid_in_yen_gets_yen_back(shop: Any) -> None:
    order = await sold(shop, 1, currency="JPY")
    total = order["totalReceivedSet"]["presentmentMoney"]["amount"]
    refused = await refund(shop, order, transactions=[paid(order, total)])
    assert refused["userErrors"][0]["field"] == ["currency"]
    answer = await refund(shop, order, currency="JPY", transactions=[paid(order, total)])
    back = answer["refund"]["totalRefundedSet"]
    assert back["presentmentMoney"] == {"amount": total, "currencyCode": "JPY"}
    assert back["shopMoney"] == order["totalReceivedSet"]["shopMoney"]
    assert answer["order"]["displayFinancialStatus"] == "REFUNDED"


async def test_the_refunded_orders_of_the_start_show_their_refund(open_shop: Callable[..., Any]) -> None:
    shop = await open_shop(orders=600)
    query = """{ orders(first: 9, query: "financial_status:refunded") { nodes { totalPriceSet { shopMoney { amount } }
      currentTotalPriceSet { shopMoney { amount } } displayFulfillmentStatus lineItems(first: 9) { nodes { currentQuantity } }
      refunds { totalRefundedSet { shopMoney { amount } } } transactions { kind } } } }"""
    rows = (await shop.data(query))["orders"]["nodes"]
    assert rows
    for row in rows:
        assert [each["totalRefundedSet"] for each in row["refunds"]] == [row["totalPriceSet"]]
        assert row["currentTotalPriceSet"]["shopMoney"]["amount"] == "0.0"
        assert [each["kind"] for each in row["transactions"]] == ["SALE", "REFUND"]
        assert {each["currentQuantity"] for each in row["lineItems"]["nodes"]} == {0}
        assert row["displayFulfillmentStatus"] == "FULFILLED"


async def test_refunds_and_transactions_are_nodes(shop: Any) -> None:
    order = await sold(shop, 1)
    made = (await refund(shop, order, transactions=[paid(order, "1.00")]))["refund"]
    gids = [made["id"], made["transactions"]["nodes"][0]["id"], order["lineItems"]["nodes"][0]["id"]]
    told = await shop.data("query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", {"ids": gids})
    assert [(node["__typename"], node["id"]) for node in told["nodes"]] == list(
        zip(("Refund", "OrderTransaction", "LineItem"), gids, strict=True)
    )
    absent = [f"gid://shopify/{kind}/99999999999999" for kind in ("Refund", "OrderTransaction", "LineItem")]
    told = await shop.data("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": absent})
    assert told["nodes"] == [None] * 3
