"""Who bought, by GraphQL: for those alone who may know, many at once, and never without a trace."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import event as sa_event
from sqlalchemy.engine import Engine

from domain.ids import node_id
from domain.person import Person, Recipient
from resolvers.context import Caller, Shelf
from schema.scopes import ALL
from store import intake, person
from store.keyring import Keyring
from store.session import Store
from tests.resolvers.test_shipment import make_order
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask

RING = Keyring([Fernet.generate_key().decode()])
ADA = Person(
    "Ada Canary", "ada@example.test", Recipient("DE", "Ada Canary", "Kanarienweg 1", city="Köln", postal_code="50667")
)
QUERY = """{ orders(first: 50) { nodes { externalId buyer { name email }
    shipTo { name line1 line2 city region postalCode country phone } } } }"""
READER = Caller("desk", frozenset({"orders:read"}))
PACKER = Caller("packer", frozenset({"orders:read", "orders:pii"}))


@pytest.fixture
def shelf(store: Store, redis: Redis) -> Shelf:
    return replace(House(store, redis).shelf, ring=RING)


@contextmanager
def statements(about: str) -> Iterator[list[str]]:
    """The statements that name a table, as they are sent."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if about in statement:
            sent.append(statement)

    sa_event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa_event.remove(Engine, "before_cursor_execute", note)


async def bought(shelf: Shelf, count: int) -> list[str]:
    orders = [replace(make_order(f"o-{number}"), person=ADA if number else None) for number in range(count)]
    async with shelf.store.begin() as tx:
        await intake.keep_orders(tx, orders, [], RING)
    return [one.id for one in orders]


async def test_null_without_the_scope_and_no_error(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await bought(shelf, 2)
    for caller in (READER, Caller("root", ALL - {"orders:pii"})):
        data, errors, context = await ask(shelf, QUERY, caller)
        assert (errors, context.problems) == ([], [])
        assert [(row["buyer"], row["shipTo"]) for row in data["orders"]["nodes"]] == [(None, None)] * 2
    assert [one for one in caplog.records if one.message == "person.read"] == []


async def test_a_page_of_buyers_is_one_statement_and_leaves_a_trace(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ids = await bought(shelf, 20)
    with statements("order_person") as sent:
        data, errors, _ = await ask(shelf, QUERY, PACKER)
    assert errors == []
    assert len(sent) == 1
    rows = {row["externalId"]: row for row in data["orders"]["nodes"]}
    assert rows["o-0"]["buyer"] is None
    assert rows["o-7"]["buyer"] == {"name": "Ada Canary", "email": "ada@example.test"}
    assert rows["o-7"]["shipTo"] == {
        "name": "Ada Canary",
        "line1": "Kanarienweg 1",
        "line2": None,
        "city": "Köln",
        "region": None,
        "postalCode": "50667",
        "country": "DE",
        "phone": None,
    }
    told = [one.__dict__ for one in caplog.records if one.message == "person.read"]
    assert {one["caller"] for one in told} == {"packer"}
    assert {id for one in told for id in one["orders"]} == set(ids)
    assert "Canary" not in caplog.text
    assert not [one for one in told if "Canary" in str(one)]


async def test_who_was_forgotten_is_null(shelf: Shelf) -> None:
    ids = await bought(shelf, 2)
    async with shelf.store.begin() as tx:
        await person.redact(tx, [make_order("o-1").id])
    data, errors, _ = await ask(
        shelf,
        "query($id: ID!) { order(id: $id) { buyer { name } timeline { kind } } }",
        PACKER,
        id=node_id("Order", ids[1]),
    )
    assert errors == []
    assert data["order"]["buyer"] is None
    assert "FORGOTTEN" in [step["kind"] for step in data["order"]["timeline"]]


async def test_a_person_that_no_key_opens_is_an_error_and_no_null(shelf: Shelf) -> None:
    await bought(shelf, 2)
    other = replace(shelf, ring=Keyring([Fernet.generate_key().decode()]))
    _, errors, _ = await ask(other, QUERY, PACKER)
    assert errors
    assert "Canary" not in str(errors)
