"""FBA stock against Amazon's own models: what we ask by each route, and what Amazon's examples tell us."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from adapters.port import StockKey
from adapters.route import readings
from domain.budget import Ask
from domain.ids import ChannelSku
from domain.route import Way
from tests.adapters.amazon.bench import Desk, Line, make_pool
from tests.adapters.amazon.test_inventory import page, summary
from tests.adapters.amazon.test_inventory_report import made, row, told
from tests.contracts import spapi

pytestmark = spapi.published

NAME = "getInventorySummaries"
# The quantities of one SKU, by the path of members that leads to each.
COUNTS = {
    "fulfillable": ("fulfillableQuantity",),
    "inbound_working": ("inboundWorkingQuantity",),
    "inbound_shipped": ("inboundShippedQuantity",),
    "inbound_receiving": ("inboundReceivingQuantity",),
    "reserved_orders": ("reservedQuantity", "pendingCustomerOrderQuantity"),
    "reserved_transshipment": ("reservedQuantity", "pendingTransshipmentQuantity"),
    "reserved_processing": ("reservedQuantity", "fcProcessingQuantity"),
    "researching": ("researchingQuantity", "totalResearchingQuantity"),
    "unfulfillable": ("unfulfillableQuantity", "totalUnfulfillableQuantity"),
}


@pytest.mark.parametrize("way", list(Way))
async def test_what_each_route_asks_is_published(desk: Desk, line: Line, way: Way) -> None:
    report = [*made(), told(row("A,B"))]
    line.answers.extend(report if way is Way.REPORT else [page(summary("A,B"))])
    keys = [StockKey(ChannelSku("A,B"))]
    found = [
        one async for told in readings(desk.port, way, [make_pool(desk.config)], keys, Ask()) for one in told.items
    ]
    assert [(one.channel_sku, one.on_hand) for one in found] == [("A,B", 8)]
    assert line.calls
    for request in line.calls:
        if request.url.host == "amazon.test":
            assert spapi.request_faults(request) == [], f"{request.method} {request.url}"


async def test_every_quantity_of_the_model_is_read(desk: Desk, line: Line) -> None:
    """Amazon publishes no example of this operation: an answer with all that its model knows stands for one."""
    details: dict[str, Any] = {}
    for number, path in enumerate(COUNTS.values(), start=1):
        *above, last = path
        (details.setdefault(above[0], {}) if above else details)[last] = number
    details["reservedQuantity"]["totalReservedQuantity"] = 5 + 6 + 7
    one = {"sellerSku": "A1", "fnSku": "X001", "asin": "B00", "condition": "NewItem", "inventoryDetails": details}
    granularity = {"granularityType": "Marketplace", "granularityId": "ATVPDKIKX0DER"}
    answer = httpx.Response(200, json={"payload": {"granularity": granularity, "inventorySummaries": [one]}})
    assert spapi.answer_faults(NAME, answer) == []
    line.answers.append(answer)
    (reading,) = [one async for page in desk.port.stock_pages([make_pool(desk.config)], Ask()) for one in page.items]
    assert reading.units is not None
    assert [getattr(reading.units, name) for name in COUNTS] == list(range(1, 10))
    assert reading.units.fn_sku == "X001"
    assert (reading.on_hand, reading.reserved, reading.inbound) == (1 + 18, 18, 2 + 3 + 4)


def test_the_model_knows_no_other_quantity() -> None:
    known = spapi.model("fbaInventory.json")["definitions"]["InventoryDetails"]["properties"]
    assert set(known) == {path[0] for path in COUNTS.values()}
