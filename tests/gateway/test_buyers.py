"""Who bought, by every way in which answers leave the house: told to keys that may know it, null for all others."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from benchmarks.whole import served as serving
from domain.ids import ChannelId, node_id, order_id
from domain.person import Person, Recipient
from gateway.app import App
from gateway.settings import Settings
from schema.scopes import ALL
from store import intake
from store.keyring import Keyring
from store.session import Store
from tests.gateway.conftest import Gateway, events, until
from tests.gateway.test_documents import persisted
from tests.gateway.test_incremental import TODAY
from tests.gateway.test_websocket import acknowledged, hear, subscribe
from tests.resolvers.test_shipment import make_order
from tests.store.bench import give_places

KEY = Fernet.generate_key().decode()
ADA = Person("Ada Canary", "ada@canary.test", Recipient("DE", "Ada Canary", "Kanarienweg 1", postal_code="50667"))
SHOP = ChannelId("shop")
ORDER = replace(make_order("1001"), id=order_id(SHOP, "1001"), channel=SHOP, person=ADA, lines=[])
ID = node_id("Order", ORDER.id)

WHO = "buyer { name email } shipTo { name line1 country }"
LIST = f"{{ orders(first: 5) {{ nodes {{ id {WHO} }} }} }}"
NODE = f'{{ node(id: "{ID}") {{ ... on Order {{ {WHO} }} }} }}'
ENTITY = f"query($of: [_Any!]!) {{ _entities(representations: $of) {{ ... on Order {{ {WHO} }} }} }}"
FOLLOW = f'subscription {{ orders(after: "0") {{ order {{ id {WHO} }} }} }}'
DEFERRED = f'{{ order(id: "{ID}") {{ id ... @defer {{ {WHO} }} }} }}'

READER = ("orders:read",)
PACKER = ("orders:read", "orders:pii")
NEARLY_ALL = tuple(sorted(ALL - {"orders:pii"}))


@pytest.fixture
async def gateway(store: Store, redis: object, settings: Settings) -> AsyncIterator[Gateway]:
    """The whole contract, with an order of somebody."""
    app = App(settings.model_copy(update={"keys": (SecretStr(KEY),)}))
    async with (
        serving(app) as (server, url),
        httpx.AsyncClient(base_url=url, timeout=20) as http,
    ):
        async with store.begin() as tx:
            await intake.keep_orders(tx, [ORDER], [], Keyring([KEY]))
        await give_places(store)
        yield Gateway(app, server, url, http, store)


@asynccontextmanager
async def streamed(gateway: Gateway, query: str, *scopes: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    headers = await gateway.headers(*scopes, accept="text/event-stream")
    async with gateway.http.stream("POST", "/graphql", json={"query": query}, headers=headers) as answer:
        yield events(answer)


async def ways(gateway: Gateway, *scopes: str) -> dict[str, str]:
    """What each way of asking tells, as text."""
    told: dict[str, str] = {}
    for name, query in (("list", LIST), ("node", NODE)):
        # The second and later ones are compiled.
        for turn in range(3):
            told[f"{name} {turn}"] = (await gateway.ask(query, *scopes)).text
    told["entity"] = (await gateway.ask(ENTITY, *scopes, variables={"of": [{"__typename": "Order", "id": ID}]})).text
    told["deferred"] = (await gateway.ask(DEFERRED, *scopes, accept=TODAY)).text
    headers = await gateway.headers(*scopes)
    for turn in range(2):
        body = {"query": LIST, **persisted(LIST)} if turn == 0 else persisted(LIST)
        told[f"persisted {turn}"] = (await gateway.http.post("/graphql", json=body, headers=headers)).text
    async with streamed(gateway, LIST, *scopes) as found:
        told["streamed"] = json.dumps([one async for one in found])
    async with streamed(gateway, FOLLOW, *scopes) as found:
        told["followed"] = json.dumps(await anext(one async for one in found if one[0] == "next"))
    async with acknowledged(gateway, *scopes) as socket:
        await subscribe(socket, "q", LIST)
        told["socket"] = json.dumps(await hear(socket))
        await hear(socket)
        await subscribe(socket, "s", FOLLOW)
        told["socket followed"] = json.dumps(await hear(socket))
    return told


async def test_whoever_may_not_know_is_told_null_by_every_way_and_no_error(gateway: Gateway) -> None:
    """Each asks after one who may, by the same text: nothing of its answer is left for the others."""
    for _ in range(2):
        may = await ways(gateway, *PACKER)
        assert {("Ada Canary" in text, "errors" in text) for text in may.values()} == {(True, False)}
        for scopes in (READER, NEARLY_ALL):
            told = await ways(gateway, *scopes)
            assert told.keys() == may.keys()
            assert {name: text for name, text in told.items() if "Canary" in text or "Kanarien" in text} == {}
            assert {name: text for name, text in told.items() if "errors" in text} == {}
            assert all('"buyer":null' in text.replace(" ", "") for text in told.values())


async def test_all_who_follow_at_once_are_named_in_the_log_and_told_what_they_may(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that many share is shared by nobody where it says who bought."""
    caplog.set_level(logging.INFO)
    crowd = [PACKER, (*PACKER, "stock:read"), READER] * 2

    async def followed(scopes: tuple[str, ...]) -> str:
        async with streamed(gateway, FOLLOW, *scopes) as found:
            return json.dumps(await anext(one async for one in found if one[0] == "next"))

    told = await asyncio.gather(*(followed(scopes) for scopes in crowd))
    assert ["Ada Canary" in text for text in told] == [True, True, False] * 2

    def reads() -> list[str]:
        return [one.__dict__["caller"] for one in caplog.records if one.message == "person.read"]

    # Buyer and address, of each of them.
    await until(lambda: len(reads()) >= 8)
    assert sorted(reads()) == sorted(["-".join(sorted(scopes)) for scopes in crowd if scopes != READER] * 2)
    assert "Canary" not in caplog.text
