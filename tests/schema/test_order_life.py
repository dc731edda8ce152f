"""What happened to an order, asked through the contract."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from domain.channel import LEDGER, Location, LocationKind
from domain.exchange import Exchange
from domain.ids import LocationCode, node_id
from domain.operation import Capability, ItemStatus, Outcome
from domain.order import OrderStatus
from resolvers.context import Caller
from resolvers.shelf import Shelf
from store import agenda, intake, order
from store.exchange import ExchangeLog
from store.session import Store
from tests.resolvers.test_shipment import CHANNEL, NOW, CountingBell, confirm, make_order, parcel
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ADMIN, ask
from tests.store.warehouse import stocked

PLACE = Location(LocationCode("main"), "Main", LocationKind.WAREHOUSE, LEDGER, "main")
STEPS = """query($id: ID!) { order(id: $id) { timeline {
    kind actor at words upstreamRequestId operation { id kind } apiCalls { operation } } } }"""


@pytest.fixture
def shelf(store: Store, redis: Redis) -> Shelf:
    return replace(House(store, redis).shelf, bell=CountingBell())


async def carried(shelf: Shelf, *statuses: ItemStatus) -> None:
    for status in statuses:
        async with shelf.store.begin() as tx:
            (item,) = await agenda.claim(tx, CHANNEL, Capability.SHIPMENTS, limit=1, lease_s=15, worker="w")
            if status is ItemStatus.SENT:
                await agenda.mark_sent(tx, item.id, item.fence, 15)
            await agenda.record(tx, [Outcome(item.id, item.fence, status, upstream_request_id="amzn-7")])


def call(**more: Any) -> Exchange:
    values: dict[str, Any] = {
        "id": 1,
        "at": datetime.now(UTC),
        "channel": CHANNEL,
        "operation": "confirmShipment",
        "method": "POST",
        "path": "/x",
        "status": 204,
        "upstream_request_id": "amzn-7",
        "seconds": 0.1,
        "waited_s": 0.0,
        "failure": None,
        "subjects": (),
        "request_headers": "",
        "response_headers": "",
        "request": None,
        "response": None,
        "request_bytes": 0,
        "response_bytes": 0,
    }
    return Exchange(**values | more)


async def test_the_steps_of_an_order_from_its_coming_to_its_confirmation(shelf: Shelf) -> None:
    await stocked(shelf.store, A0=5)
    one = replace(make_order("1", (2,)), upstream_request_id="amzn-1")
    async with shelf.store.begin() as tx:
        await intake.keep_orders(tx, [one], [PLACE], path="notification")
    kept = await confirm(shelf, parcel(one))
    assert kept.operation is not None
    await carried(shelf, ItemStatus.SENT, ItemStatus.ACCEPTED, ItemStatus.VERIFIED)
    await ExchangeLog(shelf.store).keep([call(), call(operation="getOrder", upstream_request_id="amzn-1")])
    shipped = [replace(line, quantity_shipped=line.quantity) for line in one.lines]
    later = replace(one, status=OrderStatus.SHIPPED, channel_status="DONE", updated_at=NOW, lines=shipped)
    async with shelf.store.begin() as tx:
        await intake.keep_orders(tx, [later], [PLACE])
        await intake.keep_orders(tx, [later], [PLACE])
    data, errors, _ = await ask(shelf, STEPS, id=node_id("Order", one.id))
    assert errors == []
    steps = data["order"]["timeline"]
    assert [(step["kind"], step["words"]) for step in steps] == [
        ("IMPORTED", "OPEN, units: 2, shipped: 0 (by notification)"),
        ("ALLOCATED", "promised: 2 of A0 at main"),
        ("SENT", "confirm shipments: sent to shop"),
        ("ACCEPTED", "confirm shipments: shop took it"),
        ("CONFIRMED", "confirm shipments: seen at shop"),
        ("CHANGED", "DONE, units: 2, shipped: 2 (by synchronization)"),
        ("SHIPPED", "left: 2 of A0 at main"),
    ]
    confirmed = steps[4]
    assert confirmed["operation"] == {"id": f"Operation:{kept.operation.id}", "kind": "CONFIRM_SHIPMENTS"}
    assert (confirmed["upstreamRequestId"], confirmed["apiCalls"]) == ("amzn-7", [{"operation": "confirmShipment"}])
    assert all(step["at"].endswith("Z") for step in steps)
    assert [step["apiCalls"] for step in steps[:4]] == [[{"operation": "getOrder"}], [], [], []]
    assert steps[0]["upstreamRequestId"] == "amzn-1"


async def test_who_may_not_see_an_operation_is_told_the_step_without_it(shelf: Shelf) -> None:
    one = make_order("1", (2,))
    async with shelf.store.begin() as tx:
        await order.upsert(tx, [one])
    await confirm(shelf, parcel(one))
    await carried(shelf, ItemStatus.SENT)
    query = "query($id: ID!) { order(id: $id) { timeline { kind operation { id } } } }"
    reader = Caller("reader", frozenset({"orders:read"}))
    data, _, _ = await ask(shelf, query, reader, id=node_id("Order", one.id))
    assert data["order"]["timeline"] == [{"kind": "SENT", "operation": None}]
    data, _, _ = await ask(shelf, query, ADMIN, id=node_id("Order", one.id))
    assert data["order"]["timeline"][0]["operation"] is not None


async def test_of_many_steps_the_newest_are_told_and_a_page_of_orders_reads_them_at_once(shelf: Shelf) -> None:
    orders = [make_order(str(number), (1,)) for number in range(3)]
    async with shelf.store.begin() as tx:
        await intake.keep_orders(tx, orders, [])
        await intake.keep_orders(tx, [replace(one, channel_status="PAID", updated_at=NOW) for one in orders], [])
    data, errors, _ = await ask(shelf, "{ orders { nodes { timeline(first: 1) { kind } all: timeline { kind } } } }")
    assert errors == []
    assert [[step["kind"] for step in node["timeline"]] for node in data["orders"]["nodes"]] == [["CHANGED"]] * 3
    assert {len(node["all"]) for node in data["orders"]["nodes"]} == {2}
