"""Points, tokens and the moods of the wire."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from adapters.budget import Budgets
from adapters.port import Checked, StockKey
from adapters.shopify.client import PLAN, VERSION
from adapters.shopify.config import ShopifyConfig
from adapters.shopify.platform import ShopifyPort
from adapters.shopify.scopes import NEEDED, OPTIONAL, without
from adapters.vault import OwnMemory
from domain.budget import Ask, BudgetState
from domain.errors import HouseError, Invalid, MissingRole, Throttled, Transient, Unauthorized
from domain.ids import ChannelSku
from tests.adapters.shopify.bench import CHANNEL, COST, LONG_AGO, OpenPort, Sandbox, Script

ITEM = (("inventory_item", "gid://shopify/InventoryItem/41000000000001"),)


async def first_sku(sandbox: Sandbox) -> list[StockKey]:
    (row,) = (await sandbox.get("world", limit=1))["skus"]
    assert row["inventoryItemId"] == ITEM[0][1]
    return [StockKey(ChannelSku(row["sku"]), ITEM)]


async def state(budgets: Budgets) -> BudgetState:
    return (await budgets.states([(CHANNEL.id, PLAN)]))[0]


async def test_check_names_the_shop(sandbox: Sandbox, port: ShopifyPort) -> None:
    journal, ask = await sandbox.journal(), Ask()
    said = "Shop Acorn Sandbox answers, in USD, with every scope that is needed."
    assert await port.check(ask) == Checked(said)
    assert await journal.calls() == ["shop+currentAppInstallation"]
    (line,) = ask.bill.lines.items()
    assert (line[0], line[1].calls, line[1].tokens) == ((CHANNEL.id, "shop+currentAppInstallation"), 1, 3.0)


async def test_check_names_the_missing_scope_and_what_goes_without(sandbox: Sandbox, open_port: OpenPort) -> None:
    with pytest.raises(MissingRole) as caught:
        await open_port(sandbox.url, access_token="shpat_sandbox_readonly").check(Ask())
    assert caught.value.message == (
        "The app in the shop Acorn Sandbox lacks the access scope write_merchant_managed_fulfillment_orders. Without "
        "write_merchant_managed_fulfillment_orders, parcels are neither confirmed nor read back. "
        "Grant it to the app and install it again."
    )
    await sandbox.post("tokens", token="shpat_narrow", scopes=["write_products", "read_orders"])
    with pytest.raises(MissingRole, match="scopes read_inventory, read_locations, write_merchant"):
        await open_port(sandbox.url, access_token="shpat_narrow").check(Ask())


async def test_check_warns_of_what_goes_without_the_scopes_that_may_be_missing(
    sandbox: Sandbox, open_port: OpenPort
) -> None:
    scopes = ["read_products", "read_inventory", "read_locations", "read_orders", "write_inventory"]
    scopes.append("write_merchant_managed_fulfillment_orders")
    await sandbox.post("tokens", token="shpat_recent", scopes=scopes)
    told = await open_port(sandbox.url, access_token="shpat_recent").check(Ask())
    found = [one.found for one in told.warnings]
    assert found[0] == "Without read_all_orders, orders older than 60 days stay unseen."
    assert found == [without([one]) for one in OPTIONAL if one != "write_inventory"]


async def test_a_missing_scope_holds_up_its_document_alone_and_is_found_again(
    sandbox: Sandbox, open_port: OpenPort
) -> None:
    await sandbox.post("tokens", token="shpat_orders", scopes=["read_orders"])
    vault = OwnMemory()
    port = open_port(sandbox.url, access_token="shpat_orders", vault=vault)
    journal = await sandbox.journal()
    for _ in range(2):
        with pytest.raises(MissingRole, match="`read_inventory` access scope"):
            await port.stock(sandbox.locations, await first_sku(sandbox), Ask())
    assert await journal.calls() == ["nodes"]
    assert [order async for page in port.order_pages(LONG_AGO, Ask()) for order in page.items]
    with pytest.raises(MissingRole):
        await port.check(Ask())
    lacking = (await vault.kept(CHANNEL.id, "")).lacking
    assert lacking >= {"Stock", "read_inventory", "read_locations", "read_products"}
    # The owner grants what was missing.
    await sandbox.post("tokens", token="shpat_orders", scopes=[*NEEDED])
    await port.check(Ask())
    assert (await vault.kept(CHANNEL.id, "")).lacking == {"Stock"}
    await vault.bar(CHANNEL.id, "Stock", "as if the minute were over", -1.0)
    await port.stock(sandbox.locations, await first_sku(sandbox), Ask())
    assert (await vault.kept(CHANNEL.id, "")).lacking == frozenset()
    # What was refused once and is never asked again hinders nobody who has every scope.
    await vault.bar(CHANNEL.id, "RefundCreate", "no write_orders", 60.0)
    await port.check(Ask())
    assert (await vault.kept(CHANNEL.id, "")).lacking == {"RefundCreate"}
    await sandbox.post("tokens", token="shpat_orders", scopes=[*NEEDED, *OPTIONAL])
    await port.check(Ask())
    assert (await vault.kept(CHANNEL.id, "")).lacking == frozenset()


async def test_a_wrong_token(sandbox: Sandbox, open_port: OpenPort) -> None:
    with pytest.raises(Unauthorized, match="unrecognized login"):
        await open_port(sandbox.url, access_token="shpat_wrong").check(Ask())


async def test_the_client_credentials_grant(sandbox: Sandbox, open_port: OpenPort) -> None:
    port = open_port(sandbox.url, access_token=None, client_id="sandbox-client", client_secret="sandbox-secret")
    journal = await sandbox.journal()
    await port.check(Ask())
    await port.check(Ask())
    assert await journal.calls() == ["access_token", *["shop+currentAppInstallation"] * 2]
    # The token dies a day later by the shop's clock; ours has not noticed.
    await sandbox.post("clock", advance=86_400)
    journal, ask = await sandbox.journal(), Ask()
    await port.check(ask)
    check = "shop+currentAppInstallation"
    assert await journal.calls() == [check, "access_token", check]
    assert ask.bill.line(CHANNEL.id, check).calls == 2


async def test_a_wrong_secret(sandbox: Sandbox, open_port: OpenPort) -> None:
    port = open_port(sandbox.url, access_token=None, client_id="sandbox-client", client_secret="wrong")
    with pytest.raises(Unauthorized, match="client_id and client_secret"):
        await port.check(Ask())


async def test_an_empty_bucket_throttles_and_drains_ours(sandbox: Sandbox, port: ShopifyPort, budgets: Budgets) -> None:
    await sandbox.post("plans", maximumAvailable=2000, restoreRate=5, currentlyAvailable=4)
    journal, ask = await sandbox.journal(), Ask()
    with pytest.raises(Throttled) as caught:
        await port.stock(sandbox.locations, await first_sku(sandbox), ask)
    # The shop lacks 20 of 24 points, less what has come since, at 5 a second.
    assert 0 < caught.value.retry_after_s <= 4.0
    assert await journal.calls() == ["nodes"]
    line = ask.bill.line(CHANNEL.id, "nodes")
    assert (line.calls, line.tokens) == (1, 0.0)
    now = await state(budgets)
    assert (now.rate, now.burst, now.throttled) == (5.0, 2000.0, 1)
    assert now.remaining < 24
    # Ours is empty too, so whoever cannot wait is told at once, without a call.
    with pytest.raises(Throttled):
        await port.stock(sandbox.locations, await first_sku(sandbox), Ask(deadline=time.monotonic() + 0.1))
    assert await journal.calls() == ["nodes"]
    # Who can wait is served in time: no second THROTTLED.
    await port.stock(sandbox.locations, await first_sku(sandbox), Ask())
    assert await journal.calls() == ["nodes"] * 2
    assert (await state(budgets)).throttled == 1


async def test_points_that_were_not_used_come_back(sandbox: Sandbox, port: ShopifyPort, budgets: Budgets) -> None:
    await sandbox.post("plans", maximumAvailable=1000, restoreRate=1)
    await port.check(Ask())

    async def sweep() -> None:
        # Hardly anything comes by waiting: who finds too few points is told so.
        async for _ in port.stock_pages(sandbox.locations, Ask(deadline=time.monotonic() + 60)):
            pass

    journal = await sandbox.journal()
    await asyncio.gather(sweep(), sweep())
    # They ask for 266 points each, which is more than there are, and use far less.
    assert len(await journal.calls()) == 6
    now = await state(budgets)
    theirs = (await sandbox.get("plans"))["currentlyAvailable"]
    assert now.throttled == 0
    assert theirs - 5 < now.remaining <= theirs


@pytest.mark.parametrize(
    ("met", "kept"),
    [
        (httpx.ConnectError("no"), 0),
        (httpx.ReadError("no"), 24),  # it may have cost its points
        (httpx.Response(401), 0),
        (httpx.Response(502), 0),
        (asyncio.CancelledError(), 24),
    ],
    ids=["no connection", "lost", "401", "502", "canceled"],
)
async def test_no_points_are_held_after_a_call_whatever_became_of_it(
    redis: Redis, budgets: Budgets, open_port: OpenPort, met: Exception | httpx.Response, kept: float
) -> None:
    held: list[int] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        held.append(await redis.zcard(key))
        if isinstance(met, httpx.Response):
            return met
        raise met

    key = f"acorn:budget:{{{CHANNEL.id}:{PLAN.operation}}}:held"
    port = open_port(wire=httpx.MockTransport(handle))
    before = (await state(budgets)).remaining
    with pytest.raises((HouseError, asyncio.CancelledError)):
        await port.stock([], [StockKey(ChannelSku("A-1"), ITEM)], Ask())
    assert held == [1]
    assert await redis.zcard(key) == 0
    assert (await state(budgets)).remaining >= before - kept


async def test_a_shops_own_plan_is_adopted(sandbox: Sandbox, port: ShopifyPort, budgets: Budgets) -> None:
    assert ((await state(budgets)).rate, (await state(budgets)).burst) == (100.0, 2000.0)
    await sandbox.post("plans", maximumAvailable=20_000, restoreRate=1000)
    await port.check(Ask())
    assert ((await state(budgets)).rate, (await state(budgets)).burst) == (1000.0, 20_000.0)


async def test_a_cost_that_has_changed_is_learned(open_port: OpenPort, budgets: Budgets) -> None:
    told = COST | {"requestedQueryCost": 1900, "actualQueryCost": 1900}
    told |= {"throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 100, "restoreRate": 1.0}}
    data = {"nodes": [None]}
    empty = {"inventoryItems": {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}}

    def answer(name: str, given: dict[str, Any]) -> Any:
        return httpx.Response(200, json={"data": data if name == "Stock" else empty, "extensions": {"cost": told}})

    script = Script(answer)
    port = open_port(wire=script.wire())
    with pytest.raises(Throttled):
        # The second call of the same lookup finds no points left: the first one cost more than we thought.
        await port.stock([], [StockKey(ChannelSku("A-1"), ITEM)], Ask(deadline=time.monotonic() + 60))
    assert [name for name, _ in script.asked] == ["Stock"]
    with pytest.raises(Throttled) as caught:
        await port.stock([], [StockKey(ChannelSku("A-1"), ITEM)], Ask(deadline=time.monotonic() + 60))
    # 1,900 points at 1 a second now, where the document's own 24 would already be there.
    assert caught.value.retry_after_s > 1500
    assert [name for name, _ in script.asked] == ["Stock"]


@pytest.mark.parametrize(
    "told",
    [
        {"kind": "status", "status": 502},
        {"kind": "status", "status": 503},
        {"kind": "reset"},
        {"kind": "truncate"},
    ],
    ids=lambda rule: rule["kind"],
)
async def test_a_read_survives_the_moods_of_the_wire(sandbox: Sandbox, port: ShopifyPort, told: dict[str, Any]) -> None:
    await sandbox.faults({"operation": "nodes", "count": 1, **told})
    with pytest.raises(Transient):
        await port.stock(sandbox.locations, await first_sku(sandbox), Ask())
    assert len(await port.stock(sandbox.locations, await first_sku(sandbox), Ask())) == 2


async def test_a_server_fault_with_data_is_no_answer(sandbox: Sandbox, port: ShopifyPort) -> None:
    await sandbox.post("internal-errors", operation="nodes", count=1)
    with pytest.raises(Transient, match="INTERNAL_SERVER_ERROR"):
        await port.stock(sandbox.locations, await first_sku(sandbox), Ask())


@pytest.mark.parametrize("body", [b"<html>login</html>", b"[]", b"{}", b'{"data":null}', b'{"data":{"other":1}}'])
async def test_200_alone_is_no_answer(open_port: OpenPort, body: bytes) -> None:
    script = Script(lambda name, given: httpx.Response(200, content=body))
    with pytest.raises(Transient):
        await open_port(wire=script.wire()).check(Ask())


async def test_a_retired_version_is_seen_by_people_until_it_is_mended(open_port: OpenPort) -> None:
    scopes = [{"handle": one} for one in (*NEEDED, *OPTIONAL)]
    data = {"shop": {"name": "A", "currencyCode": "EUR"}, "currentAppInstallation": {"accessScopes": scopes}}

    def answer(name: str, given: dict[str, Any]) -> Any:
        return httpx.Response(200, json={"data": data}, headers={"X-Shopify-API-Version": "2026-01"})

    vault = OwnMemory()
    for asked, why in (("2025-07", "is retired"), ("2027-04", "is not there yet")):
        told = await open_port(wire=Script(answer).wire(), vault=vault, api_version=asked).check(Ask())
        [warning] = told.warnings
        assert warning.found.startswith(f"version {asked} of the API {why}: the shop answers by 2026-01")
        assert f"version {asked} of the API {why}" in (await vault.kept(CHANNEL.id, "")).barred[VERSION]
    port = open_port(wire=Script(answer).wire(), vault=vault, api_version="2026-01")
    assert (await port.check(Ask())).warnings == ()
    assert VERSION not in (await vault.kept(CHANNEL.id, "")).lacking


async def test_another_version_that_answers_is_told_once(open_port: OpenPort, caplog: pytest.LogCaptureFixture) -> None:
    def answer(name: str, given: dict[str, Any]) -> Any:
        data = {"inventoryItems": {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}}
        return httpx.Response(200, json={"data": data}, headers={"X-Shopify-API-Version": "2026-10"})

    for version, times in (("2026-07", 1), ("2026-10", 0)):
        caplog.clear()
        port = open_port(wire=Script(answer).wire(), api_version=version)
        for _ in range(2):
            await port.stock([], [StockKey(ChannelSku("A-1"))], Ask())
        told = [record for record in caplog.records if record.message == "shop.other_api_version"]
        assert len(told) == times


async def test_what_is_sent(open_port: OpenPort) -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(500)

    with pytest.raises(Transient):
        await open_port("http://shop.test/", wire=httpx.MockTransport(handle)).check(Ask())
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", "http://shop.test/admin/api/2026-07/graphql.json")
    assert request.headers["X-Shopify-Access-Token"] == "shpat_sandbox"
    assert request.headers["Content-Type"] == "application/json"


def test_settings_are_checked() -> None:
    config = ShopifyConfig(CHANNEL, "acorn.myshopify.com", access_token="shpat_secret")
    assert config.api == "https://acorn.myshopify.com/admin/api/2026-07/graphql.json"
    assert config.login == "https://acorn.myshopify.com/admin/oauth/access_token"
    assert "shpat_secret" not in repr(config)
    with pytest.raises(Invalid, match="needs an access_token"):
        ShopifyConfig(CHANNEL, "acorn.myshopify.com", client_id="a")
    with pytest.raises(Invalid, match="not an API version"):
        ShopifyConfig(CHANNEL, "acorn.myshopify.com", access_token="a", api_version="2026-7")
    with pytest.raises(Invalid, match=r"not a shop's address"):
        ShopifyConfig(CHANNEL, "acorn.example.com", access_token="a")
