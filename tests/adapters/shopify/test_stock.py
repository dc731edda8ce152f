"""Stock of a shop: one call for all its places."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

from adapters.port import StockKey
from adapters.shopify.platform import ShopifyPort
from domain.budget import Ask
from domain.errors import Invalid, Transient
from domain.ids import ChannelSku
from domain.stock import Reading
from tests.adapters.shopify.bench import OpenPort, Sandbox, Script, connection, location

A, B = location("BERLIN", "gid://shopify/Location/1"), location("RENO", "gid://shopify/Location/2")


def key(sku: str, item: str | None = None) -> StockKey:
    return StockKey(ChannelSku(sku), (("inventory_item", item),) if item else ())


def counts(readings: list[Reading]) -> dict[tuple[str, str], tuple[int, int]]:
    """(on hand, reserved) by SKU and place; every pair once."""
    found: dict[tuple[str, str], tuple[int, int]] = {
        (r.channel_sku, r.location): (r.on_hand, r.reserved) for r in readings
    }
    assert len(found) == len(readings)
    return found


def expected(world: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[int, int]]:
    return {
        (row["sku"], place.upper()): (told["onHand"], told["onHand"] - told["available"])
        for row in world
        for place, told in row["stock"].items()
    }


async def test_250_skus_of_all_places_in_one_call(sandbox: Sandbox, port: ShopifyPort) -> None:
    world = (await sandbox.get("world", limit=250))["skus"]
    journal = await sandbox.journal()
    ask = Ask()
    keys = [key(row["sku"], row["inventoryItemId"]) for row in world]
    readings = await port.stock(sandbox.locations, keys, ask)
    assert len(readings) == 500
    assert counts(readings) == expected(world)
    assert await journal.calls() == ["nodes"]
    assert {operation: (line.calls, line.tokens) for (_, operation), line in ask.bill.lines.items()} == {
        "nodes": (1, 4.0)
    }


async def test_250_skus_without_refs_in_one_call(sandbox: Sandbox, port: ShopifyPort) -> None:
    world = (await sandbox.get("world", limit=250))["skus"]
    journal = await sandbox.journal()
    readings = await port.stock(sandbox.locations, [key(row["sku"]) for row in world], Ask())
    assert counts(readings) == expected(world)
    assert await journal.calls() == ["inventoryItems"]


async def test_committed_units_are_reserved(sandbox: Sandbox, port: ShopifyPort) -> None:
    sku = (await sandbox.get("world", limit=1, offset=300))["skus"][0]["sku"]
    await sandbox.post("state", stock=[{"sku": sku, "location": "Berlin", "quantity": 10}])
    (before,) = [r for r in await port.stock(sandbox.locations, [key(sku)], Ask()) if r.location == "BERLIN"]
    await sandbox.place_order({"sku": sku, "quantity": 3, "location": "Berlin"})
    (after,) = [r for r in await port.stock(sandbox.locations, [key(sku)], Ask()) if r.location == "BERLIN"]
    assert before.on_hand - before.reserved == 10
    assert (after.on_hand, after.reserved) == (before.on_hand, before.reserved + 3)


async def test_more_than_250_keys_are_refused_unasked(sandbox: Sandbox, port: ShopifyPort) -> None:
    journal = await sandbox.journal()
    with pytest.raises(Invalid, match="251"):
        await port.stock(sandbox.locations, [key(f"X-{n}") for n in range(251)], Ask())
    assert await journal.calls() == []


async def test_an_unknown_sku_reads_zero(sandbox: Sandbox, port: ShopifyPort) -> None:
    readings = await port.stock(sandbox.locations, [key("NO:SUCH 'SKU'")], Ask())
    assert counts(readings) == {("NO:SUCH 'SKU'", "BERLIN"): (0, 0), ("NO:SUCH 'SKU'", "RENO"): (0, 0)}


async def test_the_sweep_reads_the_whole_world(sandbox: Sandbox, port: ShopifyPort) -> None:
    world = (await sandbox.get("world"))["skus"]
    journal = await sandbox.journal()
    pages = [page async for page in port.stock_pages(sandbox.locations, Ask())]
    assert counts([reading for page in pages for reading in page.items]) == expected(world)
    assert len(world) == 600
    assert [len(page.items) for page in pages] == [500, 500, 200]
    assert [page.rejected for page in pages] == [[], [], []]
    assert [page.until is not None for page in pages] == [False, False, True]
    assert await journal.calls() == ["inventoryItems"] * 3


def item(number: int, sku: str | None, *levels: tuple[str, int, int, int], after: str | None = None) -> dict[str, Any]:
    """Levels are (location, available, on hand, incoming)."""
    return {
        "id": f"gid://shopify/InventoryItem/{number}",
        "sku": sku,
        "inventoryLevels": connection(*map(level, levels), after=after),
    }


def level(told: tuple[str, int, int, int]) -> dict[str, Any]:
    names = ("available", "on_hand", "incoming")
    quantities = [{"name": name, "quantity": units} for name, units in zip(names, told[1:], strict=True)]
    return {"location": {"id": told[0]}, "quantities": quantities}


async def test_a_place_that_is_not_configured_is_told_once(
    open_port: OpenPort, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = "gid://shopify/Location/9"
    script = Script(lambda name, given: {"nodes": [item(1, "A-1", (A.external_id, 2, 5, 1), (stranger, 7, 7, 0))]})
    port = open_port(wire=script.wire())
    for _ in range(2):
        (reading,) = await port.stock([A], [key("A-1", "gid://shopify/InventoryItem/1")], Ask())
    assert (reading.on_hand, reading.reserved, reading.inbound) == (5, 3, 1)
    told = [record for record in caplog.records if record.message == "shop.unknown_location"]
    assert [(record.levelno, record.__dict__["location"]) for record in told] == [(logging.WARNING, stranger)]


async def test_an_item_that_is_gone_or_renamed_is_looked_up_by_its_sku(open_port: OpenPort) -> None:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "Stock":
            return {"nodes": [None, item(2, "OTHER", (A.external_id, 1, 1, 0))]}
        return {"inventoryItems": connection(item(3, "A-1", (A.external_id, 4, 4, 0)), item(4, "A-1"))}

    script = Script(answer)
    keys = [key("A-1", "gid://shopify/InventoryItem/1"), key("A-2", "gid://shopify/InventoryItem/2")]
    readings = await open_port(wire=script.wire()).stock([A, B], keys, Ask())
    assert counts(readings) == {
        ("A-1", "BERLIN"): (4, 0),
        ("A-1", "RENO"): (0, 0),
        ("A-2", "BERLIN"): (0, 0),
        ("A-2", "RENO"): (0, 0),
    }
    assert [name for name, _ in script.asked] == ["Stock", "Items"]
    assert script.asked[1][1] == {"query": "(sku:'A-1' OR sku:'A-2')", "after": None}


async def test_quotes_and_backslashes_of_a_sku_are_escaped(open_port: OpenPort) -> None:
    script = Script(lambda name, given: {"inventoryItems": connection()})
    await open_port(wire=script.wire()).stock([A], [key("O'NEIL\\1")], Ask())
    assert script.asked[0][1]["query"] == "(sku:'O\\'NEIL\\\\1')"


async def test_more_levels_than_one_answer_holds_are_read_on(open_port: OpenPort) -> None:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "Stock":
            return {"nodes": [item(1, "A-1", (A.external_id, 1, 1, 0), after="c1")]}
        return {"inventoryItem": {"rest": connection(level((B.external_id, 2, 3, 0)))}}

    script = Script(answer)
    readings = await open_port(wire=script.wire()).stock([A, B], [key("A-1", "gid://shopify/InventoryItem/1")], Ask())
    assert counts(readings) == {("A-1", "BERLIN"): (1, 0), ("A-1", "RENO"): (3, 1)}
    assert script.asked[1] == ("Levels", {"id": "gid://shopify/InventoryItem/1", "after": "c1"})


async def test_a_missing_quantity_is_no_zero(open_port: OpenPort) -> None:
    broken = item(1, "A-1", (A.external_id, 1, 1, 0))
    broken["inventoryLevels"]["nodes"][0]["quantities"].pop(0)
    script = Script(lambda name, given: {"nodes": [broken], "inventoryItems": connection(broken)})
    port = open_port(wire=script.wire())
    with pytest.raises(Transient, match="no quantity available"):
        await port.stock([A], [key("A-1", "gid://shopify/InventoryItem/1")], Ask())
    (page,) = [page async for page in port.stock_pages([A], Ask())]
    assert page.items == []
    assert [(each.what, each.key) for each in page.rejected] == [("stock", "gid://shopify/InventoryItem/1")]


async def test_the_sweep_takes_the_first_item_of_a_sku(open_port: OpenPort) -> None:
    rows = [
        item(1, "A-1", (A.external_id, 1, 1, 0)),
        item(2, "A-1", (A.external_id, 9, 9, 0)),
        item(3, None),
        item(4, " "),
    ]
    script = Script(lambda name, given: {"inventoryItems": connection(*rows)})
    (page,) = [page async for page in open_port(wire=script.wire()).stock_pages([A], Ask())]
    assert counts(page.items) == {("A-1", "BERLIN"): (1, 0)}


async def test_paging_starts_anew_beyond_25000_rows(open_port: OpenPort) -> None:
    """The platform's cursors end there; the world of this test has 25,250 items."""

    def answer(name: str, given: dict[str, Any]) -> Any:
        if given["query"]:
            assert given == {"query": "id:>25000", "after": None}
            return {"inventoryItems": connection(*(item(n, f"A-{n}") for n in range(25_001, 25_251)))}
        start = int(given["after"] or 0)
        rows = [item(n, f"A-{n}") for n in range(start + 1, start + 251)]
        return {"inventoryItems": connection(*rows, after=str(start + 250))}

    script = Script(answer)
    seen = [r.channel_sku async for page in open_port(wire=script.wire()).stock_pages([A], Ask()) for r in page.items]
    assert seen == [f"A-{n}" for n in range(1, 25_251)]
    assert len(script.asked) == 101


async def test_groups_are_one(open_port: OpenPort) -> None:
    port = open_port(wire=httpx.MockTransport(lambda request: httpx.Response(500)))
    assert port.stock_groups([A, B]) == [[A, B]]
    assert port.stock_groups([]) == []
