"""Every document is valid where it will be sent, and costs what we think."""

from __future__ import annotations

import gzip
import json
import os
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
from graphql import FieldNode, GraphQLSchema, OperationDefinitionNode, build_client_schema, parse, validate

import adapters.shopify
from adapters.shopify import catalog, orders
from adapters.shopify.bulk_query import BULK_RUN_QUERY, BulkQuery
from adapters.shopify.document import Document
from adapters.shopify.inventory import ALL
from tests.adapters.shopify.bench import LONG_AGO, Sandbox

VERSIONS = ("2026-04", "2026-07", "2026-10")
VARIABLES: dict[str, dict[str, Any]] = {
    "Stock": {"ids": ["gid://shopify/InventoryItem/41000000000001"]},
    "Levels": {"id": "gid://shopify/InventoryItem/41000000000001"},
    "BulkPoll": {"id": "gid://shopify/BulkOperation/7300000000001"},
    "BulkCancel": {"id": "gid://shopify/BulkOperation/7300000000001"},
    "BulkRunQuery": {"query": "{ productVariants { edges { node { id } } } }"},
    "BulkRunMutation": {"mutation": "mutation", "path": "tmp/none", "tag": "documents"},
    "Orders": {"query": "updated_at:>='2026-11-01T00:00:00Z'"},
    "OrderLines": {"id": "gid://shopify/Order/5500000000001"},
    "Parcels": {"ids": ["gid://shopify/Order/5500000000001"]},
    "Tasks": {"ids": ["gid://shopify/Order/5500000000001"]},
    "ParcelLines": {"id": "gid://shopify/Fulfillment/4900000000001"},
    "TaskLines": {"id": "gid://shopify/FulfillmentOrder/6600000000001"},
    "Prices": {"ids": ["gid://shopify/ProductVariant/45000000000001"]},
    "SetPrices": {"product": "gid://shopify/Product/8100000000001", "variants": []},
    "OrderStands": {"id": "gid://shopify/Order/5500000000001"},
    "CancelOrder": {"id": "gid://shopify/Order/1", "reason": "OTHER", "restock": True},
    "Job": {"id": "gid://shopify/Job/770000000001"},
    "Parcel": {"id": "gid://shopify/Fulfillment/4900000000001"},
    "Track": {"id": "gid://shopify/Fulfillment/1", "tracking": {"number": "1"}},
    "CancelParcel": {"id": "gid://shopify/Fulfillment/1"},
    "RefundsMade": {"id": "gid://shopify/Order/5500000000001"},
    "Refundable": {"id": "gid://shopify/Order/5500000000001", "ids": ["gid://shopify/LineItem/13000000000001"]},
    "Refund": {"input": {"orderId": "gid://shopify/Order/1"}, "key": "documents-3"},
    "Ship": {"parcel": {"lineItemsByFulfillmentOrder": []}},
    "SetAvailable": {"input": {"name": "available", "reason": "correction", "quantities": []}, "key": "documents-1"},
    "Payouts": {"query": "issued_at:>='2026-11-01T00:00:00Z'"},
    "Payout": {"id": "gid://shopify/ShopifyPaymentsPayout/62000000001"},
    "Movements": {"query": "payments_transfer_id:62000000001"},
    "Transactions": {"id": "gid://shopify/Order/5500000000001"},
    "Refunds": {"id": "gid://shopify/Order/5500000000001"},
    "RefundLines": {"id": "gid://shopify/Refund/930000000001"},
    "WorkOfOrder": {"id": "gid://shopify/Order/5500000000001"},
    "Work": {"query": "updated_at:>='2026-11-01T00:00:00Z'"},
    "WorkLines": {"id": "gid://shopify/FulfillmentOrder/6600000000001"},
    "Listed": {"ids": ["gid://shopify/Product/8100000000001", "gid://shopify/InventoryItem/41000000000001"]},
    "ListedRest": {"id": "gid://shopify/Product/8100000000001"},
    "OrdersAndBuyers": {"query": "updated_at:>='2026-11-01T00:00:00Z'"},
    "OrdersNamedAndBuyers": {"ids": ["gid://shopify/Order/5500000000001", "gid://shopify/Order/5500000000002"]},
    "OrdersNamed": {"ids": ["gid://shopify/Order/5500000000001", "gid://shopify/Order/5500000000002"]},
    "OrderOf": {"id": "gid://shopify/FulfillmentOrder/6600000000001"},
    "Subscribe": {"topic": "ORDERS_UPDATED", "wanted": {}},
    "Resubscribe": {"id": "gid://shopify/WebhookSubscription/1200000000001", "wanted": {}},
    "Activate": {
        "item": "gid://shopify/InventoryItem/41000000000001",
        "location": "gid://shopify/Location/72000000000001",
        "key": "documents-2",
    },
}


def documents() -> list[Document]:
    """All that any module of the adapter can send."""
    modules = [import_module(f"adapters.shopify.{one.name}") for one in iter_modules(adapters.shopify.__path__)]
    found = {id(value): value for module in modules for value in vars(module).values() if isinstance(value, Document)}
    return sorted(found.values(), key=lambda each: each.name)


DOCUMENTS = documents()
names = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: each.name)


@pytest.fixture(scope="module", params=VERSIONS)
def schema(request: pytest.FixtureRequest) -> GraphQLSchema:
    folder = os.environ.get("ACORN_CONTRACTS")
    if not folder:
        pytest.skip("ACORN_CONTRACTS names no folder with the platforms' contract files")
    path = Path(folder) / "shopify-admin-schema" / f"admin_{request.param}.json.gz"
    # Its interfaces leave out some deprecations that graphql-core asks for, hence assumed to be valid.
    return build_client_schema(json.loads(gzip.decompress(path.read_bytes()))["data"], assume_valid=True)


@names
def test_valid_in_the_published_schema(schema: GraphQLSchema, document: Document) -> None:
    assert validate(schema, parse(document.text)) == []


def test_the_published_schema_refuses_what_it_does_not_have(schema: GraphQLSchema) -> None:
    assert validate(schema, parse("query Shop { shop { nam } }")) != []


BULK_QUERIES = (ALL.query, catalog.all_variants("updated_at:>'2026-11-01T00:00:00Z'"), orders.all_orders(LONG_AGO))


@pytest.mark.parametrize("query", BULK_QUERIES, ids=lambda each: each.name)
def test_bulk_queries_are_valid_in_the_published_schema(schema: GraphQLSchema, query: BulkQuery) -> None:
    assert validate(schema, parse(query.text)) == []


@pytest.mark.parametrize("query", BULK_QUERIES, ids=lambda each: each.name)
async def test_the_sandbox_begins_bulk_queries(sandbox: Sandbox, query: BulkQuery) -> None:
    """It holds them to the published rules."""
    answer = await sandbox.http.post(
        "/admin/api/2026-07/graphql.json",
        headers={"X-Shopify-Access-Token": "shpat_sandbox"},
        json={"query": BULK_RUN_QUERY.text, "variables": {"query": query.text}},
    )
    payload = answer.json()["data"]["bulkOperationRunQuery"]
    assert payload["userErrors"] == []
    assert payload["bulkOperation"]["id"]


@names
def test_name_and_operation_are_those_of_the_text(document: Document) -> None:
    (operation,) = parse(document.text).definitions
    assert isinstance(operation, OperationDefinitionNode)
    assert operation.name is not None
    assert operation.name.value == document.name
    roots = [node.name.value for node in operation.selection_set.selections if isinstance(node, FieldNode)]
    assert "+".join(roots) == document.operation
    assert (operation.operation.value == "mutation") is document.write


def test_no_document_asks_for_the_buyer_but_those_that_are_named_after_one() -> None:
    buyers = ("customer", "email", "phone", "address", "note", "recipient")
    # Whether the platform tells the buyer is no fact about one, and the note of a refund is the staff's, with our own mark in it.
    # A location's country is the shop's own.
    harmless = ("notifyCustomer: true", "refunds(first: 250) { id note }", "address { countryCode }")
    texts = {each.name: each.text for each in DOCUMENTS if "Buyer" not in each.name}
    assert len(texts) == len(DOCUMENTS) - 2
    for phrase in harmless:
        texts = {name: text.replace(phrase, "") for name, text in texts.items()}
    assert [name for name, text in texts.items() if any(word in text.lower() for word in buyers)] == []


@names
async def test_the_sandbox_takes_it_at_the_cost_we_start_from(sandbox: Sandbox, document: Document) -> None:
    await sandbox.post("plans", maximumAvailable=2000, restoreRate=100)
    answer = await sandbox.http.post(
        "/admin/api/2026-07/graphql.json",
        headers={"X-Shopify-Access-Token": "shpat_sandbox"},
        json={"query": document.text, "variables": VARIABLES.get(document.name, {}), "operationName": document.name},
    )
    told = answer.json()
    assert "errors" not in told
    assert told["extensions"]["cost"]["requestedQueryCost"] == document.cost
