"""Requests and answers of the Selling Partner API against Amazon's own models, for whoever sends or answers them.

The models are not part of this repository: ACORN_CONTRACTS names a folder that holds them under spapi-models/; without it the
tests that carry `published` are skipped. A request or an answer without faults is one that Amazon publishes.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

FOLDER = os.environ.get("ACORN_CONTRACTS")
published = pytest.mark.skipif(FOLDER is None, reason="ACORN_CONTRACTS names no folder with spapi-models/")

METHODS = ("get", "post", "put", "patch", "delete")
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}
FILES = {
    "catalogItems_2022-04-01.json": ("searchCatalogItems", "getCatalogItem"),
    "fbaInventory.json": ("getInventorySummaries",),
    "listingsItems_2021-08-01.json": ("getListingsItem", "searchListingsItems", "patchListingsItem"),
    "orders_2026-01-01.json": ("searchOrders", "getOrder"),
    "ordersV0.json": ("confirmShipment",),
    "productPricingV0.json": ("getListingOffersBatch",),
    "productPricing_2022-05-01.json": ("getCompetitiveSummary", "getFeaturedOfferExpectedPriceBatch"),
    "productFeesV0.json": ("getMyFeesEstimates",),
    "finances_2024-06-19.json": ("listTransactions",),
    "sellers.json": ("getMarketplaceParticipations",),
    "reports_2021-06-30.json": ("createReport", "getReport", "getReports", "cancelReport", "getReportDocument"),
    "feeds_2021-06-30.json": (
        "createFeedDocument",
        "createFeed",
        "getFeed",
        "getFeeds",
        "cancelFeed",
        "getFeedDocument",
    ),
    "dataKiosk_2023-11-15.json": ("createQuery", "getQuery", "getQueries", "cancelQuery", "getDocument"),
    "fulfillmentOutbound_2020-07-01.json": (
        "getFulfillmentPreview",
        "createFulfillmentOrder",
        "getFulfillmentOrder",
        "cancelFulfillmentOrder",
        "getPackageTrackingDetails",
        "listAllFulfillmentOrders",
        "createFulfillmentReturn",
        "listReturnReasonCodes",
    ),
    "fulfillmentOutbound_2026-07-04.json": (
        "getOrderPreview",
        "createOrder",
        "getOutboundOrder",
        "listOrders",
        "cancelOrder",
    ),
    "merchantFulfillmentV0.json": ("getEligibleShipmentServices", "createShipment", "getShipment", "cancelShipment"),
    "shippingV2.json": ("getRates", "purchaseShipment", "getShipmentDocuments", "getTracking", "cancelPurchase"),
    "notifications.json": (
        "getDestinations",
        "createDestination",
        "deleteDestination",
        "getSubscriptions",
        "getSubscription",
        "createSubscription",
        "deleteSubscriptionById",
    ),
    "tokens_2021-03-01.json": ("createRestrictedDataToken",),
    "application_2023-11-30.json": ("rotateApplicationClientSecret",),
}
# Where two APIs give one name twice, ours and theirs.
THEIRS = {"getOutboundOrder": "getOrder", "cancelPurchase": "cancelShipment"}
MODEL_OF = {name: file for file, names in FILES.items() for name in names}


@cache
def model(file: str) -> dict[str, Any]:
    """One Swagger 2 model."""
    loaded: dict[str, Any] = json.loads((Path(FOLDER or "") / "spapi-models" / file).read_text(encoding="utf-8"))
    return loaded


def plans() -> dict[str, tuple[float, float]]:
    """(requests per second, burst) as published, by our name of the operation."""
    with (Path(FOLDER or "") / "spapi-models" / "usage-plans.csv").open(newline="", encoding="utf-8") as file:
        rows = {(row["model"], row["operationId"]): row for row in csv.DictReader(file)}
    found = {name: rows[file, THEIRS.get(name, name)] for name, file in MODEL_OF.items()}
    return {name: (float(row["rate_per_second"]), float(row["burst"])) for name, row in found.items()}


def operation(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(model, operation), by our name."""
    whole = model(MODEL_OF[name])
    theirs = THEIRS.get(name, name)
    for methods in whole["paths"].values():
        for method in METHODS:
            if methods.get(method, {}).get("operationId") == theirs:
                return whole, methods[method]
    raise LookupError(name)


def operation_of(method: str, path: str) -> str:
    """Our name of the operation that a request is for."""
    found = []
    for name, file in MODEL_OF.items():
        for template, methods in model(file)["paths"].items():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            theirs = methods.get(method.lower(), {}).get("operationId")
            if theirs == THEIRS.get(name, name) and re.fullmatch(pattern, path):
                found.append((template.count("{"), name))
    assert found, f"{method} {path} is no operation of {', '.join(FILES)}"
    return min(found)[1]


def request_faults(request: httpx.Request) -> list[str]:
    """What is wrong with a request: unknown or missing parameters, values out of bounds, a body that breaks its schema."""
    raw_path, _, query = request.url.raw_path.decode().partition("?")
    whole, one = operation(operation_of(request.method, raw_path))
    told = _query_faults(whole, one, query)
    bodies = [entry["schema"] for entry in _parameters(whole, one) if entry.get("in") == "body"]
    if bodies:
        told += faults(whole, bodies[0], json.loads(request.content), "body")
    elif request.content:
        told.append("a body where none belongs")
    return told


def answer_faults(name: str, answer: httpx.Response) -> list[str]:
    """What is wrong with an answer to the operation `name`, by the schema that its model gives for the status."""
    whole, one = operation(name)
    known = one["responses"].get(str(answer.status_code))
    if known is None:
        return [f"status {answer.status_code} is not in the model"]
    schema = _resolved(whole, known).get("schema")
    if schema is None:
        return [] if answer.content == b"" else ["a body where none belongs"]
    return list(faults(whole, schema, answer.json(), "$"))


def examples(name: str, status: int = 200) -> list[tuple[dict[str, Any], Any]]:
    """(request parameters, answer) of Amazon's own static sandbox, by our name of the operation."""
    _, one = operation(name)
    listed = one["responses"][str(status)].get("x-amzn-api-sandbox", {}).get("static", [])
    return [(entry.get("request", {}).get("parameters", {}), entry.get("response")) for entry in listed]


def faults(whole: dict[str, Any], schema: dict[str, Any], value: object, at: str) -> Iterator[str]:
    """Where `value` breaks a schema of the model `whole`."""
    schema = _resolved(whole, schema)
    if "allOf" in schema:
        schema = _joined(whole, schema["allOf"])
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    kind = schema.get("type", "object" if "properties" in schema else "")
    wrong_bool = isinstance(value, bool) and kind in ("integer", "number")
    if kind and (wrong_bool or not isinstance(value, TYPES[kind])):
        yield f"{at}: {value!r} is no {kind}"
        return
    yield from _bounds(schema, value, at)
    if isinstance(value, list):
        for place, entry in enumerate(value):
            yield from faults(whole, schema.get("items", {}), entry, f"{at}[{place}]")
    if isinstance(value, dict):
        yield from _members(whole, schema, value, at)


def _bounds(schema: dict[str, Any], value: object, at: str) -> Iterator[str]:
    if schema.get("format") == "date-time" and not _aware(value):
        yield f"{at}: {value!r} is no time with a zone"
    for name, low, high in (("string", "minLength", "maxLength"), ("array", "minItems", "maxItems")):
        if isinstance(value, TYPES[name]):
            size = len(value)  # type: ignore[arg-type]  # text or a list
            if not schema.get(low, 0) <= size <= schema.get(high, size):
                yield f"{at}: {size} long"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at}: {value} is out of bounds"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{at}: {value!r} does not match {schema['pattern']}"


def _members(whole: dict[str, Any], schema: dict[str, Any], value: dict[str, Any], at: str) -> Iterator[str]:
    yield from (f"{at}.{name} is missing" for name in schema.get("required", []) if name not in value)
    properties, more = schema.get("properties"), schema.get("additionalProperties")
    for name, entry in value.items():
        if properties is not None and name in properties:
            yield from faults(whole, properties[name], entry, f"{at}.{name}")
        elif isinstance(more, dict):
            yield from faults(whole, more, entry, f"{at}.{name}")
        elif properties is not None and not more:
            yield f"{at}.{name} is unknown"


def _aware(value: object) -> bool:
    try:
        return datetime.fromisoformat(str(value)).tzinfo is not None
    except ValueError:
        return False


def _joined(whole: dict[str, Any], parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One schema of several that hold together: a member that one of them knows is known."""
    whole_parts = [_resolved(whole, part) for part in parts]
    known = {name: one for part in whole_parts for name, one in part.get("properties", {}).items()}
    needed = [name for part in whole_parts for name in part.get("required", [])]
    return {"type": "object", "properties": known, "required": needed}


def _resolved(whole: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        section, name = schema["$ref"].removeprefix("#/").split("/")
        schema = whole[section][name]
    return schema


def _parameters(whole: dict[str, Any], one: dict[str, Any]) -> list[dict[str, Any]]:
    return [_resolved(whole, entry) for entry in one.get("parameters", [])]


def _query_faults(whole: dict[str, Any], one: dict[str, Any], query: str) -> list[str]:
    known = {entry["name"]: entry for entry in _parameters(whole, one) if entry["in"] == "query"}
    given: dict[str, str] = {}
    told = []
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name in given:
            told.append(f"{name} is given twice")
        given[name] = value
    told += [f"{name} is unknown" for name in given if name not in known]
    told += [f"{name} is missing" for name, entry in known.items() if entry.get("required") and name not in given]
    for name, value in given.items():
        if name in known:
            told += [f"{name}: {fault}" for fault in _value_faults(known[name], value)]
    return told


def _value_faults(parameter: dict[str, Any], value: str) -> Iterator[str]:
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
        if parameter.get("format") == "date-time" and not _aware(item):
            yield f"{item!r} is no time with a zone"
