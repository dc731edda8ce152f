"""What we send and what we read, against Amazon's own models.

They are not part of this repository: ACORN_CONTRACTS names a folder that holds them under spapi-models/.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from adapters.amazon import inventory, listings, quantities, sellers
from adapters.amazon.listings import listing_of
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.orders import order_of
from adapters.amazon.plans import PLANS
from adapters.port import OrderKey, ShownKey, StockKey, StockWrite
from adapters.wire import read
from domain.budget import Ask
from domain.ids import ChannelId, ChannelSku
from tests.adapters.amazon.bench import Desk, Line, go, make_parcel, make_pool

FOLDER = os.environ.get("ACORN_CONTRACTS")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="ACORN_CONTRACTS names no folder with spapi-models/")

MODELS = (
    "fbaInventory.json",
    "listingsItems_2021-08-01.json",
    "orders_2026-01-01.json",
    "ordersV0.json",
    "sellers.json",
)
METHODS = ("get", "post", "put", "patch", "delete")
KEY = OrderKey("902-1106328-1059050", "US")
AT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
CODES = {
    marketplace(code).id: code for code in ("US", "CA", "MX", "BR", "UK", "DE", "FR", "IT", "ES", "TR", "JP", "AU")
}


def model(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((Path(FOLDER or "") / "spapi-models" / name).read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def models() -> list[dict[str, Any]]:
    return [model(name) for name in MODELS]


def operation_of(models: list[dict[str, Any]], method: str, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(model, operation) that a request is for."""
    found = []
    for one in models:
        for template, methods in one["paths"].items():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            if method.lower() in methods and re.fullmatch(pattern, path):
                found.append((one, methods[method.lower()]))
    assert len(found) == 1, f"{method} {path} is {len(found)} operations"
    return found[0]


def resolved(model: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        section, name = schema["$ref"].removeprefix("#/").split("/")
        schema = model[section][name]
    return schema


def query_faults(model: dict[str, Any], operation: dict[str, Any], query: str) -> list[str]:
    parameters = [resolved(model, one) for one in operation.get("parameters", [])]
    known = {one["name"]: one for one in parameters if one["in"] == "query"}
    given: dict[str, str] = {}
    faults = []
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name in given:
            faults.append(f"{name} is given twice")
        given[name] = value
    faults += [f"{name} is unknown" for name in given if name not in known]
    faults += [f"{name} is missing" for name, one in known.items() if one.get("required") and name not in given]
    for name, value in given.items():
        if name in known:
            faults += [f"{name}: {fault}" for fault in value_faults(known[name], value)]
    return faults


def value_faults(parameter: dict[str, Any], value: str) -> Iterator[str]:
    kind = parameter["type"]
    items = [unquote(item) for item in value.split(",")] if kind == "array" else [unquote(value)]
    if kind == "array" and len(items) > parameter.get("maxItems", len(items)):
        yield f"{len(items)} items"
    if kind == "array" and parameter.get("collectionFormat", "csv") != "csv":
        yield "is not a list separated by commas"
    enum = parameter.get("enum") or parameter.get("items", {}).get("enum")
    for item in items:
        if enum and item not in enum:
            yield f"{item!r} is not one of {enum}"
        if kind == "integer" and not parameter.get("minimum", 0) <= int(item) <= parameter.get("maximum", 10**9):
            yield f"{item} is out of bounds"
        if kind == "boolean" and item not in ("true", "false"):
            yield f"{item!r} is not a boolean"
        if parameter.get("format") == "date-time":
            datetime.fromisoformat(item)


def body_faults(model: dict[str, Any], schema: dict[str, Any], value: Any, place: str = "body") -> Iterator[str]:
    schema = resolved(model, schema)
    kind = schema.get("type", "object")
    python = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    if not isinstance(value, python[kind]):  # type: ignore[arg-type]  # a type or a pair of types
        yield f"{place} is not a {kind}"
    elif kind == "object":
        properties = schema.get("properties", {})
        yield from (f"{place}.{name} is missing" for name in schema.get("required", []) if name not in value)
        for name, one in value.items():
            if name not in properties and not schema.get("additionalProperties"):
                yield f"{place}.{name} is unknown"
            elif name in properties:
                yield from body_faults(model, properties[name], one, f"{place}.{name}")
    elif kind == "array":
        for number, one in enumerate(value):
            yield from body_faults(model, schema["items"], one, f"{place}[{number}]")
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{place} is not one of {schema['enum']}"


def faults(models: list[dict[str, Any]], request: httpx.Request) -> list[str]:
    raw_path, _, query = request.url.raw_path.decode().partition("?")
    found, operation = operation_of(models, request.method, raw_path)
    told = query_faults(found, operation, query)
    bodies = [one["schema"] for one in operation.get("parameters", []) if one.get("in") == "body"]
    if bodies:
        told += body_faults(found, bodies[0], json.loads(request.content))
    elif request.content:
        told.append("a body where none belongs")
    return told


def answer(request: httpx.Request) -> httpx.Response:
    """The shortest answer with a second page, so that the request for that one is seen, too."""
    first = not {"nextToken", "pageToken", "paginationToken"} & set(request.url.params)
    pagination = {"nextToken": "x+/="} if first else {}
    path = request.url.path
    if path.endswith("/summaries"):
        return httpx.Response(200, json={"payload": {"inventorySummaries": []}, "pagination": pagination})
    if request.method == "PATCH":
        return httpx.Response(200, json={"sku": "A", "status": "ACCEPTED", "submissionId": "1", "issues": []})
    if path.startswith("/listings/"):
        return httpx.Response(200, json={"numberOfResults": 0, "items": [], "pagination": pagination})
    if path.endswith("/orders"):
        body = {"orders": [], "lastUpdatedBefore": "2026-11-25T00:00:00Z", "pagination": pagination}
        return httpx.Response(200, json=body)
    if path.endswith("/shipmentConfirmation"):
        return httpx.Response(204)
    if path.endswith("/marketplaceParticipations"):
        return httpx.Response(200, json={"payload": []})
    return httpx.Response(200, json={"order": {}})


async def everything(desk: Desk) -> None:
    """Every request that the port can make."""
    port, pool, ask = desk.port, make_pool(desk.config), Ask()
    for plan in port.plans.values():
        await desk.budgets.states([(desk.channel, plan)])
        await desk.budgets.adopt(desk.channel, plan.operation, rate=1000)
    await port.stock([pool], [StockKey(ChannelSku(f"A,B/{number} ü")) for number in range(50)], ask)
    assert [page.items async for page in port.stock_pages([pool], ask)] == [[], []]
    assert [page.items async for page in port.listing_pages(None, ask)] == [[], []]
    assert [page.items async for page in port.listing_pages(AT, ask)] == [[], []]
    assert [page.items async for page in port.order_pages(AT, ask)] == [[], []]
    await port.parcel_seen(KEY, make_parcel(("1", 2)), ask)
    await port.confirm_shipment(KEY, make_parcel(("79039765272157", 1), ("2", 3)), ask, go)
    number = ShownKey(ChannelSku("A,B/1 ü"), refs=(("marketplace", "US"), ("productType", "LUGGAGE")))
    assert len(await port.tell_stock([StockWrite(number, 3, None, "7")], ask, go)) == 1
    assert len(await port.shown_stock([ShownKey(ChannelSku(f"A,B/{n} ü")) for n in range(20)], ask)) == 20
    assert [page.items async for page in port.shown_pages([""], ask)] == [[], []]
    await port.check(ask)


async def test_every_request_is_one_that_amazon_publishes(models: list[dict[str, Any]], desk: Desk, line: Line) -> None:
    line.answers.append(answer)
    await everything(desk)
    names = set()
    for request in line.calls:
        assert faults(models, request) == [], f"{request.method} {request.url}"
        names.add(
            operation_of(models, request.method, request.url.raw_path.decode().partition("?")[0])[1]["operationId"]
        )
    assert names == set(PLANS)


async def test_a_walk_past_the_thousand_is_published_too(models: list[dict[str, Any]], desk: Desk, line: Line) -> None:
    full = {"numberOfResults": 1001, "items": [{"sku": f"S{number}"} for number in range(1000)]}
    line.answers.extend([httpx.Response(200, json=full), httpx.Response(200, json={"numberOfResults": 0, "items": []})])
    assert [len(page.rejected) async for page in desk.port.listing_pages(AT, Ask())] == [1001, 0]
    assert ["createdAfter" in request.url.params for request in line.calls] == [False, True]
    assert faults(models, line.calls[1]) == []


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (
            httpx.Request("GET", "https://a.test/orders/2026-01-01/orders?lastUpdatedSince=2026-11-21T08:00:00Z"),
            ["lastUpdatedSince is unknown"],
        ),
        (
            httpx.Request("GET", "https://a.test/fba/inventory/v1/summaries?granularityType=Pool&granularityId=X"),
            ["marketplaceIds is missing", "granularityType: 'Pool' is not one of ['Marketplace']"],
        ),
        (
            httpx.Request("GET", "https://a.test/listings/2021-08-01/items/S?marketplaceIds=X&pageSize=21"),
            ["pageSize: 21 is out of bounds"],
        ),
        (
            httpx.Request(
                "POST",
                "https://a.test/orders/v0/orders/1/shipmentConfirmation",
                json={"marketplaceId": "X", "packageDetail": {"packageReferenceId": 1, "weight": 3}},
            ),
            [
                "body.packageDetail.carrierCode is missing",
                "body.packageDetail.trackingNumber is missing",
                "body.packageDetail.shipDate is missing",
                "body.packageDetail.orderItems is missing",
                "body.packageDetail.packageReferenceId is not a string",
                "body.packageDetail.weight is unknown",
            ],
        ),
    ],
)
def test_the_comparison_finds_what_is_wrong(
    models: list[dict[str, Any]], request_: httpx.Request, told: list[str]
) -> None:
    assert sorted(faults(models, request_)) == sorted(told)


def test_plans_and_names_are_the_published_ones() -> None:
    used = {("fbaInventory.json", "getInventorySummaries"), ("listingsItems_2021-08-01.json", "searchListingsItems")}
    used |= {("listingsItems_2021-08-01.json", "patchListingsItem")}
    used |= {("orders_2026-01-01.json", "searchOrders"), ("orders_2026-01-01.json", "getOrder")}
    used |= {("ordersV0.json", "confirmShipment"), ("sellers.json", "getMarketplaceParticipations")}
    with (Path(FOLDER or "") / "spapi-models" / "usage-plans.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["model"], row["operationId"]) in used]
    published = {row["operationId"]: (float(row["rate_per_second"]), float(row["burst"])) for row in rows}
    assert published == {name: (plan.rate, plan.burst) for name, plan in PLANS.items()}


def examples(models: list[dict[str, Any]], operation_id: str) -> list[Any]:
    """The successful answers that Amazon's own sandbox gives."""
    found = []
    for one in models:
        for methods in one["paths"].values():
            for method in METHODS:
                if methods.get(method, {}).get("operationId") == operation_id:
                    success = methods[method]["responses"]["200"]
                    found += [entry["response"] for entry in success.get("x-amzn-api-sandbox", {}).get("static", [])]
    return found


def test_amazons_examples_of_orders_are_understood(models: list[dict[str, Any]]) -> None:
    channel = ChannelId("amazon")
    found = [one["order"] for one in examples([models[2]], "getOrder")]
    found += [order for one in examples([models[2]], "searchOrders") for order in one["orders"]]
    assert len(found) == 6
    orders = [order_of(channel, CODES, raw) for raw in found]
    assert {order.external_id for order in orders if order} == {raw["orderId"] for raw in found}


def test_amazons_examples_of_listings_stock_and_participations_are_understood(models: list[dict[str, Any]]) -> None:
    (found,) = examples(models, "searchListingsItems")
    answered = read(listings.Answer, found)
    items = [listing_of(ChannelId("amazon"), "US", read(listings.Item, raw), AT) for raw in answered.items]
    assert [one.channel_sku for one in items] == ["GM-ZDPI-9B4E"]
    assert [read(quantities.Item, raw).fulfillment_availability[0].quantity for raw in answered.items] == [100]
    for one in examples(models, "patchListingsItem"):
        # VALID comes only from a preview, which we never ask for.
        preview = one["status"] == "VALID"
        assert read(quantities.Submission, one | ({"status": "ACCEPTED"} if preview else {})).submission_id
    for one in examples(models, "getMarketplaceParticipations"):
        assert read(sellers.Answer, one).payload
    for one in examples(models, "getInventorySummaries"):
        for raw in read(inventory.Answer, one).payload.inventory_summaries:
            read(inventory.Summary, raw)
