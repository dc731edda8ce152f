"""orderCancel and the job that does it."""

from typing import Any

import pytest

CANCEL = """mutation($id: ID!, $restock: Boolean!, $method: OrderCancelRefundMethodInput, $refund: Boolean) {
  orderCancel(orderId: $id, reason: FRAUD, restock: $restock, refundMethod: $method, refund: $refund) {
    job { id done } orderCancelUserErrors { code field message } userErrors { field message } } }"""
ORDER = """query($id: ID!) { order(id: $id) { cancelledAt cancelReason closed displayFinancialStatus displayFulfillmentStatus
  currentTotalPriceSet { shopMoney { amount } } refunds { id }
  fulfillmentOrders(first: 9) { nodes { id status } } } }"""
JOB = "query($id: ID!) { job(id: $id) { id done } }"
SHIP = "mutation($f: FulfillmentInput!) { fulfillmentCreate(fulfillment: $f) { fulfillment { id } } }"
UNSHIP = (
    "mutation($id: ID!) { fulfillmentCancel(id: $id) { fulfillment { status displayStatus } userErrors { message } } }"
)
TO_CARD = {"originalPaymentMethodsRefund": True}


async def sold(shop: Any, quantity: int = 2, **order: Any) -> str:
    sku = (await shop.control("world"))["skus"][0]["sku"]
    lines = [{"sku": sku, "quantity": quantity, "location": "Berlin"}]
    made = await shop.control("state", {"orders": [{"lines": lines, **order}]})
    await shop.control("clock", {"advance": 3})
    gid: str = made["orders"][0]
    return gid


async def cancel(shop: Any, order: str, *, restock: bool = True, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await shop.data(CANCEL, {"id": order, "restock": restock, **more}))["orderCancel"]
    return answer


async def stands(shop: Any, order: str) -> dict[str, Any]:
    found: dict[str, Any] = (await shop.data(ORDER, {"id": order}))["order"]
    return found


async def ship(shop: Any, order: str) -> str:
    work = (await stands(shop, order))["fulfillmentOrders"]["nodes"][0]["id"]
    made = await shop.data(SHIP, {"f": {"lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": work}]}})
    gid: str = made["fulfillmentCreate"]["fulfillment"]["id"]
    return gid


async def berlin(shop: Any) -> tuple[int, int]:
    level = (await shop.control("world"))["skus"][0]["stock"]["Berlin"]
    return level["available"], level["committed"]


async def test_the_order_is_canceled_when_the_job_is_done(shop: Any) -> None:
    order = await sold(shop)
    job = (await cancel(shop, order, method=TO_CARD))["job"]
    assert job["done"] is False
    assert (await stands(shop, order))["cancelledAt"] is None
    await shop.control("clock", {"advance": 1})
    assert (await shop.data(JOB, {"id": job["id"]}))["job"] == {"id": job["id"], "done": True}
    now = await stands(shop, order)
    assert (now["cancelReason"], now["closed"], now["displayFinancialStatus"]) == ("FRAUD", True, "REFUNDED")
    assert now["cancelledAt"]
    assert len(now["refunds"]) == 1
    assert now["currentTotalPriceSet"]["shopMoney"]["amount"] == "0.0"
    assert [work["status"] for work in now["fulfillmentOrders"]["nodes"]] == ["CANCELLED"]
    assert (await shop.data(JOB, {"id": "gid://shopify/Job/1"}))["job"] is None


@pytest.mark.parametrize("restock", [True, False])
@pytest.mark.parametrize("refund", [True, False])
async def test_units_and_money_go_where_they_were_told_to(shop: Any, restock: bool, refund: bool) -> None:
    order = await sold(shop)
    available, committed = await berlin(shop)
    await cancel(shop, order, restock=restock, refund=refund)
    await shop.control("clock", {"advance": 1})
    now = await stands(shop, order)
    assert await berlin(shop) == (available + 2 * restock, committed - 2)
    assert (now["displayFinancialStatus"], len(now["refunds"])) == (("REFUNDED", 1) if refund else ("PAID", 0))


async def test_an_authorized_payment_is_let_go(shop: Any) -> None:
    order = await sold(shop, financialStatus="AUTHORIZED")
    await cancel(shop, order)
    await shop.control("clock", {"advance": 1})
    assert (await stands(shop, order))["displayFinancialStatus"] == "VOIDED"


async def test_what_cannot_be_canceled_says_so_twice(shop: Any) -> None:
    order = await sold(shop)
    parcel = await ship(shop, order)
    refused = await cancel(shop, order)
    message = "Cannot cancel an order that has outstanding fulfillments"
    assert refused == {
        "job": None,
        "orderCancelUserErrors": [{"code": "INVALID", "field": ["orderId"], "message": message}],
        "userErrors": [{"field": ["orderId"], "message": message}],
    }
    unknown = await cancel(shop, "gid://shopify/Order/1")
    assert [error["code"] for error in unknown["orderCancelUserErrors"]] == ["NOT_FOUND"]
    for _ in range(2):
        back = (await shop.data(UNSHIP, {"id": parcel}))["fulfillmentCancel"]
        assert back == {"fulfillment": {"status": "CANCELLED", "displayStatus": "CANCELED"}, "userErrors": []}
    assert (await cancel(shop, order))["job"]
    await shop.control("clock", {"advance": 1})
    assert [error["code"] for error in (await cancel(shop, order))["orderCancelUserErrors"]] == ["INVALID"]


async def test_two_jobs_or_a_parcel_in_between_cancel_once_or_not_at_all(shop: Any) -> None:
    twice, shipped = await sold(shop), await sold(shop)
    await cancel(shop, twice, method=TO_CARD)
    await cancel(shop, twice, method=TO_CARD)
    await cancel(shop, shipped)
    await ship(shop, shipped)
    available, committed = await berlin(shop)
    await shop.control("clock", {"advance": 2})
    assert len((await stands(shop, twice))["refunds"]) == 1
    assert (await stands(shop, shipped))["cancelledAt"] is None
    assert await berlin(shop) == (available + 2, committed - 2)
    effects = [effect["key"] for effect in await shop.effects() if effect["operation"] == "orderCancel"]
    assert effects == [twice]


async def test_canceling_needs_its_scope(shop: Any) -> None:
    order = await sold(shop)
    answer = await shop.ask(CANCEL, {"id": order, "restock": True}, token="shpat_sandbox_readonly")
    assert answer["errors"][0]["extensions"]["requiredAccess"].startswith("`write_orders` access scope.")
