"""What routers ask a subgraph: entities by their keys, and the schema, through graphql-core and through the compiled executor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import event

from gateway.plan import Plans
from resolvers.context import Caller, Context, Shelf
from schema.federation import ENTITIES, MOST
from schema.printed import sdl
from schema.root import schema
from schema.scopes import NODE_SCOPES, SCOPES
from store.session import Store
from tests.executor.test_contract import compiled
from tests.resolvers.test_shipment import CountingBell, keep, make_order
from tests.resolvers.test_stock import House
from tests.schema import test_queries
from tests.schema.test_queries import ADMIN, STOREFRONT

Ask = Callable[..., Awaitable[tuple[Any, list[Any], Context]]]

QUERY = """query ($of: [_Any!]!) { _entities(representations: $of) {
    __typename ... on Product { sku title } ... on Order { id externalId } } }"""


@pytest.fixture(params=["graphql-core", "compiled"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return test_queries.ask if request.param == "graphql-core" else compiled


@pytest.fixture
async def shelf(store: Store, redis: Redis) -> Shelf:
    """Two products and an order."""
    house = House(store, redis)
    await house.list_everywhere("A1", "B2")
    house.shop.units["berlin", "A1"] = 3
    await keep(house.shelf, make_order("1001"))
    return replace(house.shelf, bell=CountingBell())


ORDER = make_order("1001")


def one(kind: str, **keys: Any) -> dict[str, Any]:
    return {"__typename": kind, **keys}


async def test_entities_are_answered_in_the_order_asked(ask: Ask, shelf: Shelf) -> None:
    of = [
        one("Product", sku="B2"),
        one("Order", id=f"Order:{ORDER.id}"),
        one("Product", sku="?"),
        one("Order", id="Order:none"),
        one("Order", id="Product:A1"),
        one("Product", sku="A1", reviews=[{"stars": 5}]),
        one("Product", sku="B2"),
    ]
    data, errors, _ = await ask(shelf, QUERY, of=of)
    assert errors == []
    second = {"__typename": "Product", "sku": "B2", "title": "Title of B2"}
    assert data["_entities"] == [
        second,
        {"__typename": "Order", "id": f"Order:{ORDER.id}", "externalId": "1001"},
        None,
        None,
        None,
        {"__typename": "Product", "sku": "A1", "title": "Title of A1"},
        second,
    ]


async def test_the_keys_may_stand_in_the_query(ask: Ask, shelf: Shelf) -> None:
    query = """query ($sku: String!) { _entities(representations: [
        { __typename: "Product", sku: $sku }, { __typename: "Product", sku: "B2" }]) { ... on Product { sku } } }"""
    data, errors, _ = await ask(shelf, query, sku="A1")
    assert (data, errors) == ({"_entities": [{"sku": "A1"}, {"sku": "B2"}]}, [])


async def test_an_entity_has_all_that_its_type_has(ask: Ask, shelf: Shelf) -> None:
    query = """query ($of: [_Any!]!) { _entities(representations: $of) { ... on Product {
        listings { channelSku } stock(maxAge: "PT0S") { availableToSell } } ... on Order { lines { product { sku } } } } }"""
    data, errors, context = await ask(shelf, query, of=[one("Product", sku="A1"), one("Order", id=f"Order:{ORDER.id}")])
    assert errors == []
    assert data["_entities"][0]["stock"] == {"availableToSell": 3}
    assert {listing["channelSku"] for listing in data["_entities"][0]["listings"]} == {"A1"}
    assert data["_entities"][1] == {"lines": [{"product": None}, {"product": {"sku": "A1"}}]}
    assert sum(line.calls for line in context.ask.bill.lines.values()) > 0


async def test_all_entities_of_a_kind_are_read_at_once(ask: Ask, shelf: Shelf) -> None:
    asked: list[int] = []

    def note(conn: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        asked.extend(len(one) for one in parameters if isinstance(one, list))

    engine = shelf.store._engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        of = [one("Product", sku=f"S{number}") for number in range(MOST - 2)]
        data, errors, _ = await ask(shelf, QUERY, of=[one("Order", id="Order:1"), *of, one("Order", id="Order:2")])
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert (data, errors) == ({"_entities": [None] * MOST}, [])
    assert sorted(asked) == [2, MOST - 2]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (one("Product"), "`sku`"),
        (one("Product", sku=5), "`sku`"),
        (one("Product", sku=None), "`sku`"),
        (one("Order", sku="A1"), "`id`"),
        (one("Stock", sku="A1"), "Product, Order"),
        ({"sku": "A1"}, "`__typename`"),
        ({"__typename": ["Product"], "sku": "A1"}, "`__typename`"),
        ("A1", "an object"),
        (7, "an object"),
        ([one("Product", sku="A1")], "an object"),
    ],
)
async def test_a_wrong_representation_is_told_and_the_others_are_answered(
    ask: Ask, shelf: Shelf, wrong: Any, words: str
) -> None:
    data, errors, _ = await ask(shelf, QUERY, of=[one("Product", sku="A1"), wrong, one("Product", sku="B2")])
    first, none, last = data["_entities"]
    assert (first["sku"], none, last["sku"]) == ("A1", None, "B2")
    assert [(error.path, error.original_error.code) for error in errors] == [(["_entities", 1], "INVALID")]
    assert words in errors[0].message


async def test_more_than_250_representations_are_refused(ask: Ask, shelf: Shelf) -> None:
    data, errors, _ = await ask(shelf, QUERY, of=[one("Product", sku="A1")] * (MOST + 1))
    assert data is None
    assert [error.original_error.code for error in errors] == ["INVALID"]
    data, errors, _ = await ask(shelf, QUERY, of=[one("Product", sku="A1")] * MOST)
    assert (len(data["_entities"]), errors) == (MOST, [])


async def test_each_kind_needs_the_scope_that_node_needs(ask: Ask, shelf: Shelf) -> None:
    of = [one("Order", id=f"Order:{ORDER.id}"), one("Product", sku="A1"), one("Order", id="Order:none")]
    data, errors, _ = await ask(shelf, QUERY, STOREFRONT, of=of)
    assert [None if found is None else found["__typename"] for found in data["_entities"]] == [None, "Product", None]
    refused = [["_entities", 0], ["_entities", 2]]
    assert [(error.path, error.original_error.code) for error in errors] == [(path, "FORBIDDEN") for path in refused]
    assert set(ENTITIES) <= set(NODE_SCOPES)
    stranger = Caller("nobody", frozenset())
    data, errors, _ = await ask(shelf, QUERY, stranger, of=of)
    assert (data["_entities"], len(errors)) == ([None] * 3, 3)


def test_fields_behind_an_entity_need_their_own_scopes() -> None:
    query = "query ($of: [_Any!]!) { _entities(representations: $of) { ... on Product { unitCost { amount } } } }"
    needs = dict(Plans(schema._schema, SCOPES).of(query, None).needs)
    assert needs["Product.unitCost"] == {"finance:read", "admin"}


async def test_the_service_tells_the_schema_with_its_keys_to_whoever_may_see_it(ask: Ask, shelf: Shelf) -> None:
    data, errors, _ = await ask(shelf, "{ _service { sdl } }", ADMIN)
    assert (data, errors) == ({"_service": {"sdl": schema.as_str()}}, [])
    assert 'type Product implements Node @key(fields: "sku") {' in data["_service"]["sdl"]
    assert 'type Order implements Node @key(fields: "id") {' in data["_service"]["sdl"]
    assert sdl(schema) is sdl(schema)
    plan = Plans(schema._schema, SCOPES).of("{ _service { sdl } }", None)
    assert dict(plan.needs) == {"Query._service": {"schema:read", "admin"}}
