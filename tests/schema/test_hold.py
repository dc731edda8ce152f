"""Holds, cancellations, refunds and the queue, as clients ask for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from domain.ids import node_id
from domain.money import Money
from domain.order import Order
from resolvers.context import Caller
from resolvers.shelf import Shelf
from schema.scopes import ALL
from store.session import Store
from tests.resolvers.test_hold import Shop
from tests.resolvers.test_shipment import CHANNEL, CountingBell, keep, make_order
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask
from tests.store.warehouse import statements

HOLD = """mutation($ids: [ID!]!) { holdOrders(
    input: {orderIds: $ids, reason: ADDRESS, words: "No such street.", approval: true}) {
    orders { status holds { reason words madeBy rule approval keepsUntil endedAt } } userErrors { code field } } }"""
RELEASE = """mutation($ids: [ID!]!) { releaseOrders(input: {orderIds: $ids}) { orders { id } userErrors { code message } } }"""
APPROVE = """mutation($ids: [ID!]!) { approveOrders(input: {orderIds: $ids, words: "called"}) {
    orders { status holds { endedBy } } userErrors { code } } }"""
QUEUE = """{ orderQueue(first: 5) { totalCount nodes { order { externalId status minutesToShipBy cancellationRequested }
    minutesLeft confirmBy confirmationLagSeconds measuredItems obstacles } } }"""
HELD = "{ orders(filter: {status: [ON_HOLD]}) { totalCount nodes { externalId } } }"
CANCEL = """mutation($id: ID!) { cancelOrders(input: {orders: [{orderId: $id, reason: BUYER}], idempotencyKey: "c"}) {
    operation { kind status items { nodes { key after } } } userErrors { code field } } }"""
REFUND = """mutation($id: ID!, $line: ID!, $amount: Decimal!) { refundOrders(input: {refunds: [{orderId: $id, amount: $amount,
    currency: "EUR", reason: "broken", lines: [{orderLineId: $line, quantity: 1, restock: RETURN}]}]}) {
    operation { kind status } userErrors { code field } } }"""
RULE = """mutation($input: HoldRuleInput!) { setHoldRule(input: $input) {
    rule { name reason valueAbove currency keepsFor countries channelIds madeBy } userErrors { code field } } }"""


@pytest.fixture
def shelf(store: Store, redis: Redis) -> Shelf:
    shelf = replace(House(store, redis).shelf, bell=CountingBell())
    shop: Any = Shop(shelf.ports[CHANNEL])
    return replace(shelf, ports={**shelf.ports, CHANNEL: shop})


def due(number: int) -> Order:
    at = datetime.now(UTC) + timedelta(hours=number)
    return make_order(str(number), ship_by=at, total=Money(Decimal("80.00"), "EUR"))


def gid(one: Order) -> str:
    return node_id("Order", one.id)


async def test_units_that_lie_nowhere_are_looked_for_only_when_obstacles_are_wanted(shelf: Shelf) -> None:
    await keep(shelf, due(1), due(2))
    for query, times in ((QUEUE, 1), (QUEUE.replace(" obstacles", ""), 0)):
        with statements(shelf.store) as seen:
            _, errors, _ = await ask(shelf, query)
        assert (errors, sum("join order_allocation" in one for one in seen)) == ([], times)


async def test_an_order_is_held_shown_so_everywhere_and_approved_by_somebody_else(shelf: Shelf) -> None:
    one, other = due(1), due(2)
    await keep(shelf, one, other)
    data, errors, _ = await ask(shelf, HOLD, ids=[gid(one), "Order:none"])
    told = {"reason": "ADDRESS", "words": "No such street.", "madeBy": "admin", "approval": True}
    none = {"rule": None, "keepsUntil": None, "endedAt": None}
    assert errors == []
    assert data["holdOrders"] == {
        "orders": [{"status": "ON_HOLD", "holds": [told | none]}],
        "userErrors": [{"code": "NOT_FOUND", "field": ["input", "orderIds", "1"]}],
    }
    data, errors, _ = await ask(shelf, HELD)
    assert (errors, data["orders"]) == ([], {"totalCount": 1, "nodes": [{"externalId": "1"}]})
    data, errors, _ = await ask(shelf, QUEUE)
    [first, second] = data["orderQueue"]["nodes"]
    assert (errors, data["orderQueue"]["totalCount"]) == ([], 2)
    assert (first["order"]["externalId"], first["order"]["status"]) == ("1", "ON_HOLD")
    assert (first["obstacles"], second["obstacles"]) == (["We hold it. ADDRESS: No such street."], [])
    assert (first["confirmationLagSeconds"], first["measuredItems"]) == (2.0, 0)
    assert 50 <= first["minutesLeft"] <= first["order"]["minutesToShipBy"] <= 60
    data, _, _ = await ask(shelf, RELEASE, ids=[gid(one)])
    assert [problem["code"] for problem in data["releaseOrders"]["userErrors"]] == ["CONFLICT"]
    data, _, _ = await ask(shelf, APPROVE, ids=[gid(one)])
    assert [problem["code"] for problem in data["approveOrders"]["userErrors"]] == ["FORBIDDEN"]
    data, _, _ = await ask(shelf, APPROVE, Caller("bob", ALL), ids=[gid(one)])
    assert data["approveOrders"] == {
        "orders": [{"status": "UNSHIPPED", "holds": [{"endedBy": "bob"}]}],
        "userErrors": [],
    }


async def test_cancellations_and_refunds_are_operations(shelf: Shelf) -> None:
    one, other = due(1), due(2)
    await keep(shelf, one, other)
    data, errors, _ = await ask(shelf, CANCEL, id=gid(one))
    operation = data["cancelOrders"]["operation"]
    assert (errors, operation["kind"], operation["status"]) == ([], "CANCEL_ORDERS", "QUEUED")
    assert operation["items"]["nodes"] == [{"key": "shop/1", "after": '{"status": "CANCELLED", "reason": "BUYER"}'}]
    line = node_id("OrderLine", other.lines[0].id)
    data, errors, _ = await ask(shelf, REFUND, id=gid(other), line=line, amount="12.50")
    assert (errors, data["refundOrders"]["operation"]) == ([], {"kind": "REFUND_ORDERS", "status": "QUEUED"})
    data, _, _ = await ask(shelf, REFUND, id=gid(other), line=line, amount="80.00")
    assert data["refundOrders"] == {
        "operation": None,
        "userErrors": [{"code": "INVALID", "field": ["input", "refunds", "0", "amount"]}],
    }


async def test_rules_are_kept_replaced_and_forgotten(shelf: Shelf) -> None:
    wish = {
        "name": "dear",
        "reason": "VALUE",
        "words": "Dear.",
        "valueAbove": "500",
        "currency": "EUR",
        "keepsFor": "P1D",
    }
    channel = node_id("Channel", CHANNEL)
    data, errors, _ = await ask(shelf, RULE, input=wish | {"countries": ["DE"], "channelIds": [channel]})
    assert errors == []
    assert data["setHoldRule"]["rule"] == {
        "name": "dear",
        "reason": "VALUE",
        "valueAbove": "500",
        "currency": "EUR",
        "keepsFor": "P1D",
        "countries": ["DE"],
        "channelIds": [channel],
        "madeBy": "admin",
    }
    data, _, _ = await ask(shelf, RULE, input=wish | {"valueAbove": None})
    assert data["setHoldRule"] == {"rule": None, "userErrors": [{"code": "INVALID", "field": ["input", "currency"]}]}
    data, errors, _ = await ask(shelf, "{ holdRules { name } }")
    assert (errors, data["holdRules"]) == ([], [{"name": "dear"}])
    forget = 'mutation { removeHoldRule(name: "dear") { rule { name } userErrors { code } } }'
    data, _, _ = await ask(shelf, forget)
    assert data["removeHoldRule"] == {"rule": {"name": "dear"}, "userErrors": []}
    data, _, _ = await ask(shelf, forget)
    assert data["removeHoldRule"] == {"rule": None, "userErrors": [{"code": "NOT_FOUND"}]}
