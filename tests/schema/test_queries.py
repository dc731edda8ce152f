"""The contract end to end: each type's fields asked once, over real rows; what mypy cannot see between schema and domain."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from inspect import isawaitable
from typing import Any

import pytest
from graphql import experimental_execute_incrementally, parse
from redis.asyncio import Redis

from domain.budget import Ask
from domain.channel import StreamName
from domain.errors import Transient
from domain.ids import listing_id, node_id
from domain.money import Money
from domain.order import OrderStatus, Shipment
from domain.product import Attribute, ListingIssue
from resolvers.context import Caller, Context, Shelf
from schema.root import schema
from schema.scopes import ALL
from store import order, product, stream
from store.session import Store
from tests.resolvers.platform import make_listing
from tests.resolvers.test_shipment import CHANNEL, CountingBell, make_order
from tests.resolvers.test_stock import House

ADMIN = Caller("admin", ALL)
STOREFRONT = Caller("storefront", frozenset({"stock:read", "catalog:read"}))


@pytest.fixture
def house(store: Store, redis: Redis) -> House:
    return House(store, redis)


@pytest.fixture
def shelf(house: House) -> Shelf:
    return replace(house.shelf, bell=CountingBell())


async def ask(shelf: Shelf, query: str, caller: Caller = ADMIN, **variables: Any) -> tuple[Any, list[Any], Context]:
    """(data, errors, the context afterward)."""
    context = Context(shelf, caller, Ask(deadline=time.monotonic() + 60), "req-1")
    graph, executor = schema._schema, schema.execution_context_class
    # What graphql-core calls `execute` refuses schemas that know of @defer.
    made: Any = experimental_execute_incrementally(
        graph, parse(query), context_value=context, variable_values=variables, executor_class=executor
    )
    result = await made if isawaitable(made) else made
    return getattr(result, "data", None), list(getattr(result, "errors", None) or []), context


async def test_stock_in_full(house: House, shelf: Shelf) -> None:
    await house.list_everywhere("A1")
    house.shop.units["berlin", "A1"] = 3
    house.amazon.units["fba-eu", "A1"] = 10
    shelf = replace(shelf, safety_stock=2)
    data, errors, _ = await ask(
        shelf,
        """query($skus: [String!]!) { stock(skus: $skus, maxAge: "PT0S") {
            sku availableToSell onHand reserved inbound safetyStock asOf freshness
            levels { location { code name kind } onHand reserved inbound availableToSell asOf freshness }
            explanation { label quantity source asOf } product { sku title } } }""",
        skus=["A1", "?"],
    )
    assert errors == []
    one, none = data["stock"]
    assert none is None
    assert (one["availableToSell"], one["safetyStock"], one["freshness"]) == (11, 2, "LIVE")
    assert one["asOf"].endswith("Z")
    assert [(level["location"]["code"], level["location"]["kind"]) for level in one["levels"]] == [
        ("berlin", "WAREHOUSE"),
        ("fba-eu", "FBA"),
        ("reno", "WAREHOUSE"),
    ]
    assert sum(term["quantity"] for term in one["explanation"]) == 11
    assert one["product"] == {"sku": "A1", "title": "Title of A1"}


async def test_a_failure_stands_beside_the_data_with_path_and_code(house: House, shelf: Shelf) -> None:
    await house.list_everywhere("A1")
    house.amazon.problem = Transient("Amazon does not answer.")
    data, errors, context = await ask(shelf, '{ stock(skus: ["A1"]) { availableToSell freshness } }')
    assert (data["stock"], errors) == ([{"availableToSell": 0, "freshness": "UNKNOWN"}], [])
    assert [(path, problem.code) for path, problem in context.problems] == [(["stock", 0], "UPSTREAM_UNAVAILABLE")]


async def test_too_stale_is_an_error_of_its_sku_alone(house: House, shelf: Shelf) -> None:
    await house.list_everywhere("A1", "B2")
    house.amazon.problem = Transient("Amazon does not answer.")
    data, errors, _ = await ask(shelf, '{ stock(skus: ["A1", "?"], onStale: FAIL) { sku } }')
    assert data["stock"] == [None, None]
    assert [(error.path, type(error.original_error).__name__) for error in errors] == [(["stock", 0], "TooStale")]


async def test_products_with_stock_listings_and_channels_cost_what_stock_costs(house: House, shelf: Shelf) -> None:
    skus = [f"A{number:03}" for number in range(100)]
    await house.list_everywhere(*skus)
    data, errors, context = await ask(
        shelf,
        """{ products(first: 100) { totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
            nodes { id sku title brand attributes { name value raw } unitCost { amount currency }
              stock(maxAge: "PT0S") { availableToSell }
              listings { id channel { id name platform } marketplace channelSku externalId title status url
                price { amount currency } salePrice { amount currency } issues { code severity message }
                product { sku } } } } }""",
    )
    assert errors == []
    assert data["products"]["totalCount"] == 100
    assert {len(node["listings"]) for node in data["products"]["nodes"]} == {3}
    assert (len(house.amazon.calls), len(house.shop.calls)) == (2, 1)
    assert sum(line.calls for line in context.ask.bill.lines.values()) == 3


async def test_a_listing_and_its_product_in_full(house: House, shelf: Shelf) -> None:
    listing = make_listing(
        "A1",
        house.shop,
        price=Money(Decimal("19.90"), "EUR"),
        sale_price=Money(Decimal("17.5"), "EUR"),
        unit_cost=Money(Decimal("4.20"), "EUR"),
        brand="Acorn",
        url="https://shop.example/a1",
        issues=[ListingIssue("90220", "ERROR", "Missing.")],
        attributes=[Attribute("color", "navy", "Marineblau")],
    )
    async with house.store.begin() as tx:
        await product.upsert_listings(tx, [listing], prefer=True)
    data, errors, _ = await ask(
        shelf,
        """query($id: ID!) { node(id: $id) { id ... on Listing { price { amount currency } salePrice { amount }
            url issues { code severity message } product { brand unitCost { amount currency }
            attributes { name value raw } } } } }""",
        id=node_id("Listing", listing_id(house.shop.channel.id, None, listing.channel_sku)),
    )
    assert errors == []
    assert data["node"] == {
        "id": f"Listing:{listing.id}",
        "price": {"amount": "19.90", "currency": "EUR"},
        "salePrice": {"amount": "17.5"},
        "url": "https://shop.example/a1",
        "issues": [{"code": "90220", "severity": "ERROR", "message": "Missing."}],
        "product": {
            "brand": "Acorn",
            "unitCost": {"amount": "4.20", "currency": "EUR"},
            "attributes": [{"name": "color", "value": "navy", "raw": "Marineblau"}],
        },
    }


async def test_paging_through_products_shows_each_once(house: House, shelf: Shelf) -> None:
    await house.list_everywhere(*(f"A{number}" for number in range(7)))
    seen: list[str] = []
    after = None
    while True:
        data, errors, _ = await ask(
            shelf,
            "query($after: String) { products(first: 3, after: $after) { edges { cursor node { sku } } "
            "pageInfo { hasNextPage endCursor hasPreviousPage } } }",
            after=after,
        )
        assert errors == []
        page = data["products"]
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        seen += [edge["node"]["sku"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == [f"A{number}" for number in range(7)]


@pytest.mark.parametrize(
    "arguments", ["first: 0", "first: -1", "first: 101", 'after: "x"', 'after: "WyJvcmRlcnMiLCJBMSJd"']
)
async def test_pages_that_make_no_sense_are_refused(shelf: Shelf, arguments: str) -> None:
    data, errors, _ = await ask(shelf, f"{{ products({arguments}) {{ nodes {{ sku }} }} }}")
    assert data is None
    assert [type(error.original_error).__name__ for error in errors] == ["Invalid"]


async def test_an_order_in_full_and_by_filter(shelf: Shelf) -> None:
    now = datetime.now(UTC)
    one = make_order(
        shipments=[Shipment("1", "DHL", "JD01", now)],
        total=Money(Decimal("59.70"), "EUR"),
        ship_by=now + timedelta(days=1),
        status=OrderStatus.PARTIALLY_SHIPPED,
    )
    async with shelf.store.begin() as tx:
        await order.upsert(tx, [one, make_order("1002")])
    data, errors, _ = await ask(
        shelf,
        """query($id: ID!) { order(id: $id) { id channel { id } marketplace externalId status fulfilledBy placedAt
            updatedAt shipBy total { amount currency } lines { id sku channelSku title quantity quantityShipped
            unitPrice { amount } total { amount } product { sku } }
            shipments { carrier trackingNumber shippedAt labelUrl channelConfirmedAt } }
          orders(filter: {status: [PARTIALLY_SHIPPED], channelId: "Channel:shop"}) { totalCount nodes { externalId } } }""",
        id=node_id("Order", one.id),
    )
    assert errors == []
    assert (data["order"]["status"], data["order"]["fulfilledBy"]) == ("PARTIALLY_SHIPPED", "MERCHANT")
    assert data["order"]["total"] == {"amount": "59.70", "currency": "EUR"}
    assert [line["quantity"] for line in data["order"]["lines"]] == [3, 1]
    assert data["order"]["shipments"][0]["trackingNumber"] == "JD01"
    assert data["orders"] == {"totalCount": 1, "nodes": [{"externalId": "1001"}]}


async def test_a_shipment_from_mutation_to_items(shelf: Shelf) -> None:
    one = make_order()
    async with shelf.store.begin() as tx:
        await order.upsert(tx, [one])
    data, errors, _ = await ask(
        shelf,
        """mutation($input: ConfirmShipmentsInput!) { confirmShipments(input: $input) {
            userErrors { code message field }
            operation { id kind status requestedBy idempotencyKey dryRun createdAt finishedAt
              progress { total accepted verified failed } reverts { id }
              items { totalCount nodes { key status before after attempts error { code } upstreamRequestId } } } } }""",
        input={
            "idempotencyKey": "k1",
            "shipments": [
                {
                    "orderId": node_id("Order", one.id),
                    "carrier": "DHL",
                    "trackingNumber": "JD01",
                    "shippedAt": datetime.now(UTC).isoformat(),
                    "lines": [{"orderLineId": node_id("OrderLine", one.lines[0].id), "quantity": 2}],
                }
            ],
        },
    )
    assert errors == []
    kept = data["confirmShipments"]["operation"]
    assert (data["confirmShipments"]["userErrors"], kept["kind"], kept["status"]) == ([], "CONFIRM_SHIPMENTS", "QUEUED")
    assert (kept["requestedBy"], kept["idempotencyKey"], kept["dryRun"]) == ("admin", "k1", False)
    assert kept["progress"] == {"total": 1, "accepted": 0, "verified": 0, "failed": 0}
    assert kept["items"]["totalCount"] == 1
    data, errors, _ = await ask(
        shelf,
        """query($id: ID!) { operation(id: $id) { id } node(id: $id) { ... on Operation { status } }
            operations(filter: {kind: ["CONFIRM_SHIPMENTS"], status: [QUEUED], requestedBy: "admin"}) { totalCount } }""",
        id=kept["id"],
    )
    assert (errors, data) == (
        [],
        {"operation": {"id": kept["id"]}, "node": {"status": "QUEUED"}, "operations": {"totalCount": 1}},
    )


async def test_refusals_of_mutations_name_the_input(shelf: Shelf) -> None:
    data, errors, _ = await ask(
        shelf,
        """mutation { confirmShipments(input: {shipments: [{orderId: "Listing:1", carrier: "DHL", trackingNumber: "1",
            shippedAt: "2026-11-24T10:00:00Z"}]}) { operation { id } userErrors { code field } }
          cancelOperation(id: "Operation:none") { operation { id } userErrors { code } } }""",
    )
    assert errors == []
    assert data["confirmShipments"] == {
        "operation": None,
        "userErrors": [{"code": "NOT_FOUND", "field": ["input", "shipments", "0", "orderId"]}],
    }
    assert data["cancelOperation"] == {"operation": None, "userErrors": [{"code": "NOT_FOUND"}]}


async def test_channels_with_streams_and_budgets(house: House, shelf: Shelf) -> None:
    async with house.store.begin() as tx:
        await stream.register(tx, CHANNEL, StreamName.ORDERS, timedelta(minutes=1))
    data, errors, _ = await ask(
        shelf,
        """{ channels { id platform name sandbox marketplaces healthy
              streams { name every lastSuccessAt lagSeconds lastError }
              budgets { operation ratePerSecond burst remaining waiting throttled } }
            budgets(channelId: "Channel:amazon-eu") { operation } }""",
    )
    assert errors == []
    shop = next(one for one in data["channels"] if one["id"] == "Channel:shop")
    assert (shop["platform"], shop["sandbox"], shop["healthy"]) == ("SHOPIFY", True, True)
    assert shop["streams"] == [
        {"name": "orders", "every": "PT1M", "lastSuccessAt": None, "lagSeconds": None, "lastError": None}
    ]
    assert [one["operation"] for one in data["budgets"]] == ["readStock"]


@pytest.mark.parametrize("node", ["Order:1", "Operation:1", "Channel:shop"])
async def test_a_storefront_reads_no_node_that_it_may_not_read_otherwise(shelf: Shelf, node: str) -> None:
    data, errors, _ = await ask(shelf, "query($id: ID!) { node(id: $id) { id } }", STOREFRONT, id=node)
    assert data == {"node": None}
    assert [type(error.original_error).__name__ for error in errors] == ["Forbidden"]


async def test_nodes_that_do_not_exist_are_null(shelf: Shelf) -> None:
    for id in ("Product:?", "Listing:?", "Order:?", "Operation:?", "Channel:?", "Nothing:1", "Product:", ":", "", "x"):
        data, errors, _ = await ask(shelf, "query($id: ID!) { node(id: $id) { id } }", id=id)
        assert (data, errors) == ({"node": None}, []), id
