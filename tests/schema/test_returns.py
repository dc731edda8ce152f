"""What comes back of orders, through the contract: chains with their gaps, and units that are put back once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from domain.chain import Piece, PieceKind
from domain.channel import LEDGER, Location, LocationKind
from domain.ids import LocationCode, Sku, node_id
from domain.money import Money
from domain.order import Order
from domain.product import FulfilledBy
from resolvers.shelf import Shelf
from store import chain, order
from store.session import Store
from tests.resolvers.test_shipment import CHANNEL, CountingBell, make_order
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask
from tests.store.warehouse import balance, kit, moves, products, stocked

PLACE = Location(LocationCode("main"), "Main", LocationKind.WAREHOUSE, LEDGER, "main")
CHAINS = """query($id: ID!) { order(id: $id) { chains { channelSku orderExternalId byChannel
    pieces { kind units money { amount currency } condition } gaps { kind units days words } order { id } } } }"""
RESTOCK = """mutation($input: RestockReturnInput!) { restockReturn(input: $input) {
    operation { id kind status items { nodes { key after } } } userErrors { code message field } } }"""
OPEN = "{ returnChains { totalCount nodes { orderExternalId channelSku gaps { kind } } } }"


@pytest.fixture
def shelf(store: Store, redis: Redis) -> Shelf:
    house = House(store, redis).shelf
    return replace(house, bell=CountingBell(), locations=[*house.locations, PLACE])


def piece(one: Order, kind: PieceKind, days_ago: int = 0, units: int = 1, line: int = 0, **more: Any) -> Piece:
    at = one.updated_at - timedelta(days=days_ago)
    values: dict[str, Any] = {"reference": f"{one.external_id}:{kind.value}:{line}"}
    sku = one.lines[line].channel_sku
    return Piece(channel=CHANNEL, kind=kind, order=one.external_id, sku=sku, units=units, at=at, **(values | more))


async def shipped(shelf: Shelf, *quantities: int) -> Order:
    await stocked(shelf.store, A0=5, A1=5)
    one = make_order("1", quantities)
    one = replace(one, lines=[replace(line, quantity_shipped=line.quantity) for line in one.lines])
    async with shelf.store.begin() as tx:
        await order.upsert(tx, [one])
    return one


async def told(shelf: Shelf, *pieces: Piece) -> int:
    async with shelf.store.begin() as tx:
        return await chain.keep(tx, pieces)


def wanted(one: Order, quantity: int = 1, line: int = 0, **more: Any) -> dict[str, Any]:
    lines = [{"orderLineId": node_id("OrderLine", one.lines[line].id), "quantity": quantity, "location": "main"}]
    return {"orderId": node_id("Order", one.id), "lines": [lines[0] | more], "reason": "looks like new"}


async def restock(shelf: Shelf, **input: Any) -> tuple[Any, list[Any]]:
    data, errors, _ = await ask(shelf, RESTOCK, input=input)
    assert errors == []
    return data["restockReturn"]["operation"], data["restockReturn"]["userErrors"]


async def test_a_return_is_told_with_what_is_missing_until_it_lies_on_the_shelf(shelf: Shelf) -> None:
    one = await shipped(shelf, 2)
    await told(
        shelf,
        piece(one, PieceKind.REFUNDED, 12, 2, money=Money(Decimal("19.80"), "EUR")),
        piece(one, PieceKind.ARRIVED, 3, 1),
    )
    data, errors, _ = await ask(shelf, CHAINS, id=node_id("Order", one.id))
    assert errors == []
    (told_of,) = data["order"]["chains"]
    assert (told_of["orderExternalId"], told_of["channelSku"], told_of["byChannel"]) == ("1", "A0", False)
    assert [(each["kind"], each["units"]) for each in told_of["pieces"]] == [("REFUNDED", 2), ("ARRIVED", 1)]
    assert told_of["pieces"][0]["money"] == {"amount": "19.80", "currency": "EUR"}
    assert [(gap["kind"], gap["units"], gap["days"], gap["words"]) for gap in told_of["gaps"]] == [
        ("NOT_BACK", 1, 12, "1 unit: announced or refunded 12 days ago, nothing came back"),
        ("NOT_RESTOCKED", 1, 3, "1 unit: came back 3 days ago, not restocked"),
    ]
    assert told_of["order"] == {"id": node_id("Order", one.id)}
    made, problems = await restock(shelf, **wanted(one, condition="like new"))
    assert (problems, made["kind"], made["status"]) == ([], "RESTOCK_RETURN", "SUCCEEDED")
    data, _, _ = await ask(shelf, CHAINS, id=node_id("Order", one.id))
    (told_of,) = data["order"]["chains"]
    assert [gap["kind"] for gap in told_of["gaps"]] == ["NOT_BACK"]
    assert told_of["pieces"][-1] == {"kind": "RESTOCKED", "units": 1, "money": None, "condition": "like new"}
    _, problems = await restock(shelf, **wanted(one, location=None))
    assert problems == []
    data, _, _ = await ask(shelf, OPEN)
    assert data["returnChains"] == {"totalCount": 0, "nodes": []}
    assert await balance(shelf.store, Sku("A0")) == (6, 0)


async def test_what_came_back_is_booked_once_however_often_it_is_asked_at_the_same_moment(shelf: Shelf) -> None:
    one = await shipped(shelf, 3)
    asked = wanted(one, 2) | {"idempotencyKey": "k"}
    answers = await asyncio.gather(*(restock(shelf, **asked) for _ in range(4)))
    assert len({made["id"] for made, _ in answers}) == 1
    assert (await moves(shelf.store, Sku("A0")))[1:] == [("RETURN", "main", 2, 0)]
    _, problems = await restock(shelf, **wanted(one, 1) | {"idempotencyKey": "k"})
    assert [problem["code"] for problem in problems] == ["CONFLICT"]


async def test_no_more_comes_back_than_has_left_also_when_two_ask_at_once(shelf: Shelf) -> None:
    one = await shipped(shelf, 3)
    answers = await asyncio.gather(*(restock(shelf, **wanted(one, 2)) for _ in range(2)))
    assert sorted(bool(made) for made, _ in answers) == [False, True]
    (refused,) = [problems for made, problems in answers if made is None]
    assert [(one["code"], one["field"]) for one in refused] == [("CONFLICT", ["input", "lines", "0", "quantity"])]
    assert await balance(shelf.store, Sku("A0")) == (7, 0)


async def test_a_request_that_is_partly_wrong_books_nothing_and_says_where(shelf: Shelf) -> None:
    one = await shipped(shelf, 2, 2)
    good = wanted(one)
    for wrong, code, field in [
        (wanted(one, line=1, location="nowhere"), "NOT_FOUND", ["input", "lines", "1", "location"]),
        (wanted(one, line=1, location="berlin"), "CONFLICT", ["input", "lines", "1", "location"]),
        (wanted(one, 0, line=1), "INVALID", ["input", "lines", "1", "quantity"]),
        (wanted(one, line=1, orderLineId="OrderLine:?"), "NOT_FOUND", ["input", "lines", "1", "orderLineId"]),
        (wanted(one, line=1, orderLineId="Order:?"), "NOT_FOUND", ["input", "lines", "1", "orderLineId"]),
    ]:
        made, problems = await restock(shelf, **good | {"lines": [*good["lines"], *wrong["lines"]]})
        assert made is None
        assert [(each["code"], each["field"]) for each in problems] == [(code, field)]
    assert [move[0] for move in await moves(shelf.store)] == ["RECEIPT", "RECEIPT"]
    async with shelf.store.begin() as tx:
        assert await chain.by_orders(tx, [one.id]) == {}


async def test_what_the_channel_takes_back_itself_is_not_put_back_here(shelf: Shelf) -> None:
    one = replace(await shipped(shelf, 1), fulfilled_by=FulfilledBy.CHANNEL)
    async with shelf.store.begin() as tx:
        await order.upsert(tx, [replace(one, updated_at=one.updated_at + timedelta(minutes=1))])
    _, problems = await restock(shelf, **wanted(one))
    assert [(each["code"], each["field"]) for each in problems] == [("CONFLICT", ["input", "orderId"])]


async def test_of_a_kit_its_components_are_put_back(shelf: Shelf) -> None:
    one = await shipped(shelf, 2)
    await products(shelf.store, Sku("P1"), Sku("P2"))
    one = replace(one, lines=[replace(one.lines[0], sku=Sku("SET"))], updated_at=one.updated_at + timedelta(minutes=1))
    await products(shelf.store, Sku("SET"))
    await kit(shelf.store, Sku("SET"), P1=1, P2=3)
    async with shelf.store.begin() as tx:
        await order.upsert(tx, [one])
    made, problems = await restock(shelf, **wanted(one, 2))
    assert (problems, made["status"]) == ([], "SUCCEEDED")
    assert [await balance(shelf.store, Sku(sku)) for sku in ("P1", "P2", "SET")] == [(2, 0), (6, 0), (0, 0)]


async def test_open_chains_are_listed_oldest_first_page_by_page(shelf: Shelf) -> None:
    orders = [make_order(str(number), (1,)) for number in range(5)]
    for number, one in enumerate(orders):
        await told(shelf, piece(one, PieceKind.ARRIVED, number), *([piece(one, PieceKind.REFUNDED)] if number else []))
    await told(shelf, piece(orders[2], PieceKind.WRITTEN_OFF))
    query = """query($after: String, $all: Boolean!) { returnChains(first: 3, after: $after, openOnly: $all) {
        totalCount pageInfo { hasNextPage endCursor } nodes { orderExternalId order { id } } } }"""
    data, errors, _ = await ask(shelf, query, all=True)
    assert errors == []
    first = data["returnChains"]
    assert (first["totalCount"], first["pageInfo"]["hasNextPage"]) == (4, True)
    data, _, _ = await ask(shelf, query, all=True, after=first["pageInfo"]["endCursor"])
    nodes = first["nodes"] + data["returnChains"]["nodes"]
    assert [node["orderExternalId"] for node in nodes] == ["4", "3", "1", "0"]
    assert all(node["order"] is None for node in nodes), "the orders are not kept"
    data, _, _ = await ask(shelf, query, all=False)
    assert data["returnChains"]["totalCount"] == 5


async def test_the_steps_of_an_order_tell_of_its_return_once(shelf: Shelf) -> None:
    one = await shipped(shelf, 2)
    await told(
        shelf, piece(one, PieceKind.ANNOUNCED, 9), piece(one, PieceKind.ARRIVED, 5), piece(one, PieceKind.REFUNDED, 4)
    )
    await restock(shelf, **wanted(one))
    data, errors, _ = await ask(
        shelf,
        "query($id: ID!) { order(id: $id) { timeline { kind words operation { kind } } } }",
        id=node_id("Order", one.id),
    )
    assert errors == []
    assert [(step["kind"], step["words"]) for step in data["order"]["timeline"]] == [
        ("RETURNED", "return announced: 1 of A0"),
        ("RETURNED", "came back: 1 of A0"),
        ("REFUNDED", "refunded: 1 of A0"),
        ("RESTOCKED", "can be sold again: 1 of A0 at main"),
    ]
    assert data["order"]["timeline"][-1]["operation"] == {"kind": "RESTOCK_RETURN"}
