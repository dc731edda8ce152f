"""The sandbox's answers against the platform's own published models.

The models are not part of this repository: ACORN_CONTRACTS names a folder that holds spapi-models/.
"""

import csv
import json
import os
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.amazon.app import build
from sandbox.amazon.plans import PLANS, Plan
from sandbox.amazon.visit import EU, FE, NA, Seller, confirmation
from sandbox.options import Options
from sandbox.visit import inside

MODELS = {
    "getInventorySummaries": "fbaInventory.json",
    "getListingsItem": "listingsItems_2021-08-01.json",
    "searchListingsItems": "listingsItems_2021-08-01.json",
    "patchListingsItem": "listingsItems_2021-08-01.json",
    "searchOrders": "orders_2026-01-01.json",
    "getOrder": "orders_2026-01-01.json",
    "confirmShipment": "ordersV0.json",
    "getMarketplaceParticipations": "sellers.json",
}
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


@pytest.fixture(scope="module")
def models() -> Path:
    folder = os.environ.get("ACORN_CONTRACTS")
    if not folder:
        pytest.skip("ACORN_CONTRACTS names no folder with spapi-models/")
    return Path(folder) / "spapi-models"


class Model:
    """One Swagger 2 model; `faults` says where a value breaks a schema."""

    def __init__(self, path: Path) -> None:
        self.root: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))

    def schema(self, operation: str, status: int) -> dict[str, Any] | None:
        """The schema of an answer; None where it has no body. LookupError for a status the model does not know."""
        for methods in self.root["paths"].values():
            for entry in methods.values():
                if isinstance(entry, dict) and entry.get("operationId") == operation:
                    found: dict[str, Any] | None = entry["responses"][str(status)].get("schema")
                    return found
        raise LookupError(operation)

    def faults(self, value: object, schema: dict[str, Any], at: str = "$") -> Iterator[str]:
        if "$ref" in schema:
            schema = self.root["definitions"][schema["$ref"].rpartition("/")[2]]
        if "enum" in schema and value not in schema["enum"]:
            yield f"{at}: {value!r} is none of {schema['enum']}"
        kind = schema.get("type", "object" if "properties" in schema else "")
        wrong_bool = isinstance(value, bool) and kind in ("integer", "number")
        if kind and (wrong_bool or not isinstance(value, TYPES[kind])):
            yield f"{at}: {value!r} is no {kind}"
            return
        if schema.get("format") == "date-time":
            try:
                aware = datetime.fromisoformat(str(value)).tzinfo is not None
            except ValueError:
                aware = False
            if not aware:
                yield f"{at}: {value!r} is no time with a zone"
        if isinstance(value, list):
            for place, entry in enumerate(value):
                yield from self.faults(entry, schema.get("items", {}), f"{at}[{place}]")
        if isinstance(value, dict):
            yield from self._members(value, schema, at)

    def _members(self, value: dict[str, Any], schema: dict[str, Any], at: str) -> Iterator[str]:
        for name in schema.get("required", []):
            if name not in value:
                yield f"{at}: {name} is missing"
        properties = schema.get("properties")
        for name, entry in value.items():
            if properties is None:
                continue
            if name in properties:
                yield from self.faults(entry, properties[name], f"{at}.{name}")
            elif not schema.get("additionalProperties"):
                yield f"{at}: {name} is not in the model"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with inside(build(Options(products=120, orders=300, lag_s=0, speed=1000))) as visitor:
        yield visitor


def check(models: Path, operation: str, answer: httpx.Response) -> None:
    """The answer has the body its model gives for its status."""
    model = Model(models / MODELS[operation])
    schema = model.schema(operation, answer.status_code)
    if schema is None:
        assert answer.content == b""
        return
    assert list(model.faults(answer.json(), schema)) == [], answer.text[:500]


def test_the_plans_are_the_published_ones(models: Path) -> None:
    with (models / "usage-plans.csv").open(encoding="utf-8", newline="") as file:
        published = {
            (row["model"], row["operationId"]): Plan(float(row["rate_per_second"]), int(row["burst"]))
            for row in csv.DictReader(file)
            if row["rate_per_second"]
        }
    assert {name: published[model, name] for name, model in MODELS.items()} == PLANS


def test_the_checker_finds_what_is_wrong(models: Path) -> None:
    model = Model(models / "orders_2026-01-01.json")
    schema = model.schema("getOrder", 200)
    assert schema is not None
    order = {
        "orderId": 5,
        "createdTime": "yesterday",
        "lastUpdatedTime": "2026-03-01T00:00:00Z",
        "salesChannel": {"channelName": "AMAZON", "color": "blue"},
        "fulfillment": {"fulfillmentStatus": "Shipped"},
    }
    assert sorted(fault.partition(":")[0] for fault in model.faults({"order": order}, schema)) == [
        "$.order",
        "$.order.createdTime",
        "$.order.fulfillment.fulfillmentStatus",
        "$.order.orderId",
        "$.order.salesChannel",
    ]


@pytest.mark.parametrize(("account", "marketplace"), [(NA, "US"), (EU, "DE"), (EU, "FR"), (FE, "JP")])
async def test_reads_answer_as_published(
    models: Path, client: httpx.AsyncClient, account: str, marketplace: str
) -> None:
    seller = await Seller.login(client, account)
    check(models, "getMarketplaceParticipations", await seller.get("/sellers/v1/marketplaceParticipations"))
    summaries = await seller.inventory(marketplace)
    check(models, "getInventorySummaries", summaries)
    sku = summaries.json()["payload"]["inventorySummaries"][0]["sellerSku"]
    everything = "summaries,attributes,issues,offers,fulfillmentAvailability,procurement,relationships,productTypes"
    check(models, "getListingsItem", await seller.listing(marketplace, sku, includedData=everything))
    found = await seller.listings(marketplace, includedData=everything, pageSize=20)
    check(models, "searchListingsItems", found)
    assert len(found.json()["items"]) == 20
    included = "BUYER,RECIPIENT,PROCEEDS,EXPENSE,PROMOTION,CANCELLATION,FULFILLMENT,PACKAGES,TAX,PAYMENT"
    orders = await seller.orders(createdAfter="2020-01-01T00:00:00Z", includedData=f"{included},FULFILLMENT_ORDERS")
    check(models, "searchOrders", orders)
    assert orders.status_code == 200
    first = orders.json()["orders"][0]["orderId"]
    check(models, "getOrder", await seller.order(first, *included.split(",")))


async def test_writes_answer_as_published(models: Path, client: httpx.AsyncClient) -> None:
    seller = await Seller.login(client)
    world = (await client.get("/_sandbox/world")).json()
    sku = world["skus"][9]["sku"]
    value = [{"fulfillment_channel_code": "DEFAULT", "quantity": 3}]
    patch = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": value}
    body = {"productType": "PRODUCT", "patches": [patch]}
    accepted = await seller.patch("US", sku, body, includedData="identifiers,issues")
    assert accepted.json()["status"] == "ACCEPTED"
    check(models, "patchListingsItem", accepted)
    invalid = await seller.patch("US", sku, {**body, "productType": "LUGGAGE"})
    assert invalid.json()["status"] == "INVALID"
    check(models, "patchListingsItem", invalid)
    order = next(
        order
        for order in world["orders"]
        if (order["status"], order["fulfilledBy"], order["marketplace"]) == ("UNSHIPPED", "MERCHANT", "US")
    )
    confirmed = await seller.confirm(order["id"], confirmation(order))
    assert confirmed.status_code == 204
    check(models, "confirmShipment", confirmed)
    shipped = await seller.order(order["id"], "FULFILLMENT", "PACKAGES")
    assert shipped.json()["order"]["packages"]
    check(models, "getOrder", shipped)


async def test_failures_answer_as_published(models: Path, client: httpx.AsyncClient) -> None:
    seller = await Seller.login(client)
    check(models, "getInventorySummaries", await seller.inventory("US", granularityType="World"))
    check(models, "getListingsItem", await seller.listing("US", "NO-SUCH"))
    check(models, "searchListingsItems", await seller.listings("US", pageSize=99))
    check(models, "searchOrders", await seller.orders())
    check(models, "getOrder", await seller.order("1"))
    check(models, "confirmShipment", await seller.confirm("1", {}))
    seller.token = "Atza|stolen"
    check(models, "getInventorySummaries", await seller.inventory("US"))
    for status in (429, 500, 503):
        faults = {"faults": [{"kind": "status", "status": status}]}
        await client.post("/_sandbox/faults", json=faults)
        for operation, answer in (
            ("getInventorySummaries", await seller.inventory("US")),
            ("searchOrders", await seller.orders()),
            ("confirmShipment", await seller.confirm("1", {})),
            ("getMarketplaceParticipations", await seller.get("/sellers/v1/marketplaceParticipations")),
        ):
            assert answer.status_code == status
            check(models, operation, answer)
