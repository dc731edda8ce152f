"""The numbers a shop shows: told, compared, read back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from adapters.port import Receipt, Shown, ShownKey, StockKey, StockWrite
from adapters.shopify.platform import ShopifyPort
from domain.budget import Ask
from domain.errors import (
    HouseError,
    Invalid,
    NotFound,
    OtherNumber,
    OutcomeUnknown,
    Refused,
    Throttled,
    Transient,
    Unauthorized,
)
from domain.ids import ChannelSku
from tests.adapters.shopify.bench import OpenPort, Sandbox, Script, connection

BERLIN, RENO = (f"gid://shopify/Location/{number}" for number in (72_000_000_000_001, 72_000_000_000_002))


@pytest.fixture(autouse=True)
async def honest(sandbox: Sandbox) -> AsyncIterator[None]:
    yield
    await sandbox.post("moods")


async def nothing() -> None:
    """Nobody minds that it is sent."""


async def skus(sandbox: Sandbox, offset: int, count: int = 1) -> list[dict[str, Any]]:
    """SKUs of the world from `offset` on, each with 10 available in both places."""
    rows: list[dict[str, Any]] = (await sandbox.get("world", limit=count, offset=offset))["skus"]
    await stock(sandbox, *((row, place, 10) for row in rows for place in ("Berlin", "Reno")))
    return rows


async def stock(sandbox: Sandbox, *levels: tuple[dict[str, Any], str, int]) -> None:
    """What is available from now on, by (SKU, place)."""
    entries = [{"sku": row["sku"], "location": place, "quantity": quantity} for row, place, quantity in levels]
    await sandbox.post("state", stock=entries)


def key(row: dict[str, Any], place: str = BERLIN) -> ShownKey:
    return ShownKey(ChannelSku(row["sku"]), place, (("inventory_item", row["inventoryItemId"]),))


def write(row: dict[str, Any], quantity: int, expected: int | None = 10, reference: str = "", **more: Any) -> Any:
    return StockWrite(key(row, **more), quantity, expected, reference or f"{row['sku']}-{quantity}-{expected}")


async def shown(port: ShopifyPort, *keys: ShownKey) -> list[int | None]:
    return [each.quantity for each in await port.shown_stock(keys, Ask())]


def kinds(answers: list[Receipt | HouseError]) -> list[type]:
    return [type(answer) for answer in answers]


async def test_250_numbers_are_told_in_one_call_and_read_back_in_one(sandbox: Sandbox, port: ShopifyPort) -> None:
    rows = await skus(sandbox, 100, 125)
    writes = [write(row, 20 + n, place=place) for n, row in enumerate(rows) for place in (BERLIN, RENO)]
    journal, ask = await sandbox.journal(), Ask()
    answers = await port.tell_stock(writes, ask, nothing)
    assert len(answers) == 250
    (receipt,) = {answer for answer in answers if isinstance(answer, Receipt)}
    assert receipt.upstream_request_id
    assert (receipt.reference or "").startswith("gid://shopify/InventoryAdjustmentGroup/")
    assert {operation: (line.calls, line.tokens) for (_, operation), line in ask.bill.lines.items()} == {
        "inventorySetQuantities": (1, 10.0)
    }
    told = await port.shown_stock([each.key for each in writes], Ask())
    assert [each.key for each in told] == [each.key for each in writes]
    assert [each.quantity for each in told] == [each.quantity for each in writes]
    assert all(each.upstream_request_id for each in told)
    assert await journal.calls() == ["inventorySetQuantities", "nodes"]
    assert len(await journal.effects()) == 250


async def test_a_number_that_is_there_already_is_taken(sandbox: Sandbox, port: ShopifyPort) -> None:
    (row,) = await skus(sandbox, 230)
    (answer,) = await port.tell_stock([write(row, 10)], Ask(), nothing)
    assert isinstance(answer, Receipt)
    assert answer.reference is None


async def test_without_an_expectation_the_number_is_written_whatever_is_there(
    sandbox: Sandbox, port: ShopifyPort
) -> None:
    (row,) = await skus(sandbox, 231)
    assert kinds(await port.tell_stock([write(row, 3, None)], Ask(), nothing)) == [Receipt]
    assert await shown(port, key(row)) == [3]


async def test_an_order_that_came_in_is_not_written_over_and_the_others_are_sent_again(
    sandbox: Sandbox, port: ShopifyPort
) -> None:
    rows = await skus(sandbox, 232, 3)
    bought = await sandbox.post("buy", lines=[{"sku": rows[1]["sku"], "quantity": 2, "location": "Berlin"}])
    assert bought["order"]
    writes = [write(row, 7) for row in rows]
    answers = await port.tell_stock(writes, Ask(), nothing)
    assert kinds(answers) == [Transient, OtherNumber, Transient]
    assert isinstance(answers[1], OtherNumber)
    assert (answers[1].shown, rows[1]["sku"] in answers[1].message) == (None, True)
    assert all(isinstance(answer, HouseError) and answer.upstream_request_id for answer in answers)
    assert await shown(port, *map(key, rows)) == [10, 8, 10]
    assert kinds(await port.tell_stock([writes[0], writes[2]], Ask(), nothing)) == [Receipt, Receipt]
    assert await shown(port, *map(key, rows)) == [7, 8, 7]


async def test_what_cannot_be_addressed_does_not_leave_the_house(sandbox: Sandbox, port: ShopifyPort) -> None:
    (row,) = await skus(sandbox, 236)
    stranger = StockWrite(ShownKey(ChannelSku("A-1"), BERLIN), 1, None, "1")
    nowhere = write(row, 1, place="Berlin")
    journal = await sandbox.journal()
    answers = await port.tell_stock([stranger, nowhere], Ask(), nothing)
    assert kinds(answers) == [NotFound, Invalid]
    assert await journal.calls() == []
    answers = await port.tell_stock([stranger, write(row, 6), nowhere], Ask(), nothing)
    assert kinds(answers) == [NotFound, Receipt, Invalid]
    assert await shown(port, key(row)) == [6]


async def test_an_item_or_location_that_is_gone_is_told_by_its_own_write(sandbox: Sandbox, port: ShopifyPort) -> None:
    (row,) = await skus(sandbox, 237)
    gone = write(row | {"inventoryItemId": "gid://shopify/InventoryItem/7"}, 1)
    closed = write(row, 1, place="gid://shopify/Location/7")
    high = write(row, 2_000_000_000, place=RENO)
    answers = await port.tell_stock([gone, write(row, 6), closed, high], Ask(), nothing)
    assert kinds(answers) == [NotFound, Transient, NotFound, Invalid]
    assert [answer.upstream_code for answer in answers if isinstance(answer, Refused)] == [
        "INVALID_INVENTORY_ITEM",
        "INVALID_LOCATION",
        "INVALID_QUANTITY_TOO_HIGH",
    ]
    assert await shown(port, key(row)) == [10]


async def test_the_same_writes_after_a_lost_answer_are_applied_once(sandbox: Sandbox, port: ShopifyPort) -> None:
    rows = await skus(sandbox, 238, 2)
    writes = [write(row, 4) for row in rows]
    journal = await sandbox.journal()
    await sandbox.faults({"operation": "inventorySetQuantities", "kind": "apply_then_reset", "count": 1})
    with pytest.raises(OutcomeUnknown):
        await port.tell_stock(writes, Ask(), nothing)
    assert kinds(await port.tell_stock(writes, Ask(), nothing)) == [Receipt, Receipt]
    assert len(await journal.effects()) == 2
    assert await journal.calls() == ["inventorySetQuantities"] * 2


async def test_an_attempt_that_failed_does_not_bar_the_same_writes_for_ever(
    sandbox: Sandbox, port: ShopifyPort
) -> None:
    (row,) = await skus(sandbox, 240)
    await stock(sandbox, (row, "Berlin", 9))
    writes = [write(row, 4)]
    assert kinds(await port.tell_stock(writes, Ask(), nothing)) == [OtherNumber]
    await stock(sandbox, (row, "Berlin", 10))
    assert kinds(await port.tell_stock(writes, Ask(), nothing)) == [Receipt]
    assert await shown(port, key(row)) == [4]


async def test_nothing_is_sent_once_the_caller_may_not(sandbox: Sandbox, port: ShopifyPort) -> None:
    (row,) = await skus(sandbox, 241)
    journal = await sandbox.journal()

    async def fenced() -> None:
        raise Transient("Somebody else has it.")

    with pytest.raises(Transient, match="Somebody else"):
        await port.tell_stock([write(row, 4)], Ask(), fenced)
    assert await journal.calls() == []


async def test_no_points_and_no_scope_fail_the_whole_call(sandbox: Sandbox, open_port: OpenPort) -> None:
    (row,) = await skus(sandbox, 242)
    await sandbox.faults()
    await sandbox.post("plans", maximumAvailable=2000, restoreRate=1, currentlyAvailable=3)
    with pytest.raises(Throttled):
        await open_port(sandbox.url).tell_stock([write(row, 4)], Ask(), nothing)
    await sandbox.post("plans", maximumAvailable=2000, restoreRate=100)
    with pytest.raises(Unauthorized, match="write_inventory"):
        await open_port(sandbox.url, access_token="shpat_sandbox_readonly").tell_stock([write(row, 4)], Ask(), nothing)


async def test_an_item_that_was_never_stocked_there_is_put_there_first(sandbox: Sandbox, port: ShopifyPort) -> None:
    first, second = await skus(sandbox, 243, 2)
    await sandbox.post("state", stock=[{"sku": first["sku"], "location": "Berlin", "stocked": False}])
    assert await shown(port, key(first), key(first, RENO)) == [None, 10]
    writes = [write(first, 4, None), write(second, 4)]
    journal = await sandbox.journal()
    answers = await port.tell_stock(writes, Ask(), nothing)
    assert kinds(answers) == [Transient, Transient]
    assert await shown(port, key(first), key(second)) == [0, 10]
    assert kinds(await port.tell_stock(writes, Ask(), nothing)) == [Receipt, Receipt]
    assert await shown(port, key(first), key(second)) == [4, 4]
    # The same key once more, used up by the refusal; then a new one.
    assert await journal.calls() == [
        "inventorySetQuantities",
        "inventoryActivate",
        "nodes",
        *["inventorySetQuantities"] * 2,
        "nodes",
    ]


async def test_what_was_accepted_without_effect_shows_in_the_read_back(sandbox: Sandbox, port: ShopifyPort) -> None:
    liar, honest = await skus(sandbox, 245, 2)
    await sandbox.post("moods", ignore=1, skus=[liar["sku"]])
    answers = await port.tell_stock([write(liar, 4), write(honest, 4)], Ask(), nothing)
    assert kinds(answers) == [Receipt, Receipt]
    assert await shown(port, key(liar), key(honest)) == [10, 4]


async def test_numbers_that_trail_are_read_as_they_are_shown(sandbox: Sandbox, port: ShopifyPort) -> None:
    (row,) = await skus(sandbox, 247)
    await sandbox.post("moods", lag=3600)
    assert kinds(await port.tell_stock([write(row, 4)], Ask(), nothing)) == [Receipt]
    assert await shown(port, key(row)) == [10]
    await sandbox.post("clock", advance=3601)
    assert await shown(port, key(row)) == [4]


async def test_a_key_without_refs_is_found_by_its_sku_and_a_stranger_is_not_shown(
    sandbox: Sandbox, port: ShopifyPort
) -> None:
    (row,) = await skus(sandbox, 248)
    journal = await sandbox.journal()
    assert await shown(port, ShownKey(ChannelSku(row["sku"]), RENO), ShownKey(ChannelSku("NONE"), RENO)) == [10, None]
    assert await journal.calls() == ["inventoryItems"]


async def test_the_sweep_tells_all_that_is_shown_at_our_places(sandbox: Sandbox, port: ShopifyPort) -> None:
    (row,) = await skus(sandbox, 249)
    await sandbox.post("state", stock=[{"sku": row["sku"], "location": "Reno", "stocked": False}])
    world = (await sandbox.get("world"))["skus"]
    journal = await sandbox.journal()
    pages = [page async for page in port.shown_pages([RENO], Ask())]
    found = {each.key: each.quantity for page in pages for each in page.items}
    assert found == {
        ShownKey(ChannelSku(each["sku"]), RENO): each["stock"]["Reno"]["available"]
        for each in world
        if each["sku"] != row["sku"]
    }
    assert sum(len(page.items) for page in pages) == len(found) == 599
    assert all(each.upstream_request_id for page in pages for each in page.items)
    assert [page.until is not None for page in pages] == [False, False, True]
    assert await journal.calls() == ["inventoryItems"] * 3
    await stock(sandbox, (row, "Reno", 10))


async def test_readings_name_the_call_they_came_with(sandbox: Sandbox, port: ShopifyPort) -> None:
    first, second = await skus(sandbox, 250, 2)
    known = StockKey(ChannelSku(first["sku"]), (("inventory_item", first["inventoryItemId"]),))
    readings = await port.stock(sandbox.locations, [known, StockKey(ChannelSku(second["sku"]))], Ask())
    by_sku = {each.channel_sku: each.upstream_request_id for each in readings}
    assert len(set(by_sku.values()) - {None}) == 2
    swept = [page.items async for page in port.stock_pages(sandbox.locations, Ask())]
    ids = [{reading.upstream_request_id for reading in items} for items in swept]
    assert [len(each) for each in ids] == [1, 1, 1]
    assert len(set.union(*ids) - {None}) == 3


ROW = {"sku": "A-1", "inventoryItemId": "gid://shopify/InventoryItem/1"}
OTHER = {"sku": "A-2", "inventoryItemId": "gid://shopify/InventoryItem/2"}


def payload(*errors: tuple[str, list[str] | None], group: str | None = None) -> dict[str, Any]:
    return {
        "inventorySetQuantities": {
            "inventoryAdjustmentGroup": {"id": group} if group else None,
            "userErrors": [{"code": code, "field": field, "message": "No."} for code, field in errors],
        }
    }


async def told(open_port: OpenPort, answer: Any, *writes: StockWrite) -> list[Receipt | HouseError]:
    return await open_port(wire=Script(lambda name, given: answer).wire()).tell_stock(writes, Ask(), nothing)


async def test_what_is_sent(open_port: OpenPort) -> None:
    script = Script(lambda name, given: payload(group="gid://shopify/InventoryAdjustmentGroup/1"))
    port = open_port(wire=script.wire())
    await port.tell_stock([write(ROW, 4, reference="8841"), write(OTHER, 5, None, "8842")], Ask(), nothing)
    ((name, given),) = script.asked
    assert name == "SetAvailable"
    assert given["input"] == {
        "name": "available",
        "reason": "correction",
        "referenceDocumentUri": "gid://acorn/StockWrite/8841",
        "quantities": [
            {"inventoryItemId": ROW["inventoryItemId"], "locationId": BERLIN, "quantity": 4, "changeFromQuantity": 10},
            {
                "inventoryItemId": OTHER["inventoryItemId"],
                "locationId": BERLIN,
                "quantity": 5,
                "changeFromQuantity": None,
            },
        ],
    }


async def test_equal_writes_have_one_key_and_others_another(open_port: OpenPort) -> None:
    script = Script(lambda name, given: payload())
    port = open_port(wire=script.wire())
    batches = [
        [write(ROW, 4, reference="1"), write(OTHER, 4, reference="2")],
        [write(ROW, 4, reference="1"), write(OTHER, 4, reference="2")],
        [write(ROW, 4, reference="1")],
        [write(ROW, 4, reference="3")],
        [write(ROW, 4, 9, reference="1")],
        [write(ROW, 5, reference="1")],
    ]
    for batch in batches:
        await port.tell_stock(batch, Ask(), nothing)
    keys = [given["key"] for _, given in script.asked]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 5


async def test_a_stale_number_that_is_not_named_sends_all_that_were_compared_to_be_read(open_port: OpenPort) -> None:
    stale = payload(("CHANGE_FROM_QUANTITY_STALE", ["input"]))
    answers = await told(open_port, stale, write(ROW, 4), write(OTHER, 4, None))
    assert kinds(answers) == [OtherNumber, Transient]


async def test_numbers_beside_a_refusal_that_may_have_been_taken_are_unknown(open_port: OpenPort) -> None:
    field = ["input", "quantities", "0", "inventoryItemId"]
    partly = payload(("NON_MUTABLE_INVENTORY_ITEM", field), group="gid://shopify/InventoryAdjustmentGroup/1")
    answers = await told(open_port, partly, write(ROW, 4), write(OTHER, 4))
    assert kinds(answers) == [Invalid, OutcomeUnknown]


@pytest.mark.parametrize(
    ("code", "error"), [("IDEMPOTENCY_CONCURRENT_REQUEST", Transient), ("INVALID_REASON", Invalid)]
)
async def test_what_concerns_no_entry_fails_the_call(open_port: OpenPort, code: str, error: type[HouseError]) -> None:
    with pytest.raises(error) as caught:
        await told(open_port, payload((code, None)), write(ROW, 4))
    assert type(caught.value) is error
    assert caught.value.upstream_code == code


@pytest.mark.parametrize("answer", [{"inventorySetQuantities": None}, {"inventorySetQuantities": {"userErrors": []}}])
async def test_an_answer_that_makes_no_sense_leaves_the_outcome_open(open_port: OpenPort, answer: Any) -> None:
    with pytest.raises(OutcomeUnknown):
        await told(open_port, answer, write(ROW, 4))


async def test_a_location_that_will_not_have_an_item_refuses_it(open_port: OpenPort) -> None:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "Activate":
            return {"inventoryActivate": {"userErrors": [{"field": ["locationId"], "message": "Not here."}]}}
        return payload(("ITEM_NOT_STOCKED_AT_LOCATION", ["input", "quantities", "1", "locationId"]))

    port = open_port(wire=Script(answer).wire())
    answers = await port.tell_stock([write(ROW, 4), write(OTHER, 4)], Ask(), nothing)
    assert kinds(answers) == [Transient, Invalid]
    assert isinstance(answers[1], Invalid)
    assert answers[1].message == "Not here."


async def test_more_than_250_are_refused_unasked(open_port: OpenPort) -> None:
    script = Script(lambda name, given: payload())
    port = open_port(wire=script.wire())
    with pytest.raises(Invalid, match="251"):
        await port.tell_stock([write(ROW, n) for n in range(251)], Ask(), nothing)
    with pytest.raises(Invalid, match="251"):
        await port.shown_stock([ShownKey(ChannelSku(f"A-{n}"), BERLIN) for n in range(251)], Ask())
    assert script.asked == []


async def test_an_item_that_carries_another_sku_by_now_is_looked_up(open_port: OpenPort) -> None:
    def item(number: int, sku: str, available: int) -> dict[str, Any]:
        quantities = [{"name": name, "quantity": available} for name in ("available", "on_hand", "incoming")]
        level = {"location": {"id": BERLIN}, "quantities": quantities}
        gid = f"gid://shopify/InventoryItem/{number}"
        return {"id": gid, "sku": sku, "inventoryLevels": connection(level)}

    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "Stock":
            return {"nodes": [item(1, "A-9", 1)]}
        return {"inventoryItems": connection(item(5, "A-1", 5))}

    script = Script(answer)
    (seen,) = await open_port(wire=script.wire()).shown_stock([key(ROW)], Ask())
    assert seen == Shown(key(ROW), 5, seen.as_of, None)


async def test_check_tells_whether_it_can_be_told_numbers(sandbox: Sandbox, open_port: OpenPort) -> None:
    scopes = ["read_products", "read_inventory", "read_locations", "read_orders", "read_all_orders"]
    scopes.append("write_merchant_managed_fulfillment_orders")
    await sandbox.post("tokens", token="shpat_reader", scopes=scopes)
    words = "Without write_inventory, it cannot be told what it may sell."
    told = (await open_port(sandbox.url, access_token="shpat_reader").check(Ask())).warnings
    assert words in [one.found for one in told]
    assert (await open_port(sandbox.url).check(Ask())).warnings == ()


async def test_a_refusal_that_names_no_entry_comes_down_to_the_one_it_is_about(open_port: OpenPort) -> None:
    """The shop refuses whatever call holds the bundle, and does not say what for."""
    rows = [{"sku": f"A-{n}", "inventoryItemId": f"gid://shopify/InventoryItem/{n}"} for n in range(1, 10)]
    bundle = rows[4]["inventoryItemId"]

    def answer(name: str, given: dict[str, Any]) -> Any:
        if any(one["inventoryItemId"] == bundle for one in given["input"]["quantities"]):
            return payload(("NON_MUTABLE_INVENTORY_ITEM", ["input"]))
        return payload(group="gid://shopify/InventoryAdjustmentGroup/1")

    script = Script(answer)
    answers = await open_port(wire=script.wire()).tell_stock([write(row, 4) for row in rows], Ask(), nothing)
    assert kinds(answers) == [Invalid if row["inventoryItemId"] == bundle else Receipt for row in rows]
    told = [one["inventoryItemId"] for _, given in script.asked for one in given["input"]["quantities"]]
    assert {gid: told.count(gid) for gid in told}[bundle] == len(script.asked) // 2 + 1


async def test_what_stops_the_second_half_leaves_the_answers_of_the_first(open_port: OpenPort) -> None:
    def answer(name: str, given: dict[str, Any]) -> Any:
        asked = [one["inventoryItemId"] for one in given["input"]["quantities"]]
        if len(asked) == 2:
            return payload(("NON_MUTABLE_INVENTORY_ITEM", None))
        if asked == [OTHER["inventoryItemId"]]:
            return httpx.Response(429, headers={"Retry-After": "4"})
        return payload(group="gid://shopify/InventoryAdjustmentGroup/1")

    port = open_port(wire=Script(answer).wire())
    assert kinds(await port.tell_stock([write(ROW, 4), write(OTHER, 4)], Ask(), nothing)) == [Receipt, Throttled]


async def test_a_key_of_other_contents_is_left_for_a_new_one(open_port: OpenPort) -> None:
    script = Script(
        lambda name, given: (
            payload(("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", None)) if len(script.asked) == 1 else payload()
        )
    )
    assert kinds(await open_port(wire=script.wire()).tell_stock([write(ROW, 4)], Ask(), nothing)) == [Receipt]
    assert len({given["key"] for _, given in script.asked}) == 2


async def test_an_attempt_that_is_still_at_work_concerns_all_whatever_entry_it_names(open_port: OpenPort) -> None:
    busy = payload(("IDEMPOTENCY_CONCURRENT_REQUEST", ["input", "quantities", "0"]))
    with pytest.raises(Transient, match="same key"):
        await told(open_port, busy, write(ROW, 4), write(OTHER, 4))
