"""What became of prices, and taking them back, as clients see and ask it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from domain.ids import node_id
from domain.price_canary import Radius
from resolvers.context import Caller
from resolvers.shelf import Shelf
from store.session import Store
from tests.resolvers.test_shipment import CountingBell
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask
from tests.store.price_lane import asked, carried, guarded, id_of, listed, sold, wish

PRICER = Caller("bob", frozenset({"prices:write", "catalog:read"}))
ACCOUNTANT = Caller("acc", frozenset({"finance:read", "catalog:read"}))
REVERT = """mutation($id: ID!) { revertOperation(id: $id) {
    operation { id kind status requestedBy reverts { id } items { nodes { key status after error { code message } } } }
    userErrors { code message field } } }"""


@pytest.fixture
async def shelf(store: Store, redis: Redis) -> Shelf:
    await guarded(store)
    await listed(store, sold("A", "10"), sold("B", "10"))
    return replace(House(store, redis).shelf, bell=CountingBell())


async def test_the_history_of_a_sku_and_the_price_of_any_instant(shelf: Shelf) -> None:
    one = await asked(shelf.store, wish("A", "12"))
    await carried(shelf.store)
    query = """{ priceHistory(sku: "A", channelId: "Channel:shop", from: "2026-01-01T00:00:00Z", first: 2) {
        totalCount pageInfo { hasNextPage } nodes { kind origin reason rulesVersion rules requestedBy approvedBy
            price { price { amount currency } salePrice { amount } } operation { id } } }
        product(sku: "A") { listings { id
            now: priceAt { paid { amount currency } price { price { amount } } event { kind operation { id } } }
            then: priceAt(at: "2026-01-01T00:00:00Z") { since } } } }"""
    data, errors, _ = await ask(shelf, query, PRICER)
    assert errors == []
    id = node_id("Operation", one.id)
    line = {
        "origin": "MUTATION",
        "reason": "because",
        "rulesVersion": None,
        "rules": None,
        "requestedBy": "ann",
        "approvedBy": None,
        "price": {"price": {"amount": "12", "currency": "EUR"}, "salePrice": None},
        "operation": {"id": id},
    }
    assert data["priceHistory"] == {
        "totalCount": 3,
        "pageInfo": {"hasNextPage": True},
        "nodes": [{"kind": "LIVE"} | line, {"kind": "ASKED"} | line],
    }
    [found] = data["product"]["listings"]
    assert found == {
        "id": node_id("Listing", id_of("A")),
        "now": {
            "paid": {"amount": "12", "currency": "EUR"},
            "price": {"price": {"amount": "12"}},
            "event": {"kind": "LIVE", "operation": {"id": id}},
        },
        "then": None,
    }
    data, errors, _ = await ask(
        shelf, '{ priceHistory(sku: "A") { nodes { requestedBy operation { id } } } }', ACCOUNTANT
    )
    assert errors == []
    assert data["priceHistory"]["nodes"][0] == {"requestedBy": "ann", "operation": None}


async def test_what_differs_for_long_is_a_list(shelf: Shelf) -> None:
    await asked(shelf.store, wish("A", "12"))
    query = """query($over: Duration) { priceDrift(longerThan: $over, channelId: "Channel:shop") { totalCount
        nodes { cause message wanted { price { amount } } live { price { amount } }
            listing { channelSku } operation { kind } } } }"""
    data, errors, _ = await ask(shelf, query, over="PT0S")
    assert (errors, data["priceDrift"]["totalCount"]) == ([], 1)
    assert data["priceDrift"]["nodes"] == [
        {
            "cause": "UNDER_WAY",
            "message": None,
            "wanted": {"price": {"amount": "12"}},
            "live": {"price": {"amount": "10"}},
            "listing": {"channelSku": "A"},
            "operation": {"kind": "UPDATE_PRICES"},
        }
    ]
    data, _, _ = await ask(shelf, "{ priceDrift { totalCount } }")
    assert data["priceDrift"]["totalCount"] == 0


async def test_a_change_is_taken_back_once_by_who_may_write_prices(shelf: Shelf) -> None:
    one = await asked(shelf.store, wish("A", "12"), wish("B", "12"))
    await carried(shelf.store)
    await listed(shelf.store, sold("B", "13"))
    id = node_id("Operation", one.id)
    keeper = Caller("keeper", frozenset({"stock:write", "operations:approve"}))
    data, _, _ = await ask(shelf, REVERT, keeper, id=id)
    assert data["revertOperation"]["operation"] is None
    assert data["revertOperation"]["userErrors"][0]["code"] == "FORBIDDEN"
    data, errors, _ = await ask(shelf, REVERT, PRICER, id=id)
    assert errors == []
    made = data["revertOperation"]["operation"]
    assert (made["kind"], made["requestedBy"], made["reverts"]) == ("UPDATE_PRICES", "bob", {"id": id})
    assert [(row["key"], row["status"]) for row in made["items"]["nodes"]] == [
        ("shop/A", "PENDING"),
        ("shop/B", "SUPERSEDED"),
    ]
    assert made["items"]["nodes"][1]["error"] == {
        "code": "CHANGED_SINCE",
        "message": "shop/B shows 13 EUR, which we have not asked for: somebody has changed it since.",
    }
    data, _, _ = await ask(shelf, REVERT, PRICER, id=id)
    assert data["revertOperation"] == {
        "operation": None,
        "userErrors": [
            {"code": "CONFLICT", "message": f"It was taken back already, by {made['id']}.", "field": ["id"]}
        ],
    }


async def test_a_canary_is_seen_with_its_operation_and_let_go_by_another(shelf: Shelf) -> None:
    await guarded(shelf.store, radius=Radius(rows=2))
    one = await asked(shelf.store, wish("A", "5"), wish("B", "5"))
    approver = Caller("boss", frozenset({"operations:approve"}))
    id = node_id("Operation", one.id)
    query = "query($id: ID!) { operation(id: $id) { canary { state rows total until endedBy reasons } } }"
    data, errors, _ = await ask(shelf, query, approver, id=id)
    canary = data["operation"]["canary"]
    assert (errors, canary.pop("until") is None) == ([], False)
    assert canary == {"state": "WATCHING", "rows": 1, "total": 2, "endedBy": None, "reasons": []}
    go = "mutation($id: ID!) { approveOperation(id: $id) { operation { canary { state endedBy } } userErrors { code } } }"
    data, _, _ = await ask(shelf, go, replace(approver, name="ann"), id=id)
    assert data["approveOperation"] == {"operation": None, "userErrors": [{"code": "FORBIDDEN"}]}
    data, errors, _ = await ask(shelf, go, approver, id=id)
    assert errors == []
    assert data["approveOperation"]["operation"]["canary"] == {"state": "RELEASED", "endedBy": "boss"}
    assert sorted(await carried(shelf.store)) == ["A", "B"]
